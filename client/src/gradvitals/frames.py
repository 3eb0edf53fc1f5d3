"""What is measured at a step, and how a chunk of it is spelled on the wire.

This is the only place where the client spells the binary format of ``docs/wire.md``; ``tests/wire/chunk_v1.msgpack``
guards it. Nothing here knows of torch, threads or HTTP, and nothing holds the interpreter longer than copying one chunk
takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

WIRE_VERSION = 1
PARAM_NORMS_EVERY = 64  # a frame whose index in its stream is a multiple of this carries the norms of the weights

FLAG_NON_FINITE = 1  # the global norm is NaN or infinite
FLAG_LOSS = 2  # a loss was logged; without it a NaN in the column means "absent"
FLAG_SKIPPED_STEP = 4  # the optimizer did not step
FLAG_ALREADY_CLIPPED = 8  # someone clipped the gradients before us
FLAG_SEAM = 16  # the first frame after a resume

FLOAT32_MAX = float(np.finfo(np.float32).max)
FRAME_OVERHEAD_BYTES = 512  # the Python objects of a frame, roughly; what counts is that it is not zero

Float32Vector = npt.NDArray[np.float32]


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
        return {"layers": [asdict(layer) for layer in self.layers]}


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

    @property
    def nbytes(self) -> int:
        """About how much memory this frame holds; the bound on what is kept for sending is in these bytes."""
        weights = 0 if self.param_norms is None else self.param_norms.nbytes
        return FRAME_OVERHEAD_BYTES + self.layer_norms.nbytes + weights + 64 * len(self.scalars)


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
    def end(self) -> int:
        """The index in the stream of the first frame after this chunk."""
        return self.first + len(self.frames)


def encode_chunk(chunk: Chunk) -> bytes:
    """Spell a chunk as the body of ``POST /runs/{run_id}/chunks``."""
    frames = chunk.frames
    body: dict[str, Any] = {
        "v": WIRE_VERSION,
        "attempt_id": chunk.attempt_id,
        "monitor": chunk.monitor,
        "layout_id": chunk.layout.layout_id,
        "first": chunk.first,
        "n": len(frames),
        "step": _column([frame.step for frame in frames], "<i8"),
        "time": _column([frame.time for frame in frames], "<f8"),
        "global_norm": _float32_column([frame.global_norm for frame in frames]),
        "clip_coefficient": _float32_column([frame.clip_coefficient for frame in frames]),
        "max_norm": _float32_column([frame.max_norm for frame in frames]),
        "lr": _float32_column([frame.lr for frame in frames]),
        "loss": _float32_column([np.nan if frame.loss is None else frame.loss for frame in frames]),
        "loss_scale": _float32_column([frame.loss_scale for frame in frames]),
        "flags": _column([_flags(frame) for frame in frames], "<u4"),
        "layer_norms": _matrix([frame.layer_norms for frame in frames]),
    }
    body |= _optional_columns(frames)
    if chunk.lost:
        body["lost"] = [
            {
                "first": lost.first,
                "n": lost.n,
                "reason": lost.reason,
                "first_step": lost.first_step,
                "last_step": lost.last_step,
            }
            for lost in chunk.lost
        ]
    return msgspec.msgpack.encode(body)


def _optional_columns(frames: Sequence[Frame]) -> dict[str, Any]:
    """The keys that are absent where no frame has anything to say."""
    columns: dict[str, Any] = {}
    with_weights = [(row, frame.param_norms) for row, frame in enumerate(frames) if frame.param_norms is not None]
    if with_weights:
        columns["param_norms"] = {
            "rows": _column([row for row, _ in with_weights], "<u4"),
            "values": _matrix([norms for _, norms in with_weights]),
        }
    names = sorted({name for frame in frames for name in frame.scalars})
    if names:
        columns["scalars"] = {name: _scalar(name, frames) for name in names}
    details = [
        {"row": row, "non_finite": frame.non_finite or [], "batch_id": frame.batch_id}
        for row, frame in enumerate(frames)
        if frame.non_finite or frame.batch_id is not None
    ]
    if details:
        columns["details"] = details
    return columns


def _flags(frame: Frame) -> int:
    return frame.flags if frame.loss is None else frame.flags | FLAG_LOSS


def _scalar(name: str, frames: Sequence[Frame]) -> dict[str, bytes]:
    """A named scalar: a bitmap of the rows that have it, least significant bit first, and their values."""
    present = np.fromiter((name in frame.scalars for frame in frames), dtype=np.bool_, count=len(frames))
    values = [frame.scalars[name] for frame in frames if name in frame.scalars]
    return {"present": np.packbits(present, bitorder="little").tobytes(), "values": _column(values, "<f8")}


def _column(values: Sequence[float], dtype: str) -> bytes:
    return np.asarray(values, dtype=dtype).tobytes()


def _float32_column(values: Sequence[float]) -> bytes:
    return clamp_to_float32(np.asarray(values, dtype=np.float64)).tobytes()


def _matrix(rows: Sequence[Float32Vector]) -> bytes:
    """Rows of layer norms, one after the other. An empty chunk has an empty matrix."""
    return clamp_to_float32(np.stack(rows)).tobytes() if rows else b""


def clamp_to_float32(values: npt.NDArray[Any]) -> Float32Vector:
    """Narrow to little-endian float32, so that a finite number stays finite: at most the maximum."""
    if values.dtype == np.dtype("<f4"):
        return values
    with np.errstate(over="ignore"):
        narrow = values.astype("<f4")
    overflowed = np.isinf(narrow) & np.isfinite(values)
    narrow[overflowed] = np.copysign(np.float32(FLOAT32_MAX), values[overflowed])
    return narrow
