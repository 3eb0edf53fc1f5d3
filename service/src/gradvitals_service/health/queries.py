"""Every statement that reads events and their evidence."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Row, Subquery, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from gradvitals_service.errors import NotFoundError
from gradvitals_service.health.detectors import KINDS
from gradvitals_service.health.models import Event, EventEvidence
from gradvitals_service.ingest.models import Stream
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.runs.models import Attempt, Layout, Run
from gradvitals_service.runs.queries import DELETED
from gradvitals_service.runs.standing import CALM, URGENCIES


@dataclass(frozen=True, slots=True)
class JudgedStream:
    """A stream that has frames; ``live`` is false where it was sent late, which pages nobody."""

    attempt_id: UUID
    monitor: str
    next_frame: int
    live: bool
    layer_count: int


class NamedRun(NamedTuple):
    """A run, as far as a list of them needs it."""

    run_id: UUID
    project_id: UUID
    name: str


URGENCY = case(URGENCIES, value=Event.severity, else_=CALM)


def newest_events(session: Session, run_id: UUID, limit: int, status: str | None = None) -> Sequence[Event]:
    """The events of a run that opened last, newest first."""
    statement = select(Event).where(Event.run_id == run_id).order_by(Event.opened_at.desc(), Event.event_id)
    if status is not None:
        statement = statement.where(Event.status == status)
    return session.scalars(statement.limit(limit)).all()


def newest_events_named(session: Session, limit: int, project_id: UUID | None) -> Sequence[Row[Event, str]]:
    """The events that opened last, newest first, with their runs' names: of one project, or of all."""
    statement = select(Event, Run.name).join(Run, Run.run_id == Event.run_id)
    if project_id is not None:
        statement = statement.where(Run.project_id == project_id)
    return session.execute(statement.order_by(Event.opened_at.desc(), Event.event_id).limit(limit)).all()


def open_events(session: Session, run_ids: Collection[UUID], most_per_run: int = 20) -> dict[UUID, list[Event]]:
    """The open events of several runs in one statement, the most urgent and newest first."""
    order = (URGENCY.desc(), Event.opened_at.desc(), Event.event_id)
    place = func.row_number().over(partition_by=Event.run_id, order_by=order).label("place")
    ranked = select(Event, place).where(Event.run_id.in_(run_ids), Event.status == "open").subquery()
    event = aliased(Event, ranked)
    found: dict[UUID, list[Event]] = {run_id: [] for run_id in run_ids}
    for row in session.scalars(select(event).where(ranked.c.place <= most_per_run).order_by(ranked.c.place)):
        found[row.run_id].append(row)
    return found


def open_events_of_rank(session: Session, run_id: UUID, rank: int, kind: str) -> Sequence[Event]:
    """The events of one kind that go on at one rank of a run."""
    of_rank = (Event.run_id == run_id, Event.rank == rank, Event.kind == kind, Event.status == "open")
    return session.scalars(select(Event).where(*of_rank).order_by(Event.event_id)).all()


def events_of_line(session: Session, run_id: UUID, monitor: str, rank: int, kinds: Collection[str]) -> Sequence[Event]:
    """The events of some kinds of one monitor of one rank, in the order of their steps."""
    of_line = (Event.run_id == run_id, Event.monitor == monitor, Event.rank == rank, Event.kind.in_(kinds))
    return session.scalars(select(Event).where(*of_line).order_by(Event.start_step, Event.event_id)).all()


def events_touching(
    session: Session, run_id: UUID, monitor: str, rank: int, from_step: int, limit: int
) -> Sequence[Event]:
    """The newest events of one monitor of one rank that are not over before a step, in the order of their steps."""
    of_line = (Event.run_id == run_id, Event.monitor == monitor, Event.rank == rank)
    not_over = or_(Event.end_step.is_(None), Event.end_step >= from_step)
    newest = select(Event).where(*of_line, not_over).order_by(Event.start_step.desc(), Event.event_id).limit(limit)
    return session.scalars(newest).all()[::-1]


def judged_streams(session: Session, run_id: UUID) -> list[JudgedStream]:
    """The streams of a run that detectors judge, those of rank 0: monitor by monitor, in the order of attempts."""
    statement = (
        select(Stream.attempt_id, Stream.monitor, Stream.next_frame, Attempt.live, func.coalesce(Layout.layer_count, 0))
        .join(Attempt, (Attempt.run_id == Stream.run_id) & (Attempt.attempt_id == Stream.attempt_id))
        .outerjoin(Layout, (Layout.run_id == Stream.run_id) & (Layout.layout_id == Stream.layout_id))
        .where(Stream.run_id == run_id, Attempt.rank == 0, Stream.layout_id.is_not(None))
        .order_by(Stream.monitor, Attempt.started_at, Attempt.attempt_id)
    )
    return [JudgedStream(*row) for row in session.execute(statement)]


def judged_events(session: Session, run_id: UUID) -> list[tuple[Event, bool]]:
    """The events on record that detectors have told of a run, in the order of their steps, and whether each paged."""
    attempt = (Attempt.run_id == Event.run_id) & (Attempt.attempt_id == Event.attempt_id)
    statement = select(Event, Attempt.live).join(Attempt, attempt)
    statement = statement.where(Event.run_id == run_id, Event.rank == 0, Event.kind.in_(KINDS))
    found = session.execute(statement.order_by(Event.start_step, Event.kind, Event.event_id))
    return [(event, live and event.severity == "critical") for event, live in found]


def runs_of_project(session: Session, project_id: UUID) -> list[NamedRun]:
    """The runs of a project, newest first."""
    statement = select(Run.run_id, Run.project_id, Run.name).where(Run.project_id == project_id, Run.state != DELETED)
    return [NamedRun(*row) for row in session.execute(statement.order_by(Run.created_at.desc(), Run.run_id))]


def worst_open_events() -> Subquery:
    """How urgent the worst open event of each run is that has one: (run_id, urgency)."""
    worst = select(Event.run_id, func.max(URGENCY).label("urgency")).where(Event.status == "open")
    return worst.group_by(Event.run_id).subquery()


def incomplete_evidence(session: Session, key: StreamKey) -> Sequence[tuple[int, UUID]]:
    """(start frame, event) of a stream's evidence that waits for more frames, the oldest first."""
    of_stream = (EventEvidence.attempt_id == key.attempt_id, EventEvidence.monitor == key.monitor)
    statement = select(EventEvidence.start_frame, EventEvidence.event_id)
    statement = statement.where(EventEvidence.run_id == key.run_id, *of_stream, EventEvidence.complete.is_(False))
    found = session.execute(statement.order_by(EventEvidence.start_frame, EventEvidence.event_id))
    return [(start_frame, event_id) for start_frame, event_id in found]


def monitors_with_incomplete_evidence(session: Session, run_id: UUID, attempt_id: UUID) -> Sequence[str]:
    """The monitors of an attempt whose evidence waits for more frames."""
    of_attempt = (EventEvidence.run_id == run_id, EventEvidence.attempt_id == attempt_id)
    statement = select(EventEvidence.monitor).where(*of_attempt, EventEvidence.complete.is_(False))
    return session.scalars(statement.distinct().order_by(EventEvidence.monitor)).all()


def get_evidence(session: Session, run_id: UUID, event_id: UUID) -> tuple[Event, EventEvidence]:
    """An event and the frames that were kept around it, or 404."""
    event = session.get(Event, (run_id, event_id))
    if event is None:
        raise NotFoundError(f"run {run_id} has no event {event_id}")
    evidence = session.get(EventEvidence, (run_id, event_id))
    if evidence is None:
        raise NotFoundError(f"no frames were kept around event {event_id}")
    return event, evidence
