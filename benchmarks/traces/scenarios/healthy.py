"""Healthy runs that look as if they were not: everything that may happen to norms without anything being wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.traces import networks, tasks
from benchmarks.traces.networks import Game
from benchmarks.traces.recording import Scenario
from benchmarks.traces.training import (
    Batch,
    Batches,
    Change,
    Loss,
    Rate,
    Training,
    adam,
    adamw,
    constant,
    cosine,
    plan,
    rmsprop,
    sgd,
    warm_up,
)


def _mlp(rate: Rate, batches: Callable[[int], Batches] = tasks.clusters, **settings: Any) -> Callable[[int], Any]:
    return plan(lambda: networks.Mlp(16, 6), batches, tasks.classify, rate, **settings)


def _images(rate: Rate, batches: Callable[[int], Batches] = tasks.gratings, **settings: Any) -> Callable[[int], Any]:
    return plan(lambda: networks.Convolutional(6, norm=True), batches, tasks.classify, rate, **settings)


def _transformer(rate: Rate, batches: Callable[[int], Batches] = tasks.repeated_words, **settings: Any) -> Any:
    model = partial(networks.Transformer, 12, 16)
    return plan(model, batches, tasks.predict_next, rate, **settings)


def _recurrent(cell: networks.Cell, batches: Callable[[int], Batches], loss: Loss, rate: Rate, **more: Any) -> Any:
    first, outputs = batches(0)(torch.Generator(), 0)
    last = outputs.shape[1] if outputs.ndim == 2 else 4
    return plan(lambda: networks.Recurrent(cell, first.shape[2], last), batches, loss, rate, **more)


def _trainable(*names: str, trained: bool) -> Change:
    """Parts are frozen or thawed."""

    def change(training: Training) -> None:
        for name in names:
            training.model.get_submodule(name).requires_grad_(trained)

    return change


def _alternating(batches: Batches) -> Batches:
    """On odd steps only the last layer is asked, see ``_last_layer_in_turn``."""
    return lambda generator, step: (*batches(generator, step), torch.tensor(step % 2))


def _last_layer_in_turn(model: nn.Module, batch: Batch) -> Tensor:
    inputs, classes, turn = batch
    assert isinstance(model, networks.Mlp)
    hidden = model.blocks(torch.relu(model.read(inputs)))
    return functional.cross_entropy(model.write(hidden.detach() if turn else hidden), classes)


class _OtherSide:
    """Trains the discriminator while the generator is watched."""

    def __init__(self, game: Game) -> None:
        self._optimizer = torch.optim.Adam(game.discriminator.parameters(), 0.002, betas=(0.5, 0.9))

    def __call__(self, training: Training, batch: Batch) -> None:
        game = training.model
        assert isinstance(game, Game)
        noise, true = batch
        self._optimizer.zero_grad()
        ones, zeros = torch.ones(len(true), 1), torch.zeros(len(true), 1)
        says = functional.binary_cross_entropy_with_logits
        loss = says(game.discriminator(true), ones)
        loss = loss + says(game.discriminator(game.generator(noise).detach()), zeros)
        torch.autograd.backward(loss)
        self._optimizer.step()


def _fool(model: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(model, Game)
    said = model.discriminator(model.generator(batch[0]))
    return functional.softplus(-said).mean()


def _points_and_noise(seed: int) -> Batches:
    def draw(generator: torch.Generator, step: int) -> Batch:
        angle = 6.3 * torch.rand(64, 1, generator=generator)
        return torch.randn(64, 4, generator=generator), torch.cat([angle.cos(), angle.sin()], 1)

    return draw


def _game(seed: int) -> Training:
    torch.manual_seed(seed)
    game = Game()
    settings: dict[str, Any] = {"watched": game.generator, "meanwhile": _OtherSide(game)}
    return Training(game, _points_and_noise(seed), _fool, constant(0.001), seed, **settings)


def _policy_loss(model: nn.Module, batch: Batch) -> Tensor:
    """REINFORCE on a bandit with contexts, where few actions pay; losses may be negative."""
    contexts, classes = batch
    logits = model(contexts)
    actions = torch.multinomial(torch.softmax(logits.detach(), -1), 1).flatten()
    paid = (actions == classes).float() * 5.0
    chosen = torch.log_softmax(logits, -1)[torch.arange(len(actions)), actions]
    return -(chosen * (paid - paid.mean())).mean()


def _values_loss(model: nn.Module, batch: Batch) -> Tensor:
    states, rewards = batch
    target = rewards + 0.9 * model(torch.roll(states, 1, 1).tanh()).detach()
    return functional.smooth_l1_loss(model(states), target)


def _heavy_targets(seed: int) -> Batches:
    """Targets with noise of a Student distribution of 1.5 degrees of freedom."""
    plain = tasks.teacher(seed)

    def draw(generator: torch.Generator, step: int) -> Batch:
        points, targets = plain(generator, step)
        normal = torch.randn(len(targets), 1, generator=generator)
        uniform = torch.rand(len(targets), 1, generator=generator)
        return points, targets + 0.3 * normal * uniform.clamp(min=1e-4) ** (-1.0 / 1.5)

    return draw


def _outliers(seed: int) -> Batches:
    """An example in the wrong unit now and then, late and early: part of these data, and harmless."""
    plain = tasks.teacher(seed)
    return tasks.sometimes(plain, tasks.teacher(seed, scale=12.0), lambda step: (step * 7919 + seed) % 211 == 0)


def _two_domains(seed: int) -> Batches:
    first, second = tasks.clusters(seed), tasks.clusters(seed + 100)
    return tasks.switching((0, first), (700, second))


def _shifted_images(seed: int) -> Batches:
    shifted = tasks.altered(tasks.gratings(seed), lambda batch: (2.0 - batch[0].flip(-1), batch[1]))
    return tasks.switching((0, tasks.gratings(seed)), (500, shifted))


def _new_language(seed: int) -> Batches:
    return tasks.switching((0, tasks.repeated_words(seed)), (600, tasks.repeated_words(seed + 50)))


def _batch_sizes(seed: int) -> Batches:
    sizes = ((0, 64), (300, 4), (600, 256), (900, 8))
    return tasks.switching(*((start, tasks.clusters(seed, size=size, spread=1.5)) for start, size in sizes))


def _longer_and_longer(seed: int) -> Batches:
    lengths = ((0, 5), (300, 10), (600, 20), (900, 40))
    return tasks.switching(*((start, tasks.adding(seed, length=length)) for start, length in lengths))


def _harder_and_harder(seed: int) -> Batches:
    noises = ((0, 0.1), (400, 1.0), (800, 3.0))
    return tasks.switching(*((start, tasks.gratings(seed, noise=noise)) for start, noise in noises))


def _idle_domain(seed: int) -> Batches:
    """Three domains in turn, a hundred steps each: the experts of the others get nothing meanwhile."""
    domains = [tasks.clusters(seed + place) for place in range(3)]
    return lambda generator, step: domains[step // 100 % 3](generator, step)


def _matching(model: nn.Module, batch: Batch) -> Tensor:
    """Two views of one thing are to agree; the target side is detached on purpose."""
    inputs, _ = batch
    first = model(inputs + 0.1 * torch.randn_like(inputs))
    second = model(inputs + 0.1 * torch.randn_like(inputs)).detach()
    logits = functional.normalize(first, dim=-1) @ functional.normalize(second, dim=-1).T * 5.0
    return functional.cross_entropy(logits, torch.arange(len(inputs)))


def _parity(seed: int) -> Batches:
    def draw(generator: torch.Generator, step: int) -> Batch:
        bits = torch.randint(0, 2, (64, 16), generator=generator)
        return 2.0 * bits - 1.0, bits[:, :3].sum(1) % 2

    return draw


def _deep_linear() -> nn.Module:
    layers = [nn.Linear(10, 10, bias=False) for _ in range(5)] + [nn.Linear(10, 1, bias=False)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(0.8)
    return nn.Sequential(*layers)


def _linear_teacher(seed: int) -> Batches:
    weights = torch.randn(10, 1, generator=torch.Generator().manual_seed(seed))

    def draw(generator: torch.Generator, step: int) -> Batch:
        points = torch.randn(64, 10, generator=generator)
        return points, points @ weights

    return draw


def _scaled_loss(factor: float) -> Loss:
    return lambda model, batch: factor * tasks.regress(model, batch)


def _steps_down(rates: tuple[float, ...], every: int) -> Rate:
    return lambda step: rates[min(step // every, len(rates) - 1)]


_THAW_IN_TURN: dict[int, Change] = {
    0: _trainable("read", "blocks", trained=False),
    250: _trainable("blocks.1", trained=True),
    500: _trainable("blocks.0", trained=True),
    750: _trainable("read", trained=True),
}
_FREEZE_AND_THAW: dict[int, Change] = {
    300: _trainable("convolutions.0", "convolutions.1", trained=False),
    700: _trainable("convolutions.0", "convolutions.1", trained=True),
}


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "h_outliers_clipped",
        "a batch in another unit every 211 steps, clipped: harmless spikes to the very end",
        1500,
        plan(lambda: networks.Mlp(10, 1), _outliers, tasks.regress, constant(0.003), max_norm=1.0),
        seeds=(1, 2),
    ),
    Scenario(
        "h_outliers_adam",
        "the same without a clip; Adam takes it",
        1500,
        plan(lambda: networks.Mlp(10, 1), _outliers, tasks.regress, constant(0.001)),
    ),
    Scenario(
        "h_heavy_targets",
        "targets with a power-law tail, clipped",
        2000,
        plan(lambda: networks.Mlp(10, 1), _heavy_targets, tasks.regress, constant(0.003), max_norm=2.0),
        seeds=(1, 2),
    ),
    Scenario(
        "h_small_batches",
        "two examples a batch: norms over decades",
        2000,
        _mlp(constant(0.01), lambda seed: tasks.clusters(seed, size=2, spread=1.5), make_optimizer=sgd()),
        seeds=(1, 2),
    ),
    Scenario(
        "h_batch_sizes",
        "batches of 64, 4, 256 and 8 examples",
        1200,
        _mlp(constant(0.003), _batch_sizes),
    ),
    Scenario("h_domain_shift", "all clusters move at 700", 1400, _mlp(constant(0.003), _two_domains)),
    Scenario(
        "h_images_shift",
        "images are mirrored and inverted from 500 on",
        1000,
        _images(constant(0.02), _shifted_images, make_optimizer=sgd(0.9)),
    ),
    Scenario(
        "h_new_language",
        "another language from 600 on",
        1200,
        _transformer(warm_up(0.003, 100), _new_language, make_optimizer=adamw),
    ),
    Scenario(
        "h_longer_series",
        "series of 5, 10, 20 and 40 numbers to add",
        1200,
        _recurrent(nn.LSTM, _longer_and_longer, tasks.regress, constant(0.01), max_norm=1.0),
    ),
    Scenario(
        "h_harder_images",
        "noisier images at 400 and 800",
        1200,
        _images(constant(0.02), _harder_and_harder, make_optimizer=sgd(0.9)),
    ),
    Scenario(
        "h_thaw_in_turn",
        "frozen but for the last layer; layers are thawed in turn",
        1000,
        _mlp(constant(0.003), changes=_THAW_IN_TURN),
    ),
    Scenario(
        "h_freeze_and_thaw",
        "two of three convolutions are frozen from 300 to 700",
        1000,
        _images(constant(0.003), changes=_FREEZE_AND_THAW),
    ),
    Scenario(
        "h_rare_features",
        "features that are there for one example in 6, 36, 216 and 1,296",
        1500,
        plan(lambda: networks.Features(5, 4), tasks.rare_features, tasks.classify, constant(0.003)),
        seeds=(1, 2),
    ),
    Scenario(
        "h_experts",
        "top-1 experts, some of which get nothing on most steps",
        1200,
        plan(lambda: networks.Experts(16, 6), tasks.clusters, tasks.classify, constant(0.003)),
    ),
    Scenario(
        "h_experts_idle",
        "three domains in turn, a hundred steps each",
        1500,
        plan(lambda: networks.Experts(16, 6, experts=6), _idle_domain, tasks.classify, constant(0.01)),
        seeds=(1, 2),
    ),
    Scenario(
        "h_in_turn",
        "on odd steps only the last layer gets gradient",
        1000,
        plan(
            lambda: networks.Mlp(16, 6),
            lambda seed: _alternating(tasks.clusters(seed)),
            _last_layer_in_turn,
            constant(0.003),
        ),
    ),
    Scenario("h_game", "generator of a GAN, trained in turn with its discriminator", 1500, _game, seeds=(1, 2)),
    Scenario(
        "h_policy",
        "REINFORCE on a bandit with contexts; losses around zero",
        1500,
        plan(lambda: networks.Mlp(16, 6), tasks.clusters, _policy_loss, constant(0.003)),
    ),
    Scenario(
        "h_values",
        "temporal differences that converge",
        1500,
        plan(lambda: networks.Mlp(10, 1), tasks.teacher, _values_loss, constant(0.01), make_optimizer=sgd(0.9)),
    ),
    Scenario("h_warm_restarts", "warm restarts every 300 steps", 1500, _images(cosine(0.01, 300))),
    Scenario(
        "h_rate_drops",
        "LR divided by ten twice",
        1200,
        _images(_steps_down((0.05, 0.005, 0.0005), 400), make_optimizer=sgd(0.9)),
    ),
    Scenario(
        "h_by_heart",
        "eight batches known by heart: norms fall by many decades",
        1500,
        _mlp(constant(0.02), lambda seed: tasks.few_examples(tasks.clusters(seed)), make_optimizer=sgd(0.9)),
    ),
    Scenario(
        "h_plateau_adding",
        "a long plateau, then a sudden insight",
        1800,
        _recurrent(nn.GRU, lambda seed: tasks.adding(seed, length=15), tasks.regress, constant(0.005), max_norm=1.0),
    ),
    Scenario(
        "h_plateau_parity",
        "parity of 3 of 16 bits: nothing for long, then everything",
        1500,
        plan(lambda: networks.Mlp(16, 2, width=48), _parity, tasks.classify, constant(0.1), make_optimizer=sgd(0.9)),
    ),
    Scenario(
        "h_saddle",
        "a deep linear network leaves its saddle: norms rise a thousandfold, then fall",
        1500,
        plan(_deep_linear, _linear_teacher, tasks.regress, constant(0.01), make_optimizer=sgd()),
    ),
    Scenario(
        "h_branches_from_zero",
        "residual branches whose gains begin at zero, with warm-up",
        800,
        plan(
            lambda: networks.Mlp(16, 6, depth=6, residual=True, norm=True, gain=0.0),
            tasks.clusters,
            tasks.classify,
            warm_up(0.003, 200),
        ),
    ),
    Scenario(
        "h_adapters",
        "low-rank adapters that begin at zero on a frozen network",
        800,
        plan(lambda: networks.Adapted(16, 6), tasks.clusters, tasks.classify, warm_up(0.003, 100)),
    ),
    Scenario(
        "h_matching",
        "two views are to agree, one side detached on purpose",
        1000,
        plan(lambda: networks.Mlp(16, 16), tasks.clusters, _matching, constant(0.002)),
    ),
    Scenario(
        "h_denoising",
        "denoising of points, clipped",
        1500,
        plan(
            lambda: networks.Mlp(3, 2, depth=3, width=48),
            tasks.denoising,
            tasks.regress,
            cosine(0.003, 1500),
            max_norm=1.0,
        ),
    ),
    Scenario(
        "h_waves_lstm",
        "an LSTM on waves, RMSprop",
        1200,
        _recurrent(nn.LSTM, tasks.waves, tasks.regress, constant(0.002), make_optimizer=rmsprop),
    ),
    Scenario(
        "h_waves_rnn",
        "a vanilla RNN on waves, SGD, clipped",
        1500,
        _recurrent(nn.RNN, tasks.waves, tasks.regress, constant(0.05), make_optimizer=sgd(), max_norm=1.0),
    ),
    Scenario(
        "h_tiny_loss",
        "a loss in units of a millionth",
        1000,
        plan(lambda: networks.Mlp(10, 1), tasks.teacher, _scaled_loss(1e-6), constant(0.002), make_optimizer=adam),
    ),
    Scenario(
        "h_huge_loss",
        "a loss in units of a million",
        1000,
        plan(lambda: networks.Mlp(10, 1), tasks.teacher, _scaled_loss(1e6), constant(0.002), make_optimizer=adam),
    ),
    Scenario(
        "h_deep_residual",
        "14 residual blocks with normalisation",
        800,
        plan(
            lambda: networks.Mlp(16, 6, depth=14, residual=True, norm=True),
            tasks.clusters,
            tasks.classify,
            warm_up(0.003, 200),
            make_optimizer=adamw,
        ),
    ),
    Scenario(
        "h_transformer_hot",
        "a transformer with a rather high LR, clipped hard",
        1200,
        _transformer(warm_up(0.01, 200), make_optimizer=adamw, max_norm=0.3),
    ),
)
