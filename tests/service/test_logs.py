"""Logs: one shape for ours and those of libraries, and no secrets.

Logging is set up for a whole process, so each test runs a program of its own.
"""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging
import structlog
from gradvitals_service.logs import configure_logs

def fail(token):
    raise ValueError("it broke")

configure_logs(FORMAT)
structlog.get_logger("gradvitals_service.ingest").warning("ours", run_id="r")
logging.getLogger("uvicorn.error").error("theirs %d", 1)
logging.getLogger("somebody").info("not shown")
try:
    fail("gv_" + "secret")
except ValueError:
    structlog.get_logger("gradvitals_service.ingest").error("failed", exc_info=True)
"""


def log_lines(log_format: str) -> list[str]:
    command = [sys.executable, "-c", PROGRAM.replace("FORMAT", repr(log_format))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    return result.stderr.strip().splitlines()


def test_json_logs_are_one_object_a_line() -> None:
    lines = [json.loads(line) for line in log_lines("json")]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("ours", "warning"),
        ("theirs 1", "error"),
        ("failed", "error"),
    ]
    assert lines[0]["run_id"] == "r"
    assert all("timestamp" in line for line in lines)
    assert lines[2]["exception"][0]["exc_value"] == "it broke"


def test_console_logs_are_for_a_person() -> None:
    first, second, *_ = log_lines("console")
    assert "ours" in first
    assert "run_id=r" in first
    assert "theirs 1" in second
    assert "\x1b" not in first  # no colours where nobody looks at a terminal


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_does_not_tell_the_values_of_variables(log_format: str) -> None:
    text = "\n".join(log_lines(log_format))
    assert "it broke" in text
    assert "gv_secret" not in text
