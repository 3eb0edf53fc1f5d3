"""Events do not depend on how frames were split, on restarts, or on who saw them first."""

import math
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from service.speaking import ServiceUnderTest, Speaker
from sqlalchemy import select, update

from gradvitals_service.alerts.models import Delivery
from gradvitals_service.health.groups import Groups
from gradvitals_service.health.models import Event
from gradvitals_service.health.watch import Watch, new_watch
from gradvitals_service.ingest.models import Stream
from gradvitals_service.series.models import Chunk

# What the service's clock decides; everything else of an event follows from the frames.
CLOCKED = {"opened_at", "updated_at", "resolved_at", "revision"}

RUN_ID = UUID("0199a3c2-7d10-7abc-8def-000000000001")
ATTEMPT_ID = UUID("0199a3c2-7d10-7abc-8def-000000000002")


def history() -> dict[str, list[float]]:
    """300 quiet frames, an explosion of 20, 80 quiet ones, a NaN in the head, 50 quiet ones."""
    random = np.random.default_rng(7)
    norms = np.exp(0.1 * random.standard_normal(451))
    norms[300:320] *= 1e4
    norms[400] = math.nan
    layers = np.stack([norms * 0.6, norms * 0.8], axis=1)
    layers[400, 0] = 0.6
    finite = np.isfinite(norms)
    return {
        "global_norm": norms.tolist(),
        "layer_norms": layers.ravel().tolist(),
        "clip_coefficient": np.where(finite, 1.0, math.nan).tolist(),
        "flags": np.where(finite, 2, 3).tolist(),
    }


def send_history(
    run: Speaker, sizes: Callable[[int], int], restart: Callable[[int], None] = lambda first: None
) -> None:
    frames, first = history(), 0
    while first < len(frames["flags"]):
        n = min(sizes(first), len(frames["flags"]) - first)
        part: dict[str, Any] = {name: values[first : first + n] for name, values in frames.items()}
        part["layer_norms"] = frames["layer_norms"][2 * first : 2 * (first + n)]
        run.send(first, n, **part)
        first += n
        restart(first)


def events_of(service: ServiceUnderTest, run: Speaker) -> list[dict[str, Any]]:
    with service.app.state.session_factory.begin() as session:
        events = session.scalars(
            select(Event).where(Event.run_id == run.run_id).order_by(Event.start_frame, Event.kind)
        )
        names = [column.name for column in Event.__table__.columns if column.name not in CLOCKED]
        return [{name: repr(getattr(event, name)) for name in names} for event in events]


def new_run(service: ServiceUnderTest) -> Speaker:
    """Always the same run and attempt, so that the ids of events can be compared too."""
    run = Speaker(service, RUN_ID, ATTEMPT_ID)
    run.declare_run()
    run.heartbeat()
    run.declare_layout()
    return run


@pytest.fixture
def expected(make_service: Callable[..., ServiceUnderTest], tmp_path: Any) -> list[dict[str, Any]]:
    """The events of the history, sent in one chunk, and then forgotten."""
    service = make_service()
    run = new_run(service)
    send_history(run, lambda first: 4096)
    found = events_of(service, run)
    with service.app.state.session_factory.begin() as session:
        for table in ("events", "chunks", "streams", "attempts", "layouts", "runs"):
            session.connection().exec_driver_sql(f"DELETE FROM {table}")
    service.app.state.writer.stop()  # and with it what it remembers
    return found


def test_the_history_holds_an_explosion_and_a_nan(expected: list[dict[str, Any]]) -> None:
    kinds = {event["kind"]: event for event in expected}
    assert set(kinds) == {"'explosion'", "'non_finite'"}
    assert kinds["'non_finite'"]["start_frame"] == "400"
    assert kinds["'non_finite'"]["layers"] == "['head.weight']"
    assert 300 <= int(kinds["'explosion'"]["start_frame"]) <= 302
    assert kinds["'explosion'"]["status"] == "'resolved'"


@pytest.mark.parametrize("size", [1, 7, 64])
def test_any_split_gives_the_same_events(
    make_service: Callable[..., ServiceUnderTest], expected: list[dict[str, Any]], size: int
) -> None:
    service = make_service()
    run = new_run(service)
    send_history(run, lambda first: size)
    assert events_of(service, run) == expected


def test_a_service_that_is_restarted_between_chunks_gives_the_same_events(
    make_service: Callable[..., ServiceUnderTest], expected: list[dict[str, Any]]
) -> None:
    """Also in the middle of the explosion, where an event is open."""
    run = new_run(make_service())

    def restart(first: int) -> None:
        run.service.app.state.writer.stop()
        run.service = make_service()

    send_history(run, lambda first: 5 if 295 <= first < 320 else 295 if first == 0 else 50, restart)
    assert events_of(run.service, run) == expected


def test_two_services_on_one_database_that_take_turns_give_the_same_events(
    make_service: Callable[..., ServiceUnderTest], expected: list[dict[str, Any]], database_url: str
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite serves one process")
    services = [make_service(), make_service()]
    run = new_run(services[0])

    def take_turns(first: int) -> None:
        run.service = services[(first // 25) % 2]

    send_history(run, lambda first: 25, take_turns)
    assert events_of(services[0], run) == expected


def test_a_repeated_chunk_changes_no_event(make_service: Callable[..., ServiceUnderTest]) -> None:
    service = make_service()
    run = new_run(service)
    frames: dict[str, Any] = {"global_norm": [math.nan], "flags": [1], "clip_coefficient": [math.nan]}
    revisions = [run.send(0, 1, **frames)["event_revision"] for _ in range(3)]
    assert revisions == [1, 1, 1]


class TestANewAttempt:
    """It goes on from what was usual in the attempt before."""

    def go_on(self, service: ServiceUnderTest, first_attempt_frames: int) -> Speaker:
        run = new_run(service)
        run.send(0, first_attempt_frames)
        again = Speaker(service, run.run_id, uuid4())
        again.heartbeat(started_at=1_790_001_000.0)
        return again

    def test_its_detectors_know_the_level_of_the_attempt_before(self, service: ServiceUnderTest) -> None:
        again = self.go_on(service, 300)
        again.send(0, 200, flags=[2 | 16] + [2] * 199)
        explosion = {"global_norm": [5e5] * 5, "layer_norms": [3e5, 4e5] * 5}
        again.send(200, 5, **explosion)
        (event,) = [event for event in service.get(f"{again.path}/events")["events"] if event["kind"] == "explosion"]
        assert event["attempt_id"] == str(again.attempt_id)
        assert event["usual"] == pytest.approx(5.0, rel=0.01)

    def test_an_event_that_was_open_is_resolved_where_it_began(self, service: ServiceUnderTest) -> None:
        run = new_run(service)
        run.send(0, 100)
        nan: dict[str, Any] = {"global_norm": [math.nan], "flags": [1], "clip_coefficient": [math.nan]}
        run.send(100, 1, **nan)
        again = Speaker(service, run.run_id, uuid4())
        again.heartbeat(started_at=1_790_001_000.0)
        again.send(0, 500)
        (event,) = service.get(f"{run.path}/events")["events"]
        assert (event["attempt_id"], event["status"]) == (str(run.attempt_id), "resolved")

    def test_its_first_chunk_is_a_snapshot_so_that_a_restart_inherits_the_same(self, service: ServiceUnderTest) -> None:
        again = self.go_on(service, 50)
        again.send(0, 3)
        with service.app.state.session_factory.begin() as session:
            streams = session.scalars(select(Stream).where(Stream.attempt_id == again.attempt_id)).all()
            assert [stream.detector_frame for stream in streams] == [3]


class TestSnapshots:
    """When a state is due to be stored; times are told."""

    NOON = datetime(2026, 9, 21, 12, tzinfo=UTC)

    def watch(self) -> Watch:
        return new_watch("0" * 32, Groups(["a"], ["a"], [True]))

    def test_the_first_state_is_stored_at_once(self) -> None:
        watch = self.watch()
        watch.frame = 3
        snapshot = watch.snapshot_if_due(self.NOON)
        assert snapshot is not None
        assert snapshot.frame == 3
        assert watch.snapshot_if_due(self.NOON) is None

    @pytest.mark.parametrize(
        ("frames", "seconds", "due"), [(1023, 9.9, False), (1024, 0.0, True), (1, 10.0, True), (0, 9.0, False)]
    )
    def test_then_every_1024_frames_or_10_seconds(self, frames: int, seconds: float, due: bool) -> None:
        watch = self.watch()
        watch.snapshot_if_due(self.NOON)
        watch.frame += frames
        assert (watch.snapshot_if_due(self.NOON + timedelta(seconds=seconds)) is not None) == due

    def test_a_change_of_layout_is_stored_at_once(self) -> None:
        watch = self.watch()
        watch.snapshot_if_due(self.NOON)
        watch.use_layout("1" * 32, Groups(["a", "b"], ["a", "b"], [True, True]))
        assert watch.snapshot_if_due(self.NOON) is not None


@pytest.mark.parametrize(
    "unreadable", [b"written by another version", struct.pack("<4sHI", b"gvds", 1, 2) + bytes(2000)]
)
def test_a_snapshot_that_is_damaged_or_of_a_former_format_is_replaced_by_the_frames_themselves(
    make_service: Callable[..., ServiceUnderTest], expected: list[dict[str, Any]], unreadable: bytes
) -> None:
    run = new_run(make_service())

    def damage_and_restart(first: int) -> None:
        run.service.app.state.writer.stop()
        with run.service.app.state.session_factory.begin() as session:
            (stream,) = session.scalars(select(Stream))
            stream.detector_state = unreadable
        run.service = make_service()

    send_history(run, lambda first: 150, damage_and_restart)
    assert events_of(run.service, run) == expected


def test_a_spoiled_chunk_does_not_stop_its_stream(make_service: Callable[..., ServiceUnderTest]) -> None:
    run = new_run(make_service())

    def spoil_and_restart(first: int) -> None:
        if first != 350:
            return
        run.service.app.state.writer.stop()
        with run.service.app.state.session_factory.begin() as session:
            session.execute(update(Stream).values(detector_state=None))
            session.execute(update(Chunk).where(Chunk.first == 300).values(layer_columns=b"spoiled"))
        run.service = make_service()

    send_history(run, lambda first: 50, spoil_and_restart)
    assert [event["start_frame"] for event in events_of(run.service, run)] == ["300", "400"]


class TestAlerts:
    """A critical event puts one delivery a channel on its way, in its own transaction."""

    NAN: dict[str, Any] = {"global_norm": [math.nan] * 3, "flags": [1] * 3, "clip_coefficient": [math.nan] * 3}  # noqa: RUF012

    def deliveries(self, service: ServiceUnderTest) -> list[str]:
        with service.app.state.session_factory.begin() as session:
            return list(session.scalars(select(Delivery.title)))

    def test_a_critical_event_of_a_live_attempt_is_one_delivery(
        self, make_service: Callable[..., ServiceUnderTest]
    ) -> None:
        service = make_service(alert=("json://127.0.0.1:9/",))
        run = new_run(service)
        run.send(0, 60)
        run.send(60, 3, **self.NAN)
        run.send(63, 3, **self.NAN)
        assert len(self.deliveries(service)) == 1
        assert "non-finite" in self.deliveries(service)[0]

    def test_an_event_that_comes_back_is_open_again_and_pages_no_second_time(
        self, make_service: Callable[..., ServiceUnderTest]
    ) -> None:
        service = make_service(alert=("json://127.0.0.1:9/",))
        run = new_run(service)
        run.send(0, 60)
        run.send(60, 3, **self.NAN)
        run.send(63, 25)
        (over,) = service.get(f"{run.path}/events")["events"]
        assert (over["status"], over["end_step"]) == ("resolved", 62)
        assert over["resolved_at"] is not None
        run.send(88, 3, **self.NAN)
        (again,) = service.get(f"{run.path}/events")["events"]
        assert (again["event_id"], again["status"]) == (over["event_id"], "open")
        assert (again["start_step"], again["end_step"], again["resolved_at"]) == (60, None, None)
        assert again["revision"] > over["revision"]
        assert len(self.deliveries(service)) == 1

    def test_information_that_comes_back_as_critical_pages_then(
        self, make_service: Callable[..., ServiceUnderTest]
    ) -> None:
        service = make_service(alert=("json://127.0.0.1:9/",))
        run = new_run(service)
        run.send(0, 3, **self.NAN | {"flags": [1 | 4] * 3})
        run.send(3, 25)
        assert self.deliveries(service) == []
        run.send(28, 3, **self.NAN)
        (event,) = service.get(f"{run.path}/events")["events"]
        assert event["severity"] == "critical"
        assert len(self.deliveries(service)) == 1

    def test_warnings_page_nobody_whatever_their_kind(self, make_service: Callable[..., ServiceUnderTest]) -> None:
        """Unclipped at first, then every step is cut to a hundredth; the loss climbs with the learning rate."""
        service = make_service(alert=("json://127.0.0.1:9/",))
        run = new_run(service)
        n = 1200
        loss = [0.1 * math.exp(max(0, step - 700) / 150.0) for step in range(n)]
        norms = [5.0 if step < n - 10 else 5e5 for step in range(n)]
        run.send(
            0,
            n,
            global_norm=norms,
            layer_norms=[norm * share for norm in norms for share in (0.6, 0.8)],
            loss=loss,
            lr=[0.001 * (step + 1) for step in range(n)],
            max_norm=[5.0] * n,
            clip_coefficient=[1.0 if step < 400 else 0.01 if step < n - 10 else 1e-5 for step in range(n)],
        )
        found = {event["kind"]: event["severity"] for event in service.get(f"{run.path}/events")["events"]}
        assert found == {"instability": "warning", "clip_saturation": "warning", "explosion": "warning"}
        assert self.deliveries(service) == []

    def test_a_late_sync_pages_nobody(self, make_service: Callable[..., ServiceUnderTest]) -> None:
        service = make_service(alert=("json://127.0.0.1:9/",))
        run = new_run(service)
        run.heartbeat(live=False)
        run.send(0, 60)
        assert run.send(60, 3, **self.NAN)["event_revision"] > 0
        assert self.deliveries(service) == []
