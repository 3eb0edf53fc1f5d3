"""Whose frames a request asks for.

What needs no database is asynchronous: a hop to another thread costs as much as a statement does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NamedTuple
from uuid import UUID

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session

from gradvitals_service.database import begin_snapshot
from gradvitals_service.series.queries import Line, choose_monitor


class AskedLine(NamedTuple):
    """A run, one of its monitors or None for the usual one, and a rank."""

    run_id: UUID
    monitor: str | None
    rank: int


async def parse_line(
    run_id: UUID,
    monitor: Annotated[str | None, Query(max_length=128, description="by default `main`, or the first by name")] = None,
    rank: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> AskedLine:
    """Whose frames are asked for."""
    return AskedLine(run_id, monitor, rank)


@contextmanager
def reading(request: Request, asked: AskedLine) -> Iterator[tuple[Session, Line]]:
    """One state of the database, and whose frames they are in it; 404 where there is no such run or monitor."""
    with begin_snapshot(request.app.state.session_factory) as session:
        yield session, Line(asked.run_id, choose_monitor(session, asked.run_id, asked.monitor), asked.rank)


LineDep = Annotated[AskedLine, Depends(parse_line)]
