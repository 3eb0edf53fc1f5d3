"""Show measurements: series for charts, the layers of the newest frame and over time, and every frame as it was.

What needs no database is asynchronous, and what does is in one piece: a hop to another thread costs as much as a
statement does.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from gradvitals_service.auth.scopes import require_read
from gradvitals_service.errors import MalformedError
from gradvitals_service.series.asking import LineDep, reading
from gradvitals_service.series.export import CONTENT_TYPE, Wanted, check_layers, export
from gradvitals_service.series.heatmap import Statistic, read_heatmap
from gradvitals_service.series.layers import read_layers
from gradvitals_service.series.metrics import STANDARD_METRICS
from gradvitals_service.series.reading import StepRange, read_series
from gradvitals_service.series.schemas import HeatmapRead, LayersRead, SeriesRead
from gradvitals_service.wirejson import WireJSONResponse

router = APIRouter(prefix="/api/v1/runs/{run_id}", tags=["series"], dependencies=[Depends(require_read)])

MOST_METRICS = 32
Step = Annotated[int | None, Query(ge=0, le=2**63 - 1)]


async def parse_metrics(
    metrics: Annotated[
        str, Query(max_length=16_384, description="comma-separated: columns, `clip_rate`, names of logged scalars")
    ] = ",".join(STANDARD_METRICS),
) -> list[str]:
    """The metrics asked for, each once."""
    return _names_in(metrics, least=1)


def _names_in(metrics: str, least: int) -> list[str]:
    names = list(dict.fromkeys(name for name in metrics.split(",") if name))
    if not least <= len(names) <= MOST_METRICS:
        raise MalformedError(f"query.metrics: {len(names)} names, and {least} to {MOST_METRICS} can be asked for")
    return names


async def parse_range(from_step: Step = None, to_step: Step = None) -> StepRange:
    """The steps asked for; both ends are included."""
    if from_step is not None and to_step is not None and to_step < from_step:
        raise MalformedError(f"query.to_step: {to_step} lies before from_step {from_step}")
    return from_step, to_step


RangeDep = Annotated[StepRange, Depends(parse_range)]
Points = Annotated[int, Query(ge=1, le=10_000, description="at most this many buckets")]


@router.get("/series", response_model=SeriesRead)
def read_run_series(
    request: Request,
    of: LineDep,
    metrics: Annotated[list[str], Depends(parse_metrics)],
    asked: RangeDep,
    points: Points = 1000,
) -> Response:
    """Metrics over steps, in buckets that keep every spike. Both ends of the range are included."""
    with reading(request, of) as (session, line):
        return WireJSONResponse(read_series(session, line, metrics, points, asked))


@router.get("/layers", response_model=LayersRead)
def read_run_layers(request: Request, of: LineDep) -> Response:
    """The layers of the newest frame."""
    with reading(request, of) as (session, line):
        return WireJSONResponse(read_layers(session, line))


@router.get("/layers/heatmap", response_model=HeatmapRead)
def read_run_heatmap(
    request: Request, of: LineDep, asked: RangeDep, points: Points = 1000, statistic: Statistic = "max"
) -> Response:
    """The norm of every layer over steps, in buckets that keep every spike."""
    with reading(request, of) as (session, line):
        return WireJSONResponse(read_heatmap(session, line, statistic, points, asked))


@router.get("/export", response_class=StreamingResponse, responses={200: {"content": {CONTENT_TYPE: {}}}})
def export_run(
    request: Request,
    of: LineDep,
    asked: RangeDep,
    layer: Annotated[list[str] | None, Query(description="a layer's name; repeatable")] = None,
    metrics: Annotated[str | None, Query(max_length=16_384, description="as of `series`; may be empty")] = None,
) -> StreamingResponse:
    """Every frame as it was measured, in the pieces of docs/wire.md. The standard metrics, unless others are named."""
    names = list(STANDARD_METRICS) if metrics is None else _names_in(metrics, least=0)
    with reading(request, of) as (session, line):
        wanted = Wanted(line, names, list(dict.fromkeys(layer or ())), asked)
        check_layers(session, wanted)
    return StreamingResponse(export(request.app.state.session_factory, wanted), media_type=CONTENT_TYPE)
