"""Whether gradients were clipped before they reached us, told from their global norm alone.

A clip that bites leaves its own limit as the norm: the same number on step after step, never more, and one that a
person would choose. Such norms say nothing about the training, so a run that shows them must not look healthy. In half
precision every element is rounded after the clip, so that the norm lies around the limit. A clip of the elements, or of
other parameters together with these, cannot be told from the norm.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

WINDOW = 64  # steps that are looked at
LOOK_EVERY = 16  # steps between two looks
MOST = 0.8  # share of the window's norms at the limit
SAME = 2e-4  # relative; torch's clip leaves up to so much in single precision
SAME_IN_HALF = {"float16": 2e-3, "bfloat16": 1e-2}
ROUND = 1e-3  # relative distance from a number with two digits: torch's own norm is that far off on large tensors


class AlreadyClipped:
    """Watches the global norms of one stream and knows the limit that they stick to."""

    def __init__(self, dtype: str = "float32") -> None:
        self._same = SAME_IN_HALF.get(dtype, SAME)
        self._norms: deque[float] = deque(maxlen=WINDOW)
        self._seen = 0
        self.limit: float | None = None  # what the norms stick to; None where they are alive

    def observe(self, global_norm: float) -> float | None:
        """Take the norm of one step, and return the limit. What is not finite says nothing."""
        if global_norm < math.inf:
            self._norms.append(global_norm)
            self._seen += 1
            if self._seen % LOOK_EVERY == 0 and self._seen >= WINDOW:
                self.limit = self._find_limit()
        return self.limit

    def _find_limit(self) -> float | None:
        largest, same = max(self._norms), self._same
        if same > SAME:  # they lie around the limit
            limit = _rounded(statistics.median(self._norms), digits=2)
            sticks = largest <= limit * (1 + same) and self._share_above(limit * (1 - same)) >= MOST
            return limit if limit and sticks else None
        if self._share_above(largest * (1 - same)) < MOST:
            return None
        for digits, off in ((2, ROUND), (3, SAME)):  # a limit of three digits must be met as well as norms stick to it
            limit = _rounded(largest, digits)
            if limit and abs(largest - limit) <= off * limit:
                return limit
        return None

    def _share_above(self, lowest: float) -> float:
        return sum(norm >= lowest for norm in self._norms) / len(self._norms)


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}")
