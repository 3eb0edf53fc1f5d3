"""Every statement of compaction. What changes something runs in the writer's transaction, under the lock of the run.

Several services may have prepared the same: whoever comes second finds other rows than it has read, and writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, and_, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from gradvitals_service.database import insert_if_absent
from gradvitals_service.ingest.models import Stream
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.runs.models import Attempt
from gradvitals_service.runs.schemas import FINAL_STATES
from gradvitals_service.series.codec import CorruptChunkError
from gradvitals_service.series.compaction import GrowingRollup, NewSegment, RollupChange, Row
from gradvitals_service.series.models import Chunk, Compaction, RollupRow, Segment, SegmentColumn
from gradvitals_service.series.rollup import LEVELS, Rollup, decode_layer_buckets, decode_metrics

# On tables, not on mapped classes: these take their values as they are, without the mapper's work for each row.
_CHUNKS, _SEGMENTS, _COLUMNS, _ROLLUPS = (
    cast(Table, mapped.__table__) for mapped in (Chunk, Segment, SegmentColumn, RollupRow)
)


class OvertakenError(Exception):
    """What was prepared is not there any more as it was read: somebody else has been faster, or the run is gone."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a stream is, and how far it is compacted."""

    key: StreamKey
    next_frame: int
    settled_frame: int
    ended: bool


@dataclass(frozen=True, slots=True)
class StoredBlobs:
    """The content of one chunk or block."""

    first: int
    received_at: datetime
    columns: bytes
    layer_columns: bytes


def unsettled(session: Session) -> list[Standing]:
    """The streams in which something may be left to do."""
    settled = func.coalesce(Compaction.settled_frame, 0)
    statement = (
        select(Stream.run_id, Stream.attempt_id, Stream.monitor, Stream.next_frame, settled, Attempt.state)
        .join(Attempt, and_(Attempt.run_id == Stream.run_id, Attempt.attempt_id == Stream.attempt_id))
        .outerjoin(Compaction, and_(*_same_stream(Compaction, Stream)))
        .where(or_(Compaction.settled_frame.is_(None), Stream.next_frame > Compaction.settled_frame))
    )
    return [
        Standing(StreamKey(run_id, attempt_id, monitor), next_frame, settled_frame, state in FINAL_STATES)
        for run_id, attempt_id, monitor, next_frame, settled_frame, state in session.execute(statement)
    ]


def rows_of(session: Session, key: StreamKey) -> list[Row]:
    """The stream's chunks and blocks, in order."""
    statement = select(Chunk.first, Chunk.n, Chunk.layout_id).where(*_of(Chunk, key)).order_by(Chunk.first)
    return [Row(first, n, layout_id) for first, n, layout_id in session.execute(statement)]


def blobs_of(session: Session, key: StreamKey, rows: Sequence[Row]) -> list[StoredBlobs]:
    """What some consecutive rows hold."""
    statement = select(Chunk.first, Chunk.received_at, Chunk.columns, Chunk.layer_columns)
    statement = statement.where(*_of(Chunk, key), *_between(rows)).order_by(Chunk.first)
    return [StoredBlobs(*row) for row in session.execute(statement)]


def growing_rollups(session: Session, key: StreamKey, layer_count: int) -> dict[int, GrowingRollup]:
    """The newest row of each level."""
    found = {}
    for level in LEVELS:
        statement = select(RollupRow).where(*_of(RollupRow, key), RollupRow.level == level)
        row = session.scalars(statement.order_by(RollupRow.first.desc()).limit(1)).one_or_none()
        if row is not None:
            found[level] = GrowingRollup(row.first, row.n, row.buckets, row.layout_id, _read(row, layer_count))
    return found


def _read(row: RollupRow, layer_count: int) -> Rollup | None:
    try:
        extent, metrics = decode_metrics(row.columns)
        return Rollup(extent, metrics, decode_layer_buckets(row.layer_columns, extent, layer_count))
    except CorruptChunkError:  # or the layers are others: a new row is begun, this one stays
        return None


def replace_by_block(
    session: Session, key: StreamKey, rows: Sequence[Row], values: Mapping[str, Any], received_at: datetime
) -> None:
    """Put one row where some were."""
    _take_out(session, key, rows)
    new = {"first": rows[0].first, "layout_id": rows[0].layout_id, "received_at": received_at}
    session.connection().execute(insert(_CHUNKS), key.columns() | new | dict(values))


def replace_by_segment(
    session: Session, key: StreamKey, rows: Sequence[Row], segment: NewSegment, received_at: datetime
) -> None:
    """Put a segment and its buckets where some rows were."""
    _take_out(session, key, rows)
    connection = session.connection()
    stream = key.columns()
    connection.execute(insert(_SEGMENTS), stream | segment.values | {"received_at": received_at})
    first = rows[0].first
    columns = [stream | {"name": name, "first": first, "data": data} for name, data in segment.columns.items()]
    connection.execute(insert(_COLUMNS), columns)
    for change in segment.rollups:
        _write_rollup(session, key, change)
    oldest = {"settled_frame": 0, "first_step": segment.values["first_step"]}
    if not insert_if_absent(session, Compaction, stream | oldest):
        unknown = Compaction.first_step.is_(None)
        statement = update(Compaction).where(*_of(Compaction, key), unknown)
        session.execute(statement.values(first_step=segment.values["first_step"]))


def settle_stream(session: Session, key: StreamKey, frame: int) -> None:
    """Nothing is left to do below ``frame``."""
    if not insert_if_absent(session, Compaction, key.columns() | {"settled_frame": frame, "first_step": None}):
        session.execute(update(Compaction).where(*_of(Compaction, key)).values(settled_frame=frame))


def _take_out(session: Session, key: StreamKey, rows: Sequence[Row]) -> None:
    """Delete rows, if they are still what they were when they were read."""
    there = select(Chunk.first, Chunk.n, Chunk.layout_id).where(*_of(Chunk, key), *_between(rows))
    found = [Row(*row) for row in session.execute(there.order_by(Chunk.first))]
    if found != list(rows):
        raise OvertakenError(f"{len(found)} rows where {len(rows)} were")
    session.execute(delete(Chunk).where(*_of(Chunk, key), *_between(rows)))


def _write_rollup(session: Session, key: StreamKey, change: RollupChange) -> None:
    stream = key.columns() | {"level": change.level}
    if change.replaces is None:
        session.connection().execute(insert(_ROLLUPS), stream | change.values)
        return
    replaced = change.replaces
    row = (RollupRow.level == change.level, RollupRow.first == replaced.first)
    as_it_was = (RollupRow.buckets == replaced.buckets, RollupRow.n == replaced.n)
    result = session.connection().execute(
        update(_ROLLUPS).where(*_of(RollupRow, key), *row, *as_it_was).values(change.values),
        execution_options={"preserve_rowcount": True},
    )
    if result.rowcount != 1:
        raise OvertakenError("the rollups have grown meanwhile")


def _between(rows: Sequence[Row]) -> tuple[ColumnElement[bool], ...]:
    return (Chunk.first >= rows[0].first, Chunk.first <= rows[-1].first)


def _same_stream(table: type[Compaction], other: type[Stream]) -> tuple[ColumnElement[bool], ...]:
    names = ("run_id", "attempt_id", "monitor")
    return tuple(getattr(table, name) == getattr(other, name) for name in names)


def _of(
    table: type[Chunk] | type[RollupRow] | type[Compaction] | type[Segment], key: StreamKey
) -> tuple[ColumnElement[bool], ...]:
    """The rows of one stream; the run comes first, as everywhere."""
    return (table.run_id == key.run_id, table.attempt_id == key.attempt_id, table.monitor == key.monitor)
