"""A run reads the same before and after it is compacted, and no spike is averaged away."""

import msgspec
import numpy as np
import pytest
from service.series.reading_back import pieces_of, whole_column
from service.series.storing import StreamInTables, WriterAtOnce, make_stream
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.database import begin_snapshot
from gradvitals_service.series.attempts import Span
from gradvitals_service.series.compactor import Compactor
from gradvitals_service.series.export import Wanted, export
from gradvitals_service.series.heatmap import heatmap_as_json, read_heatmap
from gradvitals_service.series.history import layer_norms_at
from gradvitals_service.series.layer_series import read_layer_series
from gradvitals_service.series.layers import read_layers
from gradvitals_service.series.models import Chunk, RollupRow, Segment, SegmentColumn
from gradvitals_service.series.queries import Line, newest_layers
from gradvitals_service.series.reading import read_series
from gradvitals_service.series.scalars import read_scalars
from gradvitals_service.wirejson import encode

METRICS = ["global_norm", "loss", "clip_rate", "lr", "time", "accuracy", "unknown"]


def line_of(stream: StreamInTables) -> Line:
    return Line(stream.key.run_id, "main", 0)


def series(stream: StreamInTables, points: int = 10_000, asked=(None, None), metrics=METRICS) -> dict:
    with begin_snapshot(stream.session_factory) as session:
        return decoded(read_series(session, line_of(stream), metrics, points, asked))


def heatmap(stream: StreamInTables, points: int = 10_000, asked=(None, None), statistic="max") -> dict:
    with begin_snapshot(stream.session_factory) as session:
        return decoded(heatmap_as_json(read_heatmap(session, line_of(stream), statistic, points, asked)))


def layer_series(stream: StreamInTables, layer: str, points: int = 10_000, asked=(None, None)) -> dict:
    with begin_snapshot(stream.session_factory) as session:
        return decoded(read_layer_series(session, line_of(stream), layer, points, asked))


def decoded(answer: dict) -> dict:
    return msgspec.json.decode(encode(answer))


def exported(stream: StreamInTables, asked=(None, None)) -> list[dict]:
    wanted = Wanted(line_of(stream), ["global_norm", "accuracy"], ["block1.weight"], asked)
    return pieces_of(b"".join(export(stream.session_factory, wanted)))


def compact(stream: StreamInTables) -> None:
    Compactor(stream.session_factory, WriterAtOnce(stream.session_factory)).work()


@pytest.fixture
def stream(session_factory: sessionmaker[Session]) -> StreamInTables:
    """5,000 frames in chunks of 250, some of them lost in between, of a run that has ended but is not compacted."""
    stream = make_stream(session_factory)
    for seed in range(20):
        stream.add(250, lost=3 if seed == 7 else 0, seed=seed)
    stream.end()
    return stream


class TestEveryFrame:
    @pytest.mark.parametrize("asked", [(None, None), (1000, 3333), (4990, None), (None, 3)])
    def test_of_a_chart_is_the_same_after_compaction(self, stream: StreamInTables, asked):
        before = series(stream, asked=asked)
        compact(stream)
        assert series(stream, asked=asked) == before
        assert before["frames"] > 0
        assert before["bucket"] == 1

    def test_of_a_heat_map_is_the_same_after_compaction(self, stream: StreamInTables):
        before = heatmap(stream, asked=(1000, 3333))
        compact(stream)
        assert heatmap(stream, asked=(1000, 3333)) == before
        assert len(before["values"]) == 2
        assert len(before["values"][0]) == before["frames"] == 2331

    def test_names_the_same_scalars_after_compaction(self, stream: StreamInTables):
        def scalars() -> dict:
            with begin_snapshot(stream.session_factory) as session:
                return read_scalars(session, line_of(stream))

        before = scalars()
        compact(stream)
        assert scalars() == before == {"names": ["accuracy"], "count": 1}
        with stream.session_factory.begin() as session:
            assert session.scalars(select(Chunk.first)).all() == []

    def test_of_one_layer_is_the_same_after_compaction(self, stream: StreamInTables):
        before = layer_series(stream, "block1.weight", asked=(1000, 3333))
        compact(stream)
        assert layer_series(stream, "block1.weight", asked=(1000, 3333)) == before
        assert len(before["series"]["norm"]["max"]) == before["frames"] == 2331

    @pytest.mark.parametrize("asked", [(None, None), (1000, 3333)])
    def test_of_an_export_is_the_same_bytes_after_compaction(self, stream: StreamInTables, asked):
        before = exported(stream, asked)
        compact(stream)
        after = exported(stream, asked)
        assert len(after) < len(before)
        for name in ("step", "global_norm", "accuracy", "block1.weight"):
            assert whole_column(after, name) == whole_column(before, name)

    def test_that_an_event_began_at_still_has_its_layers(self, stream: StreamInTables):
        def norms(frame: int) -> list[bytes | None]:
            with stream.session_factory.begin() as session:
                row = layer_norms_at(session, stream.key, frame, 2)
                return [None if row is None else row.tobytes()]

        before = [norms(frame) for frame in (0, 1751, 4999)]
        compact(stream)
        assert [norms(frame) for frame in (0, 1751, 4999)] == before
        assert before[1] == [None]  # lost

    def test_the_newest_one_still_tells_its_layers_and_their_weights(self, stream: StreamInTables):
        def layers() -> dict:
            with begin_snapshot(stream.session_factory) as session:
                return decoded(read_layers(session, line_of(stream)))

        before = layers()
        compact(stream)
        assert layers() == before
        assert before["step"] == 5002
        assert before["layers"][0]["param_norm"] is not None
        with stream.session_factory.begin() as session:
            newest = newest_layers(session, line_of(stream), Span(stream.key.attempt_id, 0, None))
            assert newest is not None
            assert newest.in_segment


class TestBuckets:
    def test_hold_the_spikes_of_the_frames_and_count_them_all(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        exact = [stream.add(1000, seed=seed).columns["global_norm"] for seed in range(20)]
        stream.end()
        compact(stream)
        norms = np.concatenate(exact)
        finite = norms[np.isfinite(norms)]
        for points in (1, 7, 20, 300):
            answer = series(stream, points=points)
            norm = answer["series"]["global_norm"]
            assert len(answer["step"]) <= points
            assert answer["frames"] == 20_000
            assert max(value for value in norm["max"] if value is not None) == finite.max()
            assert min(value for value in norm["min"] if value is not None) == finite.min()
            assert sum(norm["non_finite"]) == (~np.isfinite(norms)).sum()

    def test_of_a_chart_are_those_of_its_frames_where_they_are_as_long_as_what_is_kept(
        self, session_factory: sessionmaker[Session]
    ):
        stream = make_stream(session_factory)
        exact = [stream.add(1024, seed=seed).columns["loss"].astype(float) for seed in range(4)]
        stream.end()
        before = series(stream, points=4)
        compact(stream)
        with session_factory.begin() as session:  # read from buckets alone
            session.execute(delete(SegmentColumn))
        after = series(stream, points=4)
        assert (after["bucket"], after["step"]) == (before["bucket"], before["step"]) == (1024, [0, 1024, 2048, 3072])
        for name in ("global_norm", "loss", "clip_rate", "time", "accuracy", "unknown"):
            for statistic in ("min", "max", "non_finite"):
                assert after["series"][name][statistic] == before["series"][name][statistic]
            means = [before["series"][name]["mean"], after["series"][name]["mean"]]
            assert means[1] == pytest.approx(means[0]), name
        assert len(exact) == 4

    def test_of_one_layer_are_those_of_the_heat_map(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        for seed in range(4):
            stream.add(1024, seed=seed)
        stream.end()
        frames = layer_series(stream, "block1.weight", points=4)
        compact(stream)
        for points in (4, 40):
            answer, shown = layer_series(stream, "block1.weight", points), heatmap(stream, points)
            assert answer["step"] == shown["step"]
            assert answer["series"]["norm"]["max"] == pytest.approx(shown["values"][1], rel=1e-3)
            bad = [(bucket, count) for layer, bucket, count in shown["non_finite"] if layer == 1]
            assert bad == [(at, count) for at, count in enumerate(answer["series"]["norm"]["non_finite"]) if count]
        rolled_up = layer_series(stream, "block1.weight", points=4)["series"]
        for name in ("norm", "global_norm"):
            for statistic in ("min", "max", "non_finite"):
                assert rolled_up[name][statistic] == frames["series"][name][statistic]
            assert rolled_up[name]["mean"] == pytest.approx(frames["series"][name]["mean"])

    def test_of_a_heat_map_hold_the_spikes_of_every_layer(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        exact = np.concatenate([stream.add(1024, seed=seed).layer_norms for seed in range(20)])
        stream.end()
        compact(stream)
        answer = heatmap(stream, points=20)
        assert answer["layers"] == ["block0.weight", "block1.weight"]
        for place in (0, 1):
            norms = exact[:, place]
            assert max(answer["values"][place]) == pytest.approx(norms[np.isfinite(norms)].max(), rel=1e-3)
            counted = sum(count for layer, _, count in answer["non_finite"] if layer == place)
            assert counted == (~np.isfinite(norms)).sum()

    def test_at_the_edges_of_a_range_hold_nothing_from_beyond_it(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory)
        for seed in range(20):
            stream.add(1000, seed=seed)
        stream.end()
        before = series(stream, points=50, asked=(1_111, 18_765))
        compact(stream)
        after = series(stream, points=50, asked=(1_111, 18_765))
        assert after["frames"] == before["frames"] == 18_765 - 1_111 + 1
        assert after["step"][0] == 1_111
        for name in ("global_norm", "loss"):
            assert sum(after["series"][name]["non_finite"]) == sum(before["series"][name]["non_finite"])
            assert max(after["series"][name]["max"]) == max(before["series"][name]["max"])


class TestOverlappingAttempts:
    def test_are_cut_at_the_newest_ones_first_step_after_compaction_too(self, session_factory: sessionmaker[Session]):
        older = make_stream(session_factory)
        for seed in range(5):
            older.add(1000, seed=seed)
        newer = make_stream(session_factory, run=older.key)
        newer.next_step = 2_345
        for seed in range(2):
            newer.add(1000, seed=seed)
        older.end()
        newer.end()
        before, few = series(older), series(older, points=30)
        compact(older)
        assert series(older) == before
        assert before["frames"] == 2_345 + 2_000
        after = series(older, points=30)
        assert after["frames"] == few["frames"] == 4_345
        for statistic, pick in (("max", max), ("min", min)):
            assert pick(after["series"]["loss"][statistic]) == pick(few["series"]["loss"][statistic])
        assert [attempt["first_step"] for attempt in after["attempts"]] == [0, 2_345]


class TestWhatADiskHasSpoiled:
    def test_in_one_column_of_a_segment_is_a_gap_of_the_charts_that_need_it(self, stream: StreamInTables):
        compact(stream)
        with stream.session_factory.begin() as session:
            session.execute(update(SegmentColumn).where(SegmentColumn.name == "loss").values(data=b"spoiled"))
        answer = series(stream, metrics=["loss"])
        assert answer["frames"] == 0
        assert [gap["reason"] for gap in answer["gaps"]] == ["quota", "damaged"]
        assert answer["gaps"][1] == {"first_step": 0, "last_step": 5002, "n": 5000, "reason": "damaged"}
        assert series(stream, metrics=["global_norm"])["frames"] == 5000

    def test_in_buckets_is_read_from_the_frames(self, stream: StreamInTables):
        compact(stream)
        before = series(stream, points=10)
        with stream.session_factory.begin() as session:
            session.execute(update(RollupRow).values(columns=b"spoiled"))
        after = series(stream, points=10)
        assert (after["frames"], after["gaps"]) == (5000, before["gaps"])
        assert max(after["series"]["loss"]["max"]) == max(before["series"]["loss"]["max"])

    def test_one_flipped_bit_anywhere_in_a_column_is_noticed(self, stream: StreamInTables):
        compact(stream)
        with stream.session_factory.begin() as session:
            blob = session.scalars(select(SegmentColumn.data).where(SegmentColumn.name == "global_norm")).one()
        for position in np.random.default_rng(0).integers(4, len(blob), 20):
            changed = bytearray(blob)
            changed[position] ^= 1
            with stream.session_factory.begin() as session:
                at = update(SegmentColumn).where(SegmentColumn.name == "global_norm")
                session.execute(at.values(data=bytes(changed)))
            assert series(stream, metrics=["global_norm"])["gaps"][-1]["reason"] == "damaged"

    def test_is_told_by_an_export_and_the_rest_is_sent(self, stream: StreamInTables):
        compact(stream)
        stream.add(100, seed=1)
        with stream.session_factory.begin() as session:
            session.execute(update(SegmentColumn).where(SegmentColumn.name == "layer/1").values(data=b"spoiled"))
        damaged, fine = exported(stream)
        assert damaged["missing"] == {"first_step": 0, "last_step": 5002, "n": 5000, "reason": "damaged"}
        assert fine["n"] == 100

    def test_before_compaction_stays_told_after_it(self, stream: StreamInTables):
        with stream.session_factory.begin() as session:
            session.execute(update(Chunk).where(Chunk.first == 500).values(columns=b"spoiled"))
        compact(stream)
        answer = series(stream)
        assert {"first_step": 500, "last_step": 749, "n": 250, "reason": "damaged"} in answer["gaps"]
        assert answer["frames"] == 4750

    def test_of_layers_alone_leaves_the_metrics_of_their_frames_where_they_were(self, stream: StreamInTables):
        before = series(stream)
        with stream.session_factory.begin() as session:
            session.execute(update(Chunk).where(Chunk.first == 500).values(layer_columns=b"spoiled"))
        compact(stream)
        for seed in (20, 21):
            stream.add(250, seed=seed)
        answer = series(stream)
        assert answer["step"] == [*before["step"], *range(5003, 5503)]
        assert answer["series"]["loss"]["max"][:5000] == before["series"]["loss"]["max"]

    def test_in_one_of_the_newest_chunks_is_a_gap_between_the_others(self, stream: StreamInTables):
        before = series(stream)
        with stream.session_factory.begin() as session:
            session.execute(update(Chunk).where(Chunk.first == 500).values(columns=b"spoiled"))
        after = series(stream)
        assert after["step"] == [step for step in before["step"] if not 500 <= step <= 749]
        assert [gap["reason"] for gap in after["gaps"]] == ["quota", "damaged"]


class TestLayouts:
    def test_that_differ_share_a_heat_map_by_the_names_of_their_layers(self, session_factory: sessionmaker[Session]):
        stream = make_stream(session_factory, (3, 2))
        stream.add(2000, 3)
        stream.add(2000, 2, seed=1)
        stream.end()
        before = heatmap(stream, points=4)
        compact(stream)
        with session_factory.begin() as session:
            assert len(session.scalars(select(Segment)).all()) == 2
        after = heatmap(stream, points=4)
        assert after["layers"] == before["layers"] == ["block0.weight", "block1.weight"]
        assert [max(row) for row in after["values"]] == [max(row) for row in before["values"]]
