"""The JSON of the overview and of the live stream."""

from datetime import datetime

from pydantic import BaseModel, Field

from gradvitals_service.health.schemas import EventRead
from gradvitals_service.runs.schemas import RunLive, RunSummary
from gradvitals_service.wirejson import WireNumber


class HealthTotals(BaseModel):
    """How many runs there are, by health."""

    healthy: int
    warning: int
    critical: int
    not_measurable: int
    unknown: int


class DashboardRead(BaseModel):
    """One page of runs, the urgent ones first, and the newest events."""

    now: datetime = Field(description="the service's clock")
    totals: HealthTotals = Field(description="of all runs of the project and text asked for, whatever their state")
    runs: list[RunSummary]
    next_cursor: str | None = Field(description="give it back as `cursor` for the next page")
    events: list[EventRead] = Field(description="the newest 50")


class LiveFrames(BaseModel):
    """Frames that were just committed; columns of equal length."""

    run_id: str
    monitor: str
    rank: int
    step: list[int]
    time: list[float] = Field(description="seconds since 1970, by the client's clock")
    global_norm: list[WireNumber]
    loss: list[WireNumber | None] = Field(description="null where none was logged")
    clip_coefficient: list[WireNumber]
    max_norm: list[WireNumber]
    lr: list[WireNumber]


class LiveRead(BaseModel):
    """The data of server-sent events, by the event's name."""

    run: RunLive
    event: EventRead
    frames: LiveFrames
    resync: dict[str, None] = Field(description="empty: something was missed, read everything again")
