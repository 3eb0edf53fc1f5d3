"""Take what a client says of its checkpoints; tell which are clean."""

import asyncio
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from gradvitals_service.auth.scopes import require_ingest, require_read
from gradvitals_service.bodies import read_json
from gradvitals_service.checkpoints import queries
from gradvitals_service.checkpoints.judgement import Resume, Standing
from gradvitals_service.checkpoints.schemas import (
    CheckpointList,
    CheckpointRead,
    CheckpointsDeclaration,
    CheckpointsTaken,
)
from gradvitals_service.database import SessionDep
from gradvitals_service.health.schemas import CheckpointPlace
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.writer import Item
from gradvitals_service.runs.queries import get_run, lock_run
from gradvitals_service.wirejson import WireJSONResponse

declaring = APIRouter(prefix="/api/v1/runs/{run_id}", tags=["ingest"], dependencies=[Depends(require_ingest)])
reading = APIRouter(prefix="/api/v1/runs/{run_id}", tags=["runs"], dependencies=[Depends(require_read)])


@declaring.post("/checkpoints", response_model=CheckpointsTaken)
async def declare_checkpoints(run_id: UUID, request: Request) -> CheckpointsTaken:
    """Keep where checkpoints lie, and answer which one must not be deleted."""
    new = await read_json(request, CheckpointsDeclaration)

    def work(transaction: Transaction) -> Resume | None:
        session = transaction.session
        lock_run(session, run_id)
        queries.declare_checkpoints(session, run_id, new)
        if new.saved or new.deleted:
            transaction.publish({"type": "run", "run_id": str(run_id)})
        return queries.read_resume(session, run_id)

    size_bytes = len(await request.body())
    resume = await asyncio.wrap_future(request.app.state.writer.submit(Item(run_id, work, size_bytes)))
    if resume is None or resume.newest_clean is None:
        return CheckpointsTaken(newest_clean=None)
    newest = resume.newest_clean
    return CheckpointsTaken(newest_clean=CheckpointPlace(path=newest.path, step=newest.step))


@reading.get("/checkpoints", response_model=CheckpointList)
def read_checkpoints(session: SessionDep, run_id: UUID) -> Response:
    """The newest thousand checkpoints of a run, with what is thought of them now."""
    get_run(session, run_id)
    return WireJSONResponse({"checkpoints": [_read(standing) for standing in queries.read_standings(session, run_id)]})


def _read(standing: Standing) -> CheckpointRead:
    fields = {name: getattr(standing.checkpoint, name) for name in CheckpointRead.model_fields if name != "clean"}
    return CheckpointRead.model_validate(fields | {"clean": standing.clean})
