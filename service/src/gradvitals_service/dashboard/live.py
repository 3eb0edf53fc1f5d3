"""Tell an open page what happens, as server-sent events, from the moment it opens until either side ends it.

A page opens the stream and reads at once; ``since`` tells it what was committed while its readings were under way. An
event is told as it was committed; frames and summaries gather for a moment, so that a page is written to a few times a
second whatever there is to tell. A page that falls behind is told to read again (``resync``). A comment after 15 s of
silence keeps proxies from closing the line.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse

from gradvitals_service.dashboard.hub import Batch, Others, Subscription, Wanted
from gradvitals_service.dashboard.recent import Message
from gradvitals_service.dashboard.schemas import LiveRead
from gradvitals_service.errors import MalformedError
from gradvitals_service.series import flags
from gradvitals_service.wirejson import encode

router = APIRouter()

MOST_RUNS = 100
SECONDS_BETWEEN = 0.1
SECONDS_OF_SILENCE = 15.0
_PLAIN_COLUMNS = ("step", "time", "global_norm", "clip_coefficient", "max_norm", "lr")
_RESYNC = format_sse_event(event="resync", data_str="{}")


def what_to_tell(
    runs: Annotated[str, Query(max_length=4096, description="ids of runs whose frames to tell, comma-separated")] = "",
    others: Annotated[Others, Query(description="what to tell of all other runs")] = "figures",
) -> Wanted:
    """The runs asked for, as the hub spells them, and how much of the others."""
    try:
        asked = frozenset(str(UUID(word)) for word in runs.split(",") if word)
    except ValueError as error:
        raise MalformedError("query.runs: not a comma-separated list of run ids") from error
    if len(asked) > MOST_RUNS:
        raise MalformedError(f"query.runs: {len(asked)} runs, and at most {MOST_RUNS} can be followed at once")
    return Wanted(asked, others)


async def subscribe(
    request: Request,
    wanted: Annotated[Wanted, Depends(what_to_tell)],
    since: Annotated[float, Query(ge=0, le=3600, description="seconds before now to begin with")] = 0.0,
) -> AsyncIterator[Subscription]:
    """Listen from before the answer begins until it has ended."""
    with request.app.state.hub.subscribe(wanted, since) as subscription:
        yield subscription


class EventStream(StreamingResponse):
    """Server-sent events as text; FastAPI's own class takes them one by one, which costs several times as much."""

    media_type = "text/event-stream"


@router.get("/live", response_class=EventStream, responses={200: {"model": LiveRead}})
async def follow(subscription: Annotated[Subscription, Depends(subscribe)]) -> EventStream:
    """What happens: `run` (a summary), `event`, `frames` (of the runs asked for), `resync` (read again)."""
    return EventStream(write(subscription), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})


async def write(subscription: Subscription) -> AsyncIterator[bytes]:
    """One piece of text for all that has gathered."""
    yield format_sse_event(comment="listening")
    while not subscription.closed:
        text = _spell(await subscription.take(SECONDS_OF_SILENCE))
        if text or not subscription.closed:
            yield text or KEEPALIVE_COMMENT
        await subscription.rest(SECONDS_BETWEEN)


def _spell(batch: Batch) -> bytes:
    told = b"".join(map(tell, batch.messages))
    return _RESYNC + told if batch.resync else told


def tell(message: Message) -> bytes:
    """Write one message of the hub; encoded by the first page that is told, kept for the others."""
    if "text" not in message:
        kind = "run" if message["type"] == "summary" else message["type"]
        message["text"] = format_sse_event(event=kind, id=str(message["number"]), data_str=_as_json(message))
    text: bytes = message["text"]
    return text


def _as_json(message: Message) -> str:
    if message["type"] == "summary":
        return str(message["json"])
    return encode(message["event"] if message["type"] == "event" else frames_as_json(message)).decode()


def frames_as_json(message: Message) -> dict[str, Any]:
    """The newest frames as the page takes them; a loss that was not logged is None."""
    columns = message["columns"]
    logged = (np.asarray(columns["flags"]) & flags.LOSS) != 0
    loss = [value if there else None for value, there in zip(columns["loss"].tolist(), logged.tolist(), strict=True)]
    head = {name: message[name] for name in ("run_id", "monitor", "rank")}
    return head | {name: columns[name].tolist() for name in _PLAIN_COLUMNS} | {"loss": loss}
