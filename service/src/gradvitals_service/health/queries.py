"""Every statement that reads events and their evidence."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Subquery, case, func, select
from sqlalchemy.orm import Session, aliased

from gradvitals_service.errors import NotFoundError
from gradvitals_service.health.models import Event, EventEvidence
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.runs.models import Run
from gradvitals_service.runs.standing import CALM, URGENCIES

URGENCY = case(URGENCIES, value=Event.severity, else_=CALM)


def newest_events(
    session: Session,
    limit: int,
    *,
    run_id: UUID | None = None,
    project_id: UUID | None = None,
    status: str | None = None,
) -> Sequence[Event]:
    """The events that opened last, newest first: of one run, of one project, or of all."""
    statement = select(Event).order_by(Event.opened_at.desc(), Event.event_id).limit(limit)
    if run_id is not None:
        statement = statement.where(Event.run_id == run_id)
    if project_id is not None:
        statement = statement.join(Run, Run.run_id == Event.run_id).where(Run.project_id == project_id)
    if status is not None:
        statement = statement.where(Event.status == status)
    return session.scalars(statement).all()


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
