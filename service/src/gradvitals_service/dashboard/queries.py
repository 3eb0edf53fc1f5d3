"""Every statement of the overview. How many there are does not depend on the number of runs shown."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, String, and_, cast, false, func, literal_column, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from gradvitals_service.health.queries import worst_open_events
from gradvitals_service.projects.models import Project
from gradvitals_service.runs.models import Run
from gradvitals_service.runs.queries import DELETED
from gradvitals_service.runs.standing import (
    CALM,
    DECLARED_STATES,
    HEALTHS,
    URGENCIES,
    Health,
    Moment,
    State,
    health_of,
    state_of,
)

_worst = worst_open_events()
_urgency = func.coalesce(_worst.c.urgency, literal_column(str(CALM)))  # no bound value: PostgreSQL groups by it
_has_frames = Run.last_step.is_not(None)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which runs are asked for; None asks for all."""

    project: str | None = None
    text: str | None = None
    state: State | None = None
    health: Health | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of runs ended: urgent runs come first, then those seen last."""

    urgency: int
    last_seen_at: datetime
    run_id: UUID


def list_runs(
    session: Session, asked: Filter, moment: Moment, limit: int, after: Position | None = None
) -> Sequence[Row[Run, str, int]]:
    """One page of (run, project, urgency)."""
    statement = _summaries().where(*_scope(asked), *_standing(asked, moment))
    if after is not None:
        statement = statement.where(_beyond(after))
    return session.execute(statement.order_by(_urgency.desc(), Run.last_seen_at.desc(), Run.run_id).limit(limit)).all()


def find_runs(session: Session, run_ids: Collection[UUID]) -> Sequence[Row[Run, str, int]]:
    """The same of the runs named, in no order; those that are not known are left out."""
    return session.execute(_summaries().where(Run.run_id.in_(run_ids), Run.state != DELETED)).all()


def count_by_health(session: Session, asked: Filter) -> dict[Health, int]:
    """How many runs of the project and text asked for there are, by health."""
    kinds = (_urgency.label("urgency"), _has_frames.label("has_frames"), Run.already_clipped)
    statement = select(*kinds, func.count().label("runs")).select_from(Run).join(Project)
    statement = statement.outerjoin(_worst, _worst.c.run_id == Run.run_id).where(*_scope(asked)).group_by(*kinds)
    totals: Counter[Health] = Counter(dict.fromkeys(HEALTHS, 0))
    for kind in session.execute(statement):
        totals[health_of(kind.urgency, bool(kind.has_frames), kind.already_clipped)] += kind.runs
    return dict(totals)


def fallen_silent(session: Session, since: datetime, until: datetime) -> Sequence[UUID]:
    """The runs that should be alive and were last seen in ``since`` to before ``until``."""
    alive = Run.state.in_([declared for declared in DECLARED_STATES if state_of(declared, True) != declared])
    return session.scalars(select(Run.run_id).where(alive, Run.last_seen_at >= since, Run.last_seen_at < until)).all()


def _summaries() -> Select[Run, str, Any]:
    """Runs with their project's name and how urgent they are."""
    statement = select(Run, Project.name.label("project"), _urgency.label("urgency")).join(Project)
    return statement.outerjoin(_worst, _worst.c.run_id == Run.run_id)


def _scope(asked: Filter) -> list[ColumnElement[bool]]:
    """Whose runs, and what is in their names."""
    conditions: list[ColumnElement[bool]] = [Run.state != DELETED]
    if asked.project is not None:
        conditions.append(Project.name == asked.project)
    if asked.text:
        searched = (Run.name, Run.owner, Run.group_name, Project.name, cast(Run.tags, String))
        conditions.append(or_(*(column.icontains(asked.text, autoescape=True) for column in searched)))
    return conditions


def _standing(asked: Filter, moment: Moment) -> list[ColumnElement[bool]]:
    """State and health, by way of the functions that judge them: every combination that leads to the one asked for."""
    conditions: list[ColumnElement[bool]] = []
    truth = (False, True)
    if asked.state is not None:
        silent = Run.last_seen_at < moment.silent_before
        ways = [
            and_(Run.state == declared, _is(silent, quiet))
            for declared, quiet in product(DECLARED_STATES, truth)
            if state_of(declared, quiet) == asked.state
        ]
        conditions.append(or_(false(), *ways))
    if asked.health is not None:
        ways = [
            and_(_urgency == urgency, _is(_has_frames, frames), _is(Run.already_clipped, clipped))
            for urgency, frames, clipped in product(URGENCIES.values(), truth, truth)
            if health_of(urgency, frames, clipped) == asked.health
        ]
        conditions.append(or_(false(), *ways))
    return conditions


def _is(condition: ColumnElement[bool] | InstrumentedAttribute[bool], wanted: bool) -> ColumnElement[bool]:
    return and_(condition) if wanted else not_(condition)


def _beyond(after: Position) -> ColumnElement[bool]:
    """The runs that come after a position in the order of ``list_runs``."""
    same_urgency = _urgency == after.urgency
    same_time = and_(same_urgency, Run.last_seen_at == after.last_seen_at)
    return or_(
        _urgency < after.urgency,
        and_(same_urgency, Run.last_seen_at < after.last_seen_at),
        and_(same_time, Run.run_id > after.run_id),
    )
