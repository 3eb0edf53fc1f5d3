"""Tell machines whether this process lives and whether it can serve."""

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gradvitals_service import migrating
from gradvitals_service.auth.scopes import public
from gradvitals_service.errors import OverloadedError

TRIAL_SECONDS = 3.0

router = APIRouter(dependencies=[Depends(public)], tags=["probes"])


class Status(BaseModel):
    """All is well; everything else is an error."""

    status: str


@router.get("/healthz", response_model=Status)
async def read_health() -> Status:
    """The process answers."""
    return Status(status="ok")


@router.get("/readyz", response_model=Status)
def read_readiness(request: Request) -> Status:
    """The database answers and is at this version's schema, and the writer gets through to it.

    Unless the writer has just written, that is tried here: a full disk is told before a client finds it, and that there
    is room again without one.
    """
    engine: Engine = request.app.state.engine
    try:
        with engine.connect() as connection:
            current = migrating.is_current(connection)
    except SQLAlchemyError:
        raise OverloadedError("the database does not answer") from None
    if not current:
        raise OverloadedError("the database is not at this version's schema; run `gradvitals-service migrate`")
    if not request.app.state.writer.alive:
        raise OverloadedError("the writer does not run")
    try:
        for trial in request.app.state.writer.try_to_write():
            trial.result(TRIAL_SECONDS)
    except (OverloadedError, TimeoutError):
        raise OverloadedError("the database cannot be written to; the log has the reason") from None
    return Status(status="ok")
