"""The arithmetic that makes delivery exactly-once: which part of a chunk is new.

A stream's frames are numbered 0, 1, 2, ...; ``next_frame`` counts how many are here, lost ones included. A chunk is
a row of contiguous pieces: lost ranges, then frames. Each piece [a, b) is skipped (b <= next), trimmed
(a < next < b), taken (a == next) or refused (a > next). Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradvitals_service.errors import MalformedError, OutOfOrderError

MOST_FRAMES_A_STREAM = 2**63 - 1  # what a column of the database counts


@dataclass(frozen=True, slots=True)
class LostRange:
    """Frames [first, first + n) that will never come; the steps are None where they are not known."""

    first: int
    n: int
    reason: str
    first_step: int | None = None
    last_step: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is new: ``lost`` ranges, and the chunk's frames without the first ``skip``."""

    lost: tuple[LostRange, ...]
    skip: int
    next_frame: int


def accept(next_frame: int, lost: Sequence[LostRange], first: int, n: int) -> Accepted:
    """Compare a chunk with the stream's count; raises OutOfOrderError, with which nothing of the chunk is taken."""
    new_lost = []
    for piece in lost:
        skipped = _already_here(next_frame, piece.first, piece.n)
        if skipped < piece.n:
            new_lost.append(_without_first(piece, skipped))
            next_frame = piece.first + piece.n
    skip = _already_here(next_frame, first, n) if n else 0
    if skip < n:
        next_frame = first + n
    if next_frame > MOST_FRAMES_A_STREAM:
        raise MalformedError("first: too large for a frame's index")
    return Accepted(tuple(new_lost), skip, next_frame)


def _already_here(next_frame: int, first: int, n: int) -> int:
    if first > next_frame:
        raise OutOfOrderError(
            f"first: these frames begin at {first}, but only {next_frame} have arrived", next_frame=next_frame
        )
    return min(next_frame - first, n)


def _without_first(piece: LostRange, skipped: int) -> LostRange:
    """Trim; the first step of what remains is then no longer known."""
    if not skipped:
        return piece
    return replace(piece, first=piece.first + skipped, n=piece.n - skipped, first_step=None)
