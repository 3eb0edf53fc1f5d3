"""Judge again what is stored of a run, as other choices would have it: what would have paged?

Nothing is written, and no lock is held: the frames are read a few at a time, each time in one state of the database, so
that a training that goes on, and the compaction of its frames, are not held up.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.database import begin_snapshot
from gradvitals_service.health import queries
from gradvitals_service.health.detectors import EventUpdate, Options
from gradvitals_service.health.groups import Groups
from gradvitals_service.health.models import Event
from gradvitals_service.health.queries import JudgedStream
from gradvitals_service.health.recording import MOST_LAYERS_NAMED, event_id
from gradvitals_service.health.watch import Watch, new_watch, read_groups
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.runs.queries import count_frames, get_run
from gradvitals_service.series.codec import ChunkColumns, CorruptChunkError
from gradvitals_service.series.history import StoredChunk, StoredSegment, frames_from

FRAMES_READ = 4096  # or one segment, at a time
FRAMES_JUDGED = 256  # at a time, as a client sends them

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Told:
    """The last word on an event, as it would have been told."""

    event_id: UUID  # of the same event on record, if it has begun at the same frame there
    attempt_id: UUID
    monitor: str
    update: EventUpdate
    layers: list[str]
    pages: bool


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would have been told beside what was; ``left_out`` counts frames whose layers are kept no more."""

    frames: int
    left_out: int
    told: list[Told]
    on_record: list[tuple[Event, bool]]  # and whether it paged

    @property
    def would_page(self) -> int:
        return sum(told.pages for told in self.told)

    @property
    def paged(self) -> int:
        return sum(paged for _, paged in self.on_record)


class Extent(NamedTuple):
    """How much there is to judge; ``values`` are norms of layers, which is what takes time."""

    frames: int
    values: int


def extent(session: Session, run_id: UUID) -> Extent:
    """How much a run has stored; 404 where there is none."""
    get_run(session, run_id)
    streams = queries.judged_streams(session, run_id)
    frames = sum(stream.next_frame for stream in streams)
    return Extent(frames, sum(stream.next_frame * max(stream.layer_count, 1) for stream in streams))


def what_if(
    session_factory: sessionmaker[Session], run_id: UUID, options: Options, on_frames: Callable[[int], None]
) -> WhatIf:
    """Judge a run from its first frame on as ``options`` say; ``on_frames`` hears how many were judged just now.

    What was told before the options of a project changed is on record as it was told: so without any change this may
    say something else than the record.
    """
    with begin_snapshot(session_factory) as session:
        get_run(session, run_id)
        streams = queries.judged_streams(session, run_id)
        stored, _ = count_frames(session, run_id)
        on_record = queries.judged_events(session, run_id)
    rehearsal = _Rehearsal(session_factory, run_id, options, on_frames)
    for stream in streams:
        rehearsal.judge(stream)
    told = sorted(rehearsal.told.values(), key=lambda told: (told.update.start_step, told.update.kind, told.event_id))
    return WhatIf(rehearsal.frames, max(stored - rehearsal.frames, 0), told, on_record)


class _Rehearsal:
    """What one run's streams tell, monitor by monitor; a later attempt goes on from the one before."""

    def __init__(
        self,
        session_factory: sessionmaker[Session],
        run_id: UUID,
        options: Options,
        on_frames: Callable[[int], None],
    ) -> None:
        self.told: dict[UUID, Told] = {}
        self.frames = 0
        self._session_factory = session_factory
        self._run_id = run_id
        self._options = options
        self._on_frames = on_frames
        self._groups: dict[str, Groups] = {}
        self._monitor = ""
        self._watch: Watch | None = None
        self._open: dict[tuple[str, int, int], UUID] = {}  # the attempts that open events began in
        self._first_rows: dict[UUID, NDArray[np.float32] | None] = {}  # the norms [L] at the first frames of events

    def judge(self, stream: JudgedStream) -> None:
        """Judge the frames that a stream has now; those of a monitor come in the order of its attempts."""
        if stream.monitor != self._monitor:
            self._monitor, self._watch, self._open = stream.monitor, None, {}
        if self._watch is not None:
            self._watch.detectors.seam()
            self._watch.frame = 0
        key, frame = StreamKey(self._run_id, stream.attempt_id, stream.monitor), 0
        while frame < stream.next_frame and (pieces := self._read(key, frame)):
            for stored in pieces:
                for first, frames in self._decoded(stored):
                    self._judge_block(key, stream.live, first, frames)
            frame = pieces[-1].end

    def _read(self, key: StreamKey, frame: int) -> list[StoredChunk | StoredSegment]:
        """The next frames that are stored, and the layers they are of."""
        pieces: list[StoredChunk | StoredSegment] = []
        with begin_snapshot(self._session_factory) as session, closing(frames_from(session, key, frame)) as stored:
            for piece in stored:
                pieces.append(piece)
                if sum(piece.n for piece in pieces) >= FRAMES_READ:
                    break
        with begin_snapshot(self._session_factory) as session:
            for layout_id in {piece.layout_id for piece in pieces} - self._groups.keys():
                self._groups[layout_id] = read_groups(session, key, layout_id)
        return pieces

    def _decoded(self, stored: StoredChunk | StoredSegment) -> Iterator[tuple[int, ChunkColumns]]:
        """The frames of a piece that are not judged yet, some at a time."""
        groups = self._groups[stored.layout_id]
        if self._watch is None:
            self._watch = new_watch(stored.layout_id, groups, self._options)
        elif stored.layout_id != self._watch.layout_id:
            self._watch.use_layout(stored.layout_id, groups)
        try:
            parts = stored.decode(len(groups.layer_names))
        except CorruptChunkError as error:
            log.warning("chunk_damaged", run_id=str(self._run_id), first=stored.first, reason=str(error))
            return
        for first, frames in parts:
            for start in range(max(self._watch.frame - first, 0), len(frames), FRAMES_JUDGED):
                yield first + start, frames.after(start).before(FRAMES_JUDGED)

    def _judge_block(self, key: StreamKey, live: bool, first: int, frames: ChunkColumns) -> None:
        assert self._watch is not None
        for update in self._watch.observe(first, frames):
            self._hear(key, live, update, (first, frames))
        self.frames += len(frames)
        self._on_frames(len(frames))

    def _hear(self, key: StreamKey, live: bool, update: EventUpdate, block: tuple[int, ChunkColumns]) -> None:
        """Keep the newest word on an event; one that an earlier attempt left open stays that attempt's."""
        assert self._watch is not None
        known_as = (update.kind, update.start_frame, update.start_step)
        attempt_id = self._open.get(known_as, key.attempt_id)
        if update.status == "open":
            self._open[known_as] = attempt_id
        else:
            self._open.pop(known_as, None)
        told_id = event_id(StreamKey(key.run_id, attempt_id, key.monitor), update.kind, update.start_frame)
        self.told[told_id] = Told(
            event_id=told_id,
            attempt_id=attempt_id,
            monitor=key.monitor,
            update=update,
            layers=self._layers(told_id, update, block),
            pages=update.severity == "critical" and self._became_critical_live(told_id, live),
        )

    def _became_critical_live(self, told_id: UUID, live: bool) -> bool:
        """Whether an event that is critical became so while somebody was to be paged."""
        before = self.told.get(told_id)
        return before.pages if before is not None and before.update.severity == "critical" else live

    def _layers(self, told_id: UUID, update: EventUpdate, block: tuple[int, ChunkColumns]) -> list[str]:
        """As they are named live: of each group the tensor that stood out at the event's first frame."""
        assert self._watch is not None
        first, frames = block
        if told_id not in self._first_rows:
            within = first <= update.start_frame < first + len(frames)
            self._first_rows[told_id] = frames.layer_norms[update.start_frame - first].copy() if within else None
        groups, row = self._watch.groups, self._first_rows[told_id]
        if row is not None:
            row = groups.heeded(row) if len(row) == len(groups.layer_names) else None
        return groups.tensors_of(update.groups, row)[:MOST_LAYERS_NAMED]
