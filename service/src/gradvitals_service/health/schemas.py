"""The JSON of events, as docs/wire.md writes it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

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
