"""Steps a second, by the frames' own times."""

import numpy as np
import pytest

from gradvitals_service.runs.pace import Pace

STARTED = 1_790_000_000.0


def frames(first: int, n: int, seconds_a_step: float, begin: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Times and steps of ``n`` frames; the first is at ``begin`` seconds after the start."""
    row = np.arange(n)
    return STARTED + begin + row * seconds_a_step, first + row


class TestStepRate:
    def test_is_not_known_before_a_second_frame(self):
        pace = Pace()
        assert pace.step_rate is None
        pace.observe(STARTED, *frames(0, 1, 1.0))
        assert pace.step_rate is None

    def test_does_not_depend_on_how_the_frames_came(self):
        at_once, one_by_one = Pace(), Pace()
        at_once.observe(STARTED, *frames(0, 400, 0.25))
        for step in range(400):
            one_by_one.observe(STARTED, *frames(step, 1, 0.25, begin=step * 0.25))
        assert at_once.step_rate == one_by_one.step_rate == pytest.approx(4.0)

    def test_is_that_of_the_newest_minute(self):
        pace = Pace()
        pace.observe(STARTED, *frames(0, 1000, 0.1))
        for step in range(1000, 1080):
            pace.observe(STARTED, *frames(step, 1, 1.0, begin=100.0 + step - 1000))
        assert pace.step_rate == pytest.approx(1.0)

    def test_of_a_run_that_takes_minutes_a_step_is_measured_over_two(self):
        pace = Pace()
        for step in range(5):
            pace.observe(STARTED, *frames(step, 1, 1.0, begin=300.0 * step))
        assert pace.step_rate == pytest.approx(1 / 300)

    def test_begins_anew_with_another_attempt_and_with_a_clock_that_was_put_back(self):
        pace = Pace()
        pace.observe(STARTED, *frames(0, 100, 1.0))
        pace.observe(STARTED + 5000, *frames(50, 21, 0.5, begin=5000.0))
        assert pace.step_rate == pytest.approx(2.0)
        pace.observe(STARTED + 5000, *frames(71, 21, 0.2, begin=1000.0))
        assert pace.step_rate == pytest.approx(5.0)

    def test_needs_a_few_marks_however_long_the_run_is(self):
        pace = Pace()
        for step in range(0, 40_000, 400):
            pace.observe(STARTED, *frames(step, 400, 0.05, begin=step * 0.05))
        assert len(pace.marks) <= 8
        assert Pace.from_bytes(pace.to_bytes()) == pace
