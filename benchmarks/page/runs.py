"""Runs for the page to show: small ones over the real wire, a long or wide one as a service would have stored it."""

import json
import math
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID, uuid4, uuid5

from benchmarks.serving import Service, Stream, serving
from benchmarks.store import store

SENDERS = 4
STEPS_OF_MANY = 60
EXPLODED_EVERY = 200
STILL_RUNNING = 40
WIDE_STEPS = 16_384


def send_many(service: Service, runs: int) -> None:
    """So many runs of 60 steps, sent as JSON over HTTP; one in 200 has exploded, all but the newest have finished."""

    def send(number: int) -> None:
        project, name = f"project-{number % 20}", f"run {number:,}"
        exploded = number % EXPLODED_EVERY == 7
        frames = [_frame(step, 1e5 if exploded and step > STEPS_OF_MANY - 5 else 1.0) for step in range(STEPS_OF_MANY)]
        body: dict[str, object] = {"project": project, "name": name, "frames": frames}
        run_id = uuid4()
        ask("POST", f"/api/v1/runs/{run_id}/frames", body)
        if number < runs - STILL_RUNNING:
            whose = {"rank": 0, "world_size": 1, "launch": str(run_id), "host": "benchmark", "pid": 1}
            ended = whose | {"started_at": time.time(), "state": "finished", "events_seen": 0}
            ask("PUT", f"/api/v1/runs/{run_id}/attempts/{uuid5(run_id, 'frames')}", ended)

    def ask(method: str, path: str, body: dict[str, object]) -> None:
        request = urllib.request.Request(service.url + path, json.dumps(body).encode(), method=method)
        request.add_header("Authorization", f"Bearer {service.token}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=120):
            pass

    with ThreadPoolExecutor(SENDERS) as pool:
        for _ in pool.map(send, range(runs)):
            pass


def _frame(step: int, times: float) -> dict[str, object]:
    norm = (1 + 0.3 * math.sin(step * 2.399)) * times
    return {
        "step": step,
        "global_norm": norm,
        "loss": 0.2,
        "clip_coefficient": min(1.0, 1 / norm),
        "max_norm": 1.0,
        "lr": 0.1,
        "layer_norms": {"gru.weight_hh_l0": norm * 0.8, "head.weight": norm * 0.6},
    }


@contextmanager
def one_run(steps: int, layers: int) -> Iterator[tuple[Service, UUID]]:
    """A service with one run of that size, put into its tables by the writer's own statements and really compacted."""
    with store(layer_count=layers) as made:
        made.add(steps)
        made.finish()
        made.writer.stop()
        with serving(f"sqlite:///{made.path}") as service:
            yield service, made.run_id


def trained(service: Service, layers: int, seed: int, name: str, steps: int) -> Stream:
    """A run that has trained for so many steps, by chunks of the real wire."""
    stream = Stream(service, layers, seed)
    stream.put("", {"project": "benchmark", "name": name})
    for _ in range(steps // 128):
        stream.send(stream.body(128))
    return stream


def pace(began: float, beat: int, seconds: float) -> None:
    """Wait for a beat of an even pace; one that comes too late does not move the others."""
    time.sleep(max(0.0, began + beat * seconds - time.perf_counter()))
