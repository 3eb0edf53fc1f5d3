"""Every statement that reads measurements. A chart reads no layers, and only the chunks of the steps asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from gradvitals_service.errors import NotFoundError
from gradvitals_service.ingest.models import Gap, Stream
from gradvitals_service.runs.models import Attempt, Layout
from gradvitals_service.series.attempts import Reach, Span
from gradvitals_service.series.models import Chunk


@dataclass(frozen=True, slots=True)
class Line:
    """The frames of one monitor of one rank of a run, over all its attempts."""

    run_id: UUID
    monitor: str
    rank: int


@dataclass(frozen=True, slots=True)
class StoredColumns:
    """The scalar columns of one chunk, still encoded."""

    first_step: int
    last_step: int
    n: int
    columns: bytes


@dataclass(frozen=True, slots=True)
class StoredLayers:
    """The layers of one chunk, still encoded, with their layout."""

    first: int
    n: int
    last_step: int
    layout: bytes
    layer_count: int
    layer_columns: bytes


def choose_monitor(session: Session, run_id: UUID, asked: str | None) -> str:
    """The monitor asked for, 404 where the run has others; without one ``main``, else the first by name."""
    streams = session.scalars(select(Stream.monitor).where(Stream.run_id == run_id).distinct())
    declared = session.scalars(select(Attempt.monitors).where(Attempt.run_id == run_id))
    known = sorted({*streams, *(name for monitors in declared for name in monitors)})
    if asked is None:
        return "main" if "main" in known or not known else known[0]
    if asked not in known and not (asked == "main" and not known):
        raise NotFoundError(
            f"query.monitor: run {run_id} has no monitor {asked!r}; it has {', '.join(known) or 'none'}"
        )
    return asked


def reaches(session: Session, line: Line) -> list[Reach]:
    """How far each attempt's stored frames reach, oldest attempt first; attempts without frames are left out."""
    of_stream = (Chunk.run_id == Stream.run_id, Chunk.attempt_id == Stream.attempt_id, Chunk.monitor == Stream.monitor)
    oldest = select(Chunk.first_step).where(*of_stream).order_by(Chunk.first).limit(1)
    first_step = oldest.correlate(Stream).scalar_subquery()
    statement = (
        select(Stream.attempt_id, first_step, Stream.last_step)
        .join(Attempt, (Attempt.run_id == Stream.run_id) & (Attempt.attempt_id == Stream.attempt_id))
        .where(Stream.run_id == line.run_id, Stream.monitor == line.monitor, Attempt.rank == line.rank)
        .order_by(Attempt.started_at, Attempt.attempt_id)
    )
    return [
        Reach(attempt_id, first, last) for attempt_id, first, last in session.execute(statement) if first is not None
    ]


def columns_of(
    session: Session, line: Line, span: Span, from_step: int | None, to_step: int | None
) -> Iterator[StoredColumns]:
    """The scalar columns of a span's chunks that touch the steps asked for (ends included), in order."""
    statement = select(Chunk.first_step, Chunk.last_step, Chunk.n, Chunk.columns)
    statement = statement.where(*_of(line, span)).order_by(Chunk.first)
    if from_step is not None:
        statement = statement.where(Chunk.last_step >= from_step)
    if to_step is not None:
        statement = statement.where(Chunk.first_step <= to_step)
    if span.end_step is not None:
        statement = statement.where(Chunk.first_step < span.end_step)
    for row in session.execute(statement, execution_options={"yield_per": 64}):
        yield StoredColumns(*row)


def gaps_of(session: Session, line: Line) -> Sequence[Gap]:
    """The frames that will never come, of all attempts."""
    of_rank = select(Attempt.attempt_id).where(Attempt.run_id == line.run_id, Attempt.rank == line.rank)
    statement = select(Gap).where(Gap.run_id == line.run_id, Gap.monitor == line.monitor, Gap.attempt_id.in_(of_rank))
    return session.scalars(statement.order_by(Gap.first_step, Gap.attempt_id, Gap.first)).all()


def newest_layers(session: Session, line: Line, span: Span) -> StoredLayers | None:
    """The layers of the newest chunk of a span's stream."""
    return _layers(session, line, span)


def layers_with(session: Session, line: Line, span: Span, frame: int) -> StoredLayers | None:
    """The layers of the chunk that holds one frame of a span's stream."""
    return _layers(session, line, span, Chunk.first <= frame, Chunk.first + Chunk.n > frame)


def _layers(session: Session, line: Line, span: Span, *conditions: ColumnElement[bool]) -> StoredLayers | None:
    statement = (
        select(Chunk.first, Chunk.n, Chunk.last_step, Layout.layers, Layout.layer_count, Chunk.layer_columns)
        .join(Layout, (Layout.run_id == Chunk.run_id) & (Layout.layout_id == Chunk.layout_id))
        .where(*_of(line, span), *conditions)
        .order_by(Chunk.first.desc())
        .limit(1)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else StoredLayers(*row)


def _of(line: Line, span: Span) -> tuple[ColumnElement[bool], ...]:
    """The chunks of a span's stream; the run comes first, as everywhere."""
    return (Chunk.run_id == line.run_id, Chunk.attempt_id == span.attempt_id, Chunk.monitor == line.monitor)
