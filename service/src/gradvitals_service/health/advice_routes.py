"""Advise on the clip threshold of a run."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.responses import Response

from gradvitals_service.auth.scopes import require_read
from gradvitals_service.health.advice_schemas import AdviceRead
from gradvitals_service.health.advising import read_advice
from gradvitals_service.series.asking import LineQuery, reading
from gradvitals_service.wirejson import WireJSONResponse

router = APIRouter(prefix="/api/v1/runs/{run_id}", tags=["advice"], dependencies=[Depends(require_read)])

MOST_THRESHOLDS = 100


class AdviceQuery(LineQuery):
    """Thresholds to judge."""

    max_norm: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = Field(
        None, max_length=MOST_THRESHOLDS, description="a threshold to judge; repeatable"
    )


@router.get("/advice", response_model=AdviceRead)
def read_run_advice(run_id: UUID, request: Request, asked: Annotated[AdviceQuery, Query()]) -> Response:
    """Which clip threshold suits a run, why, and what other ones would have clipped."""
    with reading(request, run_id, asked) as (session, line):
        return WireJSONResponse(read_advice(session, line, asked.max_norm or ()))
