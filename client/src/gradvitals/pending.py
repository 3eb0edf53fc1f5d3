"""Hold frames in memory until the service has them, within a bound.

The training thread adds frames to an inbox, which takes no lock and less than a microsecond; whoever holds the lock
next counts them and sorts them into their streams. The sender's thread takes, acknowledges and gives up. The lock is
held for a few list operations at most, never while a value is read, encoded or sent. What does not fit is given up from
the oldest on, in counted ranges that the service stores as gaps: a gap is acceptable, a slow step is not.

``FrameStore`` is what the sender asks of a store; a spool on disk can stand behind this one.
"""

from __future__ import annotations

import bisect
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gradvitals.frames import FLAG_NON_FINITE, Chunk, Frame, Layout, LostRange
from gradvitals.giving_way import give_way
from gradvitals.logged import LoggedValues

CHUNK_SECONDS = 0.25
CHUNK_FRAMES = 256
CHUNK_BYTES = 1 << 20
STORE_FRAMES = 10_000
STORE_BYTES = 16 << 20
NO_LIMITS: Mapping[str, int] = {}
INBOX_FRAMES = 256  # at which the training thread sorts them itself: the sender may hang
AT_ONCE = 32  # frames that are sorted or let go of before others may go on


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a stream has come: ``made = acknowledged or waiting or lost``."""

    made: int
    waiting: int  # held here, not yet acknowledged
    lost: int  # given up


class Parcel(Protocol):
    """What goes in one request: some ranges that were lost, then consecutive frames."""

    @property
    def monitor(self) -> str: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def first(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def lost(self) -> Sequence[LostRange]: ...
    def encode(self) -> bytes | bytearray: ...


class FrameStore(Protocol):
    """Where frames wait for the service. A store in memory has nothing to do when it ends."""

    @property
    def place(self) -> str | None:
        """Where frames are kept when this process ends; None: nowhere."""
        return None

    def start(self, wake: Callable[[], None], describe: Callable[[], Mapping[str, Any]]) -> None:
        """Begin. ``wake`` has the sender look; ``describe`` says how the attempt is."""
        return

    def begin_close(self) -> None:
        """No frame follows."""
        return

    def settle(self, delivered: bool) -> None:
        """The sender has ended; what was ``delivered`` entirely need not be kept."""
        return

    def close(self, timeout_seconds: float) -> None:
        """Wait until what is to be kept is."""
        return

    @property
    def add(self) -> Callable[[str, Frame, LoggedValues | None], None]:
        """Take one frame of a monitor, with what was logged for it; never waits."""

    def amend(self, monitor: str, step: int, logged: LoggedValues) -> bool:
        """Add values to a monitor's frame of ``step``; False when it is not held any more or was already taken."""

    def take(self, flush: bool, most: Mapping[str, int]) -> Parcel | None:
        """The oldest chunk that is due, or any when flushing. It stays held until it is acknowledged or given up.

        ``most`` limits the frames of the monitors that are named in it.
        """

    def due_in(self) -> float | None:
        """Seconds until the next chunk is due; None when nothing waits."""

    def acknowledge(self, chunk: Parcel, next: int) -> None:
        """The service holds ``next`` frames of the chunk's stream."""

    def rewind(self, monitor: str, next: int) -> bool:
        """The service holds only ``next`` frames; False when that changes nothing."""

    def give_up(self, chunk: Parcel, reason: str) -> None:
        """Count a chunk's frames as lost."""

    def counts(self) -> Mapping[str, Counts]:
        """How far each monitor's stream has come."""


@dataclass(slots=True)
class _Entry:
    frame: Frame
    logged: LoggedValues | None
    added: float
    nbytes: int


@dataclass(slots=True)
class _Stream:
    """One monitor's frames: ``acknowledged``, then ``lost``, then ``entries`` from index ``first`` on."""

    monitor: str
    layout: Layout
    acknowledged: int = 0
    lost: list[LostRange] = field(default_factory=list)  # not yet acknowledged; they lie between acknowledged and first
    lost_for_good: int = 0  # acknowledged as lost
    first: int = 0
    entries: deque[_Entry] = field(default_factory=deque)
    taken: int = 0  # frames below this index were in a chunk, so that their values are no longer added to
    urgent: bool = False
    nbytes: int = 0

    @property
    def made(self) -> int:
        return self.first + len(self.entries)

    @property
    def begin(self) -> int:
        """Where what is sent next begins: at ``acknowledged``, unless a fault of ours came between the two."""
        return self.lost[0].first if self.lost else self.first

    def push(self, entry: _Entry) -> None:
        self.entries.append(entry)
        self.layout = entry.frame.layout
        self.nbytes += entry.nbytes
        self.urgent = self.urgent or bool(entry.frame.flags & FLAG_NON_FINITE)

    def pop(self) -> _Entry:
        entry = self.entries.popleft()
        self.first += 1
        self.nbytes -= entry.nbytes
        return entry

    def lose_oldest(self, reason: str) -> _Entry:
        entry = self.pop()
        step = entry.frame.step
        last = self.lost[-1] if self.lost else None
        if last is not None and last.reason == reason:
            self.lost[-1] = LostRange(last.first, last.n + 1, reason, last.first_step, step)
        else:
            self.lost.append(LostRange(self.first - 1, 1, reason, step, step))
        return entry

    def is_due(self, now: float) -> bool:
        if not self.entries:
            return bool(self.lost)
        return (
            self.urgent
            or len(self.entries) > CHUNK_FRAMES
            or (len(self.entries) > 1 and self.nbytes > CHUNK_BYTES)
            or now - self.entries[0].added >= CHUNK_SECONDS
        )

    def ready(self, now: float, flush: bool, most: int) -> list[_Entry]:
        """The entries of the next chunk. The newest is held back for a moment: values may still be logged for it."""
        count = len(self.entries)
        if count and not (flush or self.urgent) and now - self.entries[-1].added < CHUNK_SECONDS:
            count -= 1
        ready: list[_Entry] = []
        nbytes = 0
        for entry in itertools.islice(self.entries, min(count, most)):
            nbytes += entry.nbytes
            if ready and (nbytes > CHUNK_BYTES or entry.frame.layout is not ready[0].frame.layout):
                break
            ready.append(entry)
        return ready


class PendingFrames(FrameStore):
    """The store in memory: at most ``max_frames`` frames or ``max_bytes`` bytes over all streams of one attempt."""

    def __init__(
        self,
        attempt_id: str,
        *,
        on_unreadable: Callable[[str, Exception], None],
        count: Callable[[Frame], None] = lambda frame: None,
        max_frames: int = STORE_FRAMES,
        max_bytes: int = STORE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempt_id = attempt_id
        self._on_unreadable = on_unreadable
        self._count = count  # called once with each frame, some time after it was added
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._clock = clock
        self._streams: dict[str, _Stream] = {}
        self._frames = 0
        self._bytes = 0
        self._inbox: deque[tuple[str, Frame, LoggedValues | None, float]] = deque()
        self._wake: Callable[[], None] = lambda: None
        self._asleep = True  # the sender was told that nothing waits
        # Reentrant, because a signal handler may log or finish while its own thread is inside ``add``.
        self._lock = threading.RLock()

    def start(self, wake: Callable[[], None], describe: Callable[[], Mapping[str, Any]]) -> None:
        """Begin. ``wake`` is called where the sender should look at once, which it does not by itself."""
        self._wake = wake

    def add(self, monitor: str, frame: Frame, logged: LoggedValues | None) -> None:
        """Take one frame; never waits."""
        self._inbox.append((monitor, frame, logged, self._clock()))
        if len(self._inbox) >= INBOX_FRAMES:
            with self._lock:
                self._sort()
        if self._asleep or frame.flags & FLAG_NON_FINITE:
            self._asleep = False
            self._wake()

    def _empty_inbox(self) -> None:
        """Sort what is in the inbox, in pieces. Without the lock, which the training thread may need meanwhile."""
        while self._inbox:
            with self._lock:
                self._sort(AT_ONCE)
            give_way()

    def _sort(self, most: int | None = None) -> None:
        """Put what is in the inbox into its streams, and give up what does not fit. With the lock held."""
        inbox = self._inbox
        for _ in range(len(inbox) if most is None else min(most, len(inbox))):
            monitor, frame, logged, added = inbox.popleft()
            entry = _Entry(frame, logged, added, frame.nbytes + (64 * len(logged) if logged else 0))
            stream = self._streams.get(monitor)
            if stream is None:
                stream = self._streams[monitor] = _Stream(monitor, frame.layout)
            stream.push(entry)
            self._count(frame)
            self._frames += 1
            self._bytes += entry.nbytes
            while self._frames > 1 and (self._frames > self._max_frames or self._bytes > self._max_bytes):
                oldest = min((s for s in self._streams.values() if s.entries), key=lambda s: s.entries[0].added)
                self._forget(oldest.lose_oldest("queue_full"))

    def amend(self, monitor: str, step: int, logged: LoggedValues) -> bool:
        """Add values to a monitor's frame of ``step``; False when it is not held any more or was already taken."""
        with self._lock:
            self._sort()
            stream = self._streams.get(monitor)
            if stream is None:
                return False
            untaken = max(stream.taken - stream.first, 0)
            index = bisect.bisect_left(stream.entries, step, lo=untaken, key=lambda entry: entry.frame.step)
            if index == len(stream.entries) or (entry := stream.entries[index]).frame.step != step:
                return False
            if entry.logged is None:
                entry.logged = LoggedValues()
            entry.logged.merge(logged)
            return True

    def take(self, flush: bool, most: Mapping[str, int] = NO_LIMITS) -> Chunk | None:
        """The oldest chunk that is due, or any when flushing. It stays held until it is acknowledged or given up."""
        now = self._clock()
        self._empty_inbox()
        with self._lock:
            # The longest waiting first, so that one busy monitor cannot starve another.
            for stream in sorted(self._streams.values(), key=lambda s: s.entries[0].added if s.entries else now):
                if not (flush or stream.is_due(now)):
                    continue
                entries = stream.ready(now, flush, min(CHUNK_FRAMES, most.get(stream.monitor, CHUNK_FRAMES)))
                if not entries and not stream.lost:
                    continue
                stream.taken = max(stream.taken, stream.first + len(entries))
                stream.urgent = stream.urgent and stream.taken < stream.made
                lost, first = tuple(stream.lost), stream.first
                break
            else:
                return None
        for entry in entries:  # outside the lock: reading may wait for a device
            if entry.logged is not None:
                entry.logged.read_into(entry.frame, self._on_unreadable)
                entry.logged = None
                give_way()
        layout = entries[0].frame.layout if entries else stream.layout
        return Chunk(self._attempt_id, stream.monitor, layout, first, [entry.frame for entry in entries], lost)

    def due_in(self) -> float | None:
        """Seconds until the next chunk is due; None when nothing waits, and then ``add`` says when something does."""
        now = self._clock()
        self._asleep = True  # before the inbox is looked at, so that what comes later says so
        self._empty_inbox()
        with self._lock:
            waits = [
                0.0 if stream.is_due(now) else CHUNK_SECONDS - (now - stream.entries[0].added)
                for stream in self._streams.values()
                if stream.entries or stream.lost
            ]
        self._asleep = not waits
        return max(min(waits), 0.0) if waits else None

    def acknowledge(self, chunk: Parcel, next: int) -> None:
        """The service holds ``next`` frames of the chunk's stream."""
        with self._lock:
            stream = self._streams[chunk.monitor]
            stream.lost_for_good += sum(
                max(min(lost.first + lost.n, next) - max(lost.first, stream.acknowledged), 0) for lost in chunk.lost
            )
        for until in (*range(chunk.first + AT_ONCE, next, AT_ONCE), next):
            with self._lock:
                self._advance(stream, until)
            give_way()

    def rewind(self, monitor: str, next: int) -> bool:
        """The service holds only ``next`` frames; False when that changes nothing."""
        with self._lock:
            self._sort()
            stream = self._streams[monitor]
            if next == stream.begin or next > stream.made:
                return False
            if next > stream.begin:
                self._advance(stream, next)
            else:  # it has forgotten what it had acknowledged, and so have we
                stream.lost.insert(0, LostRange(next, stream.begin - next, "rewound"))
                stream.acknowledged = next
            return True

    def give_up(self, chunk: Parcel, reason: str) -> None:
        """Count a chunk's frames as lost."""
        with self._lock:
            stream = self._streams[chunk.monitor]
            while stream.entries and stream.first < chunk.end:
                self._forget(stream.lose_oldest(reason))

    def counts(self) -> Mapping[str, Counts]:
        """How far each monitor's stream has come."""
        self._empty_inbox()
        with self._lock:
            return {
                stream.monitor: Counts(
                    stream.made, len(stream.entries), stream.lost_for_good + sum(lost.n for lost in stream.lost)
                )
                for stream in self._streams.values()
            }

    def _advance(self, stream: _Stream, next: int) -> None:
        """Let go of everything below ``next``, which the service holds."""
        while stream.entries and stream.first < next:
            self._forget(stream.pop())
        stream.lost = [kept for lost in stream.lost if (kept := _from(lost, next)) is not None]
        stream.acknowledged = max(stream.acknowledged, next)

    def _forget(self, entry: _Entry) -> None:
        self._frames -= 1
        self._bytes -= entry.nbytes


def _from(lost: LostRange, index: int) -> LostRange | None:
    """The part of a lost range from ``index`` on."""
    if lost.first >= index:
        return lost
    if lost.first + lost.n <= index:
        return None
    return LostRange(index, lost.first + lost.n - index, lost.reason, None, lost.last_step)
