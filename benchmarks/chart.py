"""What do a chart, a heat map and an export of a long run cost the service, and does its length matter?

A run of 200 layers is put into a SQLite file as a service would have stored and compacted it (``benchmarks.store``): a
million steps, and half a segment that is not compacted yet. A real ``gradvitals-service serve`` answers from it over
HTTP on loopback. CPU time is the service process's own for each request, in nanoseconds from the kernel's scheduler
(Linux only); wall time is the client's. While charts are asked for once more, another run is sent to the service as
fast as it is acknowledged.

Then the length: a chunk of 200 layers is sent, and a chart read, at step 1,000 of one run and at step 5,000,000 of
another. The older part of the long one has four layers and was put into the tables by the same means.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import numpy as np
import urllib3

from benchmarks.report import report
from benchmarks.serving import Service, serving
from benchmarks.store import CHUNK, LAYERS, Store, store
from gradvitals.frames import Chunk, Frame, Layer, Layout, encode_chunk

STEPS = 1_000_000
TAIL = 8_192
LONG = 5_000_000
SHORT = 1_000
REQUESTS = 60
CHUNKS = 60
LAYOUT = Layout(
    tuple(Layer(f"block{place}.weight", f"block{place}", (64, 64), 4096, "float32", 0, True) for place in range(LAYERS))
)


class Asker:
    """Speaks to a running service, and knows its CPU time finely enough for one request."""

    def __init__(self, service: Service) -> None:
        self._url, self._pid = service.url, service.pid
        self._tokens = {"GET": service.read_token, "PUT": service.token, "POST": service.token}
        self._http = urllib3.PoolManager()

    def cpu_seconds(self) -> float:
        """CPU time of all threads of the service so far."""
        tasks = Path(f"/proc/{self._pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """One request; anything but success ends the benchmark."""
        headers = {"Authorization": f"Bearer {self._tokens[method]}", "Content-Type": kind}
        answer = self._http.request(method, f"{self._url}/api/v1{path}", body=body, headers=headers, timeout=120.0)
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.data.decode()}")
        return answer.data

    def put(self, path: str, body: Any) -> None:
        """Declare something."""
        self.ask("PUT", path, msgspec.json.encode(body))


@contextmanager
def asking(database: Path) -> Iterator[Asker]:
    """A service on a database, which ends with the block."""
    with serving(f"sqlite:///{database}") as service:
        yield Asker(service)


class Sender:
    """Goes on with one stream, or begins a run of its own."""

    def __init__(self, service: Asker, made: Store | None = None) -> None:
        self._service = service
        self.run_id = made.run_id if made else uuid4()
        self.attempt_id = made.key.attempt_id if made else uuid4()
        self.next = made.next_frame if made else 0
        self._noise = np.random.default_rng(0)
        if made is None:
            service.put(f"/runs/{self.run_id}", {"project": "benchmark", "name": "short"})
            said = {
                "rank": 0,
                "world_size": 1,
                "launch": str(self.attempt_id),
                "host": "h",
                "pid": 1,
                "state": "running",
            }
            service.put(f"/runs/{self.run_id}/attempts/{self.attempt_id}", said | {"started_at": time.time()})
        service.put(f"/runs/{self.run_id}/layouts/{LAYOUT.layout_id}", LAYOUT.to_json())

    def body(self, n: int = CHUNK) -> bytes | bytearray:
        """The next frames, encoded."""
        norms = np.exp(self._noise.normal(0, 0.2, (n, LAYERS))).astype(np.float32)
        frames = [
            Frame(
                step=self.next + row,
                time=time.time(),
                global_norm=float(np.sqrt(np.square(norms[row]).sum())),
                clip_coefficient=1.0,
                max_norm=np.inf,
                lr=0.1,
                layout=LAYOUT,
                layer_norms=norms[row],
                loss=1.0,
            )
            for row in range(n)
        ]
        chunk = Chunk(str(self.attempt_id), "main", LAYOUT, self.next, frames)
        self.next += n
        return encode_chunk(chunk)

    def send(self, body: bytes | bytearray) -> None:
        """Send and wait for the acknowledgement."""
        kind = "application/vnd.gradvitals.chunk+msgpack"
        self._service.ask("POST", f"/runs/{self.run_id}/chunks", bytes(body), kind)


def measure(service: Asker, figure: str, target: float | None, path: str, times: int = REQUESTS) -> dict[str, Any]:
    """CPU and wall time of a request, over many."""
    service.ask("GET", path)
    cpu, wall = [], []
    for _ in range(times):
        before, started = service.cpu_seconds(), time.perf_counter()
        service.ask("GET", path)
        wall.append((time.perf_counter() - started) * 1e3)
        cpu.append((service.cpu_seconds() - before) * 1e3)
    return {
        "figure": figure,
        "CPU p50, ms": statistics.median(cpu),
        "target": target,
        "wall p50, ms": statistics.median(wall),
        "wall p99, ms": statistics.quantiles(wall, n=100)[98],
    }


def chart_path(run_id: UUID, more: str = "") -> str:
    """One metric over all steps, as the page asks for it."""
    return f"/runs/{run_id}/series?metrics=global_norm&points=1000{more}"


def measure_reading(steps: int) -> list[dict[str, Any]]:
    """Charts, a heat map and an export of a long run."""
    with store() as made:
        made.add(steps)
        made.compactor.work()
        made.add(TAIL)
        made.writer.stop()
        run = made.run_id
        with asking(made.path) as service:
            chart, few = chart_path(run), 15
            zoom = chart_path(run, f"&from_step={steps // 8}&to_step={steps // 2}")
            heatmap = f"/runs/{run}/layers/heatmap?points=1000"
            export = f"/runs/{run}/export?metrics=&layer=block7.weight"
            rows = [
                measure(service, f"chart of 1 series over {steps:,} steps", 5, chart),
                measure(service, "the same, three eighths of the steps", None, zoom),
                measure(service, f"heat map of {LAYERS} layers, 1,000 columns", 100, heatmap, few),
                measure(service, "exact export of one layer", 30, export, few),
            ]
            with ingesting(service):
                rows.append(measure(service, "chart while ingesting (CPU of both)", None, chart, 200))
    return rows


@contextmanager
def ingesting(service: Asker) -> Iterator[None]:
    """One run of 200 layers, sent as fast as it is acknowledged."""
    sender, ended = Sender(service), threading.Event()
    bodies = [sender.body() for _ in range(400)]

    def send() -> None:
        for body in bodies:
            if ended.is_set():
                return
            sender.send(body)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def measure_length(steps: int) -> list[dict[str, Any]]:
    """A chunk and a chart at the beginning of a run and late in a long one, turn about."""
    with store(layer_count=4) as made:
        made.add(steps, chunk=4096)
        made.compactor.work()
        made.writer.stop()
        with asking(made.path) as service:
            runs = {SHORT: Sender(service), steps: Sender(service, made)}
            runs[SHORT].send(runs[SHORT].body(SHORT))
            bodies = {at: [sender.body() for _ in range(CHUNKS)] for at, sender in runs.items()}
            cpu: dict[int, list[float]] = {at: [] for at in runs}
            for turn in range(CHUNKS):
                for at, sender in runs.items():
                    before = service.cpu_seconds()
                    sender.send(bodies[at][turn])
                    cpu[at].append((service.cpu_seconds() - before) * 1e3)
            rows = []
            for at, sender in runs.items():
                row = measure(service, f"chart at step {at:,}", None, chart_path(sender.run_id))
                sent = {"figure": f"chunk of {CHUNK} frames x {LAYERS} layers at step {at:,}", "target": None}
                none = {"wall p50, ms": None, "wall p99, ms": None}
                rows += [sent | {"CPU p50, ms": statistics.median(cpu[at])} | none, row]
    return rows


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--long", type=int, default=LONG)
    options = parser.parse_args()
    rows = measure_reading(options.steps) + measure_length(options.long)
    report("chart", "Reading a long run, and the cost against its length; SQLite, over HTTP", rows)


if __name__ == "__main__":
    main()
