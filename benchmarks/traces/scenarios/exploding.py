"""Runs whose gradients explode: at once, after steps or hundreds of steps, by a cause of ours or by themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.traces import injections as inject
from benchmarks.traces import networks, tasks
from benchmarks.traces.recording import Injection, Scenario
from benchmarks.traces.training import Batch, Rate, adam, adamw, constant, cosine, plan, rmsprop, sgd, warm_up


def _mlp_regression(lr: float, **settings: Any) -> Callable[[int], Any]:
    settings.setdefault("make_optimizer", sgd(0.9))
    return plan(lambda: networks.Mlp(10, 1), tasks.teacher, tasks.regress, constant(lr), **settings)


def _transformer(rate: Rate, *, norm_first: bool = True, **settings: Any) -> Callable[[int], Any]:
    model = partial(networks.Transformer, 12, 16, norm_first=norm_first)
    return plan(model, tasks.repeated_words, tasks.predict_next, rate, **settings)


def _recurrent(cell: networks.Cell, lr: float, *, gain: float = 1.0, length: int = 20, **settings: Any) -> Any:
    batches = partial(tasks.first_symbol, length=length)
    return plan(lambda: networks.Recurrent(cell, 4, 4, gain=gain), batches, tasks.classify, constant(lr), **settings)


def _deep(scale: float) -> Callable[[int], Any]:
    model = partial(networks.Mlp, 16, 6, depth=14, scale=scale)
    return plan(model, tasks.clusters, tasks.classify, constant(0.01), make_optimizer=sgd())


def _values(lr: float, *, bootstraps: bool) -> Callable[[int], Any]:
    """Temporal differences on a chain of states. ``bootstraps`` without a target network runs away."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        states, rewards = batch
        following = torch.roll(states, 1, 1) * 1.5
        if not bootstraps:
            following = following.tanh()
        target = rewards + 0.99 * model(following).detach()
        error: Tensor = (model(states) - target).square().mean()
        return error

    return plan(lambda: networks.Mlp(10, 1), tasks.teacher, loss, constant(lr), make_optimizer=sgd(0.9))


def _experts(**settings: Any) -> Callable[[int], Any]:
    return plan(lambda: networks.Experts(16, 6), tasks.clusters, tasks.classify, constant(0.003), **settings)


def _images(rate: Rate, *, norm: bool = False, **settings: Any) -> Callable[[int], Any]:
    return plan(lambda: networks.Convolutional(6, norm=norm), tasks.gratings, tasks.classify, rate, **settings)


def _lose_norms(model: nn.Module) -> None:
    """Every layer normalisation passes its input on, and the weights were tripled beside it."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.LayerNorm | nn.GroupNorm):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)


def _small_batches(seed: int) -> Any:
    return tasks.clusters(seed, size=2, spread=2.5)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "e_rate_early",
        "LR x40 at step 12, when hardly anything is known of the run",
        300,
        _mlp_regression(0.02),
        "lr_bump",
        (1, 2),
        (Injection(12, inject.raise_rate(40.0)),),
    ),
    Scenario(
        "e_rate_from_start",
        "a GRU whose LR was far too high from the first step; the control has a hundredth of it",
        300,
        _recurrent(nn.GRU, 30.0, make_optimizer=sgd()),
        "lr_too_high",
        (1,),
        control=_recurrent(nn.GRU, 0.3, make_optimizer=sgd()),
    ),
    Scenario(
        "e_scale_from_start",
        "14 layers whose weights begin 1.4 times larger than the control's, which are what ReLUs need",
        300,
        _deep(3.4),
        "bad_init",
        (1,),
        control=_deep(2.4),
    ),
    Scenario(
        "e_transformer_rate",
        "LR x100 in a transformer with warm-up, unclipped",
        800,
        _transformer(warm_up(0.003, 100), make_optimizer=adamw),
        "lr_bump",
        (1,),
        (Injection(450, inject.raise_rate(100.0)),),
    ),
    Scenario(
        "e_transformer_rate_clipped",
        "LR x100 in a clipped transformer with normalisation after each layer: it loses its loss",
        800,
        _transformer(warm_up(0.002, 100), norm_first=False, make_optimizer=adamw, max_norm=1.0),
        "lr_bump",
        (1,),
        (Injection(500, inject.raise_rate(100.0)),),
    ),
    Scenario(
        "e_postnorm_no_warmup",
        "normalisation after each layer, no warm-up and an LR that is rather high",
        600,
        _transformer(constant(0.02), norm_first=False, make_optimizer=sgd(0.9)),
        "natural",
        (1,),
    ),
    Scenario(
        "e_rate_ramp",
        "LR growing by 1.2 % a step from 200 on",
        1100,
        _mlp_regression(0.01),
        "lr_ramp",
        (1,),
        (Injection(200, inject.grow_rate(200, 1.012)),),
    ),
    Scenario(
        "e_weights_grow",
        "weight decay of the wrong sign from 300 on: all weights grow by 0.4 % a step",
        1000,
        _images(constant(0.02), make_optimizer=sgd(0.9)),
        "negative_weight_decay",
        (1,),
        (Injection(300, inject.grow_weights(1.004)),),
    ),
    Scenario(
        "e_gradients_pile_up",
        "zero_grad is forgotten after an evaluation at 400",
        900,
        _mlp_regression(0.02, make_optimizer=sgd()),
        "zero_grad_forgotten",
        (1,),
        (Injection(400, inject.forget_zero_grad),),
    ),
    Scenario(
        "e_momentum",
        "momentum 0.9 becomes 1.02: every push grows",
        900,
        _images(constant(0.02), make_optimizer=sgd(0.9)),
        "momentum_above_one",
        (1,),
        (Injection(500, inject.set_momentum(1.02)),),
    ),
    Scenario(
        "e_wall_rnn",
        "vanilla RNN with a long memory, plain SGD, unclipped: walls after a noisy past",
        2000,
        _recurrent(nn.RNN, 0.15, gain=1.1, make_optimizer=sgd()),
        "natural",
        (1, 2),
    ),
    Scenario(
        "e_wall_rnn_rmsprop",
        "the same with RMSprop",
        1500,
        _recurrent(nn.RNN, 0.003, gain=1.1, length=30, make_optimizer=rmsprop),
        "natural",
        (1, 2),
    ),
    Scenario(
        "e_wall_rnn_clipped",
        "the same with a clip that is too high to help",
        2000,
        _recurrent(nn.RNN, 0.3, gain=1.2, length=30, make_optimizer=sgd(), max_norm=2.0),
        "natural",
        (1, 2),
    ),
    Scenario(
        "e_recurrence_scaled",
        "recurrent weights of an LSTM x6 at 700",
        1100,
        _recurrent(nn.LSTM, 0.003),
        "recurrent_rescale",
        (1,),
        (Injection(700, inject.scale_recurrence(6.0)),),
    ),
    Scenario(
        "e_pixels_unscaled",
        "one batch of images in 0..255 units, unclipped",
        700,
        _images(constant(0.03), make_optimizer=sgd(0.9)),
        "corrupt_batch",
        (1,),
        (Injection(450, inject.multiply_inputs(255.0, 450)),),
    ),
    Scenario(
        "e_targets_spoiled_clipped",
        "targets of one batch x300, clipped: absorbed",
        900,
        _mlp_regression(0.01, max_norm=1.0),
        "corrupt_batch",
        (1,),
        (Injection(600, inject.multiply_targets(300.0, 600)),),
    ),
    Scenario(
        "e_loss_summed",
        "the loss is summed instead of averaged from 400 on: gradients x32",
        800,
        _images(constant(0.02), norm=True, make_optimizer=sgd(0.9)),
        "reduction_changed",
        (1,),
        (Injection(400, inject.sum_instead_of_mean(32)),),
    ),
    Scenario(
        "e_norms_lost",
        "a checkpoint converted without its layer normalisation, weights x3",
        700,
        _transformer(constant(0.003)),
        "normalisation_lost",
        (1,),
        (Injection(400, inject.on_model(_lose_norms)),),
    ),
    Scenario(
        "e_layer_scaled",
        "one layer's weights x25 at 500",
        800,
        _images(constant(0.02), make_optimizer=sgd(0.9)),
        "bad_checkpoint",
        (1,),
        (Injection(500, inject.scale_weights(lambda model: model.get_submodule("convolutions.1.0"), 25.0)),),
    ),
    Scenario(
        "e_router_scaled",
        "router and experts x8 at 600",
        900,
        _experts(),
        "bad_checkpoint",
        (1,),
        (Injection(600, inject.scale_weights(lambda model: model, 8.0)),),
    ),
    Scenario(
        "e_values_bootstrap",
        "temporal differences without a target network run away by themselves",
        1200,
        _values(0.02, bootstraps=True),
        "natural",
        (1,),
    ),
    Scenario(
        "e_noisy_past",
        "two examples a batch, so norms that spread over decades; LR x80 at 900",
        1300,
        plan(lambda: networks.Mlp(16, 6), _small_batches, tasks.classify, constant(0.02), make_optimizer=sgd()),
        "lr_bump",
        (1, 2),
        (Injection(900, inject.raise_rate(80.0)),),
    ),
    Scenario(
        "e_restart_too_high",
        "the second warm restart goes to 60 times the rate of the first",
        900,
        _images(cosine(0.05, 300), make_optimizer=sgd(0.9)),
        "lr_restart",
        (1,),
        (Injection(600, inject.raise_rate(60.0)),),
    ),
    Scenario(
        "e_denoising_rate",
        "denoising network, Adam: LR x300 at 500",
        800,
        plan(lambda: networks.Mlp(3, 2, depth=3, width=48), tasks.denoising, tasks.regress, constant(0.002)),
        "lr_bump",
        (1,),
        (Injection(500, inject.raise_rate(300.0)),),
    ),
    Scenario(
        "e_clipped_rate",
        "clip 0.5, LR x200 at 500: every update is bounded, and the loss is lost all the same",
        800,
        _recurrent(nn.GRU, 0.5, make_optimizer=sgd(0.9), max_norm=0.5),
        "lr_bump",
        (1, 2),
        (Injection(500, inject.raise_rate(200.0)),),
    ),
    Scenario(
        "e_rate_adam_late",
        "Adam, LR x1,000 at 700 of a run that has nearly converged",
        1000,
        plan(
            lambda: networks.Mlp(16, 6),
            lambda seed: tasks.few_examples(tasks.clusters(seed)),
            tasks.classify,
            constant(0.001),
            make_optimizer=adam,
        ),
        "lr_bump",
        (1,),
        (Injection(700, inject.raise_rate(1000.0)),),
    ),
)
