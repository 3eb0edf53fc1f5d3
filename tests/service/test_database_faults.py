"""The database goes away, hangs, refuses or fills up: a 503 with a time to come back, nothing lost, no restart."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from service import postgresql
from service.databases import TEMPLATE, migrate
from service.speaking import ServiceUnderTest, Speaker
from sqlalchemy import event

from gradvitals_service.ingest.writer import SECONDS_PROVEN

TOLD_SECONDS = 5.0


def assert_come_again(answer: Any) -> None:
    assert (answer.status_code, answer.json()["error"]) == (503, "overloaded"), answer.text
    assert answer.headers["Retry-After"] == "1"


def assert_every_frame_once(run: Speaker, frames: int) -> None:
    series = run.service.get(f"{run.path}/series", points=10_000)
    assert series["step"] == list(range(frames))
    shown = run.service.get(run.path)
    assert (shown["frames"], shown["lost"]) == (frames, 0)


def assert_not_ready_soon(service: ServiceUnderTest) -> None:
    asked = time.monotonic()
    answer = service.client.get("/readyz")
    assert answer.status_code == 503
    assert time.monotonic() - asked < TOLD_SECONDS
    assert service.client.get("/healthz").status_code == 200


def let_commits_grow_old(service: ServiceUnderTest) -> None:
    """As if the last one lay back so far that it shows nothing any more."""
    for thread in service.app.state.writer._threads:
        thread.wrote_at -= SECONDS_PROVEN


@contextmanager
def serving(database_url: str, folder: Path) -> Iterator[ServiceUnderTest]:
    service = ServiceUnderTest(database_url, folder)
    with service.client:
        yield service


@pytest.mark.postgres
class TestPostgreSQL:
    """Each on a service whose first three frames were acknowledged before the fault."""

    @pytest.fixture
    def database(self, postgresql_server: str) -> Iterator[str]:
        name = f"faults_{uuid4().hex}"
        yield postgresql.create_database(postgresql_server, name, TEMPLATE)
        postgresql.drop_database(postgresql_server, name)

    @pytest.fixture
    def run(self, database: str, tmp_path: Path) -> Iterator[Speaker]:
        with serving(database, tmp_path) as service:
            run = service.declare_run()
            run.send(0, 3)
            yield run

    def test_a_restart_is_told_and_survived(self, postgresql_server: str, tmp_path: Path) -> None:
        binaries = postgresql.find_binaries()
        assert binaries is not None  # else the fixture would have skipped
        with postgresql.running(binaries) as server:
            database = postgresql.create_database(server.url, "restarted")
            migrate(database)
            with serving(database, tmp_path) as service:
                run = service.declare_run()
                run.send(0, 3)
                server.stop()
                assert_come_again(run.post(run.chunk(3, 3)))
                assert_not_ready_soon(service)
                server.start()
                assert service.client.get("/readyz").status_code == 200
                assert run.send(3, 3)["next"] == 6
                assert_every_frame_once(run, 6)

    def test_connections_that_were_killed_are_replaced(self, run: Speaker, database: str) -> None:
        with administering(database) as connection:
            connection.execute(KILL_OTHERS)
        assert run.send(3, 3)["next"] == 6
        assert_every_frame_once(run, 6)

    def test_a_connection_killed_at_its_commit_leaves_no_doubt(self, run: Speaker, database: str) -> None:
        """The client cannot know whether it was committed, so it sends the same again."""

        def kill_once(_: object) -> None:
            event.remove(run.service.app.state.writer_engine, "commit", kill_once)
            with administering(database) as connection:
                connection.execute(KILL_OTHERS)

        event.listen(run.service.app.state.writer_engine, "commit", kill_once)
        assert_come_again(run.post(run.chunk(3, 3)))
        assert run.send(3, 3)["next"] == 6
        assert_every_frame_once(run, 6)

    def test_chunks_do_not_wait_for_the_connections_of_readers(self, run: Speaker) -> None:
        engine = run.service.app.state.engine
        held = [engine.connect() for _ in range(engine.pool.size() + engine.pool._max_overflow)]
        try:
            assert run.send(3, 3)["next"] == 6
            assert_come_again(run.service.client.get(run.path, headers=run.service.read))
        finally:
            for connection in held:
                connection.close()
        assert_every_frame_once(run, 6)

    @pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout"])
    def test_a_statement_that_takes_too_long_is_tried_again(self, run: Speaker, database: str, setting: str) -> None:
        with administering(database) as connection:
            connection.execute(f"ALTER DATABASE \"{database.rpartition('/')[2]}\" SET {setting} = '200ms'")
            connection.execute(KILL_OTHERS)  # so that new connections have it
            with connection.transaction():
                connection.execute("SELECT 1 FROM runs WHERE run_id = %s FOR UPDATE", (run.run_id,))
                assert_come_again(run.post(run.chunk(3, 3)))
        assert run.send(3, 3)["next"] == 6
        assert_every_frame_once(run, 6)

    def test_a_transaction_that_collides_with_anothers_is_sent_again(self, run: Speaker, database: str) -> None:
        """In an isolation in which PostgreSQL ends the second one that touches a row."""
        refused: list[str] = []

        def note(context: Any) -> None:
            refused.append(context.original_exception.sqlstate)

        event.listen(run.service.app.state.writer_engine, "handle_error", note)
        with ThreadPoolExecutor(1) as pool, administering(database) as other, administering(database) as watching:
            name = database.rpartition("/")[2]
            watching.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'")
            watching.execute(f"{KILL_OTHERS} AND pid <> %s", (other.info.backend_pid,))  # new connections have it
            with other.transaction():
                other.execute("UPDATE runs SET last_seen_at = last_seen_at WHERE run_id = %s", (run.run_id,))
                sent = pool.submit(run.post, run.chunk(3, 3))
                while not watching.execute(WAITING).fetchone():  # until its snapshot is older than our commit
                    assert not sent.done(), sent.result().text
            assert_come_again(sent.result())
        assert refused[-1] == "40001"  # serialization_failure
        assert run.send(3, 3)["next"] == 6
        assert_every_frame_once(run, 6)


WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
KILL_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid()"
)


@contextmanager
def administering(database: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "gradvitals-test", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class TestDiskFull:
    """SQLite on a disk that fills up, and has room again."""

    def check(self, run: Speaker, fill: Callable[[], None], free: Callable[[], None]) -> None:
        acknowledged = run.send(0, 3)["next"]
        assert run.service.client.get("/readyz").status_code == 200
        fill()
        let_commits_grow_old(run.service)
        assert_not_ready_soon(run.service)  # although nobody has sent anything
        for _ in range(2000):  # until the database needs room that is not there
            answer = run.post(wide_chunk(run, acknowledged))
            if answer.status_code != 200:
                break
            acknowledged = answer.json()["next"]
        assert_come_again(answer)
        assert_not_ready_soon(run.service)
        assert run.service.get(run.path)["frames"] == acknowledged  # what is there can be read
        free()
        assert run.service.client.get("/readyz").status_code == 200
        assert run.send(acknowledged, 64)["next"] == acknowledged + 64
        assert_every_frame_once(run, acknowledged + 64)

    def test_a_full_file_system(self, small_disk: Path, sqlite_template: Path, tmp_path: Path) -> None:
        database = small_disk / "gradvitals.db"
        database.write_bytes(sqlite_template.read_bytes())
        ballast = small_disk / "ballast"

        def fill() -> None:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

        with serving(f"sqlite:///{database}", tmp_path) as service:
            self.check(service.declare_run(), fill, ballast.unlink)

    def test_a_database_that_may_not_grow(self, sqlite_template: Path, tmp_path: Path) -> None:
        """Where nothing can be mounted: SQLite's own limit of pages gives the same error, "disk is full"."""
        database = tmp_path / "gradvitals.db"
        database.write_bytes(sqlite_template.read_bytes())
        with serving(f"sqlite:///{database}", tmp_path) as service:
            pages = PageLimit(service)
            self.check(service.declare_run(), pages.forbid_growth, pages.lift)


class PageLimit:
    """How many pages the writer's connections may use, set as each of its transactions begins."""

    def __init__(self, service: ServiceUnderTest) -> None:
        self._pages = 2**30
        event.listen(service.app.state.writer_engine, "begin", self._limit)

    def _limit(self, connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {self._pages}")

    def forbid_growth(self) -> None:
        self._pages = 1  # SQLite takes the present size where that is larger

    def lift(self) -> None:
        self._pages = 2**30


def wide_chunk(run: Speaker, first: int) -> dict[str, Any]:
    """64 frames whose times cannot be compressed."""
    noise = [float(hash((first, k)) % 2**52) for k in range(64)]
    return run.chunk(first, 64, time=noise)


@pytest.mark.postgres
def test_two_replicas_in_serializable_transactions_store_every_frame_once(
    postgresql_server: str, tmp_path: Path
) -> None:
    """PostgreSQL ends one of two transactions that collide, and the client sends again."""
    name = f"serializable_{uuid4().hex}"
    database = postgresql.create_database(postgresql_server, name, TEMPLATE)
    with administering(database) as connection:
        connection.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'")
    try:
        with serving(database, tmp_path) as one, serving(database, tmp_path) as other:
            run = one.declare_run()
            twin = Speaker(other, run.run_id, run.attempt_id)
            for speaker in (run, twin):  # one by one: FastAPI makes what a route needs at its first call
                speaker.post(b"")
            statuses: list[int] = []

            def send(speaker: Speaker) -> None:
                taken = 0
                while taken < 120:
                    answer = speaker.post(speaker.chunk(taken, 4))
                    statuses.append(answer.status_code)
                    if answer.status_code in (200, 409):
                        taken = answer.json()["next"]

            threads = [threading.Thread(target=send, args=(speaker,)) for speaker in (run, twin)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert set(statuses) <= {200, 409, 503}
            assert_every_frame_once(run, 120)
    finally:
        postgresql.drop_database(postgresql_server, name)
