"""What the service says when it says no: one tree, one handler, one shape.

Every refusal is ``{"error": kind, "detail": sentence}`` with its status code; the sentence names the field and the
reason. Bad input is always 4xx: a 5xx means that we are at fault (500) or that trying again later helps (503).
"""

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gradvitals_service.database import database_reason
from gradvitals_service.wirejson import WireJSONResponse

log = structlog.get_logger()


class ErrorRead(BaseModel):
    """Every refusal; some say more, as ``next`` of an out-of-order chunk."""

    model_config = ConfigDict(extra="allow")

    error: str = Field(description="the kind, for programs")
    detail: str = Field(description="a sentence that names the field and the reason")


class ServiceError(Exception):
    """Base class; ``extra`` joins the body and ``headers`` the answer."""

    status_code = 500
    kind = "internal"
    headers: dict[str, str] | None = None

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class UnauthorizedError(ServiceError):
    """No token, or not one of ours."""

    status_code = 401
    kind = "unauthorized"
    headers = {"WWW-Authenticate": "Bearer"}  # noqa: RUF012  # read only


class ForbiddenError(ServiceError):
    """Known, but not for this: a token of another scope, or a foreign origin."""

    status_code = 403
    kind = "forbidden"


class NotFoundError(ServiceError):
    """There is no such thing, or not for this caller. From an ingest route it means: declare again, then send."""

    status_code = 404
    kind = "not_found"


class ConflictError(ServiceError):
    """The request contradicts what is stored."""

    status_code = 409
    kind = "conflict"


class OutOfOrderError(ConflictError):
    """A chunk begins beyond what has arrived; the body says ``next``, from where to send again."""

    kind = "out_of_order"

    def __init__(self, detail: str, *, next_frame: int) -> None:
        super().__init__(detail, next=next_frame)


class TooLargeError(ServiceError):
    """The body is over its limit."""

    status_code = 413
    kind = "too_large"


class MisdirectedHostError(ServiceError):
    """The Host header names a host that this service does not answer for."""

    status_code = 421
    kind = "unknown_host"


class UnsupportedError(ServiceError):
    """A content type or wire version that is not spoken here."""

    status_code = 415
    kind = "unsupported"


class MalformedError(ServiceError):
    """The body can be read but not accepted."""

    status_code = 422
    kind = "malformed"


class DamagedError(ServiceError):
    """What was stored cannot be read back: neither the request is at fault, nor does trying again help."""

    status_code = 500
    kind = "damaged"


class OverloadedError(ServiceError):
    """Not now: the queue is full, the database is away, or we are stopping. Sending it again later is right."""

    status_code = 503
    kind = "overloaded"
    headers = {"Retry-After": "1"}  # noqa: RUF012  # read only


def answer_for(error: ServiceError) -> Response:
    """Write one refusal; also used by the guards, which stand outside of FastAPI's handlers."""
    body = {"error": error.kind, "detail": error.detail, **error.extra}
    return WireJSONResponse(body, status_code=error.status_code, headers=error.headers)


def add_error_handlers(app: FastAPI) -> None:
    """Give every way to fail the one shape."""
    app.add_exception_handler(ServiceError, _answer_service_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    for passing in (OperationalError, InterfaceError, PoolTimeoutError):
        app.add_exception_handler(passing, _answer_database_error)
    app.add_exception_handler(Exception, _answer_fault)


def _answer_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)  # registered for nothing else
    return answer_for(error)


def _answer_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return answer_for(MalformedError(describe_validation(error.errors())))


def describe_validation(problems: Any) -> str:
    """Name the field and the reason of each problem that pydantic found, three at most."""
    sentences = [f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}" for found in problems]
    return "; ".join(sentences[:3])


def _answer_http_exception(request: Request, error: Exception) -> Response:
    """What the router itself refuses: unknown paths, wrong methods."""
    assert isinstance(error, HTTPException)
    kinds = {404: "not_found", 405: "method_not_allowed"}
    body = {"error": kinds.get(error.status_code, "refused"), "detail": str(error.detail)}
    return WireJSONResponse(body, status_code=error.status_code, headers=dict(error.headers or {}))


def _answer_database_error(request: Request, error: Exception) -> Response:
    """The database is away, full or busy: nothing was stored, and the same request may succeed later."""
    log.error("database_error", path=request.url.path, reason=database_reason(error))
    return answer_for(OverloadedError("the database could not complete this; nothing was stored, try again"))


def _answer_fault(request: Request, error: Exception) -> Response:
    """Starlette logs the traceback itself after this answer is sent."""
    return answer_for(ServiceError("the service failed on this request; its log has the reason"))
