"""Draw a stretch of a run as a PNG: norm, what was found, loss, layers.

Pure: numbers in, bytes out; no display, no file, no state of matplotlib's that outlives a picture. Importing this takes
matplotlib, so whoever may not need it imports it late. Names are drawn as they are, never read as formulas. The colours
are those of Okabe and Ito, which people with any colour vision can tell apart.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 1200, 900  # pixels

KIND_COLOURS = {
    "explosion": "#D55E00",
    "vanishing": "#0072B2",
    "non_finite": "#CC79A7",
    "clip_saturation": "#E69F00",
    "instability": "#009E73",
}
OTHER_COLOUR = "#666666"

_DOTS_PER_INCH = 100
_LINE = "#222222"
_LIMIT = "#56B4E9"
_SILENT = "#EEEEEE"  # of a layer whose gradient is zero, or not finite
_COLUMNS = 1000  # of the heat map: about a pixel each
_MOST_NAMES = 16
_LONGEST_NAME = 22
_LEAST_WIDTH = 0.004  # of the axis: so wide is an event of one step
_ABOVE, _BELOW = 30.0, 3000.0  # factors from the strongest layer's usual norm that the heat map tells apart
_COLOURS = 256  # of the file's palette: a third of the bytes, and the eye sees no difference
_CENTRED: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 10, "color": "#888888"}


@dataclass(frozen=True, slots=True)
class Mark:
    """Something at some steps, both included; without an end it lasts until the picture ends."""

    kind: str
    start_step: int
    end_step: int | None


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn: columns have n rows, ``layer_norms`` is [n, L]; ``max_norm`` is infinite where nothing clips.

    ``rows`` are marks in rows of their own, each under its name, say what was found and what was labelled. The first
    row's marks are shaded behind the norm, too.
    """

    title: str
    step: NDArray[np.int64]
    global_norm: NDArray[np.float32]
    max_norm: NDArray[np.float32]
    loss: NDArray[np.float32]
    layer_names: Sequence[str]
    layer_norms: NDArray[np.float32]
    rows: Sequence[tuple[str, Sequence[Mark]]] = field(default=())


def draw(picture: Picture) -> bytes:
    """The picture as a PNG of ``WIDTH`` x ``HEIGHT``."""
    figure = Figure(figsize=(WIDTH / _DOTS_PER_INCH, HEIGHT / _DOTS_PER_INCH), dpi=_DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    heights = (3.2, 0.35 * max(len(picture.rows), 1), 1.6, 2.4)
    norm, marks, loss, layers = figure.subplots(
        4, 1, sharex=True, gridspec_kw={"height_ratios": heights, "hspace": 0.12}
    )
    figure.subplots_adjust(left=0.18, right=0.88, top=0.93, bottom=0.07)
    last_step = int(picture.step[-1]) if len(picture.step) else 1
    first_step = int(picture.step[0]) if len(picture.step) else 0
    norm.set_xlim(first_step, max(last_step, first_step + 1))
    norm.set_title(picture.title, loc="left", fontsize=15, parse_math=False)
    _draw_norm(norm, picture)
    _draw_marks(marks, picture.rows)
    _draw_loss(loss, picture)
    _draw_layers(layers, picture)
    layers.set_xlabel("step", fontsize=12)
    for axes in (norm, marks, loss, layers):
        axes.tick_params(labelsize=10)
    return _as_png(figure)


def _as_png(figure: Figure) -> bytes:
    drawn, file = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font has not
        figure.savefig(drawn, format="rgba")
    picture = Image.frombytes("RGBA", (WIDTH, HEIGHT), drawn.getvalue()).convert("RGB")
    small = picture.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    small.save(file, format="PNG", optimize=True)
    return file.getvalue()


def _draw_norm(axes: Axes, picture: Picture) -> None:
    axes.set_ylabel("global norm", fontsize=12)
    for mark in picture.rows[0][1] if picture.rows else ():
        start, width = _place(axes, mark)
        axes.axvspan(start, start + width, color=_colour(mark.kind), alpha=0.25, linewidth=0)
        axes.axvline(start, color=_colour(mark.kind), linewidth=1.0)
    drawn = _positive(picture.global_norm)
    axes.plot(picture.step, drawn, color=_LINE, linewidth=1.0)
    _set_log(axes, drawn)
    if np.isfinite(picture.max_norm).any():
        limit = np.where(np.isfinite(picture.max_norm), picture.max_norm, np.nan)
        axes.plot(picture.step, limit, color=_LIMIT, linewidth=1.8, linestyle="--", label="max_norm")
        axes.legend(loc="lower left", fontsize=10, framealpha=0.8)
    broken = picture.step[~np.isfinite(picture.global_norm)]
    if len(broken):
        at_top = axes.get_xaxis_transform()
        colour = _colour("non_finite")
        axes.plot(broken, np.full(len(broken), 0.97), "x", color=colour, markersize=6, transform=at_top)
    axes.grid(True, which="major", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_marks(axes: Axes, rows: Sequence[tuple[str, Sequence[Mark]]]) -> None:
    kinds = list(dict.fromkeys(mark.kind for _, marks in rows for mark in marks))
    height = 0.8 / max(len(kinds), 1)  # a lane for each kind: what happens at the same time hides nothing
    for place, (_, marks) in enumerate(rows):
        for mark in marks:
            top = place - 0.4 + height * kinds.index(mark.kind)
            axes.broken_barh([_place(axes, mark)], (top, 0.9 * height), color=_colour(mark.kind), linewidth=0)
        if not marks:
            axes.text(0.5, place, "nothing", transform=axes.get_yaxis_transform(), **_CENTRED)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], parse_math=False)
    if kinds:
        patches = [Patch(color=_colour(kind), label=kind) for kind in kinds]
        axes.legend(handles=patches, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, frameon=False)


def _draw_loss(axes: Axes, picture: Picture) -> None:
    axes.set_ylabel("loss", fontsize=12)
    finite = picture.loss[np.isfinite(picture.loss)]
    axes.plot(picture.step, np.where(np.isfinite(picture.loss), picture.loss, np.nan), color=_LINE, linewidth=0.9)
    if len(finite) and finite.min() > 0 and finite.max() > 20 * finite.min():
        _set_log(axes, _positive(picture.loss))
    elif len(finite) and finite.max() - finite.min() > 1000 * max(float(np.median(np.abs(finite))), 1e-30):
        axes.set_yscale("symlog", linthresh=max(float(np.median(np.abs(finite))), 1e-30))
    axes.grid(True, which="major", color="#DDDDDD", linewidth=0.6)


def _draw_layers(axes: Axes, picture: Picture) -> None:
    names = picture.layer_names
    axes.set_ylabel("layers", fontsize=12)
    if not names or not len(picture.step):
        axes.set_yticks([])
        return
    starts = np.arange(0, len(picture.step), max(1, -(-len(picture.step) // _COLUMNS)))
    with np.errstate(invalid="ignore"):
        values = np.where(np.isfinite(picture.layer_norms), picture.layer_norms, np.nan)
        largest = np.fmax.reduceat(values, starts, axis=0).T  # a spike is seen at any length of the run
    shown = np.ma.masked_where(~(largest > 0), largest)
    usual = shown.compressed()
    if len(usual):
        low, high = _colour_range(usual, shown.max(axis=0).compressed())
        ends = np.append(picture.step[starts], picture.step[-1] + 1)
        rows, scale = np.arange(len(names) + 1), LogNorm(low, high)
        image = axes.pcolormesh(ends, rows, shown, norm=scale, cmap="cividis", rasterized=True)
        beside = axes.inset_axes((1.015, 0.0, 0.015, 1.0))
        bar = axes.figure.colorbar(image, cax=beside, extend="both")
        bar.ax.tick_params(labelsize=9)
        steps = (1.0,) if high > 30.0 * low else (1.0, 2.0, 5.0)
        bar.ax.yaxis.set_major_locator(LogLocator(subs=steps, numticks=6))
        bar.ax.yaxis.set_major_formatter("{x:g}")
        bar.ax.minorticks_off()
    axes.set_facecolor(_SILENT)
    axes.set_ylim(len(names), 0)
    every = -(-len(names) // _MOST_NAMES)
    axes.set_yticks(np.arange(0, len(names), every) + 0.5, [_short(name) for name in names[::every]], parse_math=False)


def _colour_range(norms: NDArray[np.float32], strongest: NDArray[np.float32]) -> tuple[float, float]:
    """Around what the strongest layer has on nine of ten steps, so that an explosion does not make all else dark."""
    low, high = np.quantile(norms, (0.005, 0.995))
    usual, often = np.quantile(strongest, (0.5, 0.9))
    least = max(float(low), float(usual) / _BELOW, 1e-45)
    return least, max(min(float(high), float(often) * _ABOVE), 1.1 * least)


def _set_log(axes: Axes, drawn: NDArray[np.float64]) -> None:
    """A log axis that whole decades mark; of nothing, any."""
    axes.set_yscale("log")
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        axes.set_ylim(0.1, 10.0)
        return
    low, high = float(known.min()), float(known.max())
    room = (high / low) ** 0.05 * 1.1 if high / low < 1e30 else 30.0
    axes.set_ylim(max(low / room, 1e-46), high * room)
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    if high > 1000.0 * low:
        axes.minorticks_off()  # decades say enough, and every tick takes its time


def _place(axes: Axes, mark: Mark) -> tuple[float, float]:
    """Where a mark begins and how wide it is drawn: at least so wide that one sees it."""
    left, right = axes.get_xlim()
    end = right if mark.end_step is None else min(mark.end_step + 1, right)
    return mark.start_step, max(end - mark.start_step, _LEAST_WIDTH * (right - left))


def _positive(values: NDArray[Any]) -> NDArray[np.float64]:
    """What a log axis can show: NaN elsewhere."""
    shown = np.isfinite(values) & (values > 0)
    return np.where(shown, values, np.nan).astype(np.float64)


def _colour(kind: str) -> str:
    return KIND_COLOURS.get(kind, OTHER_COLOUR)


def _short(name: str) -> str:
    """The end of a long name, which tells more than its beginning."""
    return name if len(name) <= _LONGEST_NAME else "…" + name[-_LONGEST_NAME + 1 :]
