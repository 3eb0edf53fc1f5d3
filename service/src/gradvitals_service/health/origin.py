"""Say where a gradient that is not finite began, from the norms of one frame.

Backward carries a NaN from where it arises to all layers nearer to the input, and to none nearer to the loss. So of
several bad layers the last in the model's order is the likeliest origin. This is evidence, not proof: layers are in the
order in which they were registered, which need not be how the model calls them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def first_bad_layer(layer_names: Sequence[str], layer_norms: NDArray[Any]) -> str | None:
    """The first layer in backward order whose norm is not finite; None where all are."""
    bad = np.flatnonzero(~np.isfinite(layer_norms))
    return layer_names[int(bad[-1])] if len(bad) else None


def where_it_began(layer_names: Sequence[str], layer_norms: NDArray[Any] | None) -> str:
    """Words to stand behind an event's message; none where the norms [L] are not known or all are finite."""
    if layer_norms is None:
        return ""
    bad = ~np.isfinite(layer_norms)
    if not bad.any():
        return ""
    first = int(np.flatnonzero(bad)[-1])
    finite = np.flatnonzero(~bad & (layer_norms != 0.0))  # a layer without a gradient says nothing either way
    if not len(finite):
        return f"; bad in every layer, so it began in the loss or in {layer_names[first]}"
    nearer_to_the_loss, nearer_to_the_input = finite[finite > first][:1], finite[finite < first][-1:]
    around = " and ".join(layer_names[place] for place in (*nearer_to_the_loss, *nearer_to_the_input))
    return f"; first in backward order in {layer_names[first]}, still finite next to it: {around}"
