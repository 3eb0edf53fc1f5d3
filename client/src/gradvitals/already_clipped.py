"""Whether gradients were clipped before they reached us, told from their global norm alone.

A clip that bites leaves its own limit as the norm: the same number on step after step, never more, and one that a
person would choose. Such norms say nothing about the training, so a run that shows them must not look healthy.
"""

from __future__ import annotations

import math
from collections import deque

WINDOW = 64  # steps that are looked at
LOOK_EVERY = 16  # steps between two looks
MOST = 0.8  # share of the window's norms at the limit
SAME = 2e-4  # relative; torch's clip leaves up to so much in single precision
ROUND = 1e-3  # relative distance from a number with two digits: torch's own norm is that far off on large tensors


class AlreadyClipped:
    """Watches the global norms of one stream and knows the limit that they stick to."""

    def __init__(self) -> None:
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
        largest = max(self._norms)
        limit = _two_digits(largest)
        if limit == 0 or abs(largest - limit) > ROUND * limit:
            return None
        at_limit = sum(norm >= largest * (1 - SAME) for norm in self._norms)
        return limit if at_limit >= MOST * WINDOW else None


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")
