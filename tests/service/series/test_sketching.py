"""The norms of a run are the same whether they are read from frames or from the sketches beside segments."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import numpy as np
import pytest
from service.series.storing import StreamInTables, make_stream
from service.series.test_compacted_reading import compact, line_of
from sqlalchemy import delete, update
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.database import begin_snapshot, begin_write
from gradvitals_service.series import queries
from gradvitals_service.series.attempts import Span, Steps, cut_overlaps
from gradvitals_service.series.models import SegmentColumn
from gradvitals_service.series.segments import SKETCH_COLUMN
from gradvitals_service.series.sketch import NormSketch
from gradvitals_service.series.sketching import read_norms

SOME_APART = [Steps(0, 64), Steps(1900, 2000), Steps(1950, 2100), Steps(4990, None)]


@pytest.fixture
def stream(session_factory: sessionmaker[Session]) -> StreamInTables:
    """5,000 frames in chunks of 250, three lost in between, of a run that has ended but is not compacted."""
    stream = make_stream(session_factory)
    for seed in range(20):
        stream.add(250, lost=3 if seed == 7 else 0, seed=seed)
    stream.end()
    return stream


def counts(stream: StreamInTables, apart: Sequence[Steps] = ()) -> tuple[list, int]:
    """What the sketches of the steps apart and of all others hold, and how many frames are damaged."""
    return counts_of(stream, {stream.key.attempt_id: apart})


def counts_of(stream: StreamInTables, apart: Mapping[UUID, Sequence[Steps]]) -> tuple[list, int]:
    with begin_snapshot(stream.session_factory) as session:
        line = line_of(stream)
        read = read_norms(session, line, cut_overlaps(queries.reaches(session, line)), apart)
    return [content(NormSketch.merge(parts)) for parts in (read.apart, read.others)], read.damaged


def content(of: NormSketch) -> tuple:
    return of.buckets.tolist(), of.counts.tolist(), of.zeros, of.non_finite, of.already_clipped


class TestCompaction:
    @pytest.mark.parametrize("apart", [[], SOME_APART])
    def test_changes_no_count(self, stream: StreamInTables, apart):
        before = counts(stream, apart)
        compact(stream)
        assert counts(stream, apart) == before
        (of_apart, of_others), damaged = before
        assert sum(of_apart[1]) + sum(of_others[1]) + of_apart[3] + of_others[3] == 5000
        assert damaged == 0

    def test_keeps_a_sketch_that_is_read_in_place_of_the_frames(self, stream: StreamInTables):
        before = counts(stream)
        compact(stream)
        with begin_write(stream.session_factory) as session:
            session.execute(delete(SegmentColumn).where(SegmentColumn.name == "global_norm"))
        assert counts(stream) == before

    def test_by_an_earlier_version_kept_none_and_the_frames_are_read(self, stream: StreamInTables):
        before = counts(stream)
        compact(stream)
        with begin_write(stream.session_factory) as session:
            session.execute(delete(SegmentColumn).where(SegmentColumn.name == SKETCH_COLUMN))
        assert counts(stream) == before


class TestWhatTheDiskHasSpoiled:
    def spoil(self, stream: StreamInTables, name: str) -> None:
        with begin_write(stream.session_factory) as session:
            session.execute(update(SegmentColumn).where(SegmentColumn.name == name).values(data=b"spoiled"))

    def test_of_a_sketch_is_made_anew_from_the_frames(self, stream: StreamInTables):
        before = counts(stream)
        compact(stream)
        self.spoil(stream, SKETCH_COLUMN)
        assert counts(stream) == before

    def test_of_the_frames_too_is_counted(self, stream: StreamInTables):
        compact(stream)
        self.spoil(stream, SKETCH_COLUMN)
        self.spoil(stream, "global_norm")
        assert counts(stream) == ([content(NormSketch.none())] * 2, 5000)


class TestResumedRuns:
    def test_count_each_step_once_as_the_newest_attempt_has_it(self, stream: StreamInTables):
        compact(stream)
        resumed = make_stream(stream.session_factory, run=stream.key)
        resumed.next_step = 1000
        new = resumed.add(500, seed=99)
        norms = new.columns["global_norm"]
        with begin_snapshot(stream.session_factory) as session:
            line = line_of(stream)
            older = read_norms(session, line, [Span(stream.key.attempt_id, 0, 1000)], {})
        expected = NormSketch.merge([*older.others, NormSketch.of(norms, np.zeros(500, np.uint32))])
        assert counts_of(stream, {}) == ([content(NormSketch.none()), content(expected)], 0)


class TestTheNewestFrames:
    def test_are_found_without_reading_many_more(self, stream: StreamInTables):
        with begin_snapshot(stream.session_factory) as session:
            span = Span(stream.key.attempt_id, 0, None)
            for wanted in (1, 250, 251, 4999):
                first = queries.step_of_newest(session, line_of(stream), span, wanted)
                assert wanted <= 5003 - first < wanted + 253
