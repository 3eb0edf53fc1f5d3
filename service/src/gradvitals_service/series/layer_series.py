"""Answer a chart of one layer: its norm over steps beside the global norm, in the same buckets.

Of frames only the one column is read, and of buckets only one row is put together, however many layers there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from gradvitals_service.errors import NotFoundError
from gradvitals_service.series import queries
from gradvitals_service.series.codec import Array, CorruptChunkError, decode_columns, decode_some_layers
from gradvitals_service.series.downsample import Buckets
from gradvitals_service.series.queries import Line, StoredBuckets, StoredColumns, StoredSegment
from gradvitals_service.series.ranges import Part, RemovedError
from gradvitals_service.series.reading import StepRange, read_columns
from gradvitals_service.series.rollup import Extent, decode_layer, decode_metrics
from gradvitals_service.series.segments import decode_column, layer_column

_GLOBAL = "global_norm"


def read_layer_series(session: Session, line: Line, layer: str, points: int, asked: StepRange) -> dict[str, Any]:
    """The layer of this name in whatever layouts have it; 404 where none does."""
    names = queries.layer_names(session, line.run_id)
    if not any(layer in layout for layout in names.values()):
        raise NotFoundError(f"query.layer: run {line.run_id} has no layer {layer[:64]!r}")
    return read_columns(session, line, OneLayer(names, layer), points, asked)


class OneLayer:
    """One layer as a source, absent where the layout of the time did not have it."""

    layers = True
    chunks_at_once = 1

    def __init__(self, names: Mapping[str, list[str]], layer: str) -> None:
        self._counts = {layout_id: len(layers) for layout_id, layers in names.items()}
        self._places = {layout_id: layers.index(layer) for layout_id, layers in names.items() if layer in layers}

    @property
    def segment_columns(self) -> Iterable[str]:
        """The layer's column in whatever layout a segment has."""
        return {"step", _GLOBAL, *map(layer_column, self._places.values())}

    def of_nothing(self) -> Part[Buckets]:
        """The layer at no frames."""
        return _part(Extent.none(), Buckets.absent(0), Buckets.absent(0))

    def of_buckets(self, stored: StoredBuckets) -> Part[Buckets]:
        """The layer of rolled-up frames."""
        extent, found = decode_metrics(stored.columns, (_GLOBAL,))
        place, norm = self._places.get(stored.layout_id), Buckets.absent(len(extent))
        if place is not None:
            norm = decode_layer(stored.layer_columns or b"", extent, self._counts[stored.layout_id], place)
        return _part(extent, norm, found.get(_GLOBAL) or Buckets.absent(len(extent)))

    def of_chunks(self, stored: Sequence[StoredColumns]) -> Part[Buckets]:
        """The layer at each frame of a chunk."""
        (chunk,) = stored
        columns = decode_columns(chunk.columns, (_GLOBAL,))
        step, place = columns["step"], self._places.get(chunk.layout_id)
        if place is None:
            return _frames(step, None, columns[_GLOBAL])
        if chunk.layer_columns == b"":
            raise RemovedError
        (norm,) = decode_some_layers(chunk.layer_columns or b"", len(step), self._counts[chunk.layout_id], [place])
        return _frames(step, norm, columns[_GLOBAL])

    def of_segment(self, stored: StoredSegment) -> Part[Buckets]:
        """The layer at each frame of a segment."""
        place = self._places.get(stored.layout_id)
        if place is not None and not stored.has_layers:
            raise RemovedError
        try:
            step, global_norm = (decode_column(stored.data[name])[0] for name in ("step", _GLOBAL))
            norm = None if place is None else decode_column(stored.data[layer_column(place)])[0]
        except KeyError as error:
            raise CorruptChunkError(f"a segment has lost a column: {error}") from error
        if len(global_norm) != len(step) or (norm is not None and len(norm) != len(step)):
            raise CorruptChunkError("the columns of a segment differ in length")
        return _frames(step, norm, global_norm)


def _frames(step: Array, norm: Array | None, global_norm: Array) -> Part[Buckets]:
    layer = Buckets.absent(len(step)) if norm is None else Buckets.of_frames(norm.astype(np.float64))
    return _part(Extent.of_frames(step), layer, Buckets.of_frames(global_norm.astype(np.float64)))


def _part(extent: Extent, norm: Buckets, global_norm: Buckets) -> Part[Buckets]:
    return Part(extent, {"norm": norm, _GLOBAL: global_norm})
