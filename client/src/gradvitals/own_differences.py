"""Of the frames of a rank other than 0, keep the few around what happened on this rank alone.

Rank 0 tells what all ranks share: every norm is the same on each. What only this rank can tell is that its own loss, or
the part of a gradient that it holds, was not finite; when all of them go bad, that says where it began. The training
thread adds frames; whether they differ is found out on the sender's thread, where reading a loss may wait for a device.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradvitals.frames import Frame
from gradvitals.logged import LoggedValues
from gradvitals.pending import CHUNK_SECONDS, NO_LIMITS, Counts, FrameStore, Parcel

AROUND = 8  # frames before and after a difference
CALM = 200  # frames without one, before another is told
MOST_DIFFERENCES = 20  # of one monitor
MOST_UNREAD = 1024


@dataclass(slots=True)
class _Unread:
    monitor: str
    frame: Frame
    logged: LoggedValues | None
    added: float


@dataclass(slots=True)
class _Stream:
    """One monitor's newest frames, and how far it is from its last difference."""

    before: deque[Frame] = field(default_factory=lambda: deque(maxlen=AROUND))
    since: int = CALM  # frames since the last difference
    to_tell: int = 0  # frames that still belong to it
    told: int = 0

    def pass_on(self, frame: Frame) -> list[Frame]:
        """The frames to send now that this one has come."""
        differs = (frame.loss is not None and not math.isfinite(frame.loss)) or bool(frame.non_finite)
        news = differs and self.since >= CALM and self.told < MOST_DIFFERENCES
        self.since = 0 if differs else self.since + 1
        if news:
            self.told, self.to_tell = self.told + 1, 1 + AROUND
        if not self.to_tell:
            self.before.append(frame)
            return []
        self.to_tell -= 1
        frames = [*self.before, frame]
        self.before.clear()
        return frames


class OwnDifferences(FrameStore):
    """Stands before another store, and hands on to it what is to be sent."""

    def __init__(
        self,
        store: FrameStore,
        *,
        on_unreadable: Callable[[str, Exception], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._on_unreadable = on_unreadable
        self._clock = clock
        self._wake: Callable[[], None] = lambda: None
        self._unread: deque[_Unread] = deque(maxlen=MOST_UNREAD)  # of more, the oldest are not looked at
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.RLock()  # reentrant, as that of PendingFrames is and for the same reason

    def start(self, wake: Callable[[], None], describe: Callable[[], Mapping[str, Any]]) -> None:
        """Begin. ``wake`` is called where the sender should look, a moment later."""
        self._wake = wake

    def add(self, monitor: str, frame: Frame, logged: LoggedValues | None) -> None:
        """Take one frame; never waits."""
        with self._lock:
            self._unread.append(_Unread(monitor, frame, logged, self._clock()))
            is_first = len(self._unread) == 1
        if is_first:
            self._wake()

    def amend(self, monitor: str, step: int, logged: LoggedValues) -> bool:
        """Add logged values to a frame that was not looked at yet."""
        with self._lock:
            for entry in reversed(self._unread):
                if entry.monitor == monitor and entry.frame.step == step:
                    if entry.logged is None:
                        entry.logged = LoggedValues()
                    entry.logged.merge(logged)
                    return True
        return self._store.amend(monitor, step, logged)

    def take(self, flush: bool, most: Mapping[str, int] = NO_LIMITS) -> Parcel | None:
        """Look at what has come, and give the oldest chunk that is due."""
        while (entry := self._next_unread(flush)) is not None:
            if entry.logged is not None:
                entry.logged.read_into(entry.frame, self._on_unreadable)
            for frame in self._streams.setdefault(entry.monitor, _Stream()).pass_on(entry.frame):
                self._store.add(entry.monitor, frame, None)
        return self._store.take(flush, most)

    def due_in(self) -> float | None:
        """Seconds until there is something to look at or to send."""
        with self._lock:
            waits = [self._unread[0].added + CHUNK_SECONDS - self._clock()] if self._unread else []
        stored = self._store.due_in()
        waits += [] if stored is None else [stored]
        return max(min(waits), 0.0) if waits else None

    def acknowledge(self, chunk: Parcel, next: int) -> None:
        """The service holds ``next`` frames of the chunk's stream."""
        self._store.acknowledge(chunk, next)

    def rewind(self, monitor: str, next: int) -> bool:
        """The service holds only ``next`` frames; False when that changes nothing."""
        return self._store.rewind(monitor, next)

    def give_up(self, chunk: Parcel, reason: str) -> None:
        """Count a chunk's frames as lost."""
        self._store.give_up(chunk, reason)

    def counts(self) -> Mapping[str, Counts]:
        """How far each monitor's stream has come: only what is sent is part of it."""
        return self._store.counts()

    def _next_unread(self, flush: bool) -> _Unread | None:
        """The oldest frame that was not looked at, once nobody adds to it any more."""
        with self._lock:
            if self._unread and (flush or self._clock() - self._unread[0].added >= CHUNK_SECONDS):
                return self._unread.popleft()
            return None
