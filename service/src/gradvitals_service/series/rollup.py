"""Keep buckets of frames beside the frames: what a chart of a long run is drawn from.

Pure: columns in, blobs out. A rollup holds consecutive buckets of one stream and one layout at one level, which is the
most frames that a bucket of it stands for. A bucket may hold fewer, where a segment ended or frames are lost; each
knows its steps and frames. As with chunks, one blob holds the scalars and the other one the layers.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gradvitals_service.series.codec import (
    ChunkColumns,
    Columns,
    CorruptChunkError,
    compress,
    decompress,
    scalar_key,
    shuffle,
    unshuffle,
    unshuffle_each,
)
from gradvitals_service.series.downsample import Array, Buckets, Extremes, Integers, bucket_starts
from gradvitals_service.series.metrics import FRAME_METRICS, metric_column

LEVELS = (64, 1024, 16_384)
MOST_BUCKETS = 256  # in one row: a chart reads few rows, and the row that still grows is cheap to write again

_VERSION = 1
_LAYERS_AT_ONCE = 32  # bounds what is needed beside the layers themselves
_COUNT = "<u2"  # no bucket holds more than 16,384 frames

_Spelled = tuple[tuple[str, str], ...]
_SCALAR_STATISTICS: _Spelled = (
    ("minimum", "<f8"), ("maximum", "<f8"), ("mean", "<f8"), ("finite", _COUNT), ("non_finite", _COUNT),
)  # fmt: skip
_LAYER_STATISTICS: _Spelled = (("minimum", "<f4"), ("maximum", "<f4"), ("mean", "<f4"), ("non_finite", _COUNT))


@dataclass(frozen=True, slots=True)
class Extent:
    """Where buckets lie: the first and last step of each, and its frames."""

    first_step: Integers
    last_step: Integers
    frames: Integers

    def __len__(self) -> int:
        """How many buckets."""
        return len(self.frames)

    def regroup(self, starts: Integers) -> "Extent":
        """As ``Buckets.regroup``."""
        ends = np.append(starts[1:], len(self)) - 1
        return Extent(self.first_step[starts], self.last_step[ends], np.add.reduceat(self.frames, starts))

    def select(self, kept: slice | Array) -> "Extent":
        """Some of the buckets."""
        return Extent(self.first_step[kept], self.last_step[kept], self.frames[kept])

    @classmethod
    def join(cls, parts: Sequence["Extent"]) -> "Extent":
        """One after the other."""
        names = ("first_step", "last_step", "frames")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @classmethod
    def none(cls) -> "Extent":
        """No buckets."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, nothing)

    @classmethod
    def of_frames(cls, step: Integers) -> "Extent":
        """A bucket a frame."""
        return cls(step, step, np.ones(len(step), np.int64))


@dataclass(frozen=True, slots=True)
class Rollup:
    """Buckets of one stream: of each metric by its key [b], and of the layers [L, b]."""

    extent: Extent
    metrics: dict[str, Buckets]
    layers: Buckets

    def __len__(self) -> int:
        """How many buckets."""
        return len(self.extent)

    def regroup(self, starts: Integers) -> "Rollup":
        """Merge into fewer buckets."""
        metrics = {name: buckets.regroup(starts) for name, buckets in self.metrics.items()}
        return Rollup(self.extent.regroup(starts), metrics, self.layers.regroup(starts))


def roll_up(frames: ChunkColumns) -> dict[int, Rollup]:
    """The buckets of some frames at every level."""
    step = frames.columns["step"]
    finest = np.arange(0, len(step), LEVELS[0])
    columns = Columns(frames.columns, {name: values for name, (_, values) in frames.scalars.items()}, [])
    for name, (present, _) in frames.scalars.items():
        columns.present[scalar_key(name)] = present
    metrics = {}
    for name in (*FRAME_METRICS, *map(scalar_key, frames.scalars)):
        column = metric_column(columns, name)
        metrics[name] = Buckets.of_frames(column.values, column.present).regroup(finest)
    rollup = Rollup(Extent.of_frames(step).regroup(finest), metrics, _roll_up_layers(frames.layer_norms, finest))
    levels = {LEVELS[0]: rollup}
    for level in LEVELS[1:]:
        rollup = rollup.regroup(bucket_starts(rollup.extent.frames, level))
        levels[level] = rollup
    return levels


def _roll_up_layers(layer_norms: NDArray[np.float32], starts: Integers) -> Buckets:
    layer_count = layer_norms.shape[1]
    slabs = [
        _roll_up_slab(np.ascontiguousarray(layer_norms[:, first : first + _LAYERS_AT_ONCE].T), starts)
        for first in range(0, layer_count, _LAYERS_AT_ONCE)
    ]
    if not slabs:
        nothing, none = np.empty((0, len(starts)), np.float32), np.empty((0, len(starts)), np.int64)
        return Buckets(nothing, nothing, nothing, none, none)
    names = ("minimum", "maximum", "mean", "finite", "non_finite")
    return Buckets(*(np.concatenate([getattr(slab, name) for slab in slabs]) for name in names))


def _roll_up_slab(norms: NDArray[np.float32], starts: Integers) -> Buckets:
    """Some layers [l, n]. Nearly always every norm is finite, and then there is a much faster way."""
    layer_count, n = norms.shape
    full = n - n % LEVELS[0]
    if not full or not np.isfinite(norms).all():
        return Buckets.of_frames(norms).regroup(starts)
    buckets = norms[:, :full].reshape(layer_count, -1, LEVELS[0])
    minimum = np.minimum.reduceat(norms[:, :full], starts[: full // LEVELS[0]], axis=1)
    maximum = np.maximum.reduceat(norms[:, :full], starts[: full // LEVELS[0]], axis=1)
    mean = np.clip(np.einsum("lbn->lb", buckets, dtype=np.float64) / LEVELS[0], minimum, maximum).astype(np.float32)
    rolled = Buckets(minimum, maximum, mean, np.full_like(mean, LEVELS[0], np.int64), np.zeros_like(mean, np.int64))
    if full == n:
        return rolled
    return Buckets.join([rolled, Buckets.of_frames(norms[:, full:]).regroup(np.zeros(1, np.int64))])


def append(older: Rollup, newer: Rollup, level: int) -> Rollup:
    """Put ``newer`` behind ``older``; buckets that would not fill one of this level become one."""
    names = [*older.metrics, *(name for name in newer.metrics if name not in older.metrics)]
    joined = Rollup(
        Extent.join([older.extent, newer.extent]),
        {
            name: Buckets.join([part.metrics.get(name) or Buckets.absent(len(part)) for part in (older, newer)])
            for name in names
        },
        Buckets.join([older.layers, newer.layers]),
    )
    if len(newer) and older.extent.frames[-1] + newer.extent.frames[0] <= level:
        starts = np.delete(np.arange(len(joined)), len(older))
        return joined.regroup(starts)
    return joined


class _Header(msgspec.Struct, array_like=True):
    version: int
    buckets: int
    metrics: list[str]


def encode_rollup(rollup: Rollup) -> tuple[bytes, bytes]:
    """Write the scalars and the layers."""
    head = msgspec.msgpack.encode(_Header(_VERSION, len(rollup), list(rollup.metrics)))
    extent = rollup.extent
    parts = [shuffle(extent.first_step, "<i8"), shuffle(extent.last_step, "<i8"), shuffle(extent.frames, _COUNT)]
    for buckets in rollup.metrics.values():
        parts += [shuffle(getattr(buckets, name), kind) for name, kind in _SCALAR_STATISTICS]
    layers = [shuffle(getattr(rollup.layers, name), kind) for name, kind in _LAYER_STATISTICS]
    return compress(head, parts), compress(head, layers)


def decode_metrics(blob: bytes, wanted: Collection[str] | None = None) -> tuple[Extent, dict[str, Buckets]]:
    """Read the scalars back: where the buckets lie, and the metrics ``wanted``, or all."""
    header, body = _open(blob)
    count, position = header.buckets, 0

    def take(kind: str, columns: int) -> Sequence[NDArray[Any]]:
        nonlocal position
        end = position + np.dtype(kind).itemsize * columns * count
        values, position = unshuffle_each(body[position:end], kind, columns), end
        return values

    (first_step, last_step), (frames,) = take("<i8", 2), take(_COUNT, 1)
    extent = Extent(first_step, last_step, frames.astype(np.int64))
    metrics = {}
    size = count * sum(np.dtype(kind).itemsize for _, kind in _SCALAR_STATISTICS)
    for name in header.metrics:
        if wanted is None or name in wanted:
            metrics[name] = Buckets(*take("<f8", 3), *take(_COUNT, 2))  # as _SCALAR_STATISTICS says
        else:
            position += size
    if position != len(body):
        raise CorruptChunkError("a rollup is not as long as its header says")
    return extent, metrics


def scalar_keys(blob: bytes) -> list[str]:
    """The scalars that have buckets."""
    header, _ = _open(blob)
    return [name for name in header.metrics if name not in FRAME_METRICS]


def decode_layer_buckets(blob: bytes, extent: Extent, layer_count: int) -> Buckets:
    """Read the layers [L, b] back."""
    minimum, maximum, mean, non_finite = _layer_statistics(
        blob, extent, layer_count, [name for name, _ in _LAYER_STATISTICS]
    )
    return Buckets(minimum, maximum, mean, extent.frames - non_finite, non_finite)


def decode_layer_extremes(blob: bytes, extent: Extent, layer_count: int, pick: np.ufunc) -> Extremes:
    """Read back only the largest norms of the layers [L, b], or only the smallest."""
    name = "maximum" if pick is np.fmax else "minimum"
    values, non_finite = _layer_statistics(blob, extent, layer_count, [name, "non_finite"])
    return Extremes(values, non_finite, pick)


def _layer_statistics(blob: bytes, extent: Extent, layer_count: int, wanted: Collection[str]) -> list[NDArray[Any]]:
    header, body = _open(blob)
    values = layer_count * header.buckets
    if header.buckets != len(extent) or len(body) != values * 14:
        raise CorruptChunkError(f"a rollup's layers are not those of {len(extent)} buckets and {layer_count} layers")
    position, read = 0, []
    for name, kind in _LAYER_STATISTICS:
        end = position + np.dtype(kind).itemsize * values
        if name in wanted:
            read.append(unshuffle(body[position:end], kind).reshape(layer_count, header.buckets))
        position = end
    return read


def _open(blob: bytes) -> tuple[_Header, memoryview]:
    header, body = decompress(blob, _Header)
    if header.version != _VERSION:
        raise CorruptChunkError(f"a stored rollup has version {header.version}, which this service does not know")
    return header, body
