"""Read how large the global norms of a run have been: from the sketches beside its segments, else from the frames.

Frames are read where no sketch is kept: in chunks, in segments that an earlier version has made, and in those of which
some steps are set apart or belong to a newer attempt. What a disk has spoiled is left out, and counted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

import numpy as np
import structlog
from sqlalchemy.orm import Session

from gradvitals_service.series import queries
from gradvitals_service.series.attempts import Span, Steps
from gradvitals_service.series.codec import Array, CorruptChunkError, decode_columns
from gradvitals_service.series.queries import Line, StoredColumns, StoredSegment
from gradvitals_service.series.segments import SKETCH_COLUMN, decode_column
from gradvitals_service.series.sketch import NormSketch

log = structlog.get_logger()

_COLUMNS = ("step", "global_norm", "flags")


@dataclass(slots=True)
class NormsRead:
    """The norms of the steps that were set apart, those of all others, and how many frames could not be read."""

    apart: list[NormSketch] = field(default_factory=list)
    others: list[NormSketch] = field(default_factory=list)
    damaged: int = 0


def read_norms(session: Session, line: Line, spans: Sequence[Span], apart: Mapping[UUID, Sequence[Steps]]) -> NormsRead:
    """The norms of all frames that count; ``apart`` are steps of attempts, which may overlap."""
    read = NormsRead()
    for span in spans:
        _Reader(session, line, span, apart.get(span.attempt_id, ()), read).read_all()
    return read


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one span."""

    session: Session
    line: Line
    span: Span
    apart: Sequence[Steps]
    found: NormsRead

    def read_all(self) -> None:
        counted = Steps(self.span.first_step, self.span.end_step)
        segments = list(queries.segments_in(self.session, self.line, self.span, counted, [SKETCH_COLUMN]))
        sketches = [self._kept_sketch(segment) for segment in segments]
        self.found.others += [sketch for sketch in sketches if sketch is not None]
        together = groupby(zip(segments, sketches, strict=True), key=lambda pair: pair[1] is None)
        for without_sketch, pairs in together:
            if without_sketch:
                self._read_segments([segment for segment, _ in pairs])
        for chunk in queries.chunks_in(self.session, self.line, self.span, counted):
            self._count(chunk, lambda chunk: decode_columns(chunk.columns, _COLUMNS))

    def _kept_sketch(self, segment: StoredSegment) -> NormSketch | None:
        """The sketch of a segment of which every frame counts alike; None where there is none to go by."""
        end = self.span.end_step
        cut = segment.first_step < self.span.first_step or (end is not None and segment.last_step >= end)
        if cut or any(_touches(steps, segment) for steps in self.apart) or SKETCH_COLUMN not in segment.data:
            return None
        try:
            return NormSketch.from_bytes(segment.data[SKETCH_COLUMN])
        except CorruptChunkError as error:
            self._tell(segment, error)
            return None

    def _read_segments(self, segments: Sequence[StoredSegment]) -> None:
        steps = Steps(segments[0].first_step, segments[-1].last_step + 1)
        for segment in queries.segments_in(self.session, self.line, self.span, steps, _COLUMNS):
            self._count(segment, lambda segment: {name: decode_column(segment.data[name])[0] for name in _COLUMNS})

    def _count(self, stored: Any, decode: Callable[[Any], Mapping[str, Array]]) -> None:
        try:
            columns = decode(stored)
            step, norms, frame_flags = (columns[name] for name in _COLUMNS)
        except (CorruptChunkError, KeyError) as error:
            self._tell(stored, error)
            self.found.damaged += stored.n
            return
        counted = _among(step, Steps(self.span.first_step, self.span.end_step))
        apart = np.zeros(len(step), np.bool_)
        for steps in self.apart:
            if _touches(steps, stored):  # of thousands of events few lie here
                apart |= _among(step, steps)
        for sketches, kept in ((self.found.apart, counted & apart), (self.found.others, counted & ~apart)):
            sketches.append(NormSketch.of(norms[kept], frame_flags[kept]))

    def _tell(self, stored: StoredSegment | StoredColumns, error: Exception) -> None:
        log.error("norms_damaged", run_id=str(self.line.run_id), first_step=stored.first_step, reason=str(error))


def _touches(steps: Steps, stored: StoredSegment | StoredColumns) -> bool:
    return stored.last_step >= steps.first and (steps.end is None or stored.first_step < steps.end)


def _among(step: Array, steps: Steps) -> Array:
    return steps.holds(step, step)
