"""Watch one stream: keep its detectors, and bring their state back from what is stored.

A ``Watch`` is what a writer remembers of a stream between chunks. It can always be made anew: from the stream's newest
snapshot and the frames after it, or, for a new attempt, from the stream of the attempt before.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import structlog
from sqlalchemy.orm import Session

from gradvitals_service.health.detectors import NORMAL, Detectors, EventUpdate, Frames, Options
from gradvitals_service.health.groups import Groups
from gradvitals_service.ingest import queries
from gradvitals_service.ingest.queries import Snapshot, StreamHead, StreamKey
from gradvitals_service.runs.models import Attempt
from gradvitals_service.series import flags
from gradvitals_service.series.codec import ChunkColumns, CorruptChunkError
from gradvitals_service.series.history import frames_from

SNAPSHOT_FRAMES = 1024
SNAPSHOT_AGE = timedelta(seconds=10)

log = structlog.get_logger()


@dataclass(slots=True)
class Watch:
    """The judgement of one stream so far: ``detectors`` have seen every frame below ``frame``.

    ``next_frame`` was the stream's count when this was remembered: a stream that has gone on without us is restored.
    """

    layout_id: str
    groups: Groups
    detectors: Detectors
    frame: int = 0
    next_frame: int = 0
    saved_frame: int | None = None  # None: this state is in no snapshot that could bring it back
    saved_at: datetime | None = None
    options: Options = NORMAL
    options_revision: int | None = None  # None: the detectors follow what their state says
    is_restored: bool = False  # and has judged nothing new yet: what was open may be judged otherwise now
    evidence_due: int | None = None  # how many frames the stream has when the evidence of an event is complete

    def follow(self, options: Options, revision: int) -> None:
        """Judge the frames from here on as the project has chosen. A change is in a snapshot at once, so that every
        frame is judged again as it was judged first."""
        self.options, self.options_revision = options, revision
        self.groups.ignore(options)
        if self.detectors.follow(options, self.groups.ignored, self.frame):
            self.saved_frame = None

    def use_layout(self, layout_id: str, groups: Groups) -> None:
        """Go on with another layout; where its modules are others, what was usual says nothing any more."""
        groups.ignore(self.options)
        if groups.names == self.groups.names:
            self.detectors.set_trainable(groups.trainable)
            self.detectors.follow(self.options, groups.ignored, self.frame)
        else:
            self.detectors = Detectors(len(groups), groups.trainable, self.options, groups.ignored)
        self.layout_id, self.groups, self.saved_frame = layout_id, groups, None

    def observe(self, first: int, frames: ChunkColumns) -> list[EventUpdate]:
        """Judge the next frames of the stream."""
        updates = self.detectors.observe(_block(first, frames, self.groups))
        self.frame = first + len(frames)
        return updates

    def snapshot_if_due(self, now: datetime) -> Snapshot | None:
        """The state to store, every 1,024 frames or 10 s, and at once when only this memory could bring it back."""
        if self.saved_frame is not None and self.saved_at is not None:
            few, young = self.frame - self.saved_frame < SNAPSHOT_FRAMES, now - self.saved_at < SNAPSHOT_AGE
            if few and young:
                return None
        self.saved_frame, self.saved_at = self.frame, now
        return Snapshot(self.detectors.to_bytes(), self.frame)


def find_watch(
    session: Session, key: StreamKey, head: StreamHead, attempt: Attempt, options: Options = NORMAL
) -> Watch | None:
    """Bring back the watch of a stream that this process does not remember; None where there is nothing to go by.

    It is judged as its state says; ``options`` are for one that has none, and has to be judged anew from the start.
    """
    if head.layout_id is not None:
        return _restore(session, key, head.layout_id, options)
    earlier = queries.earlier_stream(session, attempt, key.monitor)
    if earlier is None:
        return None
    watch = _restore(session, *earlier, options)
    watch.detectors.seam()
    watch.frame, watch.saved_frame = 0, None
    return watch


def new_watch(layout_id: str, groups: Groups, options: Options = NORMAL) -> Watch:
    """The watch of a stream about which nothing is known."""
    groups.ignore(options)
    detectors = Detectors(len(groups), groups.trainable, options, groups.ignored)
    return Watch(layout_id, groups, detectors, options=options)


def read_groups(session: Session, key: StreamKey, layout_id: str) -> Groups:
    """The groups of a layout's layers, by module."""
    layers = queries.read_layers(session, key.run_id, layout_id)
    return Groups(
        [layer.name for layer in layers], [layer.module for layer in layers], [layer.trainable for layer in layers]
    )


def _restore(session: Session, key: StreamKey, layout_id: str, options: Options) -> Watch:
    """From the newest snapshot and the frames after it. What they tell was recorded when it happened."""
    watch = _from_snapshot(session, key, layout_id, options)
    for stored in frames_from(session, key, watch.frame if watch else 0):
        if watch is None:
            watch = new_watch(stored.layout_id, read_groups(session, key, stored.layout_id), options)
        elif stored.layout_id != watch.layout_id:
            watch.use_layout(stored.layout_id, read_groups(session, key, stored.layout_id))
        try:
            parts = stored.decode(len(watch.groups.layer_names))
        except CorruptChunkError as error:  # judge on without it: a stream must not stop for what the disk did
            log.error("chunk_damaged", run_id=str(key.run_id), first=stored.first, reason=str(error))
            continue
        for first, frames in parts:
            seen = max(watch.frame - first, 0)
            if seen < len(frames):
                watch.observe(first + seen, frames.after(seen))
    watch = watch or new_watch(layout_id, read_groups(session, key, layout_id), options)
    watch.is_restored = True
    return watch


def _from_snapshot(session: Session, key: StreamKey, layout_id: str, options: Options) -> Watch | None:
    snapshot = queries.read_snapshot(session, key)
    if snapshot is None:
        return None
    try:
        detectors = Detectors.from_bytes(snapshot.state)
    except ValueError as error:
        log.warning("detector_state_unreadable", run_id=str(key.run_id), monitor=key.monitor, reason=str(error))
        return None
    groups = read_groups(session, key, layout_id)  # a change of layout always takes a snapshot: this one is its
    return Watch(layout_id, groups, detectors, snapshot.frame, saved_frame=snapshot.frame, options=options)


def _block(first: int, frames: ChunkColumns, groups: Groups) -> Frames:
    """The columns as the detectors take them."""
    columns = frames.columns
    return Frames(
        first=first,
        step=columns["step"],
        global_norm=columns["global_norm"],
        clip_coefficient=columns["clip_coefficient"],
        max_norm=columns["max_norm"],
        lr=columns["lr"],
        loss=columns["loss"],
        has_loss=(columns["flags"] & flags.LOSS) != 0,
        flags=columns["flags"],
        group_norms=groups.norms(frames.layer_norms),
        param_norms=groups.norms(frames.param_norms),
        param_rows=frames.param_rows.astype(np.int64),
    )
