"""A real ``gradvitals-service serve`` in a folder of its own, and made-up runs that speak to it over HTTP.

CPU time and memory are those of the service's process, read from /proc, so this needs Linux.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from gradvitals.frames import Chunk, Frame, Layer, Layout, encode_chunk

CHUNK_TYPE = "application/vnd.gradvitals.chunk+msgpack"
QUIET_SECONDS = 3.0  # longer than the compactor rests between its rounds
QUIET_CPU_SECONDS = 0.06
LONGEST_REST_SECONDS = 300.0


class Service:
    """A running service and what is needed to speak to it; a connection for each thread is its caller's."""

    def __init__(self, folder: Path, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.url = process.stdout.readline().split()[3].rstrip(",")
        self.pid = process.pid
        tokens = json.loads((folder / "data" / "gradvitals" / "tokens.json").read_text())
        self.token: str = tokens["ingest_token"]
        self.read_token: str = tokens["read_token"]

    def cpu_seconds(self) -> float:
        """CPU time of the service so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rest(self) -> None:
        """Wait until nothing is left to do in the background: what was sent is rolled up and compacted."""
        ends = time.monotonic() + LONGEST_REST_SECONDS
        while time.monotonic() < ends:
            before = self.cpu_seconds()
            time.sleep(QUIET_SECONDS)
            if self.cpu_seconds() - before < QUIET_CPU_SECONDS:
                return
        raise RuntimeError(f"the service was still working after {LONGEST_REST_SECONDS:.0f} s")

    def memory_mebibytes(self) -> float:
        """What the service holds in memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def connect(self) -> http.client.HTTPConnection:
        """A connection to be kept, as a client keeps it."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)


@contextmanager
def serving(database_url: str | None = None) -> Iterator[Service]:
    """A service that ends with the block; on SQLite unless a database is named, which must be migrated."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {"XDG_DATA_HOME": f"{folder}/data", "XDG_STATE_HOME": f"{folder}/state"}
        command = [sys.executable, "-m", "gradvitals_service", "serve", "--port", "0"]
        command += ["--database-url", database_url] if database_url else []
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                yield Service(folder, process)
            finally:
                process.send_signal(signal.SIGINT)


class Stream:
    """One declared run whose frames are made up: log-normal norms with the noise of a small training."""

    def __init__(self, service: Service, layers: int, seed: int = 0) -> None:
        self.service = service
        self.run_id, self.attempt_id = str(uuid.uuid4()), str(uuid.uuid4())
        self.layout = Layout(
            tuple(Layer(f"block{i}.weight", f"block{i}", (64, 64), 4096, "float32", 0, True) for i in range(layers))
        )
        self.layers = layers
        self.next = 0
        self._noise = np.random.default_rng(seed)
        self._connection = service.connect()
        self.put("", {"project": "benchmark", "name": "ingest"})
        self.beat()
        self.put(f"/layouts/{self.layout.layout_id}", self.layout.to_json())

    def put(self, path: str, body: Any) -> Any:
        """Declare something of the run."""
        return self._ask("PUT", path, msgspec.json.encode(body), "application/json")

    def beat(self) -> Any:
        """The heartbeat, whose answer tells of events."""
        attempt = {
            "rank": 0,
            "world_size": 1,
            "launch": self.attempt_id,
            "host": "benchmark",
            "pid": os.getpid(),
            "started_at": 1_790_000_000.0,
            "state": "running",
            "events_seen": 0,
        }
        return self.put(f"/attempts/{self.attempt_id}", attempt)

    def body(self, n: int, factor: float = 1.0) -> bytes | bytearray:
        """The next ``n`` frames, encoded; norms are multiplied by ``factor``."""
        norms = np.exp(self._noise.normal(0, 0.2, (n, self.layers))).astype(np.float32) * np.float32(factor)
        global_norms = np.exp(self._noise.normal(0, 0.2, n)) * factor
        frames = [
            Frame(
                step=self.next + row,
                time=time.time(),
                global_norm=float(global_norms[row]),
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

    def send(self, body: bytes | bytearray) -> Any:
        """Send a chunk and wait for its acknowledgement."""
        return self._ask("POST", "/chunks", body, CHUNK_TYPE)

    def _ask(self, method: str, path: str, body: bytes | bytearray, content_type: str) -> Any:
        headers = {"Authorization": f"Bearer {self.service.token}", "Content-Type": content_type}
        try:
            self._connection.request(method, f"/api/v1/runs/{self.run_id}{path}", body, headers)
            answer = self._connection.getresponse()
        except (ConnectionError, http.client.HTTPException):  # idle for so long that the service has closed it
            self._connection.close()
            self._connection.request(method, f"/api/v1/runs/{self.run_id}{path}", body, headers)
            answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {said.decode()}")
        return msgspec.json.decode(said)
