"""Every step of a real training process arrives at a real service exactly once, whatever happens between them."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from service_process import ServiceProcess

SCRIPT = Path(__file__).with_name("training_script.py")


def start_training(service: ServiceProcess, steps: int, pauses: str, out: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(steps), pauses, str(out)],
        env=service.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_line(training: "subprocess.Popen[str]", line: str) -> None:
    assert training.stdout is not None
    for printed in training.stdout:
        if printed.strip() == line:
            return
    _, errors = training.communicate()
    raise AssertionError(f"the training ended before it said {line!r}:\n{errors}")


def go_on(training: "subprocess.Popen[str]") -> None:
    assert training.stdin is not None
    training.stdin.write("\n")
    training.stdin.flush()


def finish(training: "subprocess.Popen[str]") -> str:
    _, errors = training.communicate(timeout=120)
    assert training.returncode == 0, errors
    return errors


def check_every_step_once(service: ServiceProcess, seen: dict[str, list[float]]) -> None:
    """Steps 0 to the last, each once, with the values that the training process saw."""
    (run,) = service.get("/api/v1/dashboard")["runs"]
    steps = len(seen["norms"])
    series = service.get(f"/api/v1/runs/{run['run_id']}/series?metrics=global_norm,loss&points=10000")
    assert series["bucket"] == 1
    assert series["step"] == list(range(steps))
    assert series["series"]["global_norm"]["min"] == pytest.approx(seen["norms"], rel=1e-6)
    assert series["series"]["loss"]["max"] == pytest.approx(seen["losses"], rel=1e-6)
    with sqlite3.connect(service.database) as database:
        assert database.execute("SELECT sum(n) FROM chunks").fetchone() == (steps,)
        assert database.execute("SELECT count(*) FROM gaps").fetchone() == (0,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_training_process_finds_the_service_of_its_user_and_every_step_arrives_once(
    service: ServiceProcess, tmp_path: Path
) -> None:
    out = tmp_path / "seen.json"
    errors = finish(start_training(service, 400, "", out))
    seen = json.loads(out.read_text())
    check_every_step_once(service, seen)
    (run,) = service.get("/api/v1/dashboard")["runs"]
    assert (run["state"], run["health"], run["last_step"]) == ("finished", "healthy", 399)
    assert seen["url"] in errors  # the person is told where to look
    assert seen["url"].startswith(service.url)


def test_every_step_arrives_once_when_the_service_is_killed_and_restarted_in_the_middle(
    service: ServiceProcess, tmp_path: Path
) -> None:
    out = tmp_path / "seen.json"
    training = start_training(service, 900, "300,600", out)
    wait_for_line(training, "waiting at 300")
    go_on(training)
    service.kill()  # at a moment that neither side chose: some chunks are acknowledged, some are under way
    wait_for_line(training, "waiting at 600")
    service.start()
    go_on(training)
    finish(training)
    check_every_step_once(service, json.loads(out.read_text()))


def test_a_service_that_starts_after_the_training_gets_every_step(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    out = tmp_path / "seen.json"
    training = start_training(service, 400, "200", out)
    wait_for_line(training, "waiting at 200")
    service.start()
    try:
        go_on(training)
        finish(training)
        check_every_step_once(service, json.loads(out.read_text()))
    finally:
        service.stop()


def test_a_training_without_any_service_ends_in_order_and_says_where_its_frames_are(tmp_path: Path) -> None:
    nowhere = ServiceProcess(tmp_path)
    errors = finish(start_training(nowhere, 50, "", tmp_path / "seen.json"))
    assert "Traceback" not in errors
    assert "no service" in errors
