"""What labels say about norms that can be read at a glance."""

import math

import numpy as np
from benchmarks.traces import labelling

FLAT = np.ones(200)


def changed(norms: np.ndarray, start: int, stop: int, value: float) -> np.ndarray:
    norms = norms.copy()
    norms[start:stop] = value
    return norms


class TestExplosion:
    """The twin's norm is one at every step; the cause is at step 1,000."""

    def test_begins_with_the_first_step_above_three_of_the_stretch_that_reaches_eight(self):
        norms = changed(changed(FLAT, 7, 9, 4.0), 9, 20, 10.0)
        (label,) = labelling.explosion(norms, FLAT, 1000)
        assert (label["start_step"], label["end_step"]) == (1007, 1019)
        assert label["verified"] == {"peak_ratio_vs_twin": 10.0, "onset_lag": 7, "first_8x": 9}
        assert "gradual" not in label

    def test_needs_eight_times_the_twin(self):
        assert labelling.explosion(changed(FLAT, 7, 20, 7.9), FLAT, 1000) == []

    def test_needs_eight_times_what_the_run_had_before(self):
        norms = changed(FLAT, 7, 20, 10.0)
        assert len(labelling.explosion(norms, FLAT, 1000, before=1.0)) == 1
        assert labelling.explosion(norms, FLAT, 1000, before=2.0) == []

    def test_is_gradual_when_it_takes_more_than_five_steps(self):
        norms = changed(changed(FLAT, 7, 13, 4.0), 13, 20, 10.0)
        assert labelling.explosion(norms, FLAT, 1000)[0]["gradual"] is True

    def test_lasts_to_the_end_when_it_does_not_come_back(self):
        assert labelling.explosion(changed(FLAT, 7, 200, 10.0), FLAT, 1000)[0]["end_step"] is None

    def test_is_not_what_becomes_nan_at_once(self):
        assert labelling.explosion(changed(FLAT, 7, 200, math.nan), FLAT, 1000) == []
        norms = changed(changed(FLAT, 7, 200, math.inf), 6, 7, 5.0)
        assert labelling.explosion(norms, FLAT, 1000)[0]["start_step"] == 1006

    def test_a_single_step_on_which_the_twin_has_no_gradient_is_none(self):
        assert labelling.explosion(FLAT, changed(FLAT, 50, 51, 0.0), 1000) == []


class TestVanishing:
    """Two layers whose twins have a norm of one."""

    def test_names_the_layer_that_stays_below_a_hundredth(self):
        norms = np.stack([changed(FLAT, 30, 200, 0.005), FLAT], axis=1)
        (label,), ignore = labelling.vanishing(norms, np.ones((200, 2)), ("low", "high"), 400)
        assert (label["layers"], label["start_step"], label["end_step"], ignore) == (["low"], 430, None, [])
        assert label["verified"]["smallest_ratio_vs_twin"] == 0.005

    def test_a_layer_that_gets_a_twentieth_is_neither_ill_nor_healthy(self):
        norms = np.stack([changed(FLAT, 30, 200, 0.05), FLAT], axis=1)
        labels, (span,) = labelling.vanishing(norms, np.ones((200, 2)), ("low", "high"), 400)
        assert (labels, span["start_step"], span["end_step"]) == ([], 400, 599)

    def test_idle_steps_and_short_pauses_are_none(self):
        idle = FLAT.copy()
        idle[::2] = 0.0
        short = changed(FLAT, 30, 80, 0.0)
        labels, ignore = labelling.vanishing(np.stack([idle, short], axis=1), np.ones((200, 2)), ("a", "b"), 0)
        assert (labels, ignore) == ([], [])

    def test_a_layer_that_the_twin_does_not_train_either_is_none(self):
        nothing = np.zeros((200, 2))
        assert labelling.vanishing(nothing, nothing, ("a", "b"), 0) == ([], [])


class TestSpike:
    """A norm of forty in a run of ones, and what the loss was with and without it."""

    def test_is_harmful_when_clipping_it_saves_a_third_of_the_loss(self):
        spike = changed(FLAT, 0, 1, 40.0)
        assert labelling.spike(spike, 1.5 * FLAT, FLAT, 1.0) == "harmful"
        assert labelling.spike(spike, 1.2 * FLAT, FLAT, 1.0) == "ambiguous"
        assert labelling.spike(spike, 1.1 * FLAT, FLAT, 1.0) == "benign"

    def test_below_ten_times_the_median_harm_proves_nothing(self):
        assert labelling.spike(changed(FLAT, 0, 1, 9.0), 1.5 * FLAT, FLAT, 1.0) == "ambiguous"

    def test_a_loss_that_may_be_negative_says_nothing_of_harm(self):
        assert labelling.spike(changed(FLAT, 0, 1, 40.0), FLAT, -FLAT, 1.0) == "benign"


class TestNonFinite:
    """Two layers over thirty steps."""

    def broken(self, *steps: int) -> np.ndarray:
        rows = np.zeros((60, 2), np.bool_)
        rows[list(steps), 1] = True
        return rows

    def test_one_event_spans_short_breaks_and_names_the_layer(self):
        labels = labelling.non_finite(self.broken(3, 4, 20), np.zeros(60, np.bool_), ("a", "b"))
        assert [(label["start_step"], label["end_step"], label["layers"]) for label in labels] == [(3, 20, ["b"])]

    def test_what_a_scaler_skipped_is_benign_each_time(self):
        broken = self.broken(3, 4, 20)
        labels = labelling.non_finite(broken, broken.any(axis=1), ("a", "b"))
        assert [(label["start_step"], label["end_step"]) for label in labels] == [(3, 4), (20, 20)]
        assert all(label["benign_amp"] for label in labels)
