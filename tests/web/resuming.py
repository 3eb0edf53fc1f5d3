"""A made-up training that ends and resumes, and loses frames on the way: what only the binary wire can tell."""

import time
import urllib.request
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
from service_process import ServiceProcess

from gradvitals.frames import Chunk, Frame, Layer, Layout, LostRange, encode_chunk

LAYOUT = Layout((Layer("head.weight", "head", (1, 32), 32, "float32", 0, True),))


class Resuming:
    """One run of several attempts, each with a norm of 1."""

    def __init__(self, service: ServiceProcess, name: str) -> None:
        self.service = service
        self.run_id = str(uuid4())
        self.path = f"/runs/{self.run_id}"
        self._attempts = 0
        self._send("PUT", "", msgspec.json.encode({"project": "gru-adding", "name": name}))
        self._send("PUT", f"/layouts/{LAYOUT.layout_id}", msgspec.json.encode(LAYOUT.to_json()))

    def attempt(self, first_step: int, steps: int, lost: tuple[int, int, str] | None = None) -> None:
        """One attempt, all frames at once; ``lost``: after how many frames how many are missing, and why."""
        self._attempts += 1
        attempt_id = str(uuid4())
        said: dict[str, Any] = {"rank": 0, "world_size": 1, "launch": attempt_id, "host": "h", "pid": 1}
        said |= {"started_at": time.time() + self._attempts, "state": "running"}
        self._send("PUT", f"/attempts/{attempt_id}", msgspec.json.encode(said))
        if lost is None:
            self._post(attempt_id, first_step, 0, steps)
            return
        after, missing, reason = lost
        gap = LostRange(after, missing, reason, first_step + after, first_step + after + missing - 1)
        self._post(attempt_id, first_step, 0, after)
        self._post(attempt_id, first_step, after + missing, steps, gap)

    def _post(self, attempt_id: str, first_step: int, first: int, end: int, *lost: LostRange) -> None:
        frames = [
            Frame(
                step=first_step + index,
                time=time.time(),
                global_norm=1.0,
                clip_coefficient=1.0,
                max_norm=float("inf"),
                lr=0.1,
                layout=LAYOUT,
                layer_norms=np.ones(1, np.float32),
                loss=1.0,
            )
            for index in range(first, end)
        ]
        body = encode_chunk(Chunk(attempt_id, "main", LAYOUT, first, frames, lost))
        self._send("POST", "/chunks", bytes(body), "application/vnd.gradvitals.chunk+msgpack")

    def _send(self, method: str, path: str, body: bytes, kind: str = "application/json") -> None:
        request = urllib.request.Request(f"{self.service.url}/api/v1{self.path}{path}", data=body, method=method)
        request.add_header("Authorization", f"Bearer {self.service.tokens['ingest_token']}")
        request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, timeout=30):
            pass
