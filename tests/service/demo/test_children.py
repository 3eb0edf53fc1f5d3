"""No child outlives its parent, however the parent is ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gradvitals_service.demo.children import Children

StartParent = Callable[[str], "subprocess.Popen[str]"]

PARENT = """
import os, signal, sys
from gradvitals_service.demo.children import Children

child = '''{child}'''
try:
    with Children() as children:
        process = children.start([sys.executable, "-c", child], os.environ)
        print(process.pid, flush=True)
        process.wait()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
PATIENT = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def start_parent() -> Iterator[StartParent]:
    parents: list[subprocess.Popen[str]] = []

    def start(child: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PARENT.format(child=child)]
        parent = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        parents.append(parent)
        return parent

    yield start
    for parent in parents:
        if parent.poll() is None:
            parent.kill()
        parent.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_parent_ends_the_child_and_is_a_keyboard_interrupt(
    start_parent: StartParent, number: signal.Signals
) -> None:
    parent = start_parent(PATIENT)
    child = int(read_line(parent))
    parent.send_signal(number)
    out, errors = parent.communicate(timeout=30)
    assert (out, errors, parent.returncode) == ("interrupted\n", "", 0)
    assert not is_running(child)


def test_a_child_that_does_not_listen_is_killed(start_parent: StartParent) -> None:
    parent = start_parent(STUBBORN)
    child = int(read_line(parent))
    assert read_line(parent) == "deaf\n"
    parent.send_signal(signal.SIGINT)
    out, _ = parent.communicate(timeout=30)
    assert out == "interrupted\n"
    assert not is_running(child)


def test_ctrl_c_again_and_again_while_ending_changes_nothing(start_parent: StartParent) -> None:
    parent = start_parent(STUBBORN)
    child = int(read_line(parent))
    assert read_line(parent) == "deaf\n"
    for _ in range(3):
        parent.send_signal(signal.SIGINT)
    out, errors = parent.communicate(timeout=30)
    assert (out, errors) == ("interrupted\n", "")
    assert not is_running(child)


def test_handlers_are_as_before_afterwards_and_a_child_that_has_ended_is_no_trouble(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Children() as children, (tmp_path / "said").open("wb") as said:
        process = children.start([sys.executable, "-c", "print('done')"], os.environ, said)
        assert process.wait(timeout=30) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert (tmp_path / "said").read_text() == "done\n"
