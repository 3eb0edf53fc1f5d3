"""How long no group at all has got any gradient, and whether that is a habit of this run."""

import struct
from typing import Final

from gradvitals_service.health.detectors.pauses import PATIENCE

SILENT_BLOCKS: Final = 16
"""Blocks (128 frames) without any gradient before it counts: what a lone dead layer is given to become critical."""

_NUMBERS = struct.Struct("<II")


class Silence:
    """Blocks in a row in which every gradient was exactly zero."""

    def __init__(self) -> None:
        self.blocks = 0
        self._longest = 0  # of those that ended

    def count(self, *, silent: bool) -> None:
        """Take one block."""
        if silent:
            self.blocks = min(self.blocks + 1, 2**32 - 1)
        else:
            self._longest = max(self._longest, self.blocks)
            self.blocks = 0

    def beyond_habit(self) -> bool:
        """Whether this silence is long, and much longer than any that ended by itself: rewards come in bursts."""
        return self.blocks >= SILENT_BLOCKS and self.blocks >= PATIENCE * self._longest

    def pack(self) -> bytes:
        return _NUMBERS.pack(self.blocks, self._longest)

    def unpack(self, data: bytes, offset: int) -> int:
        self.blocks, self._longest = _NUMBERS.unpack_from(data, offset)
        return offset + _NUMBERS.size
