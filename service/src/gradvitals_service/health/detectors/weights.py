"""Know whether the weights are still finite, as far as they were measured.

Norms of the weights come with every 64th frame, taken before that frame's update. In between, a gradient that is not
finite and was applied makes them suspect until they are measured again.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gradvitals_service.health.detectors.interface import Frames

_NOT_MEASURED: Final = 0
_FINITE: Final = 1
_SPOILED: Final = 2
_SUSPECT: Final = 3


class Weights:
    """What is known of them after each frame of the block that was observed last."""

    def __init__(self) -> None:
        self._state = _NOT_MEASURED
        self._changes: list[tuple[int, int]] = []  # in this block: from which row on it was which
        self._rows: NDArray[np.int64] = np.zeros(0, np.int64)
        self._norms: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    @property
    def finite(self) -> bool | None:
        """Whether they are finite; None: not known."""
        return _known(self._state)

    @property
    def suspected(self) -> bool:
        """Whether a gradient that was not finite was applied since they were measured."""
        return self._state == _SUSPECT

    def begin_block(self, frames: Frames) -> None:
        """Take the frames whose rows are told from now on."""
        self._changes = [(-1, self._state)]
        self._rows, self._norms = frames.param_rows, frames.param_norms

    def forget(self) -> None:
        """Other weights than before were loaded."""
        self._state = _NOT_MEASURED

    def pass_finite(self) -> None:
        """Take every measurement of a block whose gradients are all finite."""
        for row in self._rows.tolist():
            self.measure(row)

    def measure(self, row: int) -> bool:
        """Take the measurement of a row, if there is one; says whether something became known by it."""
        place = int(np.searchsorted(self._rows, row)) if len(self._rows) else 0
        if place == len(self._rows) or self._rows[place] != row or not self._norms.shape[1]:
            return False
        state = _FINITE if np.isfinite(self._norms[place]).all() else _SPOILED
        news = state != self._state
        self._become(row, state)
        return news

    def suspect(self, row: int) -> None:
        """A gradient that is not finite was applied; what is spoiled stays so, and what is never measured unknown."""
        if self._state == _FINITE:
            self._become(row, _SUSPECT)

    def at(self, row: int) -> bool | None:
        """Whether they were finite after a row of this block."""
        return _known(next(state for changed, state in reversed(self._changes) if changed <= row))

    def _become(self, row: int, state: int) -> None:
        if state != self._state:
            self._state = state
            self._changes.append((row, state))

    def pack(self) -> bytes:
        return bytes([self._state])

    def unpack(self, data: bytes, offset: int) -> int:
        self._state = data[offset]
        return offset + 1


def _known(state: int) -> bool | None:
    return None if state in (_NOT_MEASURED, _SUSPECT) else state == _FINITE
