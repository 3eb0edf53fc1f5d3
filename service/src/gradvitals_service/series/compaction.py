"""Say which chunks of a stream become a block or a segment, and make what replaces them.

Pure: rows and columns in, tasks and blobs out. Chunks of at most 256 frames are kept until they make a block of 1,024;
blocks until they make a segment of 16,384 frames or 4M values. Of a stream that has ended, or that nothing has been
sent to for long, what is left becomes a segment too, unless it is so little that a row a column would be the larger.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np

from gradvitals_service.series.codec import ChunkColumns, CorruptChunkError, encode_columns, join_chunks
from gradvitals_service.series.rollup import LEVELS, MOST_BUCKETS, Rollup, append, encode_rollup, roll_up
from gradvitals_service.series.segments import encode_column, encode_segment, segment_frames

BLOCK_FRAMES = 1024
LEAST_IN_SEGMENT = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a chunk or block without reading it."""

    first: int
    n: int
    layout_id: str

    @property
    def end(self) -> int:
        """The index after that of its last frame."""
        return self.first + self.n


@dataclass(frozen=True, slots=True)
class Task:
    """Consecutive rows of a stream that become one."""

    becomes: Literal["block", "segment"]
    rows: tuple[Row, ...]


def plan(
    rows: Sequence[Row],
    layer_count: Callable[[str], int],
    *,
    ended: bool,
    spoiled: Collection[int] = (),
    least: int = LEAST_IN_SEGMENT,
) -> list[Task]:
    """What to do with the rows of one stream, given in order.

    ``spoiled`` are the firsts of rows that cannot be read: they stay as they are, and nothing reaches across them.
    """
    tasks: list[Task] = []
    stretches = list(_stretches(rows, spoiled))
    for place, stretch in enumerate(stretches):
        size = segment_frames(layer_count(stretch[0].layout_id))
        closed = ended or place + 1 < len(stretches)
        full, rest = _take_full(stretch, size)
        tasks += [Task("segment", part) for part in full]
        frames = sum(row.n for row in rest)
        if closed and frames >= min(least, size):
            tasks.append(Task("segment", rest))
        else:
            tasks += [Task("block", part) for part in _blocks(rest, min(BLOCK_FRAMES, size), closed)]
    return tasks


def _stretches(rows: Sequence[Row], spoiled: Collection[int]) -> Iterator[list[Row]]:
    """Consecutive rows of one layout, parted by those that are spoiled."""
    barriers = 0
    keyed = []
    for row in rows:
        if row.first in spoiled:
            barriers += 1
        else:
            keyed.append((barriers, row))
    for _, group in groupby(keyed, key=lambda pair: (pair[0], pair[1].layout_id)):
        yield [row for _, row in group]


def _take_full(rows: Sequence[Row], size: int) -> tuple[list[tuple[Row, ...]], tuple[Row, ...]]:
    """Parts of at least ``size`` frames each, and the rows that are left."""
    full: list[tuple[Row, ...]] = []
    part: list[Row] = []
    frames = 0
    for row in rows:
        part.append(row)
        frames += row.n
        if frames >= size:
            full.append(tuple(part))
            part, frames = [], 0
    return full, tuple(part)


def _blocks(rows: Sequence[Row], size: int, closed: bool) -> Iterator[tuple[Row, ...]]:
    """Small rows without a gap between them: what makes a block, and the rest of them once nothing follows."""
    part: list[Row] = []
    frames = 0
    for row in rows:
        if row.n >= size or (part and part[-1].end != row.first):
            if len(part) > 1:
                yield tuple(part)
            part, frames = [], 0
        if row.n < size:
            part.append(row)
            frames += row.n
        if frames >= size:
            yield tuple(part)  # more than one, since each is smaller
            part, frames = [], 0
    if closed and len(part) > 1:
        yield tuple(part)


def block_of(parts: Sequence[ChunkColumns]) -> dict[str, Any]:
    """The values of the row that replaces some chunks."""
    frames = join_chunks(parts)
    columns, layer_columns = encode_columns(frames)
    return {"n": len(frames), **_steps(frames), "columns": columns, "layer_columns": layer_columns}


@dataclass(frozen=True, slots=True)
class GrowingRollup:
    """The newest row of one level, which may still take buckets; ``rollup`` is None where it cannot be read."""

    first: int
    n: int
    buckets: int
    layout_id: str
    rollup: Rollup | None


@dataclass(frozen=True, slots=True)
class RollupChange:
    """A row of rollups to write; ``replaces`` is the row as it was, None for a new one."""

    level: int
    replaces: GrowingRollup | None
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewSegment:
    """All that replaces some blocks."""

    values: dict[str, Any]
    columns: dict[str, bytes]
    rollups: list[RollupChange]


def segment_of(rows: Sequence[Row], parts: Sequence[ChunkColumns], growing: dict[int, GrowingRollup]) -> NewSegment:
    """A segment of some chunks or blocks, and the rollups as they are with it."""
    frames = join_chunks(parts)
    frame = np.concatenate([np.arange(row.first, row.end, dtype=np.int64) for row in rows])
    if len(frame) != len(frames):
        raise CorruptChunkError(f"{len(frames)} frames where the rows promise {len(frame)}")
    values = {
        "first": rows[0].first,
        "end": rows[-1].end,
        "n": len(frames),
        "layout_id": rows[0].layout_id,
        **_steps(frames),
        "has_layers": True,
        "newest_layers": encode_column(frames.layer_norms[-1], "<f4"),
    }
    rolled = roll_up(frames)
    rollups = [_grow(level, rolled[level], growing.get(level), rows[0]) for level in LEVELS]
    return NewSegment(values, encode_segment(frame, frames), rollups)


def _grow(level: int, newer: Rollup, grown: GrowingRollup | None, row: Row) -> RollupChange:
    """Put buckets behind those of the newest row, if they fit in and belong together."""
    replaces, first = None, row.first
    if grown is not None and grown.rollup is not None and grown.layout_id == row.layout_id:
        together = append(grown.rollup, newer, level)
        if len(together) <= MOST_BUCKETS:
            newer, replaces, first = together, grown, grown.first
    columns, layer_columns = encode_rollup(newer)
    values = {
        "first": first,
        "n": int(newer.extent.frames.sum()),
        "buckets": len(newer),
        "layout_id": row.layout_id,
        "first_step": int(newer.extent.first_step[0]),
        "last_step": int(newer.extent.last_step[-1]),
        "columns": columns,
        "layer_columns": layer_columns,
    }
    return RollupChange(level, replaces, values)


def _steps(frames: ChunkColumns) -> dict[str, int]:
    return {"first_step": int(frames.columns["step"][0]), "last_step": int(frames.columns["step"][-1])}
