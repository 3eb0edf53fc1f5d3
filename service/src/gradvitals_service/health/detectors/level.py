"""Track what is usual for a series: its level, its own noise, and the largest value it has lived through.

Everything here takes finite numbers in float64 and in a fixed order, one or many at a time, so that the result depends
on the numbers alone and never on how they were grouped. Callers keep non-finite numbers out.
"""

import math
import struct
from bisect import bisect_left, insort
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

WINDOWS_AT_ONCE = 256
"""Windows that are sorted together: so many stay in the processor's cache."""


class RollingWindow:
    """The newest ``size`` values, with their exact median and maximum.

    The median of a window ignores anything that lasts for less than half of it, and follows a real change of level
    after as long: no smoothing constant would do both.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._oldest_first: list[float] = []
        self._ordered: list[float] = []

    def __len__(self) -> int:
        return len(self._oldest_first)

    def push(self, value: float) -> None:
        """Take one finite value; the oldest leaves when the window is full."""
        if len(self._oldest_first) == self.size:
            leaving = self._oldest_first.pop(0)
            del self._ordered[bisect_left(self._ordered, leaving)]
        self._oldest_first.append(value)
        insort(self._ordered, value)

    def extend(self, values: Sequence[float]) -> None:
        """As ``push`` for each value."""
        self._oldest_first = [*self._oldest_first, *values][-self.size :]
        self._ordered = sorted(self._oldest_first)

    def medians_before(self, values: Sequence[float]) -> NDArray[np.float64]:
        """The median before each of these values is pushed; the window must be full."""
        history = np.array([*self._oldest_first, *values])
        medians = np.empty(len(values))
        for start in range(0, len(values), WINDOWS_AT_ONCE):
            part = medians[start : start + WINDOWS_AT_ONCE]
            windows: NDArray[np.float64] = history[start:][_places(self.size)[: len(part)]]
            windows.sort(axis=1)
            part[:] = windows[:, (self.size - 1) // 2]
        return medians

    @property
    def full(self) -> bool:
        return len(self._oldest_first) == self.size

    @property
    def median(self) -> float:
        """The lower median, so always a value that occurred."""
        return self._ordered[(len(self._ordered) - 1) // 2]

    @property
    def maximum(self) -> float:
        return self._ordered[-1]

    def largest(self, rank: int) -> float:
        """The value of that rank from above, the smallest if there are fewer."""
        return self._ordered[-min(rank, len(self._ordered))]

    def clear(self) -> None:
        self._oldest_first.clear()
        self._ordered.clear()

    def pack(self) -> bytes:
        return struct.pack("<I", len(self)) + np.array(self._oldest_first, "<f8").tobytes()

    def unpack(self, data: bytes, offset: int) -> int:
        """Take over what ``pack`` wrote at ``offset``; return the offset behind it."""
        count = int(struct.unpack_from("<I", data, offset)[0])
        self._oldest_first = np.frombuffer(data, "<f8", count, offset + 4).tolist()
        self._ordered = sorted(self._oldest_first)
        return offset + 4 + 8 * count


@cache
def _places(size: int) -> NDArray[np.intp]:
    """Where the values of window after window stand."""
    return np.arange(WINDOWS_AT_ONCE)[:, np.newaxis] + np.arange(size)


class TailScale:
    """How far above its level a series strays by itself.

    If excesses of a log norm fall off exponentially (a power law of the norm, the usual heavy tail), one number says
    how rare any excess is: half of the frames lie above the level, and a share exp(-excess / scale) of those above
    the excess. It is taken from the mean square of the positive excesses, 2 scale^2, which weighs rare large ones
    more than the mean would. The estimate begins at a cautious prior and is weighed towards the newest ``memory``
    excesses.
    """

    def __init__(self, prior: float, prior_weight: float, memory: float, largest: float) -> None:
        self._prior_sum = 2.0 * prior * prior * prior_weight
        self._prior_weight = prior_weight
        self._keep = 1.0 - 1.0 / memory
        self._largest = largest  # one excess may say no more than this
        self._sum = 0.0
        self._weight = 0.0

    def push(self, excess: float) -> None:
        """Take one excess; those at or below the level say nothing about the upper tail."""
        if excess > 0.0:
            self._sum = self._sum * self._keep + min(excess, self._largest) ** 2
            self._weight = self._weight * self._keep + 1.0

    def extend(self, excesses: Sequence[float]) -> None:
        """As ``push`` for each excess."""
        total, weight, keep, largest = self._sum, self._weight, self._keep, self._largest
        for excess in excesses:
            if excess > 0.0:
                total = total * keep + (excess if excess < largest else largest) ** 2
                weight = weight * keep + 1.0
        self._sum, self._weight = total, weight

    @property
    def scale(self) -> float:
        return math.sqrt((self._prior_sum + self._sum) / (2.0 * (self._prior_weight + self._weight)))

    def pack(self) -> bytes:
        return struct.pack("<dd", self._sum, self._weight)

    def unpack(self, data: bytes, offset: int) -> int:
        self._sum, self._weight = struct.unpack_from("<dd", data, offset)
        return offset + 16


class FadingRecord:
    """The largest value of the past, sinking towards the present level with a half-life counted in pushes."""

    def __init__(self, half_life: float) -> None:
        self._sink = 1.0 - 0.5 ** (1.0 / half_life)
        self.value = -math.inf

    def push(self, value: float, level: float) -> None:
        faded = self.value - self._sink * max(self.value - level, 0.0) if self.value > -math.inf else value
        self.value = max(value, faded)

    def extend(self, values: Sequence[float], levels: Sequence[float]) -> None:
        """As ``push`` for each value and its level; there must be a record already."""
        record, sink = self.value, self._sink
        for value, level in zip(values, levels, strict=True):
            if record > level:
                record -= sink * (record - level)
            if value > record:
                record = value
        self.value = record

    def pack(self) -> bytes:
        return struct.pack("<d", self.value)

    def unpack(self, data: bytes, offset: int) -> int:
        (self.value,) = struct.unpack_from("<d", data, offset)
        return offset + 8


class LossTrend:
    """Means of the loss over blocks of frames: at the start, at present, and over a longer past."""

    def __init__(self, present_memory: float, past_memory: float) -> None:
        self._present_memory = present_memory
        self._past_memory = past_memory
        self._sum = 0.0
        self._count = 0
        self.start = math.nan
        self.now = math.nan
        self.usual = math.nan

    def push(self, losses: Sequence[float]) -> None:
        """Take losses of the block, one after the other; a non-finite one is left out."""
        for loss in losses:
            if math.isfinite(loss):
                self._sum += loss
                self._count += 1

    def begin_block(self) -> None:
        self._sum, self._count = 0.0, 0

    def close_block(self, disturbed: bool) -> None:
        """Take the block's mean; a disturbed one says nothing about the past."""
        if self._count == 0:
            return
        mean = self._sum / self._count
        if math.isnan(self.start):
            self.start = self.now = self.usual = mean
        self.now += (mean - self.now) / self._present_memory
        if not disturbed:
            self.usual += (mean - self.usual) / self._past_memory

    def pack(self) -> bytes:
        return struct.pack("<dIddd", self._sum, self._count, self.start, self.now, self.usual)

    def unpack(self, data: bytes, offset: int) -> int:
        self._sum, self._count, self.start, self.now, self.usual = struct.unpack_from("<dIddd", data, offset)
        return offset + 36
