"""Read the newest steps of a run for a picture, and say in words what happened in them.

The words are those of the event that matters most among these steps: one that goes on before one that is over, then the
most severe, then the newest.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from gradvitals_service.alerts.glance import Glance
from gradvitals_service.alerts.message import plain
from gradvitals_service.health.marks import Mark
from gradvitals_service.health.models import Event
from gradvitals_service.health.queries import events_touching
from gradvitals_service.runs.models import Run
from gradvitals_service.runs.queries import get_run, project_name
from gradvitals_service.runs.standing import CALM, URGENCIES
from gradvitals_service.series import queries
from gradvitals_service.series.attempts import Reach, cut_overlaps
from gradvitals_service.series.downsample import Buckets
from gradvitals_service.series.queries import Line
from gradvitals_service.series.ranges import Metrics
from gradvitals_service.series.reading import gaps_shown, read_spans

MOST_EVENTS = 40
MOST_LOST = 40
_METRICS = Metrics(("global_norm", "max_norm", "loss"))


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose picture is asked for, as it was found; ``version`` changes whenever the picture may."""

    line: Line
    run: Run
    project: str
    reaches: Sequence[Reach]

    @property
    def version(self) -> str:
        """A hash of all that a picture is made of, found without reading a frame."""
        known = (self.line, self.run.name, self.project, self.run.event_revision, self.reaches)
        return hashlib.blake2b(repr(known).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def find_subject(session: Session, line: Line) -> Subject:
    """The run that a picture is about, or 404."""
    run = get_run(session, line.run_id)
    return Subject(line, run, project_name(session, run.project_id), queries.reaches(session, line))


def read_glance(session: Session, subject: Subject, last: int, points: int) -> Glance:
    """The newest ``last`` steps in at most ``points`` buckets, and what was noticed in them."""
    line, reaches = subject.line, subject.reaches
    newest = reaches[-1].last_step if reaches else 0
    asked = (max(newest - last + 1, 0), newest)
    spans = cut_overlaps(reaches)
    _, part, damaged = read_spans(session, line, spans, _METRICS, points, asked)
    gaps = gaps_shown(session, line, reaches, spans, asked) + damaged
    lost = [(gap["first_step"], gap["last_step"]) for gap in gaps if gap["first_step"] is not None][:MOST_LOST]
    events = events_touching(session, line.run_id, line.monitor, line.rank, asked[0], MOST_EVENTS)
    step = part.extent.first_step
    holes = sorted({int(np.searchsorted(step, first)) for first, _ in lost} - {0, len(step)})
    return Glance(
        name=plain(subject.run.name),
        project=plain(subject.project),
        words=_words(subject.run, events, len(step), last),
        step=np.insert(step, holes, step[holes] - 1),
        norm=_with_holes(part.metrics["global_norm"], holes),
        max_norm=_with_holes(part.metrics["max_norm"], holes),
        loss=_with_holes(part.metrics["loss"], holes),
        marks=[Mark(event.kind, event.start_step, event.end_step) for event in events],
        lost=lost,
    )


def _with_holes(metric: Buckets, holes: Sequence[int]) -> Buckets:
    """A metric with an empty bucket before each of some places: no line is drawn over what is lost."""
    values = (metric.minimum, metric.maximum, metric.mean)
    nan = (np.insert(column.astype(np.float64), holes, np.nan) for column in values)
    zero = (np.insert(column.astype(np.int64), holes, 0) for column in (metric.finite, metric.non_finite))
    return Buckets(*nan, *zero)


def _words(run: Run, events: Sequence[Event], buckets: int, last: int) -> str:
    if not buckets:
        return "No step has been measured yet."
    if not events:
        return f"Nothing was noticed in the last {last:,} steps; now at step {run.last_step or 0:,}."
    event = max(
        events, key=lambda event: (event.status == "open", URGENCIES.get(event.severity, CALM), event.start_step)
    )
    kind = "non-finite gradients" if event.kind == "non_finite" else event.kind.replace("_", " ")
    over = "" if event.end_step is None else f", over after step {event.end_step:,}"
    return f"{kind.capitalize()} since step {event.start_step:,}{over}: {plain(event.message, 1024)}."
