"""What does judging a chunk cost, and does it stay so at any width and for ever?

The detectors alone, in CPU time of one thread, on healthy log-normal norms once the levels are known: chunks of 256
steps, as a client that catches up sends them, and of one to three, as one that trains at ten steps a second does.
Frames are judged eight at a time, so a small chunk's cost is the mean over eight, and what the dearest of them took is
told beside it. Then how the cost grows with layers, the size of the state with an event open over every layer, the
memory held over ten million steps with an explosion now and then, and what part of the service's CPU time goes into
judging where chunks arrive over HTTP. The machine may be busy: ``least`` is what its quietest moment gave.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import report
from benchmarks.serving import Stream, serving
from gradvitals_service.health.detectors import Detectors, Frames
from gradvitals_service.health.groups import Groups
from gradvitals_service.health.watch import new_watch
from gradvitals_service.ingest.wire import decode_chunk

CHUNK = 256
LAYERS = 200
WIDTHS = (200, 1000, 4096)
WARM_FRAMES = 2048  # until levels, tails and the usual norms of all groups are known
BLOCK_FRAMES = 8
EXPLODES_EVERY = 40  # chunks, in the long run
STEPS = 10_000_000
LONG_RUN_LAYERS = 4


class HealthyFrames:
    """A stream of healthy frames, and the detectors that have judged it so far."""

    def __init__(self, layers: int, seed: int = 0) -> None:
        self.detectors = Detectors(layers)
        self._layers = layers
        self._first = 0
        self._noise = np.random.default_rng(seed)
        for _ in range(WARM_FRAMES // CHUNK):
            self.detectors.observe(self.take(CHUNK))

    def take(self, n: int, factor: float = 1.0) -> Frames:
        """The next ``n`` frames; norms are multiplied by ``factor``."""
        norms = (np.exp(self._noise.normal(0.0, 0.25, (n, self._layers))) * factor).astype(np.float32)
        first, self._first = self._first, self._first + n
        return Frames(
            first=first,
            step=np.arange(first, first + n),
            global_norm=np.sqrt(np.square(norms, dtype=np.float64).sum(axis=1)).astype(np.float32),
            clip_coefficient=np.ones(n, np.float32),
            max_norm=np.full(n, np.inf, np.float32),
            lr=np.full(n, 0.1, np.float32),
            loss=np.exp(self._noise.normal(0.0, 0.05, n)).astype(np.float32),
            has_loss=np.ones(n, np.bool_),
            flags=np.full(n, 2, np.uint32),
            group_norms=norms,
            param_norms=norms[:0],
            param_rows=np.zeros(0, np.int64),
        )

    def seconds(self, n: int) -> float:
        """CPU seconds of judging the next ``n`` frames."""
        frames = self.take(n)
        started = time.thread_time()
        self.detectors.observe(frames)
        return time.thread_time() - started


def measure_chunks(rounds: int) -> list[dict[str, Any]]:
    """Large and small chunks of 200 layers."""
    stream = HealthyFrames(LAYERS)
    large = [stream.seconds(CHUNK) for _ in range(rounds)]
    rows = [row(f"a chunk of {CHUNK} steps x {LAYERS} layers, us", [s * 1e6 for s in large], 3000.0)]
    for steps, target in ((1, 60.0), (2, None), (3, None)):
        eights = [[stream.seconds(steps) * 1e6 for _ in range(BLOCK_FRAMES)] for _ in range(4 * rounds)]
        name = f"a chunk of {steps} step{'s' if steps > 1 else ''} x {LAYERS} layers, us"
        rows.append(row(name, [statistics.mean(eight) for eight in eights], target))
        rows.append(row("  the dearest of eight", [max(eight) for eight in eights], None))
    return rows


def measure_widths(rounds: int) -> list[dict[str, Any]]:
    """How many times dearer a chunk gets with its layers; widths take turns, since the machine changes its pace."""
    streams = {layers: HealthyFrames(layers) for layers in WIDTHS}
    seconds = [{layers: stream.seconds(CHUNK) for layers, stream in streams.items()} for _ in range(rounds)]
    narrow = WIDTHS[0]
    rows = []
    for layers in WIDTHS[1:]:
        ratios = [taken[layers] / taken[narrow] for taken in seconds]
        rows.append(row(f"{layers:,} layers to {narrow}, times dearer", ratios, layers / narrow))
    return rows


def measure_states() -> list[dict[str, Any]]:
    """Bytes of state while every layer is in the event that is open."""
    rows = []
    for layers in (1, LAYERS, 4096):
        stream = HealthyFrames(layers)
        opened = stream.detectors.observe(stream.take(64, 1e-6))
        frames = stream.take(CHUNK)
        frames.group_norms[:] = np.nan
        frames.global_norm[:] = np.nan
        opened += stream.detectors.observe(frames)
        if layers > 1 and max(len(event.groups) for event in opened) != layers:
            raise RuntimeError("no event is open over every layer")
        size = len(stream.detectors.to_bytes())
        rows.append(row(f"state of {layers:,} layers, bytes", [float(size)], 64.0 * layers + 4096))
    return rows


def measure_long_run(steps: int) -> list[dict[str, Any]]:
    """What a long run adds to the memory of this process after its first tenth, and to the state."""
    stream = HealthyFrames(LONG_RUN_LAYERS)
    chunks = [stream.take(CHUNK) for _ in range(EXPLODES_EVERY - 1)] + [stream.take(CHUNK, 1e4)]
    events, started = 0, time.thread_time()
    memory, sizes = [], []
    for number in range(steps // CHUNK):
        first = number * CHUNK
        frames = replace(chunks[number % len(chunks)], first=first, step=np.arange(first, first + CHUNK))
        events += len(stream.detectors.observe(frames))
        if first * 10 // steps != (first - CHUNK) * 10 // steps:
            memory.append(resident_kibibytes())
            sizes.append(len(stream.detectors.to_bytes()))
    seconds = time.thread_time() - started
    name = f"{steps:,} steps"
    return [
        row(f"{name}: memory grown after the first tenth, KiB", [max(memory[1:]) - memory[1]], 1024.0),
        row(f"{name}: state grown after the first tenth, bytes", [float(max(sizes[1:]) - sizes[1])], 4096.0),
        row(f"{name}: events told", [float(events)], None),
        row(f"{name}: CPU seconds", [seconds], None),
    ]


def measure_share(n: int, chunks: int) -> dict[str, Any]:
    """CPU time of judging to that of the whole service, for chunks that it takes over HTTP."""
    with serving() as service:
        stream = Stream(service, LAYERS)
        names = [layer.name for layer in stream.layout.layers]
        watch = new_watch(stream.layout.layout_id, Groups(names, names, [True] * LAYERS))
        warm = [stream.body(CHUNK) for _ in range(WARM_FRAMES // CHUNK)]
        bodies = [stream.body(n) for _ in range(chunks)]
        for body in warm:
            stream.send(body)
        service.rest()
        shares = []
        judged = in_judging(watch.observe, warm + bodies)
        for _ in warm:
            next(judged)
        for part in np.array_split(np.arange(chunks), 5):
            before = service.cpu_seconds()
            for place in part:
                stream.send(bodies[place])
            cpu = service.cpu_seconds() - before
            shares.append(sum(next(judged) for _ in part) / cpu)
    return row(f"judging to all that the service does for chunks of {n}", shares, 0.5)


def in_judging(observe: Callable[..., Any], bodies: list[bytes | bytearray]) -> Iterator[float]:
    """CPU seconds of handing each chunk, decoded, to the detectors, and of judging it."""
    for body in bodies:
        chunk = decode_chunk(bytes(body))
        started = time.thread_time()
        observe(chunk.first, chunk.frames)
        yield time.thread_time() - started


def resident_kibibytes() -> float:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def row(figure: str, measured: list[float], target: float | None) -> dict[str, Any]:
    """A figure, its median and least, and what it should be at most."""
    median = statistics.median(measured)
    met = None if target is None else "yes" if median <= target else "no"
    return {"figure": figure, "measured": median, "least": min(measured), "target": target, "met": met}


def main() -> None:
    """Measure everything and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the run whose memory is looked at")
    parser.add_argument("--rounds", type=int, default=60, help="of each chunk that is timed")
    given = parser.parse_args()
    rows = measure_long_run(given.steps)
    rows += measure_chunks(given.rounds)
    rows += measure_widths(given.rounds // 2)
    rows += measure_states()
    rows += [measure_share(CHUNK, 100), measure_share(1, 1000)]
    report("detect", "Judging, on one thread", rows)


if __name__ == "__main__":
    main()
