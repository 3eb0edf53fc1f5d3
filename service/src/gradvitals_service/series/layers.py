"""Tell the layers of the newest frame: their norms, shares of the whole, and the weights' norms measured last."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from gradvitals_service.errors import DamagedError
from gradvitals_service.runs.layouts import unpack_layers
from gradvitals_service.series import queries
from gradvitals_service.series.attempts import Span, cut_overlaps
from gradvitals_service.series.codec import CorruptChunkError, decode_layers
from gradvitals_service.series.queries import Line, StoredLayers
from gradvitals_service.series.segments import decode_column, decode_params

PARAM_NORM_EVERY = 64  # the client measures the weights at the frames of these indices


def read_layers(session: Session, line: Line) -> dict[str, Any]:
    """The layers of the newest frame: their norms, shares of the whole, and the weights' norms measured last."""
    spans = cut_overlaps(queries.reaches(session, line))
    stored = queries.newest_layers(session, line, spans[-1]) if spans else None
    if stored is None:
        return {"step": None, "layers": []}
    try:
        norms, weights = _newest(stored)
    except CorruptChunkError as error:
        raise DamagedError(f"layers: the newest frames, up to step {stored.last_step}, are damaged: {error}") from error
    newest = norms.astype(np.float64)
    if weights is None:
        weights = _earlier_param_norms(session, line, spans[-1], stored)
    shown = zip(
        unpack_layers(stored.layout), newest.tolist(), _shares(newest), _finite(weights, len(newest)), strict=True
    )
    return {
        "step": stored.last_step,
        "layers": [
            {
                "name": layer.name,
                "module": layer.module,
                "shape": layer.shape,
                "numel": layer.numel,
                "parameter_group": layer.parameter_group,
                "trainable": layer.trainable,
                "norm": norm,
                "share": share,
                "param_norm": param_norm,
            }
            for layer, norm, share, param_norm in shown
        ],
    }


def _newest(stored: StoredLayers) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The norms of the newest frame, and those of the weights if they lie with it."""
    if stored.in_segment:
        return _of_length(decode_column(stored.layer_columns)[0], stored.layer_count), None
    norms, rows, param_norms = decode_layers(stored.layer_columns, stored.n, stored.layer_count)
    return norms[-1], param_norms[-1] if len(rows) else None


def _of_length(norms: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if len(norms) != count:
        raise CorruptChunkError(f"{len(norms)} norms of {count} layers")
    return norms


def _earlier_param_norms(session: Session, line: Line, span: Span, newest: StoredLayers) -> NDArray[np.float32] | None:
    """The norms of the weights from the frame that last measured them, if it has the same layers."""
    newest_frame = newest.first + newest.n - 1
    stored = queries.layers_with(session, line, span, newest_frame - newest_frame % PARAM_NORM_EVERY)
    try:
        if stored is None:
            return _segment_param_norms(session, line, span, newest)
        if stored.layout != newest.layout:
            return None
        _, rows, param_norms = decode_layers(stored.layer_columns, stored.n, stored.layer_count)
    except CorruptChunkError:
        return None
    return param_norms[-1] if len(rows) else None


def _segment_param_norms(session: Session, line: Line, span: Span, newest: StoredLayers) -> NDArray[np.float32] | None:
    found = queries.newest_params(session, line, span)
    if found is None or queries.layout_of(session, line.run_id, found[0]) != newest.layout:
        return None
    rows, param_norms = decode_params(found[1], newest.layer_count)
    return param_norms[-1] if len(rows) else None


def _shares(norms: NDArray[np.float64]) -> list[float | None]:
    """Each layer's part in the squared global norm; unknown where that is zero or not finite."""
    squares = norms**2
    total = float(squares.sum())
    if not np.isfinite(total) or total == 0:
        return [None] * len(norms)
    return list((squares / total).tolist())


def _finite(values: NDArray[np.float32] | None, count: int) -> list[float | None]:
    if values is None:
        return [None] * count
    return [value if np.isfinite(value) else None for value in values.tolist()]
