"""Every statement of the overview. How many there are does not depend on the number of runs shown."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any, Literal, TypeVarTuple, Unpack
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Label,
    Row,
    Select,
    String,
    and_,
    cast,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
)
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

_Columns = TypeVarTuple("_Columns")

Facet = Literal["project", "owner", "group", "tag", "state", "health"]
NONE = ""  # asks for the runs that have no owner, no group, no tag

_worst = worst_open_events()
_urgency = func.coalesce(_worst.c.urgency, literal_column(str(CALM)))  # no bound value: PostgreSQL groups by it
_has_frames = Run.last_step.is_not(None)
_tags = cast(Run.tags, String)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which runs are asked for; None asks for all."""

    project: str | None = None
    text: str | None = None
    state: State | None = None
    health: Health | None = None
    owner: str | None = None
    group: str | None = None
    tag: str | None = None


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
    page = _standing_of(select(Run.run_id)).where(*_scope(asked), *_standing(asked, moment))
    if after is not None:
        page = page.where(_beyond(after))
    page = page.order_by(_urgency.desc(), Run.last_seen_at.desc(), Run.run_id).limit(limit)
    # The keys first: rows are wide, and sorting all of them to show fifty would move megabytes.
    place = {run_id: number for number, run_id in enumerate(session.scalars(page))}
    return sorted(find_runs(session, place), key=lambda row: place[row[0].run_id])


def find_runs(session: Session, run_ids: Iterable[UUID]) -> Sequence[Row[Run, str, int]]:
    """The same of the runs named, in no order; those that are not known are left out."""
    statement = _standing_of(select(Run, Project.name.label("project"), _urgency.label("urgency")))
    return session.execute(statement.where(Run.run_id.in_(run_ids), Run.state != DELETED)).all()


def count_by_health(session: Session, asked: Filter) -> dict[Health, int]:
    """How many runs there are by health, of those asked for in whatever state and health."""
    kinds = (_urgency.label("urgency"), _has_frames.label("has_frames"), Run.already_clipped)
    statement = _standing_of(select(*kinds, func.count().label("runs"))).where(*_scope(asked)).group_by(*kinds)
    totals: Counter[Health] = Counter(dict.fromkeys(HEALTHS, 0))
    for kind in session.execute(statement):
        totals[health_of(kind.urgency, bool(kind.has_frames), kind.already_clipped)] += kind.runs
    return dict(totals)


def count_alike(session: Session, asked: Filter, moment: Moment, names: Iterable[Facet]) -> Sequence[Any]:
    """How many of the runs asked for agree in what is named, and when one of them was heard of last: a row for each
    kind of run.
    """
    columns = [column for name in names for column in _columns_of(name, moment)]
    each = _standing_of(select(*columns, Run.last_seen_at)).where(*_scope(asked), *_standing(asked, moment)).subquery()
    kinds = [each.c[column.name] for column in columns]  # by name: what they are made of holds bound values
    counted = select(*kinds, func.count().label("runs"), func.max(each.c.last_seen_at).label("last_seen_at"))
    return session.execute(counted.group_by(*kinds)).all()


def _columns_of(name: Facet, moment: Moment) -> tuple[Label[Any], ...]:
    """What decides what a run is called in one respect; ``facets`` puts the word together."""
    if name == "state":
        return Run.state.label("state"), _silent(moment).label("silent"), _overdue(moment).label("overdue")
    if name == "health":
        clipped = Run.already_clipped.label("already_clipped")
        return _urgency.label("urgency"), _has_frames.label("has_frames"), clipped
    names = {"project": Project.name, "owner": Run.owner, "group": Run.group_name, "tag": _tags}
    return (names[name].label(name),)


def fallen_silent(session: Session, since: datetime, until: datetime) -> Sequence[UUID]:
    """The runs that should be alive and were last seen in ``since`` to before ``until``."""
    alive = Run.state.in_([declared for declared in DECLARED_STATES if state_of(declared, True, False) != declared])
    return session.scalars(select(Run.run_id).where(alive, Run.last_seen_at >= since, Run.last_seen_at < until)).all()


def _standing_of(statement: Select[Unpack[_Columns]]) -> Select[Unpack[_Columns]]:
    """Columns of runs, beside their project and how urgent they are."""
    joined = statement.select_from(Run).join(Project, Project.project_id == Run.project_id)
    return joined.outerjoin(_worst, _worst.c.run_id == Run.run_id)


def _scope(asked: Filter) -> list[ColumnElement[bool]]:
    """Whose runs, and what is in their names."""
    conditions: list[ColumnElement[bool]] = [Run.state != DELETED]
    if asked.project is not None:
        conditions.append(Project.name == asked.project)
    for column, word in ((Run.owner, asked.owner), (Run.group_name, asked.group)):
        if word is not None:
            conditions.append(func.coalesce(column, NONE) == word)
    if asked.tag is not None:
        conditions.append(_tags == "[]" if asked.tag == NONE else _has_tag(asked.tag))
    if asked.text:
        searched = (Run.name, Run.owner, Run.group_name, Project.name, _tags)
        conditions.append(or_(*(column.icontains(asked.text, autoescape=True) for column in searched)))
    return conditions


def _has_tag(tag: str) -> ColumnElement[bool]:
    """Whether the tag stands in the list as it is stored, between quotes; SQLite's LIKE would not mind its case."""
    return func.replace(_tags, json.dumps(tag), "") != _tags


def _standing(asked: Filter, moment: Moment) -> list[ColumnElement[bool]]:
    """State and health, by way of the functions that judge them: every combination that leads to the one asked for."""
    conditions: list[ColumnElement[bool]] = []
    truth = (False, True)
    if asked.state is not None:
        ways = [
            and_(Run.state == declared, _is(_silent(moment), quiet), _is(_overdue(moment), late))
            for declared, quiet, late in product(DECLARED_STATES, truth, truth)
            if state_of(declared, quiet, late) == asked.state
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


def _silent(moment: Moment) -> ColumnElement[bool]:
    return Run.last_seen_at < moment.silent_before


def _overdue(moment: Moment) -> ColumnElement[bool]:
    return and_(Run.overdue_at.is_not(None), Run.overdue_at < moment.due_before)


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
