"""Tell what was noticed, and what would have been under other choices."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gradvitals_service.auth.scopes import require_read
from gradvitals_service.bodies import read_json
from gradvitals_service.database import SessionDep
from gradvitals_service.health import queries
from gradvitals_service.health.reading import evidence_as_json
from gradvitals_service.health.replaying import read_replay
from gradvitals_service.health.schemas import EventForPeople, EventList, EvidenceRead, ReplayRead
from gradvitals_service.projects.schemas import DetectionChoice
from gradvitals_service.runs.queries import get_run
from gradvitals_service.wirejson import WireJSONResponse

router = APIRouter(prefix="/api/v1", tags=["events"], dependencies=[Depends(require_read)])

Limit = Annotated[int, Query(ge=1, le=1000, description="at most this many events")]
Status = Annotated[Literal["open", "resolved"] | None, Query(description="only events of this status")]


@router.get("/runs/{run_id}/events", response_model=EventList)
def read_run_events(session: SessionDep, run_id: UUID, limit: Limit = 200, status: Status = None) -> Response:
    """The newest events of one run."""
    get_run(session, run_id)
    found = queries.newest_events(session, run_id, limit, status)
    return WireJSONResponse({"events": [EventForPeople.model_validate(event) for event in found]})


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
    return WireJSONResponse(await run_in_threadpool(read_replay, request.app.state, run_id, options))
