"""A run's whole history in at most 60 buckets, kept up to date chunk by chunk.

The overview shows many runs at once and must not read their chunks, so the writer keeps this beside each run. A bucket
holds the smallest and largest finite global norm of ``size`` frames and how many were not finite; when a 61st bucket
would be needed, neighbours are merged and the size doubles. Pure: no clock, no database.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

MOST_BUCKETS = 60


class Bucket(msgspec.Struct, array_like=True):
    """One bucket; ``minimum`` and ``maximum`` are None where no norm was finite."""

    step: int
    frames: int
    minimum: float | None
    maximum: float | None
    non_finite: int

    def take(self, later: "Bucket") -> None:
        """Merge the bucket that follows into this one."""
        self.frames += later.frames
        self.non_finite += later.non_finite
        self.minimum = _least(self.minimum, later.minimum)
        self.maximum = _most(self.maximum, later.maximum)


class Sparkline(msgspec.Struct, array_like=True):
    """The shape of one run's global norm, of the monitor that reported first."""

    monitor: str
    size: int = 1
    last_step: int = -1
    buckets: list[Bucket] = []  # msgspec copies it for each instance
    started_at: float = 0.0  # when the newest attempt in it was started

    def observe(self, monitor: str, step: NDArray[np.int64], global_norm: NDArray[np.floating[Any]]) -> None:
        """Add a block of frames; a step that was here before means a resume, and the newer frames win."""
        if monitor != self.monitor or not len(step):
            return
        if step[0] <= self.last_step:
            self._rewind(int(step[0]))
        steps, norms = step.tolist(), global_norm.tolist()  # many short buckets: numpy's calls would cost the most
        position = 0
        while position < len(steps):
            room = self._room()
            self._append(_summarise(steps[position], norms[position : position + room]))
            position += room
        self.last_step = steps[-1]

    def to_bytes(self) -> bytes:
        """What is stored beside the run."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes | None, monitor: str = "") -> "Sparkline":
        """Read what ``to_bytes`` wrote; one without frames where nothing is stored, or nothing that can be read."""
        try:
            return msgspec.msgpack.decode(data or b"", type=cls)
        except msgspec.DecodeError:
            return cls(monitor)

    def columns(self) -> dict[str, list[Any]]:
        """The buckets as the overview tells them, to four digits: more than a picture of 34 pixels shows."""
        return {
            "step": [bucket.step for bucket in self.buckets],
            "min": [_four_digits(bucket.minimum) for bucket in self.buckets],
            "max": [_four_digits(bucket.maximum) for bucket in self.buckets],
            "non_finite": [bucket.non_finite for bucket in self.buckets],
        }

    def _room(self) -> int:
        """How many frames the newest bucket still takes, or a fresh one where it is full."""
        if self.buckets and self.buckets[-1].frames < self.size:
            return self.size - self.buckets[-1].frames
        if len(self.buckets) == MOST_BUCKETS:
            self.buckets = _merge_pairs(self.buckets)
            self.size *= 2
        return self.size

    def _append(self, part: Bucket) -> None:
        if self.buckets and self.buckets[-1].frames < self.size:
            self.buckets[-1].take(part)
        else:
            self.buckets.append(part)

    def _rewind(self, step: int) -> None:
        """Forget the buckets that begin at or after ``step``; one that only reaches beyond it keeps its spikes."""
        self.buckets = [bucket for bucket in self.buckets if bucket.step < step]


def _summarise(step: int, norms: Sequence[float]) -> Bucket:
    finite = [norm for norm in norms if math.isfinite(norm)]
    return Bucket(step, len(norms), min(finite, default=None), max(finite, default=None), len(norms) - len(finite))


def _merge_pairs(buckets: Sequence[Bucket]) -> list[Bucket]:
    """Halve the number of buckets."""
    merged = list(buckets[::2])
    for bucket, later in zip(merged, buckets[1::2], strict=False):
        bucket.take(later)
    return merged


def _four_digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _least(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _most(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)
