"""How many values a second does the service take, and how soon does an explosion come back as an event?

A real ``gradvitals-service serve`` on SQLite in a folder of its own, over HTTP on loopback. One stream of chunks of 256
frames with 200 layers is sent as fast as it is acknowledged, detection on, each acknowledgement durable. CPU time is
the service process's own. Then, in 20 runs, one frame that explodes: from sending it to holding the event. Linux only,
since CPU time is read from /proc.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import urllib3

from benchmarks.report import report
from gradvitals.frames import Chunk, Frame, Layer, Layout, encode_chunk

LAYERS = 200
FRAMES = 256
CHUNKS = 60
EXPLOSIONS = 20
VALUES = LAYERS + 4  # the layers, and norm, coefficient, loss and learning rate


class Service:
    """A running service and what is needed to speak to it."""

    def __init__(self, folder: Path, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.url = process.stdout.readline().split()[3].rstrip(",")
        self.pid = process.pid
        tokens = json.loads((folder / "data" / "gradvitals" / "tokens.json").read_text())
        self.token: str = tokens["ingest_token"]
        self._headers = {"Authorization": f"Bearer {self.token}"}
        self._http = urllib3.PoolManager()

    def cpu_seconds(self) -> float:
        """CPU time of the service so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def put(self, path: str, body: Any) -> Any:
        """Declare something."""
        return self._ask("PUT", path, json.dumps(body).encode(), "application/json")

    def post_chunk(self, run_id: str, body: bytes) -> Any:
        """Send a chunk and wait for its acknowledgement."""
        return self._ask("POST", f"/runs/{run_id}/chunks", body, "application/vnd.gradvitals.chunk+msgpack")

    def _ask(self, method: str, path: str, body: bytes, content_type: str) -> Any:
        headers = self._headers | {"Content-Type": content_type}
        answer = self._http.request(method, f"{self.url}/api/v1{path}", body=body, headers=headers)
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.data.decode()}")
        return answer.json()


@contextmanager
def serving() -> Iterator[Service]:
    """A service that ends with the benchmark."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {"XDG_DATA_HOME": f"{folder}/data", "XDG_STATE_HOME": f"{folder}/state"}
        command = [sys.executable, "-m", "gradvitals_service", "serve", "--port", "0"]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                yield Service(folder, process)
            finally:
                process.send_signal(signal.SIGINT)


class Stream:
    """One declared run whose frames are made up: log-normal norms with the noise of a small training."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.run_id, self.attempt_id = str(uuid.uuid4()), str(uuid.uuid4())
        self.layout = Layout(
            tuple(Layer(f"block{i}.weight", f"block{i}", (64, 64), 4096, "float32", 0, True) for i in range(LAYERS))
        )
        self.next = 0
        self._noise = np.random.default_rng(0)
        service.put(f"/runs/{self.run_id}", {"project": "benchmark", "name": "ingest"})
        self.beat()
        service.put(f"/runs/{self.run_id}/layouts/{self.layout.layout_id}", self.layout.to_json())

    def beat(self) -> Any:
        """The heartbeat, whose answer tells of events."""
        attempt = {
            "rank": 0,
            "world_size": 1,
            "launch": self.attempt_id,
            "host": "benchmark",
            "pid": os.getpid(),
            "started_at": time.time(),
            "resumed_from_step": None,
            "live": True,
            "state": "running",
            "last_step": None,
            "overhead": None,
            "exception": None,
            "interactive": False,
            "events_seen": 0,
            "monitors": {},
        }
        return self.service.put(f"/runs/{self.run_id}/attempts/{self.attempt_id}", attempt)

    def body(self, n: int, factor: float = 1.0) -> bytes:
        """The next ``n`` frames, encoded; norms are multiplied by ``factor``."""
        norms = np.exp(self._noise.normal(0, 0.2, (n, LAYERS))).astype(np.float32) * np.float32(factor)
        frames = [
            Frame(
                step=self.next + row,
                time=time.time(),
                global_norm=float(np.sqrt(np.square(norms[row]).sum())),
                clip_coefficient=1.0,
                max_norm=np.inf,
                lr=0.1,
                layout=self.layout,
                layer_norms=norms[row],
                loss=1.0,
            )
            for row in range(n)
        ]
        chunk = Chunk(self.attempt_id, "main", self.layout, self.next, frames)
        self.next += n
        return encode_chunk(chunk)

    def send(self, body: bytes) -> Any:
        """Send and wait for the acknowledgement."""
        return self.service.post_chunk(self.run_id, body)


def measure_ingest(service: Service) -> dict[str, object]:
    """One stream, one chunk after the other."""
    stream = Stream(service)
    bodies = [stream.body(FRAMES) for _ in range(CHUNKS)]
    stream.send(bodies[0])
    cpu, started, waits = service.cpu_seconds(), time.perf_counter(), []
    for body in bodies[1:]:
        sent = time.perf_counter()
        stream.send(body)
        waits.append(time.perf_counter() - sent)
    wall, cpu = time.perf_counter() - started, service.cpu_seconds() - cpu
    values = (CHUNKS - 1) * FRAMES * VALUES
    return {
        "figure": f"{FRAMES} frames x {LAYERS} layers a chunk, one stream",
        "values a CPU second": values / cpu,
        "values a second": values / wall,
        "p50, ms": statistics.median(waits) * 1e3,
        "p99, ms": statistics.quantiles(waits, n=100)[98] * 1e3,
    }


def measure_event(service: Service) -> dict[str, object]:
    """From sending the frame that explodes to holding the event, over several runs."""
    waits = []
    for _ in range(EXPLOSIONS):
        stream = Stream(service)
        stream.send(stream.body(FRAMES))
        exploding = stream.body(1, factor=1e4)
        sent = time.perf_counter()
        answer = stream.send(exploding)
        if not answer["event_revision"]:
            raise RuntimeError("the explosion was not flagged: there is nothing to time")
        event = stream.beat()["events"][0]
        waits.append(time.perf_counter() - sent)
        if event["kind"] != "explosion":
            raise RuntimeError(f"flagged as {event['kind']}")
    return {
        "figure": "exploding frame sent to event read",
        "values a CPU second": None,
        "values a second": None,
        "p50, ms": statistics.median(waits) * 1e3,
        "p99, ms": max(waits) * 1e3,
    }


def main() -> None:
    """Measure both and report."""
    with serving() as service:
        rows = [measure_ingest(service), measure_event(service)]
    report("ingest", "The service on SQLite over HTTP, acknowledged durably, detection on", rows)


if __name__ == "__main__":
    main()
