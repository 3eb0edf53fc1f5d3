"""Make a long run in a SQLite file of its own, compacted as a service would have done it, for benchmarks to measure.

The frames are those of ``research``: 200 layers, each a log-normal AR(1) (rho 0.9, sigma 0.25), in chunks of 256, with
the norms of the weights every 64th frame. Chunks are put into their table by the statement that the writer uses, and
the service's own compactor works on them through the service's own writer; only HTTP and the detectors are left out.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service import migrating
from gradvitals_service.alerts.channels import Channels
from gradvitals_service.dashboard.hub import Hub
from gradvitals_service.database import begin_write, make_engine, make_session_factory
from gradvitals_service.health.detectors import Detectors
from gradvitals_service.ingest.ledger import Ledger
from gradvitals_service.ingest.models import Stream
from gradvitals_service.ingest.queries import Snapshot, StreamHead, StreamKey
from gradvitals_service.ingest.writer import Writer
from gradvitals_service.projects.queries import make_project
from gradvitals_service.runs.models import Attempt
from gradvitals_service.runs.queries import declare_layout, declare_run
from gradvitals_service.runs.schemas import LayerDeclaration, RunDeclaration
from gradvitals_service.series.codec import COLUMN_TYPES, ChunkColumns, encode_columns
from gradvitals_service.series.compactor import Compactor

LAYERS = 200
CHUNK = 256
VALUES = LAYERS + 4  # the layers, and norm, coefficient, loss and learning rate
LAYOUT = f"{1:032x}"
_RHO, _SIGMA = 0.9, 0.25


class Frames:
    """Frames without an end; the same ones every time."""

    def __init__(self, layer_count: int = LAYERS) -> None:
        self._random = np.random.default_rng(0)
        self._layer_count = layer_count
        self._state = self._random.standard_normal(layer_count)
        self._level = np.exp(self._random.normal(-2, 1, layer_count))
        self._step = 0

    def take(self, n: int) -> ChunkColumns:
        """The next ``n`` frames."""
        norms = self._norms(n)
        columns = {name: np.zeros(n, kind) for name, kind in COLUMN_TYPES.items()}
        columns["step"] = np.arange(self._step, self._step + n)
        columns["time"] = 1.79e9 + 0.1 * columns["step"] + 1e-3 * self._random.random(n)
        columns["global_norm"] = np.sqrt(np.square(norms).sum(axis=1))
        columns["max_norm"][:] = 1.0
        columns["clip_coefficient"] = np.minimum(1.0, 1.0 / columns["global_norm"]).astype(np.float32)
        columns["lr"] = (1e-3 * np.minimum(1, (columns["step"] + 1) / 1000)).astype(np.float32)
        columns["loss"] = (2.0 + 0.1 * self._random.standard_normal(n)).astype(np.float32)
        columns["loss_scale"][:] = 1.0
        columns["flags"][:] = 2
        rows = np.flatnonzero(columns["step"] % 64 == 0).astype(np.uint32)
        weights = (10 + 0.01 * self._random.standard_normal((len(rows), self._layer_count))).astype(np.float32)
        self._step += n
        return ChunkColumns(columns, norms, rows, weights)

    def _norms(self, n: int) -> NDArray[np.float32]:
        noise = self._random.standard_normal((n, self._layer_count)) * np.sqrt(1 - _RHO**2)
        walk = np.empty_like(noise)
        for row in range(n):
            self._state = walk[row] = _RHO * self._state + noise[row]
        return np.asarray(self._level * np.exp(_SIGMA * walk), np.float32)


class Store:
    """A database with one run."""

    def __init__(self, session_factory: sessionmaker[Session], path: Path, layer_count: int = LAYERS) -> None:
        self.session_factory = session_factory
        self.path = path
        self.key = StreamKey(uuid4(), uuid4(), "main")
        self.frames = Frames(layer_count)
        self.next_frame = 0
        self._layer_count = layer_count
        self._declare()
        self.writer = Writer(session_factory, Channels([], "http://127.0.0.1"), Hub())
        self.compactor = Compactor(session_factory, self.writer)

    @property
    def run_id(self) -> UUID:
        """Whose frames they are."""
        return self.key.run_id

    def add(self, frames: int, *, compacting: bool = True, chunk: int = CHUNK) -> None:
        """Store so many frames more, in chunks, and compact now and then as the service does beside the ingest."""
        end = self.next_frame + frames
        while self.next_frame < end:
            with begin_write(self.session_factory) as session:
                for _ in range(16):
                    self._add_chunk(session, min(chunk, end - self.next_frame))
                    if self.next_frame == end:
                        break
            if compacting:
                self.compactor.work()

    def finish(self) -> None:
        """The run ends, and what is left of it is compacted."""
        with begin_write(self.session_factory) as session:
            session.get_one(Attempt, (self.key.run_id, self.key.attempt_id)).state = "finished"
        self.compactor.work()

    def size_bytes(self) -> int:
        """What the database takes on the disk, all in, free pages too."""
        with self.session_factory.kw["bind"].connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        return self.path.stat().st_size

    def vacuumed_bytes(self) -> int:
        """The same after the free pages were given back."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("VACUUM")
        return self.size_bytes()

    def _add_chunk(self, session: Session, n: int) -> None:
        chunk = self.frames.take(n)
        columns, layer_columns = encode_columns(chunk)
        step = chunk.columns["step"]
        steps = {"first_step": int(step[0]), "last_step": int(step[-1])}
        values = {"first": self.next_frame, "n": n, "layout_id": LAYOUT, **steps}
        now = datetime.now(UTC)
        ledger = Ledger(session.connection())
        ledger.add_chunk(self.key, values | {"columns": columns, "layer_columns": layer_columns}, now)
        self.next_frame += n
        # The detectors have seen none of it; with a state of theirs they do not ask for it when the service goes on.
        state = Snapshot(Detectors(self._layer_count, [True] * self._layer_count).to_bytes(), self.next_frame)
        ledger.advance(self.key, StreamHead(True, self.next_frame, steps["last_step"], LAYOUT), state)
        ledger.write()

    def _declare(self) -> None:
        now = datetime.now(UTC)
        layers = [
            LayerDeclaration(f"block{place}.weight", f"block{place}", [64, 64], 4096, "float32", 0, True)
            for place in range(self._layer_count)
        ]
        with begin_write(self.session_factory) as session:
            project_id = make_project(session, "benchmark")
            declare_run(session, self.key.run_id, project_id, RunDeclaration("benchmark", "long"), now)
            attempt = Attempt(run_id=self.run_id, attempt_id=self.key.attempt_id, rank=0, world_size=1)
            attempt.launch, attempt.host, attempt.pid, attempt.started_at = self.key.attempt_id, "", 0, now
            attempt.live, attempt.interactive, attempt.heartbeat_at, attempt.monitors = True, False, now, {}
            attempt.declared_state = attempt.state = "running"
            session.add(attempt)
            session.add(Stream(**self.key.columns(), next_frame=0))
            declare_layout(session, self.run_id, LAYOUT, layers)


@contextmanager
def store(layer_count: int = LAYERS) -> Iterator[Store]:
    """A store that goes with the benchmark."""
    folder = Path(tempfile.mkdtemp())
    path = folder / "gradvitals.db"
    engine = make_engine(f"sqlite:///{path}")
    try:
        migrating.upgrade(engine)
        made = Store(make_session_factory(engine), path, layer_count)
        made.writer.start()
        try:
            yield made
        finally:
            made.writer.stop()
    finally:
        engine.dispose()
        shutil.rmtree(folder)
