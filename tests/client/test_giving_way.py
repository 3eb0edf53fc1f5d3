"""That a thread of ours lets the training go on, and that nobody else is slowed down."""

from __future__ import annotations

import threading
import time

import pytest

from gradvitals import giving_way
from gradvitals.giving_way import KEPT_SECONDS, PAUSE_SECONDS, give_way, give_way_unless


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """The pauses that were made; the CPU time of the thread is what the test says."""
    made: list[float] = []
    monkeypatch.setattr(giving_way.time, "sleep", made.append)
    return made


@pytest.fixture
def work(monkeypatch):
    """Let CPU time pass."""
    spent = [0.0]
    monkeypatch.setattr(giving_way.time, "thread_time", lambda: spent[0])

    def spend(seconds: float) -> None:
        spent[0] += seconds

    return spend


def in_a_thread(part) -> None:
    thread = threading.Thread(target=part)
    thread.start()
    thread.join()


def test_a_pause_is_made_once_the_interpreter_was_kept_for_a_while(pauses, work):
    def part():
        give_way_unless(lambda: False)
        give_way()
        work(0.9 * KEPT_SECONDS)
        give_way()
        assert pauses == []
        work(0.2 * KEPT_SECONDS)
        give_way()
        give_way()

    in_a_thread(part)
    assert pauses == [PAUSE_SECONDS]


def test_none_is_made_by_a_thread_that_did_not_ask_for_it(pauses, work):
    in_a_thread(lambda: give_way_unless(lambda: False))  # another one did
    work(1.0)
    give_way()
    assert pauses == []


def test_none_is_made_in_a_hurry(pauses, work):
    hurry = threading.Event()

    def part():
        give_way_unless(hurry.is_set)
        hurry.set()
        work(1.0)
        give_way()

    in_a_thread(part)
    assert pauses == []


def test_another_thread_goes_on_while_one_works():
    """With real threads: the interpreter's own turns of 5 ms would let the other go on four times in 20 ms."""
    ends, turns = threading.Event(), []

    def works():
        give_way_unless(lambda: False)
        while not ends.is_set():
            give_way()

    worker = threading.Thread(target=works)
    worker.start()
    until = time.monotonic() + 5.0
    while len(turns) < 200 and time.monotonic() < until:
        time.sleep(0)  # lets go of the interpreter, and wants it back
        turns.append(time.monotonic())
    ends.set()
    worker.join()
    assert len(turns) == 200
    assert turns[-1] - turns[0] < 0.5 * 200 * 0.005
