"""How many values a second does the service take, and how much of its CPU time does that cost?

A real service over HTTP on loopback, detection on, each acknowledgement durable, and what rollups and compaction take
afterwards counted in: one run, fifty runs at once, and fifty runs of scalars only. A client sends 256 frames a chunk at
most while it keeps up, and joins up to 1,024 when it catches up. Beside them what TensorBoard's writer and trackio's
storage take of the same, where ``GRADVITALS_BENCHMARK_PEERS`` names a Python that has them; and, since the machine may
be busy, a fixed piece of work whose CPU time tells how slow it is now. ``GRADVITALS_BENCHMARK_POSTGRESQL`` names an
empty database for those rows.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.report import report
from benchmarks.serving import Service, Stream, serving
from gradvitals_service import migrating
from gradvitals_service.database import make_engine

SCALARS = 4  # norm, coefficient, loss and learning rate count as values; step, time and flags do not
RUNS = 50
WARM_FRAMES = 512  # until levels are known and the detectors look far ahead
PEERS = {
    "TensorBoard, 50 writers x 4 scalars": """
import sys, time
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
writers = [EventFileWriter(f"{sys.argv[1]}/{k}") for k in range(50)]
started, cpu = time.perf_counter(), time.process_time()
for step in range(200):
    for writer in writers:
        for name in "abcd":
            value = Summary.Value(tag=name, simple_value=step * 0.5)
            writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))
for writer in writers:
    writer.close()
print(40_000 / (time.perf_counter() - started), 40_000 / (time.process_time() - cpu))
""",
    "trackio, 1 run x 204 values": """
import os, sys, time
os.environ["TRACKIO_DIR"] = sys.argv[1]
from trackio.sqlite_storage import SQLiteStorage
rows = [{f"layer{k}": step * 0.5 + k for k in range(204)} for step in range(256)]
started, cpu = time.perf_counter(), time.process_time()
for first in range(0, 256 * 8, 256):
    SQLiteStorage.bulk_log(project="p", run="r", metrics_list=rows, steps=list(range(first, first + 256)))
values = 256 * 8 * 204
print(values / (time.perf_counter() - started), values / (time.process_time() - cpu))
""",
    "trackio, 50 runs x 4 scalars": """
import os, sys, time
os.environ["TRACKIO_DIR"] = sys.argv[1]
from trackio.sqlite_storage import SQLiteStorage
started, cpu = time.perf_counter(), time.process_time()
for first in range(0, 200, 20):
    for run in range(50):
        rows = [{name: step * 0.5 for name in "abcd"} for step in range(first, first + 20)]
        SQLiteStorage.bulk_log(project="p", run=f"r{run}", metrics_list=rows, steps=list(range(first, first + 20)))
print(40_000 / (time.perf_counter() - started), 40_000 / (time.process_time() - cpu))
""",
}


def measure(service: Service, figure: str, runs: int, layers: int, frames: int, chunks: int) -> dict[str, object]:
    """So many runs at once, each one chunk after the other, in threads that share what the service leaves."""
    streams = [Stream(service, layers, seed) for seed in range(runs)]
    for stream in streams:
        for _ in range(max(1, WARM_FRAMES // frames)):
            stream.send(stream.body(frames))
    bodies = [[stream.body(frames) for _ in range(chunks)] for stream in streams]
    waits: list[float] = []

    def send(stream: Stream, own: list[bytes]) -> None:
        for body in own:
            sent = time.perf_counter()
            stream.send(body)  # raises for anything but an acknowledgement
            waits.append(time.perf_counter() - sent)

    service.rest()
    cpu, started = service.cpu_seconds(), time.perf_counter()
    with ThreadPoolExecutor(runs) as pool:
        list(pool.map(send, streams, bodies))
    wall = time.perf_counter() - started
    service.rest()
    cpu = service.cpu_seconds() - cpu
    values = runs * chunks * frames * (layers + SCALARS)
    row = row_of(figure, values / cpu, values / wall)
    return row | {"p50, ms": statistics.median(waits) * 1e3, "p99, ms": statistics.quantiles(waits, n=100)[98] * 1e3}


def measure_on(database_url: str | None, name: str) -> list[dict[str, object]]:
    """The three works on one database, each in small and in large chunks."""
    works = [
        ("1 run x 204 values", 1, 200, 256, 256),
        ("1 run x 204 values", 1, 200, 512, 128),  # about what 512 KiB hold: the most that a client joins
        (f"{RUNS} runs x 204 values", RUNS, 200, 64, 16),
        (f"{RUNS} runs x 204 values", RUNS, 200, 256, 8),
        (f"{RUNS} runs x 4 scalars", RUNS, 0, 64, 32),
        (f"{RUNS} runs x 4 scalars", RUNS, 0, 256, 16),
    ]
    rows = []
    for work, runs, layers, frames, chunks in works:
        with serving(database_url) as service:  # a new one for each: nothing is left over from another
            rows.append(measure(service, f"{name}, {work}, {frames:,} frames a chunk", runs, layers, frames, chunks))
    return rows


def measure_peers() -> list[dict[str, object]]:
    """The peers' own writing of the same numbers, in the environment that was named."""
    python = os.environ.get("GRADVITALS_BENCHMARK_PEERS")
    rows = []
    for figure, script in PEERS.items():
        with tempfile.TemporaryDirectory() as folder:
            words = [python or "", "-c", script, folder]
            done = subprocess.run(words, capture_output=True, text=True, check=False) if python else None
        if done is None or done.returncode:
            rows.append(row_of(f"{figure}: not installed", None, None))
        else:
            wall, cpu = map(float, done.stdout.split()[-2:])
            rows.append(row_of(figure, cpu, wall))
    return rows


def row_of(figure: str, a_cpu_second: float | None, a_second: float | None) -> dict[str, object]:
    """A row without waits."""
    rates: dict[str, object] = {"values a CPU second": a_cpu_second, "values a second": a_second}
    return {"figure": figure} | rates | {"p50, ms": None, "p99, ms": None}


def measure_machine() -> dict[str, object]:
    """Additions of a plain Python loop a second: what this machine gives now."""
    rounds = []
    for _ in range(5):
        cpu, total = time.thread_time(), 0
        for number in range(1_000_000):
            total += number
        rounds.append(1_000_000 / (time.thread_time() - cpu))
    return row_of("this machine now: a Python loop's additions", statistics.median(rounds), None)


def prepare(database_url: str) -> None:
    """Bring an empty PostgreSQL database up to date."""
    engine = make_engine(database_url)
    migrating.upgrade(engine)
    engine.dispose()


def main() -> None:
    """Measure everything that is there and report."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows = [measure_machine(), *measure_on(None, "SQLite")]
    postgresql = os.environ.get("GRADVITALS_BENCHMARK_POSTGRESQL")
    if postgresql:
        prepare(postgresql)
        rows += measure_on(postgresql, "PostgreSQL")
    rows += [*measure_peers(), measure_machine()]
    report("ingest", "The service over HTTP, acknowledged durably, detection on", rows)


if __name__ == "__main__":
    main()
