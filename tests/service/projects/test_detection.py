"""A project chooses how it is judged, and its live streams follow without a restart."""

import math
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from service.speaking import LAYERS, ServiceUnderTest, Speaker, layout_id
from sqlalchemy import event, select

from gradvitals_service.alerts.models import Delivery
from gradvitals_service.health.detectors import KINDS
from gradvitals_service.ingest.models import Stream

PATH = "/api/v1/projects/gru-lm/detection"
AS_IT_COMES = {"project": "gru-lm", "sensitivity": "normal", "off": [], "ignore": []}
NAN: dict[str, Any] = {"global_norm": [math.nan], "flags": [1], "clip_coefficient": [math.nan]}


def put(service: ServiceUnderTest, body: Any, path: str = PATH) -> Any:
    return service.client.put(path, json=body, headers=service.read)


def choose(service: ServiceUnderTest, **body: Any) -> None:
    answer = put(service, body)
    assert answer.status_code == 200, answer.text


def events(run: Speaker) -> list[tuple[str, int, str]]:
    """Kind, first step and status of a run's events, the oldest first."""
    found = run.service.get(f"{run.path}/events")["events"]
    return sorted((one["kind"], one["start_step"], one["status"]) for one in found)


def send_norms(run: Speaker, first: int, norms: Any) -> None:
    """Frames with these norms of the two layers [n, 2]."""
    norms = np.asarray(norms, np.float32)
    total = np.sqrt(np.square(norms.astype(np.float64)).sum(axis=1)).astype(np.float32)
    run.send(first, len(norms), layer_norms=norms.ravel().tolist(), global_norm=total.tolist())


def quiet(n: int, seed: int = 0) -> Any:
    return np.exp(0.05 * np.random.default_rng(seed).standard_normal((n, 2)))


class TestTheRoute:
    def test_tells_what_nobody_has_chosen(self, service: ServiceUnderTest) -> None:
        service.declare_run()
        assert service.get(PATH) == AS_IT_COMES

    def test_keeps_what_is_chosen_and_replaces_it_whole(self, service: ServiceUnderTest) -> None:
        service.declare_run()
        chosen = {"sensitivity": "keen", "off": ["vanishing"], "ignore": ["embed*", "*.bias", "embed*"]}
        told = AS_IT_COMES | chosen | {"ignore": ["embed*", "*.bias"]}
        assert put(service, chosen).json() == told
        assert service.get(PATH) == told
        assert put(service, {"sensitivity": "calm"}).json() == AS_IT_COMES | {"sensitivity": "calm"}

    def test_takes_every_kind_that_there_is(self, service: ServiceUnderTest) -> None:
        service.declare_run()
        assert put(service, {"off": list(KINDS)}).json()["off"] == sorted(KINDS)

    def test_knows_projects_with_slashes_in_their_names(self, service: ServiceUnderTest) -> None:
        service.declare_run(project="team a/gru")
        for path in ("/api/v1/projects/team%20a%2Fgru/detection", "/api/v1/projects/team a/gru/detection"):
            assert service.get(path)["project"] == "team a/gru"

    def test_does_not_know_other_projects(self, service: ServiceUnderTest) -> None:
        assert service.client.get(PATH, headers=service.read).status_code == 404
        answer = put(service, {})
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no project 'gru-lm'")

    def test_refuses_what_it_cannot_keep_by_name(self, service: ServiceUnderTest) -> None:
        service.declare_run()
        refused: list[tuple[Any, str]] = [
            ({"sensitivity": "loud"}, "sensitivity"),
            ({"off": ["explosions"]}, "off"),
            ({"ignore": ["x"] * 101}, "ignore"),
            ({"ignore": ["x" * 513]}, "ignore"),
            ({"ignore": [""]}, "ignore"),
            ({"ignore": ["a\0"]}, "ignore"),
            ({"ignore": "embed*"}, "ignore"),
            ({"threshold": 3}, "threshold"),
            ([], "the body"),
        ]
        for body, field in refused:
            answer = put(service, body)
            assert (answer.status_code, field in answer.json()["detail"]) == (422, True), body
        assert service.get(PATH) == AS_IT_COMES

    def test_lets_no_training_job_choose(self, service: ServiceUnderTest) -> None:
        service.declare_run()
        answer = service.client.put(PATH, json={"off": list(KINDS)}, headers=service.ingest)
        assert answer.status_code == 403


class TestALiveStream:
    """What is chosen holds from the next frames on."""

    def test_is_judged_by_the_new_sensitivity(self, service: ServiceUnderTest) -> None:
        run, other = service.declare_run(), service.declare_run(project="another")
        norms = quiet(1000)
        norms[950] *= 20.0
        for each in (run, other):
            send_norms(each, 0, norms[:900])
        assert events(run) == []
        choose(service, sensitivity="keen")
        for each in (run, other):
            send_norms(each, 900, norms[900:])
        assert events(run) == [("explosion", 950, "resolved")]
        assert events(other) == []

    def test_tells_nothing_of_a_kind_that_is_off_and_pages_nobody(
        self, make_service: Callable[..., ServiceUnderTest]
    ) -> None:
        service = make_service(alert=("json://127.0.0.1:9/",))
        run = service.declare_run()
        run.send(0, 60)
        choose(service, off=["non_finite"])
        run.send(60, 1, **NAN)
        assert events(run) == []
        choose(service)
        run.send(61, 60)
        assert events(run) == []  # it began while the kind was off
        run.send(121, 1, **NAN)
        assert events(run) == [("non_finite", 121, "open")]
        with service.app.state.session_factory.begin() as session:
            assert len(session.scalars(select(Delivery)).all()) == 1

    def test_ends_what_goes_on_when_its_kind_is_turned_off(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 60)
        run.send(60, 1, **NAN)
        assert events(run) == [("non_finite", 60, "open")]
        choose(service, off=["non_finite"])
        answer = run.send(61, 5)
        (ended,) = service.get(f"{run.path}/events")["events"]
        assert (ended["status"], ended["end_step"], ended["severity"]) == ("resolved", 60, "critical")
        assert ended["message"].endswith("; followed no further, since the project has turned this kind off")
        assert ended["revision"] == answer["event_revision"]

    def test_never_names_ignored_layers_nor_calls_them_vanishing(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        choose(service, ignore=["enc*"])
        norms = quiet(500)
        norms[300:, 0] = 0.0
        norms[-1, 0] = math.nan
        send_norms(run, 0, norms[:-1])
        assert events(run) == []
        run.send(499, 1, layer_norms=[math.nan, 1.0], **NAN)
        (told,) = service.get(f"{run.path}/events")["events"]
        assert (told["kind"], told["layers"], told["first_layer"]) == ("non_finite", [], None)
        assert "encoder" not in f"{told['message']} {told['cause']} {told['action']}"

    def test_ignores_by_the_names_of_modules_too(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        choose(service, ignore=["encoder"])
        norms = quiet(500)
        norms[300:, 0] = 0.0
        send_norms(run, 0, norms)
        assert events(run) == []

    def test_takes_no_statement_more_a_chunk(self, service: ServiceUnderTest) -> None:
        run, other = service.declare_run(), service.declare_run(project="another")
        choose(service, sensitivity="keen", off=["vanishing"], ignore=["enc*"])
        for each in (run, other):
            each.send(0, 10)
        statements: list[str] = []
        event.listen(
            service.app.state.writer_engine, "before_cursor_execute", lambda *given: statements.append(given[2])
        )
        run.send(10, 10)
        with_choices = list(statements)
        statements.clear()
        other.send(10, 10)
        assert with_choices == statements != []

    def test_of_another_layout_is_judged_alike(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        choose(service, ignore=["enc*"], off=["explosion"])
        send_norms(run, 0, quiet(100))
        layers = [LAYERS[0], LAYERS[1] | {"name": "head.other", "module": "other"}]
        run.declare_layout(layers)
        norms = quiet(500)
        norms[300:, 0] = 0.0
        norms[400] *= 1e5
        total = np.sqrt(np.square(norms).sum(axis=1)).tolist()
        changes: dict[str, Any] = {"layer_norms": norms.ravel().tolist(), "layout_id": layout_id(layers)}
        run.send(100, 500, global_norm=total, **changes)
        assert events(run) == []


class TestTheStateOfADetector:
    """It remembers what was chosen when its frames were judged, so that a restart judges them as they were."""

    def states(self, service: ServiceUnderTest) -> list[bytes | None]:
        with service.app.state.session_factory.begin() as session:
            return list(session.scalars(select(Stream.detector_state)))

    def test_is_stored_at_the_change(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 60)
        before = self.states(service)
        run.send(60, 1)
        assert self.states(service) == before  # nothing is due yet
        choose(service, sensitivity="keen")
        run.send(61, 1)
        assert self.states(service) != before

    @pytest.mark.parametrize("choice", [{"sensitivity": "keen"}, {"off": ["explosion"], "ignore": ["enc*"]}])
    def test_brings_back_the_same_after_a_restart_between_any_two_chunks(
        self, make_service: Callable[..., ServiceUnderTest], choice: dict[str, Any]
    ) -> None:
        """One service lives on, another is started again after each chunk."""
        norms = quiet(1000)
        norms[950] *= 20.0
        norms[600:620] *= 1e4
        norms[700:800, 0] *= 1e-4
        norms[850:, 1] *= 1e-4
        told = []
        for restarts in (False, True):
            service = make_service()
            run = service.declare_run()
            choose(service)
            for first in range(0, 1000, 250):
                if first == 500:
                    choose(run.service, **choice)
                send_norms(run, first, norms[first : first + 250])
                if restarts:
                    run.service.app.state.writer.stop()
                    run.service = make_service()
            told.append(events(run))
        assert told[0] == told[1]
        assert told[0] != []

    def test_goes_with_a_new_attempt(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        choose(service, off=["non_finite"])
        run.send(0, 60)
        again = Speaker(service, run.run_id, uuid4())
        again.heartbeat(started_at=1_790_001_000.0)
        again.send(0, 1, **NAN)
        assert events(run) == []


def test_another_service_on_the_same_database_follows_too(
    make_service: Callable[..., ServiceUnderTest], database_url: str
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite serves one process")
    here, there = make_service(), make_service()
    run = here.declare_run()
    run.send(0, 60)
    choose(there, off=["non_finite"])
    run.send(60, 1, **NAN)
    assert events(run) == []
