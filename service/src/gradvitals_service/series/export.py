"""Write a run's exact frames: every value as it was measured, piece by piece, so that any length fits into memory.

A piece is what one chunk, block or segment holds of the steps asked for; docs/wire.md has the format.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import structlog
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.database import begin_snapshot
from gradvitals_service.errors import NotFoundError
from gradvitals_service.series import queries
from gradvitals_service.series.attempts import Span, Steps, asked_of, cut_overlaps
from gradvitals_service.series.codec import Array, Columns, CorruptChunkError, decode_columns, decode_some_layers
from gradvitals_service.series.metrics import columns_for, metric_column
from gradvitals_service.series.queries import Line, StoredColumns, StoredSegment
from gradvitals_service.series.ranges import Metrics, RemovedError, gap
from gradvitals_service.series.reading import StepRange
from gradvitals_service.series.segments import decode_column, evenly_spaced, layer_column

CONTENT_TYPE = "application/vnd.gradvitals.export+msgpack"
_BYTES_AT_ONCE = 2**20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported."""

    line: Line
    metrics: Sequence[str]
    layers: Sequence[str]
    asked: StepRange


def check_layers(session: Session, wanted: Wanted) -> None:
    """404 for a layer that no layout of the run has, before anything is sent."""
    known = {name for names in queries.layer_names(session, wanted.line.run_id).values() for name in names}
    if missing := [name for name in wanted.layers if name not in known]:
        raise NotFoundError(f"query.layer: run {wanted.line.run_id} has no layer {missing[0][:64]!r}")


def export(session_factory: sessionmaker[Session], wanted: Wanted) -> Iterator[bytes]:
    """The pieces in the order of steps, each behind its length, some at a time."""
    some: list[bytes] = []
    with begin_snapshot(session_factory) as session:
        for piece in _pieces(session, wanted):
            encoded = msgspec.msgpack.encode(piece)
            some += [len(encoded).to_bytes(4, "little"), encoded]
            if sum(map(len, some)) >= _BYTES_AT_ONCE:
                yield b"".join(some)
                some = []
    yield b"".join(some)


def _pieces(session: Session, wanted: Wanted) -> Iterator[dict[str, Any]]:
    line = wanted.line
    reader = _Reader(wanted, queries.layer_names(session, line.run_id))
    for span in cut_overlaps(queries.reaches(session, line)):
        steps = asked_of(span, *wanted.asked)
        for segment in queries.segments_in(session, line, span, steps, reader.segment_columns):
            yield from _piece(span, segment, reader.of_segment, steps)
        for chunk in queries.chunks_in(session, line, span, steps, layers=bool(wanted.layers)):
            yield from _piece(span, chunk, reader.of_chunk, steps)


def _piece(span: Span, stored: Any, read: Any, steps: Steps) -> Iterator[dict[str, Any]]:
    """The frames of what is stored that were asked for, or that they are not there."""
    try:
        piece = read(stored, steps)
    except RemovedError:
        yield {"attempt_id": span.attempt_id, "missing": _missing(stored, "retention")}
    except CorruptChunkError as error:
        log.error("chunk_damaged", attempt_id=str(span.attempt_id), first_step=stored.first_step, reason=str(error))
        yield {"attempt_id": span.attempt_id, "missing": _missing(stored, "damaged")}
    else:
        if piece["n"]:
            yield {"attempt_id": span.attempt_id} | piece


def _missing(stored: Any, reason: str) -> dict[str, Any]:
    return gap(stored.first_step, stored.last_step, stored.n, reason)


class _Reader:
    """Takes the columns that are wanted out of chunks and segments."""

    def __init__(self, wanted: Wanted, names: dict[str, list[str]]) -> None:
        self._wanted = wanted
        self._counts = {layout_id: len(layers) for layout_id, layers in names.items()}
        self._metrics = Metrics(wanted.metrics)
        self._columns = columns_for(wanted.metrics)
        self._places = {
            layout_id: {name: place for place, name in enumerate(layers) if name in set(wanted.layers)}
            for layout_id, layers in names.items()
        }

    @property
    def segment_columns(self) -> Iterable[str]:
        """Which columns of segments are needed, whatever their layout."""
        places = {place for layout in self._places.values() for place in layout.values()}
        return {*self._metrics.segment_columns, *map(layer_column, places)}

    def of_chunk(self, stored: StoredColumns, steps: Steps) -> dict[str, Any]:
        """The frames of one chunk or block."""
        columns = decode_columns(stored.columns, self._columns)
        layers = {}
        if places := self._places[stored.layout_id]:
            if stored.layer_columns == b"":
                raise RemovedError
            blob = stored.layer_columns or b""
            norms = decode_some_layers(
                blob, len(columns["step"]), self._counts[stored.layout_id], list(places.values())
            )
            layers = dict(zip(places, norms, strict=True))
        return self._cut(columns, layers, steps)

    def of_segment(self, stored: StoredSegment, steps: Steps) -> dict[str, Any]:
        """The frames of one segment."""
        plain = {name: blob for name, blob in stored.data.items() if not name.startswith("layer/")}
        columns = self._metrics.columns_of(stored, plain)
        layers = {}
        for name, place in self._places[stored.layout_id].items():
            if not stored.has_layers:
                raise RemovedError
            if layer_column(place) not in stored.data:
                raise CorruptChunkError(f"a segment has lost layer {place}")
            layers[name] = decode_column(stored.data[layer_column(place)])[0]
        return self._cut(columns, layers, steps)

    def _cut(self, columns: Columns, layers: dict[str, Array], steps: Steps) -> dict[str, Any]:
        kept = steps.slice_of(columns["step"])
        step = columns["step"][kept]
        metrics: dict[str, dict[str, Any]] = {}
        for name in self._wanted.metrics:
            column = metric_column(columns, name)
            values, present = column.values[kept], column.present[kept]
            if present.all():
                metrics[name] = {"values": _bytes_of(values)}
            else:
                bitmap = np.packbits(present, bitorder="little").tobytes()
                metrics[name] = {"values": _bytes_of(np.where(present, values, np.nan)), "present": bitmap}
        return {
            "n": len(step),
            "step": _spelled(step),
            "metrics": metrics,
            "layers": {name: _bytes_of(norms[kept]) for name, norms in layers.items()},
        }


def _spelled(step: Array) -> list[int] | memoryview:
    """Evenly spaced steps, as they nearly always are, are the first one and the distance; they would be most bytes."""
    return [int(step[0]), int(step[1] - step[0])] if evenly_spaced(step) else _bytes_of(step)


def _bytes_of(values: Array) -> memoryview:
    """Little-endian, without a copy."""
    return np.ascontiguousarray(values).data.cast("B")
