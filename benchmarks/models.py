"""The four networks that clipping is measured on, from very small to large, and one batch for each.

Their parameters are what a clip sees: few small tensors, many of all sizes, few huge ones, and very many small ones.
The batches are small, so that what a clip adds to a step is seen at its largest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """Two GRU layers and a linear one: 10 tensors, 43 thousand elements."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(16, 64, num_layers=2, batch_first=True)
        self.read_out = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs, _ = self.gru(inputs)
        result: Tensor = self.read_out(outputs[:, -1])
        return result


class Bottleneck(nn.Module):
    """ResNet's block of 1 x 1, 3 x 3 and 1 x 1 convolutions, with a way around."""

    def __init__(self, channels: int, width: int, stride: int, *, projected: bool) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *_convolution(channels, width, 1, 1),
            nn.ReLU(),
            *_convolution(width, width, 3, stride),
            nn.ReLU(),
            *_convolution(width, 4 * width, 1, 1),
        )
        self.around = nn.Sequential(*_convolution(channels, 4 * width, 1, stride)) if projected else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.inner(inputs) + self.around(inputs))


def _convolution(channels: int, width: int, size: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(width)


def residual_network() -> nn.Module:
    """ResNet-50: 161 tensors, 25.6 million elements."""
    layers: list[nn.Module] = [*_convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, stride if block == 0 else 1, projected=block == 0))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


class Transformer(nn.Module):
    """A transformer of GPT-2's small size: 12 layers, 148 tensors, 124 million elements, the embedding tied."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(50_257, 768), nn.Embedding(1024, 768)
        layers = (
            nn.TransformerEncoderLayer(768, 12, 3072, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(12)
        )
        self.layers, self.norm = nn.Sequential(*layers), nn.LayerNorm(768)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.tokens(inputs) + self.positions.weight[: inputs.shape[1]]
        return nn.functional.linear(self.norm(self.layers(hidden)), self.tokens.weight)


class Scaled(nn.Module):
    """One matrix of 32 x 32 around which the gradient finds its way."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(32) * 0.1)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + 0.1 * torch.mm(inputs, self.weight)


def many_layers() -> nn.Module:
    """1,000 tensors of 1,024 elements."""
    return nn.Sequential(*(Scaled() for _ in range(1000)))


@dataclass(frozen=True, slots=True)
class Shape:
    """A network, and how often it can be measured in reasonable time."""

    title: str
    build: Callable[[], nn.Module]
    batch: Callable[[], Tensor]
    rounds: int  # of clipping alone
    live_rounds: int  # of whole training steps

    def __str__(self) -> str:
        return self.title


def _noise(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


def _tokens(*size: int) -> Tensor:
    return torch.randint(50_257, size, generator=torch.Generator().manual_seed(0))


SHAPES = {
    "gru": Shape("GRU, 10 tensors", Recurrent, lambda: _noise(16, 32, 16), 600, 200),
    "resnet50": Shape("ResNet-50, 161 tensors", residual_network, lambda: _noise(2, 3, 64, 64), 80, 25),
    "gpt124m": Shape("transformer, 148 tensors", Transformer, lambda: _tokens(1, 8), 25, 15),
    "tiny1000": Shape("1,000 tensors of 1,024", many_layers, lambda: _noise(16, 32), 150, 50),
}
