"""The statements about streams, gaps and events that taking frames needs now and then; ``ledger_queries`` has the rest.

The caller holds the lock of the run's row. Every statement names one run.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Table, insert, select
from sqlalchemy.orm import Session

from gradvitals_service.errors import NotFoundError
from gradvitals_service.health.detectors import Options
from gradvitals_service.health.models import Event
from gradvitals_service.ingest.exactly_once import LostRange
from gradvitals_service.ingest.models import Gap, Stream
from gradvitals_service.projects.detection import from_stored
from gradvitals_service.projects.models import Project
from gradvitals_service.runs.layouts import unpack_layers
from gradvitals_service.runs.models import Attempt, Layout, Run
from gradvitals_service.runs.schemas import LayerDeclaration
from gradvitals_service.series.models import Chunk as StoredChunk
from gradvitals_service.series.models import Segment

# On the table, not on the mapped class: it takes plain values.
_INSERT_GAP = insert(cast(Table, Gap.__table__))


@dataclass(frozen=True, slots=True)
class StreamKey:
    """One stream: the frames of one (run, attempt, monitor)."""

    run_id: UUID
    attempt_id: UUID
    monitor: str

    def columns(self) -> dict[str, Any]:
        """As column values."""
        return {"run_id": self.run_id, "attempt_id": self.attempt_id, "monitor": self.monitor}


@dataclass(slots=True)
class StreamHead:
    """How far a stream is; ``layout_id`` is that of its newest frames, None before the first."""

    exists: bool = True
    next_frame: int = 0
    last_step: int | None = None
    layout_id: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The detectors' state when they had seen every frame below ``frame``."""

    state: bytes
    frame: int


def get_attempt(session: Session, key: StreamKey) -> Attempt:
    """The attempt of a stream, or 404."""
    attempt = session.get(Attempt, (key.run_id, key.attempt_id), populate_existing=True)
    if attempt is None:
        raise unknown_attempt(key)
    return attempt


def unknown_attempt(key: StreamKey) -> NotFoundError:
    """Why an attempt cannot be used."""
    return NotFoundError(f"attempt {key.attempt_id} is not known here: declare it again, then send")


def make_plain_attempt(session: Session, key: StreamKey, now: datetime) -> None:
    """The attempt that JSON frames belong to, which no client declares; each request counts as its heartbeat."""
    attempt = session.get(Attempt, (key.run_id, key.attempt_id), populate_existing=True)
    if attempt is None:
        attempt = Attempt(run_id=key.run_id, attempt_id=key.attempt_id, rank=0, world_size=1, launch=key.attempt_id)
        attempt.host, attempt.pid, attempt.started_at, attempt.monitors = "", 0, now, {}
        attempt.live, attempt.interactive = True, False
        attempt.declared_state = attempt.state = "running"
        session.add(attempt)
    attempt.heartbeat_at = now
    session.flush()


def read_detection(session: Session, run_id: UUID) -> Options:
    """What the run's project has chosen about its detection."""
    chosen = select(Project.detection).join(Run, Run.project_id == Project.project_id).where(Run.run_id == run_id)
    return from_stored(session.scalars(chosen).one())


def read_snapshot(session: Session, key: StreamKey) -> Snapshot | None:
    """The newest stored state of the stream's detectors."""
    table = Stream.__table__.c
    statement = select(table.detector_state, table.detector_frame).where(*_of_stream(Stream, key))
    row = session.connection().execute(statement).one_or_none()
    return Snapshot(*row) if row and row.detector_state is not None else None


def insert_gaps(session: Session, key: StreamKey, lost: Sequence[LostRange]) -> None:
    """Store what will never come."""
    rows = [
        key.columns()
        | {
            "first": piece.first,
            "n": piece.n,
            "reason": piece.reason,
            "first_step": piece.first_step,
            "last_step": piece.last_step,
        }
        for piece in lost
    ]
    if rows:
        session.connection().execute(_INSERT_GAP, rows)


def layout_size(session: Session, run_id: UUID, layout_id: str) -> int:
    """How many layers a layout has, or 404."""
    table = Layout.__table__.c
    statement = select(table.layer_count).where(table.run_id == run_id, table.layout_id == layout_id)
    count = session.connection().execute(statement).scalar_one_or_none()
    if count is None:
        raise unknown_layout(layout_id)
    return int(count)


def unknown_layout(layout_id: str) -> NotFoundError:
    """Why a layout cannot be used."""
    return NotFoundError(f"layout {layout_id} is not known here: declare it again, then send")


def read_layers(session: Session, run_id: UUID, layout_id: str) -> list[LayerDeclaration]:
    """The layers of a layout."""
    table = Layout.__table__.c
    statement = select(table.layers).where(table.run_id == run_id, table.layout_id == layout_id)
    return unpack_layers(session.connection().execute(statement).scalar_one())


def earlier_stream(session: Session, attempt: Attempt, monitor: str) -> tuple[StreamKey, str] | None:
    """The stream of the newest earlier attempt of the same rank that has sent frames, and its newest layout."""
    statement = (
        select(Stream.attempt_id, Stream.layout_id)
        .select_from(Attempt)
        .join(Stream, (Stream.run_id == Attempt.run_id) & (Stream.attempt_id == Attempt.attempt_id))
        .where(
            Attempt.run_id == attempt.run_id,
            Attempt.rank == attempt.rank,
            Attempt.attempt_id != attempt.attempt_id,
            Attempt.started_at <= attempt.started_at,
            Stream.monitor == monitor,
            Stream.layout_id.is_not(None),
        )
        .order_by(Attempt.started_at.desc(), Attempt.attempt_id.desc())
        .limit(1)
    )
    found = session.execute(statement).one_or_none()
    return (StreamKey(attempt.run_id, found.attempt_id, monitor), found.layout_id) if found else None


def columns_of_ranks(
    session: Session, attempt: Attempt, monitor: str, step: int, most: int
) -> Sequence[tuple[int, bytes]]:
    """(rank, scalar columns) of the chunks that hold a step on the ranks of one launch, the lowest ranks first."""
    statement = select(Attempt.rank, StoredChunk.columns).where(*_of_launch(StoredChunk, attempt, monitor, step))
    found = session.execute(statement.order_by(Attempt.rank, Attempt.attempt_id).limit(most))
    return [(rank, columns) for rank, columns in found]


def segments_of_ranks(
    session: Session, attempt: Attempt, monitor: str, step: int, most: int
) -> Sequence[tuple[int, StreamKey, int]]:
    """(rank, stream, first frame) of the segments that hold a step, as ``columns_of_ranks`` of the chunks."""
    statement = select(Attempt.rank, Attempt.attempt_id, Segment.first)
    statement = statement.where(*_of_launch(Segment, attempt, monitor, step))
    found = session.execute(statement.order_by(Attempt.rank, Attempt.attempt_id).limit(most))
    return [(rank, StreamKey(attempt.run_id, attempt_id, monitor), first) for rank, attempt_id, first in found]


def _of_launch(
    table: type[StoredChunk] | type[Segment], attempt: Attempt, monitor: str, step: int
) -> tuple[ColumnElement[bool], ...]:
    """The attempts that were started together, with what they hold of one step."""
    return (
        Attempt.run_id == attempt.run_id,
        Attempt.launch == attempt.launch,
        table.run_id == Attempt.run_id,
        table.attempt_id == Attempt.attempt_id,
        table.monitor == monitor,
        table.first_step <= step,
        table.last_step >= step,
    )


def non_finite_events(session: Session, attempt: Attempt, monitor: str, steps: Sequence[int]) -> Sequence[Event]:
    """The events of one launch's rank 0 that began at one of these steps with a gradient that was not finite."""
    if not steps:
        return []
    statement = (
        select(Event)
        .join(Attempt, (Attempt.run_id == Event.run_id) & (Attempt.attempt_id == Event.attempt_id))
        .where(
            Event.run_id == attempt.run_id,
            Event.monitor == monitor,
            Event.kind == "non_finite",
            Event.start_step >= min(steps),
            Event.start_step <= max(steps),
            Attempt.launch == attempt.launch,
        )
        .order_by(Event.start_step, Event.event_id)
    )
    wanted = set(steps)
    return [event for event in session.scalars(statement) if event.start_step in wanted]


def find_event(session: Session, run_id: UUID, event_id: UUID) -> Event | None:
    """One event of a run."""
    return session.get(Event, (run_id, event_id), populate_existing=True)


def open_events(session: Session, run_id: UUID, rank: int, monitor: str, kinds: Collection[str]) -> Sequence[Event]:
    """The events of these kinds that go on in a monitor of one rank, whichever attempt they began in."""
    if not kinds:
        return []
    of_monitor = (Event.run_id == run_id, Event.rank == rank, Event.monitor == monitor)
    going_on = select(Event).where(*of_monitor, Event.kind.in_(kinds), Event.status == "open")
    return session.scalars(going_on.order_by(Event.start_frame, Event.event_id)).all()


def find_inherited_event(
    session: Session, run_id: UUID, rank: int, monitor: str, kind: str, start: tuple[int, int]
) -> Event | None:
    """An event that an earlier attempt of the same rank left open; ``start`` is its frame and step."""
    statement = select(Event).where(
        Event.run_id == run_id,
        Event.rank == rank,
        Event.monitor == monitor,
        Event.kind == kind,
        Event.status == "open",
        Event.start_frame == start[0],
        Event.start_step == start[1],
    )
    return session.scalars(statement.order_by(Event.opened_at, Event.event_id).limit(1)).one_or_none()


def find_older_events(
    session: Session, run_id: UUID, rank: int, monitor: str, detector_version: int
) -> Sequence[Event]:
    """The events that detectors of an earlier version left open, the oldest first."""
    statement = select(Event).where(
        Event.run_id == run_id,
        Event.rank == rank,
        Event.monitor == monitor,
        Event.status == "open",
        Event.detector_version < detector_version,
    )
    return session.scalars(statement.order_by(Event.opened_at, Event.event_id)).all()


def _of_stream(table: type[Stream], key: StreamKey) -> tuple[ColumnElement[bool], ...]:
    """The row of one stream; the run comes first, as everywhere."""
    return (table.run_id == key.run_id, table.attempt_id == key.attempt_id, table.monitor == key.monitor)
