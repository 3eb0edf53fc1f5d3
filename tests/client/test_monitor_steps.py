"""Steps of every kind are clipped and measured: with closures, that raise, that the optimizer's state changes under."""

from __future__ import annotations

import math

import pytest
import torch
from client.looping import Loop, ThreeAndFour, everything, fused_sgd, sgd
from torch import nn

from gradvitals.errors import ConfigurationError

FUSED = [
    pytest.param(kind, id=kind.__name__)
    for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad)
]


class Twice(torch.optim.SGD):
    """Evaluates its closure twice in each step."""

    def step(self, closure):
        closure()
        return closure()


class TestClosures:
    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    @pytest.mark.parametrize("by_name", [False, True])
    def test_gradients_are_clipped_and_measured_inside_the_closure(self, make, by_name):
        loop, calls = Loop(make, max_norm=1.0), []

        def closure():
            calls.append(len(loop.frames))
            loop.model.set_gradients()
            return torch.tensor(7.0)

        loss = loop.optimizer.step(closure=closure) if by_name else loop.optimizer.step(closure)
        assert loss.item() == 7.0
        assert calls == [0]
        assert loop.frame.global_norm == 5.0
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        assert loop.model.weights() == pytest.approx([1 - 0.06, 2 - 0.08])

    def test_every_evaluation_is_clipped_but_a_step_is_one_frame(self):
        seen = []
        loop = Loop(lambda parameters: Twice(parameters, lr=0.1), max_norm=1.0)

        def closure():
            seen.extend(loop.model.gradients() if loop.model.first.weight.grad is not None else [])
            loop.model.set_gradients()

        loop.optimizer.step(closure)
        assert [*seen, *loop.model.gradients()] == pytest.approx([0.6, 0.8] * 2)
        assert [(frame.step, frame.global_norm) for frame in loop.frames] == [(0, 5.0)]
        assert loop.monitor.step == 1

    def test_an_evaluation_belongs_to_the_step_that_makes_it(self):
        loop = Loop(lambda parameters: Twice(parameters, lr=0.1))
        loop.optimizer.step(loop.model.set_gradients)
        assert loop.monitor.last_healthy_step == 0

    def test_lbfgs_is_observed_at_its_first_evaluation_and_not_clipped(self):
        plain, watched = self.train_lbfgs(None), self.train_lbfgs(0.001)
        assert watched[0] == plain[0]
        loop = watched[1]
        assert len(loop.frames) == 3
        assert all(frame.clip_coefficient == 1.0 and frame.max_norm == math.inf for frame in loop.frames)
        assert any("LBFGS" in line and "nothing is clipped" in line for line in loop.told)
        with pytest.raises(ConfigurationError, match="LBFGS is only observed"):
            loop.monitor.max_norm = 1.0

    def train_lbfgs(self, max_norm: float | None) -> tuple[list[float], Loop]:
        loop = Loop(lambda parameters: torch.optim.LBFGS(parameters, max_iter=4), max_norm=max_norm)
        if max_norm is None:
            loop.monitor.close()

        def closure():
            loop.optimizer.zero_grad()
            loss = (loop.model.first.weight - 3).pow(4).sum() + (loop.model.second.weight - 5).pow(2).sum()
            loss.backward()
            return loss

        for _ in range(3):
            loop.optimizer.step(closure)
        return loop.model.weights(), loop


class TestFusedSteps:
    """The clip is folded into the step: the gradients are divided there, and stay divided."""

    @pytest.mark.parametrize("kind", FUSED)
    def test_leave_clipped_gradients_and_nothing_on_the_optimizer(self, kind):
        loop = Loop(lambda parameters: kind(parameters, lr=0.1, fused=True), max_norm=1.0)
        before = set(vars(loop.optimizer))
        loop.step()
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        assert loop.frame.clip_coefficient == pytest.approx(0.2)
        assert set(vars(loop.optimizer)) == before

    @pytest.mark.parametrize("kind", FUSED)
    def test_do_what_torchs_clip_and_step_do(self, kind):
        loop, torchs = Loop(lambda parameters: kind(parameters, lr=0.1, fused=True), max_norm=1.0), ThreeAndFour()
        optimizer = kind(torchs.parameters(), lr=0.1, fused=True)
        for first in (3.0, 0.1, 30.0, 3e-3, 3e20, 1e36):
            loop.step(first, first / 3)
            torchs.set_gradients(first, first / 3)
            if first < 1e18:  # torch's norm has no squares beyond that
                nn.utils.clip_grad_norm_(torchs.parameters(), 1.0)
            else:
                factor = 1 / math.hypot(first, first / 3)
                torchs.set_gradients(first * factor, first / 3 * factor)
            optimizer.step()
            assert loop.model.weights() == pytest.approx(torchs.weights(), rel=1e-6)

    @pytest.mark.parametrize("kind", FUSED)
    def test_within_a_closure_the_last_evaluation_counts(self, kind):
        factors = iter([3.0, 30.0])

        class TwiceFused(kind):
            def step(self, closure):
                closure()
                return super().step(closure)

        loop = Loop(lambda parameters: TwiceFused(parameters, lr=0.1, fused=True), max_norm=1.0)
        loop.optimizer.step(lambda: loop.model.set_gradients(next(factors), 0.0))
        assert loop.model.gradients() == pytest.approx([1.0, 0.0])

    def test_a_state_that_is_not_fused_may_be_loaded_while_watched(self):
        loop = Loop(fused_sgd, max_norm=1.0)
        loop.step()
        loop.optimizer.load_state_dict(sgd(ThreeAndFour().parameters()).state_dict())
        assert not loop.optimizer.param_groups[0]["fused"]
        before = loop.model.weights()
        loop.step()
        assert loop.model.gradients() == pytest.approx([0.6, 0.8])
        assert loop.model.weights() == pytest.approx([before[0] - 0.06, before[1] - 0.08])

    def test_so_may_a_fused_one_into_an_optimizer_that_was_not(self):
        loop = Loop(max_norm=1.0)
        loop.step()
        loop.optimizer.load_state_dict(fused_sgd(ThreeAndFour().parameters()).state_dict())
        before = loop.model.weights()
        loop.step()
        assert loop.model.weights() == pytest.approx([before[0] - 0.06, before[1] - 0.08])


class TestAStepThatRaises:
    """What it was told, or what was hidden from it, is of no concern to the next one."""

    def raise_in_step(self, loop: Loop, first: float) -> None:
        def fail(*_):
            raise KeyError("the user's own hook")

        hook = loop.optimizer.register_step_pre_hook(fail)
        with pytest.raises(KeyError):
            loop.step(first)
        hook.remove()

    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    def test_leaves_no_factor_for_a_step_that_needs_none(self, make):
        loop = Loop(make, max_norm=1.0)
        self.raise_in_step(loop, 3.0)
        loop.step(0.5, 0.5)
        assert loop.model.gradients() == [0.5, 0.5]
        assert loop.model.weights() == pytest.approx([1 - 0.05, 2 - 0.05])
        assert not hasattr(loop.optimizer, "grad_scale")

    def test_leaves_no_hidden_gradient_to_come_back(self):
        loop = Loop(on_non_finite="skip")
        self.raise_in_step(loop, math.nan)
        assert [weight.grad for weight in loop.model.parameters()] == [None, None]
        loop.model.first.weight.grad = torch.ones(1, 1)
        loop.optimizer.step()
        assert loop.model.second.weight.grad is None
        assert loop.model.weights() == pytest.approx([0.9, 2.0])

    @pytest.mark.parametrize("make", [sgd, fused_sgd])
    def test_counts_as_a_step_since_its_gradients_were_measured(self, make):
        loop = Loop(make, max_norm=1.0)
        self.raise_in_step(loop, 3.0)
        loop.step()
        assert [frame.step for frame in loop.frames] == [0, 1]


class TestLearningRates:
    @pytest.mark.parametrize("make_lr", [lambda: 0.5, lambda: torch.tensor(0.5)])
    @pytest.mark.parametrize("fused", [False, True])
    def test_is_read_as_it_is_at_each_step(self, make_lr, fused):
        lr = make_lr()
        loop = Loop(lambda parameters: torch.optim.AdamW(parameters, lr=lr, fused=fused, foreach=False), max_norm=1.0)
        loop.step()
        assert loop.optimizer.param_groups[0]["lr"] is lr
        loop.optimizer.param_groups[0]["lr"] = lr / 2
        loop.step()
        assert [frame.lr for frame in loop.frames] == [0.5, 0.25]

    def test_a_scheduler_is_followed(self):
        loop = Loop(max_norm=1.0)
        scheduler = torch.optim.lr_scheduler.StepLR(loop.optimizer, step_size=1, gamma=0.5)
        for _ in range(3):
            loop.step()
            scheduler.step()
        assert [frame.lr for frame in loop.frames] == pytest.approx([0.1, 0.05, 0.025])


def test_a_state_that_is_loaded_while_watched_goes_on_as_it_would_unwatched():
    def adam(parameters):
        return torch.optim.Adam(parameters, lr=0.1)

    loop, plain = Loop(adam), ThreeAndFour()
    optimizer = adam(plain.parameters())
    for _ in range(2):
        loop.step()
        plain.set_gradients()
        optimizer.step()
    saved = optimizer.state_dict()
    loop.optimizer.load_state_dict(saved)
    loop.step()
    plain.set_gradients()
    optimizer.step()
    assert everything(loop.optimizer) == everything(optimizer)
    assert [frame.step for frame in loop.frames] == [0, 1, 2]
