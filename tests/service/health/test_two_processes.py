"""A second process trains the same run as the same rank: told in an event, to both of them, and to nobody at night."""

from collections.abc import Callable
from typing import Any

from service.speaking import ServiceUnderTest, Speaker
from sqlalchemy import func, select

from gradvitals_service.alerts.models import Delivery


def beat(run: Speaker, made: int, **changes: Any) -> list[dict[str, Any]]:
    """A heartbeat after ``made`` frames; gives the events that it is answered."""
    said = {"last_step": made - 1 if made else None, "monitors": {"main": {"made": made}}}
    events: list[dict[str, Any]] = run.heartbeat(**(said | changes))["events"]
    return events


def train_at_once(run: Speaker, other: Speaker) -> None:
    for made in (0, 10, 20):
        beat(run, made)
        beat(other, made, host="node8", pid=99)
    beat(run, 30)


class TestTwoProcesses:
    def test_are_told_once_to_both_with_where_they_are(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        other = Speaker(service, run.run_id)
        train_at_once(run, other)
        (told,), (to_other,) = beat(run, 40), beat(other, 40, host="node8", pid=99)
        assert told == to_other
        expected = ("two_processes", "warning", "open", 0)
        assert tuple(told[name] for name in ("kind", "severity", "status", "rank")) == expected
        assert told["message"].startswith("two processes train this run as rank 0 at once: ")
        assert "4242 on node7" in told["message"]
        assert "99 on node8" in told["message"]
        assert beat(run, 50, events_seen=told["revision"]) == []
        assert service.get(f"{run.path}/events")["events"] == [told | {"acknowledgement": None}]
        assert service.get(run.path)["health"] == "warning"

    def test_have_frames_that_are_never_mixed(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        other = Speaker(service, run.run_id)
        for first in range(0, 30, 10):
            beat(run, first + 10)
            beat(other, first + 10, started_at=1_790_000_100.0)
            run.send(first, 10)
            other.send(first, 10, global_norm=[6.0] * 10)
        series = service.get(f"{run.path}/series", metrics="global_norm", points=1000)
        assert series["step"] == list(range(30))
        assert series["series"]["global_norm"]["min"] == [6.0] * 30  # the newest attempt is told
        assert service.get(run.path)["frames"] == 60  # and the other one kept

    def test_page_nobody(self, make_service: Callable[..., ServiceUnderTest]) -> None:
        service = make_service(alert=("json://127.0.0.1:9/",))
        run = service.declare_run()
        train_at_once(run, Speaker(service, run.run_id))
        assert len(service.get(f"{run.path}/events")["events"]) == 1
        with service.app.state.session_factory() as session:
            assert session.scalar(select(func.count()).select_from(Delivery)) == 0

    def test_are_over_when_one_of_them_ends(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        other = Speaker(service, run.run_id)
        train_at_once(run, other)
        beat(other, 40, state="finished")
        (event,) = service.get(f"{run.path}/events")["events"]
        assert (event["status"], event["end_step"]) == ("resolved", 39)
        assert event["resolved_at"] is not None
        assert service.get(run.path)["open_events"] == []

    def test_are_not_told_again_by_a_service_that_was_restarted(
        self, make_service: Callable[..., ServiceUnderTest]
    ) -> None:
        service = make_service()
        run = service.declare_run()
        other = Speaker(service, run.run_id)
        train_at_once(run, other)
        again = make_service()
        run.service = other.service = again
        train_at_once(run, other)
        (event,) = again.get(f"{run.path}/events")["events"]
        assert (event["status"], event["revision"]) == ("open", 1)

    def test_a_late_sync_is_none(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        other = Speaker(service, run.run_id)
        for made in range(0, 50, 10):
            beat(run, made)
            beat(other, made, live=False)
        assert service.get(f"{run.path}/events")["events"] == []

    def test_other_ranks_are_none(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        other = Speaker(service, run.run_id)
        for made in range(0, 50, 10):
            beat(run, made, world_size=2)
            beat(other, made, world_size=2, rank=1)
        assert service.get(f"{run.path}/events")["events"] == []
