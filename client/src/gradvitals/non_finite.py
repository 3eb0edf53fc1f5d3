"""Which layers have a gradient that is not finite, told before a clip spreads it to all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LAYERS_NAMED = 3


@dataclass(frozen=True, slots=True)
class FirstNonFinite:
    """Where gradients stopped being finite on their way back from the loss. Layers are places in the layers' order."""

    layer: int  # the first bad one that backward reached
    finite_before: int | None  # the nearest finite one on the loss's side of it; None: there is none
    finite_after: int | None  # the nearest finite one on the input's side of it; None: there is none
    everywhere: bool  # no layer is finite: the loss itself may have been bad, and ``layer`` only be closest to it


def first_non_finite(
    counts: Iterable[tuple[int, int, int]], layers: int, without_gradient: Collection[int] = ()
) -> FirstNonFinite | None:
    """The first bad layer in backward order, and the finite layers around it; None where all are finite.

    ``counts`` are (layer, NaN, Inf) of bad layers out of ``layers``, which are in the order of the forward pass.
    ``without_gradient`` are layers that say nothing either way.

    Backward carries a NaN from where it arises to all layers nearer to the input, and to none nearer to the loss. So of
    several bad layers the last in order is the likeliest origin: the fault lies in its own backward, or in what has no
    parameters between it and ``finite_before``. This is evidence, not proof. Layers are in the order in which they were
    registered, which need not be how the model calls them. An activation that overflowed in the forward pass shows in
    the layer that it is fed to, not in the one it came from. Where everything is bad, the loss itself may have been.
    """
    bad = {layer for layer, nan, inf in counts if nan or inf}
    if not bad:
        return None
    first = max(bad)
    finite = [layer for layer in range(layers) if layer not in bad and layer not in without_gradient]
    return FirstNonFinite(
        layer=first,
        finite_before=min((layer for layer in finite if layer > first), default=None),
        finite_after=max((layer for layer in finite if layer < first), default=None),
        everywhere=not finite,
    )


def where_it_began(first: FirstNonFinite, names: Sequence[str]) -> str:
    """The same in words, to stand behind "not finite in"."""
    if first.everywhere:
        return f"every layer, so it began in the loss or in {names[first.layer]}"
    around = [names[layer] for layer in (first.finite_before, first.finite_after) if layer is not None]
    return f"{names[first.layer]}, the first in backward order; still finite next to it: {' and '.join(around)}"


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
