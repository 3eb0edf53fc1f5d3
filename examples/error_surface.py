"""Draw the wall in the error surface of a recurrent network, and what clipping does when descent meets it.

After Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, section 2.3 and
figure 6: one hidden unit, ``x <- w sigmoid(x) + b`` for 50 steps from x = 0.5, and the error (sigmoid(x_50) - 0.7)^2.
Where two fixed points meet, the error jumps within a hair's breadth, and there the gradient is enormous.

    python examples/error_surface.py --out error-surface.png

Both descents start at w = 5.2, b = -1.8 with a learning rate of 2. Without clipping the wall is met at iteration 13
with a norm of 35.6 (0.11 one iteration before), and one step throws the weights to w = 39.9, b = 59.4, where the error
is 0.09 and the gradient is zero: nothing will ever bring them back. Clipped at 0.1, the same descent bounces along the
valley and ends at an error of 1.2e-6. Each descent is also a run of the project "error-surface".
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import gradvitals

Floats = NDArray[np.float64]

UNROLLED_STEPS = 50
FIRST_STATE = 0.5
TARGET = 0.7
START_W, START_B = 5.2, -1.8
LEARNING_RATE = 2.0
ITERATIONS = 400
MAX_NORM = 0.1
W_RANGE, B_RANGE = (2.0, 7.0), (-4.0, -1.0)

# Okabe and Ito's colours, which stay apart for every kind of colour vision.
UNCLIPPED_COLOUR, UNCLIPPED_TEXT = "#D55E00", "#B34700"
CLIPPED_COLOUR, CLIPPED_TEXT = "#0072B2", "#005A8C"

THROWN_AT = 13  # the iteration at which the descent without clipping meets the wall
# The steepest point at w = 5.9, found by refining a grid along b until nothing changed. The wall is thin: the norm is
# 9.1e6 here, 3e5 at a distance of 1e-7, and 1.9 where b is rounded to -3.1725.
WALL = (np.array(5.9), np.array(-3.1725100878321277))


class OneUnit(nn.Module):
    """A recurrent network of one hidden unit, whose two parameters can be drawn on a map."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(START_W, dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor(START_B, dtype=torch.float64))

    def forward(self) -> Tensor:
        """The error after 50 steps, a scalar."""
        x = torch.tensor(FIRST_STATE, dtype=torch.float64)
        for _ in range(UNROLLED_STEPS):
            x = self.w * torch.sigmoid(x) + self.b
        return (torch.sigmoid(x) - TARGET) ** 2


@dataclass(frozen=True)
class Descent:
    """One descent; row k is what held *before* iteration k, and the last point is where it ended."""

    w: Floats  # [iterations + 1]
    b: Floats  # [iterations + 1]
    error: Floats  # [iterations + 1]
    global_norm: Floats  # [iterations]; before clipping


def descend(max_norm: float | None, *, project: str = "error-surface", mode: str | None = None) -> Descent:
    """Descend from the same point, clipping at ``max_norm`` (None: not at all), as one run of ``project``."""
    model = OneUnit()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    points: list[tuple[float, float, float]] = []
    norms: list[float] = []

    name = "descent, not clipped" if max_norm is None else f"descent, clipped at {max_norm:g}"
    config = {"lr": LEARNING_RATE, "max_norm": max_norm, "w": START_W, "b": START_B}
    with gradvitals.init(project=project, name=name, config=config, mode=mode) as run:
        run.watch(model, optimizer, max_norm=max_norm)
        for _ in range(ITERATIONS):
            error = model()
            optimizer.zero_grad()
            error.backward()
            points.append((model.w.item(), model.b.item(), error.item()))
            norms.append(gradient_norm(model))
            run.log(loss=error, w=model.w, b=model.b)
            optimizer.step()

    points.append((model.w.item(), model.b.item(), model().item()))
    w, b, errors = np.array(points).T
    return Descent(w, b, errors, np.array(norms))


def gradient_norm(model: OneUnit) -> float:
    """The Euclidean norm of both gradients, as the optimizer's step will find them."""
    assert model.w.grad is not None
    assert model.b.grad is not None
    return math.hypot(model.w.grad.item(), model.b.grad.item())


def error_and_norm(w: Floats, b: Floats) -> tuple[Floats, Floats]:
    """The error and the norm of its gradient at every point, arrays of one shape.

    The derivatives are carried along with the state: with s = sigmoid(x) and x' = w s + b,
    dx'/dw = s + w s(1-s) dx/dw and dx'/db = 1 + w s(1-s) dx/db.
    """
    x = np.full(np.broadcast(w, b).shape, FIRST_STATE)
    dx_dw, dx_db = np.zeros_like(x), np.zeros_like(x)
    for _ in range(UNROLLED_STEPS):
        s = 1.0 / (1.0 + np.exp(-x))
        slope = w * s * (1.0 - s)
        dx_dw, dx_db = s + slope * dx_dw, 1.0 + slope * dx_db
        x = w * s + b
    s = 1.0 / (1.0 + np.exp(-x))
    outer = 2.0 * (s - TARGET) * s * (1.0 - s)
    return (s - TARGET) ** 2, np.abs(outer) * np.hypot(dx_dw, dx_db)


def surface(points: int = 401) -> tuple[Floats, Floats, Floats, Floats]:
    """w, b, error and gradient norm on a grid of points x points over the map, each [points, points]; rows share b."""
    w, b = np.meshgrid(np.linspace(*W_RANGE, points), np.linspace(*B_RANGE, points))
    return (w, b, *error_and_norm(w, b))


def draw(unclipped: Descent, clipped: Descent, out: Path, *, dpi: int = 110) -> None:
    """Write the surface with both paths, and norm and error by iteration, as a PNG."""
    import matplotlib  # here, so that whoever wants only the numbers needs no matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False})
    figure = plt.figure(figsize=(11, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.65, 1))
    draw_map(figure, figure.add_subplot(grid[:, 0]), unclipped, clipped)
    draw_norms(figure.add_subplot(grid[0, 1]), unclipped, clipped)
    draw_errors(figure.add_subplot(grid[1, 1]), unclipped, clipped)
    figure.savefig(out, dpi=dpi)
    plt.close(figure)


def draw_map(figure: Any, axes: Any, unclipped: Descent, clipped: Descent) -> None:
    """The surface from above, error in log colour, with the wall named and both paths on it."""
    from matplotlib.colors import LogNorm

    w, b, error, _ = surface()
    levels = np.geomspace(1e-3, 0.55, 36)
    bands = axes.contourf(w, b, error, levels, norm=LogNorm(levels[0], levels[-1]), cmap="bone", extend="min")
    bar = figure.colorbar(bands, ax=axes, pad=0.015, aspect=38, ticks=(1e-3, 1e-2, 1e-1), format="%g")
    bar.set_label("error (log scale)")
    bar.outline.set_visible(False)

    draw_path(axes, clipped.w, clipped.b, CLIPPED_COLOUR, marker="o", size=2.2)
    on_map = THROWN_AT + 1  # the next point lies far outside
    draw_path(axes, unclipped.w[:on_map], unclipped.b[:on_map], UNCLIPPED_COLOUR, marker="s", size=3.6)
    hit = np.array([unclipped.w[THROWN_AT], unclipped.b[THROWN_AT]])
    landing = np.array([unclipped.w[on_map], unclipped.b[on_map]])
    edge = hit + (landing - hit) * (B_RANGE[1] - hit[1]) / (landing[1] - hit[1])
    arrow = {
        "arrowstyle": "-|>",
        "lw": 2.2,
        "color": UNCLIPPED_COLOUR,
        "shrinkA": 0,
        "shrinkB": 0,
        "mutation_scale": 18,
    }
    axes.annotate("", xy=edge, xytext=hit, arrowprops=arrow, zorder=7)

    box = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": "none", "alpha": 0.9}
    pointer = {"arrowstyle": "-", "color": "black", "lw": 0.9}
    axes.text(
        5.02, -1.34, f"without clipping, step {THROWN_AT}\nthrows the weights off the\nmap, "
        f"to w = {landing[0]:.1f}, b = {landing[1]:.1f}", color=UNCLIPPED_TEXT, weight="bold", bbox=box, zorder=8,
    )  # fmt: skip
    axes.annotate(
        f"clipped at {MAX_NORM:g}: bounces along the\nvalley, to an error of {clipped.error[-1]:.1e}",
        xy=(clipped.w[-1], clipped.b[-1]), xytext=(2.12, -2.74), bbox=box, color=CLIPPED_TEXT, weight="bold",
        arrowprops=pointer, zorder=8,
    )  # fmt: skip
    axes.annotate(
        f"the wall: here the norm\nreaches {error_and_norm(*WALL)[1] / 1e6:.1f} million",
        xy=(WALL[0].item(), WALL[1].item()), xytext=(4.35, -3.8), bbox=box, arrowprops=pointer, zorder=8,
    )  # fmt: skip
    axes.text(START_W + 0.1, START_B - 0.02, "start", bbox=box, zorder=8)
    axes.set(xlim=W_RANGE, ylim=B_RANGE, xlabel="w", ylabel="b")
    axes.set_title("Error surface of  x ← w sigmoid(x) + b,  50 steps", loc="left", weight="bold")


def draw_path(axes: Any, w: Floats, b: Floats, colour: str, *, marker: str, size: float) -> None:
    """One descent as points joined by a line, with a white rim so that it stands out from any ground."""
    axes.plot(w, b, "-", marker=marker, color="white", lw=2.6, ms=size + 1.6, zorder=3)
    axes.plot(w, b, "-", marker=marker, color=colour, lw=1.4, ms=size, zorder=4)


def draw_norms(axes: Any, unclipped: Descent, clipped: Descent) -> None:
    """The gradient norm of both descents by iteration, with the threshold."""
    axes.semilogy(clipped.global_norm, color=CLIPPED_COLOUR, lw=1.2)
    axes.semilogy(unclipped.global_norm[: THROWN_AT + 1], "-s", color=UNCLIPPED_COLOUR, lw=1.6, ms=3.5)
    axes.axhline(MAX_NORM, color="0.35", lw=1, ls=(0, (4, 3)))
    axes.text(ITERATIONS, MAX_NORM * 1.3, f"max_norm {MAX_NORM:g}", ha="right", color="0.35")
    axes.text(
        26, 12, f"iteration {THROWN_AT}: norm {unclipped.global_norm[THROWN_AT]:.1f},\nand zero ever after",
        color=UNCLIPPED_TEXT, weight="bold",
    )  # fmt: skip
    axes.set(xlim=(-6, ITERATIONS), ylim=(5e-4, 120), xticklabels=[])
    axes.set_title("Gradient norm before clipping", loc="left", weight="bold")
    axes.grid(axis="y", color="0.9")


def draw_errors(axes: Any, unclipped: Descent, clipped: Descent) -> None:
    """The error of both descents by iteration."""
    axes.semilogy(clipped.error, color=CLIPPED_COLOUR, lw=1.2)
    axes.semilogy(unclipped.error, color=UNCLIPPED_COLOUR, lw=1.8)
    axes.text(
        ITERATIONS, unclipped.error[-1] * 1.5, "without clipping", ha="right", color=UNCLIPPED_TEXT, weight="bold"
    )
    axes.text(ITERATIONS, 1e-4, "clipped", ha="right", color=CLIPPED_TEXT, weight="bold")
    axes.set(xlim=(-6, ITERATIONS), ylim=(6e-7, 1), xlabel="iteration")
    axes.set_title("Error", loc="left", weight="bold")
    axes.grid(axis="y", color="0.9")


def main() -> None:
    """Descend twice, say what happened, and draw it."""
    parser = argparse.ArgumentParser(description="The wall in the error surface, with and without clipping.")
    parser.add_argument("--out", type=Path, default=Path("error-surface.png"), help="where the picture goes (PNG)")
    parser.add_argument("--project", default="error-surface", help="the project that both runs belong to")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    unclipped = descend(None, project=arguments.project)
    clipped = descend(MAX_NORM, project=arguments.project)
    for name, descent in (("without clipping", unclipped), (f"clipped at {MAX_NORM:g}", clipped)):
        worst = int(descent.global_norm.argmax())
        print(
            f"{name}: largest norm {descent.global_norm[worst]:.3g} at iteration {worst}; "
            f"ends at w = {descent.w[-1]:.2f}, b = {descent.b[-1]:.2f} with an error of {descent.error[-1]:.2g}"
        )
    draw(unclipped, clipped, arguments.out)
    print(f"drawn: {arguments.out}")


if __name__ == "__main__":
    main()
