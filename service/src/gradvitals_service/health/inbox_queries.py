"""Every statement of the inbox. How many there are does not depend on the number of events shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, or_, select
from sqlalchemy.orm import Session

from gradvitals_service.health.models import Event
from gradvitals_service.projects.models import Project
from gradvitals_service.runs.models import Run
from gradvitals_service.runs.queries import DELETED

STATUSES = ("open", "resolved")  # in the order in which people want to hear of them


@dataclass(frozen=True, slots=True)
class InboxFilter:
    """Which events are asked for; None asks for all."""

    project: str | None = None
    run_id: UUID | None = None
    kind: str | None = None
    severity: str | None = None
    status: str | None = None
    acknowledged: bool | None = None
    text: str | None = None  # in the run's name


@dataclass(frozen=True, slots=True)
class InboxPosition:
    """Where a page of events ended."""

    status: str
    opened_at: datetime
    event_id: UUID


def list_inbox(
    session: Session, asked: InboxFilter, limit: int, after: InboxPosition | None = None
) -> Sequence[Row[Event, str, str, str | None]]:
    """One page of (event, its run's name, project, owner): what goes on first, then what opened last.

    A statement a status, since each can then walk down the index of that order and stop where the page is full.
    """
    first = 0 if after is None else STATUSES.index(after.status)
    found: list[Row[Event, str, str, str | None]] = []
    for status in STATUSES[first:]:
        if asked.status not in (None, status) or len(found) >= limit:
            continue
        statement = select(Event, Run.name, Project.name, Run.owner).join(Run, Run.run_id == Event.run_id).join(Project)
        statement = statement.where(Event.status == status, Run.state != DELETED, *_scope(asked), *_standing(asked))
        if after is not None and after.status == status:
            earlier = or_(Event.opened_at < after.opened_at, Event.event_id < after.event_id)
            statement = statement.where(Event.opened_at <= after.opened_at, earlier)
        newest_first = statement.order_by(Event.opened_at.desc(), Event.event_id.desc())
        found += session.execute(newest_first.limit(limit - len(found))).all()
    return found


def count_inbox(session: Session, asked: InboxFilter) -> Sequence[Row[str, str, bool, int]]:
    """How many events of the project, run, kind and text asked for there are: (status, severity, acknowledged, n)."""
    kinds = (Event.status, Event.severity, Event.acknowledged_at.is_not(None).label("acknowledged"))
    statement = select(*kinds, func.count().label("n")).group_by(*kinds)
    if asked.project is not None or asked.text:  # else an index has it all; of a deleted run there are no events
        statement = statement.join(Run, Run.run_id == Event.run_id).join(Project)
    return session.execute(statement.where(*_scope(asked))).all()


def _scope(asked: InboxFilter) -> list[ColumnElement[bool]]:
    """Whose events, and of which kind."""
    conditions: list[ColumnElement[bool]] = []
    if asked.project is not None:
        conditions.append(Project.name == asked.project)
    if asked.run_id is not None:
        conditions.append(Event.run_id == asked.run_id)
    if asked.kind is not None:
        conditions.append(Event.kind == asked.kind)
    if asked.text:
        conditions.append(Run.name.icontains(asked.text, autoescape=True))
    return conditions


def _standing(asked: InboxFilter) -> list[ColumnElement[bool]]:
    """How severe they are, and whether somebody has taken note."""
    conditions: list[ColumnElement[bool]] = []
    if asked.severity is not None:
        conditions.append(Event.severity == asked.severity)
    if asked.acknowledged is not None:
        known = Event.acknowledged_at.is_not(None) if asked.acknowledged else Event.acknowledged_at.is_(None)
        conditions.append(known)
    return conditions
