"""A norm that somebody else has measured becomes a frame without layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import gradvitals
from gradvitals.errors import ConfigurationError
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP
from gradvitals.memory_transport import MemoryTransport
from gradvitals.observer import Observer


class Collected(list):
    def __call__(self, observer, frame):
        self.append(frame)


@pytest.fixture
def frames():
    return Collected()


@pytest.fixture
def lines():
    return []


@pytest.fixture
def observer(frames, lines):
    return Observer(name="main", submit=frames, max_norm=1.0, tell_once=lambda about, line: lines.append(line))


class TestFrames:
    """The limit is 1."""

    def test_the_coefficient_follows_from_the_limit(self, observer, frames):
        observer.observe(4.0)
        assert (frames[0].global_norm, frames[0].max_norm) == (4.0, 1.0)
        assert frames[0].clip_coefficient == pytest.approx(0.25)

    def test_below_the_limit_nothing_was_clipped(self, observer, frames):
        observer.observe(0.5)
        assert frames[0].clip_coefficient == 1.0

    def test_a_coefficient_that_is_known_is_taken(self, observer, frames):
        observer.observe(4.0, 0.125)
        assert frames[0].clip_coefficient == 0.125

    @pytest.mark.parametrize("norm", [torch.tensor(4.0), np.float32(4.0), torch.tensor([4.0], dtype=torch.bfloat16)])
    def test_a_norm_may_be_a_tensor_or_of_numpy(self, norm, observer, frames):
        observer.observe(norm)
        assert frames[0].global_norm == 4.0

    def test_without_a_limit_the_coefficient_is_1(self, frames):
        Observer(name="main", submit=frames).observe(4.0)
        assert (frames[0].clip_coefficient, frames[0].max_norm) == (1.0, math.inf)

    def test_a_limit_may_change_while_the_run_goes_on(self, observer, frames):
        observer.max_norm = 2.0
        observer.observe(4.0)
        assert frames[0].clip_coefficient == pytest.approx(0.5)

    def test_there_are_no_layers(self, observer, frames):
        observer.observe(4.0)
        assert frames[0].layout.layers == ()
        assert observer.last["layer_norms"] == {}

    def test_learning_rate_and_loss_scale_go_with_it(self, observer, frames):
        observer.observe(4.0, lr=0.1, loss_scale=1024.0)
        assert (frames[0].lr, frames[0].loss_scale) == (0.1, 1024.0)

    def test_steps_are_counted_from_the_first(self, frames):
        observer = Observer(name="main", submit=frames, step=7)
        observer.observe(1.0)
        observer.observe(1.0)
        assert [frame.step for frame in frames] == [7, 8]
        assert observer.step == 9


class TestNotFinite:
    @pytest.mark.parametrize("norm", [math.nan, math.inf, -1.0])
    def test_a_norm_that_is_not_finite_is_flagged(self, norm, observer, frames):
        observer.observe(norm)  # -1 is DeepSpeed's word for it
        assert not math.isfinite(frames[0].global_norm)
        assert math.isnan(frames[0].clip_coefficient)
        assert frames[0].flags == FLAG_NON_FINITE
        assert observer.spoiled_at == 0

    def test_a_skipped_step_says_nothing_about_an_earlier_norm(self, observer, frames):
        observer.observe(4.0)
        observer.observe(4.0, skipped=True)  # DeepSpeed keeps the norm of the step before
        assert math.isnan(frames[1].global_norm)
        assert frames[1].flags == FLAG_NON_FINITE | FLAG_SKIPPED_STEP
        assert (observer.last_healthy_step, observer.spoiled_at) == (0, None)


class TestNothingIsRaised:
    def test_no_norm_makes_no_frame_and_is_told(self, observer, frames, lines):
        observer.observe(None)
        assert frames == []
        assert "main was told no norm" in lines[0]
        assert observer.step == 1

    def test_what_is_no_number_is_told(self, observer, frames, lines):
        observer.observe("large")
        assert frames == []
        assert "a norm could not be taken" in lines[0]

    def test_after_the_end_nothing_is_recorded(self, observer, frames):
        observer.stop_recording()
        observer.observe(4.0)
        assert frames == []


class TestRun:
    def test_frames_arrive_with_what_was_logged(self):
        service = MemoryTransport()
        with gradvitals.init("tests", url=service) as run:
            observer = run.observer(max_norm=1.0)
            run.log(loss=2.5)
            observer.observe(4.0)
        (frame,) = service.frames()
        assert (frame.global_norm, frame.loss) == (4.0, 2.5)
        (attempt,) = service.attempts.values()
        assert attempt["monitors"]["main"]["max_norm"] == 1.0

    def test_stands_beside_watched_optimizers(self):
        with gradvitals.init("tests", url=MemoryTransport()) as run:
            weight = torch.nn.Linear(2, 2)
            run.watch(weight, torch.optim.SGD(weight.parameters(), lr=0.1))
            assert run.observer().name == "main-2"
            with pytest.raises(ConfigurationError, match="another monitor of this run has already"):
                run.observer(name="main")

    @pytest.mark.parametrize("max_norm", [0, -1.0, math.nan, "one"])
    def test_a_limit_that_is_none_is_refused(self, max_norm):
        with (
            gradvitals.init("tests", mode="disabled") as run,
            pytest.raises(ConfigurationError, match="max_norm must be a number above 0"),
        ):
            run.observer(max_norm=max_norm)
