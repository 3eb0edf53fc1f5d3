"""Keep the frames around the opening of an event, so that it can be understood when all else is gone.

A copy of at most 250 frames: the 200 before the alarm, and that one with those after it, with the layers that matter.
It is written with the event, written again when the event resolves, and is complete once fifty frames have followed,
or none will: the stream has ended, or another attempt has taken its place. What is complete never changes. Retention
does not touch it; with the run it goes. The caller holds the run's lock.
"""

from dataclasses import replace
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from gradvitals_service.health import queries
from gradvitals_service.health.models import Event, EventEvidence
from gradvitals_service.health.onset import FRAMES_BEFORE
from gradvitals_service.health.surroundings import Surroundings, read_around
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.series.codec import ChunkColumns, encode_columns

FRAMES_AFTER = 49  # with the alarm's own fifty
MOST_LAYERS = 12


def due_at(start_frame: int) -> int:
    """How many frames a stream has when the evidence of an event that began there can be complete."""
    return start_frame + FRAMES_AFTER + 1


def read_for(session: Session, event: Event) -> Surroundings | None:
    """The frames around an event, as far as they are here; None where its own was lost or spoiled."""
    stream = StreamKey(event.run_id, event.attempt_id, event.monitor)
    return read_around(session, stream, event.start_frame, FRAMES_BEFORE, FRAMES_AFTER)


def keep(session: Session, event: Event, around: Surroundings | None, *, complete: bool) -> None:
    """Write the evidence of an event that has just opened."""
    if around is not None:
        row = EventEvidence(run_id=event.run_id, event_id=event.event_id, start_frame=event.start_frame)
        row.attempt_id, row.monitor = event.attempt_id, event.monitor
        _fill(row, event, around, complete=complete)
        session.add(row)
        session.flush()


def keep_again(session: Session, event: Event, *, complete: bool) -> None:
    """Write it again with the frames that have come, unless it is complete already or was never written."""
    row = session.get(EventEvidence, (event.run_id, event.event_id), populate_existing=True)
    if row is None or row.complete:
        return
    row.complete = complete
    around = read_for(session, event)
    if around is not None:
        _fill(row, event, around, complete=complete)
    session.flush()


def complete_due(session: Session, key: StreamKey, next_frame: int) -> int | None:
    """Complete what is due of a stream that has so many frames; when the next one will be, None where none is open."""
    coming = None
    for start_frame, event_id in queries.incomplete_evidence(session, key):
        if due_at(start_frame) <= next_frame:
            _complete(session, key.run_id, event_id)
        elif coming is None:
            coming = due_at(start_frame)
    return coming


def complete_stream(session: Session, key: StreamKey) -> None:
    """Complete what is open of a stream of which nothing more is expected."""
    for _, event_id in queries.incomplete_evidence(session, key):
        _complete(session, key.run_id, event_id)


def complete_attempt(session: Session, run_id: UUID, attempt_id: UUID) -> None:
    """The same for all streams of an attempt that has ended."""
    for monitor in queries.monitors_with_incomplete_evidence(session, run_id, attempt_id):
        complete_stream(session, StreamKey(run_id, attempt_id, monitor))


def _complete(session: Session, run_id: UUID, event_id: UUID) -> None:
    event = session.get(Event, (run_id, event_id), populate_existing=True)
    if event is not None:
        keep_again(session, event, complete=True)


def _fill(row: EventEvidence, event: Event, around: Surroundings, *, complete: bool) -> None:
    places = choose_layers(event.kind, around)
    row.complete, row.n = complete, len(around.frames)
    row.last_healthy_step, row.clean_checkpoint = event.last_healthy_step, event.resume_from
    row.layers = [around.groups.layer_names[place] for place in places]
    row.columns, row.layer_columns = encode_columns(_of_layers(around.frames, places))


def choose_layers(kind: str, around: Surroundings) -> list[int]:
    """The places of the layers to keep, the most telling first.

    Those that are not finite at the alarm come first, in backward order; then those that had the largest share of a
    squared norm in any frame. Of vanishing, every second one is a layer that gets the least at the alarm.
    """
    norms = around.frames.layer_norms.astype(np.float64)
    at_alarm = norms[around.start]
    bad = np.flatnonzero(~np.isfinite(at_alarm))[::-1].tolist()
    largest = np.argsort(-_largest_shares(norms), kind="stable").tolist()
    least = np.argsort(at_alarm, kind="stable").tolist() if kind == "vanishing" else largest
    in_turn = [place for pair in zip(largest, least, strict=True) for place in pair]
    return list(dict.fromkeys([*bad, *in_turn]))[:MOST_LAYERS]


def _largest_shares(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each layer, its largest share of a frame's squared norm, where that is a number."""
    squares = np.square(norms)
    totals = squares.sum(axis=1, keepdims=True)
    known = (totals > 0.0) & np.isfinite(totals)
    shares = np.divide(squares, totals, out=np.zeros_like(squares), where=known)
    largest: NDArray[np.float64] = shares.max(axis=0, initial=0.0)
    return largest


def _of_layers(frames: ChunkColumns, places: list[int]) -> ChunkColumns:
    """The frames with these layers alone; counts of what was not finite in each tensor are left out."""
    return replace(
        frames,
        layer_norms=frames.layer_norms[:, places],
        param_norms=frames.param_norms[:, places],
        details=[detail | {"non_finite": []} for detail in frames.details if detail["batch_id"] is not None],
    )
