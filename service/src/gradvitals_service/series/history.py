"""Read the frames of one stream back in order, wherever they lie: in segments, blocks or chunks.

For the detectors, which need every frame, or all layers of one. The caller holds the lock of the run's row or reads one
state of the database, so that nothing is compacted meanwhile.
"""

from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from gradvitals_service.series.codec import (
    ChunkColumns,
    Columns,
    CorruptChunkError,
    decode_chunk_columns,
    decode_layers,
)
from gradvitals_service.series.models import Chunk, Segment, SegmentColumn
from gradvitals_service.series.segments import (
    decode_column,
    decode_details,
    decode_frame,
    decode_segment,
    layer_column,
)

MOST_ROWS_REMEMBERED = 64


class Stream(Protocol):
    """Whose frames."""

    @property
    def run_id(self) -> UUID: ...

    @property
    def attempt_id(self) -> UUID: ...

    @property
    def monitor(self) -> str: ...


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """One chunk or block, still encoded; see ``codec`` for what the blobs hold."""

    first: int
    n: int
    layout_id: str
    columns: bytes
    layer_columns: bytes

    @property
    def end(self) -> int:
        """The index after that of its last frame."""
        return self.first + self.n

    def decode(self, layer_count: int) -> list[tuple[int, ChunkColumns]]:
        """Its frames without a gap, each part with its first index; CorruptChunkError where a disk has spoiled them."""
        return [(self.first, decode_chunk_columns(self.columns, self.layer_columns, layer_count))]


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """One segment, still encoded."""

    first: int
    end: int  # as of a chunk; frames may be lost in between
    n: int
    layout_id: str
    data: dict[str, bytes]

    def decode(self, layer_count: int) -> list[tuple[int, ChunkColumns]]:
        """As of a chunk; frames that are lost in between part it."""
        frames = decode_segment(self.data, layer_count)
        frame = decode_frame(self.data.get("frame"), self.first, self.n)
        starts = [0, *(np.flatnonzero(np.diff(frame) != 1) + 1).tolist(), len(frame)]
        return [(int(frame[start]), frames.after(start).before(end - start)) for start, end in pairwise(starts)]


def frames_from(
    session: Session, stream: Stream, frame: int, end: int | None = None
) -> Generator[StoredChunk | StoredSegment, None, None]:
    """What holds frames from ``frame`` to before ``end``, in order; segments without their layers are left out."""
    asked = [*_of(Segment, stream), Segment.end > frame, Segment.has_layers]
    wanted = [Chunk.first + Chunk.n > frame]
    if end is not None:
        asked.append(Segment.first < end)
        wanted.append(Chunk.first < end)
    segments = session.execute(
        select(Segment.first, Segment.end, Segment.n, Segment.layout_id).where(*asked).order_by(Segment.first)
    )
    for first, segment_end, n, layout_id in segments.all():
        yield StoredSegment(first, segment_end, n, layout_id, columns_of(session, stream, first))
    chunks = _chunks(stream, *wanted).order_by(Chunk.first)
    with session.connection().execute(chunks, execution_options={"yield_per": 16}) as rows:
        for row in rows:
            yield StoredChunk(*row)


def columns_of(session: Session, stream: Stream, first: int, names: Sequence[str] | None = None) -> dict[str, bytes]:
    """The columns of one segment by name, all or some."""
    statement = select(SegmentColumn.name, SegmentColumn.data)
    statement = statement.where(*_of(SegmentColumn, stream), SegmentColumn.first == first)
    if names is not None:
        statement = statement.where(SegmentColumn.name.in_(names))
    return {row.name: row.data for row in session.execute(statement)}


class RowMemory:
    """The layers of the frames asked for last: an event that goes on asks for its first one again and again."""

    def __init__(self, limit: int = MOST_ROWS_REMEMBERED) -> None:
        self._rows: OrderedDict[Any, NDArray[np.float32] | None] = OrderedDict()
        self._limit = limit

    def get(self, key: Any) -> NDArray[np.float32] | None:
        """A row that is remembered."""
        return self._rows.get(key)

    def put(self, key: Any, row: NDArray[np.float32]) -> None:
        """Remember a row, and forget the oldest."""
        self._rows[key] = row
        while len(self._rows) > self._limit:
            self._rows.popitem(last=False)


_remembered = RowMemory()


def layer_norms_at(session: Session, stream: Stream, frame: int, layer_count: int) -> NDArray[np.float32] | None:
    """The norms [L] of one frame; None where it is not stored, was spoiled, or has other layers than expected."""
    chunk = session.connection().execute(_chunks(stream, Chunk.first <= frame, Chunk.first + Chunk.n > frame)).first()
    try:
        if chunk is not None:
            norms, _, _ = decode_layers(chunk.layer_columns, chunk.n, layer_count)
            return np.asarray(norms[frame - chunk.first])
        key = (stream.run_id, stream.attempt_id, stream.monitor, frame, layer_count)
        row = _remembered.get(key)
        if row is None:
            row = _norms_in_segment(session, stream, frame, layer_count)
            if row is not None:
                _remembered.put(key, row)
        return row
    except CorruptChunkError:
        return None


def _norms_in_segment(session: Session, stream: Stream, frame: int, layer_count: int) -> NDArray[np.float32] | None:
    holds_it = (Segment.first <= frame, Segment.end > frame, Segment.has_layers)
    found = session.execute(select(Segment.first, Segment.n).where(*_of(Segment, stream), *holds_it)).first()
    if found is None:
        return None
    names = ["frame", *map(layer_column, range(layer_count + 1))]
    data = columns_of(session, stream, found.first, names)
    place = np.flatnonzero(decode_frame(data.pop("frame", None), found.first, found.n) == frame)
    if not len(place) or len(data) != layer_count:
        return None
    return np.array([decode_column(data[layer_column(layer)])[0][place[0]] for layer in range(layer_count)], np.float32)


def columns_in_segment(session: Session, stream: Stream, first: int) -> Columns:
    """What a segment's frames say of their loss, and their details."""
    data = columns_of(session, stream, first, ["step", "loss", "flags", "details"])
    details = decode_details(data.pop("details", None))
    if len(data) != 3:
        raise CorruptChunkError("a segment has lost a column")
    return Columns({name: decode_column(blob)[0] for name, blob in data.items()}, {}, details)


def _chunks(stream: Stream, *conditions: ColumnElement[bool]) -> Any:
    columns = (Chunk.first, Chunk.n, Chunk.layout_id, Chunk.columns, Chunk.layer_columns)
    return select(*columns).where(*_of(Chunk, stream), *conditions)


def _of(table: type[Chunk] | type[Segment] | type[SegmentColumn], stream: Stream) -> tuple[ColumnElement[bool], ...]:
    """The rows of one stream; the run comes first, as everywhere."""
    return (table.run_id == stream.run_id, table.attempt_id == stream.attempt_id, table.monitor == stream.monitor)
