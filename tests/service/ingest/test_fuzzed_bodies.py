"""Whatever bytes are sent for frames: taken or refused with a reason, never a fault of ours, and memory stays flat."""

import random
import resource
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
from service.speaking import LAYERS, ServiceUnderTest, Speaker, layout_id
from wire import golden

RUN_ID = UUID("0199a3c2-7d10-7abc-8def-000000000001")
MEBIBYTE = 2**20
ODD = [
    None,
    True,
    -1,
    2**31,
    2**63,
    2**64 - 1,
    1e308,
    float("nan"),
    "",
    "\0",
    "a" * 600,
    b"",
    b"\xff" * 9,
    [],
    {},
    [[]],
]

Mutation = Callable[[random.Random, bytes], bytes]


def flip_bits(chance: random.Random, body: bytes) -> bytes:
    damaged = bytearray(body)
    for _ in range(chance.randint(1, 8)):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut(chance: random.Random, body: bytes) -> bytes:
    return body[: chance.randrange(len(body))]


def insert(chance: random.Random, body: bytes) -> bytes:
    place = chance.randrange(len(body) + 1)
    return body[:place] + chance.randbytes(chance.randint(1, 40)) + body[place:]


def repeat_a_part(chance: random.Random, body: bytes) -> bytes:
    start, stop = sorted(chance.randrange(len(body) + 1) for _ in range(2))
    return body[:stop] + body[start:]


def put_something_odd(chance: random.Random, body: bytes) -> bytes:
    """Well-formed MessagePack with a value that no client sends."""
    content = msgspec.msgpack.decode(body)
    for key in chance.sample(sorted(content), chance.randint(1, 3)):
        content[key] = chance.choice([*ODD, chance.randint(-(2**40), 2**40), chance.randbytes(chance.randint(0, 64))])
    return msgspec.msgpack.encode(content)


MUTATIONS: tuple[Mutation, ...] = (flip_bits, cut, insert, repeat_a_part, put_something_odd)


def bodies(run: Speaker, count: int) -> Iterator[bytes]:
    chance = random.Random(20_261_128)
    seeds = [golden.PATH.read_bytes(), msgspec.msgpack.encode(run.chunk(0, 3))]
    seeds.append(msgspec.msgpack.encode(run.chunk(3, 2, lost=[{"first": 0, "n": 3, "reason": "quota"}])))
    for _ in range(count):
        body = chance.choice(seeds)
        for mutate in chance.choices(MUTATIONS, k=chance.choice([1, 1, 2])):
            body = mutate(chance, body) if body else body
            if mutate is not put_something_odd:
                break  # what is damaged cannot be decoded again
        yield body


@pytest.mark.parametrize("count", [750, pytest.param(20_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_no_body_is_answered_with_a_fault_of_ours(service: ServiceUnderTest, count: int) -> None:
    run = service.declare_run(RUN_ID)
    before = peak_mebibytes()
    seen: dict[int, int] = {}
    for body in bodies(run, count):
        answer = run.post(body)
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, (answer.text, body)
        assert answer.status_code == 200 or answer.json()["detail"], body
    assert seen[422] > count / 2  # damaged bodies are seen as such
    assert peak_mebibytes() - before < 64


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def layers(count: int) -> list[dict[str, Any]]:
    return [LAYERS[0] | {"name": f"layer{k}.weight"} for k in range(count)]


def named(name: str) -> dict[str, Any]:
    return {"scalars": {name: {"present": b"\1", "values": bytes(8)}}}


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"n": 4097}, 422, "n:"),
        ({"monitor": "m" * 129}, 422, "monitor:"),
        ({"scalars": {f"s{k}": {"present": b"\1", "values": bytes(8)} for k in range(65)}}, 422, "scalars"),
        (named("s" * 513), 422, "scalars"),
        (named("s\0"), 422, "scalars"),
        ({"first": 2**63}, 422, "first:"),
        ({"first": -1}, 422, "first:"),
        ({"layer_norms": bytes(4 * 65_537)}, 422, "layer_norms:"),
        ({"layout_id": "0" * 33}, 422, "layout_id:"),
        ({"lost": [{"first": 0, "n": 1, "reason": "r" * 65}]}, 422, "lost"),
        ({"details": [{"row": 0, "batch_id": "b" * 513}]}, 422, "details"),
        ({"unknown": bytes(8 * MEBIBYTE)}, 413, "8 MiB"),
        ({"v": 2}, 415, "version 2"),
    ],
)
def test_every_limit_passed_by_one_is_refused_by_its_name(
    service: ServiceUnderTest, changes: dict[str, Any], status: int, words: str
) -> None:
    run = service.declare_run()
    answer = run.post(run.chunk(0, 1) | changes)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert service.get(run.path)["frames"] == 0


def test_a_layout_of_one_layer_too_many_is_refused(service: ServiceUnderTest) -> None:
    run = service.declare_run()
    many = layers(65_537)
    answer = service.client.put(f"{run.path}/layouts/{layout_id(many)}", headers=service.ingest, json={"layers": many})
    assert (answer.status_code, "layers" in answer.json()["detail"]) == (422, True)
