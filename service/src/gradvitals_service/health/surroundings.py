"""Read the stored frames around one of a stream.

Where the layout changes on the way, all frames are kept, and the layers of those that have the layout of the frame in
the middle: other frames have NaN in their place. What the disk has spoiled is left out. The caller holds the lock of
the run's row, or reads one state of the database.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from gradvitals_service.health.groups import Groups
from gradvitals_service.health.watch import read_groups
from gradvitals_service.ingest.queries import StreamKey, layout_size, read_detection
from gradvitals_service.series.codec import ChunkColumns, CorruptChunkError, join_chunks
from gradvitals_service.series.history import frames_from


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Frames of a stream with the one asked for in row ``start``; ``frame`` are their indices in the stream."""

    frame: NDArray[np.int64]
    frames: ChunkColumns
    start: int
    groups: Groups

    def until_start(self) -> "Surroundings":
        """The same without what came after the frame asked for."""
        end = self.start + 1
        return replace(self, frame=self.frame[:end], frames=self.frames.before(end))


def read_around(session: Session, stream: StreamKey, frame: int, before: int, after: int) -> Surroundings | None:
    """The frame, and as many as there are of those asked for before and after it; None where it cannot be read."""
    first, end = max(frame - before, 0), frame + after + 1
    pieces: list[tuple[int, ChunkColumns, str]] = []
    sizes: dict[str, int] = {}
    for stored in frames_from(session, stream, first, end):
        if stored.layout_id not in sizes:
            sizes[stored.layout_id] = layout_size(session, stream.run_id, stored.layout_id)
        try:
            parts = stored.decode(sizes[stored.layout_id])
        except CorruptChunkError:
            continue
        for start, frames in parts:
            skip = max(first - start, 0)
            if skip < len(frames) and start < end:
                pieces.append((start + skip, frames.after(skip).before(end - start - skip), stored.layout_id))
    layout_id = next((layout_id for start, frames, layout_id in pieces if start <= frame < start + len(frames)), None)
    if layout_id is None:
        return None
    groups = read_groups(session, stream, layout_id)
    groups.ignore(read_detection(session, stream.run_id))
    joined = join_chunks(
        [frames if of == layout_id else _without_layers(frames, len(groups.layer_names)) for _, frames, of in pieces]
    )
    index = np.concatenate([np.arange(start, start + len(frames)) for start, frames, _ in pieces])
    return Surroundings(index, joined, int(np.searchsorted(index, frame)), groups)


def _without_layers(frames: ChunkColumns, layer_count: int) -> ChunkColumns:
    """Frames whose layers are others: theirs say nothing about these."""
    return replace(
        frames,
        layer_norms=np.full((len(frames), layer_count), np.nan, np.float32),
        param_rows=np.empty(0, np.uint32),
        param_norms=np.empty((0, layer_count), np.float32),
        details=[detail | {"non_finite": []} for detail in frames.details],
    )
