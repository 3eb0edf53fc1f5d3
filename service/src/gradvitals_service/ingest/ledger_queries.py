"""The statements of the hot path: what taking chunks reads under the run's lock, and what it writes for many at once.

On PostgreSQL each of them names one run, since a transaction there holds the work of one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    Connection,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    func,
    insert,
    select,
    tuple_,
    update,
)

from gradvitals_service.errors import NotFoundError
from gradvitals_service.ingest.models import Stream
from gradvitals_service.ingest.queries import Snapshot, StreamHead, StreamKey, unknown_attempt
from gradvitals_service.projects.models import Project
from gradvitals_service.runs.models import Attempt, Layout, Run
from gradvitals_service.runs.queries import DELETED
from gradvitals_service.series.models import Chunk as StoredChunk

# On tables, not on mapped classes, and made once: these take and give plain values, without the mapper's work for each
# row, and without SQLAlchemy's for each statement.
_RUNS, _PROJECTS, _ATTEMPTS, _STREAMS, _CHUNKS, _LAYOUTS = (
    cast(Table, mapped.__table__) for mapped in (Run, Project, Attempt, Stream, StoredChunk, Layout)
)
Cells = tuple[Any, ...]

_INSERT_STREAM, _INSERT_CHUNK = insert(_STREAMS), insert(_CHUNKS)
_OF_PROJECT = _RUNS.join(_PROJECTS, _PROJECTS.c.project_id == _RUNS.c.project_id)
_RUN_HEAD = (
    _RUNS.c.event_revision,
    _RUNS.c.sparkline,
    _RUNS.c.pace,
    _RUNS.c.waiting_since,
    _RUNS.c.longest_gap_seconds,
    _PROJECTS.c.detection_revision,
)
_LOCK_RUN = (
    select(*_RUN_HEAD)
    .select_from(_OF_PROJECT)
    .where(_RUNS.c.run_id == bindparam("run"), _RUNS.c.state != DELETED)
    .with_for_update(key_share=True, of=_RUNS)
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
    pace=bindparam("pace"),
    waiting_since=bindparam("waiting_since"),
    longest_gap_seconds=bindparam("longest_gap_seconds"),
    overdue_at=bindparam("overdue_at"),
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
_LOCK_RUNS = (
    select(_RUNS.c.run_id, *_RUN_HEAD)
    .select_from(_OF_PROJECT)
    .where(_RUNS.c.run_id.in_(bindparam("runs", expanding=True)), _RUNS.c.state != DELETED)
    .with_for_update(key_share=True, of=_RUNS)
)
_ATTEMPT = (_ATTEMPTS.c.run_id, _ATTEMPTS.c.attempt_id)
_READ_ATTEMPTS = select(
    *_ATTEMPT, _ATTEMPTS.c.rank, _ATTEMPTS.c.started_at, _ATTEMPTS.c.declared_state, _ATTEMPTS.c.state
).where(tuple_(*_ATTEMPT).in_(bindparam("attempts", expanding=True)))
_STREAM = (_STREAMS.c.run_id, _STREAMS.c.attempt_id, _STREAMS.c.monitor)
_READ_STREAMS = select(*_STREAM, _STREAMS.c.next_frame, _STREAMS.c.last_step, _STREAMS.c.layout_id).where(
    tuple_(*_STREAM).in_(bindparam("streams", expanding=True))
)
_LAYOUT = (_LAYOUTS.c.run_id, _LAYOUTS.c.layout_id)
_READ_LAYOUTS = select(*_LAYOUT, _LAYOUTS.c.layer_count).where(
    tuple_(*_LAYOUT).in_(bindparam("layouts", expanding=True))
)


@dataclass(slots=True)
class RunHead:
    """What taking a chunk needs of its run's row, which is ours alone until the transaction ends, and of its project's:
    how often that has changed its mind about detection."""

    event_revision: int
    sparkline: bytes | None
    pace: bytes | None
    waiting_since: datetime | None
    longest_gap_seconds: float
    detection_revision: int


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
    pace: bytes
    waiting_since: datetime
    longest_gap_seconds: float
    overdue_at: datetime

    def followed_by(self, newer: "Figures") -> "Figures":
        """These and newer ones as if they had come together."""
        loss = self.loss if newer.loss is None else newer.loss
        judged, clipped = self.judged + newer.judged, self.clipped + newer.clipped
        return replace(newer, loss=loss, judged=judged, clipped=clipped)


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
        raise unknown_attempt(key)
    rank, started_at, declared_state, state, next_frame, last_step, newest_layout, layer_count = row
    exists = next_frame is not None
    head = StreamHead(True, next_frame, last_step, newest_layout) if exists else StreamHead(exists=False)
    return Place(rank, started_at, declared_state, state, head, layer_count)


def lock_run_heads(connection: Connection, run_ids: Collection[UUID]) -> dict[UUID, RunHead]:
    """As ``lock_run_head`` for several runs; those that are not known are left out."""
    rows = connection.execute(_LOCK_RUNS, {"runs": list(run_ids)})
    return {run_id: RunHead(*head) for run_id, *head in rows}


def read_places(connection: Connection, asked: Sequence[tuple[StreamKey, str]]) -> dict[tuple[StreamKey, str], Place]:
    """As ``read_place`` for several streams; those whose attempt is not known are left out."""

    def read(
        statement: Select[Any], name: str, keys: Collection[tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        rows = connection.execute(statement, {name: list(keys)})
        width = len(next(iter(keys)))
        return {tuple(row[:width]): tuple(row[width:]) for row in rows}

    attempts = read(_READ_ATTEMPTS, "attempts", {(key.run_id, key.attempt_id) for key, _ in asked})
    streams = read(_READ_STREAMS, "streams", {(key.run_id, key.attempt_id, key.monitor) for key, _ in asked})
    layouts = read(_READ_LAYOUTS, "layouts", {(key.run_id, layout_id) for key, layout_id in asked})
    places = {}
    for key, layout_id in asked:
        attempt = attempts.get((key.run_id, key.attempt_id))
        stream = streams.get((key.run_id, key.attempt_id, key.monitor))
        layout = layouts.get((key.run_id, layout_id))
        if attempt is not None:
            head = StreamHead(exists=False) if stream is None else StreamHead(True, *stream)
            rank, started_at, declared_state, state = attempt
            layer_count = None if layout is None else layout[0]
            places[key, layout_id] = Place(rank, started_at, declared_state, state, head, layer_count)
    return places


def save_runs(connection: Connection, seen: Mapping[UUID, tuple[Figures | None, datetime]]) -> None:
    """These runs were heard of; the figures of one change only where there are newer ones."""
    counted, only_seen = [], []
    for run_id, (figures, now) in seen.items():
        values = {"run": run_id, "last_seen_at": now}
        if figures is None:
            only_seen.append(values)
        else:
            counted.append(values | {name: getattr(figures, name) for name in Figures.__slots__})
    _execute(connection, _COUNT_RUN_UP, counted)
    _execute(connection, _SEE_RUN, only_seen)


def insert_stream(connection: Connection, key: StreamKey, head: StreamHead) -> None:
    """Begin a stream."""
    connection.execute(_INSERT_STREAM, key.columns() | _progress(head))


def save_streams(
    connection: Connection, advanced: Mapping[StreamKey, StreamHead], snapshots: Mapping[StreamKey, Snapshot]
) -> None:
    """Write how far streams are now, and the state of the detectors of those that have a snapshot."""
    plain, with_detectors = [], []
    for key, head in advanced.items():
        values = {"run": key.run_id, "attempt": key.attempt_id, "name": key.monitor} | _progress(head)
        snapshot = snapshots.get(key)
        if snapshot is None:
            plain.append(values)
        else:
            with_detectors.append(values | {"detector_state": snapshot.state, "detector_frame": snapshot.frame})
    _execute(connection, _ADVANCE_STREAM, plain)
    _execute(connection, _ADVANCE_STREAM_AND_DETECTORS, with_detectors)


def insert_chunks(connection: Connection, chunks: Sequence[dict[str, Any]]) -> None:
    """Store the frames of chunks, each with every column's value."""
    _execute(connection, _INSERT_CHUNK, chunks)


def _progress(head: StreamHead) -> dict[str, Any]:
    return {"next_frame": head.next_frame, "last_step": head.last_step, "layout_id": head.layout_id}


def _execute(connection: Connection, statement: Insert | Update, rows: Sequence[dict[str, Any]]) -> None:
    if len(rows) == 1:
        connection.execute(statement, rows[0])
    elif rows:
        connection.execute(statement, list(rows))
