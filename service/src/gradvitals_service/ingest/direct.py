"""Call an ingest endpoint directly: check its guards, read the run's id, nothing else.

FastAPI finds out anew for each request what is the same for all of them, which took as long as storing a small chunk.
The route is declared as every other, so that its scope and its description are where all are.
"""

from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from gradvitals_service.errors import MalformedError


class DirectRoute(APIRoute):
    """A route whose endpoint takes ``run_id`` and ``request``, and whose dependencies are guards of a request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What stands behind the path, in place of FastAPI's own."""
        guards = [needed.call for needed in self.dependant.dependencies]
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            for guard in guards:
                assert guard is not None  # a dependency is always of something
                await guard(request)
            response: Response = await endpoint(_run_id(request.path_params["run_id"]), request)
            return response

        return handle


def _run_id(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise MalformedError("path.run_id: not a UUID") from None
