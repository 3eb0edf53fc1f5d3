"""Show all runs at a glance."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from gradvitals_service.auth.scopes import require_read
from gradvitals_service.auth.viewer import ViewerDep
from gradvitals_service.dashboard import live
from gradvitals_service.dashboard.facets import count_choices
from gradvitals_service.dashboard.groups import By, count_groups
from gradvitals_service.dashboard.overview import read_overview
from gradvitals_service.dashboard.queries import Filter
from gradvitals_service.dashboard.schemas import DashboardRead, FacetsRead, GroupsRead
from gradvitals_service.database import SessionDep
from gradvitals_service.runs.clock import MomentDep
from gradvitals_service.runs.standing import Health, State
from gradvitals_service.wirejson import WireJSONResponse

router = APIRouter(prefix="/api/v1", tags=["dashboard"], dependencies=[Depends(require_read)])
router.include_router(live.router)

# PostgreSQL stores no NUL, so that nothing there can match one; it would answer with an error.
Text = Annotated[str | None, Query(max_length=512, pattern=r"^[^\x00]*$")]


def filters(
    project: Text = None,
    owner: Text = None,
    group: Text = None,
    tag: Text = None,
    state: Annotated[State | None, Query(description="only runs in this state")] = None,
    health: Annotated[Health | None, Query(description="only runs of this health")] = None,
    q: Text = None,
) -> Filter:
    """Which runs are asked for."""
    return Filter(project, q, state, health, owner, group, tag)


FilterDep = Annotated[Filter, Depends(filters)]


@router.get("/dashboard", response_model=DashboardRead)
def read_dashboard(
    session: SessionDep,
    moment: MomentDep,
    viewer: ViewerDep,
    asked: FilterDep,
    limit: Annotated[int, Query(ge=1, le=500, description="runs a page")] = 100,
    cursor: Annotated[str | None, Query(max_length=128, description="`next_cursor` of the page before")] = None,
) -> Response:
    """One page of runs, open critical events first, then warnings, then those seen last.

    `q` is looked for in names of runs, owners, groups, projects and in tags. `project`, `owner`, `group` and `tag` are
    taken as they are; the last three, where they are empty, choose the runs that have none.
    """
    return WireJSONResponse(read_overview(session, asked, moment, viewer, limit, cursor))


@router.get("/dashboard/facets", response_model=FacetsRead)
def read_facets(session: SessionDep, moment: MomentDep, viewer: ViewerDep, asked: FilterDep) -> Response:
    """What can be filtered by, and how many runs each choice would show beside the other filters."""
    return WireJSONResponse({"viewer": viewer} | count_choices(session, asked, moment))


@router.get("/dashboard/groups", response_model=GroupsRead)
def read_groups(
    session: SessionDep,
    moment: MomentDep,
    asked: FilterDep,
    by: Annotated[By, Query(description="what the runs of a group share")],
) -> Response:
    """The runs asked for in groups, with how many of each are in which condition; each opens as a filtered page."""
    groups, left_out = count_groups(session, asked, moment, by)
    return WireJSONResponse({"now": moment.now, "by": by, "groups": groups, "left_out": left_out})
