"""Turn frames that came as JSON into the chunk that the binary wire would have brought. Pure but for the clock given.

The layout is the set of names in ``layer_norms``, sorted; every frame of one request has the same names.
"""

from uuid import UUID, uuid5

import numpy as np

from gradvitals_service.errors import MalformedError
from gradvitals_service.ingest.schemas import MOST_SCALARS, FrameIn, FramesIn, Number
from gradvitals_service.ingest.wire import Chunk, check_columns
from gradvitals_service.runs.layouts import layout_id
from gradvitals_service.runs.schemas import LayerDeclaration
from gradvitals_service.series import flags
from gradvitals_service.series.codec import COLUMN_TYPES, ChunkColumns

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def attempt_of(run_id: UUID) -> UUID:
    """The one attempt that all JSON frames of a run belong to."""
    return uuid5(run_id, "frames")


def to_chunk(run_id: UUID, frames_in: FramesIn, now: float) -> tuple[Chunk, list[LayerDeclaration]]:
    """The chunk and its layout; ``now`` is the time of frames that name none."""
    frames = frames_in.frames
    names = sorted(frames[0].layer_norms)
    for row, frame in enumerate(frames):
        if sorted(frame.layer_norms) != names:
            raise MalformedError(f"frames[{row}].layer_norms: every frame must have the same names")
    layers = [_layer(name) for name in names]
    lists = [_columns_of(frame, now) for frame in frames]
    columns = {name: np.array([values[name] for values in lists], kind) for name, kind in COLUMN_TYPES.items()}
    check_columns(columns)
    norms = [[_float32(frame.layer_norms[name]) for name in names] for frame in frames]
    layer_norms = np.array(norms, "<f4").reshape(len(frames), len(names))
    if (layer_norms < 0).any():
        raise MalformedError("layer_norms: a norm is below 0")
    chunk_columns = ChunkColumns(
        columns=columns,
        layer_norms=layer_norms,
        param_rows=np.empty(0, np.uint32),
        param_norms=np.empty((0, len(names)), np.float32),
        scalars=_scalars(frames),
        details=[
            {"row": row, "non_finite": [], "batch_id": frame.batch_id}
            for row, frame in enumerate(frames)
            if frame.batch_id is not None
        ],
    )
    chunk = Chunk(attempt_of(run_id), frames_in.monitor, layout_id(layers), frames_in.first, chunk_columns)
    return chunk, layers


def _columns_of(frame: FrameIn, now: float) -> dict[str, float]:
    """One frame's scalar columns, with what a frame without a word about it means."""
    global_norm = _float32(frame.global_norm)
    finite = bool(np.isfinite(global_norm))
    coefficient = (1.0 if finite else float("nan")) if frame.clip_coefficient is None else frame.clip_coefficient
    return {
        "step": frame.step,
        "time": now if frame.time is None else frame.time,
        "global_norm": global_norm,
        "clip_coefficient": _float32(coefficient),
        "max_norm": float("inf") if frame.max_norm is None else _float32(frame.max_norm),
        "lr": float("nan") if frame.lr is None else _float32(frame.lr),
        "loss": float("nan") if frame.loss is None else _float32(frame.loss),
        "loss_scale": 1.0,
        "flags": (0 if finite else flags.NON_FINITE) | (0 if frame.loss is None else flags.LOSS),
    }


def _float32(number: Number) -> float:
    """What float32 can hold of it: a finite value stays finite."""
    value = float(number)
    return max(-_FLOAT32_MAX, min(_FLOAT32_MAX, value)) if np.isfinite(value) else value


def _layer(name: str) -> LayerDeclaration:
    module = name.rpartition(".")[0] or name
    return LayerDeclaration(name, module, shape=[], numel=0, dtype="float32", parameter_group=0, trainable=True)


def _scalars(frames: list[FrameIn]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    names = sorted({name for frame in frames for name in frame.scalars})
    if len(names) > MOST_SCALARS:
        raise MalformedError(f"scalars: {len(names)} names where {MOST_SCALARS} are allowed")
    found = {}
    for name in names:
        present = np.array([name in frame.scalars for frame in frames])
        found[name] = (present, np.array([float(frame.scalars.get(name, "NaN")) for frame in frames]))
    return found
