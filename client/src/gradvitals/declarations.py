"""What a run says of itself to the service: its declaration, its attempt and the heartbeat, as JSON bodies.

The training thread writes the attempt's few changing fields, the sender's thread reads them; each is one assignment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradvitals.config import wire_number
from gradvitals.pending import Counts


@dataclass(slots=True)
class WatchedFacts:
    """What a heartbeat says of one monitor, beside its counts."""

    optimizer: str
    norm_type: float
    clip_value: float | None
    max_norm: float | None
    strategy: str | None = None  # another way to clip, by its name; told to the person only
    overhead: float = 0.0  # the share of the time between steps that clipping and measuring took


@dataclass(slots=True)
class Attempt:
    """One lifetime of this process in a run. The second half changes while it runs."""

    attempt_id: str
    rank: int
    world_size: int
    launch: str
    host: str
    pid: int
    started_at: float
    resumed_from_step: int | None
    interactive: bool
    live: bool = True  # False: told later by somebody else, and nobody is called for it
    state: str = "running"
    last_step: int | None = None
    exception: str | None = None
    monitors: dict[str, WatchedFacts] = field(default_factory=dict)

    @property
    def overhead(self) -> float:
        """The share of the time that all monitors took together, in [0, 1]; NaN where one of them says so."""
        return min(math.fsum(facts.overhead for facts in list(self.monitors.values())), 1.0)

    def body(self, counts: Mapping[str, Counts], events_seen: int) -> dict[str, Any]:
        """The body of the attempt's declaration, which is also the heartbeat's."""
        nothing = Counts(0, 0, 0)
        return {
            "rank": self.rank,
            "world_size": self.world_size,
            "launch": self.launch,
            "host": self.host,
            "pid": self.pid,
            "started_at": self.started_at,
            "resumed_from_step": self.resumed_from_step,
            "live": self.live,
            "state": self.state,
            "last_step": self.last_step,
            "overhead": wire_number(self.overhead),
            "exception": self.exception,
            "interactive": self.interactive,
            "events_seen": events_seen,
            "monitors": {
                name: {
                    "made": (count := counts.get(name, nothing)).made,
                    "spooled": count.waiting,
                    "lost": count.lost,
                    "optimizer": facts.optimizer,
                    "max_norm": None if facts.max_norm is None or math.isinf(facts.max_norm) else facts.max_norm,
                    "clip_value": facts.clip_value,
                    "norm_type": wire_number(facts.norm_type),
                }
                for name, facts in list(self.monitors.items())
            },
        }


@dataclass(frozen=True, slots=True)
class RunDeclaration:
    """What is said of a run once, and again when the service has forgotten it."""

    run_id: str
    project: str
    name: str
    owner: str | None
    group: str | None
    tags: tuple[str, ...]
    config: dict[str, Any]
    links: dict[str, str]
    versions: dict[str, str]

    def body(self) -> dict[str, Any]:
        """The body of the run's declaration."""
        return {
            "project": self.project,
            "name": self.name,
            "owner": self.owner,
            "group": self.group,
            "tags": list(self.tags),
            "config": self.config,
            "links": self.links,
            "versions": self.versions,
        }
