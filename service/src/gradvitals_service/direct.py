"""Call an endpoint directly: check its guards, read the run's id and what is asked, nothing else.

FastAPI finds out anew for each request what is the same for all of them, which took as long as storing a small chunk,
or a twentieth of a chart. The route is declared as every other, so that its scope and description are where all are.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, get_type_hints
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gradvitals_service.errors import MalformedError


class DirectRoute(APIRoute):
    """A route whose dependencies are guards of a request, and whose endpoint takes ``run_id`` and ``request``.

    It may take ``asked``, too: a model of the query, in which nothing is repeatable. What is not async is called in a
    thread, as FastAPI does it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What stands behind the path, in place of FastAPI's own."""
        guards = [needed.call for needed in self.dependant.dependencies]
        called = self.endpoint
        endpoint = called if iscoroutinefunction(called) else partial(run_in_threadpool, called)
        query = get_type_hints(called).get("asked")

        async def handle(request: Request) -> Response:
            for guard in guards:
                assert guard is not None  # a dependency is always of something
                await guard(request)
            asked = [] if query is None else [_asked(query, request)]
            response: Response = await endpoint(_run_id(request.path_params["run_id"]), request, *asked)
            return response

        return handle


def _run_id(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise MalformedError("path.run_id: not a UUID") from None


def _asked(query: type[BaseModel], request: Request) -> BaseModel:
    try:
        return query.model_validate(dict(request.query_params))
    except ValidationError as error:
        problems = [problem | {"loc": ("query", *problem["loc"])} for problem in error.errors()]
        raise RequestValidationError(problems) from None
