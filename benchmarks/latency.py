"""How soon after an optimizer step is its event on the live stream, and how much memory does the service take?

The steps go through the real client: frames are spooled and sent by its own thread, 250 ms apart, at once where a
gradient is not finite. A reader follows the server-sent events as the page does. Then 200 live runs of 200 layers: the
service's memory once all are known, and how much it has grown over the frames after that.
"""

import argparse
import http.client
import json
import os
import statistics
import threading
import time
from urllib.parse import urlsplit

import torch

import gradvitals
from benchmarks.report import report
from benchmarks.serving import Service, Stream, serving

TRIES = 20
WARM_STEPS = 100
LIVE_RUNS = 200
LAYERS = 200
ROUNDS = 6


class Follower(threading.Thread):
    """Reads the live stream and notes when the first event of a run came."""

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(urlsplit(service.url).netloc)
        self._connection.request("GET", "/api/v1/live", headers={"Authorization": f"Bearer {service.read_token}"})
        self._answer = self._connection.getresponse()
        self._told = threading.Condition()
        self._first: dict[str, float] = {}

    def run(self) -> None:
        """Read until the service ends."""
        kind = ""
        for line in self._answer:
            word, _, rest = line.decode().strip().partition(": ")
            if word == "event":
                kind = rest
            elif word == "data" and kind == "event":
                with self._told:
                    self._first.setdefault(json.loads(rest)["run_id"], time.perf_counter())
                    self._told.notify_all()

    def seen_at(self, run_id: str) -> float:
        """When the run's first event came; waits for it."""
        with self._told:
            if not self._told.wait_for(lambda: run_id in self._first, timeout=30):
                raise RuntimeError("no event came: there is nothing to time")
            return self._first[run_id]


def measure_event(service: Service, follower: Follower, figure: str, factor: float) -> dict[str, object]:
    """From the optimizer step whose gradient is multiplied by ``factor`` to its event, over several runs."""
    waits = []
    for _ in range(TRIES):
        weight = torch.nn.Parameter(torch.ones(64))
        optimizer = torch.optim.SGD([weight], lr=0.0)
        module = torch.nn.Module()
        module.weight = weight
        run = gradvitals.init(project="benchmark", url=service.url)
        run.watch(module, optimizer, max_norm=1.0)
        for step in range(WARM_STEPS):
            weight.grad = torch.full((64,), 1.0 + 0.01 * (step % 7))
            run.log(loss=1.0)
            optimizer.step()
        weight.grad = torch.full((64,), factor)
        run.log(loss=1.0)
        optimizer.step()
        stepped = time.perf_counter()
        waits.append(follower.seen_at(str(run.run_id)) - stepped)
        run.finish()
    return {"figure": figure, "p50": statistics.median(waits) * 1e3, "worst": max(waits) * 1e3, "unit": "ms"}


def measure_memory(service: Service) -> list[dict[str, object]]:
    """Many live runs at once, sending round after round."""
    streams = [Stream(service, LAYERS, seed) for seed in range(LIVE_RUNS)]
    held = []
    for _ in range(ROUNDS):
        for stream in streams:
            stream.send(stream.body(128))
        held.append(service.memory_mebibytes())
    title = f"memory with {LIVE_RUNS} live runs of {LAYERS} layers"
    frames = LIVE_RUNS * 128 * (ROUNDS - 3)
    return [
        {"figure": title, "p50": statistics.median(held), "worst": max(held), "unit": "MiB"},
        {
            "figure": f"its growth over the last {frames:,} frames",
            "p50": held[-1] - held[2],
            "worst": None,
            "unit": "MiB",
        },
    ]


def main() -> None:
    """Measure all and report."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with serving() as service:
        follower = Follower(service)
        follower.start()
        os.environ["GRADVITALS_TOKEN"] = service.token
        os.environ["GRADVITALS_QUIET"] = "1"
        rows = [
            measure_event(service, follower, "optimizer step to event, explosion, 250 ms flush", 1e5),
            measure_event(service, follower, "optimizer step to event, non-finite", float("nan")),
        ]
    with serving() as service:
        rows += measure_memory(service)
    report("latency", "From the step to the live stream, and the service's memory", rows)


if __name__ == "__main__":
    main()
