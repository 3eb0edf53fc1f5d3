"""Answer a chart: some metrics over steps, in buckets that keep every spike.

What the disk has spoiled is told as a gap, and everything around it is shown.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from sqlalchemy.orm import Session

from gradvitals_service.series import queries
from gradvitals_service.series.attempts import Reach, Span, asked_of, cut_overlaps
from gradvitals_service.series.downsample import Array, Buckets, bucket_size, bucket_starts
from gradvitals_service.series.queries import Line
from gradvitals_service.series.ranges import Found, K, Metrics, Part, Source, choose_level, gap, merged, read_range

StepRange = tuple[int | None, int | None]  # both ends included, None = without a bound


def read_series(session: Session, line: Line, metrics: Sequence[str], points: int, asked: StepRange) -> dict[str, Any]:
    """Some metrics over the steps asked for, in at most ``points`` buckets."""
    reaches = queries.reaches(session, line)
    spans = cut_overlaps(reaches)
    size, part, damaged = read_spans(session, line, spans, Metrics(metrics), points, asked)
    last_steps = {reach.attempt_id: reach.last_step for reach in reaches}
    return {
        "run_id": line.run_id,
        "monitor": line.monitor,
        "rank": line.rank,
        "frames": int(part.extent.frames.sum()),
        "bucket": size,
        "step": as_json(part.extent.first_step),
        "series": {name: _buckets_as_json(part.metrics[name]) for name in metrics},
        "gaps": gaps_shown(session, line, reaches, spans, asked) + damaged,
        "attempts": [
            {"attempt_id": span.attempt_id, "first_step": span.first_step, "last_step": last_steps[span.attempt_id]}
            for span in spans
        ],
        "last_step": reaches[-1].last_step if reaches else None,
    }


def read_spans(
    session: Session, line: Line, spans: Sequence[Span], source: Source[K], points: int, asked: StepRange
) -> tuple[int, Part[K], list[dict[str, Any]]]:
    """The frames a bucket, at most ``points`` buckets of all attempts, and what could not be read."""
    wanted = [(span, asked_of(span, *asked)) for span in spans]
    frames = sum(queries.count_frames(session, line, span, steps) for span, steps in wanted)
    level = choose_level(frames, points)
    found: Found[K] = Found()
    for span, steps in wanted:
        read = read_range(session, line, span, steps, source, level)
        found.parts += read.parts
        found.damaged += read.damaged
    if not found.parts:
        return 1, source.of_nothing(), found.damaged
    frames_each = np.concatenate([part.extent.frames for part in found.parts])
    size = max(bucket_size(int(frames_each.sum()), points), level or 1)
    return size, merged(found.parts, bucket_starts(frames_each, size)), found.damaged


def gaps_shown(
    session: Session, line: Line, reaches: Sequence[Reach], spans: Sequence[Span], asked: StepRange
) -> list[dict[str, Any]]:
    """The frames that will never come, where nobody has run through them again."""
    replaced = {reach.attempt_id for reach in reaches} - {span.attempt_id for span in spans}
    ends = {span.attempt_id: span.end_step for span in spans}
    return [
        gap(lost.first_step, lost.last_step, lost.n, lost.reason)
        for lost in queries.gaps_of(session, line)
        if lost.attempt_id not in replaced
        and _is_shown(lost.first_step, lost.last_step, ends.get(lost.attempt_id), asked)
    ]


def as_json(values: Array) -> msgspec.Raw:
    """Numbers as a list, written at once since there may be many; NaN, a bucket without a value, is null."""
    return msgspec.Raw(msgspec.json.encode(values.tolist()))


def _buckets_as_json(buckets: Buckets) -> dict[str, Any]:
    return {
        "min": as_json(buckets.minimum),
        "max": as_json(buckets.maximum),
        "mean": as_json(buckets.mean),
        "non_finite": as_json(buckets.non_finite),
    }


def _is_shown(first_step: int | None, last_step: int | None, end_step: int | None, asked: StepRange) -> bool:
    """Whether a gap touches the range and was not run through again; one without known steps always is."""
    if first_step is None or last_step is None:
        return True
    from_step, to_step = asked
    replaced = end_step is not None and first_step >= end_step
    before = from_step is not None and last_step < from_step
    after = to_step is not None and first_step > to_step
    return not (replaced or before or after)
