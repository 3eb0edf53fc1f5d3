"""Advice is one rule: the smallest threshold of two digits that leaves 99 of 100 healthy steps as they are."""

import math

import numpy as np
import pytest

from gradvitals_service.health.advice import History, Newest, advise, round_up
from gradvitals_service.series.flags import ALREADY_CLIPPED
from gradvitals_service.series.sketch import NormSketch

UNCLIPPED = Newest(1024, global_norm=0.8, max_norm=math.inf, clip_rate=0.0, lr=0.5, effective_lr=0.5)


def sketch(norms, frame_flags: int = 0) -> NormSketch:
    norms = np.array(norms, np.float32)
    return NormSketch.of(norms, np.full(len(norms), frame_flags, np.uint32))


def history(norms, unhealthy=(), newest: Newest = UNCLIPPED, explosions=()) -> History:
    healthy = sketch(norms)
    return History(NormSketch.merge([healthy, sketch(unhealthy)]), healthy, newest, explosions)


class TestSuggestion:
    """500 healthy norms of 0.75, 490 of 2, ten of 4: 99 of 100 are at most 2."""

    NORMS = (0.75,) * 500 + (2.0,) * 490 + (4.0,) * 10

    def test_leaves_99_of_100_healthy_steps_as_they_are(self):
        advice = advise(history(self.NORMS))
        assert advice.max_norm == 2.0
        assert advice.reason == (
            "half of the 1000 healthy steps have a norm of at most 0.75, 99 of 100 have one of at most 2."
            " 2 would have clipped 1 % of them"
        )

    def test_does_not_listen_to_unhealthy_steps(self):
        advice = advise(history(self.NORMS, unhealthy=[1e4] * 900, explosions=[1e4, 30.0, 1.5]))
        assert advice.max_norm == 2.0
        assert advice.reason.endswith("clipped 1 % of them, and 2 of the 3 explosions")

    @pytest.mark.parametrize(
        ("peaks", "said"),
        [
            ([30.0], "and the one explosion"),
            ([1.5], "but not the one explosion"),
            ([30.0, 40.0], "and all 2 explosions"),
            ([1.5, 1.6], "but none of the 2 explosions"),
        ],
    )
    def test_says_which_explosions_it_would_have_met(self, peaks, said):
        assert advise(history(self.NORMS, explosions=peaks)).reason.endswith(f"of them, {said}")

    def test_says_what_the_present_threshold_does(self):
        newest = Newest(1024, 0.8, max_norm=1.0, clip_rate=0.49, lr=0.5, effective_lr=0.4)
        assert advise(history(self.NORMS, newest=newest)).reason.endswith("The present threshold of 1 clips 50 %")

    def test_warns_where_the_newest_norms_lie_far_below(self):
        newest = Newest(1024, global_norm=0.01, max_norm=math.inf, clip_rate=0.0, lr=0.5, effective_lr=0.5)
        reason = advise(history(self.NORMS, newest=newest)).reason
        assert "The newest steps usually have 0.01: a jump there of up to 200 times is not clipped" in reason

    @pytest.mark.parametrize(
        ("norm", "rounded"), [(2.47, 2.5), (2.5, 2.5), (9.91, 10.0), (0.101, 0.11), (6.9e5, 6.9e5), (1.33e-6, 1.4e-6)]
    )
    def test_is_rounded_up_to_two_digits(self, norm, rounded):
        assert round_up(norm) == rounded


class TestNoNumber:
    def test_without_a_step(self):
        newest = Newest(0, math.nan, math.inf, math.nan, math.nan, math.nan)
        assert advise(history([], newest=newest)) == advise(history([]))
        assert (advise(history([])).max_norm, advise(history([])).reason) == (None, "no step of this run is known yet")

    def test_from_few_healthy_steps(self):
        assert advise(history([1.0] * 200)).max_norm == 1.0
        advice = advise(history([1.0] * 199, unhealthy=[50.0] * 11))
        assert (advice.max_norm, advice.reason) == (
            None,
            "only 199 healthy steps are known, of 210; a threshold can be told from 200 on",
        )

    def test_from_norms_that_were_clipped_before(self):
        clipped = sketch([1.0] * 900, ALREADY_CLIPPED)
        healthy = sketch([1.0] * 300)
        advice = advise(History(NormSketch.merge([clipped, healthy]), healthy, UNCLIPPED))
        assert advice.max_norm is None
        assert "75% of the steps were clipped before they were measured" in advice.reason

    def test_where_the_clip_has_become_the_learning_rate(self):
        newest = Newest(1024, 8.0, max_norm=1.0, clip_rate=0.97, lr=0.5, effective_lr=0.0625)
        advice = advise(history([8.0] * 1000, newest=newest))
        assert advice.max_norm is None
        assert "at 1 bites on 97% of the newest 1024 steps" in advice.reason
        assert "with 0.062 in place of 0.5" in advice.reason

    def test_where_the_clip_bit_on_most_healthy_steps_though_not_on_the_newest(self):
        newest = Newest(1024, 0.5, max_norm=1.0, clip_rate=0.0, lr=0.5, effective_lr=0.5)
        advice = advise(history([8.0] * 600 + [0.5] * 400, newest=newest))
        assert advice.max_norm is None
        assert "at 1 bites on 60% of the healthy steps, so it has become part of the learning rate. An" in advice.reason

    def test_where_hardly_a_step_has_a_gradient(self):
        assert advise(history([0.0] * 1000 + [3.0])).max_norm is None
