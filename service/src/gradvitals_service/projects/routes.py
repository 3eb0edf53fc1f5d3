"""Tell and take what people choose for a project."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from starlette.concurrency import run_in_threadpool

from gradvitals_service.auth.scopes import require_read
from gradvitals_service.bodies import read_json
from gradvitals_service.database import SessionDep, begin_write
from gradvitals_service.health.detectors import Options
from gradvitals_service.projects import queries
from gradvitals_service.projects.schemas import DetectionChoice, DetectionRead

router = APIRouter(prefix="/api/v1/projects", tags=["projects"], dependencies=[Depends(require_read)])

# A name may have slashes in it, and no NUL.
ProjectName = Annotated[str, Path(max_length=512, pattern=r"^[^\x00]*$", description="the project's name")]


@router.get("/{project:path}/detection", response_model=DetectionRead)
def read_detection(project: ProjectName, session: SessionDep) -> DetectionRead:
    """How a project is judged."""
    return _read(project, queries.read_detection(session, queries.get_project(session, project)))


@router.put("/{project:path}/detection", response_model=DetectionRead)
async def choose_detection(project: ProjectName, request: Request) -> DetectionRead:
    """Choose how a project is judged, from the next frames of its runs on; what happened before stays as it was told.

    Whoever may read may choose: there is no other token for people yet, and a training job's must not.
    """
    options = (await read_json(request, DetectionChoice)).options()
    await run_in_threadpool(_choose, request, project, options)
    return _read(project, options)


def _choose(request: Request, project: str, options: Options) -> None:
    """In a transaction of its own, as everything about projects."""
    with begin_write(request.app.state.session_factory) as session:
        queries.choose_detection(session, queries.get_project(session, project), options)


def _read(project: str, options: Options) -> DetectionRead:
    return DetectionRead(
        project=project, sensitivity=options.sensitivity, off=sorted(options.off), ignore=list(options.ignore)
    )
