"""Every statement that reads measurements. A chart reads no layers, and only what holds the steps asked for.

One answer takes several statements: the session must see one state of the database, since frames move when they are
compacted (``begin_snapshot``).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, select, union_all
from sqlalchemy.orm import Session

from gradvitals_service.errors import NotFoundError
from gradvitals_service.ingest.models import Gap, Stream
from gradvitals_service.runs.layouts import unpack_names
from gradvitals_service.runs.models import Attempt, Layout, Run
from gradvitals_service.runs.queries import DELETED
from gradvitals_service.series.attempts import Reach, Span, Steps
from gradvitals_service.series.models import Chunk, Compaction, RollupRow, Segment, SegmentColumn

COLUMNS_AT_ONCE = 256  # of about 50 KB each
NAMES_AT_ONCE = 500  # a statement takes only so many values
LAST_STEP = 2**63 - 1

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Line:
    """The frames of one monitor of one rank of a run, over all its attempts."""

    run_id: UUID
    monitor: str
    rank: int


@dataclass(frozen=True, slots=True)
class StoredColumns:
    """One chunk or block, still encoded; ``layer_columns`` only where layers are asked for."""

    first_step: int
    last_step: int
    n: int
    layout_id: str
    columns: bytes
    layer_columns: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredBuckets:
    """One row of buckets, still encoded."""

    first_step: int
    last_step: int
    n: int
    layout_id: str
    columns: bytes
    layer_columns: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """One segment, and the columns of it that were asked for, still encoded."""

    first: int
    first_step: int
    last_step: int
    n: int
    layout_id: str
    has_layers: bool
    data: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredLayers:
    """The layers of one chunk, still encoded, with their layout; of a segment, those of its last frame."""

    first: int
    n: int
    last_step: int
    layout: bytes
    layer_count: int
    layer_columns: bytes
    in_segment: bool = False


def choose_monitor(session: Session, run_id: UUID, asked: str | None) -> str:
    """The monitor asked for, without one ``main``, else the first by name; 404 where there is none, or no such run."""
    connection, run = session.connection(), {"run_id": run_id}
    found = connection.execute(_MONITORS, run).all()
    if not found or found[0].state == DELETED:
        raise NotFoundError(f"there is no run {run_id}")
    streams = {row.monitor for row in found if row.monitor is not None}
    if (asked or "main") in streams:
        return asked or "main"
    declared = connection.execute(_DECLARED_MONITORS, run).scalars()
    known = sorted(streams.union(*declared))
    if asked is None:
        return "main" if "main" in known or not known else known[0]
    if asked not in known and not (asked == "main" and not known):
        raise NotFoundError(
            f"query.monitor: run {run_id} has no monitor {asked!r}; it has {', '.join(known) or 'none'}"
        )
    return asked


def reaches(session: Session, line: Line) -> list[Reach]:
    """How far each attempt's stored frames reach, oldest attempt first; attempts without frames are left out."""
    found = []
    for attempt_id, in_chunks, in_segments, last_step in session.connection().execute(_REACHES, _of_line(line)):
        first_steps = [step for step in (in_chunks, in_segments) if step is not None]
        if first_steps:
            found.append(Reach(attempt_id, min(first_steps), last_step or 0))  # frames always set it
    return found


def count_frames(session: Session, line: Line, span: Span, steps: Steps) -> int:
    """About how many frames there are at some steps, from what is known without reading them."""
    total = 0.0
    for first, last, n in session.connection().execute(_COUNTED, _asked(line, span, steps)).all():
        if first >= steps.first and (steps.end is None or last < steps.end):
            total += n
        else:
            inside = min(last + 1, last + 1 if steps.end is None else steps.end) - max(first, steps.first)
            total += n * inside / (last + 1 - first)
    return round(total)


def step_of_newest(session: Session, line: Line, span: Span, frames: int) -> int:
    """A step from which on a span has at least so many frames, and not many more; else its first one."""
    step, found = span.first_step, 0
    rows = session.connection().execute(_COUNTED, _asked(line, span, Steps(span.first_step, span.end_step)))
    for first_step, _, n in sorted(rows.all(), reverse=True):
        step, found = max(first_step, span.first_step), found + n
        if found >= frames:
            break
    return step


def chunks_in(
    session: Session, line: Line, span: Span, steps: Steps, *, layers: bool = False
) -> Iterator[StoredColumns]:
    """The span's chunks and blocks that touch some steps, in order."""
    statement = _CHUNKS[True].execution_options(yield_per=64) if layers else _CHUNKS[False]
    for row in session.connection().execute(statement, _asked(line, span, steps)):
        yield StoredColumns(*row)


def buckets_in(
    session: Session, line: Line, span: Span, steps: Steps, level: int, *, layers: bool = False
) -> list[StoredBuckets]:
    """The rows of one level that touch some steps, in order."""
    asked = _asked(line, span, steps) | {"level": level}
    return [StoredBuckets(*row) for row in session.connection().execute(_BUCKETS[layers], asked)]


def segments_in(
    session: Session, line: Line, span: Span, steps: Steps, names: Iterable[str]
) -> Iterator[StoredSegment]:
    """The span's segments that touch some steps, in order, with the columns of these names; a few at a time."""
    rows = session.connection().execute(_SEGMENTS, _asked(line, span, steps))
    found = [StoredSegment(*row) for row in rows]
    wanted = sorted(names)
    for batch in batched(found, max(1, COLUMNS_AT_ONCE // len(wanted))):
        segments = {segment.first: segment for segment in batch}
        for some in batched(wanted, NAMES_AT_ONCE):
            asked = {"run_id": line.run_id, "attempt_id": span.attempt_id, "monitor": line.monitor, "names": some}
            between = {"first": batch[0].first, "last": batch[-1].first}
            data = session.connection().execute(_SEGMENT_COLUMNS, asked | between)
            for first, name, blob in data:
                segments[first].data[name] = blob
        yield from batch


def gaps_of(session: Session, line: Line) -> Sequence[Row[UUID, int | None, int | None, int, str]]:
    """The frames that will never come, of all attempts: (attempt_id, first_step, last_step, n, reason)."""
    return session.connection().execute(_GAPS, _of_line(line)).all()


def newest_layers(session: Session, line: Line, span: Span) -> StoredLayers | None:
    """The layers of the newest frame of a span's stream, in the chunk that holds it or beside its segment."""
    chunk = _layers(session, line, span)
    statement = (
        select(Segment.first, Segment.n, Segment.last_step, Layout.layers, Layout.layer_count, Segment.newest_layers)
        .join(Layout, (Layout.run_id == Segment.run_id) & (Layout.layout_id == Segment.layout_id))
        .where(*_of(Segment, line, span))
        .order_by(Segment.first.desc())
        .limit(1)
    )
    row = session.execute(statement).one_or_none()
    if row is not None and (chunk is None or chunk.first < row.first):
        return StoredLayers(*row, in_segment=True)
    return chunk


def layers_with(session: Session, line: Line, span: Span, frame: int) -> StoredLayers | None:
    """The layers of the chunk that holds one frame of a span's stream."""
    return _layers(session, line, span, Chunk.first <= frame, Chunk.first + Chunk.n > frame)


def newest_params(session: Session, line: Line, span: Span) -> tuple[str, bytes] | None:
    """The layout and the norms of the weights of the newest segment that has any."""
    statement = (
        select(Segment.layout_id, SegmentColumn.data)
        .join_from(SegmentColumn, Segment, _same_segment())
        .where(*_of(SegmentColumn, line, span), SegmentColumn.name == "params")
        .order_by(SegmentColumn.first.desc())
        .limit(1)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else (row.layout_id, row.data)


def layout_of(session: Session, run_id: UUID, layout_id: str) -> bytes:
    """The layers of a layout, packed."""
    statement = select(Layout.layers).where(Layout.run_id == run_id, Layout.layout_id == layout_id)
    return session.scalars(statement).one()


def layer_names(session: Session, run_id: UUID) -> dict[str, list[str]]:
    """The names of the layers of each layout of a run."""
    statement = select(Layout.layout_id, Layout.layers).where(Layout.run_id == run_id)
    return {layout_id: unpack_names(packed) for layout_id, packed in session.execute(statement)}


def newest_layout(session: Session, line: Line, span: Span) -> str | None:
    """The layout of the newest frames of a span's stream."""
    of_stream = (Stream.run_id == line.run_id, Stream.attempt_id == span.attempt_id, Stream.monitor == line.monitor)
    return session.scalar(select(Stream.layout_id).where(*of_stream))


def _layers(session: Session, line: Line, span: Span, *conditions: ColumnElement[bool]) -> StoredLayers | None:
    statement = (
        select(Chunk.first, Chunk.n, Chunk.last_step, Layout.layers, Layout.layer_count, Chunk.layer_columns)
        .join(Layout, (Layout.run_id == Chunk.run_id) & (Layout.layout_id == Chunk.layout_id))
        .where(*_of(Chunk, line, span), *conditions)
        .order_by(Chunk.first.desc())
        .limit(1)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else StoredLayers(*row)


def _same_segment() -> ColumnElement[bool]:
    names = ("run_id", "attempt_id", "monitor", "first")
    return and_(*(getattr(Segment, name) == getattr(SegmentColumn, name) for name in names))


def _of(
    table: type[Chunk] | type[Segment] | type[SegmentColumn] | type[RollupRow], line: Line, span: Span
) -> tuple[ColumnElement[bool], ...]:
    """The rows of a span's stream; the run comes first, as everywhere."""
    return (table.run_id == line.run_id, table.attempt_id == span.attempt_id, table.monitor == line.monitor)


def batched(things: Sequence[Thing], size: int) -> Iterator[Sequence[Thing]]:
    """Some at a time."""
    for start in range(0, len(things), size):
        yield things[start : start + size]


def _asked(line: Line, span: Span, steps: Steps) -> dict[str, Any]:
    """The values of ``_touching``."""
    last = LAST_STEP if steps.end is None else steps.end - 1
    stream = {"run_id": line.run_id, "attempt_id": span.attempt_id, "monitor": line.monitor}
    return stream | {"first_step": steps.first, "last_step": last}


def _of_line(line: Line) -> dict[str, Any]:
    return {"run_id": line.run_id, "monitor": line.monitor, "rank": line.rank}


def _reaches() -> Select[UUID, int | None, int | None, int | None]:
    same_chunks, same_compaction = (
        and_(*(getattr(table, name) == getattr(Stream, name) for name in ("run_id", "attempt_id", "monitor")))
        for table in (Chunk, Compaction)
    )
    oldest = select(Chunk.first_step).where(same_chunks).order_by(Chunk.first).limit(1)
    first_step = oldest.correlate(Stream).scalar_subquery()
    return (
        select(Stream.attempt_id, first_step, Compaction.first_step, Stream.last_step)
        .join(Attempt, (Attempt.run_id == Stream.run_id) & (Attempt.attempt_id == Stream.attempt_id))
        .outerjoin(Compaction, same_compaction)
        .where(Stream.run_id == bindparam("run_id"), Stream.monitor == bindparam("monitor"))
        .where(Attempt.rank == bindparam("rank"))
        .order_by(Attempt.started_at, Attempt.attempt_id)
    )


def _gaps() -> Select[UUID, int | None, int | None, int, str]:
    of_rank = select(Attempt.attempt_id).where(Attempt.run_id == bindparam("run_id"), Attempt.rank == bindparam("rank"))
    return (
        select(Gap.attempt_id, Gap.first_step, Gap.last_step, Gap.n, Gap.reason)
        .where(Gap.run_id == bindparam("run_id"), Gap.monitor == bindparam("monitor"), Gap.attempt_id.in_(of_rank))
        .order_by(Gap.first_step, Gap.attempt_id, Gap.first)
    )


def _of_stream(table: type[Chunk] | type[Segment] | type[SegmentColumn] | type[RollupRow]) -> list[ColumnElement[bool]]:
    return [getattr(table, name) == bindparam(name) for name in ("run_id", "attempt_id", "monitor")]


def _touching(table: type[Chunk] | type[Segment] | type[RollupRow]) -> list[ColumnElement[bool]]:
    """Only what has a frame at one of some steps, or may have one."""
    return [
        *_of_stream(table),
        table.last_step >= bindparam("first_step"),
        table.first_step <= bindparam("last_step"),
    ]


# What every chart asks is put together once: that would take longer than to answer it.
_REACHES, _GAPS = _reaches(), _gaps()
_MONITORS = (
    select(Run.state, Stream.monitor)
    .outerjoin(Stream, Stream.run_id == Run.run_id)
    .where(Run.run_id == bindparam("run_id"))
    .distinct()
)
_DECLARED_MONITORS = select(Attempt.monitors).where(Attempt.run_id == bindparam("run_id"))
_COUNTED = union_all(
    *(select(table.first_step, table.last_step, table.n).where(*_touching(table)) for table in (Chunk, Segment))
)
_CHUNK_COLUMNS = (Chunk.first_step, Chunk.last_step, Chunk.n, Chunk.layout_id, Chunk.columns)
_CHUNKS: dict[bool, Any] = {
    layers: select(*_CHUNK_COLUMNS, *([Chunk.layer_columns] if layers else []))
    .where(*_touching(Chunk))
    .order_by(Chunk.first)
    for layers in (False, True)
}
_BUCKET_COLUMNS = (RollupRow.first_step, RollupRow.last_step, RollupRow.n, RollupRow.layout_id, RollupRow.columns)
_BUCKETS: dict[bool, Any] = {
    layers: select(*_BUCKET_COLUMNS, *([RollupRow.layer_columns] if layers else []))
    .where(*_touching(RollupRow), RollupRow.level == bindparam("level"))
    .order_by(RollupRow.first)
    for layers in (False, True)
}
_SEGMENTS = (
    select(Segment.first, Segment.first_step, Segment.last_step, Segment.n, Segment.layout_id, Segment.has_layers)
    .where(*_touching(Segment))
    .order_by(Segment.first)
)
_SEGMENT_COLUMNS = select(SegmentColumn.first, SegmentColumn.name, SegmentColumn.data).where(
    *_of_stream(SegmentColumn),
    SegmentColumn.name.in_(bindparam("names", expanding=True)),
    SegmentColumn.first >= bindparam("first"),
    SegmentColumn.first <= bindparam("last"),
)
