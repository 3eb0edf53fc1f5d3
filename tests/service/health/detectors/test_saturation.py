"""Clip saturation is a threshold that cuts nearly every step to a small part of its size, and it wakes nobody."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from service.health.detectors.streams import SEAM, healthy, judge, make_frames

from gradvitals_service.health.detectors import Detectors, EventUpdate, Frames
from gradvitals_service.health.detectors.saturation import KIND

N = 1200


def clipped(scale: Any, *, max_norm: Any = 1.0, n: int = N, flags: Any = 0, lr: Any = 0.01) -> Frames:
    """A run whose global norm is around ``scale``, clipped to ``max_norm`` as a client does it."""
    norms: NDArray[np.float64] = healthy(n, spread=0.2) * np.broadcast_to(scale, n)[:, None] / math.sqrt(3.0)
    limits = np.broadcast_to(max_norm, n)
    coefficients = np.minimum(1.0, limits / np.sqrt(np.square(norms).sum(axis=1)))
    return make_frames(norms, clip_coefficient=coefficients, max_norm=limits, flags=flags, lr=lr)


def saturations(frames: Frames) -> list[EventUpdate]:
    return [event for event in judge(frames) if event.kind == KIND]


def test_a_run_that_is_cut_to_a_thirtieth_on_every_step_is_told_after_512_steps_as_information():
    (event,) = saturations(clipped(30.0))
    assert (event.start_step, event.severity, event.status, event.peak) == (511, "info", "open", None)
    assert event.times_usual == pytest.approx(1 / 30, rel=0.1)


def test_the_message_says_how_often_how_hard_and_what_the_learning_rate_is_in_effect():
    (event,) = saturations(clipped(32.0, n=512))
    assert event.message == (
        "the threshold clips 100% of the last 512 steps, typically to 0.03 of their size: with SGD the learning rate "
        "is in effect 0.0003 instead of 0.01 (Adam and its kin hardly notice)"
    )


def test_without_a_learning_rate_the_message_says_nothing_of_it():
    (event,) = saturations(clipped(32.0, lr=math.nan))
    assert "learning rate" not in event.message


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_a_run_that_clips_some_of_its_steps_hard_is_healthy(share):
    scale = np.where(np.random.default_rng(0).random(N) < share, 50.0, 0.2)
    assert saturations(clipped(scale)) == []


def test_a_run_that_clips_every_step_by_a_factor_of_five_is_healthy():
    assert saturations(clipped(5.0)) == []


def test_a_run_that_used_to_go_unclipped_under_the_same_threshold_is_a_warning():
    (event,) = saturations(clipped(np.where(np.arange(N) < 400, 0.5, 40.0)))
    assert event.severity == "warning"
    assert event.message.endswith("under the same max_norm this run once went mostly unclipped")


def test_it_is_never_critical_however_hard_it_clips():
    growing = np.concatenate([np.full(N, 0.5), np.geomspace(1.0, 1e12, N)])
    told = [update for update in one_by_one(clipped(growing, n=2 * N)) if update.kind == KIND]
    assert {update.severity for update in told} == {"warning"}


def one_by_one(frames: Frames) -> list[EventUpdate]:
    detectors = Detectors(frames.group_norms.shape[1])
    cuts = itertools.pairwise(range(0, len(frames) + 1, 16))
    return [update for start, stop in cuts for update in detectors.observe(frames.rows(start, stop))]


def test_an_open_event_is_told_again_when_it_clips_twice_as_hard():
    told = [update for update in one_by_one(clipped(np.where(np.arange(N) < 550, 30.0, 70.0))) if update.kind == KIND]
    assert [update.status for update in told] == ["open", "open"]
    assert told[1].times_usual == pytest.approx(1 / 70, rel=0.1)


def test_it_resolves_when_a_fifth_of_the_steps_go_free_again():
    (event,) = saturations(clipped(np.where(np.arange(N) < 600, 30.0, 0.5)))
    assert event.status == "resolved"
    assert event.end_step is not None
    assert 600 <= event.end_step < 600 + 512 * 0.25


def test_between_the_two_limits_it_stays_open_so_that_it_does_not_come_and_go():
    frames = clipped(np.where(np.arange(N) < 600, 20.0, 7.0))  # 0.05, then 0.14
    (event,) = saturations(frames)
    assert event.status == "open"


def test_another_max_norm_resolves_it_at_once_and_is_judged_by_its_own_steps():
    (event,) = saturations(clipped(30.0, max_norm=np.where(np.arange(N) < 600, 1.0, 20.0)))
    assert (event.status, event.end_step) == ("resolved", 575)
    assert event.message == "max_norm is 20 now instead of 1, and what it clips is judged anew"


def test_clipping_that_is_turned_off_resolves_it_too():
    (event,) = saturations(clipped(30.0, max_norm=np.where(np.arange(N) < 600, 1.0, math.inf)))
    assert event.message == "max_norm is off now instead of 1, and what it clips is judged anew"


def test_another_max_norm_that_clips_as_hard_reopens_the_event():
    (event,) = saturations(clipped(90.0, max_norm=np.where(np.arange(N) < 600, 1.0, 3.0)))
    assert event.status == "open"
    assert event.message.endswith("; it has come back once")


def test_a_threshold_that_wanders_a_little_is_one_threshold():
    (event,) = saturations(clipped(30.0, max_norm=1.0 + 0.3 * np.sin(np.arange(N))))
    assert event.start_step == 511


def test_elementwise_clipping_has_no_max_norm_and_is_told_by_what_it_leaves():
    (event,) = saturations(make_frames(healthy(N), clip_coefficient=0.02, max_norm=math.inf))
    assert event.start_step == 511


def test_a_run_without_clipping_is_never_saturated():
    assert saturations(make_frames(healthy(N))) == []


def test_steps_that_were_not_finite_do_not_count():
    frames = clipped(30.0)
    coefficients = frames.clip_coefficient.copy()
    coefficients[::2] = math.nan
    norms = healthy(N) * 30.0
    assert saturations(make_frames(norms[:1000], clip_coefficient=coefficients[:1000], max_norm=1.0)) == []


def test_a_seam_waits_for_the_new_attempts_own_steps_and_raises_nothing():
    flags = np.zeros(N, np.uint32)
    flags[500] = SEAM
    (event,) = saturations(clipped(30.0, flags=flags))
    assert event.start_step == 500 + 511


def test_a_max_norm_of_zero_is_told_without_a_division_by_it():
    (event,) = saturations(make_frames(healthy(N), clip_coefficient=0.0, max_norm=0.0))
    assert event.times_usual == 0.0
