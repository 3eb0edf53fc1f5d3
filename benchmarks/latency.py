"""How soon after an optimizer step is its event on the live stream, and how much memory does the service take?

The steps go through the real client: frames are spooled and sent by its own thread, 250 ms apart, at once where a
gradient is not finite. A reader follows the server-sent events as the page does. The bad step comes at some moment of a
training that runs at 100 steps a second; once more it is among the first ones, which wait until the run, the attempt
and the layout are declared. Then 200 live runs of 200 layers: the service's memory once all are known, and how it has
grown when one of them has made a million steps more, while the others go on.
"""

import argparse
import http.client
import json
import os
import random
import statistics
import threading
import time
from urllib.parse import urlsplit

import torch

import gradvitals
from benchmarks.report import report
from benchmarks.serving import Service, Stream, serving

TRIES = 20
FIRST_STEPS = 100
STEP_SECONDS = 0.01
FLUSH_SECONDS = 0.25
LIVE_RUNS = 200
LAYERS = 200
ROUNDS = 3
MORE_STEPS = 1_000_000
LOOKS = 20  # at the service's memory over these steps


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


def measure_event(service: Service, follower: Follower, figure: str, factor: float, *, runs: bool) -> dict[str, object]:
    """From the optimizer step whose gradient is multiplied by ``factor`` to its event, over several runs."""
    waits = [_wait_for_event(service, follower, factor, runs=runs) for _ in range(TRIES)]
    return {"figure": figure, "p50": statistics.median(waits) * 1e3, "worst": max(waits) * 1e3, "unit": "ms"}


def _wait_for_event(service: Service, follower: Follower, factor: float, *, runs: bool) -> float:
    """The seconds; where the training ``runs`` it goes at its pace before, and else as fast as it can."""
    weight = torch.nn.Parameter(torch.ones(64))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    module = torch.nn.Module()
    module.weight = weight
    run = gradvitals.init(project="benchmark", url=service.url)
    run.watch(module, optimizer, max_norm=1.0)
    steps = FIRST_STEPS + (random.randrange(int(FLUSH_SECONDS / STEP_SECONDS)) if runs else 0)
    for step in range(steps):
        weight.grad = torch.full((64,), 1.0 + 0.01 * (step % 7))
        run.log(loss=1.0)
        optimizer.step()
        if runs:
            time.sleep(STEP_SECONDS)
    weight.grad = torch.full((64,), factor)
    run.log(loss=1.0)
    optimizer.step()
    stepped = time.perf_counter()
    seconds = follower.seen_at(str(run.run_id)) - stepped
    run.finish()
    return seconds


def measure_memory(service: Service, more_steps: int) -> list[dict[str, object]]:
    """Many live runs at once, then one of them for long."""
    streams = [Stream(service, LAYERS, seed) for seed in range(LIVE_RUNS)]
    for _ in range(ROUNDS):
        for stream in streams:
            stream.send(stream.body(128))
    known = service.memory_mebibytes()
    long, held = streams[0], []
    for look in range(LOOKS):
        end = more_steps * (look + 1) // LOOKS
        while (left := end - (long.next - ROUNDS * 128)) > 0:
            long.send(long.body(min(256, left)))
        for stream in streams[1:]:
            stream.send(stream.body(16))
        held.append(service.memory_mebibytes())
    middle = held[LOOKS // 2 - 1]
    title = f"memory with {LIVE_RUNS} live runs of {LAYERS} layers"
    return [
        {"figure": title, "p50": known, "worst": None, "unit": "MiB"},
        {"figure": f"the same, {more_steps:,} steps later", "p50": held[-1], "worst": max(held), "unit": "MiB"},
        {
            "figure": f"its growth over the last {more_steps // 2:,} of them",
            "p50": held[-1] - middle,
            "worst": max(held) - middle,
            "unit": "MiB",
        },
    ]


def main() -> None:
    """Measure all and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=MORE_STEPS, help="of the run whose memory is looked at")
    options = parser.parse_args()
    with serving() as service:
        follower = Follower(service)
        follower.start()
        os.environ["GRADVITALS_TOKEN"] = service.token
        os.environ["GRADVITALS_QUIET"] = "1"
        rows = [
            measure_event(service, follower, "optimizer step to event, explosion, 250 ms flush", 1e5, runs=True),
            measure_event(service, follower, "optimizer step to event, non-finite", float("nan"), runs=True),
            measure_event(service, follower, "the same, before the run is declared", float("nan"), runs=False),
        ]
    with serving() as service:
        rows += measure_memory(service, options.steps)
    report("latency", "From the step to the live stream, and the service's memory", rows)


if __name__ == "__main__":
    main()
