"""Bring a few numbers a step from a device to the host without waiting for it.

``write`` puts a row into memory on the device, one kernel on the current stream, with the row's sequence number at both
ends. Every few rows a copy into pinned memory follows on a stream of its own, and ``ready`` gives the rows whose copy
has arrived: each once, in order, whole. A row is lost, and counted, where the device is so far behind that no room is
left, or where its numbers say that it is not what was written. Only ``drain`` waits, and not for ever.

Memory is made at the first row and goes round in segments: free, filled, copied, read, free. Nothing writes to a
segment, on either side, before all rows of its last round were read.

The thread that trains owns a ring, and calls the device for it. The sender's thread stays away: asking for an event
breaks a CUDA graph that any other thread is capturing (pytorch#104555). The lock is for a ``drain`` at the
interpreter's exit. While the calling thread captures a graph, nothing here touches the device.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Host = TypeVar("Host")
Row = npt.NDArray[Any]  # of float32, or of float64 where a value was

SEGMENT_ROWS = 16
FEWEST_SEGMENTS, MOST_SEGMENTS = 3, 64  # one is filled, one is copied, one is left
MEMORY_BYTES = 1_000_000  # on the device and pinned together, unless rows are so long that three segments need more
COPY_SECONDS = 0.1  # a slow loop has each row copied at once, a fast one several together
NUMBERS = 1 << 23  # sequence numbers start over here: float32 holds all integers up to twice as many
POLL_SECONDS = 0.001


class Arrival(Protocol):
    """A copy on its way. A torch.cuda.Event that was recorded after it is one."""

    def query(self) -> bool:
        """Whether the copy has arrived; never waits."""


class RingDevice(Protocol):
    """The little that a ring asks of a device."""

    def capturing(self) -> bool:
        """Whether what is enqueued now goes into a graph instead of being done."""

    def stream(self) -> object:
        """Where work is enqueued now. Equal streams are one."""

    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Memory on the device, and memory on the host that it can be copied to."""

    def order(self, before: object, after: object) -> None:
        """Have the stream ``after`` wait for what ``before`` has enqueued up to now. The host does not wait."""

    def copy(self, source: Tensor, target: Tensor, stream: object) -> Arrival:
        """Copy to the host what ``stream`` has enqueued up to now, without holding that stream up."""


class CudaRingDevice:
    """A CUDA device, or what passes for one (ROCm), with a stream for copies."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's, as below

    def capturing(self) -> bool:
        return capturing()

    def stream(self) -> torch.cuda.Stream:
        return torch.cuda.current_stream(self._device)

    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        on_device = torch.empty(shape, dtype=dtype, device=self._device)
        return on_device, torch.empty(shape, dtype=dtype, device="cpu", pin_memory=True)

    def order(self, before: Any, after: Any) -> None:
        after.wait_stream(before)

    def copy(self, source: Tensor, target: Tensor, stream: Any) -> torch.cuda.Event:
        self._side.wait_stream(stream)
        with torch.cuda.stream(self._side):
            target.copy_(source, non_blocking=True)
        arrived: torch.cuda.Event = self._side.record_event()
        for user in (stream, self._side):  # the memory of a ring that is dropped is not reused under them
            source.record_stream(user)
        return arrived


class WaitingRingDevice:
    """Any other device (mps, xpu): the copy of several rows waits for it, since streams were not tried there."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def capturing(self) -> bool:
        return False

    def stream(self) -> None:
        return None

    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return torch.empty(shape, dtype=dtype, device=self._device), torch.empty(shape, dtype=dtype, device="cpu")

    def order(self, before: object, after: object) -> None:
        """There is one stream only."""

    def copy(self, source: Tensor, target: Tensor, stream: object) -> _Arrived:
        target.copy_(source)
        return _Arrived()


class _Arrived:
    def query(self) -> bool:
        return True


def ring_device(device: torch.device) -> RingDevice:
    """How a ring on this device works."""
    return CudaRingDevice(device) if device.type == "cuda" else WaitingRingDevice(device)


def capturing() -> bool:
    """Whether this thread captures a CUDA graph, so that nothing may be read or copied. Costs nothing without CUDA."""
    # Asked in this order: a build of torch without CUDA raises at the second question.
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]


class Ring(Generic[Host]):
    """Rows of numbers on their way to the host, each with an object that waits there for it."""

    def __init__(self, device: RingDevice, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.lost = 0  # rows that will never come
        self.memory_bytes = 0  # on the device and on the host
        self._device = device
        self._clock = clock
        self._lock = threading.RLock()  # reentrant: a signal handler may finish the run in the middle of a write
        self._free: deque[_Segment[Host]] = deque()
        self._filling: _Segment[Host] | None = None
        self._in_flight: deque[_Segment[Host]] = deque()
        self._arrived: list[tuple[Host, Row]] = []
        self._width = 0
        self._dtype = torch.float32
        self._stream: object = None
        self._written = 0
        self._copied_at = -math.inf

    @torch.no_grad()
    def write(self, values: Sequence[Tensor], host: Host) -> bool:
        """Enqueue one row of all the elements of ``values``, in order; False when it is lost."""
        with self._lock:
            segment = None if self._device.capturing() else self._segment_for(values)
            if segment is None:
                self.lost += 1
                return False
            segment.write(values, host)
            self._written += 1
            self._copy_if_due()
            return True

    def ready(self) -> list[tuple[Host, Row]]:
        """The rows that have arrived since the last call, oldest first, with their objects."""
        with self._lock:
            if self._device.capturing():
                return []
            self._copy_if_due()
            self._collect()
            return self._hand_over()

    def drain(self, timeout_seconds: float) -> list[tuple[Host, Row]]:
        """The rows that arrive within the time, when nothing more will be written. The others are lost."""
        with self._lock:
            if self._device.capturing():
                return []
            self._copy()
            self._collect()
            deadline = self._clock() + timeout_seconds
            while self._in_flight and self._clock() < deadline:
                time.sleep(POLL_SECONDS)
                self._collect()
            self.lost += sum(len(segment.entries) for segment in self._in_flight)
            self._in_flight.clear()
            self._drop_memory()
            return self._hand_over()

    def _segment_for(self, values: Sequence[Tensor]) -> _Segment[Host] | None:
        """The segment that takes the next row; None where all are on their way."""
        self._make_room_for(values)
        stream = self._device.stream()
        if self._stream is not None and stream != self._stream:
            self._device.order(self._stream, stream)
        self._stream = stream
        if self._filling is not None and self._filling.is_full:  # to copy it has failed
            self._copy()
        if self._filling is None and self._free:
            self._free[0].start(self._written % NUMBERS)
            self._filling = self._free.popleft()
        return self._filling

    def _make_room_for(self, values: Sequence[Tensor]) -> None:
        """Make segments, if there are none in which such a row has room."""
        width = sum(value.numel() for value in values)
        is_double = any(value.dtype is torch.float64 for value in values)
        if self.memory_bytes and width <= self._width and not (is_double and self._dtype is torch.float32):
            return
        self._copy()
        self._drop_memory()  # what is in flight is read where it is
        self._width = max(width, self._width)
        self._dtype = torch.float64 if is_double else self._dtype
        segment_bytes = SEGMENT_ROWS * (2 * (self._width + 2) + 1) * self._dtype.itemsize
        count = min(max(MEMORY_BYTES // segment_bytes, FEWEST_SEGMENTS), MOST_SEGMENTS)
        rows, landing = self._device.allocate((count, SEGMENT_ROWS, self._width + 2), self._dtype)
        places = torch.arange(SEGMENT_ROWS, dtype=self._dtype, device=rows.device)
        numbers = places.repeat(count, 1)  # one tensor for all, since an allocator rounds up
        for pieces in zip(rows.unbind(), landing.unbind(), numbers.unbind(), strict=True):
            self._free.append(_Segment(*pieces, places))
        self.memory_bytes = count * segment_bytes

    def _drop_memory(self) -> None:
        self._free.clear()
        self.memory_bytes = 0

    def _copy_if_due(self) -> None:
        segment = self._filling
        if segment is None:
            return
        # While a copy is on its way the device is behind: a segment for each row would soon leave no room.
        if segment.is_full or (not self._in_flight and self._clock() - self._copied_at >= COPY_SECONDS):
            self._copy()

    def _copy(self) -> None:
        """Send what is written off to the host."""
        segment, self._filling = self._filling, None
        if segment is None:
            return
        used = len(segment.entries)
        try:
            segment.arrival = self._device.copy(segment.rows[:used], segment.landing[:used], self._stream)
        except BaseException:
            self._filling = segment  # to try again
            raise
        self._in_flight.append(segment)
        self._copied_at = self._clock()

    def _collect(self) -> None:
        """Read what has arrived. A copy that overtook an older one waits for it here."""
        while self._in_flight and self._in_flight[0].has_arrived():
            segment = self._in_flight.popleft()
            whole = segment.read()
            self.lost += len(segment.entries) - len(whole)
            self._arrived += whole
            if segment.is_as_large_as(self._width, self._dtype):
                self._free.append(segment)

    def _hand_over(self) -> list[tuple[Host, Row]]:
        rows, self._arrived = self._arrived, []
        return rows


class _Segment(Generic[Host]):
    """Some rows on the device, and the pinned memory that they are copied to."""

    def __init__(self, rows: Tensor, landing: Tensor, numbers: Tensor, places: Tensor) -> None:
        self.rows, self.landing = rows, landing
        self.entries: list[tuple[Host, int]] = []  # the object and the length of each row of this round
        self.arrival: Arrival | None = None
        self._on_host: Row = landing.numpy()
        self._on_host.fill(np.nan)  # what is read too early is no number
        self._first = 0  # the sequence number of the first row
        self._numbers, self._places = numbers, places
        # Made once: to slice a tensor takes as long as to launch a kernel.
        self._row_views, self._number_views = rows.unbind(), numbers.view(-1, 1).unbind()

    @property
    def is_full(self) -> bool:
        return len(self.entries) == len(self._row_views)

    def is_as_large_as(self, width: int, dtype: torch.dtype) -> bool:
        return self.rows.shape[1] == width + 2 and self.rows.dtype is dtype

    def start(self, first: int) -> None:
        """Begin a round with no row written."""
        self.entries, self.arrival, self._first = [], None, first
        torch.add(self._places, first, out=self._numbers)

    def write(self, values: Sequence[Tensor], host: Host) -> None:
        """Enqueue the next row: its number, the values, its number."""
        place = len(self.entries)
        row, number, device = self._row_views[place], self._number_views[place], self.rows.device
        vectors = [value.reshape(-1) for value in values]
        vectors = [vector if vector.device == device else vector.to(device, non_blocking=True) for vector in vectors]
        length = sum(vector.numel() for vector in vectors)
        torch.cat([number, *vectors, number], out=row if length + 2 == len(row) else row[: length + 2])
        self.entries.append((host, length))

    def has_arrived(self) -> bool:
        return self.arrival is not None and self.arrival.query()

    def read(self) -> list[tuple[Host, Row]]:
        """The rows that arrived whole, copied; the memory is then free for the next round."""
        landed = self._on_host[: len(self.entries)]
        rows = landed.copy()
        landed.fill(np.nan)
        return [
            (host, row[1 : length + 1])
            for number, (row, (host, length)) in enumerate(zip(rows, self.entries, strict=True), self._first)
            if row[0] == number == row[length + 1]
        ]
