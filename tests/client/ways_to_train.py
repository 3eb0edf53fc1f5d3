"""Small trainings in many ways, each by torch alone and with a run: what they must agree on is the parameters.

Gradients are set by hand, the same for torch and for us, so that a training takes milliseconds.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradvitals import ClipByLayerNorm, Monitor, NonFiniteGradientError, Run

LIMIT = 0.5
NORM = 155.34  # of the gradients, before a factor

Parameters = list[nn.Parameter]


class Net(nn.Module):
    """Eight layers of one shape, a large one, and one that gets no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(3, 3) for _ in range(8))
        self.wide = nn.Linear(3, 6_000)
        self.unused = nn.Linear(3, 1)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def set_gradients(self, factor: float) -> None:
        """Gradients with a global norm of ``NORM`` times ``factor``."""
        for parameter in (*self.hidden.parameters(), *self.wide.parameters()):
            parameter.grad = torch.linspace(-1, 2, parameter.numel()).reshape(parameter.shape) * factor


def clip_nothing(parameters: Parameters) -> None:
    """Leave them as they are."""


def clip_norm(parameters: Parameters, norm_type: float = 2.0) -> None:
    nn.utils.clip_grad_norm_(parameters, LIMIT, norm_type)


def clip_value(parameters: Parameters) -> None:
    nn.utils.clip_grad_value_(parameters, LIMIT)


def clip_layers(parameters: Parameters) -> None:
    for parameter in parameters:
        nn.utils.clip_grad_norm_(parameter, LIMIT)


def halve(parameters: Parameters) -> None:
    halve_gradients([parameter.grad for parameter in parameters if parameter.grad is not None])


def halve_gradients(gradients: Any, norms: object = None) -> None:
    for gradient in gradients:
        gradient.mul_(0.5)


SGD = functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)
FUSED = functools.partial(torch.optim.AdamW, lr=0.1, eps=0.1, fused=True)  # with such an eps Adam feels a missed clip
NOT_FINITE = (1e-3, 0.3, math.nan, 0.2)
LONG = (1e-3, 0.3) * 33  # for what is looked at every 64 steps


class UsersHookError(Exception):
    """What a hook of the user's raises."""


@dataclass
class Setting:
    """A way to train."""

    watch: dict[str, Any] = field(default_factory=lambda: {"max_norm": LIMIT})
    torchs_clip: Callable[[Parameters], None] = clip_norm
    optimizer: Callable[..., torch.optim.Optimizer] = SGD
    scales: bool = False  # the loss, by a GradScaler
    closure: bool = False
    factors: tuple[float, ...] = (1e-3, 0.3, 3e-3, 0.2)  # of the gradients: not clipped, clipped, not, clipped
    grows: bool = False  # by a parameter group, after the first step
    raises_at: int | None = None  # the step that a hook of the user's raises in, after ours
    rank: int = 0
    observes: bool = False  # an observer is told of norms, and nothing is clipped
    on_device: bool = False  # norms stay tensors and come to the host later, as from a device
    thorough: bool = False  # each function is tried in here, beside those that nothing before has reached


SETTINGS = {
    "plain": Setting(thorough=True),
    "folded into a fused step": Setting(optimizer=FUSED, thorough=True),
    "a scaler": Setting(scales=True, factors=NOT_FINITE),
    "a scaler and a fused step": Setting(scales=True, optimizer=FUSED, factors=NOT_FINITE, thorough=True),
    "a scaler without the hook": Setting({"max_norm": LIMIT, "hook": False}, scales=True, thorough=True),
    "skip": Setting({"max_norm": LIMIT, "on_non_finite": "skip"}, factors=NOT_FINITE, thorough=True),
    "skip a fused step": Setting({"max_norm": LIMIT, "on_non_finite": "skip"}, optimizer=FUSED, factors=NOT_FINITE),
    "raise": Setting({"max_norm": LIMIT, "on_non_finite": "raise"}, factors=NOT_FINITE, thorough=True),
    "keep": Setting(factors=NOT_FINITE),
    "a closure": Setting(closure=True, thorough=True),
    "without the hook": Setting({"max_norm": LIMIT, "hook": False}),
    "on a device": Setting(on_device=True, thorough=True),
    "skip on a device": Setting(
        {"max_norm": LIMIT, "on_non_finite": "skip"}, optimizer=FUSED, factors=NOT_FINITE, on_device=True
    ),
    "a step that raises": Setting(optimizer=FUSED, raises_at=1),
    "another rank": Setting(rank=1),
    "observed": Setting(torchs_clip=clip_nothing, observes=True),
    "long": Setting(factors=LONG),
    "only measured": Setting({}, clip_nothing, factors=NOT_FINITE),
    "clipped before": Setting({}, clip_nothing, factors=(2.0 / NORM,) * 80),
    "skips for ever": Setting({"max_norm": LIMIT, "on_non_finite": "skip"}, factors=(math.nan,) * 22),
    "by value": Setting({"clip_value": LIMIT}, clip_value),
    "by layer": Setting({"strategy": ClipByLayerNorm(LIMIT)}, clip_layers),
    "by a function": Setting({"strategy": halve_gradients}, halve, thorough=True),
    "grouped": Setting({"max_norm": LIMIT, "group_by": "hidden.*", "exclude": "unused.*"}),
    "absolute": Setting({"max_norm": LIMIT, "norm_type": 1}, functools.partial(clip_norm, norm_type=1)),
    "another norm": Setting({"max_norm": LIMIT, "norm_type": 3}, functools.partial(clip_norm, norm_type=3)),
    "largest": Setting({"max_norm": LIMIT, "norm_type": math.inf}, functools.partial(clip_norm, norm_type=math.inf)),
    "growing": Setting(grows=True),
}


class Training:
    """One model that is trained as a setting says, by torch alone or with a run."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.model = Net()
        first = [*self.model.hidden.parameters(), *self.model.unused.parameters()]
        self.optimizer = setting.optimizer(first if setting.grows else self.model.parameters())
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0) if setting.scales else None

    def alone(self) -> list[Tensor]:
        """The parameters after torch has trained them."""
        self.optimizer.register_step_pre_hook(self.raise_at_that_step)
        for number, factor in enumerate(self.setting.factors):
            self.take_step(number, factor, clip=self._clip_as_torch)
        return self.end()

    def with_run(
        self, run: Run, fault: AbstractContextManager[object], after_step: Callable[[int], object] = lambda number: None
    ) -> list[Tensor]:
        """The parameters after they were trained with us, with a fault from the first step to the end of the run."""
        monitor = run.observer() if self.setting.observes else self.start_watching(run)
        self.optimizer.register_step_pre_hook(self.raise_at_that_step)  # after ours
        clip = monitor.clip_ if self.setting.watch.get("hook") is False else lambda: None
        with fault:
            with run:
                for number, factor in enumerate(self.setting.factors):
                    run.log(loss=torch.tensor(1.0), accuracy=0.5, batch_id=number)
                    self.take_step(number, factor, clip)
                    if self.setting.observes:
                        monitor.observe(factor)
                    run.log(loss=3.0, step=number)
                    assert monitor.last is None or monitor.last["step"] <= run.step
                    run.saved(run.step, f"checkpoint-{number}")
                    run.may_delete(f"checkpoint-{number - 1}")
                    after_step(number)
                with run.pause("evaluation"):
                    pass
            monitor.close()
        return self.end()

    def start_watching(self, run: Run) -> Monitor:
        """Have the run watch as the setting says."""
        monitor = run.watch(self.model, self.optimizer, scaler=self.scaler, **self.setting.watch)
        if self.setting.on_device:
            monitor._watched.uniform = False  # so that ``gradient_norms`` is asked, which a test has exchanged
        return monitor

    def take_step(self, number: int, factor: float, clip: Callable[[], object] = lambda: None) -> None:
        """Set gradients, clip them, and have the optimizer step, as the setting says."""
        self._number = number
        with contextlib.suppress(NonFiniteGradientError, UsersHookError):
            self._step(factor, clip)

    def raise_at_that_step(self, *_: object) -> None:
        """A hook of the user's."""
        if self._number == self.setting.raises_at:
            raise UsersHookError

    def _step(self, factor: float, clip: Callable[[], object]) -> None:
        if self.setting.closure:
            self.optimizer.step(lambda: self._backward(factor, clip))
            return
        self._backward(factor, clip)
        if clip == self._clip_as_torch and self._torch_skips():
            return
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.setting.grows and len(self.optimizer.param_groups) == 1:
            self.optimizer.add_param_group({"params": list(self.model.wide.parameters())})

    def _backward(self, factor: float, clip: Callable[[], object]) -> Tensor:
        self.optimizer.zero_grad()
        scale = 1.0 if self.scaler is None else self.scaler.scale(torch.tensor(1.0)).item()
        self.model.set_gradients(factor * scale)
        clip()
        return torch.tensor(factor)

    def _clip_as_torch(self) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        self.setting.torchs_clip([p for group in self.optimizer.param_groups for p in group["params"]])

    def _torch_skips(self) -> bool:
        """Whether a step is left out because it is not finite, as the policies do."""
        policy = self.setting.watch.get("on_non_finite", "keep")
        return policy != "keep" and not self.model.wide.bias.grad.isfinite().all()

    def end(self) -> list[Tensor]:
        """One more step, which nobody clips: nothing of ours is left in it."""
        self._number = -1
        self._step(0.1, clip=lambda: None)
        return [parameter.detach().clone() for parameter in self.model.parameters()]
