"""Compaction moves every frame once, bit for bit, whatever happens to whoever does it."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service.series.storing import KilledError, StreamInTables, WriterAtOnce, frames, killed_at, make_stream
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.ingest.models import Gap, Stream
from gradvitals_service.series import compaction, segments
from gradvitals_service.series.compaction_queries import unsettled
from gradvitals_service.series.compactor import IDLE_SECONDS, Compactor
from gradvitals_service.series.downsample import Buckets
from gradvitals_service.series.models import Chunk, Compaction, RollupRow, Segment, SegmentColumn
from gradvitals_service.series.rollup import roll_up

on_one_database = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def compactor(session_factory: sessionmaker[Session], clock: Clock | None = None) -> Compactor:
    return Compactor(session_factory, WriterAtOnce(session_factory), clock or Clock())


def count(stream: StreamInTables, table: type[Chunk] | type[Segment]) -> int:
    with stream.session_factory.begin() as session:
        return session.scalar(select(func.count()).select_from(table).where(table.run_id == stream.key.run_id)) or 0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 8 frames, segments of 32, so that a few frames make many."""
    monkeypatch.setattr(compaction, "BLOCK_FRAMES", 8)
    monkeypatch.setattr(segments, "FRAMES", 32)


# (frames, layers, lost before them)
CHUNKS = st.lists(st.tuples(st.integers(1, 20), st.sampled_from([2, 3]), st.sampled_from([0, 0, 0, 5])), max_size=20)


@pytest.mark.usefixtures("small")
class TestAnySplitOfFrames:
    @on_one_database
    @given(chunks=CHUNKS, rounds=st.integers(1, 3), least=st.sampled_from([1, 8]))
    def test_comes_back_as_it_was_acknowledged(
        self, session_factory: sessionmaker[Session], chunks: list[tuple[int, int, int]], rounds: int, least: int
    ):
        stream = make_stream(session_factory, (2, 3))
        for seed, (n, layer_count, lost) in enumerate(chunks):
            stream.add(n, layer_count, lost=lost, seed=seed)
            if seed % (len(chunks) // rounds + 1) == 0:
                self.compact(stream, least, ended=False)
        before = stream.content()
        self.compact(stream, least, ended=True)
        assert stream.content() == before
        assert len(before) == sum(n for n, _, _ in chunks)

    def compact(self, stream: StreamInTables, least: int, *, ended: bool) -> None:
        working = compactor(stream.session_factory)
        for standing in standings(stream):
            working.compact(standing, ended=ended, least=least)

    @on_one_database
    @given(data=st.data(), chunks=CHUNKS)
    def test_loses_and_doubles_nothing_where_the_compactor_is_killed(
        self, session_factory: sessionmaker[Session], data: st.DataObject, chunks: list[tuple[int, int, int]]
    ):
        stream = make_stream(session_factory, (2, 3))
        for seed, (n, layer_count, lost) in enumerate(chunks):
            stream.add(n, layer_count, lost=lost, seed=seed)
        before = stream.content()
        with killed_at(session_factory, data.draw(st.integers(1, 60))) as counted:
            try:
                self.compact(stream, 8, ended=True)
            except KilledError:
                assert counted[0] > 0
        assert stream.content() == before
        self.compact(stream, 8, ended=True)
        assert stream.content() == before


def standings(stream: StreamInTables) -> list:
    with stream.session_factory.begin() as session:
        return [standing for standing in unsettled(session) if standing.key == stream.key]


class TestTiers:
    def test_chunks_become_blocks_of_1024_frames_while_a_run_goes_on(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        for seed in range(9):
            stream.add(256, seed=seed)
        before = stream.content()
        compactor(session_factory).work()
        with session_factory.begin() as session:
            sizes = session.scalars(select(Chunk.n).order_by(Chunk.first)).all()
        assert sizes == [1024, 1024, 256]
        assert stream.content() == before

    def test_blocks_become_a_segment_of_16384_frames_with_a_row_for_each_column(
        self, session_factory: sessionmaker[Session]
    ):
        stream = make_stream(session_factory)
        for seed in range(17):
            stream.add(1024, seed=seed)
        before = stream.content()
        compactor(session_factory).work()
        with session_factory.begin() as session:
            segment = session.scalars(select(Segment)).one()
            names = set(session.scalars(select(SegmentColumn.name)))
            levels = {row.level: row.buckets for row in session.scalars(select(RollupRow))}
        assert (segment.n, segment.first_step, segment.last_step, count(stream, Chunk)) == (16_384, 0, 16_383, 1)
        assert {"layer/0", "layer/1", "step", "loss", "scalar/accuracy"} <= names
        assert levels == {64: 256, 1024: 16, 16_384: 1}
        assert stream.content() == before

    def test_many_layers_make_shorter_segments(self):
        assert segments.segment_frames(200) == 16_384
        assert segments.segment_frames(2_000) == 2_097
        assert segments.segment_frames(65_536) == 64

    def test_what_is_left_of_a_run_that_has_ended_becomes_a_segment(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        for seed in range(6):
            stream.add(256, seed=seed)
        stream.end()
        before = stream.content()
        compactor(session_factory).work()
        assert (count(stream, Chunk), count(stream, Segment)) == (0, 1)
        assert stream.content() == before

    def test_a_few_frames_of_a_run_that_has_ended_become_one_block(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        for seed in range(5):
            stream.add(10, seed=seed)
        stream.end("failed")
        compactor(session_factory).work()
        assert (count(stream, Chunk), count(stream, Segment)) == (1, 0)
        assert len(stream.content()) == 50

    def test_ten_idle_minutes_count_as_an_end_and_the_run_may_go_on(self, session_factory: sessionmaker[Session]):
        clock = Clock()
        stream = make_stream(session_factory)
        working = compactor(session_factory, clock)
        stream.add(10)
        stream.add(10, seed=1)
        working.work()
        clock.now = IDLE_SECONDS - 1
        working.work()
        assert count(stream, Chunk) == 2
        clock.now = IDLE_SECONDS
        working.work()
        assert count(stream, Chunk) == 1
        stream.add(1100, seed=2)
        working.work()
        clock.now = 2 * IDLE_SECONDS + 1
        working.work()
        assert (count(stream, Chunk), count(stream, Segment), len(stream.content())) == (0, 1, 1120)

    def test_a_settled_stream_is_not_looked_at_again(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        stream.add(10)
        stream.end()
        working = compactor(session_factory)
        working.work()
        assert standings(stream) == []
        stream.add(5, seed=1)
        assert len(standings(stream)) == 1

    def test_the_count_and_the_gaps_of_a_stream_stay(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        stream.add(1000)
        stream.add(1000, lost=50, seed=1)
        stream.end()
        compactor(session_factory).work()
        with session_factory.begin() as session:
            assert session.scalars(select(Stream.next_frame)).one() == 2050
            assert session.scalars(select(Gap.n)).one() == 50
            assert session.scalars(select(Segment.end)).one() == 2050
        assert sorted(stream.content()) == [*range(1000), *range(1050, 2050)]


class TestSpoiledChunks:
    def test_stay_as_they_are_and_everything_around_them_is_compacted(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        for seed in range(9):
            stream.add(512, seed=seed)
        with session_factory.begin() as session:
            session.execute(update(Chunk).where(Chunk.first == 2048).values(layer_columns=b"spoiled"))
        stream.end()
        working = compactor(session_factory)
        working.work()
        with session_factory.begin() as session:
            assert session.scalars(select(Chunk.first)).all() == [2048]
            assert session.scalars(select(Segment.first).order_by(Segment.first)).all() == [0, 2560]
        assert working.work() == 0


class TestSeveralCompactors:
    def test_on_one_stream_replace_it_once(self, session_factory: sessionmaker[Session]):
        """The second has read and prepared before the first one writes."""
        stream = make_stream(session_factory)
        for seed in range(5):
            stream.add(400, seed=seed)
        stream.end()
        before = stream.content()

        class Overtaking(WriterAtOnce):
            overtaken = False

            def submit(self, item):
                if not self.overtaken:
                    self.overtaken = True
                    assert compactor(session_factory).work() == 1
                return super().submit(item)

        assert Compactor(session_factory, Overtaking(session_factory), Clock()).work() == 0
        assert stream.content() == before
        with session_factory.begin() as session:
            assert session.scalar(select(func.sum(RollupRow.n)).where(RollupRow.level == 64)) == 2000
            assert session.scalars(select(Compaction.settled_frame)).one() == 2000


class TestRollups:
    def test_grow_with_the_run_and_hold_every_frame_once(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        working = compactor(session_factory)
        for seed in range(40):
            stream.add(1024, seed=seed)
            if seed % 10 == 0:
                working.work()
        stream.end()
        working.work()
        with session_factory.begin() as session:
            for level in (64, 1024, 16_384):
                rows = session.scalars(select(RollupRow).where(RollupRow.level == level)).all()
                assert sum(row.n for row in rows) == 40 * 1024
                assert all(row.buckets <= 256 for row in rows)
            assert len(session.scalars(select(RollupRow).where(RollupRow.level == 16_384)).all()) == 1

    def test_of_segments_shorter_than_a_bucket_share_one(
        self, session_factory: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(segments, "FRAMES", 512)
        stream = make_stream(session_factory)
        for seed in range(8):
            stream.add(512, seed=seed)
        compactor(session_factory).work()
        with session_factory.begin() as session:
            levels = {row.level: (row.n, row.buckets) for row in session.scalars(select(RollupRow))}
        assert levels == {64: (4096, 64), 1024: (4096, 4), 16_384: (4096, 1)}


def test_a_segment_keeps_frames_apart_that_are_lost_in_between() -> None:
    frame = np.array([5, 6, 9], np.int64)
    encoded = segments.encode_segment(frame, frames(3, 1))
    assert segments.decode_frame(encoded["frame"], 5, 3).tolist() == [5, 6, 9]
    assert "frame" not in segments.encode_segment(np.array([5, 6, 7], np.int64), frames(3, 1))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000, 1024])
def test_buckets_of_finite_layers_are_those_of_the_way_that_works_for_all(n: int) -> None:
    norms = np.exp(np.random.default_rng(0).standard_normal((n, 40))).astype(np.float32)
    new = frames(n, 40)
    new.layer_norms = norms
    rolled = roll_up(new)[64].layers
    expected = Buckets.of_frames(norms.T).regroup(np.arange(0, n, 64))
    for name in ("minimum", "maximum", "finite", "non_finite"):
        np.testing.assert_array_equal(getattr(rolled, name), getattr(expected, name))
    np.testing.assert_allclose(rolled.mean, expected.mean, rtol=1e-6)
