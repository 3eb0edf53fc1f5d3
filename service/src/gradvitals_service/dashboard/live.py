"""Tell an open page what happens, as server-sent events, from the moment it opens until either side ends it.

A page first opens the stream and then reads, so the subscription exists before the answer's first byte. Events and
frames are told as they were committed; a run's summary at most twice a second. A page that falls behind is told to read
again (``resync``). FastAPI writes a comment after 15 s of silence, which keeps proxies from closing the line.
"""

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import numpy as np
import structlog
from fastapi import APIRouter, Depends, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.exc import SQLAlchemyError

from gradvitals_service.dashboard.hub import Message, Subscription
from gradvitals_service.dashboard.pacing import Pacer
from gradvitals_service.dashboard.schemas import LiveRead
from gradvitals_service.dashboard.summaries import Summaries
from gradvitals_service.errors import MalformedError
from gradvitals_service.series import flags
from gradvitals_service.wirejson import encode

router = APIRouter()
log = structlog.get_logger()

MOST_RUNS = 50
_PLAIN_COLUMNS = ("step", "time", "global_norm", "clip_coefficient", "max_norm", "lr")


def followed_runs(
    runs: Annotated[str, Query(max_length=4096, description="ids of runs whose frames to tell, comma-separated")] = "",
) -> frozenset[str]:
    """The runs asked for, as the hub spells them."""
    try:
        asked = frozenset(str(UUID(word)) for word in runs.split(",") if word)
    except ValueError as error:
        raise MalformedError("query.runs: not a comma-separated list of run ids") from error
    if len(asked) > MOST_RUNS:
        raise MalformedError(f"query.runs: {len(asked)} runs, and at most {MOST_RUNS} can be followed at once")
    return asked


async def subscribe(
    request: Request, asked: Annotated[frozenset[str], Depends(followed_runs)]
) -> AsyncIterator[Subscription]:
    """Listen from before the answer begins until it has ended."""
    with request.app.state.hub.subscribe(frames_of=asked) as subscription:
        yield subscription


@router.get("/live", response_class=EventSourceResponse, responses={200: {"model": LiveRead}})
async def follow(
    request: Request, subscription: Annotated[Subscription, Depends(subscribe)]
) -> AsyncIterator[ServerSentEvent]:
    """What happens from now on: `run` (a summary), `event`, `frames` (of the runs asked for), `resync` (read again)."""
    summaries: Summaries = request.app.state.summaries
    pacer = Pacer()
    yield ServerSentEvent(comment="listening")
    while not subscription.closed:
        batch = await subscription.take(pacer.seconds_to_next(time.monotonic()))
        now = time.monotonic()
        pacer.note(batch.changed_runs, now)
        if batch.resync:
            yield ServerSentEvent(event="resync", raw_data="{}")
        for message in batch.messages:
            yield tell(message)
        for summary in await _read_due(summaries, pacer, now):
            yield ServerSentEvent(event="run", raw_data=summary)


async def _read_due(summaries: Summaries, pacer: Pacer, now: float) -> list[str]:
    """The summaries to send now; those that the database cannot give are asked for again."""
    due = pacer.take_due(now)
    if not due:
        return []
    try:
        return await summaries.read(due)
    except SQLAlchemyError as error:
        log.warning("live_waits_for_database", error=type(error).__name__)
        pacer.note(due, now)
        return []


def tell(message: Message) -> ServerSentEvent:
    """Write one message of the hub, an event or frames; encoded by the first page that is told, kept for the others."""
    kind = message["type"]
    if "json" not in message:
        message["json"] = encode(message["event"] if kind == "event" else frames_as_json(message)).decode()
    return ServerSentEvent(event=kind, raw_data=message["json"])


def frames_as_json(message: Message) -> dict[str, Any]:
    """The newest frames as the page takes them; a loss that was not logged is None."""
    columns = message["columns"]
    logged = (np.asarray(columns["flags"]) & flags.LOSS) != 0
    loss = [value if there else None for value, there in zip(columns["loss"].tolist(), logged.tolist(), strict=True)]
    head = {name: message[name] for name in ("run_id", "monitor", "rank")}
    return head | {name: columns[name].tolist() for name in _PLAIN_COLUMNS} | {"loss": loss}
