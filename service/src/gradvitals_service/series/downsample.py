"""Shrink columns of frames to buckets for a chart, without losing a spike.

Pure numpy. A bucket stands for consecutive frames and keeps the smallest and largest finite value, the mean of the
finite ones, and how many were finite and how many NaN or infinite. A value that was never logged is absent: it belongs
to no count. Buckets of buckets are buckets again, so that what is stored and what is asked for need not be the same
size. The last axis is that of frames; there may be others before it, as one of layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Column:
    """One metric over consecutive frames: ``values`` float64[n] and ``present`` bool[n]."""

    values: Floats
    present: Booleans


class Kept(Protocol):
    """What is kept of values in buckets."""

    @property
    def non_finite(self) -> Array: ...

    def select(self, kept: slice | Array) -> Self:
        """Some of the buckets."""

    @classmethod
    def merge(cls, parts: Sequence[Self], starts: Integers) -> Self:
        """One after the other, merged into fewer buckets, of which each begins at one of ``starts``."""

    def rows(self, places: Integers) -> Self:
        """The rows at some places, of those before the last axis; -1 is one in which nothing was logged."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """One metric in buckets: NaN in ``minimum``, ``maximum`` and ``mean`` marks a bucket without a finite value."""

    minimum: Array
    maximum: Array
    mean: Array
    finite: Array
    non_finite: Array

    @classmethod
    def of_frames(cls, values: Array, present: Booleans | None = None) -> "Buckets":
        """A bucket a frame; None: every value is there."""
        finite = np.isfinite(values)
        there = np.bool_(True) if present is None else present.astype(np.bool_, copy=False)
        non_finite = ~finite & there
        finite &= there
        only_finite = values if finite.all() else np.where(finite, values, np.asarray(np.nan, values.dtype))
        return cls(only_finite, only_finite, only_finite, finite.view(np.int8), non_finite.view(np.int8))

    @classmethod
    def absent(cls, count: int) -> "Buckets":
        """Buckets in which nothing was logged."""
        nothing, zero = np.full(count, np.nan), np.zeros(count, np.int64)
        return cls(nothing, nothing, nothing, zero, zero)

    @classmethod
    def join(cls, parts: Sequence["Buckets"]) -> "Buckets":
        """One after the other."""
        if len(parts) == 1:
            return parts[0]
        columns = ("minimum", "maximum", "mean", "finite", "non_finite")
        return cls(*(np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in columns))

    def select(self, kept: slice | Array) -> "Buckets":
        """Some of the buckets."""
        columns = (self.minimum, self.maximum, self.mean, self.finite, self.non_finite)
        return Buckets(*(values[..., kept] for values in columns))

    @classmethod
    def merge(cls, parts: Sequence["Buckets"], starts: Integers) -> "Buckets":
        """All at once: a mean that was taken in two steps would be rounded twice."""
        return cls.join(parts).regroup(starts)

    def rows(self, places: Integers) -> "Buckets":
        """Of the layers, those at some places; -1 is one in which nothing was logged."""
        columns = (self.minimum, self.maximum, self.mean, self.finite, self.non_finite)
        return Buckets(*(_rows(values, places) for values in columns))

    def regroup(self, starts: Integers) -> "Buckets":
        """Merge into fewer buckets, of which each begins at one of ``starts``.

        The mean is that of the frames, not of the buckets. Each term is divided before the sum, since the sum of finite
        float64 values can overflow; the clip undoes the rounding that would put a mean of equal values beside them, or
        a mean of the largest float64 at infinity.
        """
        if not len(starts):
            return self.select(slice(0, 0))
        if len(starts) == self.minimum.shape[-1]:
            return self
        finite = np.add.reduceat(self.finite, starts, axis=-1, dtype=np.int64)
        non_finite = np.add.reduceat(self.non_finite, starts, axis=-1, dtype=np.int64)
        minimum = np.fmin.reduceat(self.minimum, starts, axis=-1)
        maximum = np.fmax.reduceat(self.maximum, starts, axis=-1)
        lengths = np.diff(np.append(starts, self.minimum.shape[-1]))
        weights = self.finite / np.repeat(np.maximum(finite, 1), lengths, axis=-1)
        shares = np.where(self.finite > 0, self.mean, 0.0) * weights
        with np.errstate(over="ignore"):
            sums = np.add.reduceat(shares, starts, axis=-1)
        mean = np.clip(sums, minimum, maximum).astype(self.mean.dtype)
        return Buckets(minimum, maximum, mean, finite, non_finite)


@dataclass(frozen=True, slots=True)
class Extremes:
    """Only the largest finite values, or only the smallest, and how many were not finite: all that is shown of layers.

    ``pick`` is fmax or fmin. NaN in ``values`` marks a bucket without a finite value.
    """

    values: Array
    non_finite: Array
    pick: np.ufunc

    @classmethod
    def of_frames(cls, values: Array, pick: np.ufunc) -> "Extremes":
        """A bucket a frame."""
        finite = np.isfinite(values)
        only_finite = values if finite.all() else np.where(finite, values, np.asarray(np.nan, values.dtype))
        return cls(only_finite, (~finite).view(np.int8), pick)

    def select(self, kept: slice | Array) -> "Extremes":
        """Some of the buckets."""
        return Extremes(self.values[..., kept], self.non_finite[..., kept], self.pick)

    def rows(self, places: Integers) -> "Extremes":
        """As ``Buckets.rows``."""
        return Extremes(_rows(self.values, places), _rows(self.non_finite, places), self.pick)

    def regroup(self, starts: Integers) -> "Extremes":
        """As ``Buckets.regroup``."""
        if len(starts) == self.values.shape[-1]:
            return self
        non_finite = np.zeros((*self.values.shape[:-1], len(starts)), np.int64)
        if self.non_finite.any():
            np.add.reduceat(self.non_finite, starts, axis=-1, dtype=np.int64, out=non_finite)
        return Extremes(self.pick.reduceat(self.values, starts, axis=-1), non_finite, self.pick)

    @classmethod
    def merge(cls, parts: Sequence["Extremes"], starts: Integers) -> "Extremes":
        """Each part by itself, so that nothing as long as all frames is copied; then the buckets that parts share."""
        merged, begins, end = [], [], 0
        for part in parts:
            first, end = end, end + part.values.shape[-1]
            own = np.union1d([first], starts[np.searchsorted(starts, first) : np.searchsorted(starts, end)])
            merged.append(part.regroup(own - first))
            begins.append(own)
        values = np.concatenate([part.values for part in merged], axis=-1)
        non_finite = np.concatenate([part.non_finite for part in merged], axis=-1)
        return cls(values, non_finite, merged[0].pick).regroup(np.searchsorted(np.concatenate(begins), starts))


@dataclass(frozen=True, slots=True)
class Downsampled:
    """Several metrics over the same buckets of ``size`` frames; ``step`` int64[b] is the first step of each."""

    size: int
    step: Integers
    series: dict[str, Buckets]


def _rows(values: Array, places: Integers) -> Array:
    found = np.full((len(places), *values.shape[1:]), np.nan if values.dtype.kind == "f" else 0, values.dtype)
    there = places >= 0
    found[there] = values[places[there]]
    return found


def bucket_size(frames: int, points: int) -> int:
    """The fewest frames a bucket with which ``frames`` frames fit into ``points`` buckets; at least 1."""
    return max(1, -(-frames // points))


def bucket_starts(frames: Integers, size: int) -> Integers:
    """Where to begin new buckets of about ``size`` frames, in buckets that hold ``frames`` frames each.

    At most one begins within each ``size`` frames, so that no more come out than there would be of frames.
    """
    if not len(frames):
        return np.empty(0, np.int64)
    place = (np.cumsum(frames) - frames) // size
    return np.flatnonzero(np.diff(place, prepend=-1))


def downsample(step: Integers, columns: Mapping[str, Column], points: int) -> Downsampled:
    """Put ``step`` int64[n] and columns of the same length into at most ``points`` buckets."""
    size = bucket_size(len(step), points)
    starts = np.arange(0, len(step), size)
    series = {
        name: Buckets.of_frames(column.values, column.present).regroup(starts) for name, column in columns.items()
    }
    return Downsampled(size, step[starts], series)
