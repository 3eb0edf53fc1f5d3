"""What time it is for a request that judges runs: one moment for the whole answer."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request

from gradvitals_service.runs.standing import Moment, moment


def read_clock(request: Request) -> Moment:
    """The present moment of the running service."""
    return moment(datetime.now(UTC), request.app.state.started_at)


MomentDep = Annotated[Moment, Depends(read_clock)]
