"""A made-up training that reports to a real service over HTTP, step by step as the test wants it."""

import json
import math
import urllib.request
from typing import Any
from uuid import UUID, uuid4, uuid5

from service_process import ServiceProcess

HIDDEN = "gru.weight_hh_l0"
HEAD = "head.weight"
BEGAN = 1_790_000_000.0  # of a training that says how long its steps take


class Training:
    """One run whose norm is 1, give or take a third, until the test makes it explode."""

    def __init__(self, service: ServiceProcess, name: str, **declared: Any) -> None:
        self.service = service
        self.run_id = str(uuid4())
        self.name = name
        self.layers = [HIDDEN, HEAD]
        self.step = 0
        self.seconds_a_step: float | None = None  # None: the service says when a frame came
        self.project = declared.get("project", "gru-adding")
        declaration = {"project": self.project, "name": name, "owner": "ada", "group": None, "tags": [], "config": {}}
        self._put(declaration | {"links": {}, "versions": {}} | declared)

    @property
    def path(self) -> str:
        """The run's view."""
        return f"/runs/{self.run_id}"

    def train(self, steps: int, times: float = 1.0, max_norm: float | None = None, **scalars: float) -> None:
        """Report so many steps, with norms ``times`` their usual, and what the training's own code logs at each."""
        self._post([self._frame(times, max_norm) | {"scalars": scalars} for _ in range(steps)])

    def break_down(self, steps: int) -> None:
        """Report steps without a finite gradient."""
        self._post([self._frame(math.nan, None) for _ in range(steps)])

    def save(self, *steps: int) -> None:
        """Tell of a checkpoint of each of these steps."""
        saved = [
            {"path": f"/checkpoints/{self.name}/{step}.pt", "step": step, "saved_at": 1_790_000_000.0 + step}
            for step in steps
        ]
        body = {"attempt_id": str(uuid5(UUID(self.run_id), "frames")), "saved": saved}
        self.service.post(f"/api/v1/runs/{self.run_id}/checkpoints", body)

    def attempt(self, rank: int = 0, **declared: Any) -> None:
        """Declare an attempt beside the one that the frames belong to, and what its process said last."""
        heartbeat = {"rank": rank, "world_size": 1, "launch": str(uuid4()), "host": "node7", "pid": 4242 + rank}
        heartbeat |= {"started_at": 1_790_000_000.0, "state": "running", "last_step": None, "monitors": {}}
        self._put(heartbeat | declared, f"/attempts/{uuid4()}")

    def _frame(self, times: float, max_norm: float | None) -> dict[str, Any]:
        norm = (1 + 0.3 * math.sin(self.step * 2.399)) * times
        clip = 1.0 if max_norm is None else min(1.0, max_norm / norm)
        loss = 0.2 * (1 + 0.1 * math.cos(self.step))
        frame = {
            "step": self.step,
            "global_norm": norm,
            "loss": loss * max(times, 1.0),
            "clip_coefficient": clip,
            "lr": 0.5,
            "layer_norms": {self.layers[0]: norm * 0.8, self.layers[1]: norm * 0.6},
        }
        if max_norm is not None:
            frame["max_norm"] = max_norm
        if self.seconds_a_step is not None:
            frame["time"] = BEGAN + self.step * self.seconds_a_step
        self.step += 1
        return {key: spell(value) for key, value in frame.items()}

    def _post(self, frames: list[dict[str, Any]]) -> None:
        body = {"project": self.project, "name": self.name, "monitor": "main", "frames": frames}
        self.service.post(f"/api/v1/runs/{self.run_id}/frames", body)

    def _put(self, declaration: dict[str, Any], below: str = "") -> None:
        url = f"{self.service.url}/api/v1/runs/{self.run_id}{below}"
        request = urllib.request.Request(url, data=json.dumps(declaration).encode(), method="PUT")
        request.add_header("Authorization", f"Bearer {self.service.tokens['ingest_token']}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30):
            pass


def spell(value: Any) -> Any:
    """A number as the wire's JSON writes it."""
    if isinstance(value, dict):
        return {key: spell(inner) for key, inner in value.items()}
    return "NaN" if isinstance(value, float) and math.isnan(value) else value
