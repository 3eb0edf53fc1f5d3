"""Every statement about streams, chunks and gaps that taking frames needs. Core, since this is the hot path.

The caller holds the lock of the run's row. Every statement names one run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Table, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from gradvitals_service.errors import NotFoundError
from gradvitals_service.health.models import Event
from gradvitals_service.ingest.exactly_once import LostRange
from gradvitals_service.ingest.models import Gap, Stream
from gradvitals_service.runs.layouts import unpack_layers
from gradvitals_service.runs.models import Attempt, Layout, Run
from gradvitals_service.runs.queries import DELETED
from gradvitals_service.runs.schemas import LayerDeclaration
from gradvitals_service.series.models import Chunk as StoredChunk
from gradvitals_service.series.models import Segment

# On tables, not on mapped classes, and made once: these take and give plain values, without the mapper's work for each
# row, and without SQLAlchemy's for each statement.
_RUNS, _ATTEMPTS, _STREAMS, _CHUNKS, _GAPS, _LAYOUTS = (
    cast(Table, mapped.__table__) for mapped in (Run, Attempt, Stream, StoredChunk, Gap, Layout)
)
_INSERT_STREAM, _INSERT_CHUNK, _INSERT_GAP = (insert(table) for table in (_STREAMS, _CHUNKS, _GAPS))
_LOCK_RUN = (
    select(_RUNS.c.event_revision, _RUNS.c.sparkline)
    .where(_RUNS.c.run_id == bindparam("run"), _RUNS.c.state != DELETED)
    .with_for_update(key_share=True)
)
_UPDATE_RUN = update(_RUNS).where(_RUNS.c.run_id == bindparam("run"))
_COUNT_RUN_UP = _UPDATE_RUN.values(
    last_seen_at=bindparam("last_seen_at"),
    last_step=bindparam("last_step"),
    global_norm=bindparam("global_norm"),
    max_norm=bindparam("max_norm"),
    already_clipped=bindparam("already_clipped"),
    loss=func.coalesce(bindparam("loss", type_=_RUNS.c.loss.type), _RUNS.c.loss),
    judged_frames=_RUNS.c.judged_frames + bindparam("judged"),
    clipped_frames=_RUNS.c.clipped_frames + bindparam("clipped"),
    sparkline=bindparam("sparkline"),
)
_SEE_RUN = _UPDATE_RUN.values(last_seen_at=bindparam("last_seen_at"))
_READ_PLACE = (
    select(
        _ATTEMPTS.c.rank,
        _ATTEMPTS.c.started_at,
        _ATTEMPTS.c.declared_state,
        _ATTEMPTS.c.state,
        _STREAMS.c.next_frame,
        _STREAMS.c.last_step,
        _STREAMS.c.layout_id,
        _LAYOUTS.c.layer_count,
    )
    .select_from(
        _ATTEMPTS.outerjoin(
            _STREAMS,
            (_STREAMS.c.run_id == _ATTEMPTS.c.run_id)
            & (_STREAMS.c.attempt_id == _ATTEMPTS.c.attempt_id)
            & (_STREAMS.c.monitor == bindparam("monitor")),
        ).outerjoin(_LAYOUTS, (_LAYOUTS.c.run_id == _ATTEMPTS.c.run_id) & (_LAYOUTS.c.layout_id == bindparam("layout")))
    )
    .where(_ATTEMPTS.c.run_id == bindparam("run"), _ATTEMPTS.c.attempt_id == bindparam("attempt"))
)
_ADVANCE_STREAM = (
    update(_STREAMS)
    .where(
        _STREAMS.c.run_id == bindparam("run"),
        _STREAMS.c.attempt_id == bindparam("attempt"),
        _STREAMS.c.monitor == bindparam("name"),
    )
    .values(next_frame=bindparam("next_frame"), last_step=bindparam("last_step"), layout_id=bindparam("layout_id"))
)
_ADVANCE_STREAM_AND_DETECTORS = _ADVANCE_STREAM.values(
    detector_state=bindparam("detector_state"), detector_frame=bindparam("detector_frame")
)


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
class RunHead:
    """What taking a chunk needs of its run's row, which is ours alone until the transaction ends."""

    event_revision: int
    sparkline: bytes | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk belongs: its attempt, as far as taking frames needs it, its stream, and its layout's size."""

    rank: int
    started_at: datetime
    declared_state: str
    state: str
    head: StreamHead
    layer_count: int | None  # None: the layout is not known here


@dataclass(frozen=True, slots=True)
class Figures:
    """The newest figures of a run, and what its chunk adds to its counts; ``loss`` is None where none was logged."""

    last_step: int
    global_norm: float
    max_norm: float
    already_clipped: bool
    loss: float | None
    judged: int
    clipped: int
    sparkline: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The detectors' state when they had seen every frame below ``frame``."""

    state: bytes
    frame: int


def lock_run_head(connection: Connection, run_id: UUID) -> RunHead:
    """Take the lock of the run's row, or 404. What else is read of the run must be read after this."""
    row = connection.execute(_LOCK_RUN, {"run": run_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"run {run_id} is not known here: declare it again, then send")
    return RunHead(*row)


def read_place(connection: Connection, key: StreamKey, layout_id: str) -> Place:
    """The attempt of a stream, or 404, and how far the stream is."""
    asked = {"run": key.run_id, "attempt": key.attempt_id, "monitor": key.monitor, "layout": layout_id}
    row = connection.execute(_READ_PLACE, asked).one_or_none()
    if row is None:
        raise _unknown_attempt(key)
    rank, started_at, declared_state, state, next_frame, last_step, newest_layout, layer_count = row
    exists = next_frame is not None
    head = StreamHead(True, next_frame, last_step, newest_layout) if exists else StreamHead(exists=False)
    return Place(rank, started_at, declared_state, state, head, layer_count)


def save_run(connection: Connection, run_id: UUID, figures: Figures | None, now: datetime) -> None:
    """The run was heard of; its figures change only where these are its newest."""
    if figures is None:
        connection.execute(_SEE_RUN, {"run": run_id, "last_seen_at": now})
        return
    values = {name: getattr(figures, name) for name in Figures.__slots__}
    connection.execute(_COUNT_RUN_UP, values | {"run": run_id, "last_seen_at": now})


def get_attempt(session: Session, key: StreamKey) -> Attempt:
    """The attempt of a stream, or 404."""
    attempt = session.get(Attempt, (key.run_id, key.attempt_id), populate_existing=True)
    if attempt is None:
        raise _unknown_attempt(key)
    return attempt


def _unknown_attempt(key: StreamKey) -> NotFoundError:
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


def read_snapshot(session: Session, key: StreamKey) -> Snapshot | None:
    """The newest stored state of the stream's detectors."""
    table = Stream.__table__.c
    statement = select(table.detector_state, table.detector_frame).where(*_of_stream(Stream, key))
    row = session.connection().execute(statement).one_or_none()
    return Snapshot(*row) if row and row.detector_state is not None else None


def save_stream(connection: Connection, key: StreamKey, head: StreamHead, snapshot: Snapshot | None) -> None:
    """Write how far the stream is now, and the state of its detectors if one is given."""
    values: dict[str, Any] = {"next_frame": head.next_frame, "last_step": head.last_step, "layout_id": head.layout_id}
    if snapshot is not None:
        values |= {"detector_state": snapshot.state, "detector_frame": snapshot.frame}
    if not head.exists:
        connection.execute(_INSERT_STREAM, key.columns() | values)
        return
    statement = _ADVANCE_STREAM if snapshot is None else _ADVANCE_STREAM_AND_DETECTORS
    connection.execute(statement, values | {"run": key.run_id, "attempt": key.attempt_id, "name": key.monitor})


def insert_chunk(connection: Connection, key: StreamKey, values: dict[str, Any], received_at: datetime) -> None:
    """Store the frames of one chunk."""
    connection.execute(_INSERT_CHUNK, key.columns() | values | {"received_at": received_at})


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


def _of_stream(table: type[Stream], key: StreamKey) -> tuple[ColumnElement[bool], ...]:
    """The row of one stream; the run comes first, as everywhere."""
    return (table.run_id == key.run_id, table.attempt_id == key.attempt_id, table.monitor == key.monitor)
