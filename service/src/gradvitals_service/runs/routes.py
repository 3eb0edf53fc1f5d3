"""Declare runs, attempts and layouts; read and delete one run."""

import asyncio
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, status
from starlette.concurrency import run_in_threadpool

from gradvitals_service.auth.scopes import require_ingest, require_read
from gradvitals_service.bodies import check_storable, read_json
from gradvitals_service.database import SessionDep
from gradvitals_service.errors import MalformedError
from gradvitals_service.health import evidence
from gradvitals_service.health.schemas import EventRead
from gradvitals_service.health.two_processes import record_two_processes
from gradvitals_service.ingest.transaction import Transaction
from gradvitals_service.ingest.wire import WIRE_VERSIONS
from gradvitals_service.ingest.writer import Item
from gradvitals_service.projects.queries import project_for
from gradvitals_service.runs import deletion, layouts, queries
from gradvitals_service.runs.clock import MomentDep
from gradvitals_service.runs.models import Attempt, Run
from gradvitals_service.runs.schemas import (
    FINAL_STATES,
    AttemptDeclaration,
    HeartbeatAnswer,
    LayoutDeclaration,
    LayoutDeclared,
    RunDeclaration,
    RunDeclared,
    RunRead,
)
from gradvitals_service.runs.summary import read_run_detail
from gradvitals_service.wirejson import WireJSONResponse

declaring = APIRouter(prefix="/api/v1/runs", tags=["ingest"], dependencies=[Depends(require_ingest)])
reading = APIRouter(prefix="/api/v1/runs", tags=["runs"], dependencies=[Depends(require_read)])

LayoutIdPath = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


@declaring.put("/{run_id}", response_model=RunDeclared)
async def declare_run(run_id: UUID, request: Request) -> RunDeclared:
    """Make a run, or replace what its client says about it."""
    new = await read_json(request, RunDeclaration)
    await run_in_threadpool(_check_storable, new)
    project_id = await run_in_threadpool(project_for, request.app.state.session_factory, new.project)

    def work(transaction: Transaction) -> None:
        queries.declare_run(transaction.session, run_id, project_id, new, transaction.now)
        transaction.publish({"type": "run", "run_id": str(run_id)})

    size_bytes = len(await request.body())
    await asyncio.wrap_future(request.app.state.writer.submit(Item(run_id, work, size_bytes)))
    return RunDeclared(run_id=run_id, wire_versions=WIRE_VERSIONS)


@declaring.put("/{run_id}/attempts/{attempt_id}", response_model=HeartbeatAnswer)
async def declare_attempt(run_id: UUID, attempt_id: UUID, request: Request) -> WireJSONResponse:
    """Make an attempt, or take its heartbeat; tells what the client has not seen yet."""
    new = await read_json(request, AttemptDeclaration)
    work = partial(_take_heartbeat, run_id=run_id, attempt_id=attempt_id, new=new)
    answer: HeartbeatAnswer = await asyncio.wrap_future(request.app.state.writer.submit(Item(run_id, work)))
    return WireJSONResponse(answer)


@declaring.put("/{run_id}/layouts/{layout_id}", response_model=LayoutDeclared)
async def declare_layout(run_id: UUID, layout_id: LayoutIdPath, request: Request) -> LayoutDeclared:
    """Keep a layout under the hash of its content."""
    layers = (await read_json(request, LayoutDeclaration)).layers
    expected = await run_in_threadpool(layouts.layout_id, layers)
    if layout_id != expected:
        raise MalformedError(f"layout_id: these layers have the id {expected}, not {layout_id}")

    def work(transaction: Transaction) -> None:
        queries.lock_run(transaction.session, run_id)
        queries.declare_layout(transaction.session, run_id, layout_id, layers)

    await asyncio.wrap_future(request.app.state.writer.submit(Item(run_id, work, 512 * len(layers))))
    return LayoutDeclared(layout_id=layout_id)


@reading.get("/{run_id}", response_model=RunRead)
def read_run(run_id: UUID, session: SessionDep, moment: MomentDep) -> WireJSONResponse:
    """Everything about one run but its frames."""
    return WireJSONResponse(read_run_detail(session, run_id, moment))


@reading.delete("/{run_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_run(run_id: UUID, request: Request) -> None:
    """Delete a run and all that was stored about it. It is gone at once; its space is given back after that.

    Whoever may read may delete: there is no other token for people yet, and a training job's must not.
    """
    work = partial(deletion.delete_run, run_id=run_id)
    await asyncio.wrap_future(request.app.state.writer.submit(Item(run_id, work)))


def _check_storable(new: RunDeclaration) -> None:
    for field in ("config", "links", "versions"):
        check_storable(field, getattr(new, field))


def _look_for_another(transaction: Transaction, run: Run, attempt: Attempt, new: AttemptDeclaration) -> None:
    """Tell of a second process that trains the same run as the same rank. Who tells of the past trains nothing."""
    progress = (sum(monitor.made for monitor in new.monitors.values()), -1 if new.last_step is None else new.last_step)
    ends = not new.live or attempt.declared_state in FINAL_STATES
    heard = transaction.holders.hear(run.run_id, new.rank, attempt.attempt_id, progress, ends=ends)
    if heard.pairs or heard.may_be_over:
        for event in record_two_processes(transaction.session, run, attempt, heard, transaction.now):
            transaction.publish_event(event)


def _take_heartbeat(
    transaction: Transaction, run_id: UUID, attempt_id: UUID, new: AttemptDeclaration
) -> HeartbeatAnswer:
    session = transaction.session
    run, attempt = queries.declare_attempt(session, run_id, attempt_id, new, transaction.now)
    transaction.publish({"type": "run", "run_id": str(run_id)})
    _look_for_another(transaction, run, attempt, new)
    if attempt.state in FINAL_STATES:
        evidence.complete_attempt(session, run_id, attempt_id)
    events = queries.events_after(session, run_id, new.events_seen)
    return HeartbeatAnswer(
        state=attempt.state,
        event_revision=run.event_revision,
        events=[EventRead.model_validate(event) for event in events],
        commands=[],
    )
