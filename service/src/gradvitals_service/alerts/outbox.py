"""Every statement about deliveries: written with the event, leased, delivered or given up.

``enqueue`` runs in the transaction that opens the event, so an alert exists exactly if its event does. A lease is a
time in the row, taken by a conditional update, so that several services may share one database: whoever dies with a
lease loses it when the time is over, and the delivery is sent again. Delivery is therefore at least once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, CursorResult, event, func, or_, select, update
from sqlalchemy.orm import Session, SessionTransaction

from gradvitals_service.alerts.channels import Channels
from gradvitals_service.alerts.message import Message, compose
from gradvitals_service.alerts.models import Delivery
from gradvitals_service.checkpoints.queries import read_resume
from gradvitals_service.health.models import Event
from gradvitals_service.projects.models import Project
from gradvitals_service.runs.models import Run

MOST_TRIES = 30  # with the schedule below a bit more than a day
FIRST_DELAY = timedelta(seconds=5)
LONGEST_DELAY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Lease:
    """One delivery that is ours to send until its lease ends; ``tries`` counts those that failed before."""

    delivery_id: UUID
    message: Message
    tries: int


def enqueue(session: Session, run: Run, opened: Event, channels: Channels) -> None:
    """Write one delivery a channel for a critical event; a second time changes nothing.

    The dispatcher is woken once the transaction has ended.
    """
    if not channels.names:
        return
    project = session.scalars(select(Project.name).where(Project.project_id == run.project_id)).one()
    resume = read_resume(session, run.run_id)
    message = compose(opened, run, project, channels.run_url(run.run_id), resume)
    for channel in channels.names:
        delivery_id = uuid5(opened.event_id, channel)
        if session.get(Delivery, delivery_id) is None:
            session.add(_delivery(delivery_id, opened, channel, message))
    session.flush()
    _wake_at_the_end(session, channels)


def lease_oldest(session: Session, channel: str, now: datetime, until: datetime) -> Lease | None:
    """Take the oldest delivery that is due on ``channel``; None also where another service was faster."""
    due = (Delivery.state == "due", Delivery.channel == channel, Delivery.due_at <= now, _is_free(now))
    oldest = session.scalar(select(Delivery).where(*due).order_by(Delivery.due_at, Delivery.created_at).limit(1))
    still_due = (Delivery.state == "due", _is_free(now))
    if oldest is None or not _update(session, oldest.delivery_id, *still_due, leased_until=until):
        return None
    return Lease(oldest.delivery_id, Message(oldest.title, oldest.body), oldest.tries)


def release_all(session: Session) -> None:
    """End every lease: for a database that only one service uses, when that service starts."""
    session.execute(update(Delivery).where(Delivery.leased_until.is_not(None)).values(leased_until=None))


def next_due_at(session: Session, channel: str) -> datetime | None:
    """When the next delivery on ``channel`` can be taken, None where nothing waits."""
    waiting = (Delivery.state == "due", Delivery.channel == channel)
    free = session.scalar(select(func.min(Delivery.due_at)).where(*waiting, Delivery.leased_until.is_(None)))
    leased = session.scalar(select(func.min(Delivery.leased_until)).where(*waiting))
    return min((time for time in (free, leased) if time is not None), default=None)


def mark_delivered(session: Session, taken: Lease) -> None:
    """It got through."""
    _update(session, taken.delivery_id, state="delivered", leased_until=None, error=None)


def mark_failed(session: Session, taken: Lease, error: str, now: datetime) -> None:
    """Try again later, or give up after the last try."""
    tries = taken.tries + 1
    state = "due" if tries < MOST_TRIES else "given_up"
    due_at = now + delay_after(tries)
    _update(session, taken.delivery_id, state=state, tries=tries, due_at=due_at, leased_until=None, error=error[:512])


def delay_after(tries: int) -> timedelta:
    """How long to wait after ``tries`` failures: 5 s, 15 s, 45 s, ... and from the seventh on an hour."""
    return min(FIRST_DELAY * int(3 ** min(tries - 1, 10)), LONGEST_DELAY)


def _delivery(delivery_id: UUID, opened: Event, channel: str, message: Message) -> Delivery:
    return Delivery(
        delivery_id=delivery_id,
        run_id=opened.run_id,
        event_id=opened.event_id,
        channel=channel,
        title=message.title,
        body=message.body,
        state="due",
        tries=0,
        due_at=opened.opened_at,
        leased_until=None,
        error=None,
        created_at=opened.opened_at,
    )


def _wake_at_the_end(session: Session, channels: Channels) -> None:
    """Wake the dispatcher when the outermost transaction has ended; before that the rows are not there for it."""
    if session.info.get("wakes_dispatcher"):
        return
    session.info["wakes_dispatcher"] = True

    @event.listens_for(session, "after_transaction_end")
    def wake(_: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            channels.on_enqueued()


def _is_free(now: datetime) -> ColumnElement[bool]:
    return or_(Delivery.leased_until.is_(None), Delivery.leased_until <= now)


def _update(session: Session, delivery_id: UUID, *conditions: ColumnElement[bool], **values: Any) -> bool:
    """Change one row if it still meets the conditions; whether it did."""
    statement = update(Delivery).where(Delivery.delivery_id == delivery_id, *conditions).values(**values)
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount == 1
