"""Small networks of many kinds, with the seams at which scenarios break them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Cell = type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]


class Block(nn.Module):
    """A linear layer with what is around it: normalisation before, activation after, a way around, a gain on it."""

    def __init__(self, width: int, activation: nn.Module, *, norm: bool, residual: bool, gain: float | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.linear = nn.Linear(width, width)
        self.activation = activation
        self.residual = residual
        self.gain = None if gain is None else nn.Parameter(torch.full((), gain))
        self.detached = False

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.activation(self.linear(self.norm(inputs)))
        if self.gain is not None:
            outputs = self.gain * outputs
        if self.detached:
            outputs = outputs.detach()
        return inputs + outputs if self.residual else outputs


class Mlp(nn.Module):
    """Blocks of one width between a layer that reads and one that writes. ``scale`` multiplies every linear weight."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 32,
        depth: int = 2,
        activation: Callable[[], nn.Module] = nn.ReLU,
        norm: bool = False,
        residual: bool = False,
        gain: float | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, width)
        self.blocks = nn.Sequential(
            *(Block(width, activation(), norm=norm, residual=residual, gain=gain) for _ in range(depth))
        )
        self.write = nn.Linear(width, outputs)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    module.weight.mul_(scale)

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.write(self.blocks(torch.relu(self.read(inputs))))
        return result


class Convolutional(nn.Module):
    """Three convolutions on 12 x 12 pixels, with group normalisation or without."""

    def __init__(self, classes: int, *, norm: bool = False, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        sizes = [(1, 8, 1), (8, 12, 2), (12, 16, 2)]
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, stride, padding=1),
                    nn.GroupNorm(2, after) if norm else nn.Identity(),
                    activation(),
                )
                for before, after, stride in sizes
            )
        )
        self.write = nn.Linear(16 * 9, classes)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.write(self.convolutions(images).flatten(1))
        return result


class Attention(nn.Module):
    """Causal attention of one head, with separate layers for queries, keys and values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.write = nn.Linear(width, width)
        self.sharpness = 1.0

    def forward(self, inputs: Tensor) -> Tensor:
        length, width = inputs.shape[-2:]
        scores = self.sharpness * self.query(inputs) @ self.key(inputs).transpose(-1, -2) / width**0.5
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        mixed = torch.softmax(scores.masked_fill(future, -torch.inf), -1) @ self.value(inputs)
        result: Tensor = self.write(mixed)
        return result


class Layer(nn.Module):
    """Attention and a small network, with normalisation before each or after each."""

    def __init__(self, width: int, *, norm_first: bool) -> None:
        super().__init__()
        self.attention = Attention(width)
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm_first = norm_first

    def forward(self, inputs: Tensor) -> Tensor:
        if self.norm_first:
            inputs = inputs + self.attention(self.first_norm(inputs))
            result: Tensor = inputs + self.down(torch.relu(self.up(self.second_norm(inputs))))
            return result
        inputs = self.first_norm(inputs + self.attention(inputs))
        after: Tensor = self.second_norm(inputs + self.down(torch.relu(self.up(inputs))))
        return after


class Transformer(nn.Module):
    """Predicts the next token of each place."""

    def __init__(self, tokens: int, length: int, *, width: int = 24, depth: int = 2, norm_first: bool = True) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.layers = nn.Sequential(*(Layer(width, norm_first=norm_first) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.write = nn.Linear(width, tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[-1])
        result: Tensor = self.write(self.norm(self.layers(self.tokens(tokens) + self.places(places))))
        return result


class Recurrent(nn.Module):
    """A recurrent network that says one thing at the end of a series."""

    def __init__(self, cell: Cell, inputs: int, outputs: int, *, width: int = 24, gain: float = 1.0) -> None:
        super().__init__()
        self.cell = cell(inputs, width, batch_first=True)
        self.write = nn.Linear(width, outputs)
        self.detached = False
        with torch.no_grad():
            for name, parameter in self.cell.named_parameters():
                if "weight_hh" in name:
                    for square in torch.split(parameter, width):
                        nn.init.orthogonal_(square, gain)

    def forward(self, series: Tensor) -> Tensor:
        outputs, _ = self.cell(series)
        last = outputs[:, -1].detach() if self.detached else outputs[:, -1]
        result: Tensor = self.write(last)
        return result


class Experts(nn.Module):
    """A router sends each example to one of several networks, and the output is weighed by how sure it was. It chooses
    with some noise, so that no expert is forgotten."""

    def __init__(self, inputs: int, outputs: int, *, experts: int = 4, width: int = 24) -> None:
        super().__init__()
        self.router = nn.Linear(inputs, experts)
        self.experts = nn.ModuleList(Mlp(inputs, outputs, width=width, depth=1) for _ in range(experts))

    def forward(self, inputs: Tensor) -> Tensor:
        scores = self.router(inputs)
        weights = torch.softmax(scores + torch.randn_like(scores), -1)
        chosen = weights.argmax(-1)
        rows, results = [], []
        for place, expert in enumerate(self.experts):
            mine = torch.nonzero(chosen == place).flatten()
            if len(mine):
                rows.append(mine)
                results.append(weights[mine, place, None] * expert(inputs[mine]))
        back = torch.argsort(torch.cat(rows))
        return torch.cat(results)[back]


class Features(nn.Module):
    """Common and rare features, each with an embedding of its own, and a network on top."""

    def __init__(self, kinds: int, outputs: int, width: int = 8) -> None:
        super().__init__()
        self.features = nn.ModuleList(nn.Embedding(50, width) for _ in range(kinds))
        self.top = Mlp(width, outputs, depth=1)

    def forward(self, indices: Tensor) -> Tensor:
        """Indices [batch, kinds]; a feature that an example lacks is -1, and its embedding is left alone."""
        summed = torch.zeros(len(indices), self.top.read.in_features)
        for place, embedding in enumerate(self.features):
            there = torch.nonzero(indices[:, place] >= 0).flatten()
            if len(there):
                summed = summed.index_add(0, there, embedding(indices[there, place]))
        result: Tensor = self.top(summed)
        return result


class Game(nn.Module):
    """A generator of points in the plane and a discriminator that tells them from true ones."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = Mlp(4, 2, depth=2)
        self.discriminator = Mlp(2, 1, depth=2)


class Adapted(nn.Module):
    """A frozen network with low-rank adapters that begin at zero."""

    def __init__(self, inputs: int, outputs: int, rank: int = 4) -> None:
        super().__init__()
        self.base = Mlp(inputs, outputs).requires_grad_(False)
        self.down, self.up = nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.base(inputs) + self.up(self.down(inputs))
        return result
