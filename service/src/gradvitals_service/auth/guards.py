"""What every request passes before any route sees it: the right host, a bounded body; and what every answer carries.

Pure ASGI, so that a stream of events passes through unbuffered.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradvitals_service.errors import MisdirectedHostError, OverloadedError, TooLargeError, answer_for
from gradvitals_service.settings import LOOPBACK_NAMES, Settings

MEBIBYTE = 2**20
BODY_LIMIT = 8 * MEBIBYTE
LAYOUT_LIMIT = 32 * MEBIBYTE
MOST_IN_FLIGHT = 512 * MEBIBYTE

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class SecurityHeaders:
    """Put the headers that keep a browser strict on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap the sending side."""

        async def send_strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_strict if scope["type"] == "http" else send)


class HostGuard:
    """Answer only for names that are ours: a foreign name that resolves to this machine is DNS rebinding."""

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 421 what names another host."""
        if scope["type"] != "http" or host_name(Request(scope).headers.get("host", "")) in self._allowed:
            return await self._app(scope, receive, send)
        refusal = MisdirectedHostError(
            "the Host header names a host that this service does not answer for; "
            "add it to GRADVITALS_SERVICE_ALLOWED_HOSTS if it is yours"
        )
        return await answer_for(refusal)(scope, receive, send)


class BodyLimit:
    """Refuse a body over its limit: at once if its length is declared, else as soon as too much has come.

    What all requests together hold is bounded too. The event loop owns the count.
    """

    def __init__(self, app: ASGIApp, most_in_flight: int = MOST_IN_FLIGHT) -> None:
        self._app = app
        self._most_in_flight = most_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count while the body is read; an answer that has begun cannot be replaced, so reading comes first."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        limit = LAYOUT_LIMIT if "/layouts/" in scope["path"] else BODY_LIMIT
        refusal = TooLargeError(f"the body is over its limit of {limit // MEBIBYTE} MiB")
        declared = Request(scope).headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limit:
            return await answer_for(refusal)(scope, receive, send)
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            arrived = len(message.get("body", b""))
            received += arrived
            self._in_flight += arrived
            if received > limit:
                raise refusal
            if self._in_flight > self._most_in_flight:
                raise OverloadedError("more is being sent at once than fits; try again")
            return message

        try:
            await self._app(scope, receive_bounded, send)
        finally:
            self._in_flight -= received


def host_name(header: str) -> str:
    """The name in a Host header, without its port and an IPv6 address's brackets."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def allowed_hosts(settings: Settings) -> set[str]:
    """Loopback names, where we listen, and what the operator added."""
    names = {*LOOPBACK_NAMES, settings.host, *settings.allowed_hosts}
    if settings.public_url:
        names.add(urlsplit(settings.public_url).hostname or "")
    return names - {"", "0.0.0.0", "::"}  # noqa: S104  # these are where to listen, never what to be called
