"""Put the overview together: a page of runs, totals, the newest events, and where the next page begins."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from gradvitals_service.dashboard import queries
from gradvitals_service.dashboard.queries import Filter, Position
from gradvitals_service.errors import MalformedError
from gradvitals_service.health.queries import newest_events_named, open_events
from gradvitals_service.health.schemas import NamedEvent
from gradvitals_service.projects.queries import find_project
from gradvitals_service.runs.models import Run
from gradvitals_service.runs.queries import recent_events
from gradvitals_service.runs.schemas import RunSummary
from gradvitals_service.runs.standing import URGENCIES, Moment
from gradvitals_service.runs.summary import summarise

NEWEST_EVENTS = 20


def read_overview(
    session: Session, asked: Filter, moment: Moment, viewer: str, limit: int, cursor: str | None
) -> dict[str, Any]:
    """What ``GET /api/v1/dashboard`` answers."""
    after = None if cursor is None else decode_cursor(cursor)
    rows = queries.list_runs(session, asked, moment, limit + 1, after)
    project_id = None if asked.project is None else find_project(session, asked.project)
    nobody = asked.project is not None and project_id is None
    events = [] if nobody else newest_events_named(session, NEWEST_EVENTS, project_id)
    return {
        "now": moment.now,
        "viewer": viewer,
        "totals": queries.count_by_health(session, asked),
        "runs": summarise_all(session, rows[:limit], moment),
        "next_cursor": encode_cursor(rows[limit - 1]) if len(rows) > limit else None,
        "events": [NamedEvent.of(event, run_name=run_name) for event, run_name in events],
    }


def read_summaries(session: Session, run_ids: Collection[UUID], moment: Moment) -> list[RunSummary]:
    """The summaries of the runs named; those that are not known are left out."""
    return summarise_all(session, queries.find_runs(session, run_ids), moment)


def summarise_all(session: Session, rows: Sequence[Row[Run, str, int]], moment: Moment) -> list[RunSummary]:
    """Add the events, in one statement for the open ones of all and one for the newest."""
    run_ids = [run.run_id for run, _, _ in rows]
    troubles, recent = open_events(session, run_ids), recent_events(session, run_ids)
    return [summarise(run, project, troubles[run.run_id], recent[run.run_id], moment) for run, project, _ in rows]


def encode_cursor(row: Row[Run, str, int]) -> str:
    """Name the place of a page's last run, as one word that fits into a query."""
    run, _, urgency = row
    return f"{urgency}~{run.last_seen_at.isoformat().replace('+00:00', 'Z')}~{run.run_id}"


def decode_cursor(cursor: str) -> Position:
    """Read what ``encode_cursor`` wrote, or refuse it."""
    try:
        urgency, last_seen_at, run_id = cursor.split("~")
        time = datetime.fromisoformat(last_seen_at)
        if time.utcoffset() == timedelta() and urgency in map(str, URGENCIES.values()):
            return Position(int(urgency), time, UUID(run_id))
    except ValueError:
        pass
    raise MalformedError("query.cursor: not one that this service gave out as next_cursor")
