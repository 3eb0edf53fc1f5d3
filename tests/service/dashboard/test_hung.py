"""A heartbeat without steps: when a run counts as hung, and how fast one steps."""

from datetime import UTC, datetime, timedelta

import pytest
from service.dashboard.test_overview import LONG_AGO, change, names, overview
from service.speaking import ServiceUnderTest, Speaker

from gradvitals_service.runs.models import Run


@pytest.fixture(autouse=True)
def _running_for_long(service: ServiceUnderTest) -> None:
    """A service that could have heard of every step."""
    service.app.state.started_at = LONG_AGO


def minutes_ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def minutes_left(run: Speaker) -> float:
    """For how many minutes the run's next step is still waited for."""
    with run.service.app.state.session_factory.begin() as session:
        due = session.get_one(Run, run.run_id).overdue_at
    return (due - datetime.now(UTC)).total_seconds() / 60


def state(service: ServiceUnderTest) -> str:
    return overview(service)["runs"][0]["state"]


class TestHung:
    def test_is_a_run_whose_next_step_is_overdue_while_its_heartbeat_comes(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3)
        assert state(service) == "running"
        change(service, run, overdue_at=minutes_ago(1))
        assert state(service) == service.get(run.path)["state"] == "hung"
        assert names(service, state="hung") == ["gru, clipped"]
        assert names(service, state="running") == []
        run.heartbeat()
        assert state(service) == "hung"
        run.send(3, 1)
        assert state(service) == "running"

    def test_is_nobody_right_after_the_service_has_started(self, service: ServiceUnderTest):
        run = service.declare_run()
        change(service, run, overdue_at=LONG_AGO)
        service.app.state.started_at = datetime.now(UTC)
        assert state(service) == "running"

    def test_is_nobody_who_has_ended(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.heartbeat(state="finished")
        change(service, run, overdue_at=LONG_AGO)
        assert state(service) == "finished"


class TestPatience:
    def test_is_an_hour_before_the_first_step_and_a_quarter_after_it(self, service: ServiceUnderTest):
        run = service.declare_run()
        assert minutes_left(run) == pytest.approx(60, abs=1)
        change(service, run, waiting_since=minutes_ago(50))
        run.send(0, 3)
        assert minutes_left(run) == pytest.approx(15, abs=1)

    def test_is_three_times_the_longest_gap_that_it_recovered_from(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3)
        change(service, run, waiting_since=minutes_ago(20))
        run.send(3, 1)
        assert minutes_left(run) == pytest.approx(60, abs=1)
        run.send(4, 1)
        assert minutes_left(run) == pytest.approx(60, abs=1)

    def test_begins_anew_when_a_pause_ends(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3)
        run.heartbeat(state="paused")
        change(service, run, overdue_at=minutes_ago(30), waiting_since=minutes_ago(45))
        run.heartbeat(state="running")
        assert minutes_left(run) == pytest.approx(15, abs=1)
        run.send(3, 1)
        assert minutes_left(run) == pytest.approx(15, abs=1)

    def test_begins_anew_when_a_silence_ends_since_steps_may_be_on_their_way(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3)
        change(service, run, overdue_at=minutes_ago(30), last_seen_at=minutes_ago(45))
        run.heartbeat()
        assert state(service) == "running"

    def test_is_an_hour_again_for_another_attempt(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3)
        Speaker(service, run.run_id).heartbeat(started_at=1_790_000_500.0, resumed_from_step=3)
        assert minutes_left(run) == pytest.approx(60, abs=1)


class TestStepRate:
    def test_is_told_of_a_run_that_steps(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 5, time=[100.0, 100.5, 101.0, 101.5, 102.0])
        assert overview(service)["runs"][0]["step_rate"] == pytest.approx(2.0)

    def test_is_not_told_of_one_that_has_stopped_stepping(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 5, time=[100.0, 100.5, 101.0, 101.5, 102.0])
        change(service, run, waiting_since=minutes_ago(2))
        assert overview(service)["runs"][0]["step_rate"] is None
        run.send(5, 1, time=[103.0])
        run.heartbeat(state="paused")
        assert overview(service)["runs"][0]["step_rate"] is None

    def test_of_one_that_takes_minutes_a_step_is_told_between_them(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3, time=[0.0, 300.0, 600.0])
        change(service, run, waiting_since=minutes_ago(4))
        assert overview(service)["runs"][0]["step_rate"] == pytest.approx(1 / 300)
