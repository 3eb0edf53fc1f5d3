"""What the page's cookie holds: the right to read for 30 days, derived from the read token and not the token itself.

A browser sends a cookie to every port of its host, so also to what another user of a shared machine serves there. Who
catches it so could read with it until it expires, but has no token: it makes no login link, opens no other program's
door, and a new read token ends it. The name differs from service to service, so that two on one host can both be open.
"""

import hmac
import time
from collections.abc import Callable

LIFETIME_SECONDS = 30 * 24 * 3600


class Sessions:
    """Makes and judges the cookies of the service with this read token; keeps nothing, so a restart ends none."""

    def __init__(self, read_token: str, clock: Callable[[], float] = time.time) -> None:
        self._key = read_token.encode()
        self._clock = clock
        self.cookie_name = f"gradvitals_session_{self._sign('name')[:8]}"

    def make(self) -> str:
        """The content of a new cookie."""
        until = str(int(self._clock()) + LIFETIME_SECONDS)
        return f"{until}.{self._sign(until)}"

    def admits(self, cookie: str) -> bool:
        """Whether this is one of ours and still good."""
        until, _, signature = cookie.partition(".")
        ours = hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), self._sign(until).encode())
        return ours and int(until) > self._clock()

    def _sign(self, text: str) -> str:
        return hmac.digest(self._key, f"gradvitals session {text}".encode("utf-8", "surrogateescape"), "sha256").hex()
