"""Time several ways to do something against each other, on a machine that is not ours alone.

All ways take turns within one process, in an order that is shuffled each round, so that whatever disturbs one disturbs
all. Time is the CPU time of this thread, which leaves out what other processes and threads take. It says nothing of
work that torch hands to threads of its own, so torch must be set to one thread.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Way:
    """Something to time. ``prepare`` brings about the state that it starts from, and is not timed."""

    run: Callable[[], object]
    prepare: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each round. Two ways are compared within a round, since what slows one down slows its neighbours."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p20(self) -> float:
        """The 20th percentile: like the median, and less disturbed."""
        return statistics.quantiles(self.seconds, n=5)[0]

    def over(self, other: Times) -> float:
        """How many times as long this takes: the median over the rounds."""
        return statistics.median(mine / its for mine, its in zip(self.seconds, other.seconds, strict=True))

    def beyond(self, *others: Times) -> float:
        """How many seconds more this takes than all of the others one after the other: the median over the rounds."""
        rounds = zip(self.seconds, *(other.seconds for other in others), strict=True)
        return float(statistics.median(mine - sum(its) for mine, *its in rounds))


def race(ways: Mapping[str, Way], rounds: int, *, warm_up: int = 3, seed: int = 0) -> dict[str, Times]:
    """The seconds that each way takes in each round, less what reading the clock takes."""
    clock, order, shuffle = time.thread_time, list(ways), random.Random(seed).shuffle
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    empty = []
    for round_number in range(warm_up + rounds):
        shuffle(order)
        for name in order:
            way = ways[name]
            way.prepare()
            started = clock()
            read_again = clock()
            way.run()
            ended = clock()
            if round_number >= warm_up:
                empty.append(read_again - started)
                seconds[name].append(ended - read_again)
    reading = statistics.median(empty)
    return {name: Times([spent - reading for spent in times]) for name, times in seconds.items()}
