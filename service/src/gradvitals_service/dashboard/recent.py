"""Remember what was told in the last seconds, for a page that began to read before it began to listen.

Pure; times are seconds of a monotonic clock. What is kept is bounded: frames count by their rows.
"""

from collections import deque
from typing import Any

SECONDS_KEPT = 10.0
MOST_ROWS = 50_000

Message = dict[str, Any]


class Recent:
    """Messages in order, the oldest given up first."""

    def __init__(self, began: float, seconds_kept: float = SECONDS_KEPT, most_rows: int = MOST_ROWS) -> None:
        self._complete_since = began
        self._seconds_kept = seconds_kept
        self._most_rows = most_rows
        self._messages: deque[tuple[float, int, Message]] = deque()
        self._rows = 0

    def keep(self, message: Message, now: float) -> None:
        """Add the newest one."""
        rows = len(message["columns"]["step"]) if "columns" in message else 1
        self._messages.append((now, rows, message))
        self._rows += rows
        while self._messages and (self._rows > self._most_rows or self._messages[0][0] < now - self._seconds_kept):
            self._complete_since, gone, _ = self._messages.popleft()
            self._rows -= gone

    def since(self, moment: float) -> list[Message] | None:
        """What came after a moment; None when not all of that is known any more."""
        if moment <= self._complete_since:
            return None
        return [message for at, _, message in self._messages if at >= moment]
