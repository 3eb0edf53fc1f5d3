"""What pictures of a run share: a log axis that shows any norm, stretches of steps, names as text, a small file.

Pure, and without any state of matplotlib's that outlives a picture.
"""

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray
from PIL import Image

from gradvitals_service.health.marks import Mark

DOTS_PER_INCH = 100

_LEAST_WIDTH = 0.004  # of the axis: so wide is an event of one step
_COLOURS = 256  # of the file's palette: a third of the bytes, and the eye sees no difference
_NO_GLYPH = "□"


def blank(width: int, height: int) -> Figure:
    """A figure of so many pixels with nothing in it."""
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: Figure) -> bytes:
    """The file of a figure that ``blank`` made."""
    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="rgba", facecolor=figure.get_facecolor())
    picture = Image.frombytes("RGBA", figure.canvas.get_width_height(), drawn.getvalue()).convert("RGB")
    small = picture.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    small.save(file, format="PNG", optimize=True)
    return file.getvalue()


def drawable(text: str, weight: str = "normal") -> str:
    """A name as the font can draw it: a box for each character of a script that it has not.

    Matplotlib would draw the same, and warn; what keeps warnings quiet is not safe in threads.
    """
    font = get_font(findfont(FontProperties(weight=weight)))
    return "".join(character if font.get_char_index(ord(character)) else _NO_GLYPH for character in text)


def set_log(axes: Axes, drawn: NDArray[np.float64]) -> None:
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


def stretch(axes: Axes, mark: Mark) -> tuple[float, float]:
    """Where a mark begins and how wide it is drawn: at least so wide that one sees it."""
    left, right = axes.get_xlim()
    end = right if mark.end_step is None else min(mark.end_step + 1, right)
    return mark.start_step, max(end - mark.start_step, _LEAST_WIDTH * (right - left))


def positive(values: NDArray[Any]) -> NDArray[np.float64]:
    """What a log axis can show: NaN elsewhere."""
    shown = np.isfinite(values) & (values > 0)
    return np.where(shown, values, np.nan).astype(np.float64)
