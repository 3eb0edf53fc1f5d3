"""Count alarms in very long healthy runs, which are simulated: noise as real runs have it, for a million steps.

No network is trained here. From each healthy trace the noise around its level is taken, norm, loss and layers of a step
together and in blocks of steps, so that what belongs together stays together. A real run of some thousand steps does
not show its rarest noise, so norms in the upper twentieth get a tail of the exponential kind on the log scale, a power
law, as heavy as theirs; the loss follows as far as it did there. Level and loss fall slowly. All that is told is a
false alarm.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from benchmarks.report import report
from benchmarks.traces.scoring import KINDS, read_labels
from gradvitals_service.health.detectors import Detectors, Frames
from gradvitals_service.health.replay import Trace, read_trace

CHUNK: Final = 256
BLOCK: Final = 64
"""Steps of a trace that are repeated together."""

AROUND: Final = 65
"""Steps whose median is the level of the one in their middle."""

TAIL: Final = 0.05
"""Share of the steps that are the upper tail."""

TREND_STEPS: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Noise:
    """What a run's steps are beside their level, on a log scale; the loss, which may be negative, is not."""

    norms: NDArray[np.float64]  # [T]
    shares: NDArray[np.float64]  # [T, L], of the global norm
    losses: NDArray[np.float64]  # [T], the loss less its level
    level: float
    loss_level: float
    threshold: float  # where the tail begins
    tail_scale: float
    loss_slope: float  # how much loss comes with a norm that is farther out

    @classmethod
    def of(cls, trace: Trace) -> Noise | None:
        """The noise of a trace after its first third; None where steps without gradient leave no level to speak of."""
        frames = trace.frames.rows(len(trace.frames) // 3, len(trace.frames))
        norms, losses = frames.global_norm.astype(np.float64), frames.loss.astype(np.float64)
        if not (np.isfinite(norms).all() and np.isfinite(losses).all() and (norms > 0.0).all()):
            return None
        logs = np.log(norms)
        noise, loss_noise = logs - _medians(logs), losses - _medians(losses)
        threshold = float(np.quantile(noise, 1.0 - TAIL))
        beyond = noise > threshold
        scale = float((noise[beyond] - threshold).mean())
        slope = float((noise[beyond] * loss_noise[beyond]).mean() / np.square(noise[beyond]).mean())
        shares = frames.group_norms / norms[:, None]
        levels = float(np.median(logs)), float(np.median(losses))
        return cls(noise, shares, loss_noise, *levels, threshold, scale, max(slope, 0.0))

    def chunks(self, steps: int, seed: int) -> Iterator[Frames]:
        """So many steps of a run with this noise."""
        random = np.random.default_rng(seed)
        for first in range(0, steps, CHUNK):
            starts = random.integers(0, len(self.norms) - BLOCK, CHUNK // BLOCK)
            rows = (starts[:, None] + np.arange(BLOCK)).ravel()
            noise, losses = self.norms[rows], self.losses[rows]
            drawn = self.threshold + random.exponential(self.tail_scale, CHUNK)
            farther = np.where(noise > self.threshold, drawn - noise, 0.0)
            trend = -0.5 * np.log1p((first + np.arange(CHUNK)) / TREND_STEPS)
            norms = np.exp(self.level + trend + noise + farther)
            losses = np.exp(trend) * (self.loss_level + losses + self.loss_slope * farther)
            yield _frames(first, norms, losses, norms[:, None] * self.shares[rows])


def _medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(values, AROUND // 2, mode="edge")
    medians: NDArray[np.float64] = np.median(np.lib.stride_tricks.sliding_window_view(padded, AROUND), axis=1)
    return medians


def _frames(first: int, norms: NDArray[Any], losses: NDArray[Any], layer_norms: NDArray[Any]) -> Frames:
    n = len(norms)
    return Frames(
        first=first,
        step=np.arange(first, first + n),
        global_norm=norms.astype(np.float32),
        clip_coefficient=np.ones(n, np.float32),
        max_norm=np.full(n, math.inf, np.float32),
        lr=np.full(n, 0.1, np.float32),
        loss=losses.astype(np.float32),
        has_loss=np.ones(n, np.bool_),
        flags=np.zeros(n, np.uint32),
        group_norms=layer_norms.astype(np.float32),
        param_norms=np.zeros((0, layer_norms.shape[1]), np.float32),
        param_rows=np.zeros(0, np.int64),
    )


def count_events(noise: Noise, steps: int, seed: int) -> Counter[str]:
    """How many events of each kind are told in a simulated run, and how many of any kind would page."""
    detectors, kinds, paging = Detectors(noise.shares.shape[1]), dict[tuple[str, int], str](), set[tuple[str, int]]()
    for frames in noise.chunks(steps, seed):
        for update in detectors.observe(frames):
            kinds[update.kind, update.start_frame] = update.kind
            if update.severity == "critical":
                paging.add((update.kind, update.start_frame))
    return Counter(kinds.values()) + Counter(critical=len(paging))


def main() -> None:
    """Simulate, judge and count."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.traces.simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("traces", type=Path, nargs="+", help="folders of NAME.npz and NAME.json")
    parser.add_argument("--steps", type=int, default=1_000_000, help="length of each run (%(default)s)")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="healthy traces with this name")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    healthy = [
        folder / f"{name}.npz"
        for folder in options.traces
        for name, side in read_labels(folder).items()
        if not side["labels"] and not side["ignore"] and fnmatch(name, options.only)
    ]
    table, total, judged = list[dict[str, Any]](), Counter[str](), 0
    with Progress() as progress:
        for file in progress.track(healthy, description="simulating"):
            noise = Noise.of(read_trace(file))
            if noise is None:
                continue
            counted = count_events(noise, options.steps, options.seed)
            total, judged = total + counted, judged + options.steps
            table.append(_row(file.stem, noise.tail_scale, counted, options.steps))
    report("simulate", "Simulated healthy runs: events per 10,000 steps", [*table, _row("all", None, total, judged)])


def _row(name: str, tail: float | None, counted: Counter[str], steps: int) -> dict[str, Any]:
    rates = {kind: 1e4 * counted[kind] / max(steps, 1) for kind in (*KINDS, "critical")}
    return {"noise of": name, "steps": steps, "scale of the tail": tail, **rates}


if __name__ == "__main__":
    main()
