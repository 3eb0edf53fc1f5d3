"""The inbox: events of all runs, and what people say to them."""

import getpass
import math
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from service.dashboard.open_page import OpenPage, listening
from service.speaking import ServiceUnderTest, Speaker
from sqlalchemy import update

from gradvitals_service.auth import viewer
from gradvitals_service.health.models import Event

NAN = math.nan
INBOX = "/api/v1/events"


def blow_up(run: Speaker, step: int) -> None:
    """One step whose gradient is not finite: a critical event that stays open."""
    run.send(step, 1, global_norm=[NAN], layer_norms=[NAN, 4.0], flags=[3])


def sick_run(service: ServiceUnderTest, over: bool = False, **declared: Any) -> Speaker:
    """A run with one critical event; it has resolved where it is ``over``."""
    run = service.declare_run(**declared)
    blow_up(run, 0)
    if over:
        run.send(1, 200)
    return run


def only_event(run: Speaker) -> dict[str, Any]:
    (event,) = run.service.get(f"{run.path}/events")["events"]
    return dict(event)


def acknowledgement_path(run: Speaker, event_id: object = None) -> str:
    return f"{run.path}/events/{event_id or only_event(run)['event_id']}/acknowledgement"


def acknowledge(run: Speaker, note: str = "") -> dict[str, Any]:
    answer = run.service.client.put(acknowledgement_path(run), json={"note": note}, headers=run.service.read)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def names(service: ServiceUnderTest, **asked: Any) -> list[str]:
    """The runs of the events on the first page."""
    return [event["run_name"] for event in service.get(INBOX, **asked)["events"]]


class TestTheInbox:
    def test_says_of_each_event_whose_it_is(self, service: ServiceUnderTest) -> None:
        run = sick_run(service, project="team a/gru", name="gru, clipped", owner="ada")
        (event,) = service.get(INBOX)["events"]
        assert [event.pop(name) for name in ("run_name", "project", "owner")] == ["gru, clipped", "team a/gru", "ada"]
        assert event == only_event(run)

    def test_lists_open_events_first_and_then_the_newest(self, service: ServiceUnderTest) -> None:
        for name, over in (("a", True), ("b", False), ("c", True), ("d", False)):
            sick_run(service, over, name=name)
        assert names(service) == ["d", "b", "c", "a"]

    @pytest.mark.parametrize("limit", [1, 2, 3])
    def test_pages_through_all_of_them_each_once(self, service: ServiceUnderTest, limit: int) -> None:
        for name, over in (("a", True), ("b", False), ("c", True), ("d", False), ("e", True)):
            sick_run(service, over, name=name)
        with service.app.state.session_factory.begin() as session:  # at one moment: then the id decides
            session.execute(update(Event).where(Event.status == "resolved").values(opened_at=Event.updated_at))
        whole = [event["event_id"] for event in service.get(INBOX)["events"]]
        paged: list[str] = []
        page = service.get(INBOX, limit=limit)
        while page["next_cursor"]:
            paged += [event["event_id"] for event in page["events"]]
            page = service.get(INBOX, limit=limit, cursor=page["next_cursor"])
        assert paged + [event["event_id"] for event in page["events"]] == whole

    def test_goes_on_where_a_page_ended_though_an_event_has_opened_meanwhile(self, service: ServiceUnderTest) -> None:
        for name in ("a", "b", "c"):
            sick_run(service, name=name)
        first = service.get(INBOX, limit=2)
        sick_run(service, name="d")
        assert names(service, limit=2, cursor=first["next_cursor"]) == ["a"]

    def test_can_be_asked_for_less(self, service: ServiceUnderTest) -> None:
        run = sick_run(service, name="Ada's 100% run", project="p")
        sick_run(service, True, name="another", project="q")
        acknowledge(run, "seen")
        asked: list[tuple[dict[str, Any], list[str]]] = [
            ({"project": "q"}, ["another"]),
            ({"project": "nobody's"}, []),
            ({"run": str(run.run_id)}, ["Ada's 100% run"]),
            ({"run": str(uuid4())}, []),
            ({"kind": "explosion"}, []),
            ({"kind": "non_finite", "status": "open"}, ["Ada's 100% run"]),
            ({"severity": "warning"}, []),
            ({"status": "resolved"}, ["another"]),
            ({"acknowledged": True}, ["Ada's 100% run"]),
            ({"acknowledged": False}, ["another"]),
            ({"q": "ADA"}, ["Ada's 100% run"]),
            ({"q": "0%"}, ["Ada's 100% run"]),
            ({"q": "_"}, []),
        ]
        for parameters, expected in asked:
            assert names(service, **parameters) == expected, parameters

    def test_counts_what_there_is_whatever_status_and_severity_are_asked_for(self, service: ServiceUnderTest) -> None:
        run = sick_run(service, project="p")
        sick_run(service, project="p")
        sick_run(service, True, project="p")
        sick_run(service, project="q")
        acknowledge(run)
        totals = service.get(INBOX, project="p", status="resolved", severity="info", acknowledged=True)["totals"]
        assert totals == {
            "open": {"critical": 2, "warning": 0, "info": 0, "unacknowledged": 1},
            "resolved": {"critical": 1, "warning": 0, "info": 0, "unacknowledged": 1},
            "needs_somebody": 1,
        }

    def test_forgets_the_events_of_a_deleted_run(self, service: ServiceUnderTest) -> None:
        run = sick_run(service)
        assert service.client.delete(run.path, headers=service.read).status_code == 204
        answer = service.get(INBOX)
        assert (answer["events"], answer["totals"]["needs_somebody"]) == ([], 0)

    def test_refuses_what_it_does_not_know_by_name(self, service: ServiceUnderTest) -> None:
        refused = (("run", "x"), ("kind", "stall"), ("severity", "bad"), ("acknowledged", "perhaps"), ("q", "a\0"))
        cursors = (("cursor", "x"), ("cursor", f"closed~2026-01-01T00:00:00Z~{uuid4()}"), ("cursor", "open~2026~1"))
        for parameter, value in (*refused, ("project", "\0"), *cursors):
            answer = service.client.get(INBOX, params={parameter: value}, headers=service.read)
            assert answer.status_code == 422, value
            assert answer.json()["detail"].startswith(f"query.{parameter}: ")


class TestAnAcknowledgement:
    def test_says_who_when_and_what(self, service: ServiceUnderTest) -> None:
        run = sick_run(service)
        before = only_event(run)
        assert before["acknowledgement"] is None
        told = acknowledge(run, "  the loader repeats shard 7\n")
        assert told["acknowledgement"]["note"] == "the loader repeats shard 7"
        assert told["acknowledgement"]["by"] == getpass.getuser()
        assert told["acknowledgement"]["at"] > before["updated_at"]
        assert told == only_event(run)
        assert told | {"acknowledgement": None, "revision": before["revision"]} == before

    def test_is_replaced_by_the_next_one_and_can_be_taken_back(self, service: ServiceUnderTest) -> None:
        run = sick_run(service)
        acknowledge(run, "first")
        assert acknowledge(run, "second")["acknowledgement"]["note"] == "second"
        path = acknowledgement_path(run)
        revisions = [service.client.delete(path, headers=service.read).json()["revision"] for _ in range(2)]
        assert only_event(run)["acknowledgement"] is None
        assert revisions[0] == revisions[1]  # what was not there cannot be taken back: nothing has changed

    def test_counts_up_the_revision_of_event_and_run(self, service: ServiceUnderTest) -> None:
        run = sick_run(service)
        assert only_event(run)["revision"] == 1
        assert acknowledge(run)["revision"] == 2
        assert run.heartbeat(events_seen=1)["event_revision"] == 2

    def test_is_no_business_of_the_training_job(self, service: ServiceUnderTest) -> None:
        run = sick_run(service)
        acknowledge(run, "ada broke it")
        (event,) = run.heartbeat()["events"]
        assert "acknowledgement" not in event
        answer = service.client.put(acknowledgement_path(run), json={"note": ""}, headers=service.ingest)
        assert answer.status_code == 403

    def test_outlives_every_later_word_of_the_detectors(
        self, service: ServiceUnderTest, make_service: Callable[..., ServiceUnderTest]
    ) -> None:
        run = sick_run(service)
        said = acknowledge(run, "known")["acknowledgement"]
        run.send(1, 1, global_norm=[NAN], layer_norms=[NAN, NAN], flags=[3])
        run.send(2, 200)
        event = only_event(run)
        assert (event["status"], event["acknowledgement"]) == ("resolved", said)
        again = make_service()
        assert again.get(f"{run.path}/events")["events"] == [event]

    def test_can_be_given_to_what_is_over(self, service: ServiceUnderTest) -> None:
        run = sick_run(service, over=True)
        event = acknowledge(run, "harmless")
        assert (event["status"], event["acknowledgement"]["note"]) == ("resolved", "harmless")

    def test_is_heard_by_every_open_page(self, service: ServiceUnderTest) -> None:
        run = sick_run(service)
        with listening(service) as port:
            page = OpenPage(port, service.read)
            told = acknowledge(run, "mine")
            assert page.until("event") == told | {"run_name": "gru, clipped"}
            service.client.delete(acknowledgement_path(run), headers=service.read)
            assert page.until("event")["acknowledgement"] is None
            service.app.state.hub.close()
            page.close()

    def test_of_what_is_not_there_is_not_found(self, service: ServiceUnderTest) -> None:
        run, other = sick_run(service), sick_run(service)
        foreign = acknowledgement_path(run, only_event(other)["event_id"])
        nobody = acknowledgement_path(Speaker(service, uuid4()), uuid4())
        for path in (acknowledgement_path(run, uuid4()), foreign, nobody):
            assert service.client.put(path, json={"note": ""}, headers=service.read).status_code == 404
            assert service.client.delete(path, headers=service.read).status_code == 404
        assert only_event(other)["acknowledgement"] is None

    def test_is_refused_where_it_cannot_be_kept(self, service: ServiceUnderTest) -> None:
        run = sick_run(service)
        path = acknowledgement_path(run)
        for body in ({"note": "x" * 1001}, {"note": "a\0"}, {"note": 5}, {"note": None}, {"by": "bob"}, [], "seen"):
            answer = service.client.put(path, json=body, headers=service.read)
            assert answer.status_code == 422, body
        form = service.client.put(path, content="note=x", headers=service.read | {"Content-Type": "text/plain"})
        assert form.status_code == 415  # what another site's form can send
        assert only_event(run)["acknowledgement"] is None


def test_a_user_without_a_name_is_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert viewer.viewer() == "someone"
