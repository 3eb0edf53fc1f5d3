"""Of another rank than 0 only what happened there alone is sent, with the frames around it."""

from __future__ import annotations

import math

import pytest
from client.building import frame, store

from gradvitals.logged import LoggedValues
from gradvitals.own_differences import AROUND, CALM, MOST_DIFFERENCES, OwnDifferences
from gradvitals.pending import CHUNK_SECONDS


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def own_differences(clock=None):
    def never(name, fault):
        raise AssertionError(f"{name} could not be read") from fault

    return OwnDifferences(store(), on_unreadable=never, clock=clock or Clock())


def add(differences, step, *, loss=None, non_finite=None, monitor="main"):
    made = frame(step)
    made.non_finite = non_finite
    logged = None
    if loss is not None:
        logged = LoggedValues()
        logged.add("loss", loss)
    woken = []
    differences.start(lambda: woken.append(True), dict)
    differences.add(monitor, made, logged)
    return bool(woken)


def sent(differences):
    """The steps of all frames that are sent now, chunk by chunk."""
    steps = []
    while (chunk := differences.take(flush=True)) is not None:
        steps += [made.step for made in chunk.frames]
        differences.acknowledge(chunk, chunk.end)
    return steps


class TestWhatIsSent:
    def test_nothing_while_all_is_as_everywhere(self):
        differences = own_differences()
        for step in range(100):
            add(differences, step, loss=1.0)
        assert sent(differences) == []
        assert differences.counts() == {}

    @pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
    def test_eight_frames_before_and_after_a_loss_of_its_own_that_is_not_finite(self, loss):
        differences = own_differences()
        for step in range(100):
            add(differences, step, loss=loss if step == 50 else 1.0)
        assert sent(differences) == list(range(42, 59))

    def test_the_frames_around_a_bad_part_of_a_gradient(self):
        differences = own_differences()
        for step in range(100):
            add(differences, step, non_finite=[(0, 1, 0)] if step == 50 else None)
        assert sent(differences) == list(range(42, 59))

    def test_the_loss_goes_with_its_frame(self):
        differences = own_differences()
        add(differences, 0, loss=math.nan)
        assert math.isnan(differences.take(flush=True).frames[0].loss)

    def test_a_loss_that_stays_bad_is_told_once(self):
        differences = own_differences()
        for step in range(5 * CALM):
            add(differences, step, loss=1.0 if step < 20 else math.nan)
        assert sent(differences) == list(range(12, 20 + 1 + AROUND))

    def test_one_after_a_calm_stretch_is_told_again(self):
        differences = own_differences()
        second = 20 + CALM + 1
        for step in range(second + 20):
            add(differences, step, loss=math.nan if step in (20, second) else 1.0)
        assert second in sent(differences)

    def test_there_is_an_end_to_what_is_told(self):
        differences = own_differences()
        again = CALM + 1
        for step in range((MOST_DIFFERENCES + 5) * again):
            add(differences, step, loss=math.nan if step % again == 0 else 1.0)
            if step % 500 == 0:
                differences.take(flush=True)
        told = {step for step in sent(differences) if step % again == 0}
        assert max(told) == (MOST_DIFFERENCES - 1) * again

    def test_each_monitor_has_differences_of_its_own(self):
        differences = own_differences()
        for step in range(30):
            add(differences, step, loss=math.nan if step == 15 else 1.0, monitor="generator")
            add(differences, step, loss=1.0, monitor="critic")
        sent(differences)
        assert list(differences.counts()) == ["generator"]


class TestWhen:
    def test_a_frame_is_looked_at_once_nobody_adds_to_it_any_more(self):
        clock = Clock()
        differences = own_differences(clock)
        assert add(differences, 0) is True
        assert add(differences, 1) is False  # the sender knows already
        assert differences.due_in() == CHUNK_SECONDS
        late = LoggedValues()
        late.add("loss", math.nan)
        assert differences.amend("main", 1, late) is True
        assert differences.take(flush=False) is None
        clock.now = CHUNK_SECONDS
        assert sent(differences) == [0, 1]

    def test_what_was_looked_at_is_not_added_to(self):
        differences = own_differences()
        add(differences, 0)
        differences.take(flush=True)
        assert differences.amend("main", 0, LoggedValues()) is False

    def test_with_nothing_to_look_at_the_sender_is_not_woken(self):
        assert own_differences().due_in() is None
