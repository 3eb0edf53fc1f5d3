"""How a browser gets its cookie: one-time codes in links, as notebooks do it.

Codes live in memory, so a restart ends them; `gradvitals-service link` makes a new one at any time.
"""

import secrets
import threading
import time
from collections.abc import Callable

CODE_LIFETIME_SECONDS = 24 * 3600.0
MOST_CODES = 100


class LoginCodes:
    """Codes that each open the page once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._expiry: dict[str, float] = {}  # in the order of making

    def make(self) -> str:
        """A new code; the oldest is given up when too many wait."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            while len(self._expiry) >= MOST_CODES:
                del self._expiry[next(iter(self._expiry))]
            self._expiry[code] = self._clock() + CODE_LIFETIME_SECONDS
        return code

    def use(self, code: str) -> bool:
        """Whether the code is good; afterwards it is not."""
        with self._lock:
            return self._expiry.pop(code, float("-inf")) > self._clock()
