"""Draw a run for a message: one picture at a time, since drawing takes the processor from those who send."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.responses import Response

from gradvitals_service.alerts.picture import find_subject, read_glance
from gradvitals_service.auth.scopes import require_read
from gradvitals_service.errors import OverloadedError
from gradvitals_service.series.asking import LineQuery, reading

router = APIRouter(prefix="/api/v1/runs/{run_id}", tags=["alerts"], dependencies=[Depends(require_read)])

CONTENT_TYPE = "image/png"
KEPT_SECONDS = 5
LEAST_POINTS = 100


class PictureQuery(LineQuery):
    """How many of the newest steps are drawn, how large, and on which background."""

    last: int = Field(500, ge=2, le=1_000_000, description="how many of the newest steps")
    width: int = Field(1000, ge=320, le=2000, description="pixels")
    height: int = Field(500, ge=240, le=1200, description="pixels")
    theme: Literal["light", "dark"] = "light"


@router.get("/chart.png", response_class=Response, responses={200: {"content": {CONTENT_TYPE: {}}}})
def read_picture(run_id: UUID, request: Request, asked: Annotated[PictureQuery, Query()]) -> Response:
    """The newest steps as a picture: norm and loss, what was noticed, and in words what happened."""
    with reading(request, run_id, asked) as (session, line):
        subject = find_subject(session, line)
        headers = {"ETag": f'W/"{subject.version}"', "Cache-Control": f"private, max-age={KEPT_SECONDS}"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        glance = read_glance(session, subject, asked.last, max(asked.width // 2, LEAST_POINTS))
    if not request.app.state.drawing.acquire(blocking=False):
        raise OverloadedError("another picture is being drawn; try again when that is done")
    try:
        from gradvitals_service.alerts.drawing import draw  # it takes a while to load and memory to keep

        picture = draw(glance, asked.width, asked.height, asked.theme)
    finally:
        request.app.state.drawing.release()
    return Response(picture, media_type=CONTENT_TYPE, headers=headers)
