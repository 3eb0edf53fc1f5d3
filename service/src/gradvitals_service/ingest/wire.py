"""Decode the binary chunk of docs/wire.md, with every bound; refuse the rest naming the field and the reason.

Pure: bytes in, a Chunk out. What needs the database (does the layout exist, has it as many layers) is checked by the
writer. Unknown keys are ignored, so that a newer client of the same version stays welcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from gradvitals_service.bodies import field_and_reason
from gradvitals_service.errors import MalformedError, UnsupportedError
from gradvitals_service.ingest.exactly_once import LostRange
from gradvitals_service.ingest.schemas import MOST_FRAMES, MOST_SCALARS
from gradvitals_service.runs.schemas import INT64_MAX, MOST_LAYERS, Count, MonitorName, Name, ShortText
from gradvitals_service.series.codec import COLUMN_TYPES, Array, ChunkColumns, bits

CONTENT_TYPE = "application/vnd.gradvitals.chunk+msgpack"
WIRE_VERSIONS = [1]
# A coefficient that a client computed in float32 may miss 1 by its rounding.
_MOST_COEFFICIENT = np.float32(1 + 1e-6)

Positive = Annotated[int, msgspec.Meta(ge=1, le=INT64_MAX)]
Row = Annotated[int, msgspec.Meta(ge=0, lt=MOST_FRAMES)]
LayoutId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*\Z")]


class _ParamNorms(msgspec.Struct):
    rows: bytes
    values: bytes


class _Scalar(msgspec.Struct):
    present: bytes
    values: bytes


class _Detail(msgspec.Struct):
    row: Row
    non_finite: Annotated[list[tuple[Count, Count, Count]], msgspec.Meta(max_length=MOST_LAYERS)] = []
    batch_id: ShortText | None = None


class _Lost(msgspec.Struct):
    first: Count
    n: Positive
    reason: Reason
    first_step: Count | None = None
    last_step: Count | None = None


class _Version(msgspec.Struct):
    v: int


class _Body(msgspec.Struct):
    attempt_id: UUID
    monitor: MonitorName
    layout_id: LayoutId
    first: Count
    n: Annotated[int, msgspec.Meta(ge=0, le=MOST_FRAMES)]
    step: bytes
    time: bytes
    global_norm: bytes
    clip_coefficient: bytes
    max_norm: bytes
    lr: bytes
    loss: bytes
    loss_scale: bytes
    flags: bytes
    layer_norms: bytes
    param_norms: _ParamNorms | None = None
    scalars: Annotated[dict[Name, _Scalar], msgspec.Meta(max_length=MOST_SCALARS)] | None = None
    details: Annotated[list[_Detail], msgspec.Meta(max_length=MOST_FRAMES)] | None = None
    lost: Annotated[list[_Lost], msgspec.Meta(max_length=MOST_FRAMES)] | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One decoded chunk; ``first`` is None where frames are to be appended wherever the stream is."""

    attempt_id: UUID
    monitor: str
    layout_id: str
    first: int | None
    frames: ChunkColumns
    lost: tuple[LostRange, ...] = ()

    @property
    def layer_count(self) -> int:
        """How many layers each frame measures."""
        return int(self.frames.layer_norms.shape[1])


def decode_chunk(body: bytes) -> Chunk:
    """Decode and check one chunk."""
    version = _decode(body, _Version).v
    if version not in WIRE_VERSIONS:
        raise UnsupportedError(f"v: version {version} is not spoken here", wire_versions=WIRE_VERSIONS)
    content = _decode(body, _Body)
    lost = tuple(
        LostRange(piece.first, piece.n, piece.reason, piece.first_step, piece.last_step) for piece in content.lost or ()
    )
    _check_pieces(lost, content.first, content.n)
    columns = {name: _column(name, getattr(content, name), kind, content.n) for name, kind in COLUMN_TYPES.items()}
    check_columns(columns)
    layer_norms = _layer_norms(content)
    rows, param_norms = _param_norms(content, layer_norms.shape[1])
    frames = ChunkColumns(
        columns=columns,
        layer_norms=layer_norms,
        param_rows=rows,
        param_norms=param_norms,
        scalars={name: _scalar(name, scalar, content.n) for name, scalar in (content.scalars or {}).items()},
        details=_details(content, layer_norms.shape[1]),
    )
    return Chunk(content.attempt_id, content.monitor, content.layout_id, content.first, frames, lost)


def check_columns(columns: dict[str, Array]) -> None:
    """Refuse values that no measurement can have; NaN and Inf are welcome where they can occur."""
    step = columns["step"]
    _refuse_if("step", "a step is below 0", step < 0)
    if np.any(step[1:] <= step[:-1]):
        raise MalformedError("step: steps must increase strictly")
    _refuse_if("time", "a time is not finite", ~np.isfinite(columns["time"]))
    _refuse_if("global_norm", "a norm is below 0", columns["global_norm"] < 0)
    coefficient = columns["clip_coefficient"]
    _refuse_if("clip_coefficient", "outside of [0, 1]", (coefficient < 0) | (coefficient > _MOST_COEFFICIENT))
    _refuse_if("max_norm", "below 0 or NaN", ~(columns["max_norm"] >= 0))


def _decode(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedError(field_and_reason(error)) from error
    except RecursionError:
        raise MalformedError("the body is nested too deeply") from None


def _check_pieces(lost: Sequence[LostRange], first: int, n: int) -> None:
    """Lost ranges ascend and touch; the frames follow at once."""
    if not n and not lost:
        raise MalformedError("n: a chunk without frames must tell of lost ones")
    pieces = [(piece.first, piece.n) for piece in lost] + ([(first, n)] if n else [])
    for (one, length), (following, _) in pairwise(pieces):
        if one + length != following:
            raise MalformedError(f"lost: the range from {one} does not end where the next piece begins, at {following}")


def _refuse_if(field: str, reason: str, bad: NDArray[np.bool_]) -> None:
    if bad.any():
        raise MalformedError(f"{field}: {reason}, in row {int(np.argmax(bad))}")


def _column(field: str, data: bytes, kind: str, n: int) -> Array:
    expected = np.dtype(kind).itemsize * n
    if len(data) != expected:
        raise MalformedError(f"{field}: {len(data)} bytes where {n} frames need {expected}")
    return np.frombuffer(data, kind)


def _matrix(field: str, data: bytes, rows: int, columns: int) -> NDArray[np.float32]:
    values = _column(field, data, "<f4", rows * columns).reshape(rows, columns)
    if (values < 0).any():
        raise MalformedError(f"{field}: a norm is below 0")
    return values


def _layer_norms(content: _Body) -> NDArray[np.float32]:
    """L follows from the length; the writer compares it with the layout."""
    if not content.n:
        return _matrix("layer_norms", content.layer_norms, 0, 0)
    layer_count, remainder = divmod(len(content.layer_norms), 4 * content.n)
    if remainder or layer_count > MOST_LAYERS:
        raise MalformedError(
            f"layer_norms: {len(content.layer_norms)} bytes are not {content.n} frames of at most {MOST_LAYERS} layers"
        )
    return _matrix("layer_norms", content.layer_norms, content.n, layer_count)


def _param_norms(content: _Body, layer_count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    if content.param_norms is None:
        return np.empty(0, np.uint32), np.empty((0, layer_count), np.float32)
    count, remainder = divmod(len(content.param_norms.rows), 4)
    if remainder:
        raise MalformedError("param_norms.rows: ends in the middle of a row number")
    rows = np.frombuffer(content.param_norms.rows, "<u4")
    _refuse_if("param_norms.rows", f"not one of the {content.n} frames", rows >= content.n)
    if np.any(rows[1:] <= rows[:-1]):
        raise MalformedError("param_norms.rows: rows must increase strictly")
    return rows, _matrix("param_norms.values", content.param_norms.values, count, layer_count)


def _scalar(name: str, scalar: _Scalar, n: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Spread the values that are there over all frames, NaN elsewhere."""
    field = f"scalars.{name[:64]}"
    if len(scalar.present) != (n + 7) // 8:
        raise MalformedError(f"{field}.present: {len(scalar.present)} bytes where {n} bits need {(n + 7) // 8}")
    present = bits(scalar.present, n)
    values = np.full(n, np.nan)
    values[present] = _column(f"{field}.values", scalar.values, "<f8", int(present.sum()))
    return present, values


def _details(content: _Body, layer_count: int) -> list[dict[str, Any]]:
    details = []
    for detail in content.details or ():
        if detail.row >= content.n:
            raise MalformedError(f"details.row: {detail.row} is not one of the {content.n} frames")
        if any(layer >= layer_count for layer, _, _ in detail.non_finite):
            raise MalformedError(f"details.non_finite: a layer is not one of the {layer_count}")
        details.append(
            {
                "row": detail.row,
                "non_finite": [list(counts) for counts in detail.non_finite],
                "batch_id": detail.batch_id,
            }
        )
    return details
