"""Runs in which layers stop getting gradient: from the start, at once or slowly, for ever or for a while."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.traces import injections as inject
from benchmarks.traces import networks, tasks
from benchmarks.traces.networks import Attention, Block
from benchmarks.traces.recording import Injection, Scenario
from benchmarks.traces.training import Change, Training, constant, plan, sgd

Gradients = tuple[Tensor, ...] | Tensor


def _deep(activation: Callable[[], nn.Module], lr: float, *, residual: bool = False, **settings: Any) -> Any:
    model = partial(networks.Mlp, 16, 6, depth=18, activation=activation, residual=residual)
    return plan(model, tasks.clusters, tasks.classify, constant(lr), **settings)


def _mlp(depth: int = 3, **model: Any) -> Callable[[int], Any]:
    return plan(lambda: networks.Mlp(16, 6, depth=depth, **model), tasks.clusters, tasks.classify, constant(0.002))


def _images() -> Callable[[int], Any]:
    return plan(lambda: networks.Convolutional(6), tasks.gratings, tasks.classify, constant(0.002))


def _recurrent(cell: networks.Cell, *, gain: float = 1.0, length: int = 16) -> Any:
    batches = partial(tasks.first_symbol, length=length)
    model = partial(networks.Recurrent, cell, 4, 4, gain=gain)
    return plan(model, batches, tasks.classify, constant(0.003))


def _transformer() -> Callable[[int], Any]:
    model = partial(networks.Transformer, 12, 16)
    return plan(model, tasks.repeated_words, tasks.predict_next, constant(0.003))


def _residual(gain: float | None = None) -> Callable[[int], Any]:
    return _mlp(4, residual=True, norm=True, gain=gain)


def _sharpen(factor: float) -> Change:
    def change(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, Attention):
                module.sharpness = factor

    return inject.on_model(change)


def _detach_block(place: int, *, detached: bool = True) -> Change:
    def change(model: nn.Module) -> None:
        block = model.get_submodule(f"blocks.{place}")
        assert isinstance(block, Block)
        block.detached = detached

    return inject.on_model(change)


def _detach_memory(model: nn.Module) -> None:
    assert isinstance(model, networks.Recurrent)
    model.detached = True


def _close_gains(value: float) -> Change:
    @torch.no_grad()
    def change(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, Block) and module.gain is not None:
                module.gain.fill_(value)
                module.gain.requires_grad_(False)

    return inject.on_model(change)


def _one_expert(model: nn.Module) -> None:
    """The router sends everything to the first expert, whatever it learns."""
    router = model.get_submodule("router")
    assert isinstance(router, nn.Linear)
    with torch.no_grad():
        router.bias[0] += 1000.0


def _flush_small_gradients(limit: float) -> Change:
    """What the first block passes back is zero below ``limit``, as in half precision without loss scaling."""
    return _on_what_is_passed_back(lambda grad: torch.where(grad.abs() < limit, torch.zeros_like(grad), grad))


def _weaken(factor: float) -> Change:
    """What the first block passes back is multiplied by ``factor``."""
    return _on_what_is_passed_back(lambda grad: factor * grad)


def _on_what_is_passed_back(alter: Callable[[Tensor], Tensor]) -> Change:
    def change(model: nn.Module) -> None:
        def hook(module: nn.Module, passed_back: Gradients, received: Gradients) -> Gradients:
            return (alter(passed_back[0]),)

        model.get_submodule("blocks.0").register_full_backward_hook(hook)

    return inject.on_model(change)


def _shift_gradually(shift: float) -> Change:
    """The biases of the second block grow by a little at each step, so that its activation saturates slowly."""

    @torch.no_grad()
    def grow(training: Training) -> None:
        training.model.get_submodule("blocks.1.linear").get_parameter("bias").add_(shift)

    def change(training: Training) -> None:
        training.after_update = grow

    return change


def _block(place: int) -> Callable[[nn.Module], nn.Module]:
    return lambda model: model.get_submodule(f"blocks.{place}.linear")


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "v_deep_sigmoid",
        "18 layers of sigmoids from the start; the control has ways around",
        500,
        _deep(nn.Sigmoid, 0.05, make_optimizer=sgd()),
        "deep_sigmoid",
        (1,),
        control=_deep(nn.Tanh, 0.05, residual=True, make_optimizer=sgd()),
    ),
    Scenario(
        "v_deep_relu",
        "18 layers of ReLU with torch's own small weights; the control has ways around",
        500,
        _deep(nn.ReLU, 0.001),
        "deep_relu",
        (1,),
        control=_deep(nn.ReLU, 0.001, residual=True),
    ),
    Scenario(
        "v_rnn_contracts",
        "recurrent matrix with singular values of 0.005 from the start: only the last input is heard",
        500,
        _recurrent(nn.RNN, gain=0.005),
        "contracting_recurrence",
        (1,),
        control=_recurrent(nn.RNN),
    ),
    Scenario(
        "v_dead_relu",
        "biases of the third block pushed to -20 at 400",
        900,
        _mlp(),
        "dying_relu",
        (1,),
        (Injection(400, inject.set_bias(_block(2), -20.0)),),
    ),
    Scenario(
        "v_dead_filters",
        "biases of the second convolution pushed to -50 at 350",
        800,
        _images(),
        "dying_relu",
        (1,),
        (Injection(350, inject.set_bias(lambda model: model.get_submodule("convolutions.1.0"), -50.0)),),
    ),
    Scenario(
        "v_detached_branch",
        "a residual branch is detached from 500 on: its layers get nothing, all others go on",
        900,
        _residual(),
        "detached",
        (1,),
        (Injection(500, _detach_block(1)),),
    ),
    Scenario(
        "v_detached_and_back",
        "the same, put right at 760",
        1000,
        _residual(),
        "detached",
        (1,),
        (Injection(500, _detach_block(2), 760, _detach_block(2, detached=False)),),
    ),
    Scenario(
        "v_detached_memory",
        "the last state of an LSTM is detached from 500 on: only the layer on top learns",
        900,
        _recurrent(nn.LSTM),
        "detached",
        (1,),
        (Injection(500, inject.on_model(_detach_memory)),),
    ),
    Scenario(
        "v_gains_closed",
        "the gains of all residual branches are set to nothing and frozen at 400",
        800,
        _residual(0.5),
        "closed_gates",
        (1,),
        (Injection(400, _close_gains(0.0)),),
    ),
    Scenario(
        "v_gains_faint",
        "the gains of all residual branches are set to a fortieth and frozen at 400: borderline",
        800,
        _residual(0.5),
        "closed_gates",
        (1,),
        (Injection(400, _close_gains(0.025)),),
    ),
    Scenario(
        "v_sharp_attention",
        "attention a thousand times sharper from 500 on: its softmax saturates, queries and keys get nothing",
        900,
        _transformer(),
        "saturation",
        (1,),
        (Injection(500, _sharpen(1e4)),),
    ),
    Scenario(
        "v_one_expert",
        "the router sends everything to one expert from 500 on",
        1000,
        plan(lambda: networks.Experts(16, 6), tasks.clusters, tasks.classify, constant(0.003)),
        "expert_collapse",
        (1,),
        (Injection(500, inject.on_model(_one_expert)),),
    ),
    Scenario(
        "v_underflow",
        "from 600 on, gradients that the first block passes back are zero, as they underflow half precision",
        1000,
        _mlp(),
        "underflow",
        (1,),
        (Injection(600, _flush_small_gradients(0.3)),),
    ),
    Scenario(
        "v_saturates_slowly",
        "the biases of a tanh block grow by 0.04 a step from 300 on",
        1000,
        _mlp(activation=nn.Tanh),
        "saturation",
        (1, 2),
        (Injection(300, _shift_gradually(0.04)),),
    ),
    Scenario(
        "v_gru_saturated",
        "biases of a GRU set to 12 at 500: its gates stay where they are",
        900,
        _recurrent(nn.GRU),
        "saturation",
        (1,),
        (Injection(500, inject.set_bias(lambda model: model.get_submodule("cell"), 12.0)),),
    ),
    Scenario(
        "v_inputs_dead",
        "inputs in the wrong unit from 450 on (x2,000) in front of a sigmoid",
        900,
        _mlp(2, activation=nn.Sigmoid),
        "saturation",
        (1,),
        (Injection(450, inject.scale_weights(_block(0), 3000.0)),),
    ),
    Scenario(
        "v_weak_twentieth",
        "the first layer gets a twentieth of its gradient from 500 on: borderline",
        900,
        _mlp(),
        "weakened",
        (1,),
        (Injection(500, _weaken(0.05)),),
    ),
    Scenario(
        "v_weak_fiftieth",
        "the first layer gets a fiftieth of its gradient from 500 on: borderline",
        900,
        _mlp(),
        "weakened",
        (1,),
        (Injection(500, _weaken(0.02)),),
    ),
    Scenario(
        "v_weak_five_hundredth",
        "the first layer gets 1/500 of its gradient from 500 on",
        900,
        _mlp(),
        "weakened",
        (1,),
        (Injection(500, _weaken(0.002)),),
    ),
    Scenario(
        "v_all_dead",
        "biases of all blocks pushed to -50 at 500: nothing but the last layer's bias gets gradient",
        900,
        _mlp(),
        "dying_relu",
        (1,),
        (Injection(500, inject.set_bias(lambda model: model.get_submodule("blocks"), -50.0)),),
    ),
)
