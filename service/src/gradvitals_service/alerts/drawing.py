"""Draw the newest steps of a run, small enough for a chat: the norm with what was found, and the loss below.

Pure: numbers and words in, bytes out. Importing this takes matplotlib, so whoever may not need it imports it late. The
colours are those of the page, but for events, which are those of every picture of ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gradvitals_service.alerts.glance import Glance
from gradvitals_service.health.marks import colour_of
from gradvitals_service.health.plotting import as_png, blank, drawable, positive, set_log, stretch
from gradvitals_service.series.downsample import Buckets

Theme = Literal["light", "dark"]

_SMALL_LETTER = 7.2  # pixels that a letter of the words takes, on average
_MARGIN = 18  # pixels around everything
_LEFT, _TOP, _BOTTOM = 74, 76, 58  # pixels around the charts
_MOST_MARKS = 40
_MOST_TRIES = 4  # to shorten a name: letters are not equally wide


@dataclass(frozen=True, slots=True)
class Colours:
    """The tokens of the page that a picture needs."""

    surface: str
    text: str
    faint: str
    line: str
    norm: str
    loss: str
    lost: str


COLOURS: dict[Theme, Colours] = {
    "light": Colours("#ffffff", "#131a24", "#667085", "#e1e5ea", "#2a5bd7", "#0a7264", "#dfe3e9"),
    "dark": Colours("#151b23", "#eaeef4", "#8e9aaa", "#27303c", "#7ea6ff", "#4cc9b5", "#2b3542"),
}


def draw(glance: Glance, width: int, height: int, theme: Theme) -> bytes:
    """The PNG, of so many pixels."""
    colours = COLOURS[theme]
    figure = blank(width, height)
    figure.set_facecolor(colours.surface)
    _draw_words(figure, glance, colours)
    if not len(glance.step):
        return as_png(figure)
    norm, loss = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (1.7, 1.0), "hspace": 0.1})
    figure.subplots_adjust(
        left=_LEFT / width, right=1 - _MARGIN / width, top=1 - _TOP / height, bottom=_BOTTOM / height
    )
    norm.set_xlim(glance.step[0], max(glance.step[-1], glance.step[0] + 1))
    for axes, name in ((norm, "norm"), (loss, "loss")):
        _style(axes, name, colours)
        for first, last in glance.lost[:_MOST_MARKS]:
            axes.axvspan(first - 0.5, last + 0.5, color=colours.lost, linewidth=0)
        for mark in glance.marks[:_MOST_MARKS]:
            start, length = stretch(axes, mark)
            axes.axvspan(start, start + length, color=mark.colour, alpha=0.22, linewidth=0)
            axes.axvline(start, color=mark.colour, linewidth=1.2)
    _draw_norm(norm, glance, colours)
    _draw_line(loss, glance.step, glance.loss, colours.loss)
    norm.tick_params(labelbottom=False)
    loss.xaxis.set_major_locator(MaxNLocator(max(2, width // 140), integer=True))
    loss.xaxis.set_major_formatter("{x:,.0f}")
    loss.yaxis.set_major_locator(MaxNLocator(4))
    loss.set_xlabel("step", fontsize=8.5, color=colours.faint, labelpad=1)
    return as_png(figure)


def _draw_words(figure: Figure, glance: Glance, colours: Colours) -> None:
    """The name with its project, what happened, and at the foot what the colours mean."""
    width, height = figure.canvas.get_width_height()
    project = _shortened(glance.project, int(width / 3 / _SMALL_LETTER))
    _write(figure, (_MARGIN, 20), 12.5, colours.text, glance.name, f" · {project}")
    fitting = int((width - 2 * _MARGIN) / _SMALL_LETTER)
    lines = wrap(glance.words, fitting, max_lines=2, placeholder=" …")
    for row, line in enumerate(lines):
        _write(figure, (_MARGIN, 43 + 16 * row), 9.5, colours.text, line)
    left = float(_LEFT)
    for sign, meaning, colour in _meanings(glance, colours):
        _write(figure, (left, height - 12), 9, colour, sign)
        _write(figure, (left + 14, height - 12), 8, colours.faint, meaning)
        left += 14 + _SMALL_LETTER * (len(meaning) + 2)


def _write(figure: Figure, place: tuple[float, float], size: float, colour: str, text: str, end: str = "") -> None:
    """One line of text from a place in pixels, shortened until it fits into the picture with what stands at its end."""
    width, height = figure.canvas.get_width_height()
    room = width - place[0] - _MARGIN
    text, end = drawable(text), drawable(end)
    where = (place[0] / width, 1 - place[1] / height)
    drawn = figure.text(*where, text + end, fontsize=size, color=colour, ha="left", va="center", parse_math=False)
    for _ in range(_MOST_TRIES):
        if (taken := drawn.get_window_extent().width) <= room:
            break
        text = _shortened(text, int(len(text) * room / taken))
        drawn.set_text(text + end)


def _meanings(glance: Glance, colours: Colours) -> Iterator[tuple[str, str, str]]:
    """(sign, meaning, colour) of what is drawn beside the lines."""
    for kind in dict.fromkeys(mark.kind for mark in glance.marks):
        yield "■", "non-finite" if kind == "non_finite" else kind.replace("_", " "), colour_of(kind)
    if glance.norm.non_finite.any() or glance.loss.non_finite.any():
        yield "✕", "NaN or infinity", colour_of("non_finite")
    if glance.lost:
        yield "■", "lost", colours.lost


def _draw_norm(axes: Axes, glance: Glance, colours: Colours) -> None:
    _draw_line(axes, glance.step, glance.norm, colours.norm, log=True)
    limit = glance.max_norm.mean
    if np.isfinite(limit).any():
        axes.plot(glance.step, limit, color=colours.text, linewidth=1.2, linestyle=(0, (4, 3)))
        newest = limit[np.isfinite(limit)][-1]
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, newest / 1.5), max(high, newest * 1.5))  # where one clips is part of the picture
        beside: dict[str, Any] = {"xytext": (-4, 3), "textcoords": "offset points", "ha": "right", "fontsize": 8}
        axes.annotate(f"max_norm {newest:.3g}", (glance.step[-1], newest), color=colours.text, **beside)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(_decade)  # a power as a formula would take as long as all lines together


def _draw_line(axes: Axes, step: NDArray[np.int64], metric: Buckets, colour: str, *, log: bool = False) -> None:
    """The largest value of each bucket as a line, above a band down to the smallest."""
    low, high = (positive(values) if log else values for values in (metric.minimum, metric.maximum))
    if (metric.maximum > metric.minimum).any():
        axes.fill_between(step, low, high, color=colour, alpha=0.35, linewidth=0)
    axes.plot(step, high, color=colour, linewidth=1.3, marker="o" if len(step) == 1 else None, markersize=4)
    if log:
        set_log(axes, high)
    broken = step[metric.non_finite > 0]
    if len(broken):
        crosses: dict[str, Any] = {
            "color": colour_of("non_finite"),
            "markersize": 5,
            "markeredgewidth": 1.4,
            "clip_on": False,
        }
        axes.plot(broken, np.full(len(broken), 0.95), "x", transform=axes.get_xaxis_transform(), **crosses)


def _style(axes: Axes, name: str, colours: Colours) -> None:
    axes.set_facecolor(colours.surface)
    axes.set_ylabel(name, fontsize=9, color=colours.faint)
    axes.tick_params(labelsize=8.5, colors=colours.faint, which="both", length=0)
    axes.grid(True, which="major", color=colours.line, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(colours.line)


def _decade(value: float, place: float) -> str:
    return f"{value:g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: max(length - 1, 1)]}…"
