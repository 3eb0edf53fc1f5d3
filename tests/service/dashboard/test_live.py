"""An open page hears what is committed."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from service.dashboard.open_page import OpenPage, listening
from service.speaking import ServiceUnderTest, Speaker
from sqlalchemy import update

from gradvitals_service.dashboard.silence import SilenceWatch
from gradvitals_service.dashboard.summaries import Summaries
from gradvitals_service.runs.models import Run

NAN = float("nan")


@pytest.fixture
def open_page(service: ServiceUnderTest) -> Iterator[Callable[..., OpenPage]]:
    """Open pages that follow the runs given; each has begun to listen."""
    pages: list[OpenPage] = []
    with listening(service) as port:

        def open_one(*runs: Speaker, since: float = 0) -> OpenPage:
            page = OpenPage(port, service.read, ",".join(str(run.run_id) for run in runs), since)
            pages.append(page)
            return page

        yield open_one
        service.app.state.hub.close()
        for page in pages:
            page.close()


class TestFrames:
    def test_come_as_they_were_committed(self, service: ServiceUnderTest, open_page):
        run = service.declare_run()
        page = open_page(run)
        run.send(0, 2, global_norm=[1.5, float("inf")], loss=[NAN, NAN], flags=[2, 1], lr=[0.5, NAN])
        frames = page.until("frames")
        assert (frames["run_id"], frames["monitor"], frames["rank"]) == (str(run.run_id), "main", 0)
        assert frames["time"] == [1_790_000_000.0, 1_790_000_001.0]
        assert (frames["step"], frames["global_norm"]) == ([0, 1], [1.5, "Infinity"])
        assert (frames["loss"], frames["lr"]) == (["NaN", None], [0.5, "NaN"])
        assert (frames["clip_coefficient"], frames["max_norm"]) == ([1.0, 1.0], ["Infinity", "Infinity"])

    def test_come_only_of_the_runs_asked_for(self, service: ServiceUnderTest, open_page):
        followed, other = service.declare_run(), service.declare_run()
        page = open_page(followed)
        other.send(0, 1)
        followed.send(0, 1)
        assert page.until("frames")["run_id"] == str(followed.run_id)

    def test_are_all_there_and_in_order(self, service: ServiceUnderTest, open_page):
        run = service.declare_run()
        page = open_page(run)
        for first in range(0, 100, 5):
            run.send(first, 5)
        steps = []
        while len(steps) < 100:
            steps += page.until("frames")["step"]
        assert steps == list(range(100))


class TestEvent:
    def test_comes_for_every_run_when_it_opens_and_when_it_is_resolved(self, service: ServiceUnderTest, open_page):
        run = service.declare_run()
        page = open_page()
        run.send(0, 1, global_norm=[NAN], layer_norms=[NAN, 1.0], flags=[3])
        opened = page.until("event")
        (read,) = service.get(f"{run.path}/events")["events"]
        assert opened == read | {"run_name": "gru, clipped"}
        assert (opened["kind"], opened["status"]) == ("non_finite", "open")


class TestRun:
    def test_is_told_as_the_overview_has_it_without_the_sparkline(self, service: ServiceUnderTest, open_page):
        run = service.declare_run()
        page = open_page()
        run.send(0, 3)
        while (told := page.until("run"))["last_step"] is None:
            pass  # of its declaration, which may be told a moment after it was answered
        (summary,) = service.get("/api/v1/dashboard")["runs"]
        assert told == {name: value for name, value in summary.items() if name != "sparkline"}

    def test_is_told_at_most_twice_a_second_and_the_last_change_is_not_lost(self, service: ServiceUnderTest, open_page):
        run = service.declare_run()
        page = open_page()
        begin = time.monotonic()
        for step in range(30):
            run.send(step, 1)
        told = [page.until("run")]
        while told[-1]["last_step"] != 29:
            told.append(page.until("run"))
        assert len(told) <= 2 + 2 * (time.monotonic() - begin)

    def test_is_told_again_when_it_falls_silent(self, service: ServiceUnderTest, open_page):
        run = service.declare_run()
        state, now = service.app.state, datetime.now(UTC)
        long_ago = now - timedelta(hours=1)
        page = open_page()
        watch = SilenceWatch(state.session_factory, state.hub, long_ago)
        with state.session_factory.begin() as session:
            session.execute(update(Run).values(last_seen_at=now - timedelta(seconds=31)))
        watch.look(now)
        Summaries(state.session_factory, state.hub, long_ago).tell([str(run.run_id)])  # as one that began long ago
        while (told := page.until("run"))["state"] == "running":
            pass  # of its declaration, which may be told a moment after it was answered
        assert (told["run_id"], told["state"]) == (str(run.run_id), "unreachable")


class TestStream:
    def test_begins_at_once_so_that_a_page_can_read_after_it(self, open_page):
        page = open_page()
        assert page.answer.headers["Content-Type"].startswith("text/event-stream")
        assert page.answer.headers["Cache-Control"] == "no-cache"
        assert page.next() == ("", "listening")

    def test_is_forgotten_when_the_page_leaves(self, service: ServiceUnderTest, open_page):
        page, other = open_page(), open_page()
        page.close()
        run = service.declare_run()
        deadline = time.monotonic() + 10
        while len(service.app.state.hub) > 1 and time.monotonic() < deadline:
            run.heartbeat()
            other.until("run")
        assert len(service.app.state.hub) == 1

    def test_ends_when_the_hub_closes(self, service: ServiceUnderTest, open_page):
        page = open_page()
        page.next()
        service.app.state.hub.close()
        assert page.next() is None

    def test_begins_where_the_page_began_to_read(self, service: ServiceUnderTest, open_page):
        began = time.monotonic()
        run = service.declare_run()
        first = open_page(run)
        run.send(0, 3)
        first.until("frames")
        late = open_page(run, since=time.monotonic() - began)
        assert late.until("frames")["step"] == [0, 1, 2]
        assert late.until("run")["last_step"] == 2

    def test_says_that_it_cannot_tell_of_the_time_before_the_service_began(self, open_page):
        page = open_page(since=3600)
        assert page.until("resync") == {}


class TestBadParameters:
    @pytest.mark.parametrize("runs", ["x", "1,2", ",".join(str(uuid4()) for _ in range(101)), "\0"])
    def test_are_refused_by_name(self, service: ServiceUnderTest, runs: str):
        answer = service.client.get("/api/v1/live", params={"runs": runs}, headers=service.read)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("query.runs: ")
