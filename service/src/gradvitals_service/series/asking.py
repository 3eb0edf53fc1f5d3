"""What a request to read measurements may ask for, as the query of its URL says it, and whose they are."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from gradvitals_service.database import begin_snapshot
from gradvitals_service.errors import MalformedError
from gradvitals_service.series.heatmap import Statistic
from gradvitals_service.series.metrics import STANDARD_METRICS
from gradvitals_service.series.queries import Line, choose_monitor
from gradvitals_service.series.reading import StepRange

MOST_METRICS = 32
_NAME, _ESCAPED = re.compile(r"(?:\\[\\,]|[^,])+"), re.compile(r"\\([\\,])")
Step = Annotated[int | None, Field(ge=0, le=2**63 - 1)]


class LineQuery(BaseModel):
    """Whose frames: one of the run's monitors, or None for the usual one, and a rank."""

    monitor: str | None = Field(None, max_length=128, description="by default `main`, or the first by name")
    rank: int = Field(0, ge=0, le=2**31 - 1)


class _Range(BaseModel):
    from_step: Step = None
    to_step: Step = None

    def steps(self) -> StepRange:
        """The steps asked for; both ends are included."""
        if self.from_step is not None and self.to_step is not None and self.to_step < self.from_step:
            raise MalformedError(f"query.to_step: {self.to_step} lies before from_step {self.from_step}")
        return self.from_step, self.to_step


class _Points(BaseModel):
    points: int = Field(1000, ge=1, le=10_000, description="at most this many buckets")


class SeriesQuery(_Points, _Range, LineQuery):
    """Some metrics over steps."""

    metrics: str = Field(
        ",".join(STANDARD_METRICS),
        max_length=16_384,
        description="comma-separated: columns, `time`, `clip_rate`, names of logged scalars, in which a comma is `\\,`",
    )

    def names(self) -> list[str]:
        """The metrics asked for, each once."""
        return _names_in(self.metrics, least=1)


class HeatmapQuery(_Points, _Range, LineQuery):
    """The layers over steps."""

    statistic: Statistic = "max"


class LayerSeriesQuery(_Points, _Range, LineQuery):
    """One layer over steps."""

    layer: str = Field(max_length=512, description="the layer's name")


class ExportQuery(_Range, LineQuery):
    """Exact frames."""

    layer: list[str] | None = Field(None, description="a layer's name; repeatable")
    metrics: str | None = Field(None, max_length=16_384, description="as of `series`; may be empty")

    def names(self) -> Sequence[str]:
        """The standard metrics, unless others are named, or none."""
        return STANDARD_METRICS if self.metrics is None else _names_in(self.metrics, least=0)


@contextmanager
def reading(request: Request, run_id: UUID, asked: LineQuery) -> Iterator[tuple[Session, Line]]:
    """One state of the database, and whose frames they are in it; 404 where there is no such run or monitor."""
    with begin_snapshot(request.app.state.session_factory) as session:
        yield session, Line(run_id, choose_monitor(session, run_id, asked.monitor), asked.rank)


def _names_in(metrics: str, least: int) -> list[str]:
    names = list(dict.fromkeys(_ESCAPED.sub(r"\1", name) for name in _NAME.findall(metrics)))
    if not least <= len(names) <= MOST_METRICS:
        raise MalformedError(f"query.metrics: {len(names)} names, and {least} to {MOST_METRICS} can be asked for")
    return names
