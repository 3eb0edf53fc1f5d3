"""Keep what a person says to an event: that they took note of it, and what they wrote.

Each change counts up the run's ``event_revision``, as any other change of an event does, so that no page shows an older
state over a newer one. Detectors never write these columns. The caller is the writer; the run's lock is taken here.
"""

from uuid import UUID

from gradvitals_service.errors import NotFoundError
from gradvitals_service.health.models import Acknowledgement
from gradvitals_service.health.schemas import EventForPeople
from gradvitals_service.ingest.queries import find_event
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.runs.queries import lock_run


def acknowledge(transaction: Transaction, run_id: UUID, event_id: UUID, by: str, note: str) -> EventForPeople:
    """Say that somebody has taken note of an event, in place of what was said before; 404 where there is none."""
    return _say(transaction, run_id, event_id, {"at": transaction.now, "by": by, "note": note})


def take_back(transaction: Transaction, run_id: UUID, event_id: UUID) -> EventForPeople:
    """Let an event be as if nobody had taken note of it; 404 where there is none."""
    return _say(transaction, run_id, event_id, None)


def _say(transaction: Transaction, run_id: UUID, event_id: UUID, said: Acknowledgement | None) -> EventForPeople:
    run = lock_run(transaction.session, run_id)
    event = find_event(transaction.session, run_id, event_id)
    if event is None:
        raise NotFoundError(f"run {run_id} has no event {event_id}")
    if said != event.acknowledgement:
        event.acknowledged_at = said["at"] if said else None
        event.acknowledged_by = said["by"] if said else None
        event.note = said["note"] if said else None
        run.event_revision += 1
        event.revision = run.event_revision
        transaction.session.flush()
        transaction.publish_event(event)
    return EventForPeople.model_validate(event)
