"""The JSON of the overview and of the live stream."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from gradvitals_service.health.schemas import NamedEvent
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
    viewer: str = Field(description="who asks; as `owner` it chooses the caller's own runs")
    totals: HealthTotals = Field(description="of the runs asked for, in whatever state and health")
    runs: list[RunSummary]
    next_cursor: str | None = Field(description="give it back as `cursor` for the next page")
    events: list[NamedEvent] = Field(description="the newest 20")


class Choice(BaseModel):
    """One word that a filter can ask for."""

    value: str = Field(description='"" for runs that have none')
    runs: int


class FacetsRead(BaseModel):
    """What each filter can ask for, the most frequent first, at most 200 each.

    The runs counted are those that the other filters leave: another choice would show so many.
    """

    viewer: str
    project: list[Choice]
    owner: list[Choice]
    group: list[Choice]
    tag: list[Choice]
    state: list[Choice]
    health: list[Choice]


class GroupRead(BaseModel):
    """The runs that share a project, a tag, a group or an owner."""

    value: str = Field(description='"" for runs that have none')
    runs: int
    totals: HealthTotals
    last_seen_at: datetime


class GroupsRead(BaseModel):
    """Groups of the runs asked for: those that need a person first, then those heard of last."""

    now: datetime
    by: Literal["project", "tag", "group", "owner"]
    groups: list[GroupRead] = Field(description="at most 200")
    left_out: int = Field(description="how many more groups there are")


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
    event: NamedEvent
    frames: LiveFrames
    resync: dict[str, None] = Field(description="empty: something was missed, read everything again")
