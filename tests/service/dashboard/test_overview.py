"""The overview over HTTP: every run at a glance, in few statements."""

from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import uuid4

import pytest
from service.speaking import ServiceUnderTest, Speaker
from sqlalchemy import event, update

from gradvitals_service.runs.models import Run
from gradvitals_service.runs.standing import DECLARED_STATES

NAN = float("nan")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def overview(service: ServiceUnderTest, **asked: object) -> dict:
    """GET the overview."""
    return service.get("/api/v1/dashboard", **asked)


def names(service: ServiceUnderTest, **asked: object) -> list[str]:
    """The names of the runs on one page, in order."""
    return [run["name"] for run in overview(service, **asked)["runs"]]


def blow_up(run: Speaker, first: int) -> None:
    """One step whose gradient is not finite: a critical event that stays open."""
    run.send(first, 1, global_norm=[NAN], layer_norms=[NAN, 4.0], flags=[3])


def change(service: ServiceUnderTest, run: Speaker, **values: object) -> None:
    """Write into a run's row what otherwise only time brings about."""
    with service.app.state.session_factory.begin() as session:
        session.execute(update(Run).where(Run.run_id == run.run_id).values(**values))


class TestSummary:
    def test_tells_who_and_how_far(self, service: ServiceUnderTest):
        run = service.declare_run(owner="ada", group="gru", tags=["sweep"])
        run.send(0, 4, global_norm=[1.0, 2.0, 3.0, 8.0], clip_coefficient=[1.0, 0.5, 0.5, 0.5], max_norm=[1.0] * 4)
        (summary,) = overview(service)["runs"]
        assert summary["run_id"] == str(run.run_id)
        assert (summary["project"], summary["name"], summary["owner"]) == ("gru-lm", "gru, clipped", "ada")
        assert (summary["group"], summary["tags"]) == ("gru", ["sweep"])
        assert (summary["state"], summary["health"], summary["open_events"]) == ("running", "healthy", [])
        assert (summary["last_step"], summary["global_norm"], summary["loss"]) == (3, 8.0, 1.0)
        assert (summary["clip_rate"], summary["max_norm"]) == (0.75, 1.0)

    def test_draws_the_whole_run_in_at_most_sixty_buckets(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 100, global_norm=[5.0] * 42 + [700.0] + [5.0] * 57)
        run.send(100, 20)
        sparkline = overview(service)["runs"][0]["sparkline"]
        assert sparkline["step"] == list(range(0, 120, 2))
        assert max(sparkline["max"]) == sparkline["max"][21] == 700.0
        assert sparkline["non_finite"] == [0] * 60

    def test_of_a_run_without_frames_has_every_field(self, service: ServiceUnderTest):
        service.declare_run()
        (summary,) = overview(service)["runs"]
        assert (summary["health"], summary["last_step"], summary["global_norm"]) == ("unknown", None, None)
        assert summary["sparkline"] == {"step": [], "min": [], "max": [], "non_finite": []}

    def test_of_a_run_in_trouble_shows_the_open_event_and_the_number_as_it_is(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3)
        blow_up(run, 3)
        (summary,) = overview(service)["runs"]
        assert (summary["health"], summary["global_norm"]) == ("critical", "NaN")
        (opened,) = summary["open_events"]
        assert (opened["kind"], opened["status"], opened["start_step"]) == ("non_finite", "open", 3)

    def test_equals_what_the_run_itself_tells(self, service: ServiceUnderTest):
        run = service.declare_run()
        run.send(0, 3)
        blow_up(run, 3)
        (summary,) = overview(service)["runs"]
        detail = service.get(run.path)
        assert {name: detail[name] for name in summary} == summary

    def test_stays_in_trouble_after_the_run_has_ended(self, service: ServiceUnderTest):
        run = service.declare_run()
        blow_up(run, 0)
        run.heartbeat(state="failed", exception="RuntimeError", monitors={"main": {"made": 1}})
        (summary,) = overview(service)["runs"]
        assert (summary["state"], summary["health"]) == ("failed", "critical")


class TestUnreachable:
    def test_is_a_run_that_was_silent_for_thirty_seconds(self, service: ServiceUnderTest):
        run = service.declare_run()
        service.app.state.started_at = LONG_AGO
        change(service, run, last_seen_at=datetime.now(UTC) - timedelta(seconds=31))
        assert overview(service)["runs"][0]["state"] == service.get(run.path)["state"] == "unreachable"
        run.heartbeat()
        assert overview(service)["runs"][0]["state"] == "running"

    def test_is_nobody_right_after_the_service_has_started(self, service: ServiceUnderTest):
        run = service.declare_run()
        change(service, run, last_seen_at=LONG_AGO)
        assert overview(service)["runs"][0]["state"] == "running"


class TestOrder:
    def test_is_critical_first_then_warning_then_last_seen(self, service: ServiceUnderTest, make_event):
        runs = {name: service.declare_run(name=name) for name in ("calm", "warned", "critical", "late")}
        for run in runs.values():
            run.send(0, 1)
        make_event(runs["warned"], severity="warning")
        make_event(runs["critical"], severity="critical")
        make_event(runs["calm"], severity="critical", status="resolved")
        runs["late"].heartbeat()
        assert names(service) == ["critical", "warned", "late", "calm"]

    def test_pages_follow_each_other_without_a_gap(self, service: ServiceUnderTest, make_event):
        for number in range(5):
            run = service.declare_run(name=f"run {number}")
            if number < 2:
                make_event(run, severity="critical")
        whole = names(service)
        found, cursor = [], {}
        for _ in range(3):
            page = overview(service, limit=2, **cursor)
            found += [run["name"] for run in page["runs"]]
            cursor = {"cursor": page["next_cursor"]}
        assert found == whole == ["run 1", "run 0", "run 4", "run 3", "run 2"]
        assert page["next_cursor"] is None

    def test_runs_seen_at_the_same_moment_are_told_once_each(self, service: ServiceUnderTest):
        for _ in range(4):
            change(service, service.declare_run(name=str(uuid4())), last_seen_at=LONG_AGO)
        first = overview(service, limit=2)
        second = overview(service, limit=2, cursor=first["next_cursor"])
        assert len({run["run_id"] for page in (first, second) for run in page["runs"]}) == 4


class TestFilters:
    def test_project_and_text_choose_runs_and_totals(self, service: ServiceUnderTest):
        service.declare_run(name="Clipped GRU", project="a", owner="ada")
        service.declare_run(name="plain", project="a", tags=["gru_sweep"])
        service.declare_run(name="transformer", project="b")
        assert sorted(names(service, project="a")) == ["Clipped GRU", "plain"]
        assert sorted(names(service, q="gru")) == ["Clipped GRU", "plain"]
        assert names(service, q="ADA") == ["Clipped GRU"]
        assert names(service, project="b", q="gru") == names(service, project="nobody") == []
        assert overview(service, project="a")["totals"]["unknown"] == 2

    def test_text_is_taken_literally(self, service: ServiceUnderTest):
        service.declare_run(name="100% clipped")
        service.declare_run(name="1000 steps")
        assert names(service, q="100%") == ["100% clipped"]
        assert names(service, q="'; --") == []

    def test_state_and_health_agree_with_what_each_run_tells(self, service: ServiceUnderTest, make_event):
        """All combinations of what is stored; the filters must find exactly the runs that show the word."""
        service.app.state.started_at = LONG_AGO
        troubles = ("critical", "warning", "info", None)
        for state, silent, trouble in product(DECLARED_STATES, (True, False), troubles):
            run = service.declare_run(name=f"{state} {silent} {trouble}")
            if trouble:
                make_event(run, severity=trouble)
            seen = LONG_AGO if silent else datetime.now(UTC)
            steps = 5 if state != "paused" else None
            change(service, run, state=state, last_seen_at=seen, last_step=steps, already_clipped=state == "failed")
        every = overview(service, limit=500)
        for parameter, totals in (("state", None), ("health", every["totals"])):
            for word in {run[parameter] for run in every["runs"]}:
                expected = {run["name"] for run in every["runs"] if run[parameter] == word}
                assert set(names(service, limit=500, **{parameter: word})) == expected
                assert totals is None or totals[word] == len(expected)
        assert {run["state"] for run in every["runs"]} == {*DECLARED_STATES, "unreachable"}
        assert {run["health"] for run in every["runs"]} == set(every["totals"])

    def test_events_are_those_of_the_project(self, service: ServiceUnderTest, make_event):
        make_event(service.declare_run(project="a"), kind="explosion")
        make_event(service.declare_run(project="b"), kind="vanishing")
        assert [found["kind"] for found in overview(service, project="a")["events"]] == ["explosion"]
        assert len(overview(service)["events"]) == 2
        assert overview(service, project="nobody")["events"] == []

    def test_events_are_named_after_their_runs_whether_those_are_on_the_page_or_not(
        self, service: ServiceUnderTest, make_event
    ):
        for name in ("first", "second"):
            make_event(service.declare_run(name=name))
        page = overview(service, limit=1)
        assert len(page["runs"]) == 1
        assert {found["run_name"] for found in page["events"]} == {"first", "second"}


class TestCost:
    def test_does_not_grow_with_the_number_of_runs(self, service: ServiceUnderTest):
        statements = []
        event.listen(
            service.app.state.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
        )

        def count() -> int:
            statements.clear()
            overview(service)
            return len(statements)

        blow_up(service.declare_run(), 0)
        for_one = count()
        for _ in range(5):
            blow_up(service.declare_run(), 0)
        assert count() == for_one <= 8

    def test_reads_no_measurements(self, service: ServiceUnderTest):
        statements = []
        service.declare_run().send(0, 10)
        event.listen(
            service.app.state.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
        )
        assert overview(service)["runs"][0]["sparkline"]["step"] == list(range(10))
        assert not [statement for statement in statements if "chunks" in statement]


class TestBadParameters:
    BAD = (
        ("limit", "0"),
        ("limit", "501"),
        ("state", "sleeping"),
        ("health", "fine"),
        ("cursor", "x"),
        ("cursor", "1~2026-01-01T00:00:00~00000000-0000-0000-0000-000000000000"),
        ("cursor", f"3~2026-01-01T00:00:00Z~{uuid4()}"),
        ("cursor", f"1~0001-01-01T00:00:00+14:00~{uuid4()}"),
        ("cursor", "1~2026-01-01T00:00:00Z~x"),
        ("q", "a\0b"),
        ("project", "a\0b"),
        ("q", "x" * 513),
    )

    def test_are_refused_by_name(self, service: ServiceUnderTest):
        for parameter, value in self.BAD:
            answer = service.client.get("/api/v1/dashboard", params={parameter: value}, headers=service.read)
            assert answer.status_code == 422, (parameter, value)
            assert answer.json()["detail"].startswith(f"query.{parameter}: ")

    @pytest.mark.parametrize("path", ["/api/v1/dashboard", "/api/v1/live", "/api/v1/events"])
    def test_nobody_reads_without_the_read_token(self, service: ServiceUnderTest, path: str):
        assert service.client.get(path).status_code == 401
        assert service.client.get(path, headers=service.ingest).status_code == 403
