"""Hand what was just committed from the writer threads to the open live streams.

Writer threads call ``publish``, which never waits for a reader. Each subscriber reads its own bounded queue on its
event loop; one that falls behind loses the oldest messages and is told so (``resync``), so that its page can read
everything again. ``close`` ends every subscription, at once and for good: a server that stops must not wait for pages.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from gradvitals_service.dashboard.changes import Changes
from gradvitals_service.dashboard.recent import Message, Recent

MOST_MESSAGES = 1024

Others = Literal["figures", "events", "none"]
_TOLD_OF_OTHERS: dict[Others, tuple[str, ...]] = {"figures": ("summary", "event"), "events": ("event",), "none": ()}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader hears: all of ``runs``, and of the ``others`` figures and events, events alone, or nothing."""

    runs: frozenset[str] = frozenset()
    others: Others = "figures"

    def admits(self, message: Message) -> bool:
        """Whether it is told of this."""
        if message["run_id"] in self.runs:
            return True
        return message["type"] in _TOLD_OF_OTHERS[self.others]


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Batch:
    """What gathered since the last look, in order; ``resync`` when something before it was lost."""

    messages: list[Message]
    resync: bool


class Subscription:
    """One reader's queue. ``_lock`` guards what the writers fill; the wake-ups belong to the reader's event loop."""

    def __init__(self, wanted: Wanted, limit: int) -> None:
        self._wanted = wanted
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque()
        self._resync = False
        self._signalled = False  # one wake-up in the loop's queue is enough, however much is published
        self._hurried = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing will come any more."""
        return self._closed

    def offer(self, message: Message) -> None:
        """Take one message from a writer thread if this reader wants it; never waits for the reader."""
        if not self._wanted.admits(message):
            return
        hurry = message["type"] == "event"
        with self._lock:
            if len(self._messages) >= self._limit:
                self._messages.popleft()
                self._resync = True
            self._messages.append(message)
            wake, self._signalled = not self._signalled, True
            hurry, self._hurried = hurry and not self._hurried, self._hurried or hurry
        if wake:
            self._signal(self._wake)
        if hurry:
            self._signal(self._hurry)

    def begin_with(self, messages: Collection[Message] | None) -> None:
        """What was told before this reader came; None when that is not known any more."""
        if messages is None:
            self._resync = True
            self._signal(self._wake)
            return
        for message in messages:
            self.offer(message)

    def close(self) -> None:
        """End the subscription; takes no lock, since a signal handler may call it while the reader holds ours."""
        self._closed = True
        self._signal(self._wake)
        self._signal(self._hurry)

    async def take(self, timeout_seconds: float | None) -> Batch:
        """Wait until something is there, the time is over or the hub closes; the batch may be empty."""
        if not self._closed:
            await _wait(self._wake, timeout_seconds)
        with self._lock:
            self._wake.clear()
            self._hurry.clear()
            self._signalled = self._hurried = False
            batch = Batch(list(self._messages), self._resync)
            self._messages.clear()
            self._resync = False
        return batch

    async def rest(self, seconds: float) -> None:
        """Let more gather before the next ``take``; an event ends the rest."""
        if not self._closed:
            await _wait(self._hurry, seconds)

    def _signal(self, event: asyncio.Event) -> None:
        try:
            self._loop.call_soon_threadsafe(event.set)
        except RuntimeError:  # the loop is closed: nobody reads this any more
            self._closed = True


class Hub:
    """All open subscriptions of this process, and what was told last."""

    def __init__(self) -> None:
        self.changes = Changes()  # the runs whose summaries are to be told; whoever reads them publishes those
        self._lock = threading.Lock()  # one order for all readers: a message's number grows
        self._subscriptions: tuple[Subscription, ...] = ()  # replaced, never changed: close reads it without a lock
        self._recent = Recent(time.monotonic())
        self._number = 0
        self._closed = False

    def publish(self, message: Message) -> None:
        """Tell every subscriber that wants it; safe from any thread, and does nothing after ``close``."""
        with self._lock:
            self._number = max(self._number + 1, time.time_ns() // 1000)  # goes on growing after a restart
            message["number"] = self._number
            if message["type"] != "summary":  # read again where it is asked for again
                self._recent.keep(message, time.monotonic())
            if message["type"] != "run":
                for subscription in self._subscriptions:
                    subscription.offer(message)
        if message["type"] == "run" and self._subscriptions:
            self.changes.note([message["run_id"]])

    @contextmanager
    def subscribe(
        self, wanted: Wanted = EVERYTHING, since_seconds: float = 0.0, limit: int = MOST_MESSAGES
    ) -> Iterator[Subscription]:
        """Listen on the running event loop, from now on or, where that is still known, from some seconds ago."""
        subscription = Subscription(wanted, limit)
        changed: list[str] = []
        with self._lock:
            if since_seconds > 0:
                told = self._recent.since(time.monotonic() - since_seconds)
                subscription.begin_with(told and [message for message in told if message["type"] != "run"])
                changed = [message["run_id"] for message in told or [] if message["type"] == "run"]
            self._subscriptions = (*self._subscriptions, subscription)
        self.changes.note(changed)
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


async def _wait(event: asyncio.Event, timeout_seconds: float | None) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
