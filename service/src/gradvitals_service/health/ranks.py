"""Say on which rank a gradient ceased to be finite, as far as the ranks' own frames tell.

The gradients that rank 0 reports are those that all ranks share: where they went bad is known to the rank alone whose
loss was not finite, or which held a part that was not. Such a rank sends its frames around that step, sooner or later
than rank 0 does; so an event's message is completed whenever one of the two arrives.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from gradvitals_service.health.causes import Guess, guess_of_ranks
from gradvitals_service.health.models import Event
from gradvitals_service.health.opening import say_cause
from gradvitals_service.ingest import queries
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.runs.models import Attempt, Run
from gradvitals_service.series import flags
from gradvitals_service.series.codec import ChunkColumns, Columns, CorruptChunkError, decode_columns
from gradvitals_service.series.history import columns_in_segment

MOST_RANKS_ASKED = 16
MARK = "; rank"


def whose_fault(session: Session, key: StreamKey, attempt: Attempt, step: int) -> str:
    """What an event's message is to end in: nothing where there is only one rank."""
    if attempt.world_size < 2:
        return ""
    loss, part = _bad_ranks(session, key, attempt, step)
    if loss:
        return f"{_named([*loss])} had a loss that was not finite"
    return f"{_named([*part])} held a part that was not finite" if part else f"{MARK} unknown"


def guess_by_ranks(session: Session, key: StreamKey, attempt: Attempt, step: int) -> Guess | None:
    """What it says of the cause that some ranks alone were not finite; None where that is not known."""
    if attempt.world_size < 2:
        return None
    loss, part = _bad_ranks(session, key, attempt, step)
    bad = loss or part
    return guess_of_ranks([*bad], attempt.world_size, [batch_id for batch_id in bad.values() if batch_id])


def _bad_ranks(
    session: Session, key: StreamKey, attempt: Attempt, step: int
) -> tuple[dict[int, str | None], dict[int, str | None]]:
    """The ranks whose loss was not finite at a step, and those that held a part that was not, each with its batch."""
    loss, part = {}, {}
    for rank, columns in _columns_of_ranks(session, attempt, key.monitor, step):
        row = int(np.searchsorted(columns["step"], step))
        if row < len(columns["step"]) and columns["step"][row] == step:
            batch_id = next((detail["batch_id"] for detail in columns.details if detail["row"] == row), None)
            if _loss_is_bad(columns)[row]:
                loss[rank] = batch_id
            elif rank != 0 and row in _bad_parts(columns.details):
                part[rank] = batch_id
    return loss, part


def _columns_of_ranks(session: Session, attempt: Attempt, monitor: str, step: int) -> list[tuple[int, Columns]]:
    """What the ranks of one launch hold around a step, the lowest ranks first; what a disk has spoiled is left out."""
    found = []
    for rank, blob in queries.columns_of_ranks(session, attempt, monitor, step, MOST_RANKS_ASKED):
        with suppress(CorruptChunkError):
            found.append((rank, decode_columns(blob)))
    for rank, stream, first in queries.segments_of_ranks(session, attempt, monitor, step, MOST_RANKS_ASKED):
        with suppress(CorruptChunkError):
            found.append((rank, columns_in_segment(session, stream, first)))
    return sorted(found, key=lambda pair: pair[0])[:MOST_RANKS_ASKED]


def hear_of_rank(
    session: Session, run: Run, attempt: Attempt, key: StreamKey, frames: ChunkColumns, now: datetime
) -> list[Event]:
    """Complete the events of rank 0 that began at a step at which this other rank's own were bad; gives those."""
    bad = _loss_is_bad(frames.columns)
    bad[list(_bad_parts(frames.details))] = True
    changed = []
    for event in queries.non_finite_events(session, attempt, key.monitor, frames.columns["step"][bad].tolist()):
        message = event.message.partition(MARK)[0] + whose_fault(session, key, attempt, event.start_step)
        if message != event.message:
            run.event_revision += 1
            event.message, event.revision, event.updated_at = message, run.event_revision, now
            found = guess_by_ranks(session, key, attempt, event.start_step)
            if found is not None:
                say_cause(event, found)
            changed.append(event)
    session.flush()
    return changed


def _loss_is_bad(columns: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    logged = (columns["flags"] & flags.LOSS) != 0
    return np.asarray(logged & ~np.isfinite(columns["loss"]), np.bool_)


def _bad_parts(details: Sequence[dict[str, Any]]) -> set[int]:
    """The rows at which a part of a gradient was not finite."""
    return {detail["row"] for detail in details if detail["non_finite"]}


def _named(ranks: list[int]) -> str:
    """``; rank 3`` or ``; ranks 2, 3``."""
    return f"{MARK}{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
