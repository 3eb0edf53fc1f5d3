"""Notice that two processes train one run as the same rank at once, from the order of their heartbeats.

Pure, and without the clocks of others, which may differ by hours. Whoever is started again right after a kill is no
second process, although the first one's last heartbeat is fresh; nor is the dead one whose rest a third process sends.
So both must be seen to go on: each has to make a step between two heartbeats of its own that lie behind the other's
first one. What is remembered is lost with the service; those who still train are noticed again within two heartbeats.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

MOST_PLACES = 4096  # runs and ranks that are remembered
SILENT_SECONDS = 30.0

Pair = tuple[UUID, UUID]  # two attempts, in the order of their ids


class Heard(NamedTuple):
    """Who trains at once after a heartbeat; ``may_be_over``: somebody who did before may have ended."""

    pairs: frozenset[Pair]
    may_be_over: bool


@dataclass(slots=True)
class _Holder:
    """Moments are counted in heartbeats of its place."""

    first: int
    last: int
    last_seconds: float
    progress: tuple[int, int]
    went_on_after: int = -1  # it made a step behind this heartbeat of its own


@dataclass(slots=True)
class _Place:
    """A rank of a run, and the attempts that were heard of it lately."""

    since_seconds: float
    count: int = 0
    holders: dict[UUID, _Holder] = field(default_factory=dict)
    pairs: frozenset[Pair] = frozenset()
    is_new: bool = True  # what was noticed before is not known


class Holders:
    """The attempts that hold each rank of each run. One thread's own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: OrderedDict[tuple[UUID, int], _Place] = OrderedDict()

    def hear(self, run_id: UUID, rank: int, attempt_id: UUID, progress: tuple[int, int], *, ends: bool) -> Heard:
        """Take a heartbeat; ``progress`` grows with every step."""
        now = self._clock()
        place = self._places.setdefault((run_id, rank), _Place(now))
        self._places.move_to_end((run_id, rank))
        while len(self._places) > MOST_PLACES:
            self._places.popitem(last=False)
        place.count += 1
        _go_on(place, attempt_id, progress, now)
        for gone in [key for key, holder in place.holders.items() if now - holder.last_seconds > SILENT_SECONDS]:
            del place.holders[gone]
        if ends:
            del place.holders[attempt_id]
        before, place.pairs = place.pairs, _pairs(place.holders)
        is_settled = place.is_new and now - place.since_seconds > SILENT_SECONDS
        place.is_new = place.is_new and not is_settled
        return Heard(place.pairs, may_be_over=is_settled or not before <= place.pairs)


def _go_on(place: _Place, attempt_id: UUID, progress: tuple[int, int], now: float) -> None:
    holder = place.holders.get(attempt_id)
    if holder is None:
        place.holders[attempt_id] = _Holder(place.count, place.count, now, progress)
        return
    if progress > holder.progress:
        holder.went_on_after, holder.progress = holder.last, progress
    holder.last, holder.last_seconds = place.count, now


def _pairs(holders: dict[UUID, _Holder]) -> frozenset[Pair]:
    """The one that was there first with each of the others: a thousand that share a rank are not a million pairs."""
    if len(holders) < 2:
        return frozenset()
    oldest = min(holders, key=lambda key: holders[key].first)
    return frozenset(
        (min(oldest, key), max(oldest, key))
        for key, holder in holders.items()
        if key != oldest
        and holder.went_on_after > holders[oldest].first
        and holders[oldest].went_on_after > holder.first
    )
