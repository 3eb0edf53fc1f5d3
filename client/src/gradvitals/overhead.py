"""How much of the training's time a monitor takes."""

from __future__ import annotations

from time import perf_counter

SMOOTHING = 0.05  # weight of the newest step


class Overhead:
    """Exponentially smoothed share of the wall time from one step to the next that was spent in a monitor."""

    def __init__(self) -> None:
        self.share = 0.0
        self._steps = 0
        self._step_began = 0.0  # as perf_counter says; 0 before the first
        self._spent_in_step = 0.0

    def count(self, began: float, *, new_step: bool) -> None:
        """Count the time since ``began``. A step may be worked on several times, of which the first is ``new_step``."""
        spent = perf_counter() - began
        if not new_step:
            self._spent_in_step += spent
            return
        if self._step_began:
            share = min(self._spent_in_step / (began - self._step_began), 1.0)
            self._steps += 1
            self.share += (share - self.share) * max(SMOOTHING, 1 / self._steps)
        self._step_began, self._spent_in_step = began, spent
