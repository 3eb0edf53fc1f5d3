"""Runs, attempts and layouts are declared as often as a client likes."""

import math
from typing import Any
from uuid import uuid4

import pytest
from service.speaking import LAYERS, ServiceUnderTest, Speaker, layout_id

ATTEMPT: dict[str, Any] = {
    "rank": 0,
    "world_size": 1,
    "launch": "0199a3c2-7d10-7abc-8def-0123456789ab",
    "host": "node7",
    "pid": 4242,
    "started_at": 1790000000.0,
    "state": "running",
}


class TestRuns:
    """PUT /runs/{run_id}."""

    def test_a_run_is_made_in_a_project_that_did_not_exist(self, service: ServiceUnderTest) -> None:
        run = Speaker(service, uuid4())
        assert run.declare_run() == {"run_id": str(run.run_id), "wire_versions": [1]}
        detail = service.get(run.path)
        assert (detail["project"], detail["name"], detail["health"], detail["frames"]) == (
            "gru-lm",
            "gru, clipped",
            "unknown",
            0,
        )

    def test_a_second_declaration_replaces_what_is_said_about_it(self, service: ServiceUnderTest) -> None:
        run = Speaker(service, uuid4())
        run.declare_run(tags=["a"], config={"lr": 0.5})
        said = {
            "name": "renamed",
            "owner": "ada",
            "group": "sweep",
            "tags": ["b"],
            "config": {"lr": 0.25, "seed": 2**80},
            "links": {"wandb": "https://example.org"},
            "versions": {"torch": "2.13.0"},
        }
        run.declare_run(**said)
        detail = service.get(run.path)
        assert {name: detail[name] for name in said} == said

    def test_a_run_cannot_move_to_another_project(self, service: ServiceUnderTest) -> None:
        run = Speaker(service, uuid4())
        run.declare_run()
        body = {"project": "other", "name": "moved"}
        refusal = service.client.put(run.path, headers=service.ingest, json=body)
        assert (refusal.status_code, refusal.json()["error"]) == (409, "conflict")
        assert service.get(run.path)["name"] == "gru, clipped"

    def test_a_key_of_a_newer_client_is_ignored(self, service: ServiceUnderTest) -> None:
        Speaker(service, uuid4()).declare_run(colour="blue")

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"name": "n"}, "missing required field `project`"),
            ({"project": "", "name": "n"}, "project: Expected `str` of length >= 1"),
            ({"project": "p" * 513, "name": "n"}, "project: Expected `str` of length <= 512"),
            ({"project": "p\0", "name": "n"}, "project: Expected `str` matching"),
            ({"project": "p", "name": 7}, "name: Expected `str`, got `int`"),
            ({"project": "p", "name": "n", "tags": "sweep"}, "tags: Expected `array`"),
            ({"project": "p", "name": "n", "config": {"a": {"b": ["\0"]}}}, "config: a text holds the character NUL"),
            ({"project": "p", "name": "n", "links": {"\0": "b"}}, "links: a text holds the character NUL"),
        ],
    )
    def test_a_malformed_declaration_names_its_field(
        self, service: ServiceUnderTest, body: dict[str, Any], words: str
    ) -> None:
        refusal = service.client.put(f"/api/v1/runs/{uuid4()}", headers=service.ingest, json=body)
        assert refusal.status_code == 422
        assert words in refusal.json()["detail"]

    def test_a_config_nested_without_end_is_refused(self, service: ServiceUnderTest) -> None:
        for depth in (40, 900, 50_000):
            body = '{"project": "p", "name": "n", "config": {"a": ' + "[" * depth + "]" * depth + "}}"
            headers = service.ingest | {"Content-Type": "application/json"}
            refusal = service.client.put(f"/api/v1/runs/{uuid4()}", headers=headers, content=body)
            assert refusal.status_code == 422
            assert "nested" in refusal.json()["detail"]

    def test_an_unknown_run_is_404(self, service: ServiceUnderTest) -> None:
        answer = service.client.get(f"/api/v1/runs/{uuid4()}", headers=service.read)
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


class TestAttempts:
    """PUT /runs/{run_id}/attempts/{attempt_id}: the declaration and every heartbeat."""

    def test_a_heartbeat_is_answered_with_what_holds(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        assert run.heartbeat(events_seen=0) == {"state": "running", "event_revision": 0, "events": [], "commands": []}

    def test_the_newest_heartbeat_is_shown(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        monitor = {
            "made": 7,
            "spooled": 2,
            "lost": 1,
            "optimizer": "SGD",
            "max_norm": 0.1,
            "clip_value": None,
            "norm_type": "Infinity",
        }
        run.heartbeat(last_step=6, overhead=0.004, monitors={"main": monitor})
        (attempt,) = service.get(run.path)["attempts"]
        assert (attempt["host"], attempt["pid"], attempt["last_step"], attempt["overhead"]) == ("node7", 4242, 6, 0.004)
        assert attempt["started_at"].startswith("2026-09-21T14:13:20")
        assert (attempt["launch"], attempt["resumed_from_step"], attempt["live"]) == (str(run.launch), None, True)
        assert attempt["monitors"] == {"main": monitor}

    def test_each_attempt_tells_what_of_it_is_stored_and_lost(self, service: ServiceUnderTest) -> None:
        first = service.declare_run()
        first.send(0, 10)
        second = service.declare_run(run_id=first.run_id)
        second.send(0, 0, lost=[{"first": 0, "n": 4, "reason": "quota", "first_step": 0, "last_step": 3}])
        second.send(4, 3)
        run = service.get(first.path)
        told = {attempt["attempt_id"]: (attempt["stored"], attempt["lost"]) for attempt in run["attempts"]}
        assert told == {str(first.attempt_id): (10, 0), str(second.attempt_id): (3, 4)}
        assert (run["frames"], run["lost"]) == (13, 4)

    @pytest.mark.parametrize("end", ["finished", "failed"])
    def test_an_end_takes_effect_once_every_frame_has_arrived(self, service: ServiceUnderTest, end: str) -> None:
        run = service.declare_run()
        run.send(0, 3)
        made = {"main": {"made": 5, "spooled": 2}}
        assert run.heartbeat(state=end, monitors=made)["state"] == "running"
        assert service.get(run.path)["state"] == "running"
        run.send(3, 2)
        assert service.get(run.path)["state"] == end  # without another heartbeat: the client may be gone
        assert run.heartbeat(state=end, monitors=made)["state"] == end

    @pytest.mark.parametrize("end", ["finished", "failed"])
    @pytest.mark.parametrize("overtaken", ["running", "paused"])
    def test_an_end_is_final_whatever_arrives_after_it(
        self, service: ServiceUnderTest, end: str, overtaken: str
    ) -> None:
        run = service.declare_run()
        run.send(0, 3)
        run.heartbeat(state=end, last_step=2, monitors={"main": {"made": 3}})
        assert run.heartbeat(state=overtaken, last_step=1, monitors={"main": {"made": 2}})["state"] == end
        shown = service.get(run.path)
        assert (shown["state"], shown["attempts"][0]["last_step"]) == (end, 2)

    def test_lost_frames_count_as_arrived(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.heartbeat(state="finished", monitors={"main": {"made": 5}})
        run.send(5, 0, lost=[{"first": 0, "n": 5, "reason": "quota"}])
        assert service.get(run.path)["state"] == "finished"

    def test_an_end_waits_for_every_monitor(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 2)
        assert (
            run.heartbeat(state="finished", monitors={"main": {"made": 2}, "main-2": {"made": 1}})["state"] == "running"
        )
        run.send(0, 1, monitor="main-2")
        assert service.get(run.path)["state"] == "finished"

    def test_a_run_goes_on_while_one_of_its_ranks_does(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        other = Speaker(service, run.run_id)
        other.launch = run.launch
        other.heartbeat(rank=1, world_size=2)
        run.heartbeat(state="finished")
        assert service.get(run.path)["state"] == "running"
        other.heartbeat(rank=1, world_size=2, state="failed", exception="ValueError")
        assert service.get(run.path)["state"] == "failed"

    def test_a_new_launch_revives_a_failed_run(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.heartbeat(state="failed")
        again = Speaker(service, run.run_id)
        again.heartbeat(started_at=1790001000.0)
        assert service.get(run.path)["state"] == "running"
        assert [attempt["state"] for attempt in service.get(run.path)["attempts"]] == ["failed", "running"]

    def test_a_paused_run_is_paused(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        assert run.heartbeat(state="paused")["state"] == "paused"
        assert service.get(run.path)["state"] == "paused"

    def test_an_attempt_of_an_unknown_run_is_404(self, service: ServiceUnderTest) -> None:
        path = f"/api/v1/runs/{uuid4()}/attempts/{uuid4()}"
        refusal = service.client.put(path, headers=service.ingest, json=ATTEMPT)
        assert refusal.status_code == 404

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"rank": -1}, "rank: Expected `int` >= 0"),
            ({"pid": 2**31}, "pid: Expected `int` <="),
            ({"world_size": 0}, "world_size: Expected `int` >= 1"),
            ({"state": "dead"}, "state: Invalid enum value 'dead'"),
            ({"started_at": 1e12}, "started_at: Expected `float` <"),
            ({"started_at": "today"}, "started_at: Expected `float`, got `str`"),
            ({"launch": "first"}, "launch: Invalid UUID"),
            ({"live": "yes"}, "live: Expected `bool`"),
            ({"monitors": {"": {}}}, "monitors"),
            ({"monitors": {"main": {"made": -1}}}, "made: Expected `int` >= 0"),
            ({"monitors": {"main": {"made": 2**63}}}, "made: Expected `int` <="),
            ({"monitors": {"main": {"max_norm": "nan"}}}, "max_norm: Invalid enum value 'nan'"),
        ],
    )
    def test_a_malformed_heartbeat_names_its_field(
        self, service: ServiceUnderTest, changes: dict[str, Any], words: str
    ) -> None:
        run = service.declare_run()
        path = f"{run.path}/attempts/{run.attempt_id}"
        refusal = service.client.put(path, headers=service.ingest, json=ATTEMPT | changes)
        assert refusal.status_code == 422
        assert words in refusal.json()["detail"]


class TestEventsInTheHeartbeat:
    """A client that is behind hears of what happened to its own run."""

    def test_an_event_is_told_until_it_was_seen(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        run.send(0, 20)
        taken = run.send(
            20, 1, global_norm=[math.nan], layer_norms=[1.0, math.nan], flags=[1], clip_coefficient=[math.nan]
        )
        assert taken["event_revision"] == 1
        answer = run.heartbeat(events_seen=0)
        assert answer["event_revision"] == 1
        (event,) = answer["events"]
        assert (event["kind"], event["start_step"], event["status"]) == ("non_finite", 20, "open")
        assert event["layers"] == ["head.weight"]
        assert run.heartbeat(events_seen=1)["events"] == []


class TestLayouts:
    """PUT /runs/{run_id}/layouts/{layout_id}."""

    def test_a_layout_may_be_declared_again(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        assert [run.declare_layout()["layout_id"] for _ in range(2)] == [layout_id()] * 2

    def test_an_id_that_is_not_the_contents_hash_is_refused(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        other = layout_id(LAYERS[:1])
        refusal = service.client.put(f"{run.path}/layouts/{other}", headers=service.ingest, json={"layers": LAYERS})
        assert refusal.status_code == 422
        assert refusal.json()["detail"].startswith("layout_id: these layers have the id")

    def test_a_layout_of_an_unknown_run_is_404(self, service: ServiceUnderTest) -> None:
        path = f"/api/v1/runs/{uuid4()}/layouts/{layout_id()}"
        assert service.client.put(path, headers=service.ingest, json={"layers": LAYERS}).status_code == 404

    def test_more_layers_than_65536_are_refused(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        body = {"layers": [LAYERS[0]] * 65_537}
        refusal = service.client.put(f"{run.path}/layouts/{layout_id()}", headers=service.ingest, json=body)
        assert (refusal.status_code, refusal.json()["detail"]) == (422, "layers: Expected `array` of length <= 65536")

    def test_a_layout_may_be_larger_than_a_chunk_but_not_than_32_mebibytes(self, service: ServiceUnderTest) -> None:
        run = service.declare_run()
        headers = service.ingest | {"Content-Type": "application/json"}
        path = f"{run.path}/layouts/{layout_id()}"
        for size, status in ((9 * 2**20, 422), (33 * 2**20, 413)):
            body = b'{"layers": [' + b" " * size + b"]}"
            assert service.client.put(path, headers=headers, content=body).status_code == status
