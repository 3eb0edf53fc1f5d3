"""Data to learn from, made anew for each step from the step's own random generator, and the losses that go with it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from benchmarks.traces.training import Batch, Batches

BATCH = 32


def classify(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of the classes."""
    inputs, classes = batch
    return functional.cross_entropy(model(inputs), classes)


def regress(model: nn.Module, batch: Batch) -> Tensor:
    """Mean squared error."""
    inputs, targets = batch
    return functional.mse_loss(model(inputs), targets)


def predict_next(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of each next token."""
    (tokens,) = batch
    logits = model(tokens[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def clusters(seed: int, *, inputs: int = 16, classes: int = 6, spread: float = 1.0, size: int = BATCH) -> Batches:
    """Gaussian clusters, three to a class; some are called by a wrong class."""
    centres = torch.randn(3 * classes, inputs, generator=Generator().manual_seed(seed)) * 2.0

    def draw(generator: Generator, step: int) -> Batch:
        which = torch.randint(len(centres), (size,), generator=generator)
        points = centres[which] + spread * torch.randn(size, inputs, generator=generator)
        return points, _some_wrong(which % classes, classes, generator)

    return draw


def teacher(seed: int, *, inputs: int = 10, noise: float = 0.1, size: int = BATCH, scale: float = 1.0) -> Batches:
    """What a random network of one hidden layer says, with noise."""
    fixed = Generator().manual_seed(seed)
    hidden = torch.randn(inputs, 12, generator=fixed) / inputs**0.5
    output = torch.randn(12, 1, generator=fixed)

    def draw(generator: Generator, step: int) -> Batch:
        points = torch.randn(size, inputs, generator=generator)
        clean = torch.tanh(points @ hidden) @ output
        return points, scale * (clean + noise * torch.randn(size, 1, generator=generator))

    return draw


def _some_wrong(which: Tensor, classes: int, generator: Generator) -> Tensor:
    """A tenth of the classes drawn anew, so that the loss has a floor, as that of most real tasks has."""
    wrong = torch.rand(which.shape, generator=generator) < 0.1
    return torch.where(wrong, torch.randint(classes, which.shape, generator=generator), which)


def few_examples(batches: Batches, count: int = 8) -> Batches:
    """The same ``count`` batches again and again, so that a network can know them by heart."""

    def draw(generator: Generator, step: int) -> Batch:
        return batches(Generator().manual_seed(step % count), step % count)

    return draw


def gratings(seed: int, *, classes: int = 6, noise: float = 0.7, size: int = BATCH) -> Batches:
    """Images of 12 x 12 pixels with a grating whose angle is the class; some are called by a wrong one."""
    across = torch.linspace(-1.0, 1.0, 12)
    rows, columns = torch.meshgrid(across, across, indexing="ij")
    start = float(torch.rand(1, generator=Generator().manual_seed(seed)))

    def draw(generator: Generator, step: int) -> Batch:
        which = torch.randint(classes, (size,), generator=generator)
        angle = (start + which[:, None, None] / classes) * torch.pi
        phase = 6.3 * torch.rand(size, 1, 1, generator=generator)
        waves = torch.sin(7.0 * (torch.cos(angle) * rows + torch.sin(angle) * columns) + phase)
        images = waves + noise * torch.randn(size, 12, 12, generator=generator)
        return images[:, None], _some_wrong(which, classes, generator)

    return draw


def repeated_words(seed: int, *, tokens: int = 12, length: int = 16, size: int = 16) -> Batches:
    """Sequences whose second half repeats the first, drawn from a random bigram language."""
    language = torch.softmax(2.0 * torch.randn(tokens, tokens, generator=Generator().manual_seed(seed)), -1)

    def draw(generator: Generator, step: int) -> Batch:
        words = [torch.randint(tokens, (size,), generator=generator)]
        for _ in range(length // 2 - 1):
            words.append(torch.multinomial(language[words[-1]], 1, generator=generator).flatten())
        half = torch.stack(words, 1)
        return (torch.cat([half, half], 1),)

    return draw


def adding(seed: int, *, length: int = 20, size: int = BATCH) -> Batches:
    """The sum of the two marked numbers of a series (Hochreiter and Schmidhuber)."""

    def draw(generator: Generator, step: int) -> Batch:
        numbers = torch.rand(size, length, generator=generator)
        first = torch.randint(length // 2, (size,), generator=generator)
        second = torch.randint(length // 2, length, (size,), generator=generator)
        marks = torch.zeros(size, length)
        marks[torch.arange(size), first] = marks[torch.arange(size), second] = 1.0
        return torch.stack([numbers, marks], -1), (numbers * marks).sum(1, keepdim=True)

    return draw


def first_symbol(seed: int, *, symbols: int = 4, length: int = 20, size: int = BATCH) -> Batches:
    """Which symbol came first, before a series of noise: a long memory."""

    def draw(generator: Generator, step: int) -> Batch:
        which = torch.randint(symbols, (size,), generator=generator)
        series = 0.3 * torch.randn(size, length, symbols, generator=generator)
        series[torch.arange(size), 0] = functional.one_hot(which, symbols).float()
        return series, which

    return draw


def waves(seed: int, *, length: int = 24, size: int = BATCH, noise: float = 0.1) -> Batches:
    """The next value of a sum of two sines."""

    def draw(generator: Generator, step: int) -> Batch:
        time = torch.arange(length + 1.0)
        speed = 0.2 + 0.6 * torch.rand(size, 2, 1, generator=generator)
        phase = 6.3 * torch.rand(size, 2, 1, generator=generator)
        series = torch.sin(speed * time + phase).sum(1) + noise * torch.randn(size, length + 1, generator=generator)
        return series[:, :-1, None], series[:, -1:]

    return draw


def denoising(seed: int, *, smallest: float = 0.05, size: int = 64) -> Batches:
    """Points of a ring with noise of many sizes; the noise is what is to be told, as in diffusion models."""

    def draw(generator: Generator, step: int) -> Batch:
        angle = 6.3 * torch.rand(size, 1, generator=generator)
        points = torch.cat([torch.cos(angle), torch.sin(angle)], 1)
        size_of_noise = smallest ** torch.rand(size, 1, generator=generator)
        noise = torch.randn(size, 2, generator=generator)
        return torch.cat([points + size_of_noise * noise, torch.log(size_of_noise)], 1), noise

    return draw


def rare_features(seed: int, *, kinds: int = 5, size: int = BATCH) -> Batches:
    """Categories, of which the k-th is there for one example in 6 ** k; the class is told by their values' sum."""
    chance = torch.tensor([6.0**-kind for kind in range(kinds)])

    def draw(generator: Generator, step: int) -> Batch:
        values = torch.randint(50, (size, kinds), generator=generator)
        there = torch.rand(size, kinds, generator=generator) < chance
        classes = (values * there).sum(1) % 4
        return torch.where(there, values, torch.tensor(-1)), classes

    return draw


def switching(*parts: tuple[int, Batches]) -> Batches:
    """One source of batches after the other, each from its own step on."""

    def draw(generator: Generator, step: int) -> Batch:
        current = next(batches for start, batches in reversed(parts) if step >= start)
        return current(generator, step)

    return draw


def sometimes(usual: Batches, other: Batches, is_other: Callable[[int], bool]) -> Batches:
    """Another source on some steps."""
    return lambda generator, step: (other if is_other(step) else usual)(generator, step)


def altered(batches: Batches, change: Callable[[Batch], Batch]) -> Batches:
    """The same batches, changed."""
    return lambda generator, step: change(batches(generator, step))
