"""Judge which checkpoints are clean: a resume from one begins before whatever broke. Pure.

A checkpoint holds the effect of every step below its number: of its own attempt, and of the attempts that this one was
resumed from, up to where it was. What happened in a stretch that a resume has left behind does not count.

*Non-finite.* A NaN that reached the weights never leaves them, also if later gradients look finite again: whatever was
saved after it is spoiled. Of its own steps the client knows best which were skipped, so there its word holds. Without
one, and for earlier attempts, a critical event counts from its first step on, which may be too strict.

*Explosion.* A critical one hit the weights. The alarm may come up to ``WATCH_FRAMES`` steps after the step that did the
harm, so those are suspect too. While it is open, everything after its beginning is. Once it is resolved, what was saved
after its end counts as clean: the weights are finite and the norm is what it was, or has stayed at its new level for
long. Whether the loss lost something for good is for a person to see. A slow rise that became an alarm late began
before it by more than is allowed for here.

Vanishing gradients spoil nothing, and what clipping or a skipped step kept away is no harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from uuid import UUID

from gradvitals_service.checkpoints.models import Checkpoint
from gradvitals_service.health.detectors.explosion import WATCH_FRAMES


@dataclass(frozen=True, slots=True)
class Launch:
    """Attempts that were started together, and their first step."""

    launch: UUID
    first_step: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A critical event that reached the weights; ``end_step`` is None while it goes on."""

    launch: UUID
    attempt_id: UUID
    monitor: str
    kind: str
    start_step: int
    end_step: int | None

    @property
    def began(self) -> int:
        """The first step whose effect is suspect."""
        return suspect_from(self.kind, self.start_step)


@dataclass(frozen=True, slots=True)
class Standing:
    """A checkpoint as it is judged now."""

    checkpoint: Checkpoint
    clean: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """Where to go on: the newest clean checkpoint, and how many newer ones are not clean."""

    newest_clean: Checkpoint | None
    not_clean: int


def suspect_from(kind: str, start_step: int) -> int:
    """The first step whose effect is suspect where an event of this kind was noticed at ``start_step``."""
    return start_step - WATCH_FRAMES if kind == "explosion" else start_step


def judge(
    checkpoints: Sequence[tuple[Checkpoint, UUID]], launches: Sequence[Launch], damages: Sequence[Damage]
) -> list[Standing]:
    """Every checkpoint, given with its launch, the newest first; ``launches`` are given oldest first.

    A later launch's checkpoints are newer whatever their steps: it is the one that people went on with.
    """
    place = {launch.launch: number for number, launch in enumerate(launches)}
    ordered = sorted(checkpoints, key=lambda row: (place[row[1]], row[0].step, row[0].saved_at), reverse=True)
    return [Standing(row, _is_clean(row, _lineage(place[launch], launches), damages)) for row, launch in ordered]


def choose(standings: Sequence[Standing]) -> Resume | None:
    """What to resume from; None where no checkpoint is known."""
    if not standings:
        return None
    not_clean = sum(1 for _ in takewhile(lambda standing: not standing.clean, standings))
    newest = standings[not_clean].checkpoint if not_clean < len(standings) else None
    return Resume(newest, not_clean)


def _lineage(own: int, launches: Sequence[Launch]) -> dict[UUID, float]:
    """The launches that led to this one and itself, each with the step that ended its part of the history."""
    end = inf
    ends = {}
    for launch in reversed(launches[: own + 1]):
        ends[launch.launch] = end
        end = min(end, launch.first_step)
    return ends


def _is_clean(checkpoint: Checkpoint, lineage: dict[UUID, float], damages: Sequence[Damage]) -> bool:
    if checkpoint.reported_clean is False:
        return False
    return not any(
        damage.began < lineage.get(damage.launch, -inf) and _contains(checkpoint, damage) for damage in damages
    )


def _contains(checkpoint: Checkpoint, damage: Damage) -> bool:
    steps = checkpoint.steps.get(damage.monitor, checkpoint.step)
    if damage.kind == "explosion":
        return damage.began < steps and (damage.end_step is None or steps <= damage.end_step + 1)
    if checkpoint.reported_clean and checkpoint.attempt_id == damage.attempt_id:
        return False
    return damage.began < steps
