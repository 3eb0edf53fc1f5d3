"""Loops as people write them, without a framework, take the path that they take with torch's own clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import gradvitals

STEPS = 12


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        yield torch.randn(4, 3, generator=generator), 5 * torch.randn(4, 1, generator=generator)


Clip = Callable[[nn.Module], object]


def torchs(model: nn.Module) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)


def nobodys(model: nn.Module) -> None:
    pass


def simple(model: nn.Module, optimizer: torch.optim.Optimizer, clip: Clip) -> Iterator[Tensor]:
    for inputs, targets in batches():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        clip(model)
        optimizer.step()
        yield loss


def accumulating(model: nn.Module, optimizer: torch.optim.Optimizer, clip: Clip) -> Iterator[Tensor]:
    """A step every three batches."""
    for batch, (inputs, targets) in enumerate(batches()):
        loss = nn.functional.mse_loss(model(inputs), targets) / 3
        loss.backward()
        if batch % 3 == 2:
            clip(model)
            optimizer.step()
            optimizer.zero_grad()
            yield loss


def closing(model: nn.Module, optimizer: torch.optim.Optimizer, clip: Clip) -> Iterator[Tensor]:
    """Each step is given a closure."""
    for inputs, targets in batches():

        def closure(inputs: Tensor = inputs, targets: Tensor = targets) -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            clip(model)
            return loss

        yield optimizer.step(closure)


def scheduled(model: nn.Module, optimizer: torch.optim.Optimizer, clip: Clip) -> Iterator[Tensor]:
    """The learning rate, and a beta of Adam, change with every step."""
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=STEPS)
    for loss in simple(model, optimizer, clip):
        schedule.step()
        yield loss


def freezing(model: nn.Module, optimizer: torch.optim.Optimizer, clip: Clip) -> Iterator[Tensor]:
    """The first layer is frozen for the second half."""
    for step, loss in enumerate(simple(model, optimizer, clip)):
        if step == STEPS // 2:
            model.get_submodule("0").requires_grad_(False)
        yield loss


def adam(model: nn.Sequential) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), 0.01)


def fused_adamw(model: nn.Sequential) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), 0.01, fused=True)


def sgd_of_two_groups(model: nn.Sequential) -> torch.optim.Optimizer:
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "weight_decay": 0.1}]
    return torch.optim.SGD(groups, 0.01, momentum=0.9)


def adam_with_a_tensor_as_learning_rate(model: nn.Sequential) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), torch.tensor(0.01), foreach=False)


LOOPS = [simple, accumulating, closing, scheduled, freezing]
OPTIMIZERS = [adam, fused_adamw, sgd_of_two_groups, adam_with_a_tensor_as_learning_rate]


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_the_loss_curve_is_that_of_torchs_clip(transport, loop, make_optimizer):
    model = make_model()
    theirs = [loss.item() for loss in loop(model, make_optimizer(model), torchs)]
    model = make_model()
    optimizer = make_optimizer(model)
    with gradvitals.init(url=transport) as run:
        run.watch(model, optimizer, max_norm=1.0)
        ours = [loss.item() for loss in loop(model, optimizer, nobodys)]
    # A fused step multiplies by the coefficient itself, which rounds in another place.
    assert ours == (pytest.approx(theirs, rel=1e-6) if make_optimizer is fused_adamw else theirs)
    assert len(transport.frames()) == len(theirs)
    assert any(frame.clip_coefficient < 1.0 for frame in transport.frames())


@pytest.mark.parametrize("lr", [0.004, torch.tensor(0.004)], ids=["a number", "a tensor"])
def test_a_frame_has_the_learning_rate_of_its_step(transport, lr):
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr, foreach=False)
    rates = []
    with gradvitals.init(url=transport) as run:
        run.watch(model, optimizer, max_norm=1.0)
        for _ in scheduled(model, optimizer, lambda model: rates.append(float(optimizer.param_groups[0]["lr"]))):
            pass
    assert len(set(rates)) == STEPS
    assert [frame.lr for frame in transport.frames()] == pytest.approx(rates)


class TestTwoOptimizers:
    """A generator and a discriminator, of which each step sees gradients of both and clips its own."""

    def train(self, clip: bool, run: gradvitals.Run | None = None) -> list[float]:
        torch.manual_seed(0)
        networks = nn.ModuleDict({"generator": nn.Linear(3, 3), "discriminator": nn.Linear(3, 1)})
        optimizers = {name: torch.optim.Adam(network.parameters(), 0.01) for name, network in networks.items()}
        for name, optimizer in optimizers.items():
            if run is not None:
                run.watch(networks, optimizer, name=name, max_norm=0.1)
        losses = []
        for inputs, _ in batches():
            for name, sign in (("generator", 1.0), ("discriminator", -1.0)):
                networks.zero_grad()
                loss = sign * networks["discriminator"](torch.tanh(networks["generator"](inputs))).square().mean()
                loss.backward()
                if clip:
                    nn.utils.clip_grad_norm_(networks[name].parameters(), 0.1)
                if run is not None:
                    run.log(loss=loss)
                optimizers[name].step()
                losses.append(loss.item())
        return losses

    def test_the_losses_are_those_of_torchs_clip(self, transport):
        with gradvitals.init(url=transport) as run:
            ours = self.train(clip=False, run=run)
        assert ours == self.train(clip=True)

    def test_each_frame_has_the_loss_of_its_own_step(self, transport):
        with gradvitals.init(url=transport) as run:
            losses = self.train(clip=False, run=run)
        assert [frame.loss for frame in transport.frames("generator")] == pytest.approx(losses[::2])
        assert [frame.loss for frame in transport.frames("discriminator")] == pytest.approx(losses[1::2])
