"""The real command, in a process of its own: how it starts, what it says, how it ends, and what a kill leaves."""

import contextlib
import http.client
import json
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from service import speaking
from service_process import ServiceProcess, free_port

WAIT_SECONDS = 60.0
CHUNKED = b"POST /api/v1/runs/x/chunks HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess(tmp_path)
    yield process
    if process.process is not None and process.process.poll() is None:
        process.kill()


def run_command(process: ServiceProcess, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gradvitals_service.cli", *words]
    return subprocess.run(
        command,
        env=process.environment | environment,
        cwd=process.folder,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )


def send(process: ServiceProcess, method: str, path: str, body: bytes, content_type: str) -> tuple[int, Any]:
    request = urllib.request.Request(process.url + path, data=body, method=method)
    request.add_header("Authorization", f"Bearer {process.tokens['ingest_token']}")
    request.add_header("Content-Type", content_type)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)


class ProcessSpeaker:
    """One attempt that speaks to a service in another process."""

    def __init__(self, process: ServiceProcess) -> None:
        self.process = process
        self.path = f"/api/v1/runs/{uuid4()}"
        self.attempt_id = uuid4()

    def declare(self) -> None:
        attempt = {
            "rank": 0,
            "world_size": 1,
            "launch": str(uuid4()),
            "host": "node7",
            "pid": 1,
            "started_at": 1790000000.0,
            "state": "running",
        }
        for path, body in (
            ("", {"project": "gru-lm", "name": "killed"}),
            (f"/attempts/{self.attempt_id}", attempt),
            (f"/layouts/{speaking.layout_id()}", {"layers": speaking.LAYERS}),
        ):
            status, answer = send(self.process, "PUT", self.path + path, json.dumps(body).encode(), "application/json")
            assert status == 200, answer

    def send(self, first: int, n: int) -> tuple[int, Any]:
        body = msgspec.msgpack.encode(speaking.chunk(self.attempt_id, first, n))
        return send(self.process, "POST", f"{self.path}/chunks", body, speaking.CHUNK_TYPE)


class TestAKill:
    """SIGKILL in the middle of ingest."""

    def test_what_was_acknowledged_is_there_and_the_rest_is_asked_for(self, process: ServiceProcess) -> None:
        process.start()
        speaker = ProcessSpeaker(process)
        speaker.declare()
        acknowledged, enough = [0], threading.Event()

        def deliver() -> None:
            try:
                while True:
                    status, answer = speaker.send(acknowledged[-1], 16)
                    assert status == 200
                    acknowledged.append(answer["next"])
                    if len(acknowledged) > 40:
                        enough.set()
            except OSError:  # the service is gone
                enough.set()

        sender = threading.Thread(target=deliver)
        sender.start()
        assert enough.wait(WAIT_SECONDS)
        process.kill()
        sender.join(WAIT_SECONDS)
        assert len(acknowledged) > 40

        process.start()
        status, answer = speaker.send(acknowledged[-1], 16)
        assert status == 200
        assert answer["next"] == acknowledged[-1] + 16  # also if the lost answer's frames were stored
        status, answer = speaker.send(answer["next"] + 100, 16)
        assert (status, answer["next"]) == (409, acknowledged[-1] + 16)
        assert process.stop() == 0
        with sqlite3.connect(process.database) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            stored = database.execute("SELECT first, n FROM chunks ORDER BY first").fetchall()
        database.close()
        assert [first for first, _ in stored] == [16 * k for k in range(len(stored))]
        assert sum(n for _, n in stored) == acknowledged[-1] + 16


class TestTheStart:
    """What a person and a client of the same user are told."""

    def test_the_file_for_clients_is_private_and_goes_with_the_service(self, process: ServiceProcess) -> None:
        process.start()
        assert process.process is not None
        path = process.folder / "state" / "gradvitals" / "service.json"
        content = json.loads(path.read_text())
        assert content == {
            "url": process.url,
            "ingest_token": process.tokens["ingest_token"],
            "pid": process.process.pid,
        }
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(process.database.stat().st_mode) == 0o600
        assert process.stop() == 0
        assert not path.exists()

    def test_a_file_that_another_service_wrote_since_is_left_alone(self, process: ServiceProcess) -> None:
        process.start()
        path = process.folder / "state" / "gradvitals" / "service.json"
        path.write_text("{}")
        assert process.stop() == 0
        assert path.read_text() == "{}"

    def test_ctrl_c_is_quiet_and_so_is_sigterm(self, process: ServiceProcess) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            process.start()
            assert process.process is not None
            process.process.send_signal(number)
            assert process.process.wait(WAIT_SECONDS) == 0
            assert "Traceback" not in process.log.read_text()

    def test_the_link_it_prints_opens_the_page_and_link_prints_another(self, process: ServiceProcess) -> None:
        process.start()
        said = process.log.read_text()
        assert f"gradvitals listens on {process.url}, database sqlite:///" in said
        printed = run_command(process, "link")
        assert printed.returncode == 0, printed.stderr
        first = next(word for word in said.split() if "/login?code=" in word)
        for link in (first, printed.stdout.strip()):
            assert link.startswith(f"{process.url}/login?code=")
            opener = urllib.request.build_opener(_NoRedirects)
            with pytest.raises(urllib.error.HTTPError) as redirect:
                opener.open(link, timeout=10)
            with redirect.value:
                assert redirect.value.code == 303
            assert redirect.value.headers["Set-Cookie"].startswith("gradvitals_session_")

    @pytest.mark.parametrize(
        ("begins", "goes_on"),
        [
            (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"X: " + b"x" * 16_000 + b"\r\n"),
            (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"x" * 16_000),
            (b"GET /healthz?", b"x" * 16_000),
            (CHUNKED + b"1\r\n{\r\n0\r\n", b"X: " + b"x" * 16_000 + b"\r\n"),
            (CHUNKED + b"1;x=", b"x" * 16_000),
        ],
        ids=["many headers", "one header", "path", "trailers", "a chunk's extension"],
    )
    def test_headers_without_end_are_cut_off(self, process: ServiceProcess, begins: bytes, goes_on: bytes) -> None:
        process.start()
        answer, sent = b"", 0
        hangs_up = contextlib.suppress(OSError)  # perhaps while we are still sending
        with hangs_up, socket.create_connection(("127.0.0.1", process.port), WAIT_SECONDS) as connection:
            connection.sendall(begins)
            for _ in range(1024):
                connection.sendall(goes_on)
                sent += len(goes_on)
            connection.sendall(b"\r\n\r\n")
            answer = connection.recv(1024)
        assert not answer.startswith(b"HTTP/1.1 2")
        assert sent < 1023 * len(goes_on)  # nobody listened to all of it

    def test_headers_and_bodies_within_their_bounds_pass(self, process: ServiceProcess) -> None:
        process.start()
        with socket.create_connection(("127.0.0.1", process.port), WAIT_SECONDS) as connection:
            for _ in range(3):  # what was counted is forgotten with each request
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 12_000 + b"\r\n\r\n")
                assert status_of_answer(connection) == 200
            connection.sendall(CHUNKED)
            for _ in range(100):  # sizes of chunks beside the bytes of a body
                connection.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
            assert status_of_answer(connection) == 401

    def test_no_token_stands_in_what_it_says(self, process: ServiceProcess) -> None:
        process.start()
        ProcessSpeaker(process).declare()
        process.stop()
        said = process.log.read_text()
        assert all(token not in said for token in process.tokens.values())


def status_of_answer(connection: socket.socket) -> int:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class TestWhatCannotStart:
    """One line on stderr and exit code 1; nothing else has changed."""

    def check(self, result: "subprocess.CompletedProcess[str]", *words: str) -> None:
        assert result.returncode == 1
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith("gradvitals-service: ")
        for word in words:
            assert word in line

    def test_a_busy_port(self, process: ServiceProcess) -> None:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = str(holder.getsockname()[1])
            self.check(run_command(process, "serve", "--port", port), f"127.0.0.1:{port}", "already", "--port")
        assert not process.database.exists()

    def test_a_second_service_on_the_same_sqlite_file(self, process: ServiceProcess) -> None:
        process.start()
        self.check(run_command(process, "serve", "--port", "0"), str(process.database), "PostgreSQL")

    def test_a_host_that_others_reach_without_tokens(self, process: ServiceProcess) -> None:
        result = run_command(process, "serve", "--host", "0.0.0.0")
        self.check(result, "0.0.0.0", "GRADVITALS_SERVICE_INGEST_TOKEN", "GRADVITALS_SERVICE_READ_TOKEN")

    def test_a_database_that_does_not_answer(self, process: ServiceProcess) -> None:
        url = f"postgresql://nobody:secret@127.0.0.1:{free_port()}/none"
        result = run_command(process, "serve", "--port", "0", "--database-url", url)
        self.check(result, "the database cannot be used")
        assert "secret" not in result.stderr

    def test_an_alert_that_apprise_does_not_know(self, process: ServiceProcess) -> None:
        result = run_command(process, "serve", "--port", "0", "--alert", "nonsense://password")
        self.check(result, "Apprise does not know this URL")
        assert "password" not in result.stderr

    def test_more_than_one_worker(self, process: ServiceProcess) -> None:
        self.check(run_command(process, "serve", "--workers", "2"), "SQLite", "PostgreSQL")

    def test_a_setting_in_the_environment_that_cannot_be(self, process: ServiceProcess) -> None:
        self.check(run_command(process, "serve", GRADVITALS_SERVICE_PORT="many"), "port")

    def test_a_link_without_a_service(self, process: ServiceProcess) -> None:
        self.check(run_command(process, "link"), "gradvitals-service serve")


@pytest.mark.postgres
def test_on_postgresql_it_waits_for_whoever_migrates(process: ServiceProcess, postgresql_server: str) -> None:
    from service.postgresql import create_database, drop_database

    name = f"test_{uuid4().hex}"
    url = create_database(postgresql_server, name)
    try:
        refused = run_command(process, "serve", "--port", "0", "--database-url", url)
        assert refused.returncode == 1
        assert "gradvitals-service migrate" in refused.stderr
        migrated = run_command(process, "migrate", "--database-url", url)
        assert (migrated.returncode, migrated.stdout.strip()) == (0, "the database is up to date")
        process.arguments = ("--database-url", url)
        process.start()
        assert process.stop() == 0
    finally:
        drop_database(postgresql_server, name)
