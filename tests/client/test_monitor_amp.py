"""Under a GradScaler a monitor reports, clips and counts as it would without one, however the loop uses the scaler."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from client.looping import Loop, ThreeAndFour, fused_sgd, sgd
from torch import nn

from gradvitals.clipping import ClipByLayerNorm
from gradvitals.errors import NonFiniteGradientError
from gradvitals.frames import FLAG_NON_FINITE, FLAG_SKIPPED_STEP

SCALE = 1024.0
SKIPPED = FLAG_NON_FINITE | FLAG_SKIPPED_STEP

EVERY_WAY = pytest.mark.parametrize(
    ("make", "unscale", "hook"),
    [
        pytest.param(
            make, unscale, hook,
            id=f"{make.__name__}, {'unscale_' if unscale else 'as it comes'}, {'hook' if hook else 'clip_'}",
        )
        for make, unscale, hook in itertools.product((sgd, fused_sgd), (False, True), (True, False))
    ],
)  # fmt: skip


def new_scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=1000)


class AmpLoop(Loop):
    """A loop under a GradScaler; ``train`` makes a step whose gradients are 3 and 4, or overflow."""

    def __init__(self, make=sgd, *, unscale=False, scaler=None, hook=True, known=True, **options) -> None:
        self.scaler, self.unscale, self.hook = scaler or new_scaler(), unscale, hook
        super().__init__(make, hook=hook, scaler=self.scaler if known else None, **options)

    def train(self, factor: float = 1.0, update: bool = True) -> None:
        self.optimizer.zero_grad()
        loss = factor * (3 * self.model.first.weight + 4 * self.model.second.weight).sum()
        self.scaler.scale(loss).backward()
        if self.unscale:
            self.scaler.unscale_(self.optimizer)
        if not self.hook:
            self.monitor.clip_()
        self.scaler.step(self.optimizer)
        if update:
            self.scaler.update()

    def overflow(self, **options) -> None:
        self.train(1e36, **options)  # times the loss scale more than single precision holds


@EVERY_WAY
class TestEveryWay:
    def test_norms_are_those_without_the_loss_scale_which_is_in_the_frame(self, make, unscale, hook):
        loop = AmpLoop(make, unscale=unscale, hook=hook)
        loop.train()
        assert loop.frame.layer_norms.tolist() == [3.0, 4.0]
        assert (loop.frame.global_norm, loop.frame.loss_scale, loop.frame.flags) == (5.0, SCALE, 0)

    def test_weights_are_those_of_torchs_recipe(self, make, unscale, hook):
        loop, torchs = AmpLoop(make, unscale=unscale, hook=hook, max_norm=1.0), ThreeAndFour()
        optimizer, scaler = make(torchs.parameters()), new_scaler()
        for factor in (1.0, 0.1, 1e36, 7.0, 0.3):
            loop.train(factor)
            optimizer.zero_grad()
            scaler.scale(factor * (3 * torchs.first.weight + 4 * torchs.second.weight).sum()).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(torchs.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            assert loop.model.weights() == pytest.approx(torchs.weights(), rel=1e-6)
            assert loop.scaler.get_scale() == scaler.get_scale()
        assert [frame.clip_coefficient for frame in loop.frames] == pytest.approx(
            [0.2, 1.0, math.nan, 1 / 35, 2 / 3], nan_ok=True
        )

    def test_a_step_that_overflows_is_one_frame_with_its_flag_and_the_scale_that_was_too_large(
        self, make, unscale, hook
    ):
        loop = AmpLoop(make, unscale=unscale, hook=hook, max_norm=1.0)
        loop.train()
        weights = loop.model.weights()
        loop.overflow()
        assert loop.model.weights() == weights
        loop.train()
        assert [frame.step for frame in loop.frames] == [0, 1, 2]
        assert [frame.flags for frame in loop.frames] == [0, SKIPPED, 0]
        assert [frame.loss_scale for frame in loop.frames] == [SCALE, SCALE, SCALE / 2]
        assert loop.frames[1].non_finite == [(0, 0, 1), (1, 0, 1)]
        assert (loop.frames[1].global_norm, loop.frame.global_norm) == (math.inf, 5.0)
        assert math.isnan(loop.frames[1].clip_coefficient)
        assert loop.told_of == []

    def test_an_overflow_is_the_scalers_to_deal_with_and_no_policy_is_asked(self, make, unscale, hook):
        for policy in ("raise", "skip") if hook else ("raise",):
            loop = AmpLoop(make, unscale=unscale, hook=hook, on_non_finite=policy)
            for _ in range(25):  # more than the policy would skip
                loop.train(math.inf)  # at any scale
            assert [frame.flags for frame in loop.frames] == [SKIPPED] * 25
            assert loop.monitor.last_healthy_step is None

    def test_elements_are_limited_in_units_of_the_loss(self, make, unscale, hook):
        loop = AmpLoop(make, unscale=unscale, hook=hook, clip_value=3.5)
        loop.train()
        assert loop.model.weights() == pytest.approx([1.0 - 0.3, 2.0 - 0.35])
        assert loop.frame.clip_coefficient == pytest.approx(math.hypot(3, 3.5) / 5)

    def test_so_are_layers_and_what_a_function_sees(self, make, unscale, hook):
        def clamp(gradients, norms):
            for gradient in gradients:
                gradient.clamp_(max=3.5)

        for strategy in (ClipByLayerNorm(3.5), clamp):
            loop = AmpLoop(make, unscale=unscale, hook=hook, strategy=strategy)
            loop.train()
            assert loop.model.weights() == pytest.approx([1.0 - 0.3, 2.0 - 0.35])
            assert loop.frame.clip_coefficient == pytest.approx(math.hypot(3, 3.5) / 5)

    def test_nothing_is_left_on_the_optimizer(self, make, unscale, hook):
        loop = AmpLoop(make, unscale=unscale, hook=hook, max_norm=1.0)
        before = set(vars(loop.optimizer))
        loop.train()
        loop.overflow()
        assert set(vars(loop.optimizer)) == before


class TestAStepThatRaises:
    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    def test_is_one_that_is_not_finite_and_no_scaler_skips(self, make):
        loop = AmpLoop(make, on_non_finite="raise")
        loop.train()
        with pytest.raises(NonFiniteGradientError, match="step 1 is nan"):
            loop.step(math.nan)

    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    def test_leaves_no_scale_behind(self, make):
        loop = AmpLoop(make, max_norm=1.0)
        loop.train()
        loop.optimizer.param_groups[0]["lr"] = "no number"
        with pytest.raises((TypeError, RuntimeError)):
            loop.train(update=False)
        loop.scaler.update()
        loop.optimizer.param_groups[0]["lr"] = 0.1
        before = loop.model.weights()
        loop.train()
        assert loop.frame.global_norm == 5.0
        moved = [old - new for old, new in zip(before, loop.model.weights(), strict=True)]
        assert moved == pytest.approx([0.06, 0.08], rel=1e-5)


class TestSharedScaler:
    def test_two_optimizers_are_told_apart(self):
        scaler = new_scaler()
        good, bad = (AmpLoop(make, scaler=scaler, max_norm=1.0) for make in (sgd, fused_sgd))
        good.train(update=False)
        bad.overflow(update=False)
        scaler.update()
        good.train(update=False)
        bad.train(update=False)
        scaler.update()
        assert [frame.flags for frame in good.frames] == [0, 0]
        assert [frame.flags for frame in bad.frames] == [SKIPPED, 0]
        assert [frame.loss_scale for frame in good.frames] == [SCALE, SCALE / 2]

    def test_closing_one_leaves_the_other_and_closing_both_the_scaler_as_it_was(self):
        scaler = new_scaler()
        before = copy.copy(vars(scaler))
        first, second = (AmpLoop(scaler=scaler) for _ in range(2))
        first.monitor.close()
        second.overflow()
        assert [frame.flags for frame in second.frames] == [SKIPPED]
        second.monitor.close()
        assert vars(scaler).keys() == before.keys()


class TestAccumulation:
    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    def test_the_sum_of_scaled_gradients_is_one_frame(self, make):
        loop = AmpLoop(make, max_norm=1.0)
        loop.scaler.scale((1 * loop.model.first.weight + 1 * loop.model.second.weight).sum()).backward()
        loop.scaler.scale((2 * loop.model.first.weight + 3 * loop.model.second.weight).sum()).backward()
        loop.scaler.step(loop.optimizer)
        assert [frame.global_norm for frame in loop.frames] == [5.0]
        assert loop.model.weights() == pytest.approx([1.0 - 0.06, 2.0 - 0.08])


class TestWithoutScaler:
    def test_norms_as_large_as_a_loss_scale_makes_them_are_asked_about_once(self):
        loop = AmpLoop(scaler=torch.amp.GradScaler("cpu"), hook=False, known=False)
        for _ in range(20):
            loop.train()
        (line,) = loop.told_of
        assert "norms such as 3.28e+05: is there a loss scale in them?" in line
        assert "watch(..., scaler=scaler)" in line

    def test_ordinary_norms_are_not(self):
        loop = Loop()
        for step in range(20):
            loop.step(3.0 + step)
        assert loop.told_of == []

    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    def test_a_hook_sees_the_gradients_without_their_scale_all_the_same(self, make):
        loop = AmpLoop(make, max_norm=1.0, known=False)
        loop.train()
        assert loop.frame.global_norm == 5.0
        assert loop.model.weights() == pytest.approx([1.0 - 0.06, 2.0 - 0.08])


def test_a_disabled_scaler_is_none():
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    loop = AmpLoop(scaler=scaler, max_norm=1.0)
    loop.train()
    assert (loop.frame.global_norm, loop.frame.loss_scale) == (5.0, 1.0)
    assert loop.monitor.has_scaler is False
    assert "step" not in vars(scaler)


def test_after_the_run_overflows_still_count_and_make_no_frame():
    loop = AmpLoop(max_norm=1.0)
    loop.monitor.stop_recording()
    loop.overflow()
    assert (loop.monitor.step, loop.frames) == (1, [])
