"""An instability is a loss that climbs for hundreds of steps beside its cause, told before anything explodes."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from service.health.detectors.streams import SEAM, healthy, judge, kinds, make_frames

from gradvitals_service.health.detectors import Detectors, EventUpdate

N = 1600
T = np.arange(N)
CLIMB = np.exp(np.maximum(T - 800, 0) / 150.0)  # from step 800 on, e-fold in 150 steps
STEEP = CLIMB**2
WARM_UP = np.minimum(1.0, (T + 1) / 1500.0)


def warnings(norms: Any = None, **columns: Any) -> list[EventUpdate]:
    frames = make_frames(healthy(N) if norms is None else norms, **columns)
    return [event for event in judge(frames) if event.kind == "instability"]


def noisy(loss: NDArray[np.float64], seed: int = 1) -> NDArray[np.float64]:
    return loss * np.exp(np.random.default_rng(seed).normal(0.0, 0.1, N))


class TestALossThatClimbsWithTheLearningRate:
    def test_is_told_within_two_hundred_steps_of_its_beginning(self):
        (event,) = warnings(loss=noisy(0.1 * CLIMB), lr=WARM_UP)
        assert 850 < event.start_step < 1000
        assert (event.severity, event.status, event.groups) == ("warning", "open", ())

    def test_says_from_where_to_where_and_beside_what(self):
        frames = make_frames(healthy(N), loss=0.1 * CLIMB, lr=WARM_UP).rows(0, 928)
        (event,) = judge(frames)
        assert event.message == (
            "the loss climbs, from 0.1 to 0.169 within 480 steps, and the learning rate is higher than it ever was "
            "(0.299 to 0.597): runs that went on like this have exploded"
        )

    def test_tells_how_the_norm_stands_though_it_need_not_have_risen(self):
        (event,) = warnings(loss=noisy(0.1 * CLIMB), lr=WARM_UP)
        assert event.times_usual == pytest.approx(1.0, abs=0.2)
        assert event.usual == pytest.approx(1.7, rel=0.1)


class TestALossThatClimbsWithTheNorm:
    def test_is_told_at_a_constant_learning_rate_too_and_before_the_ramp_is_an_explosion(self):
        events = judge(make_frames(healthy(N) * STEEP[:, None], loss=noisy(STEEP)))
        assert kinds(events) == ["instability", "explosion"]
        warning, explosion = events
        assert warning.start_step + 30 < explosion.start_step

    def test_is_told_as_the_explosion_once_there_is_one(self):
        warning, explosion = judge(make_frames(healthy(N) * STEEP[:, None], loss=noisy(STEEP)))
        assert warning.status == "resolved"
        assert warning.message == f"the climb ended in an explosion at step {explosion.start_step}"


class TestHealthyClimbs:
    """None of them is worth a warning."""

    @pytest.mark.parametrize(
        ("norm", "loss", "lr"),
        [
            pytest.param(1.0, np.exp(-T / 300.0) + 0.1, WARM_UP, id="a warm-up whose loss falls"),
            pytest.param(1.0, 1.0, WARM_UP, id="a warm-up on a plateau"),
            pytest.param(1.0, 1.0 + 0.02 * (CLIMB > 1.0), WARM_UP, id="a plateau that rises by two percent"),
            pytest.param(CLIMB, 1.0 / CLIMB, 0.1, id="a norm that grows while the loss falls"),
            pytest.param(1.0 + 8.0 * (T >= 800), 1.0 / CLIMB, 0.1, id="a thawed backbone"),
            pytest.param(1.0, CLIMB, 0.1, id="harder and harder data at a constant rate"),
            pytest.param(1.0 + 2.0 * (T >= 800), 1.0 + 4.0 * (T >= 800), 0.1, id="another domain"),
            pytest.param(1.0, 1.0 + 2.0 * np.exp(-(T % 800) / 300.0), 0.6 + 0.4 * np.cos(T / 800 * 6.3), id="restarts"),
            pytest.param(1.0 + 4.0 * (T >= 800), 1.0, WARM_UP, id="a smaller batch in a warm-up"),
        ],
    )
    def test_are_silent(self, norm, loss, lr):
        norms = healthy(N) * np.broadcast_to(norm, N)[:, None]
        assert warnings(norms, loss=noisy(np.broadcast_to(loss, N)), lr=lr) == []

    def test_noise_is_silent_during_a_warm_up(self):
        for seed in range(20):
            noise = np.random.default_rng(seed).standard_t(3.0, N)
            assert warnings(loss=1.0 + 0.2 * noise, lr=WARM_UP) == []


def test_a_spike_of_the_loss_is_no_climb():
    loss = noisy(np.ones(N))
    loss[900:910] = 100.0
    assert warnings(loss=loss, lr=WARM_UP) == []


def test_a_climb_that_ends_resolves_by_itself():
    (event,) = warnings(loss=noisy(0.1 * np.minimum(CLIMB, 4.0)), lr=WARM_UP)
    assert event.status == "resolved"
    assert event.message.startswith("the loss climbs no more; it is 0.4")


def test_a_climb_that_goes_on_after_a_rest_is_the_same_event():
    stairs = np.interp(T, [0, 800, 950, 1350, N], np.log([0.1, 0.1, 0.4, 0.4, 4.0]))
    (event,) = warnings(loss=noisy(np.exp(stairs)), lr=(T + 1) / N)
    assert event.status == "open"
    assert event.message.endswith("; it has come back once")


def test_an_open_warning_is_told_again_when_the_norm_has_doubled():
    growth = np.sqrt(CLIMB)
    frames = make_frames(healthy(N) * growth[:, None], loss=noisy(0.1 * CLIMB), lr=(T + 1) / N)
    detectors = Detectors(3)
    parts = [detectors.observe(frames.rows(start, start + 32)) for start in range(0, 1312, 32)]
    told = [update.times_usual for part in parts for update in part if update.kind == "instability"]
    assert len(told) == 2
    assert told[1] > 1.9 * told[0]


def test_without_a_loss_nothing_is_said():
    assert warnings(healthy(N) * np.minimum(CLIMB, 8.0)[:, None], lr=WARM_UP) == []


def test_a_loss_that_is_logged_now_and_then_is_not_followed():
    loss = noisy(0.1 * CLIMB)
    loss[T % 10 > 0] = math.nan
    assert warnings(loss=loss, lr=WARM_UP) == []


def test_a_climb_across_a_resume_is_judged_by_the_new_attempts_own_steps():
    flags = np.where(T == 850, SEAM, 0)
    assert warnings(loss=noisy(0.1 * np.minimum(CLIMB, 2.0)), lr=WARM_UP, flags=flags) == []
