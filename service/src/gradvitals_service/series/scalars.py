"""Tell which scalars a run has logged, so that a page can offer their charts.

Read off the headers of what is stored: the coarsest buckets name every scalar of all that was compacted, and each chunk
its own. What the disk has spoiled names nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy.orm import Session

from gradvitals_service.series import codec, queries, rollup
from gradvitals_service.series.attempts import asked_of, cut_overlaps
from gradvitals_service.series.codec import CorruptChunkError
from gradvitals_service.series.queries import Line

MOST_NAMES = 512


def read_scalars(session: Session, line: Line) -> dict[str, Any]:
    """The scalars of all attempts that are shown, by name."""
    names = sorted(set(_names(session, line)))
    return {"names": names[:MOST_NAMES], "count": len(names)}


def _names(session: Session, line: Line) -> Iterator[str]:
    for span in cut_overlaps(queries.reaches(session, line)):
        steps = asked_of(span, None, None)
        for buckets in queries.buckets_in(session, line, span, steps, rollup.LEVELS[-1]):
            yield from _readable(rollup.scalar_keys, buckets.columns)
        for chunk in queries.chunks_in(session, line, span, steps):
            yield from _readable(codec.scalar_keys, chunk.columns)


def _readable(read: Callable[[bytes], list[str]], blob: bytes) -> list[str]:
    try:
        return read(blob)
    except CorruptChunkError:  # a chart says so, where it is
        return []
