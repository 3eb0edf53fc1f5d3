"""A service under test, and the wire's words to speak with it. Everything has a harmless default."""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute

from gradvitals_service.app import create_app
from gradvitals_service.settings import Settings

INGEST_TOKEN = "gv_ingest_token_of_the_tests"
READ_TOKEN = "gv_read_token_of_the_tests"
CHUNK_TYPE = "application/vnd.gradvitals.chunk+msgpack"

LAYERS = [
    {
        "name": "encoder.weight",
        "module": "encoder",
        "shape": [4, 4],
        "numel": 16,
        "dtype": "float32",
        "parameter_group": 0,
        "trainable": True,
    },
    {
        "name": "head.weight",
        "module": "head",
        "shape": [4],
        "numel": 4,
        "dtype": "float32",
        "parameter_group": 0,
        "trainable": True,
    },
]


def layout_id(layers: Sequence[dict[str, Any]] = LAYERS) -> str:
    """As docs/wire.md defines it."""
    names = ("name", "module", "shape", "numel", "dtype", "parameter_group", "trainable")
    canonical = msgspec.msgpack.encode([[layer[name] for name in names] for layer in layers])
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


def chunk(attempt_id: UUID, first: int, n: int, /, **changes: Any) -> dict[str, Any]:
    """A chunk's map: frames ``first`` to ``first + n`` at the steps of the same numbers, each with norms 3 and 4.

    ``changes`` replace keys; a list of numbers for a column is packed as the wire wants it.
    """
    kinds = {"step": "q", "time": "d", "flags": "I"}
    columns: dict[str, Any] = {
        "step": list(range(first, first + n)),
        "time": [1_790_000_000.0 + k for k in range(n)],
        "global_norm": [5.0] * n,
        "clip_coefficient": [1.0] * n,
        "max_norm": [float("inf")] * n,
        "lr": [0.1] * n,
        "loss": [1.0] * n,
        "loss_scale": [1.0] * n,
        "flags": [2] * n,
        "layer_norms": [3.0, 4.0] * n,
    }
    head = {"v": 1, "attempt_id": str(attempt_id), "monitor": "main", "layout_id": layout_id(), "first": first, "n": n}
    for name, value in (columns | changes).items():
        packed = isinstance(value, list) and name in columns
        head[name] = struct.pack(f"<{len(value)}{kinds.get(name, 'f')}", *value) if packed else value
    return head


_ROUTES: list[BaseRoute] = []  # of the first app in this process


class ServiceUnderTest:
    """One service on one database, with both tokens."""

    def __init__(self, database_url: str, folder: Path, **settings: Any) -> None:
        self.settings = Settings(
            database_url=database_url,
            data_dir=folder / "data",
            state_dir=folder / "state",
            ingest_token=INGEST_TOKEN,
            read_token=READ_TOKEN,
            **settings,
        )
        self.app: FastAPI = create_app(self.settings)
        # what FastAPI works out of routes is the same for every app, and takes longer than most tests
        self.app.router.routes[:] = _ROUTES or self.app.router.routes
        _ROUTES[:] = self.app.router.routes
        self.client = TestClient(self.app, base_url="http://127.0.0.1:8765", follow_redirects=False)
        self.ingest = {"Authorization": f"Bearer {INGEST_TOKEN}"}
        self.read = {"Authorization": f"Bearer {READ_TOKEN}"}

    def get(self, path: str, **parameters: Any) -> Any:
        """Read with the read token; anything but 200 fails the test."""
        answer = self.client.get(path, headers=self.read, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, path: str, body: Any) -> Any:
        """Declare with the ingest token; anything but 200 fails the test."""
        answer = self.client.put(path, headers=self.ingest, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def declare_run(self, run_id: UUID | None = None, **changes: Any) -> "Speaker":
        """A run with an attempt and the layout LAYERS, ready for chunks."""
        speaker = Speaker(self, run_id or uuid4())
        speaker.declare_run(**changes)
        speaker.heartbeat()
        speaker.declare_layout()
        return speaker


class Speaker:
    """One attempt of one run, as its client would speak."""

    def __init__(self, service: ServiceUnderTest, run_id: UUID, attempt_id: UUID | None = None) -> None:
        self.service = service
        self.run_id = run_id
        self.attempt_id = attempt_id or uuid4()
        self.launch = uuid4()
        self.path = f"/api/v1/runs/{run_id}"

    def declare_run(self, **changes: Any) -> Any:
        """PUT the run."""
        return self.service.put(self.path, {"project": "gru-lm", "name": "gru, clipped"} | changes)

    def heartbeat(self, **changes: Any) -> Any:
        """PUT the attempt."""
        said = {
            "rank": 0,
            "world_size": 1,
            "launch": str(self.launch),
            "host": "node7",
            "pid": 4242,
            "started_at": 1_790_000_000.0,
            "state": "running",
        }
        return self.service.put(f"{self.path}/attempts/{self.attempt_id}", said | changes)

    def declare_layout(self, layers: Sequence[dict[str, Any]] = LAYERS) -> Any:
        """PUT a layout."""
        return self.service.put(f"{self.path}/layouts/{layout_id(layers)}", {"layers": list(layers)})

    def chunk(self, first: int, n: int, /, **changes: Any) -> dict[str, Any]:
        """The map of a chunk of this attempt."""
        return chunk(self.attempt_id, first, n, **changes)

    def post(self, body: Any) -> Any:
        """POST a chunk, a map or raw bytes; gives the whole answer."""
        content = body if isinstance(body, bytes) else msgspec.msgpack.encode(body)
        headers = self.service.ingest | {"Content-Type": CHUNK_TYPE}
        return self.service.client.post(f"{self.path}/chunks", content=content, headers=headers)

    def send(self, first: int, n: int, /, **changes: Any) -> Any:
        """POST a chunk that must be taken."""
        answer = self.post(self.chunk(first, n, **changes))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def save(self, *steps: int, deleted: Sequence[str] = (), **changes: Any) -> Any:
        """POST a checkpoint for each step, saved so many seconds after the first frame; gives the answer's body."""
        saved = [
            {"path": f"/checkpoints/{step}.pt", "step": step, "saved_at": 1_790_000_000.0 + step, "clean": None}
            | changes
            for step in steps
        ]
        answer = self.post_checkpoints({"saved": saved, "deleted": list(deleted)})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post_checkpoints(self, body: dict[str, Any]) -> Any:
        """POST checkpoints of this attempt; gives the whole answer."""
        said = {"attempt_id": str(self.attempt_id)} | body
        return self.service.client.post(f"{self.path}/checkpoints", json=said, headers=self.service.ingest)

    def send_json(self, body: Any) -> Any:
        """POST JSON frames; gives the whole answer."""
        return self.service.client.post(f"{self.path}/frames", json=body, headers=self.service.ingest)
