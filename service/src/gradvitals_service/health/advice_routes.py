"""Advise on the clip threshold of a run."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from gradvitals_service.auth.scopes import require_read
from gradvitals_service.health.advice_schemas import AdviceRead
from gradvitals_service.health.advising import read_advice
from gradvitals_service.series.asking import LineDep, reading
from gradvitals_service.wirejson import WireJSONResponse

router = APIRouter(prefix="/api/v1/runs/{run_id}", tags=["advice"], dependencies=[Depends(require_read)])

MOST_THRESHOLDS = 100
Threshold = Annotated[float, Query(gt=0, allow_inf_nan=False)]


@router.get("/advice", response_model=AdviceRead)
def read_run_advice(
    request: Request,
    of: LineDep,
    max_norm: Annotated[
        list[Threshold] | None, Query(max_length=MOST_THRESHOLDS, description="a threshold to judge; repeatable")
    ] = None,
) -> Response:
    """Which clip threshold suits a run, why, and what other ones would have clipped."""
    with reading(request, of) as (session, line):
        return WireJSONResponse(read_advice(session, line, max_norm or ()))
