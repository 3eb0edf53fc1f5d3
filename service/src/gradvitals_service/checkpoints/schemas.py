"""The JSON of checkpoints: what a client declares, and what it and readers are told."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from pydantic import BaseModel, Field

from gradvitals_service.health.schemas import CheckpointPlace
from gradvitals_service.runs.schemas import Count, MonitorName, Timestamp

MOST_A_REQUEST = 1000

CheckpointPath = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern=r"^[^\x00]*\Z")]


class CheckpointSaved(msgspec.Struct):
    """A checkpoint that contains the steps below ``step``, and of each monitor those below its own number."""

    path: CheckpointPath
    step: Count
    saved_at: Timestamp
    steps: Annotated[dict[MonitorName, Count], msgspec.Meta(max_length=256)] = {}
    clean: bool | None = None


class CheckpointsDeclaration(msgspec.Struct):
    """What became of an attempt's checkpoints; both lists may be empty."""

    attempt_id: UUID
    saved: Annotated[list[CheckpointSaved], msgspec.Meta(max_length=MOST_A_REQUEST)] = []
    deleted: Annotated[list[CheckpointPath], msgspec.Meta(max_length=MOST_A_REQUEST)] = []


class CheckpointsTaken(BaseModel):
    """The answer to declared checkpoints: the one that must not be deleted."""

    newest_clean: CheckpointPlace | None


class CheckpointRead(BaseModel):
    """One checkpoint, as it is judged now."""

    path: str
    step: int
    steps: dict[str, int]
    attempt_id: UUID
    saved_at: datetime
    reported_clean: bool | None = Field(description="what the client had seen; null: nothing yet")
    clean: bool = Field(description="whether a resume from it is free of what broke")


class CheckpointList(BaseModel):
    """Checkpoints, the newest first."""

    checkpoints: list[CheckpointRead]
