"""Answer what the page asks of measurements: series in buckets, and the layers of the newest frame.

A chunk that the disk has spoiled is told as a gap, and everything around it is shown.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from gradvitals_service.errors import DamagedError
from gradvitals_service.ingest.models import Gap
from gradvitals_service.runs.layouts import unpack_layers
from gradvitals_service.series import queries
from gradvitals_service.series.attempts import Span, cut_overlaps
from gradvitals_service.series.codec import Columns, CorruptChunkError, decode_columns, decode_layers
from gradvitals_service.series.downsample import Buckets, Column, downsample
from gradvitals_service.series.metrics import metric_column
from gradvitals_service.series.queries import Line, StoredLayers

PARAM_NORM_EVERY = 64  # the client measures the weights at the frames of these indices
StepRange = tuple[int | None, int | None]  # both ends included, None = without a bound

log = structlog.get_logger()


def read_series(session: Session, line: Line, metrics: Sequence[str], points: int, asked: StepRange) -> dict[str, Any]:
    """Some metrics over the steps asked for, in at most ``points`` buckets."""
    reaches = queries.reaches(session, line)
    spans = cut_overlaps(reaches)
    steps, columns, damaged = _gather(session, line, spans, metrics, asked)
    reduced = downsample(steps, columns, points)
    replaced = {reach.attempt_id for reach in reaches} - {span.attempt_id for span in spans}
    ends = {span.attempt_id: span.end_step for span in spans}
    gaps = [gap for gap in queries.gaps_of(session, line) if gap.attempt_id not in replaced]
    return {
        "run_id": line.run_id,
        "monitor": line.monitor,
        "rank": line.rank,
        "frames": len(steps),
        "bucket": reduced.size,
        "step": reduced.step.tolist(),
        "series": {name: _buckets_as_json(buckets) for name, buckets in reduced.series.items()},
        "gaps": [_gap_as_json(gap) for gap in gaps if _is_shown(gap, ends.get(gap.attempt_id), asked)] + damaged,
        "attempts": [{"attempt_id": span.attempt_id, "first_step": span.first_step} for span in spans],
        "last_step": reaches[-1].last_step if reaches else None,
    }


def _gather(
    session: Session, line: Line, spans: Iterable[Span], metrics: Sequence[str], asked: StepRange
) -> tuple[NDArray[np.int64], dict[str, Column], list[dict[str, Any]]]:
    """The steps asked for and the metrics at them, attempt after attempt, and the chunks that cannot be read."""
    steps: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    parts: dict[str, list[Column]] = {name: [Column(np.empty(0), np.empty(0, np.bool_))] for name in metrics}
    damaged = []
    for span in spans:
        for stored in queries.columns_of(session, line, span, *asked):
            try:
                columns = decode_columns(stored.columns)
            except CorruptChunkError as error:
                log.error("chunk_damaged", run_id=str(line.run_id), first_step=stored.first_step, reason=str(error))
                damaged.append(_gap(stored.first_step, stored.last_step, stored.n, "damaged"))
                continue
            kept = _kept(columns, span, asked)
            steps.append(columns["step"][kept])
            for name in metrics:
                column = metric_column(columns, name)
                parts[name].append(Column(column.values[kept], column.present[kept]))
    return np.concatenate(steps), {name: _join(columns) for name, columns in parts.items()}, damaged


def _join(columns: Sequence[Column]) -> Column:
    values = np.concatenate([column.values for column in columns])
    return Column(values, np.concatenate([column.present for column in columns]))


def _kept(columns: Columns, span: Span, asked: StepRange) -> slice:
    """Which frames of a chunk lie in the span and in the range; steps increase within a chunk."""
    from_step, to_step = asked
    ends = [end for end in (span.end_step, None if to_step is None else to_step + 1) if end is not None]
    step = columns["step"]
    first = 0 if from_step is None else int(np.searchsorted(step, from_step))
    return slice(first, int(np.searchsorted(step, min(ends))) if ends else len(step))


def _buckets_as_json(buckets: Buckets) -> dict[str, list[Any]]:
    return {
        "min": _with_nulls(buckets.minimum),
        "max": _with_nulls(buckets.maximum),
        "mean": _with_nulls(buckets.mean),
        "non_finite": buckets.non_finite.tolist(),
    }


def _with_nulls(values: NDArray[np.float64]) -> list[float | None]:
    """NaN marks a bucket without a finite value; for the page that is null."""
    return [None if value != value else value for value in values.tolist()]


def _is_shown(gap: Gap, end_step: int | None, asked: StepRange) -> bool:
    """Whether a gap touches the range and was not run through again; one without known steps always is."""
    if gap.first_step is None or gap.last_step is None:
        return True
    from_step, to_step = asked
    replaced = end_step is not None and gap.first_step >= end_step
    before = from_step is not None and gap.last_step < from_step
    after = to_step is not None and gap.first_step > to_step
    return not (replaced or before or after)


def _gap_as_json(gap: Gap) -> dict[str, Any]:
    return _gap(gap.first_step, gap.last_step, gap.n, gap.reason)


def _gap(first_step: int | None, last_step: int | None, n: int, reason: str) -> dict[str, Any]:
    return {"first_step": first_step, "last_step": last_step, "n": n, "reason": reason}


def read_layers(session: Session, line: Line) -> dict[str, Any]:
    """The layers of the newest frame: their norms, shares of the whole, and the weights' norms measured last."""
    spans = cut_overlaps(queries.reaches(session, line))
    stored = queries.newest_layers(session, line, spans[-1]) if spans else None
    if stored is None:
        return {"step": None, "layers": []}
    try:
        norms, rows, param_norms = decode_layers(stored.layer_columns, stored.n, stored.layer_count)
    except CorruptChunkError as error:
        raise DamagedError(f"layers: the newest frames, up to step {stored.last_step}, are damaged: {error}") from error
    newest = norms[-1].astype(np.float64)
    weights = param_norms[-1] if len(rows) else _earlier_param_norms(session, line, spans[-1], stored)
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


def _earlier_param_norms(session: Session, line: Line, span: Span, newest: StoredLayers) -> NDArray[np.float32] | None:
    """The norms of the weights from the frame that last measured them, if it has the same layers."""
    newest_frame = newest.first + newest.n - 1
    stored = queries.layers_with(session, line, span, newest_frame - newest_frame % PARAM_NORM_EVERY)
    if stored is None or stored.layout != newest.layout:
        return None
    try:
        _, rows, param_norms = decode_layers(stored.layer_columns, stored.n, stored.layer_count)
    except CorruptChunkError:
        return None
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
