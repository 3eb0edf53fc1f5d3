"""What an open page asks of the service, as a real one did it, to be repeated by many.

Pure. A recording is (seconds since the page was open, path) for each request; repeating it any number of times with
phases of their own gives what so many pages would ask.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_FROM_STEP = re.compile(r"(?<=[?&]from_step=)-?\d+")


def relative(path: str, newest: int) -> str:
    """The path with the step from which it reads counted back from the newest one, as it was when it was asked."""
    return _FROM_STEP.sub(lambda step: str(int(step[0]) - newest), path)


def absolute(path: str, newest: int) -> str:
    """The same question when the newest step is another."""
    return _FROM_STEP.sub(lambda step: str(max(0, int(step[0]) + newest)), path)


@dataclass(frozen=True, slots=True)
class Recording:
    """What one page asked within ``seconds``: at its opening, and again and again afterwards."""

    seconds: float
    opening: tuple[str, ...]
    later: tuple[tuple[float, str], ...]

    def repeated(self, phase: float, seconds: float) -> Iterator[tuple[float, str]]:
        """The later requests of a page that is at ``phase`` of the recording when the clock begins, for so long."""
        turn = 0
        while True:
            for at, path in self.later:
                due = turn * self.seconds + at - phase
                if due >= seconds:
                    return
                if due >= 0:
                    yield due, path
            if not self.later:
                return
            turn += 1


def record(asked: Sequence[tuple[float, str]], opening_seconds: float, seconds: float) -> Recording:
    """From what was seen: (time since the page began, path), of which those before ``opening_seconds`` open it."""
    opening = tuple(path for at, path in asked if at < opening_seconds)
    later = tuple(
        (at - opening_seconds, path) for at, path in asked if opening_seconds <= at < opening_seconds + seconds
    )
    return Recording(seconds, opening, later)
