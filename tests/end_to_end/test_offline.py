"""Real processes train without a service, or lose it, or are killed: a real service gets every step once, later."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

import pytest
from service_process import ServiceProcess

TRAINING = """
import sys
import gradvitals
run = gradvitals.init(project="end-to-end", name="offline", run_id="the-run")
observer = run.observer(max_norm=1.0)
def train(steps, norm=1.0):
    for _ in range(steps):
        observer.observe(norm)
def say_and_wait(word):
    print(word, flush=True)
    sys.stdin.readline()
"""


class Process:
    """A training that does what ``code`` says."""

    def __init__(self, service: ServiceProcess, code: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", TRAINING + code],
            env=service.environment | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n"

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()

    def finish(self) -> str:
        _, errors = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, errors
        return errors


def gradvitals(service: ServiceProcess, *arguments: str) -> str:
    command = [sys.executable, "-m", "gradvitals.cli", *arguments]
    result = subprocess.run(command, env=service.environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def ask(service: ServiceProcess, statement: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(service.database)
    try:
        return database.execute(statement).fetchall()
    finally:
        database.close()


def stored_steps(service: ServiceProcess) -> tuple[object, object]:
    """How many frames are stored, and how many are gaps."""
    return (
        ask(service, "SELECT coalesce(sum(n), 0) FROM chunks")[0]
        + ask(service, "SELECT coalesce(sum(n), 0) FROM gaps")[0]
    )


@pytest.fixture
def alerting(tmp_path: Path) -> ServiceProcess:
    return ServiceProcess(tmp_path, "--alert", "json://127.0.0.1:9/")


def test_an_offline_run_arrives_with_a_sync_and_its_events_page_nobody(alerting: ServiceProcess) -> None:
    code = "train(300); train(1, float('nan')); train(50); run.finish()"
    errors = Process(alerting, code, GRADVITALS_MODE="offline").finish()
    assert "`gradvitals sync` sends them" in errors
    assert "351 frames to send" in gradvitals(alerting, "status")
    alerting.start()
    try:
        assert "351 frames of 1 attempt sent" in gradvitals(alerting, "sync")
        assert stored_steps(alerting) == (351, 0)
        assert ask(alerting, "SELECT kind, severity FROM events") == [("non_finite", "critical")]
        assert ask(alerting, "SELECT count(*) FROM deliveries") == [(0,)]
        (run,) = alerting.get("/api/v1/dashboard")["runs"]
        assert run["state"] == "finished"
        assert "nothing is spooled" in gradvitals(alerting, "status")
    finally:
        alerting.stop()


def test_the_same_run_online_pages_somebody(alerting: ServiceProcess) -> None:
    """Or the test above would show nothing."""
    alerting.start()
    try:
        Process(alerting, "train(300); train(1, float('nan')); train(50); run.finish()").finish()
        assert ask(alerting, "SELECT count(*) FROM deliveries") == [(1,)]
    finally:
        alerting.stop()


def test_a_relay_pages_for_what_happens_now_and_for_nothing_that_is_old(alerting: ServiceProcess) -> None:
    code = "train(300); train(1, float('nan')); train(50); run.finish()"
    spool = alerting.folder / "spool"
    offline = {"GRADVITALS_MODE": "offline", "GRADVITALS_SPOOL_DIR": str(spool)}
    Process(alerting, code, **offline).finish()
    hours_ago = time.time() - 3 * 3600
    for path in spool.rglob("*"):
        os.utime(path, (hours_ago, hours_ago))
    alerting.start()
    command = [sys.executable, "-m", "gradvitals.cli", "sync", "--watch", str(spool)]
    relay = subprocess.Popen(command, env=alerting.environment, stdout=subprocess.PIPE, text=True)
    assert relay.stdout is not None
    try:
        wait_until_sent(relay.stdout)
        assert ask(alerting, "SELECT kind, severity FROM events") == [("non_finite", "critical")]
        assert ask(alerting, "SELECT count(*) FROM deliveries") == [(0,)]
        Process(alerting, code, **offline).finish()
        wait_until_sent(relay.stdout)
        assert ask(alerting, "SELECT count(*) FROM events") == [(2,)]
        assert ask(alerting, "SELECT count(*) FROM deliveries") == [(1,)]
        assert stored_steps(alerting) == (702, 0)
    finally:
        relay.send_signal(signal.SIGINT)
        assert relay.wait(20) == 130
        relay.stdout.close()
        alerting.stop()


def wait_until_sent(said: TextIO) -> None:
    assert any("everything was sent" in line for line in said), "the relay has ended"


def test_what_a_killed_process_left_is_sent_by_the_next_one_of_its_run(service: ServiceProcess) -> None:
    service.stop()
    first = Process(service, "import time; train(200); time.sleep(1.2); say_and_wait('made')")
    first.wait_for("made")
    first.kill()
    service.start()
    second = Process(service, "train(100); import time; time.sleep(3); run.finish()")
    assert "sent 200 frames that an earlier process of this run had left" in second.finish()
    assert stored_steps(service) == (300, 0)
    assert ask(service, "SELECT count(*) FROM attempts") == [(2,)]
    (run,) = service.get("/api/v1/dashboard")["runs"]
    assert run["state"] == "finished"


def test_a_service_that_is_restored_from_a_backup_gets_what_is_kept_here(service: ServiceProcess) -> None:
    code = "train(200); say_and_wait('first'); train(200); say_and_wait('second'); train(200); run.finish()"
    training = Process(service, code)
    training.wait_for("first")
    wait_until_stored(service, 200)
    service.stop()
    backup = service.folder / "backup.db"
    shutil.copy(service.database, backup)
    service.start()
    training.go_on()
    training.wait_for("second")
    wait_until_stored(service, 400)
    service.stop()
    for path in service.database.parent.glob("gradvitals.db*"):
        path.unlink()
    shutil.copy(backup, service.database)
    os.chmod(service.database, 0o600)
    service.start()
    training.go_on()
    training.finish()
    assert stored_steps(service) == (600, 0)


def wait_until_stored(service: ServiceProcess, frames: int) -> None:
    while stored_steps(service)[0] != frames:
        assert service.process is not None
        service.get("/api/v1/dashboard")  # a round trip, for as long as the test's own timeout lasts
