"""Hold frames on disk until the service has them, so that neither a dead process nor a dead network loses them.

The training thread adds frames to the store in memory, and touches no disk. A thread of this file's own cuts them into
chunks, encodes each once, and appends it to the spool, while the sender's thread may hang in the network. The backlog
is shared by the two under a lock, which nobody holds while writing to the disk. Where the disk fails, what is in no
file waits in memory, bounded and counted, and the disk is tried again; where it hangs, the sender cuts the chunks.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gradvitals.announce import Announcer
from gradvitals.backlog import Backlog, Entry, Segment
from gradvitals.frames import ChunkHead, Frame, LostRange
from gradvitals.giving_way import give_way, give_way_unless
from gradvitals.logged import LoggedValues
from gradvitals.pending import CHUNK_SECONDS, Counts, FrameStore, Parcel
from gradvitals.spool import Spool, as_attempt

BEAT_SECONDS = 5.0  # between two signs of life in the spool
STUCK_SECONDS = 1.0  # after which the disk is taken to hang
TRY_DISK_AGAIN_SECONDS = 30.0


class SpooledFrames(FrameStore):
    """The store of one attempt: frames in ``memory`` at first, then in the spool."""

    def __init__(
        self,
        memory: FrameStore,
        spool: Spool,
        announcer: Announcer,
        *,
        attempt_id: str,
        sends: bool,
        at_once: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory = memory
        self._spool = spool
        self._announcer = announcer
        self._sends = sends
        self._at_once = at_once  # make the folder before there is a frame
        self._clock = clock
        self._backlog = Backlog(attempt_id)
        self._lock = threading.Lock()  # of the backlog
        self._cutting = threading.Lock()  # held while chunks are cut: they must come in order
        self._handed_lost: dict[str, int] = {}  # of each monitor's lost frames, those that the backlog counts
        self._losses: deque[tuple[str, LostRange]] = deque()  # to be noted in the spool
        self._wake_sender: Callable[[], None] = lambda: None
        self._describe: Callable[[], Mapping[str, Any]] | None = None
        self._due = threading.Event()
        self._closing = threading.Event()
        self._settled = threading.Event()  # the sender has ended
        self._delivered = False
        self._last_written = False  # how the attempt ended
        self._beat_at = -math.inf
        self._told_streams = 0  # monitors that the last sign of life spoke of
        self._disk_again_at = -math.inf
        self._busy_since: float | None = None
        self._thread: threading.Thread | None = None

    @property
    def place(self) -> str | None:
        """Where frames are kept; None while that is memory only."""
        return None if self._disk_again_at > -math.inf else str(self._spool.root)

    # Called by whoever owns this store.

    def start(self, wake: Callable[[], None], describe: Callable[[], Mapping[str, Any]]) -> None:
        """Begin to write. ``wake`` tells the sender of a chunk; ``describe`` says how the attempt is."""
        self._wake_sender, self._describe = wake, describe
        self._memory.start(self._due.set, describe)
        self._thread = threading.Thread(target=self._work, name="gradvitals-spool", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no thread left to give: the sender does what can be done without
            self._thread = None
        self._due.set()

    def begin_close(self) -> None:
        """No frame follows: write what is there."""
        self._closing.set()
        self._due.set()

    def settle(self, delivered: bool) -> None:
        """The sender has ended; what was ``delivered`` entirely need not be kept."""
        self._delivered = delivered
        self._settled.set()
        self._due.set()

    def close(self, timeout_seconds: float) -> None:
        """Wait until all is written, or removed where nothing is left to send."""
        if self._thread is not None:
            self._thread.join(max(timeout_seconds, 0.0))

    # The training thread's side.

    @property
    def add(self) -> Callable[[str, Frame, LoggedValues | None], None]:
        """Take one frame; never waits. The sender hears of it once it is part of a chunk."""
        return self._memory.add

    def amend(self, monitor: str, step: int, logged: LoggedValues) -> bool:
        """Add values to a monitor's frame of ``step``; False when it is part of a chunk by now."""
        return self._memory.amend(monitor, step, logged)

    # The sender's side.

    def take(self, flush: bool, most: Mapping[str, int]) -> Parcel | None:
        """The oldest of what is to be sent, with at most so many frames of a monitor."""
        if flush or self._is_stuck():
            self._cut(flush)
        with self._lock:
            return self._backlog.take(most)

    def due_in(self) -> float | None:
        """Seconds until the sender should look by itself; mostly None, since it is woken."""
        return CHUNK_SECONDS if self._is_stuck() else None

    def acknowledge(self, chunk: Parcel, next: int) -> None:
        """The service holds ``next`` frames of the chunk's stream."""
        with self._lock:
            self._backlog.acknowledge(chunk, next)

    def rewind(self, monitor: str, next: int) -> bool:
        """The service holds only ``next`` frames; False when that changes nothing."""
        with self._lock:
            return self._backlog.rewind(monitor, next)

    def give_up(self, chunk: Parcel, reason: str) -> None:
        """Count a chunk's frames as lost."""
        lost = LostRange(chunk.first, chunk.n, reason)
        with self._lock:
            self._backlog.lose(chunk.monitor, lost)
        self._losses.append((chunk.monitor, lost))

    def counts(self) -> Mapping[str, Counts]:
        """How far each monitor's stream has come. Waits for no disk."""
        counts = {}
        for name, here in self._memory.counts().items():
            stream, handed = self._backlog.streams.get(name), self._handed_lost.get(name, 0)
            waiting, lost = (0, 0) if stream is None else (stream.waiting, stream.lost_frames)
            counts[name] = Counts(here.made, here.waiting + waiting, here.lost - handed + lost)
        return counts

    # What both threads do, one at a time.

    def _cut(self, flush: bool) -> None:
        """Make chunks of the frames that are due, and tell the sender."""
        with self._cutting:
            while (chunk := self._memory.take(flush, {})) is not None:
                body = chunk.encode()
                head = ChunkHead(chunk.monitor, chunk.layout.layout_id, chunk.first, chunk.n, list(chunk.lost))
                with self._lock:
                    self._backlog.add(head, chunk.layout, body)
                give_way()
                self._memory.acknowledge(chunk, chunk.end)
                handed = self._handed_lost.get(chunk.monitor, 0)
                self._handed_lost[chunk.monitor] = handed + sum(gap.n for gap in chunk.lost)
                self._wake_sender()

    def _is_stuck(self) -> bool:
        """Whether nobody else cuts chunks: the disk hangs, or the thread has ended."""
        busy_since = self._busy_since
        if self._thread is None or not self._thread.is_alive():
            return True
        return busy_since is not None and self._clock() - busy_since > STUCK_SECONDS

    # The spool's thread.

    def _work(self) -> None:
        """The outermost guard of the thread. Without it chunks are cut by the sender and wait in memory."""
        try:
            give_way_unless(self._closing.is_set)
            while not self.round():
                self._due.wait(self.pause())
                self._due.clear()
        except Exception as fault:  # noqa: BLE001 -- a defect of ours must not reach the training
            with suppress(Exception):  # telling may be what has failed
                self._disk_again_at = math.inf
                self._tell_memory_only(repr(fault), f"a fault in gradvitals: {fault!r}")

    def round(self) -> bool:
        """Cut what is due and bring it to the disk; True when nothing is left to do."""
        settled = self._settled.is_set()  # read before the work: what comes later has it done once more
        self._busy_since = self._clock()
        try:
            self._cut(self._closing.is_set())
            if self._clock() >= self._disk_again_at:
                self._write()
                self._disk_again_at = -math.inf
        except OSError as error:
            self._disk_again_at = self._clock() + TRY_DISK_AGAIN_SECONDS
            self._spool.interrupt()
            self._tell_memory_only("disk", f"the spool {self._spool.folder} cannot be written: {error.strerror}")
        finally:
            self._busy_since = None
        return settled

    def pause(self) -> float:
        """Seconds until the next round is due."""
        waits = [BEAT_SECONDS, self._memory.due_in(), self._spool.sync_in()]
        return min(wait for wait in waits if wait is not None)

    def _write(self) -> None:
        """Bring to the disk what is new, and away from it what nobody needs any more."""
        if self._settled.is_set() and self._delivered:
            self._spool.remove()
            return
        if self._beat_at == -math.inf:  # whose these frames are, before there is one: it may die right behind it
            self._beat()
        while (entry := self._oldest_in_memory()) is not None:
            segment, offset = self._spool.append(entry, self._backlog.layouts[entry.head.layout_id])
            give_way()
            with self._lock:
                self._backlog.is_stored(entry, segment, offset)
            if (sealed := self._spool.seal_if_full()) is not None:
                with self._lock:
                    self._backlog.release(sealed)
        while self._losses:
            self._spool.note_lost(*self._losses.popleft())
        give_way()
        self._beat()
        if self._spool.sync_in() == 0.0 or self._closing.is_set():
            self._spool.sync()
        give_way()
        self._clear_away()

    def _oldest_in_memory(self) -> Entry | None:
        with self._lock:
            return self._backlog.in_no_file()

    def _beat(self) -> None:
        """Leave a sign of life, and at last how the attempt ended."""
        ends = self._closing.is_set() and (self._settled.is_set() or not self._last_written)
        streams = dict(self._backlog.streams)
        is_time = self._clock() - self._beat_at >= BEAT_SECONDS or len(streams) > self._told_streams
        if self._describe is not None and (ends or is_time) and (self._at_once or streams):
            acknowledged = {name: stream.acknowledged for name, stream in streams.items()}
            self._spool.write_attempt(as_attempt(self._describe(), acknowledged, sends=self._sends), sync=ends)
            self._beat_at, self._told_streams = self._clock(), len(streams)
            self._last_written = self._closing.is_set()

    def _clear_away(self) -> None:
        """Delete the files that the service has, and what is too much."""
        with self._lock:
            done = [segment for segment in self._backlog.done() if not self._spool.is_written_to(segment)]
            for segment in done:
                self._backlog.drop(segment)
        for segment in done:
            segment.path.unlink(missing_ok=True)
        while self._size() > self._spool.quota_bytes and self._make_room():
            pass

    def _size(self) -> int:
        return sum(segment.size for segment in self._backlog.segments)

    def _make_room(self) -> bool:
        """Give up the layers of the oldest file that has some, or else the oldest file; False when there is none."""
        old = [segment for segment in self._backlog.segments if not self._spool.is_written_to(segment)]
        if not old:
            return False
        segment = next((segment for segment in old if segment.has_layers), None)
        quota = f"the spool has reached its {self._spool.quota_bytes / 2**20:.0f} MiB (GRADVITALS_SPOOL_MIB)"
        if segment is not None:
            self._announcer.say_once("thin", f"{quota}: of the oldest frames, what there is of each layer is given up")
            self._thin(segment)
            return True
        self._announcer.say_once("quota", f"{quota}: the oldest frames are given up, and counted")
        self._drop(old[0])
        return True

    def _thin(self, segment: Segment) -> None:
        former = segment.path
        try:
            path, size = self._spool.thin(segment)
        except FileNotFoundError:  # somebody else has sent it
            with self._lock:
                self._backlog.sent_elsewhere(segment)
            return
        with self._lock:
            self._backlog.replaced(segment, path, size)
        former.unlink(missing_ok=True)

    def _drop(self, segment: Segment) -> None:
        with self._lock:
            if segment.path.exists():
                lost = self._backlog.drop(segment)
            else:
                self._backlog.sent_elsewhere(segment)
                lost = []
        for name, gap in lost:
            self._spool.note_lost(name, gap)
        segment.path.unlink(missing_ok=True)

    def _tell_memory_only(self, key: str, why: str) -> None:
        self._announcer.say_once(key, f"{why}. Training goes on; the newest 10,000 frames wait in memory only")
