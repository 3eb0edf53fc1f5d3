"""Compact the streams of this database in the background, one after the other.

One thread; ``start`` and ``close`` are called from others. It reads and prepares on connections of its own, and gives
the writer only the swap, which is one transaction: a compactor that is killed at any moment has changed nothing or all.
Several services may compact the same database. What one has prepared is not written once another one was faster.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.background import Chore
from gradvitals_service.errors import NotFoundError
from gradvitals_service.ingest.queries import StreamKey, layout_size
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.writer import SECONDS_TO_WRITE, Item, Submits
from gradvitals_service.runs.queries import lock_run
from gradvitals_service.series import compaction_queries as queries
from gradvitals_service.series.codec import ChunkColumns, CorruptChunkError, decode_chunk_columns
from gradvitals_service.series.compaction import BLOCK_FRAMES, LEAST_IN_SEGMENT, Task, block_of, plan, segment_of
from gradvitals_service.series.compaction_queries import OvertakenError, Standing, StoredBlobs

IDLE_SECONDS = 600.0
SECONDS_BETWEEN = 2.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Seen:
    """What is remembered of a stream since it was last looked at."""

    next_frame: int
    since: float  # when the stream was first seen at next_frame
    looked_at: int = -1  # next_frame when its rows were last listed
    as_ended: bool = False
    spoiled: set[int] = field(default_factory=set)  # firsts of rows that cannot be read


class Compactor(Chore):
    """Works from ``start`` to ``close``; ``work`` is one round of it."""

    def __init__(
        self,
        session_factory: sessionmaker[Session],
        writer: Submits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("compactor", SECONDS_BETWEEN)
        self._session_factory = session_factory
        self._writer = writer
        self._clock = clock
        self._seen: dict[StreamKey, _Seen] = {}

    def work(self) -> int:
        """Do all that is due; gives how many blocks and segments were made."""
        with self._session_factory.begin() as session:
            standings = queries.unsettled(session)
        self._forget_others(standings)
        made = 0
        for standing in standings:
            if self.closing:
                break
            seen, ended = self._look(standing)
            if ended != seen.as_ended or standing.next_frame - seen.looked_at >= BLOCK_FRAMES or seen.looked_at < 0:
                made += self.compact(standing, seen.spoiled, ended=ended)
                seen.looked_at, seen.as_ended = standing.next_frame, ended
        return made

    def compact(
        self, standing: Standing, spoiled: set[int] | None = None, *, ended: bool, least: int = LEAST_IN_SEGMENT
    ) -> int:
        """Compact one stream as far as it can be; gives how many blocks and segments were made."""
        spoiled = set() if spoiled is None else spoiled
        key, made, overtaken = standing.key, 0, False
        for task in self._plan(key, spoiled, ended, least):
            if self.closing:
                return made
            try:
                self._do(key, task)
                made += 1
            except _SpoiledRowError as error:  # told by every reading, too; the rest is planned anew next time
                log.error("chunk_damaged", run_id=str(key.run_id), first=error.first, reason=str(error))
                spoiled.add(error.first)
                return made + self.compact(standing, spoiled, ended=ended, least=least)
            except (OvertakenError, NotFoundError):
                overtaken = True
                break
        if ended and not overtaken:
            self._write(key.run_id, partial(_settle, key=key, frame=standing.next_frame), 0)
        return made

    def _look(self, standing: Standing) -> tuple[_Seen, bool]:
        """What is remembered of a stream, and whether it has ended or was idle for long."""
        now = self._clock()
        seen = self._seen.get(standing.key)
        if seen is None:
            seen = self._seen[standing.key] = _Seen(standing.next_frame, now)
        elif seen.next_frame != standing.next_frame:
            seen.next_frame, seen.since = standing.next_frame, now
        return seen, standing.ended or now - seen.since >= IDLE_SECONDS

    def _forget_others(self, standings: list[Standing]) -> None:
        known = {standing.key for standing in standings}
        self._seen = {key: seen for key, seen in self._seen.items() if key in known}

    def _plan(self, key: StreamKey, spoiled: set[int], ended: bool, least: int) -> list[Task]:
        with self._session_factory.begin() as session:
            rows = queries.rows_of(session, key)
            counts = {name: layout_size(session, key.run_id, name) for name in {row.layout_id for row in rows}}
        return plan(rows, counts.__getitem__, ended=ended, spoiled=spoiled, least=least)

    def _do(self, key: StreamKey, task: Task) -> None:
        """Read, prepare, swap. Only the swap needs the writer."""
        with self._session_factory.begin() as session:
            layer_count = layout_size(session, key.run_id, task.rows[0].layout_id)
            stored = queries.blobs_of(session, key, task.rows)
            growing = queries.growing_rollups(session, key, layer_count) if task.becomes == "segment" else {}
        if [blobs.first for blobs in stored] != [row.first for row in task.rows]:
            raise OvertakenError("other rows are there by now")
        parts = [_decode(blobs, row.n, layer_count) for blobs, row in zip(stored, task.rows, strict=True)]
        received_at = max(blobs.received_at for blobs in stored)
        if task.becomes == "block":
            values = block_of(parts)
            swap = partial(queries.replace_by_block, key=key, rows=task.rows, values=values, received_at=received_at)
            size_bytes = len(values["columns"]) + len(values["layer_columns"])
        else:
            segment = segment_of(task.rows, parts, growing)
            swap = partial(
                queries.replace_by_segment, key=key, rows=task.rows, segment=segment, received_at=received_at
            )
            size_bytes = sum(map(len, segment.columns.values()))
        self._write(key.run_id, partial(_swap, run_id=key.run_id, swap=swap), size_bytes)

    def _write(self, run_id: UUID, work: Callable[[Transaction], None], size_bytes: int) -> None:
        self._writer.submit(Item(run_id, work, size_bytes)).result(SECONDS_TO_WRITE)


class _SpoiledRowError(Exception):
    """A chunk cannot be read back."""

    def __init__(self, first: int, reason: str) -> None:
        super().__init__(reason)
        self.first = first


def _decode(stored: StoredBlobs, n: int, layer_count: int) -> ChunkColumns:
    try:
        frames = decode_chunk_columns(stored.columns, stored.layer_columns, layer_count)
    except CorruptChunkError as error:
        raise _SpoiledRowError(stored.first, str(error)) from error
    if len(frames) != n:
        raise _SpoiledRowError(stored.first, f"{len(frames)} frames where {n} are promised")
    return frames


def _swap(transaction: Transaction, run_id: UUID, swap: Callable[..., None]) -> None:
    lock_run(transaction.session, run_id)
    swap(transaction.session)


def _settle(transaction: Transaction, key: StreamKey, frame: int) -> None:
    lock_run(transaction.session, key.run_id)
    queries.settle_stream(transaction.session, key, frame)
