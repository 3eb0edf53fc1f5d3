"""The JSON of events and their evidence, as docs/wire.md writes it."""

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from gradvitals_service.health.detectors import Kind, Sensitivity
from gradvitals_service.health.models import Event
from gradvitals_service.wirejson import WireNumber


class CheckpointPlace(BaseModel):
    """Where a checkpoint lies, and the step that a resume from it begins with."""

    path: str
    step: int


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
    peak_step: int | None
    shares: list[float] | None = Field(
        description="of each of `layers`: its module's share of the squared norm, at the peak where there is one"
    )
    first_layer: str | None = Field(description="the layer that left its usual first, or was not finite first")
    last_healthy_step: int | None
    weights_finite: bool | None = Field(description="null: not measured since a gradient may have spoiled them")
    batch_id: str | None = Field(description="what the client called the batch of the first bad step")
    resume_from: CheckpointPlace | None = Field(
        description="the newest checkpoint that was clean when it opened, and holds no suspect step"
    )
    cause: str | None = Field(description="a guess")
    action: str | None = Field(description="what to do about it, if the guess is right")


class AcknowledgementRead(BaseModel):
    """Who has taken note of an event, when, and what they wrote."""

    at: datetime
    by: str
    note: str = Field(description="may be empty")


class EventForPeople(EventRead):
    """An event with what a person said to it, which is no business of a training job."""

    acknowledgement: AcknowledgementRead | None


class NamedEvent(EventForPeople):
    """An event among those of other runs."""

    run_name: str

    @classmethod
    def of(cls, event: Event, run_name: str) -> Self:
        """The event as it is now, with its run's name."""
        return cls.model_validate(EventForPeople.model_validate(event).model_dump() | {"run_name": run_name})


class EventList(BaseModel):
    """Events, newest first."""

    events: list[EventForPeople]


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


class EvidenceColumns(BaseModel):
    """What was measured at each of the frames, in their order; null where nothing was logged."""

    step: list[int]
    time: list[float]
    global_norm: list[WireNumber]
    clip_coefficient: list[WireNumber]
    max_norm: list[WireNumber]
    lr: list[WireNumber]
    loss: list[WireNumber | None]
    loss_scale: list[WireNumber]
    flags: list[int]
    batch_id: list[str | None]


class EvidenceLayer(BaseModel):
    """One of the layers that matter; a frame of another layout has NaN."""

    name: str
    norms: list[WireNumber]


class EvidenceRead(BaseModel):
    """The frames around the opening of an event: at most 200 before it, and 50 from it on."""

    event_id: UUID
    run_id: UUID
    attempt_id: UUID
    monitor: str
    complete: bool = Field(description="false: frames after the opening are still to come")
    start_row: int = Field(description="the row of the frame that raised the alarm")
    last_healthy_step: int | None
    clean_checkpoint: CheckpointPlace | None
    clip_rate_before: float | None = Field(description="share of the frames before the alarm that were clipped")
    clip_rate_after: float | None = Field(description="the same from the alarm on")
    columns: EvidenceColumns
    scalars: dict[str, list[WireNumber | None]]
    layers: list[EvidenceLayer]
