"""Count the global norms of some frames by their size: what any threshold would have clipped, without the frames.

Pure. A bucket ends at every number of three significant digits (..., 0.998, 0.999, 1.00, 1.01, ...) that a float32 can
reach, since that is how people write thresholds: for each of these the count of norms above it is exact, and for any
other it lies between two exact counts. Sketches of parts of a stream add up to that of the whole, however it was split.
Only buckets that hold a norm are kept, so that a sketch is never longer than its frames, and usually far shorter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from gradvitals_service.series import flags
from gradvitals_service.series.codec import CorruptChunkError, compress, decompress, shuffle, unshuffle

_VERSION = 1
_DECADES = range(-45, 39)  # from the smallest float32 above zero to the largest
_IN_DECADE = range(100, 1000)  # three significant digits


@cache
def edges() -> NDArray[np.float64]:
    """Where buckets end, ascending: bucket k holds the norms above edge k - 1 up to edge k."""
    spelled = (f"{digits}e{decade - 2}" for decade in _DECADES for digits in _IN_DECADE)
    ends = np.array([float(edge) for edge in spelled])  # read as a person's threshold is read, so equal to it
    return ends[ends <= np.finfo(np.float32).max]


@cache
def _float32_edges() -> NDArray[np.float32]:
    """The same in float32, rounded down: no float32 lies in between, so that each norm is on the same side of both."""
    rounded = edges().astype(np.float32)
    return np.where(rounded > edges(), np.nextafter(rounded, np.float32(0)), rounded)


class _Header(msgspec.Struct, array_like=True):
    version: int
    buckets: int
    zeros: int
    non_finite: int
    already_clipped: int


@dataclass(frozen=True, slots=True)
class NormSketch:
    """How many norms each bucket holds; ``buckets`` are their numbers, ascending, without the empty ones."""

    buckets: NDArray[np.int64]
    counts: NDArray[np.int64]
    zeros: int = 0
    non_finite: int = 0
    already_clipped: int = 0  # clipped before it was measured: the norm that it had is not known

    @classmethod
    def none(cls) -> "NormSketch":
        """Of no frames."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def of(cls, global_norm: NDArray[np.float32], frame_flags: NDArray[np.uint32]) -> "NormSketch":
        """Of some frames."""
        already_clipped = (frame_flags & flags.ALREADY_CLIPPED) != 0
        finite = np.isfinite(global_norm)
        measured = global_norm[finite & ~already_clipped]
        positive = measured[measured > 0]
        buckets, counts = np.unique(np.searchsorted(_float32_edges(), positive), return_counts=True)
        return cls(
            buckets,
            counts,
            zeros=len(measured) - len(positive),
            non_finite=int(np.count_nonzero(~finite)),
            already_clipped=int(np.count_nonzero(already_clipped & finite)),
        )

    @classmethod
    def merge(cls, parts: Sequence["NormSketch"]) -> "NormSketch":
        """Of the frames of all parts."""
        if not parts:
            return cls.none()
        buckets, place = np.unique(np.concatenate([part.buckets for part in parts]), return_inverse=True)
        counts = np.zeros(len(buckets), np.int64)
        np.add.at(counts, place, np.concatenate([part.counts for part in parts]))
        return cls(
            buckets,
            counts,
            sum(part.zeros for part in parts),
            sum(part.non_finite for part in parts),
            sum(part.already_clipped for part in parts),
        )

    @property
    def measured(self) -> int:
        """Frames whose norm is finite and was not clipped before."""
        return self.zeros + int(self.counts.sum())

    @property
    def upper_edges(self) -> NDArray[np.float64]:
        """Where each bucket ends; infinite for the few norms beyond the last edge."""
        return np.append(edges(), np.inf)[self.buckets]

    def above(self, max_norm: float) -> tuple[int, int]:
        """At least and at most so many norms lie above ``max_norm``; the same number where it is an edge."""
        bucket = int(np.searchsorted(edges(), max_norm))
        is_edge = bucket < len(edges()) and edges()[bucket] == max_norm
        at_least = int(self.counts[self.buckets > bucket].sum())
        return at_least, at_least if is_edge else at_least + int(self.counts[self.buckets == bucket].sum())

    def quantile(self, share: float) -> float:
        """The smallest edge with at most a share of ``1 - share`` of the norms above it; 0 where that many are 0."""
        allowed = self.measured - share * self.measured
        behind = self.counts.sum() - np.cumsum(self.counts)  # norms above each bucket
        fitting = np.flatnonzero(behind <= allowed)
        if not len(fitting) or self.counts.sum() <= allowed:  # nearly all are zero
            return 0.0
        return float(self.upper_edges[fitting[0]])

    def mean_clip_coefficient(self, max_norm: float) -> float:
        """What gradients would have been multiplied by on average, to within half a percent: a bucket's middle stands
        for its norms."""
        if not self.measured:
            return 1.0
        ends = np.append(edges(), np.finfo(np.float32).max)
        starts = np.append(0.0, edges())
        middle = 0.5 * (starts[self.buckets] + ends[self.buckets])
        factors = np.minimum(1.0, max_norm / middle)
        return float((self.zeros + (factors * self.counts).sum()) / self.measured)

    def to_bytes(self) -> bytes:
        """As it is kept, with a checksum."""
        header = _Header(_VERSION, len(self.buckets), self.zeros, self.non_finite, self.already_clipped)
        distances = np.diff(self.buckets, prepend=0)
        return compress(msgspec.msgpack.encode(header), [shuffle(distances, "<u4"), shuffle(self.counts, "<u4")])

    @classmethod
    def from_bytes(cls, blob: bytes) -> "NormSketch":
        """Restore ``to_bytes``; CorruptChunkError for anything else."""
        header, body = decompress(blob, _Header)
        end = 4 * header.buckets
        if header.version != _VERSION or len(body) != 2 * end:
            raise CorruptChunkError(f"a sketch of norms is not one of version {_VERSION}")
        buckets = np.cumsum(unshuffle(body[:end], "<u4"), dtype=np.int64)
        if header.buckets and buckets[-1] > len(edges()):
            raise CorruptChunkError("a sketch of norms has a bucket that there is not")
        counts = unshuffle(body[end:], "<u4").astype(np.int64)
        return cls(buckets, counts, header.zeros, header.non_finite, header.already_clipped)
