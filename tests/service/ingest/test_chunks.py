"""Chunks over HTTP: counted once, whatever is repeated, and stored wholly or not at all."""

import math
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from service.speaking import CHUNK_TYPE, LAYERS, ServiceUnderTest, Speaker
from sqlalchemy import event, func, select
from wire import golden

from gradvitals_service.ingest.models import Gap, Stream
from gradvitals_service.series.codec import decode_columns
from gradvitals_service.series.models import Chunk


def count(service: ServiceUnderTest, table: Any) -> int:
    with service.app.state.session_factory.begin() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def stored_steps(service: ServiceUnderTest, run: Speaker) -> list[int]:
    with service.app.state.session_factory.begin() as session:
        blobs = session.scalars(select(Chunk.columns).where(Chunk.run_id == run.run_id).order_by(Chunk.first))
        return [step for blob in blobs for step in decode_columns(blob)["step"].tolist()]


def test_a_chunk_is_taken_and_the_next_frame_is_told(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    assert run.send(0, 3) == {"next": 3, "event_revision": 0}
    assert run.send(3, 2)["next"] == 5
    detail = service.get(run.path)
    assert (detail["frames"], detail["lost"], detail["last_step"], detail["health"]) == (5, 0, 4, "healthy")


def test_a_repeated_chunk_is_acknowledged_again_and_stored_once(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    assert [run.send(0, 3)["next"] for _ in range(3)] == [3, 3, 3]
    assert stored_steps(service, run) == [0, 1, 2]


def test_an_overlapping_chunk_is_trimmed_to_what_is_new(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    run.send(0, 3)
    assert run.send(1, 4)["next"] == 5
    assert stored_steps(service, run) == [0, 1, 2, 3, 4]


def test_a_chunk_beyond_the_end_is_refused_with_the_place_to_send_from(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    run.send(0, 3)
    refusal = run.post(run.chunk(4, 2))
    assert refusal.status_code == 409
    assert refusal.json()["error"] == "out_of_order"
    assert refusal.json()["next"] == 3
    assert stored_steps(service, run) == [0, 1, 2]


def test_lost_frames_are_kept_as_gaps_and_nothing_waits_for_them(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    gap = {"first": 0, "n": 5, "reason": "queue_full", "first_step": 0, "last_step": 4}
    assert run.send(5, 2, lost=[gap])["next"] == 7
    assert run.send(5, 2, lost=[gap])["next"] == 7
    detail = service.get(run.path)
    assert (detail["frames"], detail["lost"]) == (2, 5)
    assert count(service, Gap) == 1


def test_lost_frames_can_be_told_without_any_frame(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    assert run.send(5, 0, lost=[{"first": 0, "n": 5, "reason": "quota"}])["next"] == 5
    assert run.send(5, 1)["next"] == 6


def test_streams_of_the_longest_gaps_can_still_be_counted_together(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    most = {"first": 0, "n": 2**63 - 1, "reason": "quota"}
    for monitor in ("main", "main-2"):
        run.send(0, 0, monitor=monitor, lost=[most])
    shown = service.get(run.path)
    assert (shown["frames"], shown["lost"]) == (0, 2**64 - 2)


def test_a_runs_config_is_not_read_for_each_chunk(service: ServiceUnderTest) -> None:
    run = service.declare_run(config={"lr": 0.5})
    run.send(0, 3)
    statements: list[str] = []
    event.listen(service.app.state.writer_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    run.send(3, 3)
    service.get(f"{run.path}/series")
    assert len(statements) > 3
    assert [statement for statement in statements if "config" in statement] == []
    assert service.get(run.path)["config"] == {"lr": 0.5}


def test_each_monitor_and_each_attempt_is_a_stream_of_its_own(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    again = Speaker(service, run.run_id)
    again.heartbeat()
    assert run.send(0, 3)["next"] == 3
    assert run.send(0, 2, monitor="main-2")["next"] == 2
    assert again.send(0, 1)["next"] == 1


def test_repeats_in_any_order_and_at_once_leave_each_frame_once(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    pieces = [(first, 4) for first in range(0, 40, 2)]

    def deliver(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(pieces)).tolist()
        while order:
            answers = {place: run.post(run.chunk(*pieces[place])).status_code for place in order}
            assert set(answers.values()) <= {200, 409}
            order = [place for place, status in answers.items() if status == 409]

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(deliver, seed) for seed in range(4)]:
            done.result()
    assert stored_steps(service, run) == list(range(42))


def test_steps_must_go_on_increasing_within_an_attempt(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    run.send(0, 3)
    refusal = run.post(run.chunk(3, 2, step=[2, 3]))
    assert refusal.status_code == 422
    assert "step 2 follows step 2" in refusal.json()["detail"]
    assert stored_steps(service, run) == [0, 1, 2]


@pytest.mark.parametrize("missing", ["run", "attempt", "layout"])
def test_what_was_not_declared_is_404_and_nothing_is_stored(service: ServiceUnderTest, missing: str) -> None:
    run = Speaker(service, uuid4())
    if missing != "run":
        run.declare_run()
    if missing == "layout":
        run.heartbeat()
    refusal = run.post(run.chunk(0, 1))
    assert refusal.status_code == 404
    assert f"{missing} " in refusal.json()["detail"]
    assert "declare it again" in refusal.json()["detail"]
    assert count(service, Stream) == 0


def test_as_many_norms_are_needed_as_the_layout_has_layers(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    refusal = run.post(run.chunk(0, 2, layer_norms=[1.0, 2.0, 3.0] * 2))
    assert refusal.status_code == 422
    assert refusal.json() == {
        "error": "malformed",
        "detail": "layer_norms: norms of 3 layers, but the layout has 2",
    }
    assert count(service, Stream) == 0


def test_the_golden_chunk_is_taken_after_the_frames_before_it(service: ServiceUnderTest) -> None:
    run = Speaker(service, uuid4(), UUID(golden.ATTEMPT_ID))
    names = ("name", "module", "shape", "numel", "dtype", "parameter_group", "trainable")
    layers = [dict(zip(names, layer, strict=True)) for layer in golden.LAYERS]
    run.declare_run()
    run.heartbeat()
    run.declare_layout(layers)
    assert run.post(golden.PATH.read_bytes()).json()["next"] == 0  # frames 60 and on come too early
    run.send(0, 0, layout_id=golden.LAYOUT_ID, lost=[{"first": 0, "n": 60, "reason": "rewound"}])
    assert run.post(golden.PATH.read_bytes()).json()["next"] == 67
    assert stored_steps(service, run) == golden.STEP
    detail = service.get(run.path)
    assert (detail["global_norm"], detail["loss"], detail["max_norm"]) == ("NaN", "NaN", 2.5)


class TestTheNewestFigures:
    """What is kept beside the run for the overview."""

    def test_they_are_those_of_the_newest_frames(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 4, clip_coefficient=[1.0, 0.5, 0.5, 1.0], max_norm=[2.0] * 4, loss=[4.0, 3.0, 2.0, 1.5])
        detail = service.get(run.path)
        figures = {name: detail[name] for name in ("last_step", "global_norm", "loss", "clip_rate", "max_norm")}
        assert figures == {"last_step": 3, "global_norm": 5.0, "loss": 1.5, "clip_rate": 0.5, "max_norm": 2.0}

    def test_the_clip_rate_is_that_of_the_whole_run_without_its_non_finite_steps(
        self, service: ServiceUnderTest
    ) -> None:
        run = service.declare_run()
        run.send(0, 3, clip_coefficient=[0.5, 0.5, 0.5])
        run.send(3, 2, clip_coefficient=[1.0, math.nan], global_norm=[5.0, math.nan], flags=[2, 3])
        assert service.get(run.path)["clip_rate"] == 0.75

    def test_a_loss_that_was_not_logged_leaves_the_last_one(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 2, loss=[4.0, 3.0])
        run.send(2, 1, loss=[math.nan], flags=[0])
        assert service.get(run.path)["loss"] == 3.0

    def test_what_an_attempt_sends_after_its_successor_does_not_change_them(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 10)
        later = Speaker(service, run.run_id)
        later.heartbeat(started_at=1_790_000_100.0, resumed_from_step=8)
        later.send(0, 4, step=[8, 9, 10, 11])
        run.send(10, 1, global_norm=[7.0])
        shown = service.get(run.path)
        assert (shown["last_step"], shown["global_norm"]) == (11, 5.0)
        assert shown["sparkline"]["step"] == list(range(12))

    def test_a_rank_other_than_0_does_not_change_them(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 1)
        other = Speaker(service, run.run_id)
        other.heartbeat(rank=1, world_size=2)
        other.send(0, 9)
        assert service.get(run.path)["last_step"] == 0

    def test_a_run_whose_gradients_were_clipped_before_is_not_called_healthy(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 1, flags=[8])
        assert service.get(run.path)["health"] == "not_measurable"


class TestWhatIsNotAChunk:
    """Refused before anything is looked at."""

    def test_another_content_type_is_415(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        headers = service.ingest | {"Content-Type": "application/json"}
        refusal = service.client.post(f"{run.path}/chunks", content=b"{}", headers=headers)
        assert refusal.status_code == 415
        assert refusal.json()["wire_versions"] == [1]

    def test_a_future_version_is_415_with_the_versions_spoken(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        refusal = run.post(run.chunk(0, 1) | {"v": 2})
        assert refusal.status_code == 415
        assert refusal.json()["wire_versions"] == [1]

    def test_a_body_over_8_mebibytes_is_413_by_its_declared_length(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        refusal = run.post(b"\0" * (8 * 2**20 + 1))
        assert refusal.status_code == 413
        assert "8 MiB" in refusal.json()["detail"]

    def test_a_body_over_8_mebibytes_is_413_when_its_length_is_not_declared(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        headers = service.ingest | {"Content-Type": CHUNK_TYPE}
        pieces = (b"\0" * 2**20 for _ in range(9))
        refusal = service.client.post(f"{run.path}/chunks", content=pieces, headers=headers)
        assert refusal.status_code == 413

    def test_a_path_that_holds_no_uuid_is_422(self, service: ServiceUnderTest) -> None:
        headers = service.ingest | {"Content-Type": CHUNK_TYPE}
        refusal = service.client.post("/api/v1/runs/abc/chunks", content=b"", headers=headers)
        assert refusal.status_code == 422
        assert "run_id" in refusal.json()["detail"]


def test_a_layout_may_change_in_the_middle_of_a_stream(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    run.send(0, 2)
    frozen = [LAYERS[0] | {"trainable": False}, LAYERS[1]]
    more = [*LAYERS, LAYERS[1] | {"name": "tail.weight", "module": "tail"}]
    frozen_id, more_id = run.declare_layout(frozen)["layout_id"], run.declare_layout(more)["layout_id"]
    assert run.send(2, 2, layout_id=frozen_id)["next"] == 4
    assert run.send(4, 2, layout_id=more_id, layer_norms=[1.0, 2.0, 3.0] * 2)["next"] == 6


def test_a_chunk_as_large_as_the_wire_allows_is_taken(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    layers = [LAYERS[0] | {"name": f"layer{k}", "module": f"module{k}"} for k in range(400)]
    wide = run.declare_layout(layers)["layout_id"]
    norms = struct.pack("<f", 1.0) * (400 * 4096)
    assert run.send(0, 4096, layout_id=wide, layer_norms=norms)["next"] == 4096
