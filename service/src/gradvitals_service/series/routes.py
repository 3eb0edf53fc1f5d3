"""Show measurements: series for charts, the layers of the newest frame and over time, and every frame as it was.

What needs the database is in one piece: a hop to another thread costs as much as a statement does.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from gradvitals_service.auth.scopes import require_read
from gradvitals_service.direct import DirectRoute
from gradvitals_service.series.asking import ExportQuery, HeatmapQuery, LineQuery, SeriesQuery, reading
from gradvitals_service.series.export import CONTENT_TYPE, Wanted, check_layers, export
from gradvitals_service.series.heatmap import read_heatmap
from gradvitals_service.series.layers import read_layers
from gradvitals_service.series.reading import read_series
from gradvitals_service.series.scalars import read_scalars
from gradvitals_service.series.schemas import HeatmapRead, LayersRead, ScalarsRead, SeriesRead
from gradvitals_service.wirejson import WireJSONResponse

OF_A_RUN = "/api/v1/runs/{run_id}"
charts = APIRouter(prefix=OF_A_RUN, tags=["series"], dependencies=[Depends(require_read)], route_class=DirectRoute)
router = APIRouter(prefix=OF_A_RUN, tags=["series"], dependencies=[Depends(require_read)])


@charts.get("/series", response_model=SeriesRead)
def read_run_series(run_id: UUID, request: Request, asked: Annotated[SeriesQuery, Query()]) -> Response:
    """Metrics over steps, in buckets that keep every spike. Both ends of the range are included."""
    metrics, steps = asked.names(), asked.steps()
    with reading(request, run_id, asked) as (session, line):
        return WireJSONResponse(read_series(session, line, metrics, asked.points, steps))


@charts.get("/scalars", response_model=ScalarsRead)
def read_run_scalars(run_id: UUID, request: Request, asked: Annotated[LineQuery, Query()]) -> Response:
    """The names of the scalars that were logged."""
    with reading(request, run_id, asked) as (session, line):
        return WireJSONResponse(read_scalars(session, line))


@charts.get("/layers", response_model=LayersRead)
def read_run_layers(run_id: UUID, request: Request, asked: Annotated[LineQuery, Query()]) -> Response:
    """The layers of the newest frame."""
    with reading(request, run_id, asked) as (session, line):
        return WireJSONResponse(read_layers(session, line))


@charts.get("/layers/heatmap", response_model=HeatmapRead)
def read_run_heatmap(run_id: UUID, request: Request, asked: Annotated[HeatmapQuery, Query()]) -> Response:
    """The norm of every layer over steps, in buckets that keep every spike."""
    steps = asked.steps()
    with reading(request, run_id, asked) as (session, line):
        return WireJSONResponse(read_heatmap(session, line, asked.statistic, asked.points, steps))


@router.get("/export", response_class=StreamingResponse, responses={200: {"content": {CONTENT_TYPE: {}}}})
def export_run(run_id: UUID, request: Request, asked: Annotated[ExportQuery, Query()]) -> StreamingResponse:
    """Every frame as it was measured, in the pieces of docs/wire.md. The standard metrics, unless others are named."""
    metrics, steps = asked.names(), asked.steps()
    with reading(request, run_id, asked) as (session, line):
        wanted = Wanted(line, metrics, list(dict.fromkeys(asked.layer or ())), steps)
        check_layers(session, wanted)
    return StreamingResponse(export(request.app.state.session_factory, wanted), media_type=CONTENT_TYPE)
