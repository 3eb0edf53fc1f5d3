"""Table of alerts on their way: the outbox, written in the event's own transaction."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from gradvitals_service.database import Base, UUIDKey


class Delivery(Base):
    """One alert to one channel.

    A table of its own without foreign keys, polled across runs: on a distributed database it stays on one shard.
    """

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_state_due_at", "state", "due_at"),)

    delivery_id: Mapped[UUIDKey]  # follows from (event, channel): the idempotency key
    run_id: Mapped[UUID]
    event_id: Mapped[UUID]
    channel: Mapped[str] = mapped_column(String(128))
    title: Mapped[str] = mapped_column(String(1024))
    body: Mapped[str] = mapped_column(String(8192))
    state: Mapped[str] = mapped_column(String(16))  # due, delivered, given_up
    tries: Mapped[int]
    due_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(String(512))
    created_at: Mapped[datetime]
