"""Train one network in steps that depend on nothing but the state and the number of the step.

So a training may be copied at any step, changed, and both copies trained on: they get the same batches and the same
dropout, and what differs between them is what the change did.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Batch = tuple[Tensor, ...]
Batches = Callable[[torch.Generator, int], Batch]
Loss = Callable[[nn.Module, Batch], Tensor]
Rate = Callable[[int], float]
Change = Callable[["Training"], None]
MakeOptimizer = Callable[[list[nn.Parameter], float], torch.optim.Optimizer]


@dataclass(frozen=True, slots=True)
class Row:
    """What is recorded of one step. Norms are those before clipping, in float64."""

    global_norm: float
    loss: float
    lr: float
    layer_norms: NDArray[np.float64]
    param_norms: NDArray[np.float64]
    requires_grad: NDArray[np.bool_]
    broken: NDArray[np.bool_]  # layers with an element that is NaN or infinite


@dataclass
class Training:
    """One network and how it is trained. All of it may be changed between two steps.

    ``watched`` is the part that the recorded optimizer trains; what else there is to do in a step, such as training
    the other side of a game, is done by ``meanwhile``. ``changes`` are part of the plan (a layer is unfrozen, a domain
    changes): each is applied before its step, to every copy.
    """

    model: nn.Module
    batches: Batches
    loss: Loss
    rate: Rate
    seed: int
    make_optimizer: MakeOptimizer = lambda parameters, lr: adam(parameters, lr)
    max_norm: float | None = None
    watched: nn.Module | None = None
    scaler: torch.amp.GradScaler | None = None
    skips_non_finite: bool = False
    forgets_zero_grad: bool = False
    changes: Mapping[int, Change] = field(default_factory=dict)
    meanwhile: Callable[[Training, Batch], None] | None = None
    after_update: Change | None = None
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.layers = tuple(_layers(self.watched if self.watched is not None else self.model))
        self.optimizer = self.make_optimizer([p for _, ps in self.layers for p in ps], self.rate(0))

    def fork(self) -> Training:
        """A copy that goes on by itself."""
        return copy.deepcopy(self)

    def measure(self, step: int) -> Row:
        """Compute the gradient of a step, and leave it in place for ``update``."""
        if step in self.changes:
            self.changes[step](self)
        batch = self.batch(step)
        lr = self.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self.meanwhile is not None:
            self.meanwhile(self, batch)
        if not self.forgets_zero_grad:
            for parameter in self.model.parameters():
                parameter.grad = None
        loss = self.loss(self.model, batch)
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        if scaled.requires_grad:
            torch.autograd.backward(scaled)
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        return self._row(float(loss.detach()), lr)

    def batch(self, step: int) -> Batch:
        """The batch of a step; dropout and the like follow from the same number."""
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + step)
        torch.default_generator.manual_seed(1_000_003 * self.seed + step)  # manual_seed also asks for a GPU, slowly
        return self.batches(generator, step)

    def update(self, row: Row, max_norm: float | None = None) -> float:
        """Clip and apply what ``measure`` left; the coefficient by which it was clipped."""
        limit = self.max_norm if max_norm is None else max_norm
        coefficient = 1.0
        if limit is not None and math.isfinite(row.global_norm):
            coefficient = min(1.0, limit / (row.global_norm + 1e-6))
        if coefficient < 1.0:
            for parameter in self._parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(coefficient)
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        elif not (self.skips_non_finite and row.broken.any()):
            self.optimizer.step()
        if self.after_update is not None:
            self.after_update(self)
        return coefficient

    def _parameters(self) -> Iterator[nn.Parameter]:
        for _, parameters in self.layers:
            yield from parameters

    @torch.no_grad()
    def _row(self, loss: float, lr: float) -> Row:
        grads = [p.grad if p.grad is not None else torch.zeros(1) for p in self._parameters()]
        weights = list(self._parameters())
        starts = np.cumsum([0, *(len(parameters) for _, parameters in self.layers)])[:-1]
        squares = _square_norms(grads)
        norms = np.sqrt(np.add.reduceat(squares, starts))
        return Row(
            global_norm=float(np.sqrt(squares.sum())),
            loss=loss,
            lr=lr,
            layer_norms=norms,
            param_norms=np.sqrt(np.add.reduceat(_square_norms(weights), starts)),
            requires_grad=np.array([any(p.requires_grad for p in parameters) for _, parameters in self.layers]),
            broken=~np.isfinite(norms),  # in float64 the norm of finite elements is finite
        )


def _square_norms(tensors: list[Tensor] | list[nn.Parameter]) -> NDArray[np.float64]:
    """In float64, since the square of a norm of 1e20 is beyond float32."""
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors], dtype=torch.float64)
    squares: NDArray[np.float64] = np.square(torch.stack(list(norms)).numpy())
    return squares


def _layers(model: nn.Module) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """A module's own parameters together, input and recurrent weights of a recurrent module apart."""
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, nn.RNNBase):
            for part in ("ih", "hh"):
                for level in range(module.num_layers):
                    yield f"{name}.{part}_l{level}", [p for key, p in own.items() if f"_{part}_l{level}" in key]
        elif own:
            yield name or "weight", list(own.values())


def plan(
    make_model: Callable[[], nn.Module],
    make_batches: Callable[[int], Batches],
    loss: Loss,
    rate: Rate,
    **settings: Any,
) -> Callable[[int], Training]:
    """How to build a training from a seed, which stands for its weights and its batches."""

    def build(seed: int) -> Training:
        torch.manual_seed(seed)
        return Training(make_model(), make_batches(seed), loss, rate, seed, **settings)

    return build


def constant(lr: float) -> Rate:
    """The same learning rate at every step."""
    return lambda step: lr


def warm_up(lr: float, steps: int) -> Rate:
    """Linear growth to ``lr``, which then stays."""
    return lambda step: lr * min(1.0, (step + 1) / steps)


def cosine(lr: float, period: int) -> Rate:
    """Half a cosine from ``lr`` down to a thousandth, again and again: warm restarts."""
    return lambda step: lr * (0.001 + 0.999 * 0.5 * (1.0 + math.cos(math.pi * (step % period) / period)))


def sgd(momentum: float = 0.0) -> MakeOptimizer:
    return lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=momentum, foreach=True)


def adam(parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr, foreach=True)


def adamw(parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr, weight_decay=0.01, foreach=True)


def rmsprop(parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(parameters, lr, foreach=True)
