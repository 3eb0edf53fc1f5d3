"""All that a client of wire version 1 says in its life, kept as it was said when that version was released.

``tests/wire/session_v1.json`` is frozen like the golden chunk, which is one of its bodies: a change is a new version.
"""

import json
from typing import Any
from uuid import UUID

import msgspec
from service.speaking import CHUNK_TYPE, ServiceUnderTest
from wire import golden

RUN_PATH = f"/api/v1/runs/{UUID(int=1)}"
BEFORE = [{"first": 0, "n": 60, "reason": "queue_full"}]  # the golden chunk is the 61st frame's, and no first one


def say(service: ServiceUnderTest, request: dict[str, Any]) -> Any:
    """Send one request; gives its answer, which must be 200."""
    is_chunk = request["path"] == "/chunks"
    body = golden.PATH.with_name(request["body"]).read_bytes() if is_chunk else json.dumps(request["body"])
    kind = CHUNK_TYPE if is_chunk else "application/json"
    headers = service.ingest | {"Content-Type": kind}
    answer = service.client.request(request["method"], RUN_PATH + request["path"], content=body, headers=headers)
    assert answer.status_code == 200, (request["path"], answer.text)
    return answer.json()


def lose_what_came_before(service: ServiceUnderTest) -> None:
    content = msgspec.msgpack.decode(golden.PATH.read_bytes())
    columns = {name: b"" for name, value in content.items() if isinstance(value, bytes)}
    kept = {name: content[name] for name in ("v", "attempt_id", "monitor", "layout_id")}
    body = msgspec.msgpack.encode(kept | columns | {"first": 60, "n": 0, "lost": BEFORE})
    headers = service.ingest | {"Content-Type": CHUNK_TYPE}
    answer = service.client.post(f"{RUN_PATH}/chunks", content=body, headers=headers)
    assert answer.status_code == 200, answer.text


def test_a_client_of_the_last_released_wire_version_still_works(service: ServiceUnderTest) -> None:
    answers: dict[str, Any] = {}
    for request in json.loads(golden.PATH.with_name("session_v1.json").read_bytes()):
        if request["path"] == "/chunks":
            lose_what_came_before(service)
        answers[request["path"].split("/")[1] if request["path"] else "run"] = say(service, request)
    assert answers["run"]["wire_versions"] == [1]
    assert answers["layouts"] == {"layout_id": golden.LAYOUT_ID}
    assert answers["chunks"]["next"] == 67
    assert answers["checkpoints"] == {"newest_clean": None}  # it was saved just before the explosion
    assert (answers["attempts"]["state"], answers["attempts"]["commands"]) == ("finished", [])
    run = service.get(RUN_PATH)
    assert (run["project"], run["name"], run["owner"], run["tags"]) == ("gru-lm", "gru, clipped", "ada", ["sweep"])
    assert (run["state"], run["frames"], run["lost"], run["last_step"]) == ("finished", 3, 64, 170)
    series = service.get(f"{RUN_PATH}/series", metrics="global_norm,accuracy", points=100)
    assert series["step"] == golden.STEP
    assert series["series"]["global_norm"]["max"][:2] == golden.GLOBAL_NORM[:2]
    (checkpoint,) = service.get(f"{RUN_PATH}/checkpoints")["checkpoints"]
    assert (checkpoint["path"], checkpoint["step"], checkpoint["reported_clean"]) == ("/checkpoints/165.pt", 165, True)
    kinds = {event["kind"] for event in service.get(f"{RUN_PATH}/events")["events"]}
    assert kinds == {"explosion", "non_finite"}
