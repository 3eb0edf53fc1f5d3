"""Say of an event that has just opened what the frames up to the alarm tell of it: since when, where, and perhaps why.

This is said once, from what came before the alarm, so it does not depend on how frames were split or on what follows.
Two things of others are taken as they are at that moment: which checkpoint is clean, and what other ranks have said.
"""

import re
from collections.abc import Sequence

from sqlalchemy.orm import Session

from gradvitals_service.checkpoints.judgement import suspect_from
from gradvitals_service.checkpoints.queries import newest_clean_before
from gradvitals_service.health.causes import Guess, guess
from gradvitals_service.health.models import Event, Place
from gradvitals_service.health.onset import find_onset
from gradvitals_service.health.surroundings import Surroundings

MOST_WORDS = 1024
MOST_NAME = 200


def describe_opening(session: Session, event: Event, around: Surroundings | None) -> None:
    """Fill in what the frames around its opening say; nothing where they cannot be read."""
    limit = suspect_from(event.kind, event.start_step)
    checkpoint = newest_clean_before(session, event.run_id, event.monitor, limit)
    event.resume_from = None if checkpoint is None else Place(path=checkpoint.path, step=checkpoint.step)
    if around is None:
        return
    onset = find_onset(event.kind, around)
    event.last_healthy_step, event.first_layer = onset.last_healthy_step, onset.first_layer
    event.batch_id = onset.batch_id
    say_cause(event, guess(onset))


def say_cause(event: Event, found: Guess | None) -> None:
    """Put a guess into the event's words; without one there are none."""
    event.cause = None if found is None else found.cause[:MOST_WORDS]
    event.action = None if found is None else f"{found.advice}{_resume(event, found)}"[:MOST_WORDS]


def _resume(event: Event, found: Guess) -> str:
    if not found.resume or event.start_step == 0:
        return ""
    if event.resume_from is None:
        return f", and resume from a checkpoint from before step {suspect_from(event.kind, event.start_step)}"
    return f", and resume from {_last_part(event.resume_from['path'])}"


def _last_part(path: str) -> str:
    """The file's name, or that of its folder where checkpoints are folders."""
    parts: Sequence[str] = [part for part in re.split(r"[/\\]", path) if part]
    return (parts[-1] if parts else path)[:MOST_NAME]
