"""Hand what was just committed from the writer threads to the open live streams.

Writer threads call ``publish``, which never waits for a reader. Each subscriber reads its own bounded queue on its
event loop; one that falls behind loses the oldest messages and is told so (``resync``), so that its page can read
everything again. ``close`` ends every subscription, at once and for good: a server that stops must not wait for pages.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

MOST_MESSAGES = 1024
MOST_CHANGED_RUNS = 10_000

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """What gathered since the last look: ``events`` and ``frames`` in order, the runs whose figures changed."""

    messages: list[Message]
    changed_runs: list[str]
    resync: bool


class Subscription:
    """One reader's queue. ``_lock`` guards what the writers fill; the wake-up belongs to the reader's event loop."""

    def __init__(self, frames_of: Collection[str], limit: int) -> None:
        self._frames_of = frozenset(frames_of)
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque()
        self._changed_runs: dict[str, None] = {}  # an ordered set
        self._resync = False
        self._signalled = False  # one wake-up in the loop's queue is enough, however much is published
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing will come any more."""
        return self._closed

    def offer(self, message: Message) -> None:
        """Take one message from a writer thread if this reader wants it; never waits for the reader."""
        kind, run_id = message["type"], str(message["run_id"])
        if kind == "frames" and run_id not in self._frames_of:
            return
        with self._lock:
            if kind == "run":
                self._note_run(run_id)
            else:
                if len(self._messages) >= self._limit:
                    self._messages.popleft()
                    self._resync = True
                self._messages.append(message)
            signalled, self._signalled = self._signalled, True
        if not signalled:
            self._signal()

    def close(self) -> None:
        """End the subscription; takes no lock, since a signal handler may call it while the reader holds ours."""
        self._closed = True
        self._signal()

    async def take(self, timeout_seconds: float | None) -> Batch:
        """Wait until something is there, the time is over or the hub closes; the batch may be empty."""
        if not self._closed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout_seconds)
        with self._lock:
            self._wake.clear()
            self._signalled = False
            batch = Batch(list(self._messages), list(self._changed_runs), self._resync)
            self._messages.clear()
            self._changed_runs.clear()
            self._resync = False
        return batch

    def _note_run(self, run_id: str) -> None:
        """A run that changed twice is read once."""
        if run_id in self._changed_runs:
            return
        if len(self._changed_runs) >= MOST_CHANGED_RUNS:
            self._resync = True
            return
        self._changed_runs[run_id] = None

    def _signal(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:  # the loop is closed: nobody reads this any more
            self._closed = True


class Hub:
    """All open subscriptions of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: tuple[Subscription, ...] = ()  # replaced, never changed: publish reads it without a lock
        self._closed = False

    def publish(self, message: Message) -> None:
        """Tell every subscriber that wants it; safe from any thread, and does nothing after ``close``."""
        for subscription in self._subscriptions:
            subscription.offer(message)

    @contextmanager
    def subscribe(self, frames_of: Collection[str] = (), limit: int = MOST_MESSAGES) -> Iterator[Subscription]:
        """Listen on the running event loop: all events and changed runs, and the frames of the runs named."""
        subscription = Subscription(frames_of, limit)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        if self._closed:  # looked at after joining, so that a close at this moment cannot miss us
            subscription.close()
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions = tuple(other for other in self._subscriptions if other is not subscription)

    def close(self) -> None:
        """End every subscription, and each one that comes later; safe from any thread and from a signal handler."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()

    def __len__(self) -> int:
        """How many subscribers there are."""
        return len(self._subscriptions)
