"""What would have paged under other choices: the stored frames are judged again, and nothing changes by it."""

import math
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from service.speaking import ServiceUnderTest, Speaker
from sqlalchemy import select, update

from gradvitals_service.health import replaying
from gradvitals_service.health.detectors import NORMAL
from gradvitals_service.health.models import Event
from gradvitals_service.health.what_if import what_if
from gradvitals_service.ingest.models import Stream
from gradvitals_service.series.compactor import Compactor
from gradvitals_service.series.models import Segment

NAN: dict[str, Any] = {"global_norm": [math.nan], "flags": [1], "clip_coefficient": [math.nan]}
SHARED = ("event_id", "attempt_id", "monitor", "kind", "severity", "status", "start_step", "end_step", "peak", "usual")


def quiet_norms(n: int) -> Any:
    return np.exp(0.05 * np.random.default_rng(0).standard_normal((n, 2)))


def eventful() -> Any:
    """At 600 twenty norms of 10,000 times the usual, from 750 to 850 next to none for the encoder, at 1,150 one of 20
    times the usual."""
    norms = quiet_norms(1200)
    norms[600:620] *= 1e4
    norms[750:850, 0] *= 1e-4
    norms[1150] *= 20.0
    return norms


def send(run: Speaker, norms: Any, first: int = 0, at_once: int = 256) -> None:
    for start in range(0, len(norms), at_once):
        part = np.asarray(norms[start : start + at_once], np.float32)
        total = np.sqrt(np.square(part.astype(np.float64)).sum(axis=1)).astype(np.float32)
        run.send(first + start, len(part), layer_norms=part.ravel().tolist(), global_norm=total.tolist())


def ask(run: Speaker, **choice: Any) -> Any:
    return run.service.client.post(f"{run.path}/replay", json=choice, headers=run.service.read)


def replay(run: Speaker, **choice: Any) -> dict[str, Any]:
    answer = ask(run, **choice)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["kind"] for event in events]


def check_the_same_was_told(run: Speaker) -> None:
    told = replay(run)
    assert told["events"] != []
    for name in (*SHARED, "layers"):
        assert [event[name] for event in told["events"]] == [event[name] for event in told["on_record"]], name


def compact(run: Speaker) -> None:
    """End the run, and make one segment of its frames."""
    run.heartbeat(state="finished", monitors={"main": {"made": 1200}})
    state = run.service.app.state
    Compactor(state.session_factory, state.writer).work()
    with state.session_factory.begin() as session:
        assert session.scalars(select(Segment.n)).all() == [1200]


@pytest.fixture
def run(service: ServiceUnderTest) -> Speaker:
    run = service.declare_run()
    send(run, eventful())
    return run


class TestAReplay:
    def test_without_a_change_tells_what_is_on_record(self, run: Speaker) -> None:
        told = replay(run)
        assert kinds(told["on_record"]) == ["explosion", "vanishing"]
        assert (told["frames"], told["left_out"], told["told_then"], told["would_tell_now"]) == (1200, 0, 2, 2)
        check_the_same_was_told(run)

    def test_tells_what_a_keen_project_would_have_heard(self, run: Speaker) -> None:
        told = replay(run, sensitivity="keen")
        assert kinds(told["events"]) == ["explosion", "vanishing", "explosion"]
        assert told["events"][-1]["start_step"] == 1150
        assert kinds(told["on_record"]) == ["explosion", "vanishing"]
        assert told["sensitivity"] == "keen"

    def test_counts_what_paged_and_what_would(self, run: Speaker) -> None:
        """Every norm here is applied unclipped, so that explosions are critical; the lost layer is a warning."""
        assert [replay(run, sensitivity=word)["would_page_now"] for word in ("calm", "normal", "keen")] == [1, 1, 2]
        told = replay(run, off=["explosion"])
        assert (told["paged_then"], told["would_page_now"], told["would_tell_now"]) == (1, 0, 1)
        assert [event["pages"] for event in told["events"]] == [False]
        assert [event["paged"] for event in told["on_record"]] == [True, False]

    def test_leaves_out_ignored_layers(self, run: Speaker) -> None:
        told = replay(run, ignore=["enc*"])
        assert kinds(told["events"]) == ["explosion"]
        assert told["events"][0]["layers"] == ["head.weight"]

    def test_writes_nothing(self, run: Speaker) -> None:
        def stored() -> list[Any]:
            with run.service.app.state.session_factory.begin() as session:
                events = session.execute(select(Event.__table__).order_by(Event.event_id)).all()
                return [*events, *session.execute(select(Stream.__table__)).all()]

        before = stored()
        replay(run, sensitivity="keen", off=["vanishing"])
        assert stored() == before

    def test_pages_for_no_late_sync(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.heartbeat(live=False)
        send(run, eventful())
        told = replay(run, sensitivity="keen")
        assert (told["would_tell_now"], told["paged_then"], told["would_page_now"]) == (3, 0, 0)

    def test_reads_what_is_compacted(self, run: Speaker) -> None:
        compact(run)
        check_the_same_was_told(run)

    def test_says_how_many_frames_have_lost_their_layers(self, run: Speaker) -> None:
        compact(run)
        with run.service.app.state.session_factory.begin() as session:
            session.execute(update(Segment).values(has_layers=False))
        told = replay(run)
        assert (told["frames"], told["left_out"], told["events"]) == (0, 1200, [])

    def test_goes_on_from_one_attempt_to_the_next(self, run: Speaker) -> None:
        """Also with an event that the first one left open."""
        run.send(1200, 1, **NAN)
        again = Speaker(run.service, run.run_id, uuid4())
        again.heartbeat(started_at=1_790_001_000.0)
        norms = quiet_norms(300)
        norms[100] *= 1e5
        send(again, norms)
        assert len(replay(run)["on_record"]) == 4
        check_the_same_was_told(run)

    def test_is_refused_for_a_run_that_is_too_long_for_it(self, run: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(replaying, "MOST_VALUES", 2399)
        answer = ask(run)
        assert answer.status_code == 409
        assert "has 1,200 frames, 2,400 norms of layers in all, and at most 2,399" in answer.json()["detail"]
        assert f"gradvitals-service what-if {run.run_id}" in answer.json()["detail"]

    def test_is_one_at_a_time(self, run: Speaker) -> None:
        with run.service.app.state.replaying:
            answer = ask(run)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert ask(run).status_code == 200

    def test_of_an_unknown_run_is_not_found(self, service: ServiceUnderTest) -> None:
        assert ask(Speaker(service, uuid4())).status_code == 404

    def test_refuses_what_a_project_cannot_choose(self, run: Speaker) -> None:
        assert (ask(run, sensitivity="loud").status_code, ask(run, threshold=3).status_code) == (422, 422)

    def test_is_for_readers(self, run: Speaker) -> None:
        answer = run.service.client.post(f"{run.path}/replay", json={}, headers=run.service.ingest)
        assert answer.status_code == 403


def test_frames_that_come_meanwhile_are_taken(make_service: Callable[..., ServiceUnderTest]) -> None:
    """A replay that waits in the middle holds up nobody who sends, on either database."""
    service = make_service()
    run = service.declare_run()
    send(run, quiet_norms(600))
    sent: list[Any] = []

    def on_frames(_: int) -> None:
        if not sent:
            sent.append(run.send(600, 10)["next"])

    found = what_if(service.app.state.session_factory, run.run_id, NORMAL, on_frames)
    assert sent == [610]
    assert found.frames in (600, 610)
