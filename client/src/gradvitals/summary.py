"""What a person is told of a run's measuring: one line when it begins, one with the counts when it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradvitals.announce import counted
from gradvitals.declarations import WatchedFacts
from gradvitals.frames import Frame


@dataclass(slots=True)
class Summary:
    """Steps, clips and the largest norm over all monitors of a run."""

    steps: int = 0
    clipped: int = 0
    non_finite: int = 0
    largest_norm: float = 0.0
    largest_norm_step: int | None = None

    def count(self, frame: Frame) -> None:
        """Take one frame into account. A norm that is not finite is counted, and is not the largest."""
        self.steps += 1
        self.clipped += frame.clip_coefficient < 1.0
        if not math.isfinite(frame.global_norm):
            self.non_finite += 1
        elif self.largest_norm_step is None or frame.global_norm > self.largest_norm:
            self.largest_norm, self.largest_norm_step = frame.global_norm, frame.step

    def line(self, events: int) -> str:
        """``1,000 steps, 12.5 % clipped, largest global norm 31.4 at step 17, 1 event``."""
        if not self.steps:
            return "no step was seen"
        parts = [counted(self.steps, "step"), f"{100 * self.clipped / self.steps:.1f} % clipped"]
        if self.largest_norm_step is not None:
            parts.append(f"largest global norm {self.largest_norm:.4g} at step {self.largest_norm_step}")
        if self.non_finite:
            parts.append(f"{self.non_finite:,} non-finite")
        parts.append(counted(events, "event") if events else "no events")
        return ", ".join(parts)


def describe_watch(monitor: str, layers: int, facts: WatchedFacts) -> str:
    """``clipping 6 layers of main (SGD) with max_norm=1: ...``, with the way to turn it off."""
    what = f"{counted(layers, 'layer')} of {monitor} ({facts.optimizer})"
    if facts.max_norm is not None and not math.isinf(facts.max_norm):
        limit = f"max_norm={facts.max_norm:g}"
    elif facts.clip_value is not None:
        limit = f"clip_value={facts.clip_value:g}"
    elif facts.strategy is not None:
        return f"clipping {what} by {facts.strategy}: remove your own clipping, or this one by leaving out strategy"
    else:
        return f"measuring {what}; gradients are not clipped"
    return f"clipping {what} with {limit}: remove your own clipping, or this one by leaving out {limit.split('=')[0]}"
