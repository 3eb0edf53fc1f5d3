"""Tables of what was noticed: trouble of whatever kind, from opening to resolution, and the frames around it, kept for
ever."""

from datetime import datetime
from typing import Annotated, TypedDict
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from gradvitals_service.database import Base, JSONStrings, NonFiniteFloat, RunKey, UUIDKey

_JSONOrNull = JSON(none_as_null=True)


class Place(TypedDict):
    """Where a checkpoint lies, and the step that a resume from it begins with."""

    path: str
    step: int


class Acknowledgement(TypedDict):
    """Who has taken note of an event, when, and what they wrote."""

    at: datetime
    by: str
    note: str


PlaceOrNull = Annotated[Place | None, mapped_column(_JSONOrNull)]


class Event(Base):
    """One trouble of one stream; its id follows from (stream, kind, start frame), so that nothing comes twice."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_opened_at", "opened_at"),
        Index("ix_events_status", "status", "opened_at", "event_id"),
        Index("ix_events_severity", "severity", "status", "acknowledged_at"),
    )

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
    # What follows is not known of events from before there were these columns.
    peak_step: Mapped[int | None] = mapped_column(BigInteger)
    shares: Mapped[list[float] | None] = mapped_column(_JSONOrNull)  # of ``layers``: of the squared norm at the peak
    first_layer: Mapped[str | None] = mapped_column(String(512))
    last_healthy_step: Mapped[int | None] = mapped_column(BigInteger)
    weights_finite: Mapped[bool | None]
    batch_id: Mapped[str | None] = mapped_column(String(512))  # of the step at which it began
    resume_from: Mapped[PlaceOrNull]
    cause: Mapped[str | None] = mapped_column(String(1024))  # a guess
    action: Mapped[str | None] = mapped_column(String(1024))
    # What a person says to it. No detector writes these, so that whatever happens to the event they stay.
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None] = mapped_column(String(512))
    note: Mapped[str | None] = mapped_column(String(1000))

    @property
    def acknowledgement(self) -> Acknowledgement | None:
        """What a person says to it, if one does."""
        if self.acknowledged_at is None:
            return None
        return {"at": self.acknowledged_at, "by": self.acknowledged_by or "", "note": self.note or ""}


class EventEvidence(Base):
    """The frames around the opening of an event; see ``evidence`` for which, and ``codec`` for what the blobs hold."""

    __tablename__ = "event_evidence"

    run_id: Mapped[RunKey]
    event_id: Mapped[UUIDKey]
    attempt_id: Mapped[UUID]
    monitor: Mapped[str] = mapped_column(String(128))
    start_frame: Mapped[int] = mapped_column(BigInteger)
    complete: Mapped[bool]  # False: frames after the opening are still to come
    n: Mapped[int]
    layers: Mapped[JSONStrings]  # whose norms are kept, in the order of ``layer_columns``
    last_healthy_step: Mapped[int | None] = mapped_column(BigInteger)
    clean_checkpoint: Mapped[PlaceOrNull]
    columns: Mapped[bytes] = mapped_column(LargeBinary)
    layer_columns: Mapped[bytes] = mapped_column(LargeBinary)
