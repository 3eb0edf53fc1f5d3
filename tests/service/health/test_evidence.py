"""The frames around the opening of an event are kept, once and for ever."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from service.health.test_watch import RUN_ID, new_run, send_history
from service.speaking import LAYERS, ServiceUnderTest, Speaker, layout_id
from sqlalchemy import select

from gradvitals_service.health.models import EventEvidence
from gradvitals_service.projects.queries import keep_raw_layers
from gradvitals_service.runs.deletion import Remover
from gradvitals_service.series.codec import COLUMN_TYPES, decode_columns
from gradvitals_service.series.retention import Retention

NAN: dict[str, Any] = {
    "global_norm": [math.nan],
    "layer_norms": [math.nan, 4.0],
    "flags": [3],
    "clip_coefficient": [math.nan],
}


def the_evidence(run: Speaker) -> Any:
    (event,) = run.service.get(f"{run.path}/events")["events"]
    return run.service.get(f"{run.path}/events/{event['event_id']}/evidence")


def kept(service: ServiceUnderTest) -> list[dict[str, Any]]:
    """Every row, whole, but for the clock of the client, which begins anew with each chunk that the tests make."""
    with service.app.state.session_factory.begin() as session:
        rows = session.scalars(select(EventEvidence).order_by(EventEvidence.start_frame)).all()
        return [
            {column.name: getattr(row, column.name) for column in EventEvidence.__table__.columns}
            | {"columns": repr([*decode_columns(row.columns, set(COLUMN_TYPES) - {"time"}).items()])}
            for row in rows
        ]


class TestWhatIsKept:
    def test_is_200_frames_before_the_alarm_and_fifty_from_it_on(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 300)
        run.send(300, 1, **NAN)
        run.send(301, 100)
        evidence = the_evidence(run)
        assert evidence["complete"]
        assert evidence["columns"]["step"] == list(range(100, 350))
        assert (evidence["start_row"], evidence["last_healthy_step"]) == (200, 299)
        assert evidence["columns"]["global_norm"][199:202] == [5.0, "NaN", 5.0]

    def test_is_what_was_measured_there(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        scalars = {"accuracy": {"present": b"\x01", "values": np.array([0.5]).tobytes()}}
        details = [{"row": 1, "non_finite": [], "batch_id": "b-16"}]
        coefficients = {"clip_coefficient": [1.0, 0.5], "max_norm": [1.0, 2.0], "lr": [0.1, 0.2], "loss": [1.0, 2.0]}
        run.send(0, 2, **coefficients, loss_scale=[8.0, 16.0], flags=[2, 0], scalars=scalars, details=details)
        run.send(2, 1, **NAN, details=[{"row": 0, "non_finite": [[0, 1, 0]], "batch_id": "b-17"}])
        evidence = the_evidence(run)
        columns = evidence["columns"]
        assert columns["clip_coefficient"] == [1.0, 0.5, "NaN"]
        assert columns["max_norm"] == [1.0, 2.0, "Infinity"]
        assert columns["loss"] == [1.0, None, 1.0]
        assert columns["loss_scale"] == [8.0, 16.0, 1.0]
        assert columns["lr"] == pytest.approx([0.1, 0.2, 0.1])
        assert columns["batch_id"] == [None, "b-16", "b-17"]
        assert evidence["scalars"] == {"accuracy": [0.5, None, None]}
        assert evidence["layers"] == [
            {"name": "encoder.weight", "norms": [3.0, 3.0, "NaN"]},
            {"name": "head.weight", "norms": [4.0, 4.0, 4.0]},
        ]
        assert (evidence["clip_rate_before"], evidence["clip_rate_after"]) == (0.5, None)
        assert not evidence["complete"]

    def test_names_the_checkpoint_that_was_clean(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 300)
        run.save(100, 200, 301)
        run.send(300, 1, **NAN)
        assert the_evidence(run)["clean_checkpoint"] == {"path": "/checkpoints/200.pt", "step": 200}

    def test_has_no_layers_where_the_layout_was_another(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 2)
        layers = [LAYERS[0] | {"name": name} for name in "abc"]
        run.declare_layout(layers)
        run.send(2, 1, layout_id=layout_id(layers), layer_norms=[1.0, 2.0, 3.0])
        bad = NAN | {"layout_id": layout_id(layers), "layer_norms": [1.0, math.nan, 3.0]}
        run.send(3, 1, **bad)
        evidence = the_evidence(run)
        assert evidence["columns"]["step"] == [0, 1, 2, 3]
        assert evidence["layers"][0] == {"name": "b", "norms": ["NaN", "NaN", 2.0, "NaN"]}

    def test_does_not_depend_on_how_frames_were_split(self, make_service: Callable[..., ServiceUnderTest]) -> None:
        service = make_service()
        send_history(new_run(service), lambda first: 7)
        rows = kept(service)
        assert [(row["start_frame"], row["n"], row["complete"]) for row in rows] == [(300, 250, True), (400, 250, True)]
        assert rows == kept_of_one_chunk(make_service)

    def test_survives_a_restart_between_every_two_chunks(self, make_service: Callable[..., ServiceUnderTest]) -> None:
        run = new_run(make_service())

        def restart(first: int) -> None:
            run.service.app.state.writer.stop()
            run.service = make_service()

        send_history(run, lambda first: 10 if 295 <= first < 360 else 295 if first == 0 else 90, restart)
        assert kept(run.service) == kept_of_one_chunk(make_service)


def kept_of_one_chunk(make_service: Callable[..., ServiceUnderTest]) -> list[dict[str, Any]]:
    """What is kept of the same history where it comes at once; what was there is deleted before."""
    service = make_service()
    with service.app.state.session_factory.begin() as session:
        for table in ("event_evidence", "events", "chunks", "streams", "attempts", "layouts", "runs"):
            session.connection().exec_driver_sql(f"DELETE FROM {table}")
    run = new_run(service)
    send_history(run, lambda first: 4096)
    return kept(service)


class TestWhenItIsComplete:
    def evidence_after(self, run: Speaker, frames: int) -> Any:
        run.send(0, 60)
        run.send(60, 1, **NAN)
        if frames:
            run.send(61, frames)
        return the_evidence(run)

    @pytest.mark.parametrize(("frames", "complete"), [(0, False), (48, False), (49, True)])
    def test_with_the_fiftieth_frame(self, service: ServiceUnderTest, frames: int, complete: bool) -> None:
        assert self.evidence_after(service.declare_run(), frames)["complete"] == complete

    def test_it_has_what_came_until_the_event_was_resolved(self, service: ServiceUnderTest) -> None:
        evidence = self.evidence_after(service.declare_run(), 30)
        assert len(evidence["columns"]["step"]) == 60 + 1 + 30
        assert not evidence["complete"]

    def test_when_the_attempt_ends(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        self.evidence_after(run, 0)
        run.send(61, 5)
        run.heartbeat(state="finished", monitors={"main": {"made": 66}})
        evidence = the_evidence(run)
        assert (evidence["complete"], len(evidence["columns"]["step"])) == (True, 66)

    def test_when_the_last_frames_of_an_attempt_come_after_its_end(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        self.evidence_after(run, 0)
        run.heartbeat(state="failed", monitors={"main": {"made": 66}})
        run.send(61, 5)
        evidence = the_evidence(run)
        assert (evidence["complete"], len(evidence["columns"]["step"])) == (True, 66)

    def test_when_another_attempt_goes_on(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        self.evidence_after(run, 0)
        again = Speaker(service, run.run_id, uuid4())
        again.heartbeat(started_at=1_790_001_000.0)
        again.send(0, 5)
        assert the_evidence(run)["complete"]

    def test_after_that_nothing_changes_it(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        self.evidence_after(run, 49)
        before = kept(service)
        run.send(110, 200)
        run.heartbeat(state="finished", monitors={"main": {"made": 310}})
        assert kept(service) == before


def test_retention_takes_none_of_it_and_first_completes_what_a_silent_stream_left_open(
    service: ServiceUnderTest,
) -> None:
    run = service.declare_run()
    run.send(0, 60)
    run.send(60, 1, **NAN)
    run.send(61, 5)
    with service.app.state.session_factory.begin() as session:
        keep_raw_layers(session, "gru-lm", 30)
    (retention,) = [chore for chore in service.app.state.chores if isinstance(chore, Retention)]
    assert retention.work(datetime.now(UTC) + timedelta(days=31)) == 1
    evidence = the_evidence(run)
    assert (evidence["complete"], len(evidence["columns"]["step"])) == (True, 66)
    assert evidence["layers"][1] == {"name": "head.weight", "norms": [4.0] * 66}


class TestWhoAsks:
    def test_for_an_event_that_is_not_there_is_told_so(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        for path in (f"{run.path}/events/{uuid4()}/evidence", f"/api/v1/runs/{uuid4()}/events/{uuid4()}/evidence"):
            answer = service.client.get(path, headers=service.read)
            assert (answer.status_code, answer.json()["error"]) == (404, "not_found")

    def test_needs_the_read_token(self, service: ServiceUnderTest) -> None:
        answer = service.client.get(f"/api/v1/runs/{RUN_ID}/events/{uuid4()}/evidence", headers=service.ingest)
        assert answer.status_code == 403

    def test_for_spoiled_evidence_is_told_so(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 1, **NAN)
        with service.app.state.session_factory.begin() as session:
            (row,) = session.scalars(select(EventEvidence))
            row.columns = b"spoiled"
        (event,) = service.get(f"{run.path}/events")["events"]
        answer = service.client.get(f"{run.path}/events/{event['event_id']}/evidence", headers=service.read)
        assert (answer.status_code, answer.json()["error"]) == (500, "damaged")


def test_with_the_run_it_goes(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    run.send(0, 1, **NAN)
    assert service.client.delete(run.path, headers=service.read).status_code == 204
    (remover,) = [chore for chore in service.app.state.chores if isinstance(chore, Remover)]
    assert remover.work() == 1
    assert kept(service) == []
