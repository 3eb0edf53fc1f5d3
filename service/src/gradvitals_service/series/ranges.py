"""Read some steps of one attempt: as buckets that are kept where they lie in the range, and frame by frame elsewhere.

Frame by frame are the edges of the range, what is not compacted yet, and all of it where every frame is asked for. What
a disk has spoiled is told and left out; where it is buckets, the frames below them are read instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from gradvitals_service.series import queries
from gradvitals_service.series.attempts import Span, Steps
from gradvitals_service.series.codec import (
    COLUMN_TYPES,
    Array,
    Columns,
    CorruptChunkError,
    decode_columns,
    join_columns,
    scalar_key,
)
from gradvitals_service.series.downsample import Buckets, Integers, Kept
from gradvitals_service.series.metrics import FRAME_METRICS, columns_for, metric_column, scalar_name
from gradvitals_service.series.queries import Line, StoredBuckets, StoredColumns, StoredSegment
from gradvitals_service.series.rollup import LEVELS, Extent, decode_metrics
from gradvitals_service.series.segments import decode_column, scalar_column

log = structlog.get_logger()

K = TypeVar("K", bound=Kept)


class RemovedError(Exception):
    """The layers are gone because the project keeps them only for so long; no fault, and told as such."""


@dataclass(frozen=True, slots=True)
class Part(Generic[K]):
    """Consecutive buckets; frames that were read one by one are buckets of one."""

    extent: Extent
    metrics: dict[str, K]

    def within(self, steps: Steps) -> "Part[K]":
        """The buckets that lie in some steps altogether."""
        inside = steps.holds(self.extent.first_step, self.extent.last_step)
        if inside.all():
            return self
        return Part(self.extent.select(inside), {name: values.select(inside) for name, values in self.metrics.items()})


@dataclass(slots=True)
class Found(Generic[K]):
    """What was read, and what could not be."""

    parts: list[Part[K]] = field(default_factory=list)
    damaged: list[dict[str, Any]] = field(default_factory=list)


class Source(Protocol[K]):
    """What is wanted of frames: some metrics, or the layers. Each method may raise CorruptChunkError."""

    layers: bool
    chunks_at_once: int

    def of_nothing(self) -> Part[K]: ...

    def of_buckets(self, stored: StoredBuckets) -> Part[K]: ...

    def of_chunks(self, stored: Sequence[StoredColumns]) -> Part[K]: ...

    def of_segment(self, stored: StoredSegment) -> Part[K]: ...

    @property
    def segment_columns(self) -> Iterable[str]: ...


class Metrics:
    """Metrics by name."""

    layers = False
    chunks_at_once = 64

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = metrics
        self._columns = columns_for(metrics)
        self._rolled_up = {name: name if name in FRAME_METRICS else scalar_key(name) for name in metrics}

    @property
    def segment_columns(self) -> Iterable[str]:
        """Which columns of a segment they are made of."""
        return {"step", *(self._stored_name(key) for key in self._columns)}

    def of_nothing(self) -> Part[Buckets]:
        """The metrics of no frames."""
        return Part(Extent.none(), {name: Buckets.absent(0) for name in self._metrics})

    def of_buckets(self, stored: StoredBuckets) -> Part[Buckets]:
        """The metrics of rolled-up frames."""
        extent, found = decode_metrics(stored.columns, self._rolled_up.values())
        return Part(
            extent, {name: found.get(key) or Buckets.absent(len(extent)) for name, key in self._rolled_up.items()}
        )

    def of_chunks(self, stored: Sequence[StoredColumns]) -> Part[Buckets]:
        """The metrics at each frame of some chunks, put together before anything is made of them."""
        return self._frames(join_columns([decode_columns(chunk.columns, self._columns) for chunk in stored]))

    def of_segment(self, stored: StoredSegment) -> Part[Buckets]:
        """The metrics at each frame of a segment."""
        return self._frames(self.columns_of(stored, stored.data))

    def columns_of(self, stored: StoredSegment, data: Mapping[str, bytes]) -> Columns:
        """The columns that the metrics are made of; ``data`` are those of the segment without any layers."""
        columns: dict[str, Array] = {}
        scalars: dict[str, Array] = {}
        presence: dict[str, NDArray[np.bool_]] = {}
        for name, blob in data.items():
            values, present = decode_column(blob)
            if len(values) != stored.n:
                raise CorruptChunkError(f"column {name} of a segment has {len(values)} frames, not {stored.n}")
            if name.startswith("scalar/"):
                scalar = name.removeprefix("scalar/")
                scalars[scalar] = values
                presence[scalar_key(scalar)] = np.ones(len(values), np.bool_) if present is None else present
            else:
                columns[name] = values
        plain = {name for name in self.segment_columns if not name.startswith("scalar/")}
        if missing := plain - set(columns):
            raise CorruptChunkError(f"a segment has lost its columns {', '.join(sorted(missing))}")
        read = Columns(columns, scalars, [])
        read.present = presence
        return read

    def _stored_name(self, key: str) -> str:
        return key if key in COLUMN_TYPES else scalar_column(scalar_name(key))

    def _frames(self, columns: Columns) -> Part[Buckets]:
        metrics = {}
        for name in self._metrics:
            column = metric_column(columns, name)
            metrics[name] = Buckets.of_frames(column.values, column.present)
        return Part(Extent.of_frames(columns["step"]), metrics)


def choose_level(frames: int, points: int) -> int | None:
    """The coarsest level that leaves at least half of the points asked for; None: frame by frame."""
    fitting = [level for level in LEVELS if level * points <= 2 * frames]
    return max(fitting, default=None)


def read_range(
    session: Session, line: Line, span: Span, steps: Steps, source: Source[K], level: int | None
) -> Found[K]:
    """The steps asked for, in order."""
    found: Found[K] = Found()
    between = [steps]
    if level is not None:
        between = _read_buckets(session, line, span, steps, source, level, found)
    for some in between:
        for segment in queries.segments_in(session, line, span, some, source.segment_columns):
            _read(found, line, segment, source.of_segment, some)
    chunks = queries.chunks_in(session, line, span, steps, layers=source.layers)
    while together := list(islice(chunks, source.chunks_at_once)):
        _read_chunks(found, line, together, source, steps)
    found.parts = sorted((part for part in found.parts if len(part.extent)), key=lambda part: part.extent.first_step[0])
    return found


def _read_buckets(
    session: Session, line: Line, span: Span, steps: Steps, source: Source[K], level: int, found: Found[K]
) -> list[Steps]:
    """Add the buckets that lie in the range; gives the steps whose frames must be read instead."""
    spoiled, first, end = [], None, steps.first
    for stored in queries.buckets_in(session, line, span, steps, level, layers=source.layers):
        try:
            part = source.of_buckets(stored).within(steps)
        except CorruptChunkError as error:
            log.error("rollup_damaged", run_id=str(line.run_id), first_step=stored.first_step, reason=str(error))
            spoiled.append(Steps(max(stored.first_step, steps.first), _earlier(stored.last_step + 1, steps.end)))
            first = stored.first_step if first is None else first
            end = stored.last_step + 1
            continue
        if len(part.extent):
            found.parts.append(part)
            first = int(part.extent.first_step[0]) if first is None else first
            end = int(part.extent.last_step[-1]) + 1
    before = [] if first is None or first <= steps.first else [Steps(steps.first, first)]
    # Whatever is in segments is in buckets too: only one that the end of the range cuts leaves frames to be read.
    after = [] if first is not None and (steps.end is None or end >= steps.end) else [Steps(end, steps.end)]
    return [*before, *spoiled, *after]


def _earlier(end: int, other: int | None) -> int:
    return end if other is None else min(end, other)


def _read_chunks(found: Found[K], line: Line, chunks: Sequence[StoredColumns], source: Source[K], steps: Steps) -> None:
    """Add the frames of chunks at once; one by one where they are spoiled, or have kept from being compacted."""
    first, last = chunks[0].first_step, chunks[-1].first_step
    if not any(first < part.extent.first_step[0] < last for part in found.parts if len(part.extent)):
        try:
            found.parts.append(source.of_chunks(chunks).within(steps))
        except (CorruptChunkError, RemovedError):
            pass  # which one it is, and why, is told below
        else:
            return
    for chunk in chunks:
        _read(found, line, chunk, lambda one: source.of_chunks([one]), steps)


def _read(found: Found[K], line: Line, stored: Any, decode: Any, steps: Steps) -> None:
    """Add the frames of one chunk or segment, or tell that they are spoiled."""
    try:
        found.parts.append(decode(stored).within(steps))
    except RemovedError:
        found.damaged.append(gap(stored.first_step, stored.last_step, stored.n, "retention"))
    except CorruptChunkError as error:
        log.error("chunk_damaged", run_id=str(line.run_id), first_step=stored.first_step, reason=str(error))
        found.damaged.append(gap(stored.first_step, stored.last_step, stored.n, "damaged"))


def gap(first_step: int | None, last_step: int | None, n: int, reason: str) -> dict[str, Any]:
    """Frames that are not there, as the page is told."""
    return {"first_step": first_step, "last_step": last_step, "n": n, "reason": reason}


def merged(parts: Sequence[Part[K]], starts: Integers) -> Part[K]:
    """One after the other, in fewer buckets, of which each begins at one of ``starts``."""
    extent = Extent.join([part.extent for part in parts])
    metrics = {
        name: type(first).merge([part.metrics[name] for part in parts], starts)
        for name, first in parts[0].metrics.items()
    }
    return Part(extent.regroup(starts), metrics)
