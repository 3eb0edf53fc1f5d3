"""Series and layers over HTTP, as the page asks for them."""

import json
import math
import struct
from uuid import uuid4

import pytest
from service.series.reading_back import pieces_of, whole_column
from service.speaking import LAYERS, ServiceUnderTest, Speaker, layout_id
from sqlalchemy import update

from gradvitals_service.series import ranges
from gradvitals_service.series.models import Chunk

NAN, INFINITY = float("nan"), float("inf")

BAD_PARAMETERS = [
    ("points", "0"),
    ("points", "10001"),
    ("points", "many"),
    ("from_step", "-1"),
    ("from_step", "1.5"),
    ("to_step", str(2**63)),
    ("rank", "-1"),
    ("rank", str(2**31)),
    ("metrics", ""),
    ("metrics", ",".join(f"m{k}" for k in range(33))),
    ("monitor", "x" * 129),
]


def resume(run: Speaker, **changes: object) -> Speaker:
    """A later attempt at the same run."""
    later = Speaker(run.service, run.run_id)
    later.heartbeat(started_at=1_790_000_100.0, **changes)
    return later


def series(run: Speaker, **asked: object) -> dict:
    """GET the series of a run."""
    return run.service.get(f"{run.path}/series", **asked)


def spoil(service: ServiceUnderTest, first: int, **blobs: bytes) -> None:
    """Do to a stored chunk what a failing disk does."""
    with service.app.state.session_factory.begin() as session:
        session.execute(update(Chunk).where(Chunk.first == first).values(blobs))


class TestSeries:
    def test_gives_every_frame_of_a_short_run(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3, global_norm=[1.0, 2.0, 4.0], clip_coefficient=[1.0, 0.5, 0.25], max_norm=[1.0] * 3)
        answer = series(run, metrics="global_norm,clip_coefficient")
        assert (answer["frames"], answer["bucket"], answer["step"], answer["last_step"]) == (3, 1, [0, 1, 2], 2)
        assert list(answer["series"]) == ["global_norm", "clip_coefficient"]
        for statistic in ("min", "max", "mean"):
            assert answer["series"]["global_norm"][statistic] == [1.0, 2.0, 4.0]
        assert answer["attempts"] == [{"attempt_id": str(run.attempt_id), "first_step": 0, "last_step": 2}]

    def test_keeps_a_spike_and_counts_what_is_not_finite(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 50)
        run.send(50, 50, global_norm=[5.0] * 20 + [9000.0, NAN, INFINITY] + [5.0] * 27)
        norm = series(run, metrics="global_norm", points=2)["series"]["global_norm"]
        assert norm["max"] == [5.0, 9000.0]
        assert norm["non_finite"] == [0, 2]

    def test_a_bucket_without_a_finite_value_is_null(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 2, global_norm=[NAN, 1.0])
        norm = series(run, metrics="global_norm")["series"]["global_norm"]
        assert norm == {"min": [None, 1.0], "max": [None, 1.0], "mean": [None, 1.0], "non_finite": [1, 0]}

    def test_tells_the_share_of_clipped_steps(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 4, clip_coefficient=[1.0, 0.5, 0.5, 0.5])
        assert series(run, metrics="clip_rate", points=1)["series"]["clip_rate"]["mean"] == [0.75]

    def test_tells_when_each_bucket_began(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 4, time=[1_790_000_000.5, 1_790_000_001.0, 1_790_000_060.0, 1_790_000_061.0])
        assert series(run, metrics="time", points=2)["series"]["time"]["min"] == [1_790_000_000.5, 1_790_000_060.0]

    def test_tells_scalars_only_where_they_were_logged(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3, scalars={"accuracy": {"present": b"\x05", "values": struct.pack("<2d", 0.5, 0.75)}})
        accuracy = series(run, metrics="accuracy")["series"]["accuracy"]
        assert accuracy["mean"] == [0.5, None, 0.75]
        assert accuracy["non_finite"] == [0, 0, 0]

    def test_a_range_has_both_its_ends(self, service: ServiceUnderTest):
        run = service.declare_run()
        for first in range(0, 100, 10):
            run.send(first, 10)
        answer = series(run, metrics="loss", from_step=25, to_step=27)
        assert (answer["step"], answer["frames"], answer["last_step"]) == ([25, 26, 27], 3, 99)

    def test_a_range_decodes_only_the_chunks_it_touches(self, service: ServiceUnderTest, monkeypatch):
        run = service.declare_run()
        for first in range(0, 100, 10):
            run.send(first, 10)
        decoded = []
        decode = ranges.decode_columns
        monkeypatch.setattr(ranges, "decode_columns", lambda blob, names: decoded.append(blob) or decode(blob, names))
        assert series(run, metrics="loss", from_step=25, to_step=31)["frames"] == 7
        assert len(decoded) == 2

    def test_a_run_without_frames_is_empty(self, service: ServiceUnderTest):
        run = service.declare_run()
        answer = series(run, metrics="loss")
        assert (answer["frames"], answer["bucket"], answer["step"], answer["last_step"]) == (0, 1, [], None)
        assert answer["series"] == {"loss": {"min": [], "max": [], "mean": [], "non_finite": []}}
        assert (answer["monitor"], answer["gaps"], answer["attempts"]) == ("main", [], [])

    def test_lost_frames_are_told_as_gaps(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 10)
        lost = [{"first": 10, "n": 5, "reason": "queue_full", "first_step": 10, "last_step": 14}]
        run.send(15, 5, lost=lost)
        gap = {"first_step": 10, "last_step": 14, "n": 5, "reason": "queue_full"}
        assert series(run)["gaps"] == [gap]
        assert series(run, to_step=9)["gaps"] == series(run, from_step=15)["gaps"] == []
        assert series(run, from_step=14)["gaps"] == [gap]

    def test_a_chunk_that_the_disk_has_spoiled_is_a_gap_and_the_rest_is_shown(self, service: ServiceUnderTest):
        run = service.declare_run()
        for first in (0, 10, 20):
            run.send(first, 10)
        spoil(service, first=10, columns=b"spoiled")
        answer = series(run)
        assert answer["step"] == [*range(10), *range(20, 30)]
        assert answer["gaps"] == [{"first_step": 10, "last_step": 19, "n": 10, "reason": "damaged"}]
        assert series(run, from_step=20)["gaps"] == []

    def test_shows_rank_zero_unless_asked_for_another(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 2, global_norm=[1.0, 1.0])
        other = Speaker(service, run.run_id)
        other.heartbeat(rank=1)
        other.send(0, 2, global_norm=[7.0, 7.0])
        assert series(run, metrics="global_norm")["series"]["global_norm"]["max"] == [1.0, 1.0]
        assert series(run, metrics="global_norm", rank=1)["series"]["global_norm"]["max"] == [7.0, 7.0]

    def test_takes_json_frames_like_any_other(self, service: ServiceUnderTest):
        run = Speaker(service, uuid4())
        frames = [{"step": 0, "global_norm": 1.5}, {"step": 5, "global_norm": "Infinity", "loss": "NaN"}]
        run.send_json({"project": "scratch", "name": "from curl", "frames": frames})
        answer = series(run, metrics="global_norm,loss")
        assert answer["step"] == [0, 5]
        assert answer["series"]["global_norm"]["non_finite"] == answer["series"]["loss"]["non_finite"] == [0, 1]


class TestMonitorOfASeries:
    def test_is_main_or_else_the_first_by_name(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 1, monitor="generator")
        run.send(0, 2, monitor="discriminator")
        assert series(run)["monitor"] == "discriminator"
        run.send(0, 3)
        assert series(run)["monitor"] == "main"
        assert series(run, monitor="generator")["frames"] == 1

    def test_that_the_run_does_not_have_is_named_with_those_it_has(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 1)
        answer = service.client.get(f"{run.path}/series", params={"monitor": "mian"}, headers=service.read)
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"query.monitor: run {run.run_id} has no monitor 'mian'; it has main"


class TestOverlappingAttempts:
    def test_the_newest_wins_from_its_first_step_on(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 10, global_norm=[1.0] * 10)
        later = resume(run)
        later.send(0, 3, step=[6, 7, 8], global_norm=[2.0] * 3)
        answer = series(run, metrics="global_norm")
        assert answer["step"] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
        assert answer["series"]["global_norm"]["max"] == [1.0] * 6 + [2.0] * 3
        shown = [(attempt["first_step"], attempt["last_step"]) for attempt in answer["attempts"]]
        assert shown == [(0, 9), (6, 8)]
        assert (answer["frames"], answer["last_step"]) == (9, 8)

    def test_an_attempt_without_frames_hides_nothing(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 10)
        resume(run, resumed_from_step=5)
        assert series(run)["frames"] == 10

    def test_a_gap_that_was_run_through_again_is_not_shown(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 5)
        run.send(8, 2, lost=[{"first": 5, "n": 3, "reason": "queue_full", "first_step": 5, "last_step": 7}])
        later = resume(run)
        later.send(0, 3, step=[4, 5, 6])
        assert series(run)["gaps"] == []

    def test_attempts_of_another_rank_cut_nothing(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 10)
        resume(run, rank=1).send(0, 2, step=[3, 4])
        assert series(run)["frames"] == 10


def logged(**values: float) -> dict[str, dict[str, bytes]]:
    """Scalars of one frame, as the wire has them."""
    return {name: {"present": b"\x01", "values": struct.pack("<d", value)} for name, value in values.items()}


class TestScalars:
    def test_are_named_once_each_as_a_chart_asks_for_them(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 1, scalars=logged(perplexity=2.0, loss=1.0))
        run.send(1, 1, scalars=logged(accuracy=0.5, perplexity=2.0))
        answer = service.get(f"{run.path}/scalars")
        assert answer == {"names": ["accuracy", "perplexity", "scalar:loss"], "count": 3}
        assert list(series(run, metrics=",".join(answer["names"]))["series"]) == answer["names"]

    def test_with_a_comma_can_be_asked_for(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 1, scalars=logged(**{"top 1, %": 0.5, "a\\b": 0.25}))
        answer = series(run, metrics=r"top 1\, %,a\\b")["series"]
        assert {name: columns["max"] for name, columns in answer.items()} == {"top 1, %": [0.5], "a\\b": [0.25]}

    def test_are_told_up_to_a_bound_with_their_count(self, service: ServiceUnderTest):
        run = service.declare_run()
        for first in range(9):
            run.send(first, 1, scalars=logged(**{f"s{first}-{k}": 1.0 for k in range(64)}))
        answer = service.get(f"{run.path}/scalars")
        assert (len(answer["names"]), answer["count"]) == (512, 9 * 64)

    def test_of_a_spoiled_chunk_are_left_out(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 1, scalars=logged(accuracy=0.5))
        run.send(1, 1, scalars=logged(perplexity=0.5))
        spoil(service, first=0, columns=b"spoiled")
        assert service.get(f"{run.path}/scalars")["names"] == ["perplexity"]


class TestLayers:
    def test_are_those_of_the_newest_frame(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 2, layer_norms=[1.0, 1.0, 3.0, 4.0])
        answer = service.get(f"{run.path}/layers")
        assert answer["step"] == 1
        assert [layer["name"] for layer in answer["layers"]] == ["encoder.weight", "head.weight"]
        assert [layer["norm"] for layer in answer["layers"]] == [3.0, 4.0]
        assert [layer["share"] for layer in answer["layers"]] == [0.36, 0.64]
        assert {name: answer["layers"][0][name] for name in ("module", "shape", "numel", "trainable")} == {
            "module": "encoder",
            "shape": [4, 4],
            "numel": 16,
            "trainable": True,
        }

    def test_a_norm_that_is_not_finite_is_told_and_leaves_no_shares(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 1, layer_norms=[3.0, NAN], global_norm=[NAN], flags=[3])
        layers = service.get(f"{run.path}/layers")["layers"]
        assert [layer["norm"] for layer in layers] == [3.0, "NaN"]
        assert [layer["share"] for layer in layers] == [None, None]

    def test_norms_of_the_weights_are_those_measured_last(self, service: ServiceUnderTest):
        run = service.declare_run()
        measured = {"rows": struct.pack("<I", 0), "values": struct.pack("<2f", 10.0, 20.0)}
        run.send(0, 10, param_norms=measured)
        run.send(10, 10)
        layers = service.get(f"{run.path}/layers")["layers"]
        assert [layer["param_norm"] for layer in layers] == [10.0, 20.0]

    def test_norms_of_the_weights_are_null_where_none_were_measured(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 1)
        assert [layer["param_norm"] for layer in service.get(f"{run.path}/layers")["layers"]] == [None, None]

    def test_that_the_disk_has_spoiled_are_called_damaged(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 10)
        spoil(service, first=0, layer_columns=b"spoiled")
        answer = service.client.get(f"{run.path}/layers", headers=service.read)
        assert (answer.status_code, answer.json()["error"]) == (500, "damaged")
        assert "up to step 9" in answer.json()["detail"]

    def test_a_run_without_frames_has_none(self, service: ServiceUnderTest):
        run = service.declare_run()
        assert service.get(f"{run.path}/layers") == {"step": None, "layers": []}

    def test_come_from_the_newest_attempt_with_its_own_layout(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 10)
        later = resume(run)
        later.declare_layout(LAYERS[:1])
        later.send(0, 1, step=[5], layout_id=layout_id(LAYERS[:1]), layer_norms=[7.0])
        answer = service.get(f"{run.path}/layers")
        assert (answer["step"], [layer["norm"] for layer in answer["layers"]]) == (5, [7.0])


class TestHeatmap:
    def test_tells_every_layer_in_buckets_and_where_it_was_not_finite(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 4, layer_norms=[1.0, 2.0, 3.0, NAN, 5.0, 6.0, 7.0, 8.0])
        answer = service.get(f"{run.path}/layers/heatmap", points=2)
        assert (answer["step"], answer["bucket"], answer["frames"]) == ([0, 2], 2, 4)
        assert answer["layers"] == ["encoder.weight", "head.weight"]
        assert answer["values"] == [[3.0, 7.0], [2.0, 8.0]]
        assert answer["non_finite"] == [[1, 0, 1]]
        assert service.get(f"{run.path}/layers/heatmap", points=2, statistic="mean")["values"] == [[2, 6], [2, 7]]

    def test_of_a_run_without_frames_is_empty(self, service: ServiceUnderTest):
        answer = service.get(f"{service.declare_run().path}/layers/heatmap")
        assert (answer["step"], answer["layers"], answer["values"]) == ([], [], [])


class TestHeatmapInBytes:
    """The same answer as in JSON, told to who accepts it."""

    def ask(self, run: Speaker, **asked: object) -> tuple[dict, bytes]:
        headers = run.service.read | {"Accept": "application/vnd.gradvitals.heatmap, application/json"}
        answer = run.service.client.get(f"{run.path}/layers/heatmap", headers=headers, params=asked)
        assert answer.headers["content-type"] == "application/vnd.gradvitals.heatmap"
        length = int.from_bytes(answer.content[:4], "little")
        assert length % 4 == 0  # so that what follows can be read where it lies
        return json.loads(answer.content[4 : 4 + length]), answer.content[4 + length :]

    def test_has_a_row_of_exact_norms_for_each_layer_and_then_the_counts(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 4, layer_norms=[1.0, 2.0, 0.1234567, NAN, 5.0, NAN, 7.0, NAN])
        head, body = self.ask(run, points=2)
        assert (head.pop("counts"), head["step"], head["layers"]) == (True, [0, 2], ["encoder.weight", "head.weight"])
        in_json = service.get(f"{run.path}/layers/heatmap", points=2)
        assert head == {name: value for name, value in in_json.items() if name not in ("values", "non_finite")}
        values, counts = struct.unpack("<4f", body[:16]), struct.unpack("<4H", body[16:])
        assert values[:3] == (1.0, 7.0, 2.0)
        assert math.isnan(values[3])
        assert counts == (0, 0, 1, 2)

    def test_counts_single_frames_too(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 2, layer_norms=[1.0, 2.0, INFINITY, NAN])
        _, body = self.ask(run)
        assert struct.unpack("<4H", body[16:]) == (0, 1, 0, 1)

    def test_has_no_counts_where_all_was_finite(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 2, layer_norms=[0.0, 2.0, 0.1234567, 4.0])
        head, body = self.ask(run)
        assert head["counts"] is False
        assert struct.unpack("<4f", body) == pytest.approx((0.0, 0.1234567, 2.0, 4.0))

    def test_of_a_run_without_frames_is_a_head_alone(self, service: ServiceUnderTest):
        head, body = self.ask(service.declare_run())
        assert (head["layers"], head["step"], body) == ([], [], b"")


class TestSeriesOfALayer:
    def test_has_its_norm_beside_the_global_one(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 4, layer_norms=[1.0, 2.0, 3.0, NAN, 5.0, 6.0, 7.0, 8.0])
        answer = service.get(f"{run.path}/layers/series", layer="head.weight", points=2)
        assert (answer["step"], answer["bucket"], answer["last_step"]) == ([0, 2], 2, 3)
        norm = {"min": [2.0, 6.0], "max": [2.0, 8.0], "mean": [2.0, 7.0], "non_finite": [1, 0]}
        assert answer["series"]["norm"] == norm
        assert answer["series"]["global_norm"]["max"] == [5.0, 5.0]

    def test_shows_the_steps_asked_for(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 10)
        answer = service.get(f"{run.path}/layers/series", layer="encoder.weight", from_step=3, to_step=5)
        assert (answer["step"], answer["series"]["norm"]["max"]) == ([3, 4, 5], [3.0, 3.0, 3.0])

    def test_of_a_layer_that_there_is_not_is_not_found(self, service: ServiceUnderTest):
        run = service.declare_run()
        asked = {"layer": "nose.weight"}
        answer = service.client.get(f"{run.path}/layers/series", params=asked, headers=service.read)
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
        assert "'nose.weight'" in answer.json()["detail"]

    def test_without_a_layer_is_refused(self, service: ServiceUnderTest):
        answer = service.client.get(f"{service.declare_run().path}/layers/series", headers=service.read)
        assert (answer.status_code, answer.json()["detail"][:12]) == (422, "query.layer:")


class TestExport:
    def export(self, run: Speaker, **asked: object):
        return run.service.client.get(f"{run.path}/export", headers=run.service.read, params=asked)

    def test_gives_exact_values_in_pieces(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 2, global_norm=[1.5, INFINITY])
        run.send(2, 2, layer_norms=[1.0, 0.25, 1.0, 0.5])
        answer = self.export(run, layer="head.weight", metrics="global_norm")
        assert answer.headers["content-type"] == "application/vnd.gradvitals.export+msgpack"
        pieces = pieces_of(answer.content)
        assert [piece["attempt_id"] for piece in pieces] == [str(run.attempt_id)] * 2
        assert [piece["step"] for piece in pieces] == [[0, 1], [2, 1]]
        assert struct.unpack("<4d", whole_column(pieces, "global_norm")) == (1.5, INFINITY, 5.0, 5.0)
        assert struct.unpack("<4f", whole_column(pieces, "head.weight")) == (4.0, 4.0, 0.25, 0.5)

    def test_gives_the_standard_metrics_unless_others_are_named(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 1)
        (piece,) = pieces_of(self.export(run).content)
        assert list(piece["metrics"]) == ["global_norm", "loss", "clip_coefficient", "max_norm", "lr"]
        (piece,) = pieces_of(self.export(run, metrics="").content)
        assert piece["metrics"] == piece["layers"] == {}

    def test_of_a_run_without_frames_is_empty(self, service: ServiceUnderTest):
        assert self.export(service.declare_run()).content == b""

    def test_refuses_a_layer_that_there_is_not_before_it_begins(self, service: ServiceUnderTest):
        run = service.declare_run()
        answer = self.export(run, layer="nose.weight")
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
        assert "'nose.weight'" in answer.json()["detail"]


class TestBadParameters:
    def test_are_refused_by_name(self, service: ServiceUnderTest):
        run = service.declare_run()
        for parameter, value in BAD_PARAMETERS:
            answer = service.client.get(f"{run.path}/series", params={parameter: value}, headers=service.read)
            assert answer.status_code == 422, (parameter, value)
            assert answer.json()["detail"].startswith(f"query.{parameter}: ")

    def test_a_run_that_is_no_id_is_refused_by_name(self, service: ServiceUnderTest):
        for what in ("series", "layers", "layers/heatmap", "layers/series?layer=head.weight", "export"):
            answer = service.client.get(f"/api/v1/runs/mine/{what}", headers=service.read)
            assert (answer.status_code, answer.json()["error"]) == (422, "malformed")
            assert answer.json()["detail"].startswith("path.run_id: ")

    def test_of_what_is_said_twice_the_last_counts_and_what_is_unknown_does_not(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 10)
        asked = {"points": ["many", "5"], "colour": "red"}
        answer = service.client.get(f"{run.path}/series", params=asked, headers=service.read)
        assert len(answer.json()["step"]) == 5

    def test_a_range_that_ends_before_it_begins_is_refused(self, service: ServiceUnderTest):
        run = service.declare_run()
        asked = {"from_step": 10, "to_step": 9}
        answer = service.client.get(f"{run.path}/series", params=asked, headers=service.read)
        assert (answer.status_code, answer.json()["detail"]) == (422, "query.to_step: 9 lies before from_step 10")

    def test_a_strange_name_is_just_unknown(self, service: ServiceUnderTest):
        run = service.declare_run()
        for monitor in (b"a\0b", b"\xed\xa0\x80", b"'; drop table runs --"):
            answer = service.client.get(f"{run.path}/layers", params={"monitor": monitor}, headers=service.read)
            assert answer.status_code == 404

    @pytest.mark.parametrize("what", ["series", "layers"])
    def test_an_unknown_run_is_not_found(self, service: ServiceUnderTest, what: str):
        answer = service.client.get(f"/api/v1/runs/{uuid4()}/{what}", headers=service.read)
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
