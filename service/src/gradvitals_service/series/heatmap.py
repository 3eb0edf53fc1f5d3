"""Answer a heat map: the norm of every layer over steps, in buckets that keep every spike."""

from collections.abc import Iterable
from typing import Any, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from gradvitals_service.series import queries
from gradvitals_service.series.attempts import cut_overlaps
from gradvitals_service.series.codec import CorruptChunkError, decode_columns, decode_layers
from gradvitals_service.series.downsample import Buckets
from gradvitals_service.series.queries import Line, StoredBuckets, StoredColumns, StoredSegment
from gradvitals_service.series.ranges import Part, RemovedError
from gradvitals_service.series.reading import StepRange, as_json, gaps_shown, read_spans
from gradvitals_service.series.rollup import Extent, decode_layer_buckets, decode_metrics
from gradvitals_service.series.segments import decode_column, layer_column

Statistic = Literal["max", "mean", "min"]
_ALL = "layers"


def read_heatmap(session: Session, line: Line, statistic: Statistic, points: int, asked: StepRange) -> dict[str, Any]:
    """All layers over the steps asked for, in at most ``points`` buckets: those of the newest layout, by name."""
    reaches = queries.reaches(session, line)
    spans = cut_overlaps(reaches)
    newest = queries.newest_layout(session, line, spans[-1]) if spans else None
    layers = Layers(session, line.run_id, newest)
    size, part, damaged = read_spans(session, line, spans, layers, [_ALL], points, asked)
    buckets = part.metrics[_ALL]
    shape = (len(layers.names), len(part.extent))  # also where there are no buckets
    values = {"max": buckets.maximum, "mean": buckets.mean, "min": buckets.minimum}[statistic].reshape(shape)
    return {
        "run_id": line.run_id,
        "monitor": line.monitor,
        "rank": line.rank,
        "frames": int(part.extent.frames.sum()),
        "bucket": size,
        "step": as_json(part.extent.first_step),
        "layers": layers.names,
        "statistic": statistic,
        "values": as_json(_shortened(values)),
        "non_finite": as_json(_sparse(buckets.non_finite.reshape(shape))),
        "gaps": gaps_shown(session, line, reaches, spans, asked) + damaged,
    }


def _shortened(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Four digits are more than a colour shows; the rest would be most of the answer's bytes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.floor(np.log10(np.abs(values.astype(np.float64))))
    scale = 10.0 ** (3 - np.nan_to_num(magnitude, neginf=0.0))
    return np.round(values * scale) / scale


def _sparse(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """[layer, bucket, count] of the few that are not zero."""
    layer, bucket = np.nonzero(counts)
    return np.stack([layer, bucket, counts[layer, bucket].astype(np.int64)], axis=1)


class Layers:
    """The layers of one layout as a source; those of others are matched by name, and absent where there is none."""

    layers = True

    def __init__(self, session: Session, run_id: UUID, layout_id: str | None) -> None:
        self._layout_id = layout_id
        self._names = queries.layer_names(session, run_id)
        self.names = [] if layout_id is None else self._names[layout_id]

    @property
    def segment_columns(self) -> Iterable[str]:
        """Enough for whatever layout a segment has."""
        most = max((len(names) for names in self._names.values()), default=0)
        return ["step", *map(layer_column, range(most))]

    def of_buckets(self, stored: StoredBuckets) -> Part:
        """The layers of rolled-up frames."""
        extent, _ = decode_metrics(stored.columns, ())
        count = len(self._names[stored.layout_id])
        return self._part(extent, stored.layout_id, decode_layer_buckets(stored.layer_columns or b"", extent, count))

    def of_chunk(self, stored: StoredColumns) -> Part:
        """The layers at each frame of a chunk."""
        step = decode_columns(stored.columns, ())["step"]
        if stored.layer_columns == b"":
            raise RemovedError
        norms, _, _ = decode_layers(stored.layer_columns or b"", len(step), len(self._names[stored.layout_id]))
        return self._part(Extent.of_frames(step), stored.layout_id, Buckets.of_frames(norms.T))

    def of_segment(self, stored: StoredSegment) -> Part:
        """The layers at each frame of a segment."""
        if not stored.has_layers:
            raise RemovedError
        try:
            step = decode_column(stored.data["step"])[0]
            norms = np.empty((len(self._names[stored.layout_id]), len(step)), np.float32)
            for place in range(len(norms)):
                norms[place] = decode_column(stored.data[layer_column(place)])[0]
        except (KeyError, ValueError) as error:
            raise CorruptChunkError(f"a segment has lost a column: {error}") from error
        return self._part(Extent.of_frames(step), stored.layout_id, Buckets.of_frames(norms))

    def _part(self, extent: Extent, layout_id: str, buckets: Buckets) -> Part:
        if layout_id != self._layout_id:
            buckets = self._matched(buckets, self._names[layout_id], len(extent))
        return Part(extent, {_ALL: buckets})

    def _matched(self, buckets: Buckets, names: list[str], count: int) -> Buckets:
        """The rows of the layers that the newest layout has, in its order."""
        places = {name: place for place, name in enumerate(names)}
        own = [place for place, name in enumerate(self.names) if name in places]
        theirs = [places[self.names[place]] for place in own]
        shape = (len(self.names), count)
        nothing = np.full(shape, np.nan, np.float32)
        matched = Buckets(nothing, nothing.copy(), nothing.copy(), np.zeros(shape, np.int64), np.zeros(shape, np.int64))
        for name in ("minimum", "maximum", "mean", "finite", "non_finite"):
            getattr(matched, name)[own] = getattr(buckets, name)[theirs]
        return matched
