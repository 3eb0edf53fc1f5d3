"""What each kind may say at most, and that a seam says nothing: critical wakes somebody, so it has to be earned."""

import numpy as np
import pytest
from service.health.detectors.streams import SEAM, SKIPPED_STEP, flat_loss, healthy, judge, make_frames

from gradvitals_service.health.detectors import Detectors, EventUpdate, Frames

N = 1200
AT = 700
STEPS = np.arange(N)


def severities(frames: Frames) -> dict[str, set[str]]:
    """Every severity that any word on a kind had, told frame by frame."""
    detectors, found = Detectors(frames.group_norms.shape[1]), dict[str, set[str]]()
    for row in range(len(frames)):
        for update in detectors.observe(frames.rows(row, row + 1)):
            found.setdefault(update.kind, set()).add(update.severity)
    return found


class TestAnExplosion:
    """Of a thousand times the usual norm, for a while or for one step."""

    def clipped(self, loss: float = 1.0, last: int = AT + 10) -> Frames:
        norms, losses = healthy(N), flat_loss(N)
        burst = slice(AT, last)
        norms[burst] *= 1e3
        losses[AT + 1 :] *= loss
        global_norms = np.sqrt(np.square(norms).sum(axis=1))
        return make_frames(norms, loss=losses, max_norm=3.0, clip_coefficient=np.minimum(1.0, 3.0 / global_norms))

    def test_that_the_clip_absorbs_without_harm_is_a_warning_from_beginning_to_end(self):
        assert severities(self.clipped()) == {"explosion": {"warning"}}

    def test_that_the_clip_does_not_save_the_loss_from_becomes_critical(self):
        assert severities(self.clipped(loss=4.0)) == {"explosion": {"warning", "critical"}}

    def test_that_reaches_the_weights_is_critical_at_once(self):
        norms = healthy(N)
        norms[AT] *= 1e3
        assert severities(make_frames(norms, loss=flat_loss(N))) == {"explosion": {"critical"}}

    def test_that_a_threshold_far_above_the_usual_lets_through_is_critical(self):
        norms = healthy(N)
        norms[AT] *= 1e3
        clip = np.where(STEPS == AT, 0.1, 1.0)
        frames = make_frames(norms, loss=flat_loss(N), max_norm=170.0, clip_coefficient=clip)
        assert severities(frames) == {"explosion": {"critical"}}

    def test_of_a_skipped_step_is_a_warning(self):
        norms = healthy(N)
        norms[AT] *= 1e3
        flags = np.where(STEPS == AT, SKIPPED_STEP, 0)
        assert severities(make_frames(norms, loss=flat_loss(N), flags=flags)) == {"explosion": {"warning"}}


class TestASeam:
    """A resume with another data order, batch size, loss scale or learning rate, whose steps may even go back."""

    def resumed(self, **changes: object) -> list[EventUpdate]:
        """What is said when the columns named change at the seam, to something that lasts."""
        after = STEPS >= AT
        norms = healthy(N) * np.where(after, changes.get("norm", 1.0), 1.0)[:, None]
        frames = make_frames(
            norms,
            loss=flat_loss(N) * np.where(after, changes.get("loss", 1.0), 1.0),
            lr=np.where(after, changes.get("lr", 0.1), 0.1),
            clip_coefficient=np.where(after, changes.get("coefficient", 0.9), 0.9),
            max_norm=np.where(after, changes.get("max_norm", 1.0), 1.0),
            flags=np.where(STEPS == AT, SEAM, 0),
        )
        frames.step[AT:] -= 300
        return judge(frames)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"norm": 1e3},
            {"norm": 1e-3},
            {"loss": 10.0},
            {"loss": 0.1},
            {"lr": 10.0},
            {"max_norm": 100.0, "coefficient": 1.0},
            {"norm": 1e3, "loss": 10.0, "lr": 10.0},
            {"norm": 1e-3, "loss": 10.0, "lr": 10.0},
        ],
    )
    def test_raises_nothing_whatever_has_changed(self, changes):
        assert self.resumed(**changes) == []

    def test_leaves_a_saturation_to_be_judged_by_the_new_attempts_own_steps(self):
        assert self.resumed(coefficient=0.01) == []  # 500 frames are fewer than 512

    def test_does_not_hide_a_layer_that_dies_with_it(self):
        norms = healthy(N)
        norms[AT:, 0] *= 1e-4
        (event,) = judge(make_frames(norms, loss=flat_loss(N), flags=np.where(STEPS == AT, SEAM, 0)))
        assert (event.kind, event.groups) == ("vanishing", (0,))

    def test_does_not_hide_an_explosion_a_few_steps_after_it(self):
        norms = healthy(N)
        norms[AT + 20] *= 1e5
        (event,) = judge(make_frames(norms, loss=flat_loss(N), flags=np.where(STEPS == AT, SEAM, 0)))
        assert (event.kind, event.start_step) == ("explosion", AT + 20)


def test_vanishing_is_a_warning_until_most_of_the_network_has_been_dead_for_long_at_no_better_loss():
    few, most = healthy(N), healthy(N)
    few[AT:, 0] *= 1e-4
    most[AT:, :2] *= 1e-4
    assert severities(make_frames(few, loss=flat_loss(N))) == {"vanishing": {"warning"}}
    assert severities(make_frames(most, loss=flat_loss(N))) == {"vanishing": {"warning", "critical"}}


def test_a_climb_and_a_saturated_threshold_are_warnings_even_together():
    climb = np.exp(np.maximum(STEPS - AT, 0) / 150.0)
    norms = healthy(N) * np.where(STEPS < 300, 0.3, 30.0)[:, None]
    coefficients = np.minimum(1.0, 1.0 / np.sqrt(np.square(norms).sum(axis=1)))
    found = severities(
        make_frames(norms, loss=0.1 * climb, lr=(STEPS + 1) / N, max_norm=1.0, clip_coefficient=coefficients)
    )
    assert {kind: found[kind] for kind in ("instability", "clip_saturation")} == {
        "instability": {"warning"},
        "clip_saturation": {"warning"},
    }
