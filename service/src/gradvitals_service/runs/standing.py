"""Judge how a run stands: its state and its health, in the words that people see.

Pure. ``Run.state`` is what the clients declared; a run that should be alive and has been silent for 30 s is
"unreachable". A service that has just started accuses nobody: it was itself away, and waits those 30 s first.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

State = Literal["running", "paused", "finished", "failed", "unreachable"]
DeclaredState = Literal["running", "paused", "finished", "failed"]
Health = Literal["healthy", "warning", "critical", "not_measurable", "unknown"]

DECLARED_STATES: tuple[DeclaredState, ...] = get_args(DeclaredState)
HEALTHS: tuple[Health, ...] = get_args(Health)
CRITICAL, WARNING, CALM = 2, 1, 0  # how urgent a run's worst open event is
URGENCIES = {"critical": CRITICAL, "warning": WARNING, "info": CALM}
UNREACHABLE_AFTER = timedelta(seconds=30)

_NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """When it is judged: a run last seen before ``silent_before`` counts as silent."""

    now: datetime
    silent_before: datetime


def moment(now: datetime, started_at: datetime) -> Moment:
    """The moment ``now`` of a service that has been running since ``started_at``."""
    silent_before = now - UNREACHABLE_AFTER
    return Moment(now, silent_before if started_at <= silent_before else _NEVER)


def state_of(declared: str, silent: bool) -> str:
    """What people see of a declared state."""
    return "unreachable" if silent and declared in ("running", "paused") else declared


def health_of(urgency: int, has_frames: bool, already_clipped: bool) -> Health:
    """The worst open event decides, also of a run that has ended; gradients clipped before us tell nothing."""
    if urgency >= CRITICAL:
        return "critical"
    if urgency == WARNING:
        return "warning"
    if not has_frames:
        return "unknown"
    return "not_measurable" if already_clipped else "healthy"
