"""Numbers of many groups as bytes, so that a detector can be saved between two frames."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Sequence[NDArray[Any]]


def pack_arrays(arrays: Arrays) -> bytes:
    """One array after the other; their lengths and types are known to whoever reads them."""
    return b"".join(array.tobytes() for array in arrays)


def unpack_arrays(arrays: Arrays, data: bytes, offset: int) -> int:
    """Fill the arrays in place from ``pack_arrays`` at ``offset``; return the offset behind them."""
    for array in arrays:
        array[:] = np.frombuffer(data, array.dtype, len(array), offset)
        offset += array.nbytes
    return offset


def one_more(counts: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Counters that stop before they would overflow."""
    return np.minimum(counts, np.uint16(65_534)) + np.uint16(1)
