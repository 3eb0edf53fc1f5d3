"""A non-finite gradient is told at once; whether it is grave depends on whether the step was skipped."""

import math

import numpy as np
import pytest
from service.health.detectors.streams import SKIPPED_STEP, healthy, judge, kinds, make_frames


def stream_with(bad_steps: list[int], value: float = math.nan, flags: int = 0, n: int = 100):
    norms = healthy(n)
    norms[bad_steps, 1] = value
    all_flags = np.zeros(n, np.uint32)
    all_flags[bad_steps] = flags
    return make_frames(norms, flags=all_flags)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_first_non_finite_norm_opens_a_critical_event_at_its_own_step(value):
    (event,) = judge(stream_with(list(range(60, 100)), value))
    assert (event.kind, event.status, event.severity, event.start_step) == ("non_finite", "open", "critical", 60)


def test_the_event_names_the_groups_that_broke():
    (event,) = judge(stream_with([99]))
    assert event.groups == (1,)
    assert event.message == "the gradient is not finite in 1 of 3 layers, and the step was not skipped"


def test_a_skipped_overflow_is_information():
    (event,) = judge(stream_with([0, 1, 2, 50], math.inf, SKIPPED_STEP))[:1]
    assert event.severity == "info"


def test_twenty_skipped_steps_in_a_row_are_critical():
    nineteen = judge(stream_with(list(range(40, 59)), flags=SKIPPED_STEP))
    twenty = judge(stream_with(list(range(40, 60)), flags=SKIPPED_STEP))
    assert [event.severity for event in nineteen] == ["info"]
    assert [event.severity for event in twenty] == ["critical"]


def test_it_resolves_after_twenty_finite_steps_and_ends_where_it_was_last_seen():
    (event,) = judge(stream_with([30, 35]))
    assert (event.status, event.start_step, event.end_step) == ("resolved", 30, 35)
    assert event.message == "the gradient is finite again after 2 bad steps"


def test_a_later_one_is_an_event_of_its_own():
    events = judge(stream_with([10, 51]))
    assert [event.start_step for event in events] == [10, 51]


def test_an_overflow_is_never_called_an_explosion():
    assert set(kinds(judge(stream_with([0, 1, 40, 41, 99], math.inf, SKIPPED_STEP)))) == {"non_finite"}


class TestWeights:
    """They are measured every 64th frame, before its update."""

    def judge(self, bad: list[int], weights: dict[int, float], flags: int = 0, n: int = 130):
        norms = healthy(n)
        norms[bad, 1] = math.nan
        all_flags = np.zeros(n, np.uint32)
        all_flags[bad] = flags
        return judge(make_frames(norms, flags=all_flags, weights=weights))

    def test_are_not_known_right_after_a_bad_gradient_was_applied(self):
        (event,) = self.judge([70], {0: 1.0, 64: 1.0}, n=100)
        assert (event.status, event.weights_finite) == ("open", None)

    def test_are_known_to_be_finite_once_they_were_measured_again(self):
        (event,) = self.judge([70], {0: 1.0, 64: 1.0, 128: 1.0})
        assert (event.status, event.end_step, event.weights_finite) == ("resolved", 70, True)

    def test_that_are_spoiled_keep_the_event_open_however_the_gradient_looks(self):
        (event,) = self.judge([70], {0: 1.0, 64: 1.0, 128: math.nan}, n=300)
        assert (event.status, event.severity, event.weights_finite) == ("open", "critical", False)
        assert event.message == "the gradient was not finite in 1 bad step; the weights are not finite any more"

    def test_stay_finite_where_the_step_was_skipped(self):
        (event,) = self.judge([70], {0: 1.0, 64: 1.0}, flags=SKIPPED_STEP)
        assert (event.status, event.weights_finite) == ("resolved", True)

    def test_measured_with_the_bad_frame_itself_are_those_from_before_it(self):
        (event,) = self.judge([64], {0: 1.0, 64: 1.0}, n=70)
        assert event.weights_finite is None

    def test_that_are_not_measured_again_are_waited_for_no_longer_than_they_would_take(self):
        (event,) = self.judge([70], {0: 1.0, 64: 1.0}, n=70 + 20 + 64 + 1)
        assert (event.status, event.weights_finite) == ("resolved", None)

    def test_that_were_never_measured_are_not_waited_for(self):
        (event,) = self.judge([70], {}, n=91)
        assert (event.status, event.weights_finite) == ("resolved", None)
