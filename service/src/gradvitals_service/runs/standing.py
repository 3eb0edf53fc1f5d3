"""Judge how a run stands: its state and its health, in the words that people see.

Pure. ``Run.state`` is what the clients declared. A run that should be alive and has been silent for 30 s is
"unreachable". One whose heartbeat comes and whose steps do not is "hung", once it has been waited for longer than it
ever made anybody wait. All by the service's clock; and one that has just started accuses nobody: it was itself away,
and waits as long first.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

State = Literal["running", "paused", "finished", "failed", "unreachable", "hung"]
DeclaredState = Literal["running", "paused", "finished", "failed"]
Health = Literal["healthy", "warning", "critical", "not_measurable", "unknown"]

STATES: tuple[State, ...] = get_args(State)
DECLARED_STATES: tuple[DeclaredState, ...] = get_args(DeclaredState)
HEALTHS: tuple[Health, ...] = get_args(Health)
CRITICAL, WARNING, CALM = 2, 1, 0  # how urgent a run's worst open event is
URGENCIES = {"critical": CRITICAL, "warning": WARNING, "info": CALM}
UNREACHABLE_AFTER = timedelta(seconds=30)
PATIENCE = timedelta(minutes=15)
PATIENCE_BEFORE_FIRST_STEP = timedelta(minutes=60)
LONGEST_GAPS = 3  # a run that was once waited for so long is given three times as much

_NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """When it is judged: a run last seen before ``silent_before`` counts as silent, and one whose next step was due
    before ``due_before`` as overdue."""

    now: datetime
    silent_before: datetime
    due_before: datetime


def moment(now: datetime, started_at: datetime) -> Moment:
    """The moment ``now`` of a service that has been running since ``started_at``."""
    silent_before = now - UNREACHABLE_AFTER
    knows_silence, knows_delay = started_at <= silent_before, started_at <= now - PATIENCE
    return Moment(now, silent_before if knows_silence else _NEVER, now if knows_delay else _NEVER)


def patience(longest_gap_seconds: float) -> timedelta:
    """How long to wait for the next step of a run that was waited for so long before, and went on."""
    return max(PATIENCE, LONGEST_GAPS * timedelta(seconds=longest_gap_seconds))


def state_of(declared: str, silent: bool, overdue: bool) -> str:
    """What people see of a declared state."""
    if silent and declared in ("running", "paused"):
        return "unreachable"
    return "hung" if overdue and declared == "running" else declared


def health_of(urgency: int, has_frames: bool, already_clipped: bool) -> Health:
    """The worst open event decides, also of a run that has ended; gradients clipped before us tell nothing."""
    if urgency >= CRITICAL:
        return "critical"
    if urgency == WARNING:
        return "warning"
    if not has_frames:
        return "unknown"
    return "not_measurable" if already_clipped else "healthy"
