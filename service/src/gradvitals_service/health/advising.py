"""Answer which clip threshold suits a run, from its kept norms, its events and its newest frames.

Where attempts overlap, the newest counts, as in charts. Healthy are the steps outside of explosions and non-finite
gradients, once the level of the run is known.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from gradvitals_service.health import queries
from gradvitals_service.health.advice import Advice, History, Newest, advise
from gradvitals_service.health.models import Event
from gradvitals_service.series import queries as series_queries
from gradvitals_service.series.attempts import Span, Steps, cut_overlaps
from gradvitals_service.series.queries import Line
from gradvitals_service.series.ranges import Metrics, read_range
from gradvitals_service.series.sketch import NormSketch, edges
from gradvitals_service.series.sketching import read_norms

STARTING_STEPS = 64
"""Steps at the beginning of a run that are not healthy yet: before the detectors know a level nothing can leave it."""

BEFORE_AN_EVENT = 12
"""Steps before an event that belong to it: an explosion is told up to so many frames after its norm rose."""

NEWEST_FRAMES = 1024
"""Over how many frames the learning rate is told: long enough for a steady share, short enough to be the present."""

_UNHEALTHY = ("explosion", "non_finite")
_NEWEST = Metrics(("global_norm", "max_norm", "lr", "clip_coefficient"))


def read_advice(session: Session, line: Line, asked: Sequence[float]) -> dict[str, Any]:
    """The suggestion, and what the thresholds ``asked`` would have clipped, beside the present and suggested ones."""
    spans = cut_overlaps(series_queries.reaches(session, line))
    events = queries.events_of_line(session, line.run_id, line.monitor, line.rank, _UNHEALTHY)
    read = read_norms(session, line, spans, _unhealthy_steps(spans, events))
    healthy = NormSketch.merge(read.others)
    norms = NormSketch.merge([*read.others, *read.apart])
    newest = _read_newest(session, line, spans[-1]) if spans else _nothing()
    history = History(norms, healthy, newest, _explosions(spans, events))
    advice = advise(history)
    return {
        "run_id": line.run_id,
        "monitor": line.monitor,
        "rank": line.rank,
        "suggested_max_norm": advice.max_norm,
        "reason": advice.reason,
        "frames": norms.measured,
        "healthy_frames": healthy.measured,
        "non_finite": norms.non_finite,
        "already_clipped": norms.already_clipped,
        "damaged": read.damaged,
        "newest": _newest_as_json(newest),
        "thresholds": [_threshold(norms, healthy, max_norm) for max_norm in _all_asked(asked, newest, advice)],
        "histogram": _histogram(norms, healthy),
    }


def _unhealthy_steps(spans: Sequence[Span], events: Iterable[Event]) -> dict[UUID, list[Steps]]:
    """The steps of each attempt that say nothing about its health: the first ones of the run, and those of events."""
    apart: dict[UUID, list[Steps]] = {span.attempt_id: [] for span in spans}
    for span in spans[:1]:
        apart[span.attempt_id].append(Steps(span.first_step, span.first_step + STARTING_STEPS))
    for event in events:
        end = None if event.end_step is None else event.end_step + 1
        apart.setdefault(event.attempt_id, []).append(Steps(event.start_step - BEFORE_AN_EVENT, end))
    return apart


def _explosions(spans: Sequence[Span], events: Iterable[Event]) -> list[float]:
    """The peaks of the explosions in the steps that count."""
    ends = {span.attempt_id: span.end_step for span in spans}
    return [
        event.peak
        for event in events
        if event.kind == "explosion" and event.peak is not None and event.attempt_id in ends
        if (end := ends[event.attempt_id]) is None or event.start_step < end
    ]


def _read_newest(session: Session, line: Line, span: Span) -> Newest:
    first = series_queries.step_of_newest(session, line, span, NEWEST_FRAMES)
    parts = read_range(session, line, span, Steps(first, span.end_step), _NEWEST, None).parts
    if not parts:
        return _nothing()
    norm, max_norm, lr, coefficient = (
        np.concatenate([part.metrics[name].maximum for part in parts])[-NEWEST_FRAMES:]  # of one frame: its value
        for name in ("global_norm", "max_norm", "lr", "clip_coefficient")
    )
    known = np.isfinite(coefficient)  # of a step that was not finite nobody can say how much it was clipped
    return Newest(
        frames=len(norm),
        global_norm=_median(norm),
        max_norm=_as_it_was_given(max_norm[-1]),
        clip_rate=float((coefficient[known] < 1).mean()) if known.any() else math.nan,
        lr=_median(lr[known]),
        effective_lr=_median(lr * coefficient),
    )


def _as_it_was_given(max_norm: float) -> float:
    """A threshold that was narrowed to float32, as a person wrote it: 0.1 rather than 0.10000000149."""
    return float(str(np.float32(max_norm))) if math.isfinite(max_norm) else math.inf


def _nothing() -> Newest:
    return Newest(0, math.nan, math.inf, math.nan, math.nan, math.nan)


def _median(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else math.nan


def _all_asked(asked: Sequence[float], newest: Newest, advice: Advice) -> list[float]:
    own = [max_norm for max_norm in (newest.max_norm, advice.max_norm) if max_norm is not None]
    return sorted({max_norm for max_norm in (*asked, *own) if math.isfinite(max_norm)})


def _threshold(norms: NormSketch, healthy: NormSketch, max_norm: float) -> dict[str, Any]:
    clipped, at_most = norms.above(max_norm)
    healthy_clipped, healthy_at_most = healthy.above(max_norm)
    return {
        "max_norm": max_norm,
        "clipped": clipped,
        "clipped_at_most": at_most,
        "clip_rate": clipped / norms.measured if norms.measured else None,
        "healthy_clipped": healthy_clipped,
        "healthy_clipped_at_most": healthy_at_most,
        "healthy_clip_rate": healthy_clipped / healthy.measured if healthy.measured else None,
        "mean_clip_coefficient": float(f"{norms.mean_clip_coefficient(max_norm):.3g}"),
    }


def _histogram(norms: NormSketch, healthy: NormSketch) -> dict[str, Any]:
    counts = dict(zip(healthy.buckets.tolist(), healthy.counts.tolist(), strict=True))
    return {
        "above": np.concatenate([[0.0], edges()])[norms.buckets],
        "up_to": [None if math.isinf(edge) else edge for edge in norms.upper_edges.tolist()],
        "frames": norms.counts,
        "healthy": [counts.get(bucket, 0) for bucket in norms.buckets.tolist()],
    }


def _newest_as_json(newest: Newest) -> dict[str, Any]:
    return {
        "frames": newest.frames,
        "global_norm": _or_none(newest.global_norm),
        "max_norm": _or_none(newest.max_norm),
        "clip_rate": _or_none(newest.clip_rate),
        "lr": _or_none(newest.lr),
        "effective_lr": _or_none(newest.effective_lr),
    }


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
