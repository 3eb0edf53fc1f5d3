"""Who may do what. Every route declares one of three scopes, and a test fails on one that does not.

``require_ingest`` is for clients that send, ``require_read`` for whoever looks, ``public`` for what needs no secret.
Neither token implies the other: a training job's token cannot read what other jobs sent. They wait for nothing, and are
async so that FastAPI calls them where it is instead of in a thread.
"""

import hmac

from fastapi import Request

from gradvitals_service.auth.sessions import Sessions
from gradvitals_service.auth.tokens import Tokens
from gradvitals_service.errors import ForbiddenError, UnauthorizedError


async def require_ingest(request: Request) -> None:
    """Let pass who holds the ingest token."""
    tokens: Tokens = request.app.state.tokens
    given = _bearer(request)
    if given is None:
        raise UnauthorizedError("this needs the ingest token, as the header Authorization: Bearer <token>")
    if not same_secret(given, tokens.ingest):
        raise UnauthorizedError("this token may not send; use the service's ingest token")


async def require_read(request: Request) -> None:
    """Let pass who holds the read token, or the page's cookie."""
    if may_read(request):
        return
    tokens: Tokens = request.app.state.tokens
    given = _bearer(request)
    if given is None:
        raise UnauthorizedError("log in first: open the link that `gradvitals-service link` prints")
    if same_secret(given, tokens.ingest):
        raise ForbiddenError("an ingest token may send and not read")
    raise UnauthorizedError("this token may not read; log in again with `gradvitals-service link`")


def may_read(request: Request) -> bool:
    """Whether ``require_read`` would let this request pass."""
    tokens: Tokens = request.app.state.tokens
    sessions: Sessions = request.app.state.sessions
    given = _bearer(request)
    if given is not None:
        return same_secret(given, tokens.read)
    return sessions.admits(request.cookies.get(sessions.cookie_name, ""))


async def public() -> None:
    """Declare that a route tells nothing about anybody's runs."""


SCOPES = (require_ingest, require_read, public)


def same_secret(given: str, expected: str) -> bool:
    """Compare in a time that tells nothing about where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


def _bearer(request: Request) -> str | None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" and given.strip() else None
