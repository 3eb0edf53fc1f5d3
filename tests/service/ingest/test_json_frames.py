"""JSON frames: for curl, where everything is implied and nothing is accepted that JSON or a measurement cannot say."""

from typing import Any
from uuid import uuid4, uuid5

import pytest
from service.speaking import ServiceUnderTest, Speaker


def new_run(service: ServiceUnderTest) -> Speaker:
    return Speaker(service, uuid4())


def frame(step: int, **values: Any) -> dict[str, Any]:
    return {"step": step, "global_norm": 1.25} | values


def send_raw(service: ServiceUnderTest, run: Speaker, body: str | bytes) -> Any:
    headers = service.ingest | {"Content-Type": "application/json"}
    return service.client.post(f"{run.path}/frames", content=body, headers=headers)


def test_the_example_of_the_wires_page_works_as_it_stands(service: ServiceUnderTest) -> None:
    run = new_run(service)
    body = {
        "project": "scratch",
        "name": "from curl",
        "monitor": "main",
        "first": None,
        "frames": [
            {
                "step": 0,
                "global_norm": 1.25,
                "loss": 0.7,
                "clip_coefficient": 0.8,
                "max_norm": 1.0,
                "lr": 0.1,
                "time": None,
                "layer_norms": {"encoder.weight": 1.0, "head.weight": 0.75},
                "scalars": {"accuracy": 0.5},
            }
        ],
    }
    answer = run.send_json(body)
    assert (answer.status_code, answer.json()) == (200, {"next": 1, "event_revision": 0})
    detail = service.get(run.path)
    assert (detail["project"], detail["name"], detail["state"]) == ("scratch", "from curl", "running")
    assert (detail["global_norm"], detail["max_norm"], detail["clip_rate"]) == (1.25, 1.0, 1.0)
    assert detail["loss"] == pytest.approx(0.7)
    assert detail["attempts"][0]["attempt_id"] == str(uuid5(run.run_id, "frames"))


def test_only_the_step_and_the_global_norm_are_needed(service: ServiceUnderTest) -> None:
    run = new_run(service)
    assert run.send_json({"frames": [frame(0), frame(1)]}).json()["next"] == 2
    detail = service.get(run.path)
    assert (detail["loss"], detail["max_norm"], detail["clip_rate"]) == (None, "Infinity", 0.0)
    assert (detail["project"], detail["name"]) == ("default", str(run.run_id))


def test_frames_without_first_are_appended(service: ServiceUnderTest) -> None:
    run = new_run(service)
    assert [run.send_json({"frames": [frame(step)]}).json()["next"] for step in range(3)] == [1, 2, 3]


def test_frames_with_first_are_counted_once(service: ServiceUnderTest) -> None:
    run = new_run(service)
    body = {"first": 0, "frames": [frame(0), frame(1)]}
    assert [run.send_json(body).json()["next"] for _ in range(2)] == [2, 2]
    assert run.send_json({"first": 5, "frames": [frame(5)]}).json()["next"] == 2
    assert service.get(run.path)["frames"] == 2


def test_the_layers_of_one_request_may_differ_from_those_of_another(service: ServiceUnderTest) -> None:
    run = new_run(service)
    assert run.send_json({"frames": [frame(0, layer_norms={"a.weight": 1.0})]}).status_code == 200
    assert run.send_json({"frames": [frame(1, layer_norms={"b.weight": 1.0, "a.weight": 2.0})]}).status_code == 200


def test_a_run_that_a_client_declared_takes_json_frames_too(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    assert run.send_json({"project": "gru-lm", "frames": [frame(0)]}).json()["next"] == 1
    assert service.get(run.path)["name"] == "gru, clipped"


def test_frames_for_a_run_of_another_project_are_409(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    refusal = run.send_json({"project": "other", "frames": [frame(0)]})
    assert (refusal.status_code, refusal.json()["error"]) == (409, "conflict")
    assert service.get(run.path)["frames"] == 0


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_finite_is_its_word_in_and_out(service: ServiceUnderTest, word: str) -> None:
    run = new_run(service)
    assert run.send_json({"frames": [frame(0, loss=word)]}).status_code == 200
    assert service.get(run.path)["loss"] == word


def test_a_finite_norm_beyond_float32_stays_finite(service: ServiceUnderTest) -> None:
    run = new_run(service)
    assert run.send_json({"frames": [frame(0, global_norm=1e300)]}).status_code == 200
    assert service.get(run.path)["global_norm"] == pytest.approx(3.4028235e38)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ('{"step": 0, "global_norm": NaN}', "malformed"),
        ('{"step": 0, "global_norm": Infinity}', "malformed"),
        ('{"step": 0, "global_norm": 1e999}', "frames[0].global_norm: Number out of range"),
        ('{"step": 0, "global_norm": "nan"}', "frames[0].global_norm: Invalid enum value 'nan'"),
        ('{"step": 0, "global_norm": null}', "frames[0].global_norm: Expected"),
        ('{"step": 0, "global_norm": -1}', "global_norm: a norm is below 0"),
        ('{"step": 0, "global_norm": "-Infinity"}', "global_norm: a norm is below 0"),
        ('{"step": 0}', "missing required field `global_norm`"),
        ('{"global_norm": 1}', "missing required field `step`"),
        ('{"step": -1, "global_norm": 1}', "frames[0].step: Expected `int` >= 0"),
        ('{"step": 9223372036854775808, "global_norm": 1}', "frames[0].step: Expected `int` <="),
        ('{"step": 1.5, "global_norm": 1}', "frames[0].step: Expected `int`, got `float`"),
        ('{"step": true, "global_norm": 1}', "frames[0].step: Expected `int`, got `bool`"),
        ('{"step": "0", "global_norm": 1}', "frames[0].step: Expected `int`, got `str`"),
        ('{"step": 0, "global_norm": 1, "clip_coefficient": 2}', "clip_coefficient: outside of [0, 1]"),
        ('{"step": 0, "global_norm": 1, "max_norm": -1}', "max_norm: below 0"),
        ('{"step": 0, "global_norm": 1, "grad_norm": 1}', "unknown field `grad_norm`"),
        ('{"step": 0, "global_norm": 1, "layer_norms": {"": 1}}', "layer_norms"),
        ('{"step": 0, "global_norm": 1, "layer_norms": {"a\\u0000": 1}}', "layer_norms"),
        ('{"step": 0, "global_norm": 1, "layer_norms": {"a": -1}}', "layer_norms: a norm is below 0"),
        ('{"step": 0, "global_norm": 1, "scalars": {"a": "high"}}', "scalars"),
        ('{"step": 0, "global_norm": 1, "time": 1e300}', "frames[0].time: Expected `float` <"),
        ('{"step": 0, "global_norm": 1}, {"step": 0, "global_norm": 1}', "step: steps must increase"),
        (
            '{"step": 0, "global_norm": 1}, {"step": 1, "global_norm": 1, "layer_norms": {"a": 1}}',
            "frames[1].layer_norms",
        ),
        ("", "frames: Expected `array` of length >= 1"),
    ],
)
def test_a_malformed_frame_is_refused_with_the_field_and_nothing_is_made(
    service: ServiceUnderTest, values: str, words: str
) -> None:
    run = new_run(service)
    refusal = send_raw(service, run, f'{{"frames": [{values}]}}')
    assert refusal.status_code == 422
    assert words in refusal.json()["detail"]
    assert service.client.get(run.path, headers=service.read).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"\\ud800"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"frames": ' + b'{"a":' * 100_000,
        b'{"frames": [], "name": "' + b"\xed\xa0\x80" + b'"}',
        b"1" * 5000,
    ],
    ids=[
        "empty",
        "null",
        "array",
        "lone surrogate",
        "not UTF-8",
        "deep",
        "deep objects",
        "raw surrogate",
        "long number",
    ],
)
def test_what_is_no_such_json_is_refused(service: ServiceUnderTest, body: bytes) -> None:
    assert send_raw(service, new_run(service), body).status_code == 422


def test_too_many_frames_and_scalars_are_refused(service: ServiceUnderTest) -> None:
    run = new_run(service)
    assert "frames" in run.send_json({"frames": [frame(step) for step in range(4097)]}).json()["detail"]
    many = [frame(step, scalars={f"s{step}": 1.0}) for step in range(65)]
    refusal = run.send_json({"frames": many})
    assert (refusal.status_code, refusal.json()["detail"]) == (422, "scalars: 65 names where 64 are allowed")


def test_another_content_type_is_refused_as_a_browsers_form_would_be(service: ServiceUnderTest) -> None:
    run = new_run(service)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = service.ingest | {"Content-Type": content_type}
        assert service.client.post(f"{run.path}/frames", content=b"{}", headers=headers).status_code == 415
