"""Keep the events of two processes that train one run as the same rank: opened once for a pair, over when one ends.

Nobody is paged: each is an attempt of its own, and nothing is mixed. Both jobs' logs have the line, and the page has
it. The caller holds the run's lock.
"""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID, uuid5

from sqlalchemy.orm import Session

from gradvitals_service.health.detectors import DETECTOR_VERSION
from gradvitals_service.health.holders import Heard, Pair
from gradvitals_service.health.models import Event
from gradvitals_service.health.queries import open_events_of_rank
from gradvitals_service.runs.models import Attempt, Run

KIND = "two_processes"
MOST_HOST = 200
MOST_PAIRS = 8  # told at once; where a hundred processes share a rank, nobody reads more

_NAMESPACE = UUID("d8f0a7a2-52c1-4b7e-8a64-0f6f3c2b9d11")


def record_two_processes(session: Session, run: Run, attempt: Attempt, heard: Heard, now: datetime) -> list[Event]:
    """Write what follows from a heartbeat of ``attempt``, and give the events that changed."""
    changed = [*_open(session, attempt, heard, now)]
    if heard.may_be_over:
        changed += _resolve(session, attempt, heard, now)
    for event in changed:
        run.event_revision += 1
        event.revision, event.updated_at = run.event_revision, now
        session.add(event)
    session.flush()
    return changed


def _open(session: Session, attempt: Attempt, heard: Heard, now: datetime) -> Iterator[Event]:
    for pair in sorted(heard.pairs)[:MOST_PAIRS]:
        event = session.get(Event, (attempt.run_id, _event_id(attempt.run_id, pair)))
        if event is None:
            yield _new_event(session, attempt, pair, now)
        elif event.status != "open":
            event.status, event.end_step, event.resolved_at = "open", None, None
            yield event


def _resolve(session: Session, attempt: Attempt, heard: Heard, now: datetime) -> Iterator[Event]:
    go_on = {_event_id(attempt.run_id, pair) for pair in heard.pairs}
    for event in open_events_of_rank(session, attempt.run_id, attempt.rank, KIND):
        if event.event_id not in go_on:
            event.status, event.end_step, event.resolved_at = "resolved", attempt.last_step, now
            yield event


def _event_id(run_id: UUID, pair: Pair) -> UUID:
    return uuid5(_NAMESPACE, f"{run_id}/{pair[0]}/{pair[1]}")


def _new_event(session: Session, attempt: Attempt, pair: Pair, now: datetime) -> Event:
    both = [found for key in pair if (found := session.get(Attempt, (attempt.run_id, key))) is not None]
    named = " and ".join(f"{holder.pid} on {holder.host[:MOST_HOST]}" for holder in both)
    return Event(
        run_id=attempt.run_id,
        event_id=_event_id(attempt.run_id, pair),
        attempt_id=attempt.attempt_id,
        monitor=min(attempt.monitors, default="main"),
        rank=attempt.rank,
        kind=KIND,
        severity="warning",
        status="open",
        start_frame=0,
        start_step=attempt.last_step or 0,
        end_step=None,
        opened_at=now,
        resolved_at=None,
        peak=None,
        times_usual=None,
        usual=None,
        layers=[],
        message=f"two processes train this run as rank {attempt.rank} at once: {named}. Each is kept as an attempt of "
        "its own, but they may overwrite each other's checkpoints; if that is not meant, give one another run_id",
        detector_version=DETECTOR_VERSION,
    )
