"""Take frames over HTTP: the binary chunks of the client, and JSON from everywhere else.

Writing happens on the writer's thread, while the event loop waits. What is large is decoded and compressed in a worker
thread; for what is small the way there and back would cost more than the work.
"""

import asyncio
import time
from functools import partial
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gradvitals_service.auth.scopes import require_ingest
from gradvitals_service.bodies import read_json, require_content_type
from gradvitals_service.direct import DirectRoute
from gradvitals_service.ingest.intake import EncodedChunk, take_chunk, take_json_frames
from gradvitals_service.ingest.json_frames import to_chunk
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.ingest.schemas import FramesIn, FramesTaken
from gradvitals_service.ingest.wire import CONTENT_TYPE, WIRE_VERSIONS, Chunk, decode_chunk
from gradvitals_service.ingest.writer import Item
from gradvitals_service.projects.queries import project_for
from gradvitals_service.series.codec import encode_columns
from gradvitals_service.wirejson import WireJSONResponse

router = APIRouter(
    prefix="/api/v1/runs/{run_id}", tags=["ingest"], dependencies=[Depends(require_ingest)], route_class=DirectRoute
)

# About 1 ms of work, as much as 256 frames of 200 layers are.
MOST_BYTES_AT_ONCE = 256 * 1024


@router.post("/chunks", response_model=FramesTaken)
async def receive_chunk(run_id: UUID, request: Request) -> Response:
    """Take one chunk of docs/wire.md; the answer means that it is on disk."""
    require_content_type(request, CONTENT_TYPE, wire_versions=WIRE_VERSIONS)
    body = await request.body()
    if len(body) > MOST_BYTES_AT_ONCE:
        chunk, encoded = await run_in_threadpool(_decode_and_encode, body)
    else:
        chunk, encoded = _decode_and_encode(body)
    work = partial(take_chunk, run_id=run_id, chunk=chunk, encoded=encoded)
    stream = StreamKey(run_id, chunk.attempt_id, chunk.monitor), chunk.layout_id
    return await _write(request, Item(run_id, work, len(body), plain=True, stream=stream))


@router.post("/frames", response_model=FramesTaken)
async def receive_frames(run_id: UUID, request: Request) -> Response:
    """Take frames as JSON; run, attempt and layout are made when they do not exist."""
    frames_in = await read_json(request, FramesIn)
    chunk, layers = await run_in_threadpool(to_chunk, run_id, frames_in, time.time())
    project_id = await run_in_threadpool(project_for, request.app.state.session_factory, frames_in.project)
    work = partial(
        take_json_frames, run_id=run_id, project_id=project_id, frames_in=frames_in, chunk=chunk, layers=layers
    )
    return await _write(request, Item(run_id, work, len(await request.body())))


def _decode_and_encode(body: bytes) -> tuple[Chunk, EncodedChunk | None]:
    """What needs no database, off the writer's thread."""
    chunk = decode_chunk(body)
    return chunk, encode_columns(chunk.frames) if len(chunk.frames) else None


async def _write(request: Request, item: Item) -> Response:
    return WireJSONResponse(await asyncio.wrap_future(request.app.state.writer.submit(item)))
