"""Answer a heat map: the norm of every layer over steps, in buckets that keep every spike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Generic, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from gradvitals_service.series import queries
from gradvitals_service.series.attempts import cut_overlaps
from gradvitals_service.series.codec import Array, CorruptChunkError, decode_columns, decode_layers
from gradvitals_service.series.downsample import Buckets, Extremes
from gradvitals_service.series.queries import Line, StoredBuckets, StoredColumns, StoredSegment
from gradvitals_service.series.ranges import K, Part, RemovedError
from gradvitals_service.series.reading import StepRange, as_json, gaps_shown, read_spans
from gradvitals_service.series.rollup import Extent, decode_layer_buckets, decode_layer_extremes, decode_metrics
from gradvitals_service.series.segments import decode_column, layer_column
from gradvitals_service.wirejson import encode

Statistic = Literal["max", "mean", "min"]
_ALL = "layers"
BINARY = "application/vnd.gradvitals.heatmap"
_MOST_COUNTED = 2**16 - 1
# By the power of ten of a float32, from -45 to 38: the factor that leaves four digits before the point.
_SCALES = 10.0 ** (3.0 - np.r_[0:39, -45:0])


@dataclass(frozen=True, slots=True)
class Keeping(Generic[K]):
    """What is kept of the norms for one statistic, no more than it takes: how it is made, and what is shown of it."""

    of_frames: Callable[[Array], K]
    of_rollup: Callable[[bytes, Extent, int], K]
    shown: Callable[[K], Array]


def _keeping_extremes(pick: np.ufunc) -> Keeping[Extremes]:
    of_frames, of_rollup = partial(Extremes.of_frames, pick=pick), partial(decode_layer_extremes, pick=pick)
    return Keeping(of_frames, of_rollup, attrgetter("values"))


_KEEPING: dict[Statistic, Keeping[Any]] = {
    "max": _keeping_extremes(np.fmax),
    "mean": Keeping(Buckets.of_frames, decode_layer_buckets, attrgetter("mean")),
    "min": _keeping_extremes(np.fmin),
}


@dataclass(frozen=True, slots=True)
class Heatmap:
    """All layers over some steps: ``values`` float32[L, b], NaN without a finite norm, and counts of the others."""

    head: dict[str, Any]
    values: NDArray[np.float32]
    non_finite: NDArray[np.integer[Any]]


def read_heatmap(session: Session, line: Line, statistic: Statistic, points: int, asked: StepRange) -> Heatmap:
    """All layers over the steps asked for, in at most ``points`` buckets: those of the newest layout, by name."""
    reaches = queries.reaches(session, line)
    spans = cut_overlaps(reaches)
    newest = queries.newest_layout(session, line, spans[-1]) if spans else None
    keeping = _KEEPING[statistic]
    layers = Layers(queries.layer_names(session, line.run_id), newest, keeping)
    size, part, damaged = read_spans(session, line, spans, layers, points, asked)
    kept = part.metrics[_ALL]
    head = {
        "run_id": line.run_id,
        "monitor": line.monitor,
        "rank": line.rank,
        "frames": int(part.extent.frames.sum()),
        "bucket": size,
        "step": as_json(part.extent.first_step),
        "layers": layers.names,
        "statistic": statistic,
        "gaps": gaps_shown(session, line, reaches, spans, asked) + damaged,
    }
    return Heatmap(head, keeping.shown(kept), kept.non_finite)


def heatmap_as_json(heatmap: Heatmap) -> dict[str, Any]:
    """As lists of numbers."""
    values, non_finite = as_json(_shortened(heatmap.values)), as_json(_sparse(heatmap.non_finite))
    return heatmap.head | {"values": values, "non_finite": non_finite}


def heatmap_as_bytes(heatmap: Heatmap) -> bytes:
    """As a head in JSON and the two matrices behind it, as docs/wire.md says: with thousands of layers, JSON would be
    several times as long, and would keep a page busy for longer than drawing it does."""
    some = bool(heatmap.non_finite.any())
    head = encode(heatmap.head | {"counts": some})
    head += b" " * (-len(head) % 4)  # behind it a reader lays arrays over the bytes, and they must be aligned
    # counts of single frames are bytes, for which the limit would be too large
    counts = np.minimum(heatmap.non_finite.astype(np.int64), _MOST_COUNTED).astype("<u2").tobytes() if some else b""
    return b"".join((len(head).to_bytes(4, "little"), head, heatmap.values.astype("<f4").tobytes(), counts))


def _shortened(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Four digits are more than a colour shows; the rest would be most of the answer's bytes."""
    with np.errstate(divide="ignore"):
        magnitude = np.floor(np.log10(np.abs(values.astype(np.float64))))
    magnitude[~np.isfinite(magnitude)] = 0
    scale: NDArray[np.float64] = _SCALES[magnitude.astype(np.int64)]
    return np.round(values * scale) / scale


def _sparse(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """[layer, bucket, count] of the few that are not zero."""
    layer, bucket = np.nonzero(counts)
    return np.stack([layer, bucket, counts[layer, bucket].astype(np.int64)], axis=1)


class Layers(Generic[K]):
    """The layers of one layout as a source; those of others are matched by name, and absent where there is none."""

    layers = True
    chunks_at_once = 1  # one is large

    def __init__(self, names: Mapping[str, list[str]], layout_id: str | None, keeping: Keeping[K]) -> None:
        self._names = names
        self._layout_id = layout_id
        self._keeping = keeping
        self.names = [] if layout_id is None else names[layout_id]

    @property
    def segment_columns(self) -> Iterable[str]:
        """Enough for whatever layout a segment has."""
        most = max((len(names) for names in self._names.values()), default=0)
        return ["step", *map(layer_column, range(most))]

    def of_nothing(self) -> Part[K]:
        """The layers at no frames."""
        return Part(Extent.none(), {_ALL: self._keeping.of_frames(np.empty((len(self.names), 0), np.float32))})

    def of_buckets(self, stored: StoredBuckets) -> Part[K]:
        """The layers of rolled-up frames."""
        extent, _ = decode_metrics(stored.columns, ())
        count = len(self._names[stored.layout_id])
        return self._part(extent, stored.layout_id, self._keeping.of_rollup(stored.layer_columns or b"", extent, count))

    def of_chunks(self, stored: Sequence[StoredColumns]) -> Part[K]:
        """The layers at each frame of a chunk."""
        (chunk,) = stored
        step = decode_columns(chunk.columns, ())["step"]
        if chunk.layer_columns == b"":
            raise RemovedError
        norms, _, _ = decode_layers(chunk.layer_columns or b"", len(step), len(self._names[chunk.layout_id]))
        return self._part(Extent.of_frames(step), chunk.layout_id, self._keeping.of_frames(norms.T))

    def of_segment(self, stored: StoredSegment) -> Part[K]:
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
        return self._part(Extent.of_frames(step), stored.layout_id, self._keeping.of_frames(norms))

    def _part(self, extent: Extent, layout_id: str, kept: K) -> Part[K]:
        if layout_id != self._layout_id:
            kept = self._matched(kept, self._names[layout_id])
        return Part(extent, {_ALL: kept})

    def _matched(self, kept: K, names: list[str]) -> K:
        """The rows of the layers that the newest layout has, in its order."""
        places = {name: place for place, name in enumerate(names)}
        return kept.rows(np.array([places.get(name, -1) for name in self.names], np.int64))
