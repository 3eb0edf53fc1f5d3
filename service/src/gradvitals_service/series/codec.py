"""Turn the columns of a chunk into two blobs and back.

One blob holds the scalar columns, the other the layers, since a chart of one series must not read the layers. Both are
column-major, byte-shuffled and zstd compressed: neighbouring values of one series share their high bytes, which then
lie side by side. Lossless; zstd's content checksum catches what a disk got wrong. Pure: no database, no wire.
"""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

Array = NDArray[Any]
Head = TypeVar("Head")

COLUMN_TYPES: dict[str, str] = {
    "step": "<i8",
    "time": "<f8",
    "global_norm": "<f4",
    "clip_coefficient": "<f4",
    "max_norm": "<f4",
    "lr": "<f4",
    "loss": "<f4",
    "loss_scale": "<f4",
    "flags": "<u4",
}

_LEVEL = 3
_FEW_VALUES = 512  # so many are shuffled in one copy; of more, each place apart takes less
_VERSION = 1
# What one blob may claim to hold: 4,096 frames of at most 8 MiB of layers, with room to spare.
_MOST_BYTES = 64 * 2**20
_FEW_BYTES = 2048  # up to here numpy copies a transposed column faster than a byte's place after the other


class CorruptChunkError(ValueError):
    """A stored blob cannot be read back as it was written."""


class Columns(dict[str, Array]):
    """The columns by name; a scalar is NaN where it is absent, and ``present`` tells that from a logged NaN.

    A scalar whose name is that of a column stands under ``scalar:<name>``.
    """

    def __init__(self, columns: dict[str, Array], scalars: dict[str, Array], details: list[Any]) -> None:
        super().__init__(columns | {scalar_key(name): values for name, values in scalars.items()})
        self.scalars = tuple(scalars)
        self.present: dict[str, NDArray[np.bool_]] = {}
        self.details = details


@dataclass(slots=True)
class ChunkColumns:
    """The frames of one chunk, as decoded from the wire and before they are stored."""

    columns: dict[str, Array]  # every name of COLUMN_TYPES
    layer_norms: NDArray[np.float32]  # [n, L]
    param_rows: NDArray[np.uint32]  # [m], which frames carry the norms of the weights
    param_norms: NDArray[np.float32]  # [m, L]
    scalars: dict[str, tuple[NDArray[np.bool_], NDArray[np.float64]]] = field(default_factory=dict)  # present, values
    details: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        """How many frames."""
        return len(self.columns["step"])

    def after(self, skip: int) -> "ChunkColumns":
        """The frames from ``skip`` on; what was here already is left out."""
        kept = self.param_rows >= skip
        return ChunkColumns(
            columns={name: values[skip:] for name, values in self.columns.items()},
            layer_norms=self.layer_norms[skip:],
            param_rows=self.param_rows[kept] - np.uint32(skip),
            param_norms=self.param_norms[kept],
            scalars={name: (present[skip:], values[skip:]) for name, (present, values) in self.scalars.items()},
            details=[detail | {"row": detail["row"] - skip} for detail in self.details if detail["row"] >= skip],
        )

    def before(self, end: int) -> "ChunkColumns":
        """The first ``end`` frames."""
        if end >= len(self):
            return self
        kept = self.param_rows < end
        return ChunkColumns(
            columns={name: values[:end] for name, values in self.columns.items()},
            layer_norms=self.layer_norms[:end],
            param_rows=self.param_rows[kept],
            param_norms=self.param_norms[kept],
            scalars={name: (present[:end], values[:end]) for name, (present, values) in self.scalars.items()},
            details=[detail for detail in self.details if detail["row"] < end],
        )


class _Header(msgspec.Struct, array_like=True):
    """What stands before the shuffled bytes."""

    version: int
    n: int
    scalars: list[str]
    presence: list[bytes]  # a bitmap a scalar, least significant bit first
    details: list[Any]


def scalar_key(name: str) -> str:
    """Under which name a scalar stands among the columns."""
    return f"scalar:{name}" if name in COLUMN_TYPES else name


def encode_columns(chunk: ChunkColumns) -> tuple[bytes, bytes]:
    """Write the scalar columns and the layers."""
    return _encode_scalars(chunk), _encode_layers(chunk)


def decode_columns(blob: bytes, wanted: Collection[str] | None = None) -> Columns:
    """Read the scalar columns back: those ``wanted`` and ``step``, or all of them."""
    header, body = _unpack(blob)
    position = 0
    columns: dict[str, Array] = {}
    scalars: dict[str, Array] = {}
    types = [(name, name, kind, columns) for name, kind in COLUMN_TYPES.items()]
    types += [(name, scalar_key(name), "<f8", scalars) for name in header.scalars]
    for name, key, kind, read_into in types:
        size = np.dtype(kind).itemsize * header.n
        if wanted is None or key == "step" or key in wanted:
            read_into[name] = unshuffle(body[position : position + size], kind)
        position += size
    if position != len(body):
        raise CorruptChunkError("the columns are not as long as their header says")
    read = Columns(columns, scalars, header.details)
    for name, bitmap in zip(header.scalars, header.presence, strict=True):
        if name in scalars:
            read.present[scalar_key(name)] = bits(bitmap, header.n)
    return read


def scalar_keys(blob: bytes) -> list[str]:
    """Under which names the scalars of a blob stand among its columns."""
    header, _ = _unpack(blob)
    return [scalar_key(name) for name in header.scalars]


def join_columns(parts: Sequence[Columns]) -> Columns:
    """Put columns one after the other; a scalar that a part does not have is absent there. Details are left out."""
    if len(parts) == 1:
        return parts[0]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name in COLUMN_TYPES}
    scalars, presence = {}, {}
    for name in dict.fromkeys(name for part in parts for name in part.scalars):
        key = scalar_key(name)
        pieces = [(part.present[key], part[key]) if key in part else _absent(len(part["step"])) for part in parts]
        presence[key] = np.concatenate([present for present, _ in pieces])
        scalars[name] = np.concatenate([values for _, values in pieces])
    joined = Columns(columns, scalars, [])
    joined.present = presence
    return joined


def decode_layers(
    blob: bytes, n: int, layer_count: int
) -> tuple[NDArray[np.float32], NDArray[np.uint32], NDArray[np.float32]]:
    """Read back the layer norms [n, L], the rows that carry weight norms [m] and these norms [m, L]."""
    body, m = _unpack_layers(blob, n, layer_count)
    norms_end = 4 * n * layer_count
    rows_end = norms_end + 4 * m
    norms = unshuffle(body[:norms_end], "<f4").reshape(layer_count, n).T
    rows = unshuffle(body[norms_end:rows_end], "<u4")
    param_norms = unshuffle(body[rows_end:], "<f4").reshape(layer_count, m).T
    return norms, rows, param_norms


def decode_some_layers(blob: bytes, n: int, layer_count: int, places: Sequence[int]) -> list[NDArray[np.float32]]:
    """Read back the norms [n] of the layers at some places, without putting those of all others together."""
    body, _ = _unpack_layers(blob, n, layer_count)
    by_place = np.frombuffer(body, np.uint8, 4 * n * layer_count).reshape(4, layer_count, n)
    return [unshuffle(by_place[:, place].tobytes(), "<f4") for place in places]


def _unpack_layers(blob: bytes, n: int, layer_count: int) -> tuple[memoryview, int]:
    """The shuffled norms and how many frames carry those of the weights."""
    header, body = _unpack(blob)
    m, remainder = divmod(len(body) - 4 * n * layer_count, 4 * layer_count + 4)
    if header.n != n or remainder or m < 0:
        raise CorruptChunkError(f"the layers are not those of {n} frames and {layer_count} layers")
    return body, m


def decode_chunk_columns(columns_blob: bytes, layers_blob: bytes, layer_count: int) -> ChunkColumns:
    """Read a whole chunk back as it was before it was stored."""
    read = decode_columns(columns_blob)
    columns = {name: read[name] for name in COLUMN_TYPES}
    layer_norms, rows, param_norms = decode_layers(layers_blob, len(read["step"]), layer_count)
    scalars = {name: (read.present[scalar_key(name)], read[scalar_key(name)]) for name in read.scalars}
    return ChunkColumns(columns, layer_norms, rows, param_norms, scalars, read.details)


def join_chunks(parts: Sequence[ChunkColumns]) -> ChunkColumns:
    """Put chunks of one layout one after the other; a scalar that a chunk does not have is absent there."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    return ChunkColumns(
        columns={name: np.concatenate([part.columns[name] for part in parts]) for name in COLUMN_TYPES},
        layer_norms=np.concatenate([part.layer_norms.T for part in parts], axis=1).T,  # layers stay contiguous
        param_rows=np.concatenate(
            [part.param_rows + np.uint32(start) for part, start in zip(parts, starts, strict=False)]
        ),
        param_norms=np.concatenate([part.param_norms for part in parts]),
        scalars={name: _join_scalar(name, parts) for part in parts for name in part.scalars},
        details=[
            detail | {"row": detail["row"] + int(start)}
            for part, start in zip(parts, starts, strict=False)
            for detail in part.details
        ],
    )


def _absent(n: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    return np.zeros(n, np.bool_), np.full(n, np.nan)


def _join_scalar(name: str, parts: Sequence[ChunkColumns]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    pieces = [part.scalars.get(name) or _absent(len(part)) for part in parts]
    return np.concatenate([present for present, _ in pieces]), np.concatenate([values for _, values in pieces])


def bits(bitmap: bytes, n: int) -> NDArray[np.bool_]:
    """The first ``n`` bits of a bitmap, least significant bit first."""
    return np.unpackbits(np.frombuffer(bitmap, np.uint8), count=n, bitorder="little").astype(np.bool_)


def _encode_scalars(chunk: ChunkColumns) -> bytes:
    parts = [shuffle(chunk.columns[name], kind) for name, kind in COLUMN_TYPES.items()]
    presence = []
    for present, values in chunk.scalars.values():
        presence.append(np.packbits(present, bitorder="little").tobytes())
        parts.append(shuffle(values, "<f8"))
    header = _Header(_VERSION, len(chunk), list(chunk.scalars), presence, chunk.details)
    return _pack(header, parts)


def _encode_layers(chunk: ChunkColumns) -> bytes:
    parts = [
        shuffle(chunk.layer_norms.T, "<f4"),
        shuffle(chunk.param_rows, "<u4"),
        shuffle(chunk.param_norms.T, "<f4"),
    ]
    return _pack(_Header(_VERSION, len(chunk), [], [], []), parts)


def _pack(header: _Header, parts: list[bytes]) -> bytes:
    return compress(msgspec.msgpack.encode(header), parts)


def _unpack(blob: bytes) -> tuple[_Header, memoryview]:
    header, body = decompress(blob, _Header)
    if header.version != _VERSION:
        raise CorruptChunkError(f"a stored chunk has version {header.version}, which this service does not know")
    return header, body


class _Zstd(threading.local):
    """A compressor and a decompressor for each thread: making one costs as much as a small column."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self.decompressor = zstandard.ZstdDecompressor()


_zstd = _Zstd()


def compress(head: bytes, parts: Sequence[bytes]) -> bytes:
    """One blob with a checksum of its own: what stands before the values, and the shuffled values."""
    return _zstd.compressor.compress(b"".join([len(head).to_bytes(4, "little"), head, *parts]))


def decompress(blob: bytes, kind: type[Head]) -> tuple[Head, memoryview]:
    """Read what ``compress`` wrote; a blob that has changed since is refused."""
    try:
        content = _zstd.decompressor.decompress(blob, max_output_size=_MOST_BYTES)
        end = 4 + int.from_bytes(content[:4], "little")
        return msgspec.msgpack.decode(content[4:end], type=kind), memoryview(content)[end:]
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise CorruptChunkError(f"a stored blob cannot be read: {error}") from error


def shuffle(values: Array, kind: str) -> bytes:
    """Lay the first bytes of all values side by side, then the second ones, and so on."""
    plain = np.ascontiguousarray(values, dtype=kind).reshape(-1)
    size = plain.itemsize
    by_value = plain.view(np.uint8).reshape(-1, size)
    if len(by_value) <= _FEW_VALUES:
        return by_value.T.tobytes()
    by_place = np.empty((size, len(by_value)), np.uint8)
    for place in range(size):  # a third of the time that numpy takes to copy the transposed array
        by_place[place] = by_value[:, place]
    return by_place.tobytes()


def unshuffle(data: bytes | memoryview, kind: str) -> Array:
    """Put the bytes of each value together again."""
    size = np.dtype(kind).itemsize
    if len(data) % size:
        raise CorruptChunkError("a column ends in the middle of a value")
    by_place = np.frombuffer(data, np.uint8).reshape(size, -1)
    if len(data) <= _FEW_BYTES:
        return by_place.T.copy().reshape(-1).view(kind)
    by_value = np.empty((by_place.shape[1], size), np.uint8)
    for place in range(size):
        by_value[:, place] = by_place[place]
    return by_value.reshape(-1).view(kind)


def unshuffle_each(data: bytes | memoryview, kind: str, columns: int) -> Sequence[Array]:
    """The same for some columns of one kind and length, which lie one behind the other, each shuffled by itself."""
    size = np.dtype(kind).itemsize
    if len(data) % (size * columns):
        raise CorruptChunkError("a column ends in the middle of a value")
    each = len(data) // columns
    if each > _FEW_BYTES:
        return [unshuffle(data[start : start + each], kind) for start in range(0, len(data), each)]
    by_place = np.frombuffer(data, np.uint8).reshape(columns, size, -1)
    return list(by_place.transpose(0, 2, 1).copy().view(kind)[..., 0])
