"""The JSON of frames, for curl and other languages, and the answer to every kind of frames.

People write these by hand, so a key that is not known here is refused: it is a misspelt one.
"""

from typing import Annotated

import msgspec
from pydantic import BaseModel

from gradvitals_service.runs.schemas import Count, MonitorName, Name, NonFiniteWord, ShortText, Timestamp

MOST_FRAMES = 4096
MOST_SCALARS = 64

Number = float | NonFiniteWord


class FrameIn(msgspec.Struct, forbid_unknown_fields=True):
    """One frame; only ``step`` and ``global_norm`` are needed."""

    step: Count
    global_norm: Number
    loss: Number | None = None
    clip_coefficient: Number | None = None
    max_norm: Number | None = None
    lr: Number | None = None
    time: Timestamp | None = None
    batch_id: ShortText | None = None
    layer_norms: dict[Name, Number] = {}
    scalars: Annotated[dict[Name, Number], msgspec.Meta(max_length=MOST_SCALARS)] = {}


class FramesIn(msgspec.Struct, forbid_unknown_fields=True):
    """Frames of one stream; without ``first`` they are appended."""

    frames: Annotated[list[FrameIn], msgspec.Meta(min_length=1, max_length=MOST_FRAMES)]
    project: Name = "default"
    name: Name | None = None
    monitor: MonitorName = "main"
    first: Count | None = None


class FramesTaken(BaseModel):
    """Committed to disk: the stream's count, and the count of changes of the run's events."""

    next: int
    event_revision: int
