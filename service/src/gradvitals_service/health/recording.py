"""Turn what the detectors say into rows of events, and say which of them somebody should hear of.

An event's id follows from its stream, kind and first frame, so that no event comes twice, whatever is repeated. Each
change of an event counts up its run's ``event_revision``. The caller holds the run's lock.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from gradvitals_service.health import evidence
from gradvitals_service.health.detectors import DETECTOR_VERSION, EventUpdate, Kind
from gradvitals_service.health.groups import Groups
from gradvitals_service.health.models import Event
from gradvitals_service.health.opening import describe_opening, say_cause
from gradvitals_service.health.origin import where_it_began
from gradvitals_service.health.ranks import guess_by_ranks, whose_fault
from gradvitals_service.ingest import queries
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.runs.models import Attempt, Run
from gradvitals_service.series.codec import ChunkColumns
from gradvitals_service.series.history import layer_norms_at

MOST_LAYERS_NAMED = 100
MOST_MESSAGE = 1024
TURNED_OFF = "; followed no further, since the project has turned this kind off"
FORGOTTEN = "; the detectors were upgraded since, and see nothing of it"

_NAMESPACE = UUID("6f6c4a1e-5b0e-4d7c-9a55-3f1c2d9e8b70")


class Change(NamedTuple):
    """An event that opened, changed or resolved; ``became_critical`` is true once in its life."""

    event: Event
    became_critical: bool


def event_id(key: StreamKey, kind: str, start_frame: int) -> UUID:
    """The same event has the same id, in every process and after every repeat."""
    return uuid5(_NAMESPACE, f"{key.run_id}/{key.attempt_id}/{key.monitor}/{kind}/{start_frame}")


def record(
    session: Session,
    run: Run,
    attempt: Attempt,
    key: StreamKey,
    updates: Sequence[EventUpdate],
    *,
    block: tuple[int, ChunkColumns],
    groups: Groups,
    now: datetime,
) -> list[Change]:
    """Write what changed, and give it. ``block`` is the frames just seen, with the first one's index."""
    changed = []
    for update in updates:
        event = _find(session, key, attempt.rank, update)
        opens = event is None
        if event is None:
            event = _open(key, attempt.rank, update, now)
        row = _first_row(session, key, event, block, groups)
        said = _what_is_said(update, groups.tensors_of(update.groups, row)[:MOST_LAYERS_NAMED])
        if update.kind == "non_finite":
            began = where_it_began(groups.layer_names, row) if update.status == "open" else ""
            fault = whose_fault(session, key, attempt, update.start_step)
            said["message"] = (said["message"] + began + fault)[:MOST_MESSAGE]
        if all(getattr(event, name) == value for name, value in said.items()):
            continue
        became_critical = event.severity != "critical" and update.severity == "critical"
        for name, value in said.items():
            setattr(event, name, value)
        run.event_revision += 1
        event.revision, event.updated_at = run.event_revision, now
        event.resolved_at = now if update.status == "resolved" else None
        session.add(event)
        session.flush()
        _keep_surroundings(session, event, key, attempt, opens=opens, next_frame=block[0] + len(block[1]))
        changed.append(Change(event, became_critical))
    return changed


def end_turned_off(
    session: Session, run: Run, rank: int, key: StreamKey, kinds: Collection[Kind], last_step: int | None, now: datetime
) -> list[Event]:
    """Resolve the events of kinds that the project has turned off, of which nobody will hear any more; gives those."""
    ended = queries.open_events(session, key.run_id, rank, key.monitor, kinds)
    return _end(session, run, ended, last_step, TURNED_OFF, now)


def resolve_forgotten(
    session: Session, run: Run, rank: int, monitor: str, going_on: Collection[Kind], last_step: int, now: datetime
) -> list[Event]:
    """Resolve what detectors of an earlier version left open and these see nothing of: nobody else ever would."""
    forgotten = [
        event
        for event in queries.find_older_events(session, run.run_id, rank, monitor, DETECTOR_VERSION)
        if event.kind in get_args(Kind) and event.kind not in going_on
    ]
    return _end(session, run, forgotten, last_step, FORGOTTEN, now)


def _end(
    session: Session, run: Run, events: Iterable[Event], last_step: int | None, why: str, now: datetime
) -> list[Event]:
    """Resolve events that no detector follows any more, and say why."""
    ended = list(events)
    for event in ended:
        run.event_revision += 1
        event.status, event.revision = "resolved", run.event_revision
        event.end_step = event.start_step if last_step is None else last_step
        event.resolved_at = event.updated_at = now
        event.message = event.message[: MOST_MESSAGE - len(why)] + why
    session.flush()
    return ended


def _keep_surroundings(
    session: Session, event: Event, key: StreamKey, attempt: Attempt, *, opens: bool, next_frame: int
) -> None:
    """Say what the frames around a new event tell, and keep them; again when it is over."""
    complete = evidence.due_at(event.start_frame) <= next_frame
    if opens:
        around = evidence.read_for(session, event)
        describe_opening(session, event, around)
        alone = guess_by_ranks(session, key, attempt, event.start_step) if event.kind == "non_finite" else None
        if alone is not None:
            say_cause(event, alone)
        evidence.keep(session, event, around, complete=complete)
    elif event.status == "resolved" and event.attempt_id == key.attempt_id:
        evidence.keep_again(session, event, complete=complete)
    session.flush()


def _find(session: Session, key: StreamKey, rank: int, update: EventUpdate) -> Event | None:
    """The event's row; one that began in an earlier attempt stands under that attempt. Of one that is open since
    before an upgrade, the newer detectors may think that it began elsewhere."""
    event = queries.find_event(session, key.run_id, event_id(key, update.kind, update.start_frame))
    start = (update.start_frame, update.start_step)
    event = event or queries.find_inherited_event(session, key.run_id, rank, key.monitor, update.kind, start)
    if event is not None:
        return event
    older = queries.find_older_events(session, key.run_id, rank, key.monitor, DETECTOR_VERSION)
    return next((event for event in older if event.kind == update.kind), None)


def _open(key: StreamKey, rank: int, update: EventUpdate, now: datetime) -> Event:
    return Event(
        **key.columns(),
        event_id=event_id(key, update.kind, update.start_frame),
        rank=rank,
        kind=update.kind,
        start_frame=update.start_frame,
        start_step=update.start_step,
        opened_at=now,
        detector_version=DETECTOR_VERSION,
    )


def _what_is_said(update: EventUpdate, layers: list[str]) -> dict[str, Any]:
    shares = update.shares[:MOST_LAYERS_NAMED]
    return {
        "severity": update.severity,
        "status": update.status,
        "end_step": update.end_step,
        "peak": update.peak,
        "times_usual": update.times_usual,
        "usual": update.usual,
        "layers": layers,
        "message": update.message[:MOST_MESSAGE],
        "peak_step": update.peak_step,
        "shares": list(shares) if shares and len(shares) == len(layers) else None,
        "weights_finite": update.weights_finite,
    }


def _first_row(
    session: Session, key: StreamKey, event: Event, block: tuple[int, ChunkColumns], groups: Groups
) -> NDArray[np.float32] | None:
    """The norms [L] of the frame that an event began at, without those that the project ignores: the layers named do
    not depend on how frames were split."""
    first, frames = block
    if event.attempt_id == key.attempt_id and first <= event.start_frame < first + len(frames):
        return groups.heeded(frames.layer_norms[event.start_frame - first])
    stream = StreamKey(key.run_id, event.attempt_id, key.monitor)
    row = layer_norms_at(session, stream, event.start_frame, len(groups.layer_names))
    return None if row is None else groups.heeded(row)
