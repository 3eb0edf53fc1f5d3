"""Draw a stretch of a run as a PNG: norm, what was found, loss, layers.

Pure: numbers in, bytes out; no display, no file. Importing this takes matplotlib, so whoever may not need it imports it
late. Names are drawn as they are, never read as formulas.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from gradvitals_service.health.marks import Mark, colour_of
from gradvitals_service.health.plotting import as_png, blank, drawable, positive, set_log, stretch

WIDTH, HEIGHT = 1200, 900  # pixels

_LINE = "#222222"
_LIMIT = "#56B4E9"
_SILENT = "#EEEEEE"  # of a layer whose gradient is zero, or not finite
_COLUMNS = 1000  # of the heat map: about a pixel each
_MOST_NAMES = 16
_LONGEST_NAME = 22
_ABOVE, _BELOW = 30.0, 3000.0  # factors from the strongest layer's usual norm that the heat map tells apart
_CENTRED: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 10, "color": "#888888"}


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
    figure = blank(WIDTH, HEIGHT)
    heights = (3.2, 0.35 * max(len(picture.rows), 1), 1.6, 2.4)
    norm, marks, loss, layers = figure.subplots(
        4, 1, sharex=True, gridspec_kw={"height_ratios": heights, "hspace": 0.12}
    )
    figure.subplots_adjust(left=0.18, right=0.88, top=0.93, bottom=0.07)
    last_step = int(picture.step[-1]) if len(picture.step) else 1
    first_step = int(picture.step[0]) if len(picture.step) else 0
    norm.set_xlim(first_step, max(last_step, first_step + 1))
    norm.set_title(drawable(picture.title), loc="left", fontsize=15, parse_math=False)
    _draw_norm(norm, picture)
    _draw_marks(marks, picture.rows)
    _draw_loss(loss, picture)
    _draw_layers(layers, picture)
    layers.set_xlabel("step", fontsize=12)
    for axes in (norm, marks, loss, layers):
        axes.tick_params(labelsize=10)
    return as_png(figure)


def _draw_norm(axes: Axes, picture: Picture) -> None:
    axes.set_ylabel("global norm", fontsize=12)
    for mark in picture.rows[0][1] if picture.rows else ():
        start, width = stretch(axes, mark)
        axes.axvspan(start, start + width, color=mark.colour, alpha=0.25, linewidth=0)
        axes.axvline(start, color=mark.colour, linewidth=1.0)
    drawn = positive(picture.global_norm)
    axes.plot(picture.step, drawn, color=_LINE, linewidth=1.0)
    set_log(axes, drawn)
    if np.isfinite(picture.max_norm).any():
        limit = np.where(np.isfinite(picture.max_norm), picture.max_norm, np.nan)
        axes.plot(picture.step, limit, color=_LIMIT, linewidth=1.8, linestyle="--", label="max_norm")
        axes.legend(loc="lower left", fontsize=10, framealpha=0.8)
    broken = picture.step[~np.isfinite(picture.global_norm)]
    if len(broken):
        at_top = axes.get_xaxis_transform()
        colour = colour_of("non_finite")
        axes.plot(broken, np.full(len(broken), 0.97), "x", color=colour, markersize=6, transform=at_top)
    axes.grid(True, which="major", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_marks(axes: Axes, rows: Sequence[tuple[str, Sequence[Mark]]]) -> None:
    kinds = list(dict.fromkeys(mark.kind for _, marks in rows for mark in marks))
    height = 0.8 / max(len(kinds), 1)  # a lane for each kind: what happens at the same time hides nothing
    for place, (_, marks) in enumerate(rows):
        for mark in marks:
            top = place - 0.4 + height * kinds.index(mark.kind)
            axes.broken_barh([stretch(axes, mark)], (top, 0.9 * height), color=mark.colour, linewidth=0)
        if not marks:
            axes.text(0.5, place, "nothing", transform=axes.get_yaxis_transform(), **_CENTRED)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [drawable(name) for name, _ in rows], parse_math=False)
    if kinds:
        patches = [Patch(color=colour_of(kind), label=kind) for kind in kinds]
        axes.legend(handles=patches, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, frameon=False)


def _draw_loss(axes: Axes, picture: Picture) -> None:
    axes.set_ylabel("loss", fontsize=12)
    finite = picture.loss[np.isfinite(picture.loss)]
    axes.plot(picture.step, np.where(np.isfinite(picture.loss), picture.loss, np.nan), color=_LINE, linewidth=0.9)
    if len(finite) and finite.min() > 0 and finite.max() > 20 * finite.min():
        set_log(axes, positive(picture.loss))
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
    labels = [drawable(_short(name)) for name in names[::every]]
    axes.set_yticks(np.arange(0, len(names), every) + 0.5, labels, parse_math=False)


def _colour_range(norms: NDArray[np.float32], strongest: NDArray[np.float32]) -> tuple[float, float]:
    """Around what the strongest layer has on nine of ten steps, so that an explosion does not make all else dark."""
    low, high = np.quantile(norms, (0.005, 0.995))
    usual, often = np.quantile(strongest, (0.5, 0.9))
    least = max(float(low), float(usual) / _BELOW, 1e-45)
    return least, max(min(float(high), float(often) * _ABOVE), 1.1 * least)


def _short(name: str) -> str:
    """The end of a long name, which tells more than its beginning."""
    return name if len(name) <= _LONGEST_NAME else "…" + name[-_LONGEST_NAME + 1 :]
