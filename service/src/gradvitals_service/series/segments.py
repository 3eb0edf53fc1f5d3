"""Turn many frames into a segment, in which every column is a blob of its own, and back.

Pure. One layer of a long run is read without touching the others. The names of the columns: those of the wire as they
are, ``scalar/<name>``, ``layer/<place>``; ``frame``, where frames are lost in between; ``params``, the norms of the
weights; ``details``; ``norms``, the sketch of the global norms. Every blob is byte-shuffled, zstd compressed and
carries its own checksum.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gradvitals_service.series.codec import (
    COLUMN_TYPES,
    Array,
    ChunkColumns,
    CorruptChunkError,
    bits,
    compress,
    decompress,
    shuffle,
    unshuffle,
)
from gradvitals_service.series.sketch import NormSketch

FRAMES = 16_384
VALUES = 4 * 2**20
SKETCH_COLUMN = "norms"

_VERSION = 1


class _Header(msgspec.Struct, array_like=True):
    """What stands before the shuffled bytes of one column."""

    version: int
    n: int
    kind: str
    stride: tuple[int, int] | None = None  # (first, distance): evenly spaced integers need no bytes
    present: bytes | None = None  # a bitmap, least significant bit first; None: present everywhere


class _Params(msgspec.Struct, array_like=True):
    rows: int
    layers: int


def segment_frames(layer_count: int) -> int:
    """How many frames of so many layers make a segment."""
    return max(1, min(FRAMES, VALUES // max(layer_count, 1)))


def layer_column(place: int) -> str:
    """The name of one layer's column."""
    return f"layer/{place}"


def scalar_column(name: str) -> str:
    """The name of a logged scalar's column."""
    return f"scalar/{name}"


def encode_segment(frame: NDArray[np.int64], frames: ChunkColumns) -> dict[str, bytes]:
    """Every column of a segment by name; ``frame`` are the indices of its frames in the stream."""
    columns = {name: encode_column(frames.columns[name], kind) for name, kind in COLUMN_TYPES.items()}
    if frame[-1] - frame[0] + 1 != len(frame):
        columns["frame"] = encode_column(frame, "<i8")
    for name, (present, values) in frames.scalars.items():
        columns[scalar_column(name)] = encode_column(values, "<f8", present)
    for place in range(frames.layer_norms.shape[1]):
        columns[layer_column(place)] = encode_column(frames.layer_norms[:, place], "<f4")
    if len(frames.param_rows):
        columns["params"] = _encode_params(frames.param_rows, frames.param_norms)
    if frames.details:
        columns["details"] = compress(msgspec.msgpack.encode(frames.details), [])
    columns[SKETCH_COLUMN] = NormSketch.of(frames.columns["global_norm"], frames.columns["flags"]).to_bytes()
    return columns


def encode_column(values: Array, kind: str, present: NDArray[np.bool_] | None = None) -> bytes:
    """One column."""
    header = _Header(_VERSION, len(values), kind)
    if present is not None:
        header.present = np.packbits(present, bitorder="little").tobytes()
    if kind == "<i8" and evenly_spaced(values):
        header.stride = (int(values[0]), int(values[1]) - int(values[0]))
        return compress(msgspec.msgpack.encode(header), [])
    return compress(msgspec.msgpack.encode(header), [shuffle(values, kind)])


def evenly_spaced(values: NDArray[np.int64]) -> bool:
    """Whether the first of strictly increasing values and their distance say all of them."""
    if len(values) < 2 or values[0] < 0 or values[-1] >= 2**62:
        return False
    first, distance = int(values[0]), int(values[1] - values[0])
    end = first + distance * len(values)
    if distance < 1 or int(values[-1]) != end - distance:
        return False
    return distance == 1 or np.array_equal(values, np.arange(first, end, distance))


def decode_column(blob: bytes) -> tuple[Array, NDArray[np.bool_] | None]:
    """One column, and where it is present if that is not everywhere."""
    header, body = decompress(blob, _Header)
    if header.version != _VERSION:
        raise CorruptChunkError(f"a stored column has version {header.version}, which this service does not know")
    present = None if header.present is None else bits(header.present, header.n)
    if header.stride is not None:
        first, distance = header.stride
        return np.arange(first, first + distance * header.n, distance, dtype=np.int64), present
    values = unshuffle(body, header.kind)
    if len(values) != header.n:
        raise CorruptChunkError("a column is not as long as its header says")
    return values, present


def decode_segment(stored: Mapping[str, bytes], layer_count: int) -> ChunkColumns:
    """All of a segment as it was before; needs every column."""
    try:
        columns = {name: decode_column(stored[name])[0] for name in COLUMN_TYPES}
        n = len(columns["step"])
        layer_norms = np.empty((layer_count, n), np.float32)
        for place in range(layer_count):
            layer_norms[place] = decode_column(stored[layer_column(place)])[0]
    except KeyError as error:
        raise CorruptChunkError(f"a segment has lost its column {error}") from error
    except ValueError as error:
        raise CorruptChunkError(f"a segment's columns differ in length: {error}") from error
    rows, param_norms = decode_params(stored.get("params"), layer_count)
    scalars = {}
    for name, blob in stored.items():
        if name.startswith("scalar/"):
            values, present = decode_column(blob)
            scalars[name.removeprefix("scalar/")] = (np.ones(n, np.bool_) if present is None else present, values)
    return ChunkColumns(columns, layer_norms.T, rows, param_norms, scalars, decode_details(stored.get("details")))


def decode_frame(blob: bytes | None, first: int, n: int) -> NDArray[np.int64]:
    """The indices of a segment's frames in the stream; without the column they have no gaps."""
    return np.arange(first, first + n, dtype=np.int64) if blob is None else decode_column(blob)[0]


def decode_details(blob: bytes | None) -> list[dict[str, Any]]:
    """The rare rows with something to tell."""
    return [] if blob is None else list(decompress(blob, list[dict[str, Any]])[0])


def decode_params(blob: bytes | None, layer_count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The rows that carry norms of the weights [m], and these norms [m, L]."""
    if blob is None:
        return np.empty(0, np.uint32), np.empty((0, layer_count), np.float32)
    header, body = decompress(blob, _Params)
    end = 4 * header.rows
    if header.layers != layer_count or len(body) != end + end * layer_count:
        raise CorruptChunkError(f"the norms of the weights are not those of {layer_count} layers")
    return unshuffle(body[:end], "<u4"), unshuffle(body[end:], "<f4").reshape(layer_count, header.rows).T


def _encode_params(rows: NDArray[np.uint32], norms: NDArray[np.float32]) -> bytes:
    head = msgspec.msgpack.encode(_Params(*norms.shape))
    return compress(head, [shuffle(rows, "<u4"), shuffle(norms.T, "<f4")])
