"""What a practitioner would guess from the same frames; where the frames say nothing, nothing is guessed."""

import math
from typing import Any, ClassVar

import numpy as np
import pytest

from gradvitals_service.health.causes import Guess, guess, guess_of_ranks
from gradvitals_service.health.groups import Groups
from gradvitals_service.health.onset import Onset, find_onset
from gradvitals_service.health.surroundings import Surroundings
from gradvitals_service.series.codec import ChunkColumns

N = 100
NAN, INF = math.nan, math.inf


def frames(n: int = N, *, first: int = 500, batch_ids: dict[int, str] | None = None, **changes: Any) -> Surroundings:
    """Ordinary frames of three layers; ``changes`` are {row: value} of columns, and ``norms`` of the global norm.

    Norms are 1, losses 2, of a little noise, and the layers share a norm evenly. The alarm is at the last row.
    """
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "step": np.arange(first, first + n),
        "time": np.zeros(n),
        "global_norm": np.exp(0.1 * random.standard_normal(n)),
        "clip_coefficient": np.ones(n),
        "max_norm": np.full(n, INF),
        "lr": np.full(n, 0.1),
        "loss": 2.0 + 0.1 * random.standard_normal(n),
        "loss_scale": np.ones(n),
        "flags": np.full(n, 2, np.uint32),
    }
    layers = changes.pop("layers", {})
    for name, values in changes.items():
        for row, value in values.items():
            columns[name][row] = value
    norms = np.repeat(columns["global_norm"][:, None] / math.sqrt(3.0), 3, axis=1).astype(np.float32)
    for (row, layer), value in layers.items():
        norms[row, layer] = value
    details = [{"row": row % n, "non_finite": [], "batch_id": name} for row, name in (batch_ids or {}).items()]
    chunk = ChunkColumns(columns, norms, np.empty(0, np.uint32), np.empty((0, 3), np.float32), details=details)
    names = ["embed", "body", "head"]
    return Surroundings(np.arange(first, first + n), chunk, n - 1, Groups(names, names, [True] * 3))


def onset(kind: str, n: int = N, **changes: Any) -> Onset:
    return find_onset(kind, frames(n, **changes))


def guessed(kind: str, n: int = N, **changes: Any) -> Guess:
    found = guess(onset(kind, n, **changes))
    assert found is not None
    return found


class TestExplosion:
    def test_after_the_learning_rate_rose_threefold_it_is_the_learning_rate(self) -> None:
        found = guessed("explosion", lr=dict.fromkeys((-2, -1), 0.5), global_norm={-1: 1e3}, loss={-1: 1e3})
        assert found == Guess(
            "perhaps: the learning rate, which rose from 0.1 to 0.5 at step 598", "lower the learning rate", resume=True
        )

    def test_a_learning_rate_that_returns_to_where_it_was_is_not_blamed(self) -> None:
        restart = dict.fromkeys(range(50, 98), 0.01)
        assert "learning rate, which" not in guessed("explosion", lr=restart, global_norm={-1: 1e3}).cause

    def test_a_learning_rate_that_is_still_being_raised_is_blamed(self) -> None:
        ramp = {row: 0.1 + 0.002 * row for row in range(N)}
        found = guessed("explosion", lr=ramp, global_norm={-1: 1e3})
        assert (
            found.cause
            == "perhaps: the learning rate, which is still rising, from 0.1 to 0.298 over the last 100 steps"
        )

    def test_after_the_limit_was_taken_away_it_is_that(self) -> None:
        limited = dict.fromkeys(range(97), 1.5)
        found = guessed("explosion", max_norm=limited, global_norm={-1: 1e3})
        assert found.cause == "perhaps: the clip threshold of 1.5, which was taken away at step 597"
        assert found.advice == "clip at 1.5 again"

    def test_a_loss_that_rose_with_the_norm_at_one_blow_is_the_data(self) -> None:
        found = guessed("explosion", global_norm={-1: 1e3}, loss={-1: 1e3}, batch_ids={-1: "b-17"})
        assert found.cause.startswith("perhaps: the data of this step, or weights that something other than")
        assert found.advice.startswith("look at batch b-17")

    def test_a_norm_that_rose_while_the_loss_was_as_usual_is_a_steep_place(self) -> None:
        found = guessed("explosion", global_norm={-1: 1e3})
        assert found.cause == "perhaps: steps too long for a steep place of the loss: the norm rose before the loss"
        assert found.advice == "lower the learning rate or max_norm"

    def test_a_norm_that_rose_far_more_than_the_loss_is_one_too(self) -> None:
        assert "the norm rose before the loss" in guessed("explosion", global_norm={-1: 1e4}, loss={-1: 4.0}).cause

    def test_a_loss_below_zero_has_no_factor_so_that_what_rose_first_is_not_known(self) -> None:
        losses = {row: -2.0 + 0.01 * (row % 7) for row in range(N - 1)} | {-1: 50.0}
        assert guess(onset("explosion", global_norm={-1: 1e3}, loss=losses)) is None

    def test_a_norm_that_crept_up_is_told_with_the_step_from_which_it_did(self) -> None:
        found = guessed("explosion", global_norm={-3: 4.0, -2: 9.0, -1: 1e3})
        assert found.cause.endswith("the norm rose step by step from step 597 on")

    def test_in_the_first_steps_it_is_what_the_run_began_with(self) -> None:
        assert "the initialisation" in guessed("explosion", 5, first=0, global_norm={-1: 1e6}, loss={-1: 1e6}).cause

    def test_without_a_loss_or_a_change_nothing_is_guessed(self) -> None:
        unlogged = dict.fromkeys(range(N), 0)
        assert guess(onset("explosion", flags=unlogged, global_norm={-1: 1e3})) is None


class TestNonFinite:
    BAD: ClassVar[dict[str, Any]] = {"global_norm": {-1: NAN}}

    def test_after_the_loss_scale_grew_it_is_the_scale(self) -> None:
        scale = dict.fromkeys(range(N), 1024.0) | dict.fromkeys((-3, -2, -1), 2048.0)
        found = guessed("non_finite", loss_scale=scale, flags={-1: 7}, **self.BAD)
        assert found.cause == "perhaps: the loss scale, which grew to 2048 at step 597"
        assert not found.resume

    def test_of_a_young_run_it_is_a_scale_that_is_being_fitted(self) -> None:
        found = guessed(
            "non_finite", 3, first=0, loss_scale=dict.fromkeys(range(3), 65536.0), flags={-1: 7}, **self.BAD
        )
        assert found.cause == "perhaps: the loss scale of 65536, which is still being fitted"

    def test_a_loss_that_is_not_finite_is_no_matter_of_the_scale(self) -> None:
        scale = dict.fromkeys(range(N), 1024.0) | {-1: 2048.0}
        found = guessed("non_finite", loss_scale=scale, flags={-1: 7}, loss={-1: NAN}, **self.BAD)
        assert "the data of this step or the loss function" in found.cause

    def test_after_an_explosion_it_is_that(self) -> None:
        found = guessed("non_finite", global_norm={-3: 50.0, -2: 1e20, -1: INF})
        assert found.cause.startswith("perhaps: an explosion, which went before")
        assert "from step 597 on" in found.cause

    def test_a_loss_that_is_not_finite_is_the_data_or_the_loss_function(self) -> None:
        found = guessed("non_finite", loss={-1: NAN}, batch_ids={-1: "b-17"}, **self.BAD)
        assert found.cause.startswith("perhaps: the data of this step or the loss function")
        assert found.advice == "look at batch b-17, and at what the loss makes of it"

    def test_a_finite_loss_is_an_operation_in_backward_and_its_layer(self) -> None:
        layers = {(-1, 0): NAN, (-1, 1): NAN, (-1, 2): 1.0}
        found = guessed("non_finite", layers=layers, **self.BAD)
        assert found.cause.startswith("perhaps: an operation behind the parameters of body whose derivative is not")

    def test_without_a_loss_nothing_is_guessed(self) -> None:
        assert guess(onset("non_finite", flags={-1: 0}, **self.BAD)) is None


class TestRanks:
    def test_one_alone_is_its_data_or_its_machine(self) -> None:
        found = guess_of_ranks([2], 4, ["b-17"])
        assert found is not None
        assert found.cause == "perhaps: the data or the machine of rank 2, where alone it was not finite"
        assert found.advice == "look at batch b-17 of rank 2"

    @pytest.mark.parametrize("ranks", [[], [0, 1, 2, 3]])
    def test_none_or_all_say_nothing(self, ranks: list[int]) -> None:
        assert guess_of_ranks(ranks, 4, []) is None


class TestVanishing:
    def test_after_a_huge_update_its_units_are_saturated(self) -> None:
        found = guessed("vanishing", global_norm={40: 500.0})
        assert found.cause.startswith("perhaps: the update of step 540, which had")

    def test_from_the_first_step_on_it_is_depth_or_initialisation(self) -> None:
        dead = {(row, 0): 1e-6 for row in range(64)}
        assert "depth, initialisation" in guessed("vanishing", 64, first=0, layers=dead).cause

    def test_a_gradient_that_stopped_at_once_was_cut_off(self) -> None:
        dead = {(row, 0): 0.0 for row in range(70, N)}
        found = guessed("vanishing", layers=dead)
        assert found.cause.endswith("stopped from one step to the next, at step 570")

    def test_a_slow_fall_is_not_guessed_at(self) -> None:
        falling = {(row, 0): 0.9**row for row in range(N)}
        assert guess(onset("vanishing", layers=falling)) is None


def test_of_a_kind_without_rules_nothing_is_guessed() -> None:
    assert guess(onset("clip_saturation")) is None


class TestOnset:
    def test_of_an_explosion_is_the_first_raised_step_that_the_alarm_can_be_about(self) -> None:
        found = onset("explosion", global_norm={-5: 20.0, -1: 30.0}, batch_ids={-5: "b-17"})
        assert (found.step[found.began], found.last_healthy_step, found.batch_id) == (595, 594, "b-17")

    def test_of_a_nan_is_its_own_step_and_the_last_healthy_one_was_finite(self) -> None:
        found = onset("non_finite", global_norm={-2: INF, -1: NAN})
        assert (found.step[found.began], found.last_healthy_step) == (599, 597)

    def test_the_layer_that_left_its_usual_before_all_others_is_first(self) -> None:
        layers = {(-3, 1): 50.0, (-2, 1): 50.0} | {(-1, layer): 1e3 for layer in range(3)}
        found = onset("explosion", global_norm={-1: 2e3}, layers=layers)
        assert (found.first_layer, found.left) == ("body", (0, 1, 2))

    def test_where_all_left_at_once_none_is_first(self) -> None:
        assert onset("explosion", global_norm={-1: 2e3}).first_layer is None

    def test_a_layer_that_was_up_long_before_is_not_first(self) -> None:
        layers = {(-9, 1): 50.0, (-8, 1): 50.0} | {(-1, layer): 1e3 for layer in range(3)}
        assert onset("explosion", global_norm={-1: 2e3}, layers=layers).first_layer is None

    def test_of_the_first_frame_knows_no_healthy_step(self) -> None:
        assert onset("non_finite", 1, first=0, global_norm={-1: NAN}).last_healthy_step is None
