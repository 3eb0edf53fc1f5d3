"""Put the attempts of one rank into one line of steps: where they overlap, the newest wins.

Pure. A resume begins at an earlier step than its predecessor reached; from there on the older attempt's frames are not
part of the run's history any more, although they stay stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID


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


def cut_overlaps(reaches: Sequence[Reach]) -> list[Span]:
    """The spans of attempts given oldest first, in the order of their steps; an attempt with nothing left is gone."""
    spans: list[Span] = []
    end_step: int | None = None
    for reach in reversed(reaches):
        if end_step is None or reach.first_step < end_step:
            spans.append(Span(reach.attempt_id, reach.first_step, end_step))
            end_step = reach.first_step
    return spans[::-1]
