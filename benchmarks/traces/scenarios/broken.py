"""Runs with gradients that are NaN or infinite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.traces import injections as inject
from benchmarks.traces import networks, tasks
from benchmarks.traces.recording import Injection, Scenario
from benchmarks.traces.training import Batch, Change, Training, adam, constant, plan, sgd


def _half_precision(model: nn.Module, batch: Batch) -> Tensor:
    with torch.autocast("cpu", torch.float16):
        return tasks.classify(model, batch).float()


def _scaled(init_scale: float, growth_interval: int) -> Callable[[int], Training]:
    """Half precision with a loss scaler."""
    plain = plan(lambda: networks.Mlp(16, 6), tasks.clusters, _half_precision, constant(0.002), make_optimizer=adam)

    def build(seed: int) -> Training:
        training = plain(seed)
        training.scaler = torch.amp.GradScaler("cpu", init_scale, growth_interval=growth_interval)
        return training

    return build


def _distance(model: nn.Module, batch: Batch) -> Tensor:
    """Contrast by distance: the root has no slope where two examples are the same."""
    inputs, classes = batch
    first, second = model(inputs[::2]), model(inputs[1::2])
    distance = (first - second).square().sum(-1).sqrt()
    same = classes[::2] == classes[1::2]
    return torch.where(same, distance.square(), (2.0 - distance).clamp(min=0.0).square()).mean()


def _same_pair(step: int) -> Change:
    """At one step the first two examples are the same."""

    def change(training: Training) -> None:
        old = training.batches

        def draw(generator: torch.Generator, at: int) -> Batch:
            batch = old(generator, at)
            if at == step:
                batch[0][1], batch[1][1] = batch[0][0], batch[1][0]
            return batch

        training.batches = draw

    return change


def _regression(**settings: Any) -> Callable[[int], Any]:
    return plan(lambda: networks.Mlp(10, 1), tasks.teacher, tasks.regress, constant(0.01), **settings)


def _log_of_zero(model: nn.Module) -> None:
    with torch.no_grad():
        model.get_submodule("write").get_parameter("bias").fill_(-1e4)


def _poisson(model: nn.Module, batch: Batch) -> Tensor:
    """Counts, with a logarithm written by hand."""
    inputs, targets = batch
    rate = torch.nn.functional.softplus(model(inputs))
    return (rate - targets.abs() * rate.log()).mean()


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "n_scaler",
        "half precision with a loss scale that begins too high and grows every 150 steps: overflows are skipped",
        900,
        _scaled(2.0**24, 150),
        seeds=(1, 2),
    ),
    Scenario(
        "n_root_of_zero",
        "two examples of one batch are the same, and the root's slope there is infinite",
        500,
        plan(lambda: networks.Mlp(16, 8), tasks.clusters, _distance, constant(0.002)),
        "root_of_zero",
        (1,),
        (Injection(350, _same_pair(350)),),
    ),
    Scenario(
        "n_nan_input",
        "one number of one batch is NaN, and the step is applied",
        500,
        _regression(),
        "nan_data",
        (1,),
        (Injection(300, inject.spoil_inputs(float("nan"), 300)),),
    ),
    Scenario(
        "n_inf_input_skipped",
        "one number of one batch is infinite; a guard skips the step",
        700,
        _regression(skips_non_finite=True),
        "inf_data",
        (1,),
        (Injection(400, inject.spoil_inputs(float("inf"), 400)),),
    ),
    Scenario(
        "n_log_of_zero",
        "a rate that becomes zero in front of a logarithm",
        500,
        plan(lambda: networks.Mlp(10, 1), tasks.teacher, _poisson, constant(0.01), make_optimizer=sgd()),
        "log_zero",
        (1,),
        (Injection(380, inject.on_model(_log_of_zero)),),
    ),
)
