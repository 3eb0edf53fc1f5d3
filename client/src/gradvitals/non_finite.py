"""Which layers have a gradient that is not finite, told before a clip spreads it to all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

LAYERS_NAMED = 3


def count_non_finite(gradients: Iterable[Tensor | None]) -> list[tuple[int, int, int]]:
    """(place, count of NaN, count of Inf) of each gradient that is not finite. Reads them all: for rare steps only."""
    counts = []
    for place, gradient in enumerate(gradients):
        if gradient is None:
            continue
        values = gradient.coalesce().values() if gradient.layout is torch.sparse_coo else gradient
        nan, inf = int(values.isnan().sum()), int(values.isinf().sum())
        if nan or inf:
            counts.append((place, nan, inf))
    return counts


def name_non_finite(layer_norms: Tensor, names: Sequence[str]) -> str:
    """The layers whose norm is not finite, in words: the first few by name. Waits for the device."""
    finite = torch.isfinite(layer_norms).tolist()
    bad = [name for name, is_finite in zip(names, finite, strict=True) if not is_finite]
    more = f" and {len(bad) - LAYERS_NAMED} more" if len(bad) > LAYERS_NAMED else ""
    return ", ".join(bad[:LAYERS_NAMED]) + more if bad else "no single layer"
