"""The JSON of the inbox: events of many runs with whose they are, and what a person says to one."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, Field

from gradvitals_service.health.schemas import NamedEvent

MOST_NOTE = 1000

EventKind = Literal["explosion", "vanishing", "non_finite", "clip_saturation", "instability", "two_processes"]
Severity = Literal["critical", "warning", "info"]
Status = Literal["open", "resolved"]


class AcknowledgementChoice(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody writes who takes note of an event."""

    note: Annotated[str, msgspec.Meta(max_length=MOST_NOTE, pattern=r"^[^\x00]*\Z")] = ""


class InboxEvent(NamedEvent):
    """An event with whose run it is."""

    project: str
    owner: str | None


class EventTotals(BaseModel):
    """How many events there are of one status; ``unacknowledged`` of which nobody has taken note."""

    critical: int
    warning: int
    info: int
    unacknowledged: int


class InboxTotals(BaseModel):
    """How many events there are."""

    open: EventTotals
    resolved: EventTotals
    needs_somebody: int = Field(description="open critical ones of which nobody has taken note")


class InboxRead(BaseModel):
    """One page of events: open ones first, then the newest."""

    now: datetime = Field(description="the service's clock")
    totals: InboxTotals = Field(
        description="of all events of the project, run, kind and text asked for, whatever their status and severity"
    )
    events: list[InboxEvent]
    next_cursor: str | None = Field(description="give it back as `cursor` for the next page")
