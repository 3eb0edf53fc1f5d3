"""Tell what was noticed, and what would have been under other choices."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gradvitals_service.auth.scopes import require_read
from gradvitals_service.bodies import read_json
from gradvitals_service.database import SessionDep
from gradvitals_service.errors import ConflictError, OverloadedError
from gradvitals_service.health import queries
from gradvitals_service.health.detectors import Options
from gradvitals_service.health.reading import evidence_as_json
from gradvitals_service.health.schemas import EventList, EventRead, EvidenceRead, ReplayRead, ToldEventRead
from gradvitals_service.health.what_if import Told, WhatIf, extent, what_if
from gradvitals_service.projects.schemas import DetectionChoice
from gradvitals_service.runs.queries import get_run
from gradvitals_service.wirejson import WireJSONResponse

router = APIRouter(prefix="/api/v1", tags=["events"], dependencies=[Depends(require_read)])

MOST_VALUES = 50_000_000  # norms of layers that are judged for one request: some ten seconds of work
MOST_EVENTS = 1000
LONGEST_REST_SECONDS = 0.05

Limit = Annotated[int, Query(ge=1, le=1000, description="at most this many events")]
Status = Annotated[Literal["open", "resolved"] | None, Query(description="only events of this status")]


@router.get("/events", response_model=EventList)
def read_events(session: SessionDep, limit: Limit = 50, status: Status = None) -> Response:
    """The newest events of all runs."""
    found = queries.newest_events(session, limit, status=status)
    return WireJSONResponse({"events": [EventRead.model_validate(event) for event in found]})


@router.get("/runs/{run_id}/events", response_model=EventList)
def read_run_events(session: SessionDep, run_id: UUID, limit: Limit = 200, status: Status = None) -> Response:
    """The newest events of one run."""
    get_run(session, run_id)
    found = queries.newest_events(session, limit, run_id=run_id, status=status)
    return WireJSONResponse({"events": [EventRead.model_validate(event) for event in found]})


@router.get("/runs/{run_id}/events/{event_id}/evidence", response_model=EvidenceRead)
def read_evidence(session: SessionDep, run_id: UUID, event_id: UUID) -> Response:
    """The frames around the opening of an event, which are kept for as long as the run is."""
    get_run(session, run_id)
    return WireJSONResponse(evidence_as_json(*queries.get_evidence(session, run_id, event_id)))


@router.post("/runs/{run_id}/replay", response_model=ReplayRead)
async def replay_run(run_id: UUID, request: Request) -> Response:
    """Judge a run's stored frames again as the body says, which is that of a project's `detection`: what would have
    paged?

    Nothing is stored. One at a time, and not at the cost of those who send; a long run is refused, and has a command.
    """
    options = (await read_json(request, DetectionChoice)).options()
    return WireJSONResponse(await run_in_threadpool(_replay, request, run_id, options))


def _replay(request: Request, run_id: UUID, options: Options) -> dict[str, Any]:
    if not request.app.state.replaying.acquire(blocking=False):
        raise OverloadedError("another run is being replayed; try again when that is done")
    try:
        with request.app.state.session_factory.begin() as session:
            asked = extent(session, run_id)
        if asked.values > MOST_VALUES:
            raise ConflictError(
                f"run {run_id} has {asked.frames:,} frames, {asked.values:,} norms of layers in all, and at most"
                f" {MOST_VALUES:,} are replayed here; `gradvitals-service what-if {run_id}` replays it all"
            )
        return _as_read(run_id, options, what_if(request.app.state.session_factory, run_id, options, _rest()))
    finally:
        request.app.state.replaying.release()


def _rest() -> Callable[[int], None]:
    """Rest for as long as was worked: those who send need the processor, and the interpreter, more."""
    began = time.monotonic()

    def rest(frames: int) -> None:
        nonlocal began
        time.sleep(min(time.monotonic() - began, LONGEST_REST_SECONDS))
        began = time.monotonic()

    return rest


def _as_read(run_id: UUID, options: Options, found: WhatIf) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "sensitivity": options.sensitivity,
        "off": sorted(options.off),
        "ignore": options.ignore,
        "frames": found.frames,
        "left_out": found.left_out,
        "told_then": len(found.on_record),
        "paged_then": found.paged,
        "would_tell_now": len(found.told),
        "would_page_now": found.would_page,
        "events": [_told(told) for told in found.told[:MOST_EVENTS]],
        "on_record": [
            EventRead.model_validate(event).model_dump() | {"paged": paged}
            for event, paged in found.on_record[:MOST_EVENTS]
        ],
    }


def _told(told: Told) -> ToldEventRead:
    said = {name: getattr(told.update, name) for name in ToldEventRead.model_fields if hasattr(told.update, name)}
    own = {name: getattr(told, name) for name in ("event_id", "attempt_id", "monitor", "layers", "pages")}
    return ToldEventRead.model_validate(said | own)
