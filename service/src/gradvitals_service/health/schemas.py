"""The JSON of events, as docs/wire.md writes it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from gradvitals_service.health.detectors import Kind, Sensitivity
from gradvitals_service.wirejson import WireNumber


class EventRead(BaseModel):
    """One trouble of one stream; ``end_step`` and ``resolved_at`` are null while it is open."""

    model_config = ConfigDict(from_attributes=True)

    event_id: UUID
    run_id: UUID
    attempt_id: UUID
    monitor: str
    rank: int
    kind: Literal["explosion", "vanishing", "non_finite", "clip_saturation", "instability", "two_processes"]
    severity: Literal["info", "warning", "critical"]
    status: Literal["open", "resolved"]
    start_step: int
    end_step: int | None
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    peak: WireNumber | None
    times_usual: WireNumber | None
    usual: WireNumber | None
    layers: list[str]
    message: str
    revision: int
    detector_version: int


class EventList(BaseModel):
    """Events, newest first."""

    events: list[EventRead]


class ToldEventRead(BaseModel):
    """An event as it would have been told; a field that is also one of ``EventRead`` means the same."""

    event_id: UUID = Field(description="that of the event on record which began at the same frame, if there is one")
    attempt_id: UUID
    monitor: str
    kind: Kind
    severity: Literal["info", "warning", "critical"]
    status: Literal["open", "resolved"]
    start_step: int
    end_step: int | None
    peak: WireNumber | None
    times_usual: WireNumber | None
    usual: WireNumber | None
    layers: list[str]
    message: str
    pages: bool = Field(description="whether somebody would have been paged for it, where an alert channel is set")


class RecordedEventRead(EventRead):
    """An event on record."""

    paged: bool = Field(description="as `pages`")


class ReplayRead(BaseModel):
    """What a run would have told under other choices, beside what it has told; of each at most 1,000 events."""

    run_id: UUID
    sensitivity: Sensitivity
    off: list[Kind]
    ignore: list[str]
    frames: int = Field(description="that were judged")
    left_out: int = Field(description="frames that cannot be judged any more, since their layers are kept no longer")
    told_then: int
    paged_then: int
    would_tell_now: int
    would_page_now: int
    events: list[ToldEventRead] = Field(description="what would be told now, in the order of steps")
    on_record: list[RecordedEventRead] = Field(description="what was told, in the order of steps")
