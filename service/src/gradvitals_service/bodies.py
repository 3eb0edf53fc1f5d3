"""Read a request's body into a declared type, or refuse it naming the field.

The guards have bounded its size before. Types are checked strictly (a bool is no int, "5" is no number), NaN and 1e999
are no JSON, and nesting deep enough to exhaust the stack is refused like anything else that is malformed.
"""

from typing import Any, TypeVar

import msgspec
from fastapi import Request
from starlette.concurrency import run_in_threadpool

from gradvitals_service.errors import MalformedError, UnsupportedError

T = TypeVar("T")

MOST_DEPTH = 32
MOST_BYTES_AT_ONCE = 64 * 1024  # more than that would hold up every other request on the event loop


def require_content_type(request: Request, expected: str, **extra: Any) -> None:
    """Refuse another content type: a browser's cross-site form must not be taken for a client."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != expected:
        raise UnsupportedError(f"Content-Type: {expected} is needed here, and this is {given or 'absent'!r}", **extra)


async def read_json(request: Request, kind: type[T]) -> T:
    """Read a JSON body."""
    require_content_type(request, "application/json")
    body = await request.body()
    if len(body) > MOST_BYTES_AT_ONCE:
        return await run_in_threadpool(decode_json, body, kind)
    return decode_json(body, kind)


def decode_json(body: bytes, kind: type[T]) -> T:
    """Decode a JSON body."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedError(field_and_reason(error)) from error
    except RecursionError:
        raise MalformedError("the body is nested too deeply") from None


def field_and_reason(error: Exception) -> str:
    """Turn msgspec's "reason - at `$.field`" into "field: reason"."""
    reason, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    return f"{field}: {reason}" if field else f"the body: {reason}"


def check_storable(field: str, value: Any, depth: int = 0) -> None:
    """Refuse in free-form JSON what no database stores: NUL characters, and nesting without an end."""
    if depth > MOST_DEPTH:
        raise MalformedError(f"{field}: nested deeper than {MOST_DEPTH} levels")
    if isinstance(value, str):
        if "\0" in value:
            raise MalformedError(f"{field}: a text holds the character NUL")
    elif isinstance(value, list):
        for item in value:
            check_storable(field, item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            check_storable(field, name, depth + 1)
            check_storable(field, item, depth + 1)
