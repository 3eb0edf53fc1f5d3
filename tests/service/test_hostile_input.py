"""Whatever is sent to whichever route, the answer is never a fault of ours."""

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from fastapi.routing import iter_route_contexts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service.speaking import CHUNK_TYPE, LAYERS, ServiceUnderTest, Speaker, chunk, layout_id

RUN_ID = UUID("0199a3c2-7d10-7abc-8def-000000000001")
ATTEMPT_ID = UUID("0199a3c2-7d10-7abc-8def-000000000002")
PATH = f"/api/v1/runs/{RUN_ID}"

# The database lives as long as the test: what one example left behind is part of the next one's world.
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

odd_numbers = st.sampled_from([-1, 0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 1e308, -0.0, 5e-324])
odd_texts = st.sampled_from(
    ["", "\0", "NaN", "Infinity", "\u202e", "a" * 600, "' OR 1=1 --", "<script>", "../..", "é" * 200]
)
leaves = st.one_of(st.none(), st.booleans(), odd_numbers, odd_texts, st.integers(), st.text(max_size=20))
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts, inner, max_size=3))

DECLARED: dict[str, dict[str, Any]] = {
    PATH: {
        "project": "p",
        "name": "n",
        "owner": "o",
        "group": None,
        "tags": [],
        "config": {},
        "links": {},
        "versions": {},
    },
    f"{PATH}/attempts/{ATTEMPT_ID}": {
        "rank": 0,
        "world_size": 1,
        "launch": str(ATTEMPT_ID),
        "host": "h",
        "pid": 1,
        "started_at": 1.0,
        "resumed_from_step": None,
        "live": True,
        "state": "running",
        "last_step": 1,
        "overhead": 0.1,
        "exception": None,
        "interactive": False,
        "events_seen": 0,
        "monitors": {"main": {"made": 1, "spooled": 0, "lost": 0, "max_norm": 1.0, "norm_type": 2.0}},
    },
    f"{PATH}/layouts/{layout_id()}": {"layers": LAYERS},
}
FRAME = {"step": 0, "global_norm": 1.0, "loss": 1.0, "clip_coefficient": 1.0, "time": 1.0, "scalars": {}}
CHECKPOINT = {"path": "/c.pt", "step": 1, "saved_at": 1.0, "steps": {"main": 1}, "clean": None}


@pytest.fixture
def run(service: ServiceUnderTest) -> Speaker:
    run = Speaker(service, RUN_ID, ATTEMPT_ID)
    run.declare_run(project="p")
    run.heartbeat()
    run.declare_layout()
    return run


def check(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert {"error", "detail"} <= set(answer.json())


@many
@given(data=st.data())
def test_declarations(run: Speaker, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(DECLARED)))
    body = DECLARED[path] | {data.draw(st.sampled_from(sorted(DECLARED[path]))): data.draw(values)}
    check(run.service.client.put(path, content=json.dumps(body), headers=json_headers(run)))
    run.service.get(PATH)  # whatever was accepted can be read


@many
@given(data=st.data())
def test_checkpoints(run: Speaker, data: st.DataObject) -> None:
    saved = CHECKPOINT | {data.draw(st.sampled_from(sorted(CHECKPOINT))): data.draw(values)}
    deleted = data.draw(st.just([]) | st.lists(odd_texts, max_size=2) | values)
    body = {"attempt_id": str(ATTEMPT_ID), "saved": [saved], "deleted": deleted}
    check(run.service.client.post(f"{PATH}/checkpoints", content=json.dumps(body), headers=json_headers(run)))
    run.service.get(f"{PATH}/checkpoints")
    run.service.get(PATH)


@many
@given(data=st.data())
def test_choices_of_a_project(run: Speaker, data: st.DataObject) -> None:
    chosen = {"sensitivity": "keen", "off": ["vanishing"], "ignore": ["enc*"]}
    body = chosen | {data.draw(st.sampled_from([*chosen, "threshold"])): data.draw(values | st.lists(odd_texts))}
    headers = run.service.read | {"Content-Type": "application/json"}
    content = json.dumps(body)
    check(run.service.client.put("/api/v1/projects/p/detection", content=content, headers=headers))
    check(run.service.client.post(f"{PATH}/replay", content=content, headers=headers))
    run.service.get("/api/v1/projects/p/detection")


@many
@given(data=st.data())
def test_json_frames(run: Speaker, data: st.DataObject) -> None:
    frame = FRAME | {data.draw(st.sampled_from(sorted(FRAME))): data.draw(values)}
    body = {"project": "p", "frames": [frame]} | data.draw(
        st.just({}) | st.fixed_dictionaries({"first": values}) | st.fixed_dictionaries({"monitor": values})
    )
    check(run.service.client.post(f"{PATH}/frames", content=json.dumps(body), headers=json_headers(run)))
    run.service.get(PATH)


@many
@given(data=st.data())
def test_chunks(run: Speaker, data: st.DataObject) -> None:
    body = chunk(ATTEMPT_ID, data.draw(st.integers(0, 3)), 2)
    name = data.draw(st.sampled_from(sorted(body)))
    odd_bytes = st.binary(max_size=20) | st.just(b"\xff" * len(body[name]) if isinstance(body[name], bytes) else b"")
    body[name] = data.draw(st.one_of(leaves, odd_bytes).filter(lambda value: not is_big(value)))
    headers = run.service.ingest | {"Content-Type": CHUNK_TYPE}
    check(run.service.client.post(f"{PATH}/chunks", content=msgspec.msgpack.encode(body), headers=headers))
    run.service.get(PATH)


@many
@given(body=st.binary(max_size=60), data=st.data())
def test_bytes_that_mean_nothing(run: Speaker, body: bytes, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([*DECLARED, *(f"{PATH}/{kind}" for kind in ("frames", "chunks", "checkpoints"))]))
    method = "PUT" if path in DECLARED else "POST"
    kind = CHUNK_TYPE if path.endswith("chunks") else "application/json"
    check(run.service.client.request(method, path, content=body, headers=run.service.ingest | {"Content-Type": kind}))


@many
@given(data=st.data())
def test_queries_and_paths_of_everything_that_can_be_read(run: Speaker, data: st.DataObject) -> None:
    routes = [route for route in iter_route_contexts(run.service.app.routes) if route.methods == {"GET"}]
    paths = sorted(str(route.path) for route in routes if route.path != "/api/v1/live")  # a stream never ends
    words = st.one_of(odd_texts, st.sampled_from([str(RUN_ID), "-1", "0", "1e999", "NaN", str(10**30), "global_norm"]))
    path = data.draw(st.sampled_from(paths)).replace("{run_id}", data.draw(st.sampled_from([str(RUN_ID), "abc", "0"])))
    names = ["limit", "cursor", "project", "state", "health", "q", "metrics", "points", "from_step", "to_step", "rank"]
    query = data.draw(st.dictionaries(st.sampled_from([*names, "monitor", "status", "code"]), words, max_size=3))
    answer = run.service.client.get(path, params=query, headers=run.service.read)
    assert answer.status_code < 500 or path in ("/", "/{path:path}", "/login"), answer.text  # 503: page not built


def json_headers(run: Speaker) -> dict[str, str]:
    return run.service.ingest | {"Content-Type": "application/json"}


def is_big(value: object) -> bool:
    """MessagePack has no integers beyond 64 bits."""
    return isinstance(value, int) and not -(2**63) <= value < 2**64
