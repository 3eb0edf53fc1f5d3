"""Let the norms of layers go once they are older than a project keeps them; buckets, scalars and events stay for ever.

What is still in chunks is compacted first, so that it has buckets too.
"""

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.background import Chore
from gradvitals_service.errors import NotFoundError
from gradvitals_service.health.evidence import complete_stream
from gradvitals_service.ingest.models import Stream
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.writer import SECONDS_TO_WRITE, Item, Submits
from gradvitals_service.projects.models import Project
from gradvitals_service.runs.models import Run
from gradvitals_service.runs.queries import lock_run
from gradvitals_service.series.compaction_queries import Standing
from gradvitals_service.series.compactor import Compactor
from gradvitals_service.series.models import Chunk, Segment, SegmentColumn

SECONDS_BETWEEN = 3600.0


class Retention(Chore):
    """Looks every hour for layers that are too old. A segment goes in one transaction."""

    def __init__(self, session_factory: sessionmaker[Session], writer: Submits, compactor: Compactor) -> None:
        super().__init__("retention", SECONDS_BETWEEN)
        self._session_factory = session_factory
        self._writer = writer
        self._compactor = compactor

    def work(self, now: datetime | None = None) -> int:
        """Remove what is too old; gives from how many segments."""
        removed = 0
        with self._session_factory.begin() as session:
            kept = select(Project.project_id, Project.raw_layer_days).where(Project.raw_layer_days.is_not(None))
            projects = [(project.project_id, project.raw_layer_days) for project in session.execute(kept)]
        for project_id, days in projects:
            before = (now or datetime.now(UTC)) - timedelta(days=days)
            with self._session_factory.begin() as session:
                standings = _with_old_chunks(session, project_id, before)
            for standing in standings:
                self._compactor.compact(standing, ended=True, least=1)
            with self._session_factory.begin() as session:
                segments = _old_segments(session, project_id, before)
            for key, first in segments:
                if self.closing:
                    return removed
                work = partial(_remove_layers, key=key, first=first)
                try:
                    self._writer.submit(Item(key.run_id, work)).result(SECONDS_TO_WRITE)
                except NotFoundError:  # the run was deleted meanwhile
                    continue
                removed += 1
        return removed


def _with_old_chunks(session: Session, project_id: UUID, before: datetime) -> list[Standing]:
    """The streams that have chunks from before a time."""
    same = and_(Chunk.run_id == Stream.run_id, Chunk.attempt_id == Stream.attempt_id, Chunk.monitor == Stream.monitor)
    statement = (
        select(Stream.run_id, Stream.attempt_id, Stream.monitor, Stream.next_frame)
        .join(Run, Run.run_id == Stream.run_id)
        .join(Chunk, same)
        .where(Run.project_id == project_id, Chunk.received_at < before)
        .distinct()
    )
    return [
        Standing(StreamKey(run_id, attempt_id, monitor), next_frame, 0, ended=True)
        for run_id, attempt_id, monitor, next_frame in session.execute(statement)
    ]


def _old_segments(session: Session, project_id: UUID, before: datetime) -> list[tuple[StreamKey, int]]:
    """The segments whose newest frame came before a time, and that have their layers."""
    statement = (
        select(Segment.run_id, Segment.attempt_id, Segment.monitor, Segment.first)
        .join(Run, Run.run_id == Segment.run_id)
        .where(Run.project_id == project_id, Segment.received_at < before, Segment.has_layers)
    )
    found = session.execute(statement)
    return [(StreamKey(run_id, attempt_id, monitor), first) for run_id, attempt_id, monitor, first in found]


def _remove_layers(transaction: Transaction, key: StreamKey, first: int) -> None:
    session = transaction.session
    lock_run(session, key.run_id)
    complete_stream(session, key)  # of a stream that ended without a word, whose evidence waits for frames
    in_columns, in_segments = (
        (table.run_id == key.run_id, table.attempt_id == key.attempt_id, table.monitor == key.monitor)
        for table in (SegmentColumn, Segment)
    )
    of_layers = or_(SegmentColumn.name.startswith("layer/"), SegmentColumn.name == "params")
    session.execute(delete(SegmentColumn).where(*in_columns, SegmentColumn.first == first, of_layers))
    session.execute(update(Segment).where(*in_segments, Segment.first == first).values(has_layers=False))
