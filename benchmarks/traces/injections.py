"""Ways to break a training that is going on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.traces.tasks import altered
from benchmarks.traces.training import Batch, Change, Training


def raise_rate(factor: float) -> Change:
    """A learning rate that is too high from now on."""

    def change(training: Training) -> None:
        old = training.rate
        training.rate = lambda step: factor * old(step)

    return change


def grow_rate(start: int, growth: float) -> Change:
    """A learning rate that grows by a factor at each step."""

    def change(training: Training) -> None:
        old = training.rate
        training.rate = lambda step: old(step) * growth ** (step - start)

    return change


def multiply_inputs(factor: float, step: int | None = None) -> Change:
    """Inputs of the wrong unit, at one step or from now on."""
    return _on_batch(lambda batch: (factor * batch[0], *batch[1:]), step)


def multiply_targets(factor: float, step: int | None = None) -> Change:
    """Targets of the wrong unit, at one step or from now on."""
    return _on_batch(lambda batch: (batch[0], factor * batch[1]), step)


def spoil_inputs(value: float, step: int | None = None) -> Change:
    """One number of the first example is ``value``."""

    def spoil(batch: Batch) -> Batch:
        inputs = batch[0].clone()
        inputs.view(-1)[0] = value
        return (inputs, *batch[1:])

    return _on_batch(spoil, step)


def _on_batch(alter: Callable[[Batch], Batch], at: int | None) -> Change:
    def change(training: Training) -> None:
        old = training.batches
        if at is None:
            training.batches = altered(old, alter)
        else:
            new = altered(old, alter)
            training.batches = lambda generator, step: (new if step == at else old)(generator, step)

    return change


def scale_weights(which: Callable[[nn.Module], nn.Module], factor: float) -> Change:
    """All parameters of a part are multiplied, as after a checkpoint that was converted wrongly."""

    @torch.no_grad()
    def change(training: Training) -> None:
        for parameter in which(training.model).parameters():
            parameter.mul_(factor)

    return change


def scale_recurrence(factor: float) -> Change:
    """The recurrent weights are multiplied."""

    @torch.no_grad()
    def change(training: Training) -> None:
        for name, parameter in training.model.named_parameters():
            if "weight_hh" in name:
                parameter.mul_(factor)

    return change


def set_bias(which: Callable[[nn.Module], nn.Module], value: float) -> Change:
    """Every bias of a part gets one value: it saturates, or dies."""

    @torch.no_grad()
    def change(training: Training) -> None:
        for name, parameter in which(training.model).named_parameters():
            if name.split(".")[-1].startswith("bias"):
                parameter.fill_(value)

    return change


def on_model(change_model: Callable[[nn.Module], None]) -> Change:
    """Something is done to the network itself."""
    return lambda training: change_model(training.model)


def forget_zero_grad(training: Training) -> None:
    """From now on gradients are added to those of all steps before."""
    training.forgets_zero_grad = True


def grow_weights(factor: float) -> Change:
    """From now on all weights grow at each step: a weight decay of the wrong sign."""

    @torch.no_grad()
    def grow(training: Training) -> None:
        for parameter in training.model.parameters():
            parameter.mul_(factor)

    def change(training: Training) -> None:
        training.after_update = grow

    return change


def sum_instead_of_mean(size: int) -> Change:
    """From now on the loss is summed over the batch."""

    def change(training: Training) -> None:
        old = training.loss
        training.loss = lambda model, batch: size * old(model, batch)

    return change


def set_momentum(momentum: float) -> Change:
    """Another momentum from now on."""

    def change(training: Training) -> None:
        for group in training.optimizer.param_groups:
            group["momentum"] = momentum

    return change
