"""Tell people of the events of all runs, and take what they say to one."""

import asyncio
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from gradvitals_service.auth.scopes import require_read
from gradvitals_service.auth.viewer import ViewerDep
from gradvitals_service.bodies import read_json
from gradvitals_service.database import SessionDep
from gradvitals_service.health import acknowledging
from gradvitals_service.health.inbox import read_inbox
from gradvitals_service.health.inbox_queries import InboxFilter
from gradvitals_service.health.inbox_schemas import AcknowledgementChoice, EventKind, InboxRead, Severity, Status
from gradvitals_service.health.schemas import EventForPeople
from gradvitals_service.ingest.writer import Item
from gradvitals_service.wirejson import WireJSONResponse

router = APIRouter(prefix="/api/v1", tags=["events"], dependencies=[Depends(require_read)])

# PostgreSQL stores no NUL, so that nothing there can match one; it would answer with an error.
Text = Annotated[str | None, Query(max_length=512, pattern=r"^[^\x00]*$")]


@router.get("/events", response_model=InboxRead)
def read_events(
    session: SessionDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="events a page")] = 50,
    cursor: Annotated[str | None, Query(max_length=128, description="`next_cursor` of the page before")] = None,
    project: Text = None,
    run: Annotated[UUID | None, Query(description="only events of this run")] = None,
    kind: Annotated[EventKind | None, Query(description="only events of this kind")] = None,
    severity: Annotated[Severity | None, Query(description="only events of this severity")] = None,
    status: Annotated[Status | None, Query(description="only events of this status")] = None,
    acknowledged: Annotated[bool | None, Query(description="whether somebody has taken note")] = None,
    q: Text = None,
) -> Response:
    """One page of events of all runs, open ones first, then those that opened last.

    `q` is looked for in the names of their runs.
    """
    asked = InboxFilter(project, run, kind, severity, status, acknowledged, q)
    return WireJSONResponse(read_inbox(session, asked, limit, cursor))


@router.put("/runs/{run_id}/events/{event_id}/acknowledgement", response_model=EventForPeople)
async def acknowledge_event(run_id: UUID, event_id: UUID, request: Request, by: ViewerDep) -> Response:
    """Say that one has taken note of an event, in place of what was said before; gives the event.

    Whoever may read may say so: there is no other token for people yet, and a training job's must not.
    """
    note = (await read_json(request, AcknowledgementChoice)).note.strip()
    work = partial(acknowledging.acknowledge, run_id=run_id, event_id=event_id, by=by, note=note)
    return WireJSONResponse(await asyncio.wrap_future(request.app.state.writer.submit(Item(run_id, work))))


@router.delete("/runs/{run_id}/events/{event_id}/acknowledgement", response_model=EventForPeople)
async def take_back_acknowledgement(run_id: UUID, event_id: UUID, request: Request) -> Response:
    """Let an event be as if nobody had taken note of it; gives the event."""
    work = partial(acknowledging.take_back, run_id=run_id, event_id=event_id)
    return WireJSONResponse(await asyncio.wrap_future(request.app.state.writer.submit(Item(run_id, work))))
