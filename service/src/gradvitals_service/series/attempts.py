"""Put the attempts of one rank into one line of steps: where they overlap, the newest wins.

Pure. A resume begins at an earlier step than its predecessor reached; from there on the older attempt's frames are not
part of the run's history any more, although they stay stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Reach:
    """From which step to which one an attempt has frames."""

    attempt_id: UUID
    first_step: int
    last_step: int


@dataclass(frozen=True, slots=True)
class Span:
    """The steps of one attempt that count: from ``first_step`` to before ``end_step``, None = without an end."""

    attempt_id: UUID
    first_step: int
    end_step: int | None


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps from ``first`` to before ``end``, None = without an end."""

    first: int
    end: int | None

    def holds(self, first_step: NDArray[np.int64], last_step: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of several stretches of steps lie in these steps altogether."""
        inside = first_step >= self.first
        return inside if self.end is None else inside & (last_step < self.end)

    def slice_of(self, step: NDArray[np.int64]) -> slice:
        """Which of increasing steps are among these."""
        first = int(np.searchsorted(step, self.first))
        return slice(first, len(step) if self.end is None else int(np.searchsorted(step, self.end)))


def asked_of(span: Span, from_step: int | None, to_step: int | None) -> Steps:
    """The steps of a span that lie in a range, of which both ends are included and None is without a bound."""
    ends = [end for end in (span.end_step, None if to_step is None else to_step + 1) if end is not None]
    return Steps(max(span.first_step, from_step or 0), min(ends, default=None))


def cut_overlaps(reaches: Sequence[Reach]) -> list[Span]:
    """The spans of attempts given oldest first, in the order of their steps; an attempt with nothing left is gone."""
    spans: list[Span] = []
    end_step: int | None = None
    for reach in reversed(reaches):
        if end_step is None or reach.first_step < end_step:
            spans.append(Span(reach.attempt_id, reach.first_step, end_step))
            end_step = reach.first_step
    return spans[::-1]
