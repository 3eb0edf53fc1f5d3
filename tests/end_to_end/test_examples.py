"""The two pictures that this project comes from happen as the examples' docstrings say.

The GRU is trained without and with clipping, for the seed of the demo, and by `make soak` for two more. The figures of
the error surface are its docstring's.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from gru_trainings import PARAM_NORMS_EVERY, Training, first_explosion, train_both

from gradvitals_service.examples import error_surface, gru
from gradvitals_service.health.detectors import Detectors, EventUpdate, Frames
from gradvitals_service.health.groups import Groups

SEEDS = [5, pytest.param(1, marks=pytest.mark.soak), pytest.param(3, marks=pytest.mark.soak)]
WINDOW = range(1500, 2501)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=SEEDS)
def trainings(request: pytest.FixtureRequest) -> tuple[Training, Training]:
    """One seed's, without and with clipping."""
    return train_both(request.param, gru.MAX_NORM)


def judge(training: Training, max_norm: float) -> list[EventUpdate]:
    """The last word of the service's detectors on every event, in the order in which they opened."""
    n = len(training.losses)
    groups = Groups(training.layer_names, training.modules, [True] * len(training.layer_names))
    frames = Frames(
        first=0,
        step=np.arange(n),
        global_norm=np.array(training.global_norms, np.float32),
        clip_coefficient=training.clip_coefficient,
        max_norm=np.full(n, max_norm, np.float32),
        lr=training.lr,
        loss=np.array(training.losses, np.float32),
        has_loss=np.ones(n, np.bool_),
        flags=training.flags,
        group_norms=groups.norms(training.layer_norms),
        param_norms=groups.norms(training.param_norms),
        param_rows=np.arange(0, n, PARAM_NORMS_EVERY),
    )
    events: dict[tuple[str, int], EventUpdate] = {}
    for update in Detectors(len(groups), groups.trainable).observe(frames):
        events[update.kind, update.start_frame] = update
    return list(events.values())


def test_without_clipping_the_gradients_explode_around_step_2000_and_the_weights_are_lost(
    trainings: tuple[Training, Training],
) -> None:
    unclipped, _ = trainings
    assert first_explosion(unclipped.global_norms) in WINDOW
    assert unclipped.lost_at in WINDOW
    assert len(unclipped.losses) == unclipped.lost_at + gru.GIVE_UP_AFTER
    assert not any(math.isfinite(loss) for loss in unclipped.losses[unclipped.lost_at :])


def test_with_clipping_nothing_explodes_and_the_loss_ends_below_a_thousandth(
    trainings: tuple[Training, Training],
) -> None:
    _, clipped = trainings
    assert len(clipped.losses) == gru.STEPS
    assert first_explosion(clipped.global_norms) is None
    assert max(clipped.losses[-100:]) < 1e-3


def test_both_trainings_of_a_seed_begin_with_the_same_weights_and_the_same_batch(
    trainings: tuple[Training, Training],
) -> None:
    unclipped, clipped = trainings
    assert clipped.losses[0] == unclipped.losses[0]
    assert clipped.global_norms[0] == unclipped.global_norms[0] > gru.MAX_NORM
    assert clipped.losses[1] != unclipped.losses[1]  # the first step was clipped, and only in one of them


def test_the_detectors_see_the_explosion_where_it_is(trainings: tuple[Training, Training]) -> None:
    unclipped, _ = trainings
    events = judge(unclipped, math.inf)
    explosion = next(event for event in events if event.kind == "explosion" and event.severity == "critical")
    assert explosion.start_step in WINDOW
    assert explosion.start_step <= unclipped.lost_at
    assert any(event.kind == "non_finite" and event.start_step in WINDOW for event in events)


def test_the_detectors_see_nothing_in_the_clipped_training(trainings: tuple[Training, Training]) -> None:
    _, clipped = trainings
    assert judge(clipped, gru.MAX_NORM) == []


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    pairs, sums = gru.make_batch(5, 17)
    again, _ = gru.make_batch(5, 17)
    assert torch.equal(pairs, again)
    assert not torch.equal(pairs, gru.make_batch(5, 18)[0])
    assert not torch.equal(pairs, gru.make_batch(6, 17)[0])
    assert pairs[:, :, 1].sum(dim=1).tolist() == [2.0] * gru.BATCH_SIZE  # two positions are marked
    assert torch.equal(sums, (pairs[:, :, 0] * pairs[:, :, 1]).sum(dim=1))


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    assert gru.learning_rate(0) == pytest.approx(1.0 / 2500)
    assert gru.learning_rate(1249) == pytest.approx(0.5)
    assert gru.learning_rate(2499) == gru.learning_rate(2500) == pytest.approx(1.0)
    assert gru.learning_rate(3250) == pytest.approx(0.5)
    assert gru.learning_rate(4000) == pytest.approx(0.0)


def test_the_example_trains_with_gradvitals_switched_off_and_still_clips() -> None:
    clipped: list[bool] = []
    result = gru.train(5, 0.01, steps=3, mode="disabled", on_step=lambda *seen: clipped.append(seen[3]))
    assert clipped == [True, True, True]
    assert len(result.losses) == len(result.global_norms) == 3
    assert result.lost_at is None


def test_the_error_surface_is_steepest_at_the_wall() -> None:
    w, b, error, norm = error_surface.surface(401)
    steepest = np.unravel_index(norm.argmax(), norm.shape)
    assert norm[steepest] == pytest.approx(411, abs=0.5)
    assert (w[steepest], b[steepest]) == pytest.approx((4.65, -2.395))
    assert np.median(norm) == pytest.approx(0.057, abs=5e-4)
    assert error.max() < 0.49  # the error of a sigmoid against 0.7


def test_the_norm_of_the_surface_is_that_of_its_differences() -> None:
    step = 1e-6
    w, b = np.array(5.2), np.array(-1.8)
    by_w = (error_surface.error_and_norm(w + step, b)[0] - error_surface.error_and_norm(w - step, b)[0]) / (2 * step)
    by_b = (error_surface.error_and_norm(w, b + step)[0] - error_surface.error_and_norm(w, b - step)[0]) / (2 * step)
    assert error_surface.error_and_norm(w, b)[1] == pytest.approx(np.hypot(by_w, by_b), rel=1e-6)


def test_the_wall_is_met_with_an_enormous_norm_and_only_there() -> None:
    w, b = error_surface.WALL
    assert error_surface.error_and_norm(w, b)[1] > 1e6
    assert error_surface.error_and_norm(w, b + 1e-3)[1] < 10


def test_without_clipping_descent_is_thrown_off_at_the_wall_and_never_comes_back() -> None:
    descent = error_surface.descend(None, mode="disabled")
    assert descent.global_norm[0] == pytest.approx(0.034, abs=1e-3)
    assert int(descent.global_norm.argmax()) == 13
    assert descent.global_norm[13] == pytest.approx(35.6, abs=0.05)
    assert (descent.w[14], descent.b[14]) == pytest.approx((39.9, 59.4), abs=0.05)
    assert (descent.w[-1], descent.b[-1]) == (descent.w[14], descent.b[14])
    assert descent.error[-1] == pytest.approx(0.09, abs=1e-6)


def test_with_clipping_descent_follows_the_valley_to_the_end() -> None:
    descent = error_surface.descend(error_surface.MAX_NORM, mode="disabled")
    assert descent.global_norm.max() > error_surface.MAX_NORM  # it met the wall, and was clipped there
    steps = np.hypot(np.diff(descent.w), np.diff(descent.b))
    assert steps.max() <= error_surface.LEARNING_RATE * error_surface.MAX_NORM * (1 + 1e-9)
    assert descent.error[-1] == pytest.approx(1.2e-6, abs=1e-7)


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "error-surface.png"
    unclipped = error_surface.descend(None, mode="disabled")
    clipped = error_surface.descend(error_surface.MAX_NORM, mode="disabled")
    error_surface.draw(unclipped, clipped, out, dpi=40)
    assert out.read_bytes().startswith(b"\x89PNG")
