"""What does the training thread pay for handing its frames over, and for the sender that delivers them?

Three questions, asked with a real service on loopback in a process of its own:

- what a call of the run's ``submit`` takes, in CPU time;
- what the sender takes in a training of 1,000 layers: its CPU time to that of the training thread, which is the most
  that it can slow the training down, and the median step with a sender at work to the one without, in wall time;
- for how long the sender keeps the interpreter. The training thread lets go of it again and again, and looks how much
  CPU time the sender had until it came back: time in which other processes have the core does not count.

Linux only, where another thread's CPU time can be read.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import gradvitals
from benchmarks.models import SHAPES
from benchmarks.report import report
from benchmarks.serving import serving
from gradvitals.frames import Frame
from gradvitals.pending import CHUNK_SECONDS

BURST = 200  # frames handed over at once, fewer than make the sender look
LAYERS = 1000
SHORT = 1e-4  # seconds that the interpreter may be kept


class Bench:
    """Frames of a network with as many layers as asked for, at will."""

    def __init__(self, layers: int, run: gradvitals.Run) -> None:
        model = nn.ParameterList(torch.zeros(1) for _ in range(layers))
        self.run = run
        self.monitor = run.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), max_norm=1.0, hook=False)
        self._norms = np.ones(layers, np.float32)
        self._step = 0

    def frame(self) -> Frame:
        """The next frame, as a monitor makes it."""
        self._step += 1
        return Frame(
            step=self._step - 1,
            time=time.time(),
            global_norm=1.0,
            clip_coefficient=1.0,
            max_norm=1.0,
            lr=0.1,
            layout=self.monitor.layout,
            layer_norms=self._norms.copy(),
        )

    def hand_over(self, frames: int) -> float:
        """CPU seconds of this thread for each of so many frames."""
        made, submit, monitor = [self.frame() for _ in range(frames)], self.run.submit, self.monitor
        started = time.thread_time()
        for frame in made:
            submit(monitor, frame)
        return (time.thread_time() - started) / frames


def sender_clock() -> Callable[[], float]:
    """The CPU time of the newest sender's thread."""
    thread = [thread for thread in threading.enumerate() if thread.name == "gradvitals-sender"][-1]
    assert thread.ident is not None
    clock_id = time.pthread_getcpuclockid(thread.ident)
    return lambda: time.clock_gettime(clock_id)


def measure_submit(url: str, layers: int) -> dict[str, Any]:
    """Handing over, in bursts that the sender clears away before the next one."""
    seconds = []
    with gradvitals.init(project="benchmark", name=f"{layers} layers", url=url) as run:
        bench = Bench(layers, run)
        for _ in range(20):
            seconds.append(bench.hand_over(BURST))
            time.sleep(2 * CHUNK_SECONDS)
    return row(f"handing over a frame of {layers:,} layers, us", statistics.median(seconds) * 1e6, 1.0)


def measure_slowdown(url: str, blocks: int, steps: int) -> list[dict[str, Any]]:
    """Training 1,000 layers with a sender and without one, in blocks that take turns."""
    shape = SHAPES["tiny1000"]
    model, batch = shape.build(), shape.batch()
    wall: dict[str, list[float]] = {"online": [], "disabled": []}
    steppers = {}
    with contextlib.ExitStack() as leave:
        for mode in wall:
            run = leave.enter_context(gradvitals.init(project="benchmark", name=mode, url=url, mode=mode))
            steppers[mode] = torch.optim.SGD(model.parameters(), lr=1e-9)
            run.watch(model, steppers[mode], max_norm=1.0)
        clock, cpu, sender = sender_clock(), 0.0, 0.0
        for block in range(1 + blocks):  # the first declares the run and is not counted
            for mode, optimizer in steppers.items():
                began, sender_began, times = time.thread_time(), clock(), []
                for _ in range(steps):
                    started = time.perf_counter()
                    optimizer.zero_grad()
                    model(batch).square().mean().backward()
                    optimizer.step()
                    times.append(time.perf_counter() - started)
                time.sleep(2 * CHUNK_SECONDS)  # until the sender has nothing left to do
                if block:
                    wall[mode] += times
                if block and mode == "online":
                    cpu, sender = cpu + time.thread_time() - began, sender + clock() - sender_began
    online, disabled = (statistics.median(times) for times in wall.values())
    return [
        row("the sender's CPU time, to the training thread's", sender / cpu, 0.01),
        row("a step with a sender to one without, wall time", online / disabled, 1.01),
    ]


def measure_holds(url: str, what: str, frames: int, pause: float, seconds: float) -> list[dict[str, Any]]:
    """How long the sender keeps the interpreter, while ``frames`` frames are handed over every ``pause`` seconds."""
    values, waits, due = torch.ones(50_000), [], 0.0
    with gradvitals.init(project="benchmark", name=what, url=url) as run:
        bench, clock = Bench(LAYERS, run), sender_clock()
        bench.hand_over(1)
        time.sleep(2 * CHUNK_SECONDS)
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            if now >= due:
                bench.hand_over(frames)
                due = now + pause
            before = clock()
            values.mul_(1.0)  # some 5 us without the interpreter, as all of torch's work; then it is asked for again
            waits.append(clock() - before)
    return [
        row(f"the interpreter kept, {what}: longest, us", max(waits) * 1e6, SHORT * 1e6),
        row(f"the interpreter kept, {what}: times a second over 100 us", sum(w > SHORT for w in waits) / seconds, 0.0),
    ]


def row(figure: str, value: float, target: float) -> dict[str, Any]:
    """A figure and what it should be at most."""
    return {"figure": figure, "measured": value, "target": target, "met": "yes" if value <= target else "no"}


def main() -> None:
    """Ask all three questions and report."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    os.environ["GRADVITALS_QUIET"] = "1"
    torch.set_num_threads(1)
    with serving() as service:
        os.environ["GRADVITALS_TOKEN"] = service.token
        rows = [measure_submit(service.url, layers) for layers in (10, 150, LAYERS)]
        rows += measure_slowdown(service.url, blocks=6, steps=40)
        rows += measure_holds(service.url, "200 steps a second", frames=1, pause=0.005, seconds=6)
        rows += measure_holds(service.url, "catching up with 1,000 frames", frames=1000, pause=2.0, seconds=6)
    report("handover", "What the sender costs the training thread, 1,000 layers where nothing else is said", rows)


if __name__ == "__main__":
    main()
