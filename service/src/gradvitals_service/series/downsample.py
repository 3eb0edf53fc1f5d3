"""Shrink columns of frames to buckets for a chart, without losing a spike.

Pure numpy: columns in, buckets out. A bucket is ``size`` consecutive frames (the last one may be shorter) and keeps the
smallest and largest finite value, the mean of the finite ones, and how many were NaN or infinite. A value that was
never logged is absent: it belongs to no count.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Column:
    """One metric over consecutive frames: ``values`` float64[n] and ``present`` bool[n]."""

    values: Floats
    present: Booleans


@dataclass(frozen=True, slots=True)
class Buckets:
    """One metric in buckets: NaN in ``minimum``, ``maximum`` and ``mean`` marks a bucket without a finite value."""

    minimum: Floats
    maximum: Floats
    mean: Floats
    non_finite: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Downsampled:
    """Several metrics over the same buckets of ``size`` frames; ``step`` int64[b] is the first step of each."""

    size: int
    step: NDArray[np.int64]
    series: dict[str, Buckets]


def bucket_size(frames: int, points: int) -> int:
    """The fewest frames a bucket with which ``frames`` frames fit into ``points`` buckets; at least 1."""
    return max(1, -(-frames // points))


def downsample(step: NDArray[np.int64], columns: Mapping[str, Column], points: int) -> Downsampled:
    """Put ``step`` int64[n] and columns of the same length into at most ``points`` buckets."""
    size = bucket_size(len(step), points)
    starts = np.arange(0, len(step), size)
    return Downsampled(size, step[starts], {name: _fill(column, starts) for name, column in columns.items()})


def _fill(column: Column, starts: NDArray[np.int64]) -> Buckets:
    """Reduce one column; ``starts`` are the frame indices at which buckets begin."""
    if not len(starts):
        nothing = np.empty(0)
        return Buckets(nothing, nothing, nothing, np.empty(0, np.int64))
    finite = column.present & np.isfinite(column.values)
    count = np.add.reduceat(finite, starts, dtype=np.int64)
    minimum = np.minimum.reduceat(np.where(finite, column.values, np.inf), starts)
    maximum = np.maximum.reduceat(np.where(finite, column.values, -np.inf), starts)
    empty = count == 0
    minimum[empty] = maximum[empty] = np.nan
    non_finite = np.add.reduceat(column.present & ~finite, starts, dtype=np.int64)
    return Buckets(minimum, maximum, _mean(column.values, finite, starts, count, minimum, maximum), non_finite)


def _mean(
    values: Floats, finite: Booleans, starts: NDArray[np.int64], count: NDArray[np.int64], low: Floats, high: Floats
) -> Floats:
    """Mean of the finite values of each bucket, NaN where there is none.

    Each value is divided before the sum, since the sum of finite float64 values can overflow; the clip undoes the
    rounding that would put a mean of equal values beside them.
    """
    lengths = np.diff(np.append(starts, len(values)))
    shares = np.where(finite, values, 0.0) / np.repeat(np.maximum(count, 1), lengths)
    mean = np.clip(np.add.reduceat(shares, starts), low, high)
    mean[count == 0] = np.nan
    return mean
