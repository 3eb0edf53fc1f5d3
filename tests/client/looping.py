"""A loop of the smallest kind for tests of a monitor: two weights whose gradients are set by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from gradvitals.frames import Frame
from gradvitals.monitor import Monitor


class Collector:
    """A sink that keeps every frame."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def submit(self, monitor: Monitor, frame: Frame) -> None:
        self.frames.append(frame)


class ThreeAndFour(nn.Module):
    """Two weights whose gradients can be set to 3 and 4: a global norm of 5."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(1, 1, bias=False)
        self.second = nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            self.first.weight.fill_(1.0)
            self.second.weight.fill_(2.0)

    def set_gradients(self, first: float | None = 3.0, second: float | None = 4.0) -> None:
        for layer, value in ((self.first, first), (self.second, second)):
            layer.weight.grad = None if value is None else torch.full_like(layer.weight, value)

    def gradients(self) -> list[float]:
        return [self.first.weight.grad.item(), self.second.weight.grad.item()]

    def weights(self) -> list[float]:
        return [weight.item() for weight in self.parameters()]


MakeOptimizer = Callable[..., torch.optim.Optimizer]


def sgd(parameters) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=0.1)


def fused_sgd(parameters) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=0.1, fused=True)


class Loop:
    """A model, its optimizer and its monitor; ``step`` makes one training step with the given gradients."""

    def __init__(
        self, make_optimizer: MakeOptimizer = sgd, sink=None, model: nn.Module | None = None, **options
    ) -> None:
        self.model = ThreeAndFour() if model is None else model
        self.optimizer = make_optimizer(self.model.parameters())
        self.told: list[str] = []
        self.sink = sink or Collector()
        self.monitor = Monitor(self.model, self.optimizer, sink=self.sink, tell=self.told.append, **options)

    def step(self, first: float | None = 3.0, second: float | None = 4.0) -> None:
        self.model.set_gradients(first, second)
        self.optimizer.step()

    @property
    def frames(self) -> list[Frame]:
        return self.sink.frames

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    @property
    def told_of(self) -> list[str]:
        """What was told, but for how long these steps, which do nothing else, take."""
        return [line for line in self.told if "% of the time" not in line]


def layer_names(frame: Frame) -> list[str]:
    return [layer.name for layer in frame.layout.layers]


def everything(optimizer: torch.optim.Optimizer) -> object:
    """Weights and state of an optimizer, in a form that == compares bit for bit where nothing is NaN."""
    weights = [parameter.tolist() for group in optimizer.param_groups for parameter in group["params"]]
    state = optimizer.state_dict()["state"]
    return weights, {
        key: {name: torch.as_tensor(value).tolist() for name, value in entries.items()}
        for key, entries in state.items()
    }
