"""See to it, when a model is watched that several ranks train together, that all of them watch it in the same way.

Of a sharded model the ranks meet at every step: one that does not come would leave the others waiting for ever. Under
DDP, one that does not clip, or at another limit, has other weights from then on, and nobody notices. Such mistakes are
told here, in words, on all ranks alike. They speak through the process group's store, since a collective would itself
wait for the one that does not come.
"""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from torch import Tensor, nn

from gradvitals.distributed import is_sharded
from gradvitals.errors import ConfigurationError

SECONDS_TO_TELL = 10.0  # that somebody is waited for
SECONDS_TO_WAIT = 300.0  # a rank may load or compile for long before it watches
AGREED = "agreed"

_meetings: defaultdict[tuple[int, ...], Iterator[int]] = defaultdict(itertools.count)  # of these ranks, how many before


def teams_of(model: nn.Module, parameters: Iterable[Tensor], *, clips: bool) -> set[tuple[int, ...]]:
    """The ranks that must watch together: those of each mesh, and, where gradients are clipped, those of DDP."""
    teams = {tuple(sorted(p.device_mesh.mesh.flatten().tolist())) for p in parameters if is_sharded(p)}
    ddp = getattr(sys.modules.get("torch.nn.parallel"), "DistributedDataParallel", ())
    for module in model.modules() if clips else ():
        if isinstance(module, ddp):
            ranks = sys.modules["torch.distributed"].get_process_group_ranks(module.process_group)
            teams.add(tuple(sorted(ranks)))
    return {team for team in teams if len(team) > 1}


def agree_on_watching(
    teams: set[tuple[int, ...]],
    settings: str,
    tell: Callable[[str], None],
    *,
    seconds_to_wait: float = SECONDS_TO_WAIT,
) -> None:
    """Wait until every rank of these teams is here; raises ConfigurationError where that fails.

    ``settings`` is what must be the same on all of them, in words. Without teams nobody is waited for.
    """
    distributed = sys.modules.get("torch.distributed")
    if not teams or distributed is None or distributed.get_backend() == "fake":  # in which one rank plays them all
        return
    store, rank = distributed.distributed_c10d._get_default_store(), distributed.get_rank()
    meetings = [_Meeting(store, ranks, rank, seconds_to_wait) for ranks in sorted(teams)]
    for meeting in meetings:
        meeting.arrive(settings)
    # All that this rank has to say comes before anything that it waits to hear: nobody can wait in a circle.
    for meeting in meetings:
        if meeting.leads:
            meeting.judge(settings, tell)
    for meeting in meetings:
        meeting.hear()


class _Meeting:
    """The ranks of one mesh, of which the first waits for the others and says how it went."""

    def __init__(self, store: Any, ranks: tuple[int, ...], rank: int, seconds_to_wait: float) -> None:
        self.leads = rank == ranks[0]
        self._store, self._ranks, self._rank = store, ranks, rank
        self._seconds = seconds_to_wait
        self._key = f"gradvitals/watch/{','.join(map(str, ranks))}/{next(_meetings[ranks])}"

    def arrive(self, settings: str) -> None:
        self._store.set(f"{self._key}/{self._rank}", settings)

    def judge(self, settings: str, tell: Callable[[str], None]) -> None:
        """Wait for all, and leave in the store whether they agree."""
        self._store.set(f"{self._key}/verdict", self._compare(settings, tell) or AGREED)

    def hear(self) -> None:
        """Raise what the first rank found wrong, or that it did not come."""
        came = self._await("verdict", self._seconds + 2 * SECONDS_TO_TELL)
        verdict = self._store.get(f"{self._key}/verdict").decode() if came else self._absent(self._ranks[0])
        if verdict != AGREED:
            raise ConfigurationError(verdict)

    def _compare(self, settings: str, tell: Callable[[str], None]) -> str | None:
        for rank in self._ranks[1:]:
            if not self._await(str(rank), min(SECONDS_TO_TELL, self._seconds)):
                tell(f"waiting for rank {rank} to call watch, which every rank must do that trains this model")
                if not self._await(str(rank), self._seconds):
                    return self._absent(rank)
            theirs = self._store.get(f"{self._key}/{rank}").decode()
            if theirs != settings:
                return (
                    "every rank must watch the model in the same way, "
                    f"but rank {self._rank} has {settings}, and rank {rank} has {theirs}"
                )
        return None

    def _await(self, key: str, seconds: float) -> bool:
        try:
            self._store.wait([f"{self._key}/{key}"], timedelta(seconds=seconds))
        except RuntimeError:  # torch's for a timeout; of a store that is gone we hear at the next call
            return False
        return True

    def _absent(self, rank: int) -> str:
        return (
            f"rank {rank} has not called watch within {self._seconds:g} s: the ranks measure and clip together, so "
            "each of them must call init and watch"
        )
