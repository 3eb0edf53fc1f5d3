"""The JSON of advice on clip thresholds."""

from uuid import UUID

from pydantic import BaseModel, Field


class NewestRead(BaseModel):
    """The newest frames, with medians; null where nothing is known."""

    frames: int = Field(description="how many, at most 1,024")
    global_norm: float | None
    max_norm: float | None = Field(description="the threshold in force; null where norm clipping is off")
    clip_rate: float | None
    lr: float | None
    effective_lr: float | None = Field(description="of learning rate times clip coefficient")


class ThresholdRead(BaseModel):
    """What one threshold would have clipped; the counts are exact for a number of up to three significant digits."""

    max_norm: float
    clipped: int = Field(description="of all frames; at least so many, where the threshold has more digits")
    clipped_at_most: int
    clip_rate: float | None = Field(description="`clipped` over `frames`")
    healthy_clipped: int
    healthy_clipped_at_most: int
    healthy_clip_rate: float | None = Field(description="`healthy_clipped` over `healthy_frames`")
    mean_clip_coefficient: float = Field(description="over all frames, to half a percent")


class HistogramRead(BaseModel):
    """Frames by norm, in buckets that end at numbers of three significant digits; empty ones are left out."""

    above: list[float]
    up_to: list[float | None] = Field(description="null: without an end")
    frames: list[int]
    healthy: list[int] = Field(description="of these, outside of explosions and non-finite gradients")


class AdviceRead(BaseModel):
    """Which threshold suits a run; where attempts overlap, the newest counts."""

    run_id: UUID
    monitor: str
    rank: int
    suggested_max_norm: float | None = Field(description="null where the norms do not carry one")
    reason: str
    frames: int = Field(description="frames with a finite norm that was measured before any clipping")
    healthy_frames: int
    non_finite: int
    already_clipped: int = Field(description="frames that were clipped before they were measured")
    damaged: int = Field(description="frames that the disk has spoiled")
    newest: NewestRead
    thresholds: list[ThresholdRead] = Field(description="those asked for, the present and the suggested one, ascending")
    histogram: HistogramRead
