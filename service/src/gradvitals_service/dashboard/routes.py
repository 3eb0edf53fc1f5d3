"""Show all runs at a glance."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from gradvitals_service.auth.scopes import require_read
from gradvitals_service.dashboard import live
from gradvitals_service.dashboard.overview import read_overview
from gradvitals_service.dashboard.queries import Filter
from gradvitals_service.dashboard.schemas import DashboardRead
from gradvitals_service.database import SessionDep
from gradvitals_service.runs.clock import MomentDep
from gradvitals_service.runs.standing import Health, State
from gradvitals_service.wirejson import WireJSONResponse

router = APIRouter(prefix="/api/v1", tags=["dashboard"], dependencies=[Depends(require_read)])
router.include_router(live.router)

# PostgreSQL stores no NUL, so that nothing there can match one; it would answer with an error.
Text = Annotated[str | None, Query(max_length=512, pattern=r"^[^\x00]*$")]


@router.get("/dashboard", response_model=DashboardRead)
def read_dashboard(
    session: SessionDep,
    moment: MomentDep,
    limit: Annotated[int, Query(ge=1, le=500, description="runs a page")] = 100,
    cursor: Annotated[str | None, Query(max_length=128, description="`next_cursor` of the page before")] = None,
    project: Text = None,
    state: Annotated[State | None, Query(description="only runs in this state")] = None,
    health: Annotated[Health | None, Query(description="only runs of this health")] = None,
    q: Text = None,
) -> Response:
    """One page of runs, open critical events first, then warnings, then those seen last.

    `q` is looked for in names of runs, owners, groups, projects and in tags.
    """
    asked = Filter(project, q, state, health)
    return WireJSONResponse(read_overview(session, asked, moment, limit, cursor))
