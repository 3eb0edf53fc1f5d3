"""The JSON of series and layers."""

from uuid import UUID

from pydantic import BaseModel, Field

from gradvitals_service.wirejson import WireNumber


class MetricRead(BaseModel):
    """One metric, a value a bucket: over finite values, null where a bucket has none."""

    min: list[float | None]
    max: list[float | None]
    mean: list[float | None]
    non_finite: list[int] = Field(description="how many values were NaN or infinite")


class GapRead(BaseModel):
    """Frames that will never come; the steps are null where the client did not know them."""

    first_step: int | None
    last_step: int | None
    n: int
    reason: str = Field(description="what the client said; `damaged`: the disk has spoiled it; `retention`: too old")


class AttemptStart(BaseModel):
    """From which step on an attempt is shown."""

    attempt_id: UUID
    first_step: int
    last_step: int = Field(description="of its newest frame, which a newer attempt may have replaced")


class SeriesRead(BaseModel):
    """Metrics over the steps asked for; where attempts overlap, the newest is shown."""

    run_id: UUID
    monitor: str
    rank: int
    frames: int = Field(description="frames in the range")
    bucket: int = Field(description="about how many frames a bucket holds; 1 = every frame")
    step: list[int] = Field(description="the first step of each bucket")
    series: dict[str, MetricRead]
    gaps: list[GapRead]
    attempts: list[AttemptStart]
    last_step: int | None = Field(description="newest step of the run, in the range or not")


class ScalarsRead(BaseModel):
    """Which scalars were logged, besides what every frame has."""

    names: list[str] = Field(description="as `metrics` of `series` takes them, by name; at most 512")
    count: int = Field(description="how many there are, told or not")


class LayerRead(BaseModel):
    """One layer at the newest frame."""

    name: str
    module: str
    shape: list[int]
    numel: int
    parameter_group: int
    trainable: bool
    norm: WireNumber
    share: float | None = Field(description="of the squared global norm, in [0, 1]")
    param_norm: float | None = Field(description="norm of the weights when it was last measured")


class LayersRead(BaseModel):
    """The newest frame's layers in their declared order; ``step`` is null before the first frame."""

    step: int | None
    layers: list[LayerRead]


class HeatmapRead(BaseModel):
    """The layers of the newest layout over steps; where attempts overlap, the newest is shown."""

    run_id: UUID
    monitor: str
    rank: int
    frames: int = Field(description="frames in the range")
    bucket: int = Field(description="about how many frames a bucket holds; 1 = every frame")
    step: list[int] = Field(description="the first step of each bucket")
    layers: list[str] = Field(description="the names of the rows, in their declared order")
    statistic: str = Field(description="of the finite norms of a bucket: max, mean or min")
    values: list[list[float | None]] = Field(description="[layer][bucket], to four digits; null without a finite norm")
    non_finite: list[tuple[int, int, int]] = Field(description="[layer, bucket, count] of norms that were not finite")
    gaps: list[GapRead]
