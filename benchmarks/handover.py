"""What does the training thread pay for handing its frames over, and for the threads that keep and deliver them?

Three questions, asked with a real service on loopback in a process of its own:

- what a call of the run's ``submit`` takes, in CPU time;
- what these threads take in a training of 1,000 layers: their CPU time to that of the training thread, which is the
  most that they can slow it down, and steps whose frames are sent to steps whose frames are dropped, in wall time;
- for how long they keep the interpreter, at most. The training thread lets go of it again and again, and looks how much
  CPU time the others had until it came back. That is too much where they needed no interpreter, or where another
  process, the service above all, had the core when the training thread could have gone on.

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


def our_clock() -> Callable[[], float]:
    """The CPU time of the newest run's threads: the one that sends and the one that writes the spool."""
    newest = {thread.name: thread.ident for thread in threading.enumerate() if thread.name.startswith("gradvitals-s")}
    clock_ids = [time.pthread_getcpuclockid(ident) for ident in newest.values() if ident is not None]
    assert len(clock_ids) == 2
    return lambda: sum(map(time.clock_gettime, clock_ids))


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
    """Training 1,000 layers, in blocks that take turns: the frames of one run are sent, those of the other dropped."""
    shape = SHAPES["tiny1000"]
    model, batch = shape.build(), shape.batch()
    trainings: dict[str, Callable[[], Any]] = {}
    with contextlib.ExitStack() as leave:
        for name in ("dropped", "sent"):
            run = leave.enter_context(gradvitals.init(project="benchmark", name=name, url=url))
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
            run.watch(model, optimizer, max_norm=1.0)
            if name == "dropped":
                run._hand_over = lambda monitor, frame, logged: None
            trainings[name] = optimizer.step
        clock, cpu, ours = our_clock(), 0.0, 0.0
        ratios = []
        for block in range(1 + blocks):  # the first declares the run and is not counted
            wall = {}
            for name in sorted(trainings, reverse=bool(block % 2)):
                began, ours_began, started = time.thread_time(), clock(), time.perf_counter()
                for _ in range(steps):
                    model.zero_grad()
                    model(batch).square().mean().backward()
                    trainings[name]()
                wall[name] = time.perf_counter() - started
                time.sleep(2 * CHUNK_SECONDS)  # until the sender has nothing left to do
                if block and name == "sent":
                    cpu, ours = cpu + time.thread_time() - began, ours + clock() - ours_began
            if block:
                ratios.append(wall["sent"] / wall["dropped"])
    return [
        row("CPU time of sending and keeping, to the training thread's", ours / cpu, 0.01),
        row("steps whose frames are sent, to those of dropped ones, wall time", statistics.median(ratios), 1.01),
    ]


def measure_holds(url: str, what: str, frames: int, pause: float, seconds: float) -> list[dict[str, Any]]:
    """How long the interpreter is kept, while ``frames`` frames are handed over every ``pause`` seconds."""
    values, waits, due = torch.ones(50_000), [], 0.0
    with gradvitals.init(project="benchmark", name=what, url=url) as run:
        bench, clock = Bench(LAYERS, run), our_clock()
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
        rows += measure_slowdown(service.url, blocks=24, steps=12)
        rows += measure_holds(service.url, "200 steps a second", frames=1, pause=0.005, seconds=6)
        rows += measure_holds(service.url, "catching up with 1,000 frames", frames=1000, pause=2.0, seconds=6)
    report("handover", "What sending costs the training thread, 1,000 layers where nothing else is said", rows)


if __name__ == "__main__":
    main()
