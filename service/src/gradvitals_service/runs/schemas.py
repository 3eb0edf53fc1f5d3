"""The JSON of runs: what clients declare, and what a reader is told.

Declarations are strict about types and bounds; a key that is not known here comes from a newer client and is ignored.
Answers have no defaults: every field is always there.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from gradvitals_service.health.schemas import CheckpointPlace, EventRead
from gradvitals_service.wirejson import WireNumber

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
MOST_LAYERS = 65_536

# No NUL: PostgreSQL cannot store it, and no name needs it.
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=r"^[^\x00]*\Z")]
ShortText = Annotated[str, msgspec.Meta(max_length=512, pattern=r"^[^\x00]*\Z")]
MonitorName = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00]*\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Small = Annotated[int, msgspec.Meta(ge=0, le=INT32_MAX)]
# From 1970 to the year 9999, which is what a datetime holds.
Timestamp = Annotated[float, msgspec.Meta(ge=0, lt=253_402_300_800)]
NonFiniteWord = Literal["NaN", "Infinity", "-Infinity"]
State = Literal["running", "paused", "finished", "failed"]
FINAL_STATES = ("finished", "failed")


class RunDeclaration(msgspec.Struct):
    """What a client says about its run."""

    project: Name
    name: Name
    owner: ShortText | None = None
    group: ShortText | None = None
    tags: Annotated[list[ShortText], msgspec.Meta(max_length=256)] = []
    config: dict[str, Any] = {}
    links: dict[str, Any] = {}
    versions: dict[str, Any] = {}


class MonitorDeclaration(msgspec.Struct):
    """How far one monitor is, and how it clips."""

    made: Count = 0
    spooled: Count = 0
    lost: Count = 0
    optimizer: ShortText | None = None
    max_norm: float | NonFiniteWord | None = None
    clip_value: float | NonFiniteWord | None = None
    norm_type: float | NonFiniteWord = 2.0


class AttemptDeclaration(msgspec.Struct):
    """The declaration of an attempt, and each of its heartbeats."""

    rank: Small
    world_size: Annotated[int, msgspec.Meta(ge=1, le=INT32_MAX)]
    launch: UUID
    host: ShortText
    pid: Small
    started_at: Timestamp
    state: State
    resumed_from_step: Count | None = None
    live: bool = True
    last_step: Count | None = None
    overhead: Annotated[float, msgspec.Meta(ge=0)] | None = None
    exception: ShortText | None = None
    interactive: bool = False
    events_seen: Annotated[int, msgspec.Meta(ge=0, le=INT32_MAX)] = 0
    monitors: Annotated[dict[MonitorName, MonitorDeclaration], msgspec.Meta(max_length=256)] = {}


class LayerDeclaration(msgspec.Struct):
    """One watched parameter tensor."""

    name: Name
    module: ShortText
    shape: Annotated[list[Count], msgspec.Meta(max_length=64)]
    numel: Count
    dtype: ShortText
    parameter_group: Small
    trainable: bool


class LayoutDeclaration(msgspec.Struct):
    """A monitor's ordered layers."""

    layers: Annotated[list[LayerDeclaration], msgspec.Meta(max_length=MOST_LAYERS)]


class RunDeclared(BaseModel):
    """The answer to a declared run."""

    run_id: UUID
    wire_versions: list[int]


class LayoutDeclared(BaseModel):
    """The answer to a declared layout."""

    layout_id: str


class HeartbeatAnswer(BaseModel):
    """The answer to a heartbeat: what holds, and the events that the client has not seen yet."""

    state: str
    event_revision: int
    events: list[EventRead]
    commands: list[str]


class SparklineRead(BaseModel):
    """A run's global norm in at most 60 buckets; ``min`` and ``max`` over finite values."""

    step: list[int]
    min: list[float | None]
    max: list[float | None]
    non_finite: list[int]


class EventMark(BaseModel):
    """An event as far as a small picture of its run shows it."""

    model_config = ConfigDict(from_attributes=True)

    event_id: UUID
    kind: str
    severity: Literal["info", "warning", "critical"]
    status: Literal["open", "resolved"]
    start_step: int
    end_step: int | None
    opened_at: datetime


class RunLive(BaseModel):
    """One run's newest figures, as open pages are told them."""

    run_id: UUID
    project: str
    name: str
    owner: str | None
    group: str | None
    tags: list[str]
    state: Literal["running", "paused", "finished", "failed", "unreachable", "hung"] = Field(
        description="unreachable: no heartbeat for 30 s; hung: a heartbeat and no step for longer than 15 min and than "
        "three times the longest wait for a step that came after all, or for 60 min since its newest attempt began"
    )
    health: Literal["healthy", "warning", "critical", "not_measurable", "unknown"]
    created_at: datetime
    last_seen_at: datetime
    last_step: int | None
    step_rate: float | None = Field(
        description="steps a second over the newest minute of frames, by the frames' own times; null while it does not "
        "step: when it is not running, or its newest step came longer ago than a minute and than three usual steps take"
    )
    waiting_since: datetime | None = Field(
        description="for its next step: when the newest one arrived, or when its attempt or a pause before it ended"
    )
    global_norm: WireNumber | None
    loss: WireNumber | None
    clip_rate: float | None
    max_norm: WireNumber | None
    open_events: list[EventRead]
    recent_events: list[EventMark] = Field(description="its newest 8, open or not, newest first")


class RunSummary(RunLive):
    """One run as the overview shows it."""

    sparkline: SparklineRead


class MonitorRead(BaseModel):
    """How far one monitor of an attempt is, and how it clips, as its client said last."""

    made: int
    spooled: int
    lost: int
    optimizer: str | None
    max_norm: WireNumber | None
    clip_value: WireNumber | None
    norm_type: WireNumber


class AttemptRead(BaseModel):
    """One lifetime of one process of a run."""

    attempt_id: UUID
    rank: int
    world_size: int
    launch: UUID = Field(description="attempts that were started together share it")
    host: str
    pid: int
    started_at: datetime
    resumed_from_step: int | None
    live: bool = Field(description="false: sent late, so that nobody was paged")
    state: str
    last_step: int | None
    heartbeat_at: datetime
    overhead: float | None
    exception: str | None
    stored: int = Field(description="frames that are on the service's disk")
    lost: int = Field(description="frames that will never come")
    monitors: dict[str, MonitorRead]


class ResumeRead(BaseModel):
    """Which checkpoint to resume from."""

    newest_clean: CheckpointPlace | None
    not_clean: int = Field(description="how many newer ones are not clean; all of them where none is clean")


class RunRead(RunSummary):
    """Everything about one run but its frames."""

    config: dict[str, Any]
    links: dict[str, Any]
    versions: dict[str, Any]
    attempts: list[AttemptRead]
    monitors: list[str]
    frames: int
    lost: int
    event_revision: int
    resume_from: ResumeRead | None = Field(description="null: the run has told of no checkpoint")
