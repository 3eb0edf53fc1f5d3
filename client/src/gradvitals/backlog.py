"""What one attempt has made and its service does not hold yet, in the order in which it was made.

Encoded chunks lie in segments: files of a spool, and behind them those that are in memory only. A backlog says what is
sent next, joined or cut as the service takes it, and counts what is lost. It knows no thread: whoever shares it holds a
lock. It reads files and never writes one.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradvitals.frames import NO_LAYERS, Chunk, ChunkHead, Layout, LostRange, encode_chunk, read_head, recut
from gradvitals.giving_way import give_way
from gradvitals.pending import Parcel
from gradvitals.segments import read_file, read_record

DAMAGED = "damaged"  # why frames are lost that ought to be here
CHUNK = 1  # the kind of record that holds an encoded chunk
JOINED_FRAMES = 1024  # of small chunks that are sent as one
JOINED_BYTES = 512 << 10
CACHED_BYTES = 1 << 20  # of chunks that are on disk, so that what is sent at once is not read again
MEMORY_FRAMES = 10_000
MEMORY_BYTES = 16 << 20
LEDGER_RANGES = 10_000


@dataclass(slots=True, eq=False)
class Entry:
    """One encoded chunk, and where it is."""

    head: ChunkHead
    length: int
    body: bytes | bytearray | None  # None: to be read from the segment's file
    segment: Segment | None = None
    offset: int = 0


@dataclass(slots=True, eq=False)
class Segment:
    """Some chunks in one file. ``entries`` is None while nobody needs them."""

    path: Path
    size: int = 0
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)  # by monitor: the first index, and that after
    entries: dict[str, list[Entry]] | None = None
    has_layers: bool = True
    damaged: int = 0  # records that were found changed when it was read last
    read_bytes: int = 0  # how long the file was then

    def add(self, entry: Entry) -> None:
        """Take one more chunk."""
        head = entry.head
        entry.segment = self
        if self.entries is None:
            self.entries = {}
        self.entries.setdefault(head.monitor, []).append(entry)
        begin, _ = self.spans.get(head.monitor, (head.begin, 0))
        self.spans[head.monitor] = (begin, head.end)
        self.size = max(self.size, entry.offset + entry.length)


@dataclass(slots=True)
class Stream:
    """How far one monitor's frames are."""

    monitor: str
    layout: Layout
    acknowledged: int = 0
    end: int = 0  # after the newest frame that came here
    lost: list[LostRange] = field(default_factory=list)  # all that ever were, in ascending order

    def lose(self, gap: LostRange) -> None:
        """Count frames as lost, for this reason from now on."""
        apart = [part for known in self.lost for part in _outside(known, gap)]
        place = bisect.bisect(apart, gap.first, key=lambda known: known.first)
        last = apart[place - 1] if place else None
        if last is not None and last.reason == gap.reason and _end(last) == gap.first:
            place -= 1
            gap = LostRange(last.first, last.n + gap.n, gap.reason, last.first_step, gap.last_step)
            del apart[place]
        apart.insert(place, gap)
        self.lost = apart[-LEDGER_RANGES:]

    def lost_before(self, index: int) -> tuple[tuple[LostRange, ...], int]:
        """The ranges between what is acknowledged and the frame ``index``, and the first frame behind them."""
        position, lost = self.acknowledged, []
        for gap in (*self.lost, None):
            if gap is not None and _end(gap) <= position:
                continue
            start = index if gap is None else min(gap.first, index)
            if position < start:  # nobody has given it up, and yet it is not here
                lost.append(LostRange(position, start - position, DAMAGED))
                position = start
            if gap is None or gap.first > position:
                break
            lost.append(_from(gap, position))
            position = _end(gap)
        return tuple(lost), position

    @property
    def lost_frames(self) -> int:
        """How many were lost, as far as is remembered."""
        return sum(gap.n for gap in self.lost)

    @property
    def waiting(self) -> int:
        """Frames that are here and not acknowledged."""
        gone = sum(max(_end(gap) - max(gap.first, self.acknowledged), 0) for gap in self.lost)
        return max(self.end - self.acknowledged - gone, 0)


@dataclass(frozen=True, slots=True)
class SpooledChunk:
    """What goes in one request."""

    monitor: str
    layout: Layout
    first: int
    n: int
    lost: tuple[LostRange, ...]
    body: bytes | bytearray

    @property
    def end(self) -> int:
        """The index in the stream of the first frame after this chunk."""
        return self.first + self.n

    def encode(self) -> bytes | bytearray:
        """The body, which was encoded once."""
        return self.body


class Backlog:
    """The backlog of one attempt."""

    def __init__(self, attempt_id: str) -> None:
        self.streams: dict[str, Stream] = {}
        self.layouts: dict[str, Layout] = {NO_LAYERS.layout_id: NO_LAYERS}
        self.segments: list[Segment] = []  # files, the oldest first
        self._attempt_id = attempt_id
        self._memory: deque[Entry] = deque()  # in no file yet, newer than all that are
        self._memory_frames = 0
        self._memory_bytes = 0
        self._cached: deque[Entry] = deque()
        self._cached_bytes = 0
        self._read: Segment | None = None  # the last file that was read for its entries

    @property
    def damaged(self) -> int:
        """Records that were found changed, in the files that are here."""
        return sum(segment.damaged for segment in self.segments)

    # What comes in.

    def add(self, head: ChunkHead, layout: Layout, body: bytes | bytearray) -> None:
        """Take a chunk, the next one of its stream. Where memory is full the oldest that is in no file is lost."""
        self.layouts.setdefault(layout.layout_id, layout)
        self._count(head, layout)
        self._memory.append(Entry(head, len(body), body))
        self._memory_frames += head.n
        self._memory_bytes += len(body)
        while len(self._memory) > 1 and (self._memory_frames > MEMORY_FRAMES or self._memory_bytes > MEMORY_BYTES):
            oldest = self._memory[0].head
            self.streams[oldest.monitor].lose(LostRange(oldest.first, oldest.n, "queue_full"))
            self._forget_oldest()

    def adopt(self, path: Path) -> None:
        """Take a file of a spool, newer than those before, or grown; raises OSError where it cannot be read."""
        known = next((segment for segment in self.segments if segment.path == path), None)
        if known is not None:
            if known.read_bytes == path.stat().st_size:
                return
            self.segments.remove(known)
        segment = Segment(path)
        self._load(segment)
        for entries in (segment.entries or {}).values():
            for entry in entries:
                self._count(entry.head, self.layouts.get(entry.head.layout_id, NO_LAYERS))
        segment.entries = None
        self.segments.append(segment)

    def in_no_file(self) -> Entry | None:
        """The oldest chunk that is in memory only."""
        return self._memory[0] if self._memory else None

    def is_stored(self, entry: Entry, segment: Segment, offset: int) -> None:
        """A chunk was written to a file."""
        entry.offset = offset
        if segment not in self.segments:
            self.segments.append(segment)
        segment.add(entry)
        if self._memory and self._memory[0] is entry:
            self._forget_oldest()
        self._cached.append(entry)
        self._cached_bytes += entry.length
        while self._cached_bytes > CACHED_BYTES:
            oldest = self._cached.popleft()
            oldest.body = None
            self._cached_bytes -= oldest.length

    # What goes out.

    def take(self, most: Mapping[str, int]) -> SpooledChunk | None:
        """The oldest of what is to be sent, with at most so many frames of a monitor; None where there is nothing."""
        for segment in list(self.segments):
            waiting = [name for name, (_, end) in segment.spans.items() if end > self.streams[name].acknowledged]
            if waiting:
                try:
                    entries = self._load(segment)
                except OSError:  # gone: somebody else has sent it; or its disk has
                    self.segments.remove(segment)
                    continue
                name = min(waiting, key=lambda name: self._first_waiting(entries.get(name, []), name))
                if (chunk := self._piece(entries.get(name, []), name, most)) is not None:
                    return chunk
        if self._memory:
            name = self._memory[0].head.monitor
            alike = [entry for entry in self._memory if entry.head.monitor == name]
            if (chunk := self._piece(alike, name, most)) is not None:
                return chunk
        for stream in self.streams.values():
            if stream.end > stream.acknowledged and not self._holds(stream):
                return self._only_lost(stream, *stream.lost_before(stream.end))
        return None

    def acknowledge(self, chunk: Parcel, next: int) -> None:
        """The service holds ``next`` frames of the chunk's stream."""
        for gap in chunk.lost:
            if gap.reason == DAMAGED:
                self.streams[chunk.monitor].lose(gap)
        self._advance(chunk.monitor, next)

    def _advance(self, monitor: str, next: int) -> None:
        stream = self.streams[monitor]
        stream.acknowledged = max(stream.acknowledged, min(next, stream.end))
        while self._memory and self._memory[0].head.end <= self.streams[self._memory[0].head.monitor].acknowledged:
            self._forget_oldest()

    def rewind(self, monitor: str, next: int) -> bool:
        """The service holds only ``next`` frames; False when that changes nothing."""
        stream = self.streams[monitor]
        if next == stream.acknowledged or next > stream.end:
            return False
        if next > stream.acknowledged:
            self._advance(monitor, next)
            return True
        held = [begin for s in self.segments for begin, end in [s.spans.get(monitor, (0, 0))] if end > next]
        held += [entry.head.begin for entry in self._memory if entry.head.monitor == monitor]
        available = min([*held, stream.acknowledged])
        if available > next:
            stream.lose(LostRange(next, available - next, "rewound"))
        stream.acknowledged = next
        return True

    def lose(self, monitor: str, gap: LostRange) -> None:
        """Count frames as lost."""
        self.streams[monitor].lose(gap)

    def done(self) -> list[Segment]:
        """The files of which the service holds everything."""
        return [
            segment
            for segment in self.segments
            if all(end <= self.streams[name].acknowledged for name, (_, end) in segment.spans.items())
        ]

    def drop(self, segment: Segment) -> list[tuple[str, LostRange]]:
        """A file goes; what of it was not acknowledged is lost to the quota, and returned."""
        self.segments.remove(segment)
        lost = []
        for name, (begin, end) in segment.spans.items():
            stream = self.streams[name]
            first = max(begin, stream.acknowledged)
            if first < end:
                gap = LostRange(first, end - first, "quota")
                stream.lose(gap)
                lost.append((name, gap))
        return lost

    def sent_elsewhere(self, segment: Segment) -> None:
        """A file has gone that nobody here deleted: whoever did has had everything of it acknowledged."""
        self.segments.remove(segment)
        for name, (_, end) in segment.spans.items():
            self._advance(name, end)

    def replaced(self, segment: Segment, path: Path, size: int) -> None:
        """A file was written anew, without layers."""
        segment.path, segment.size, segment.entries, segment.has_layers = path, size, None, False

    def _count(self, head: ChunkHead, layout: Layout) -> None:
        stream = self.streams.setdefault(head.monitor, Stream(head.monitor, layout))
        stream.layout = layout
        for gap in head.lost:
            stream.lose(gap)
        stream.end = max(stream.end, head.end)

    def _forget_oldest(self) -> None:
        oldest = self._memory.popleft()
        self._memory_frames -= oldest.head.n
        self._memory_bytes -= oldest.length

    def _load(self, segment: Segment) -> dict[str, list[Entry]]:
        """The entries of a file, read where they are not at hand. Those of one file at a time are kept for it."""
        if segment.entries is not None:
            return segment.entries
        if self._read is not None:
            self._read.entries = None
        self._read = segment
        records, known = read_file(segment.path), segment.size or math.inf
        segment.entries, segment.spans = {}, {}
        for record in records:
            give_way()
            if record.offset > known:  # its writer has gone on: that is looked at the next time
                break
            if record.kind == CHUNK:
                segment.add(Entry(read_head(record.payload), len(record.payload), None, segment, record.offset))
        segment.damaged, segment.read_bytes = records.damaged, records.nbytes
        return segment.entries

    def release(self, segment: Segment) -> None:
        """Nothing more is written to a file: its entries are read again when they are needed."""
        if self._read is not None and self._read is not segment:
            self._read.entries = None
        self._read = segment

    def _first_waiting(self, entries: list[Entry], name: str) -> int:
        place = bisect.bisect_right(entries, self.streams[name].acknowledged, key=lambda entry: entry.head.end)
        return entries[place].offset if place < len(entries) else 1 << 62

    def _piece(self, entries: list[Entry], name: str, most: Mapping[str, int]) -> SpooledChunk | None:
        """From the first frame that is not acknowledged on, as much as goes into one request."""
        stream = self.streams[name]
        place = bisect.bisect_right(entries, stream.acknowledged, key=lambda entry: entry.head.end)
        lost: tuple[LostRange, ...] = ()
        first = stream.acknowledged
        while place < len(entries):
            lost, first = stream.lost_before(entries[place].head.first)
            if first >= entries[place].head.end:  # every frame of it was given up
                place += 1
                continue
            chosen = _joinable(entries[place:], stream, first, most.get(name, JOINED_FRAMES))
            bodies = [body for entry in chosen if (body := self._body(entry, entries)) is not None]
            if len(bodies) == len(chosen):  # else it is looked for again, among fewer
                end = min(chosen[-1].head.end, first + most.get(name, JOINED_FRAMES))
                return self._chunk(stream, chosen[0].head, bodies, first, end, lost)
        return self._only_lost(stream, lost, first) if lost else None

    def _chunk(
        self,
        stream: Stream,
        head: ChunkHead,
        bodies: Sequence[bytes | bytearray],
        first: int,
        end: int,
        lost: tuple[LostRange, ...],
    ) -> SpooledChunk:
        layout = self.layouts.get(head.layout_id, NO_LAYERS)
        is_as_it_was = len(bodies) == 1 and (head.first, head.end, tuple(head.lost)) == (first, end, lost)
        body = bodies[0] if is_as_it_was else recut(bodies, first, end, lost)
        return SpooledChunk(stream.monitor, layout, first, end - first, lost, body)

    def _body(self, entry: Entry, entries: list[Entry]) -> bytes | bytearray | None:
        """The bytes of a chunk; None, and it is no entry any more, where they cannot be read."""
        if entry.body is not None or entry.segment is None:
            return entry.body
        try:
            record = read_record(entry.segment.path, entry.offset, entry.length)
        except OSError:
            record = None
        if record is not None:
            return record.payload
        entry.segment.damaged += 1
        entries.remove(entry)
        return None

    def _holds(self, stream: Stream) -> bool:
        """Whether there is a chunk of which something is not acknowledged."""
        spans = (segment.spans.get(stream.monitor, (0, 0)) for segment in self.segments)
        in_memory = any(entry.head.monitor == stream.monitor for entry in self._memory)
        return in_memory or any(end > stream.acknowledged for _, end in spans)

    def _only_lost(self, stream: Stream, lost: tuple[LostRange, ...], first: int) -> SpooledChunk:
        chunk = Chunk(self._attempt_id, stream.monitor, stream.layout, first, [], lost)
        return SpooledChunk(stream.monitor, stream.layout, first, 0, lost, encode_chunk(chunk))


def _joinable(entries: Sequence[Entry], stream: Stream, first: int, most: int) -> list[Entry]:
    """The first of these chunks, and those behind it that go into the same request."""
    chosen, nbytes = [entries[0]], entries[0].length
    for entry in entries[1:]:
        last, head = chosen[-1].head, entry.head
        nbytes += entry.length
        if last.end - first >= most or nbytes > JOINED_BYTES:
            break
        if head.layout_id != last.layout_id or head.first != last.end:
            break
        if any(gap.first < head.end and _end(gap) > last.first for gap in stream.lost):
            break
        chosen.append(entry)
    return chosen


def _end(gap: LostRange) -> int:
    return gap.first + gap.n


def _outside(known: LostRange, gap: LostRange) -> Iterator[LostRange]:
    """The parts of a lost range that another one leaves."""
    if known.first < gap.first:
        n = min(_end(known), gap.first) - known.first
        yield known if n == known.n else LostRange(known.first, n, known.reason, known.first_step)
    if _end(known) > _end(gap):
        first = max(known.first, _end(gap))
        n = _end(known) - first
        yield known if n == known.n else LostRange(first, n, known.reason, None, known.last_step)


def _from(gap: LostRange, index: int) -> LostRange:
    """The part of a lost range from ``index`` on."""
    if gap.first >= index:
        return gap
    return LostRange(index, _end(gap) - index, gap.reason, None, gap.last_step)
