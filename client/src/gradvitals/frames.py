"""What is measured at a step, and how a chunk of it is spelled on the wire.

This is the only place where the client spells the binary format of ``docs/wire.md``; ``tests/wire/chunk_v1.msgpack``
guards it. Nothing here knows of torch, threads or HTTP, and nothing holds the interpreter longer than copying one chunk
takes.
"""

from __future__ import annotations

import hashlib
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from gradvitals.giving_way import give_way

WIRE_VERSION = 1
WIRE_VERSIONS = (1,)  # those that can be spoken, the newest first
PARAM_NORMS_EVERY = 64  # a frame whose index in its stream is a multiple of this carries the norms of the weights

FLAG_NON_FINITE = 1  # the global norm is NaN or infinite
FLAG_LOSS = 2  # a loss was logged; without it a NaN in the column means "absent"
FLAG_SKIPPED_STEP = 4  # the optimizer did not step
FLAG_ALREADY_CLIPPED = 8  # someone clipped the gradients before us
FLAG_SEAM = 16  # the first frame after a resume

ROWS_AT_ONCE = 16  # that are copied before others may go on
A_LARGE_PIECE = 16_384  # bytes
LITTLE_ENDIAN = sys.byteorder == "little"
FLOAT32_MAX = float(np.finfo(np.float32).max)
FRAME_OVERHEAD_BYTES = 512  # the Python objects of a frame, roughly; what counts is that it is not zero

_COLUMNS = {  # one value a frame, in the wire's order
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
_TYPE_CODES = {"<i8": "q", "<f8": "d", "<f4": "f", "<u4": "I"}

# An array("f") is made in the training thread, where the first touch of numpy in a step would cost as much as a clip.
Float32Vector: TypeAlias = "npt.NDArray[np.float32] | array[float]"


@dataclass(frozen=True, slots=True)
class Layer:
    """One watched parameter tensor."""

    name: str  # as ``named_parameters()`` names it
    module: str  # what a person calls it: the owner of the parameter
    shape: tuple[int, ...]
    numel: int
    dtype: str  # "float32"
    parameter_group: int
    trainable: bool


@dataclass(frozen=True)
class Layout:
    """A monitor's ordered layers; columns of layer norms follow this order."""

    layers: tuple[Layer, ...]

    @cached_property
    def layout_id(self) -> str:
        """32 hex digits that two layouts share exactly when their layers are the same."""
        canonical = [
            [layer.name, layer.module, layer.shape, layer.numel, layer.dtype, layer.parameter_group, layer.trainable]
            for layer in self.layers
        ]
        return hashlib.blake2b(msgspec.msgpack.encode(canonical), digest_size=16).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The body that declares this layout."""
        return {"layers": self.layers}


@dataclass(slots=True)
class Frame:
    """What was measured at one step. Norms are those before clipping."""

    step: int
    time: float  # seconds since the epoch, UTC
    global_norm: float
    clip_coefficient: float  # norm after / norm before, in [0, 1]; NaN on a non-finite step
    max_norm: float  # infinity where norm clipping is off
    lr: float  # of parameter group 0; NaN where it has none
    layout: Layout
    layer_norms: Float32Vector  # [L]; 0.0 where a layer got no gradient
    param_norms: Float32Vector | None = None  # [L]; see PARAM_NORMS_EVERY
    loss: float | None = None
    loss_scale: float = 1.0
    flags: int = 0
    scalars: dict[str, float] = field(default_factory=dict)
    non_finite: list[tuple[int, int, int]] | None = None  # (layer, count of NaN, count of Inf)
    batch_id: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """What was measured, for a training loop to look at: ``layer_norms`` by the layer's name."""
        names = (layer.name for layer in self.layout.layers)
        return {
            "step": self.step,
            "time": self.time,
            "global_norm": self.global_norm,
            "clip_coefficient": self.clip_coefficient,
            "max_norm": self.max_norm,
            "lr": self.lr,
            "loss_scale": self.loss_scale,
            "flags": self.flags,
            "layer_norms": dict(zip(names, map(float, self.layer_norms), strict=True)),
        }

    @property
    def nbytes(self) -> int:
        """About how much memory this frame holds; the bound on what is kept for sending is in these bytes."""
        weights = 0 if self.param_norms is None else len(self.param_norms)
        named = 0 if self.batch_id is None else 4 * len(self.batch_id)
        return FRAME_OVERHEAD_BYTES + 4 * (len(self.layer_norms) + weights) + 64 * len(self.scalars) + named


@dataclass(frozen=True, slots=True)
class LostRange:
    """Frames that can no longer be delivered; the service stores them as a gap."""

    first: int
    n: int
    reason: str  # queue_full, refused, rewound or quota
    first_step: int | None = None
    last_step: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive frames of one stream and one layout, after the ranges that were lost before them."""

    attempt_id: str
    monitor: str
    layout: Layout
    first: int
    frames: Sequence[Frame]
    lost: Sequence[LostRange] = ()

    @property
    def n(self) -> int:
        """How many frames there are."""
        return len(self.frames)

    @property
    def end(self) -> int:
        """The index in the stream of the first frame after this chunk."""
        return self.first + len(self.frames)

    def encode(self) -> bytes | bytearray:
        """The body that carries this chunk."""
        return encode_chunk(self)


class ChunkHead(msgspec.Struct, frozen=True):
    """What of an encoded chunk says where it belongs. To read it costs no look at the columns."""

    monitor: str
    layout_id: str
    first: int
    n: int
    lost: list[LostRange] = []

    @property
    def begin(self) -> int:
        """The index of the first frame that it speaks of, a lost one included."""
        return self.lost[0].first if self.lost else self.first

    @property
    def end(self) -> int:
        """The index in the stream of the first frame after this chunk."""
        return self.first + self.n


def encode_chunk(chunk: Chunk) -> bytes | bytearray:
    """Spell a chunk as the body of ``POST /runs/{run_id}/chunks``.

    Others may go on after each piece of work, none of which takes longer than some rows of 1,000 layers.
    """
    frames = chunk.frames
    body: dict[str, Any] = {
        "v": WIRE_VERSION,
        "attempt_id": chunk.attempt_id,
        "monitor": chunk.monitor,
        "layout_id": chunk.layout.layout_id,
        "first": chunk.first,
        "n": len(frames),
    }
    for name, dtype in _COLUMNS.items():
        body[name] = _column(_values(frames, name), dtype)
        give_way()
    body["layer_norms"] = _matrix([frame.layer_norms for frame in frames])
    body |= _optional_columns(frames)
    if chunk.lost:
        body["lost"] = [asdict(lost) for lost in chunk.lost]
    return _spell(body)


def _spell(body: Mapping[str, Any]) -> bytearray:
    """A map as msgspec would spell it, without its way of copying a megabyte in one go."""
    encode = msgspec.msgpack.encode
    pieces: list[bytes] = [_length(len(body), {15: 0x80, 0xFFFF: 0xDE})]
    for name, value in body.items():
        pieces.append(encode(name))
        if isinstance(value, list) and name == "layer_norms":
            pieces.append(_length(sum(map(len, value)), _BINARY))
            pieces += value
        else:
            pieces.append(encode(value))
    spelt, end = bytearray(sum(map(len, pieces))), 0
    for piece in pieces:
        spelt[end : end + len(piece)] = piece
        end += len(piece)
        if len(piece) > A_LARGE_PIECE:
            give_way()
    return spelt


_BINARY = {0xFF: 0xC4, 0xFFFF: 0xC5, 0xFFFFFFFF: 0xC6}  # msgpack's marks of bytes, by the largest length


def _length(length: int, marks: Mapping[int, int]) -> bytes:
    """A length, behind the mark of the first kind that it fits into."""
    most, mark = next((most, mark) for most, mark in marks.items() if length <= most)
    if most == 15:
        return bytes([mark | length])
    return bytes([mark]) + length.to_bytes(most.bit_length() // 8, "big")


def read_head(body: bytes | bytearray) -> ChunkHead:
    """Say where an encoded chunk belongs; raises msgspec's errors for what is none."""
    return _head_decoder.decode(body)


_head_decoder = msgspec.msgpack.Decoder(ChunkHead)


def recut(bodies: Sequence[bytes | bytearray], first: int, end: int, lost: Sequence[LostRange]) -> bytes:
    """Encoded chunks of one stream and layout that follow each other as one: ``lost``, then the frames [first, end)."""
    parts = [_rows(msgspec.msgpack.decode(body), first, end) for body in bodies]
    joined: dict[str, Any] = {**parts[0], "n": sum(part["n"] for part in parts), "first": max(parts[0]["first"], first)}
    for name in (*_COLUMNS, "layer_norms"):
        joined[name] = b"".join([part[name] for part in parts])
    before = [sum(part["n"] for part in parts[:count]) for count in range(len(parts))]
    rows, values = [], []
    for part, offset in zip(parts, before, strict=True):
        if "param_norms" in part:
            rows.append(np.frombuffer(part["param_norms"]["rows"], "<u4") + np.uint32(offset))
            values.append(part["param_norms"]["values"])
    joined["param_norms"] = {"rows": b"".join([r.astype("<u4").tobytes() for r in rows]), "values": b"".join(values)}
    joined["scalars"] = {
        name: _joined_scalar(name, parts) for name in sorted({name for part in parts for name in part["scalars"]})
    }
    joined["details"] = [
        {**detail, "row": detail["row"] + offset}
        for part, offset in zip(parts, before, strict=True)
        for detail in part["details"]
    ]
    joined["lost"] = [asdict(gap) for gap in lost]
    optional = ("param_norms", "scalars", "details", "lost")
    absent = {name for name in optional if not (joined[name]["rows"] if name == "param_norms" else joined[name])}
    return msgspec.msgpack.encode({name: value for name, value in joined.items() if name not in absent})


def without_layers(body: bytes | bytearray) -> bytes:
    """An encoded chunk that keeps what there is once a frame, and nothing of the layers: of ``NO_LAYERS``."""
    columns = msgspec.msgpack.decode(body)
    columns |= {"layout_id": NO_LAYERS.layout_id, "layer_norms": b""}
    columns.pop("param_norms", None)
    details = [{**detail, "non_finite": []} for detail in columns.pop("details", ()) if detail["batch_id"] is not None]
    return msgspec.msgpack.encode(columns | ({"details": details} if details else {}))


NO_LAYERS = Layout(())


def _rows(columns: dict[str, Any], first: int, end: int) -> dict[str, Any]:
    """The columns of the frames [first, end) of a chunk, those that are optional included."""
    n = columns["n"]
    start, stop = max(first - columns["first"], 0), max(min(end - columns["first"], n), 0)
    width = len(columns["layer_norms"]) // n if n else 0
    part = {**columns, "first": columns["first"] + start, "n": stop - start}
    for name, dtype in _COLUMNS.items():
        size = np.dtype(dtype).itemsize
        part[name] = columns[name][start * size : stop * size]
    part["layer_norms"] = columns["layer_norms"][start * width : stop * width]
    if "param_norms" in columns:
        rows = np.frombuffer(columns["param_norms"]["rows"], "<u4")
        low, high = np.searchsorted(rows, [start, stop])
        values = columns["param_norms"]["values"]
        part["param_norms"] = {
            "rows": (rows[low:high] - np.uint32(start)).tobytes(),
            "values": values[low * width : high * width],
        }
    part["scalars"] = {}
    for name, scalar in columns.get("scalars", {}).items():
        present = np.unpackbits(np.frombuffer(scalar["present"], np.uint8), count=n, bitorder="little")
        before, count = int(present[:start].sum()), int(present[start:stop].sum())
        if count:
            values = scalar["values"][8 * before : 8 * (before + count)]
            part["scalars"][name] = (present[start:stop], values)
    part["details"] = [
        {**detail, "row": detail["row"] - start}
        for detail in columns.get("details", ())
        if start <= detail["row"] < stop
    ]
    return part


def _joined_scalar(name: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    found = [part["scalars"].get(name, (np.zeros(part["n"], np.uint8), b"")) for part in parts]
    present = np.packbits(np.concatenate([bits for bits, _ in found]), bitorder="little")
    return {"present": present.tobytes(), "values": b"".join([values for _, values in found])}


def _optional_columns(frames: Sequence[Frame]) -> dict[str, Any]:
    """The keys that are absent where no frame has anything to say."""
    columns: dict[str, Any] = {}
    with_weights = [(row, frame.param_norms) for row, frame in enumerate(frames) if frame.param_norms is not None]
    if with_weights:
        columns["param_norms"] = {
            "rows": _column([row for row, _ in with_weights], "<u4"),
            "values": b"".join(_matrix([norms for _, norms in with_weights])),
        }
        give_way()
    names = sorted({name for frame in frames for name in frame.scalars})
    give_way()
    for name in names:
        columns.setdefault("scalars", {})[name] = _scalar(name, frames)
        give_way()
    details = [
        {"row": row, "non_finite": frame.non_finite or [], "batch_id": frame.batch_id}
        for row, frame in enumerate(frames)
        if frame.non_finite or frame.batch_id is not None
    ]
    if details:
        columns["details"] = details
    return columns


def _scalar(name: str, frames: Sequence[Frame]) -> dict[str, bytes]:
    """A named scalar: a bitmap of the rows that have it, least significant bit first, and their values."""
    present = np.fromiter((name in frame.scalars for frame in frames), dtype=np.bool_, count=len(frames))
    values = [frame.scalars[name] for frame in frames if name in frame.scalars]
    return {"present": np.packbits(present, bitorder="little").tobytes(), "values": _column(values, "<f8")}


def _values(frames: Sequence[Frame], column: str) -> list[float]:
    """One of the fixed columns. The flags say whether there is a loss, since NaN may be one."""
    if column == "loss":
        return [math.nan if frame.loss is None else frame.loss for frame in frames]
    if column == "flags":
        return [frame.flags & ~FLAG_LOSS if frame.loss is None else frame.flags | FLAG_LOSS for frame in frames]
    return list(map(attrgetter(column), frames))


def _column(values: Sequence[float], dtype: str) -> bytes:
    """Values as the wire has them. In single precision a finite one stays finite: at most the maximum."""
    packed = array(_TYPE_CODES[dtype], values)  # of a few values in a hundredth of the time that numpy takes
    if dtype == "<f4" and (math.inf in packed or -math.inf in packed):
        packed = array(
            "f", [max(-FLOAT32_MAX, min(value, FLOAT32_MAX)) if math.isfinite(value) else value for value in values]
        )
    if not LITTLE_ENDIAN:
        packed.byteswap()
    return packed.tobytes()


def _matrix(rows: Sequence[Float32Vector]) -> list[bytes]:
    """Rows of layer norms, one after the other, in slices. An empty chunk has an empty matrix."""
    slices = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        slices.append(b"".join(map(_row, rows[start : start + ROWS_AT_ONCE])))
        give_way()
    return slices


def _row(row: Float32Vector) -> memoryview:
    # What a monitor makes is an array; to bring it to numpy first would take longer than to copy it.
    return memoryview(row) if isinstance(row, array) and LITTLE_ENDIAN else np.asarray(row, "<f4").data


def wire_text(text: str) -> str:
    """Text as the wire takes it: what UTF-8 or a database cannot hold is replaced."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def float32_vector(values: Sequence[float], largest: float) -> Float32Vector:
    """The values in single precision, in which a finite one stays finite. None of them is above ``largest``."""
    if not largest <= FLOAT32_MAX:
        values = [FLOAT32_MAX if FLOAT32_MAX < value < math.inf else value for value in values]
    return array("f", values)


def decode_chunk(body: bytes | bytearray, layouts: Mapping[str, Layout]) -> Chunk:
    """Read a body that ``encode_chunk`` wrote. ``layouts`` must hold its layout; raises KeyError where it does not."""
    columns = msgspec.msgpack.decode(body)
    layout = layouts[columns["layout_id"]]
    rows = [dict(zip(_COLUMNS, values, strict=True)) for values in zip(*_read_columns(columns), strict=True)]
    layer_norms = np.frombuffer(columns["layer_norms"], "<f4").reshape(columns["n"], len(layout.layers))
    frames = [Frame(**row, layout=layout, layer_norms=norms) for row, norms in zip(rows, layer_norms, strict=True)]
    for frame in frames:
        frame.loss = frame.loss if frame.flags & FLAG_LOSS else None
    if "param_norms" in columns:
        weights = columns["param_norms"]
        values = np.frombuffer(weights["values"], "<f4").reshape(-1, len(layout.layers))
        for row, norms in zip(np.frombuffer(weights["rows"], "<u4"), values, strict=True):
            frames[row].param_norms = norms
    for name, scalar in columns.get("scalars", {}).items():
        present = np.unpackbits(np.frombuffer(scalar["present"], np.uint8), count=len(frames), bitorder="little")
        for row, value in zip(np.flatnonzero(present), np.frombuffer(scalar["values"], "<f8"), strict=True):
            frames[row].scalars[name] = float(value)
    for detail in columns.get("details", ()):
        frames[detail["row"]].non_finite = [tuple(counts) for counts in detail["non_finite"]] or None
        frames[detail["row"]].batch_id = detail["batch_id"]
    lost = tuple(LostRange(**lost) for lost in columns.get("lost", ()))
    return Chunk(columns["attempt_id"], columns["monitor"], layout, columns["first"], frames, lost)


def _read_columns(columns: Mapping[str, Any]) -> list[list[float]]:
    return [np.frombuffer(columns[name], dtype).tolist() for name, dtype in _COLUMNS.items()]
