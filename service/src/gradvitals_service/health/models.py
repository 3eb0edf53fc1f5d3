"""Table of what was noticed: trouble with gradients, of whatever kind, from opening to resolution."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from gradvitals_service.database import Base, JSONStrings, NonFiniteFloat, RunKey, UUIDKey


class Event(Base):
    """One trouble of one stream; its id follows from (stream, kind, start frame), so that nothing comes twice."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_opened_at", "opened_at"),)

    run_id: Mapped[RunKey]
    event_id: Mapped[UUIDKey]
    attempt_id: Mapped[UUID]
    monitor: Mapped[str] = mapped_column(String(128))
    rank: Mapped[int]
    kind: Mapped[str] = mapped_column(String(32))
    severity: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    start_frame: Mapped[int] = mapped_column(BigInteger)
    start_step: Mapped[int] = mapped_column(BigInteger)
    end_step: Mapped[int | None] = mapped_column(BigInteger)
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    peak: Mapped[NonFiniteFloat | None]
    times_usual: Mapped[NonFiniteFloat | None]
    usual: Mapped[NonFiniteFloat | None]
    layers: Mapped[JSONStrings]
    message: Mapped[str] = mapped_column(String(1024))
    revision: Mapped[int]  # the run's event_revision when this last changed
    detector_version: Mapped[int]
