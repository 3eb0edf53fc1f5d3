"""How fast a run steps: steps a second over its newest minute of frames, by the frames' own times.

Their own times, since frames that were kept back for an hour arrive within a moment. Kept beside the run and brought up
to date chunk by chunk. Pure: no clock, no database.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

WINDOW_SECONDS = 60.0
MARK_SECONDS = 10.0

Mark = tuple[float, int]
"""A frame's time, and its step."""


class Pace(msgspec.Struct, array_like=True):
    """Some frames of the newest attempt to measure from, a few seconds apart, and its newest frame."""

    started_at: float = 0.0  # when that attempt was started
    marks: list[Mark] = []  # msgspec copies it for each instance
    newest: Mark = (0.0, 0)

    def observe(self, started_at: float, time: NDArray[np.float64], step: NDArray[np.int64]) -> None:
        """Add a block of frames; another attempt, or a clock that was put back, begins anew."""
        end = float(time[-1])
        if started_at != self.started_at or (self.marks and end < self.marks[-1][0]):
            self.started_at, self.marks = started_at, []
        begin = end - WINDOW_SECONDS
        row = max(int(np.searchsorted(time, begin, side="right")) - 1, 0)
        if not self.marks or float(time[row]) - self.marks[-1][0] >= MARK_SECONDS:
            self.marks.append((float(time[row]), int(step[row])))
        self.newest = (end, int(step[-1]))
        while len(self.marks) > 1 and self.marks[1][0] <= begin:
            del self.marks[0]

    @property
    def step_rate(self) -> float | None:
        """Steps a second; None where no two frames tell it. A run that needs minutes a step is measured over two."""
        if not self.marks:
            return None
        (since, first), (until, last) = self.marks[0], self.newest
        return (last - first) / (until - since) if until > since else None

    def to_bytes(self) -> bytes:
        """What is stored beside the run."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes | None) -> "Pace":
        """Read what ``to_bytes`` wrote; one without frames where nothing is stored, or nothing that can be read."""
        try:
            return msgspec.msgpack.decode(data or b"", type=cls)
        except msgspec.DecodeError:
            return cls()
