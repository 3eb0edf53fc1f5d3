"""Put the inbox together: a page of events, totals, and where the next page begins."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from gradvitals_service.errors import MalformedError
from gradvitals_service.health import inbox_queries
from gradvitals_service.health.inbox_queries import STATUSES, InboxFilter, InboxPosition
from gradvitals_service.health.inbox_schemas import EventTotals, InboxEvent, InboxTotals
from gradvitals_service.health.models import Event
from gradvitals_service.health.schemas import EventForPeople


def read_inbox(session: Session, asked: InboxFilter, limit: int, cursor: str | None) -> dict[str, Any]:
    """What ``GET /api/v1/events`` answers."""
    after = None if cursor is None else decode_cursor(cursor)
    rows = inbox_queries.list_inbox(session, asked, limit + 1, after)
    return {
        "now": datetime.now(UTC),
        "totals": _totals(inbox_queries.count_inbox(session, asked)),
        "events": [_with_its_run(row) for row in rows[:limit]],
        "next_cursor": encode_cursor(rows[limit - 1].Event) if len(rows) > limit else None,
    }


def _with_its_run(row: Row[Event, str, str, str | None]) -> InboxEvent:
    event, run_name, project, owner = row
    whose = {"run_name": run_name, "project": project, "owner": owner}
    return InboxEvent.model_validate(EventForPeople.model_validate(event).model_dump() | whose)


def _totals(counts: Iterable[Row[str, str, bool, int]]) -> InboxTotals:
    of = {status: dict.fromkeys(EventTotals.model_fields, 0) for status in STATUSES}
    needs_somebody = 0
    for status, severity, acknowledged, n in counts:
        of[status][severity] += n
        if not acknowledged:
            of[status]["unacknowledged"] += n
            needs_somebody += n if (status, severity) == ("open", "critical") else 0
    return InboxTotals(
        open=EventTotals(**of["open"]), resolved=EventTotals(**of["resolved"]), needs_somebody=needs_somebody
    )


def encode_cursor(event: Event) -> str:
    """Name the place of a page's last event, as one word that fits into a query."""
    return f"{event.status}~{event.opened_at.isoformat().replace('+00:00', 'Z')}~{event.event_id}"


def decode_cursor(cursor: str) -> InboxPosition:
    """Read what ``encode_cursor`` wrote, or refuse it."""
    try:
        status, opened_at, event_id = cursor.split("~")
        time = datetime.fromisoformat(opened_at)
        if time.utcoffset() == timedelta() and status in STATUSES:
            return InboxPosition(status, time, UUID(event_id))
    except ValueError:
        pass
    raise MalformedError("query.cursor: not one that this service gave out as next_cursor")
