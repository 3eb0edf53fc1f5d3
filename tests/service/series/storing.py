"""Streams put into the tables directly, and a writer that works at once: compaction can be watched step by step."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np
from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.alerts.channels import Channels
from gradvitals_service.database import begin_write
from gradvitals_service.ingest.models import Gap, Stream
from gradvitals_service.ingest.queries import StreamKey
from gradvitals_service.ingest.transaction import Memory, Transaction
from gradvitals_service.ingest.writer import Item
from gradvitals_service.projects.queries import make_project
from gradvitals_service.runs.models import Attempt
from gradvitals_service.runs.queries import declare_layout, declare_run
from gradvitals_service.runs.schemas import LayerDeclaration, RunDeclaration
from gradvitals_service.series.codec import COLUMN_TYPES, ChunkColumns, encode_columns
from gradvitals_service.series.history import frames_from
from gradvitals_service.series.models import Chunk

NOW = datetime(2026, 9, 21, 12, 30, 15, tzinfo=UTC)


class KilledError(Exception):
    """Where the process would have ended."""


class WriterAtOnce:
    """Does what it is given in a transaction of its own, before it answers."""

    def __init__(self, session_factory: sessionmaker[Session]) -> None:
        self._session_factory = session_factory

    def submit(self, item: Item) -> "Future[Any]":
        """As the writer, without waiting."""
        future: Future[Any] = Future()
        try:
            with begin_write(self._session_factory) as session:
                answer = item.apply(Transaction(session, Memory(), Channels([], "http://127.0.0.1"), datetime.now(UTC)))
        except Exception as error:  # noqa: BLE001  # it is handed to who waits
            future.set_exception(error)
        else:
            future.set_result(answer)
        return future


@contextmanager
def killed_at(session_factory: sessionmaker[Session], statement: int) -> Iterator[list[int]]:
    """Let the n-th statement from now on fail as a dying process would; the list counts them."""
    counted = [0]

    def count(*_: object) -> None:
        counted[0] += 1
        if counted[0] == statement:
            raise KilledError

    engine = session_factory.kw["bind"]
    event.listen(engine, "before_cursor_execute", count)
    try:
        yield counted
    finally:
        event.remove(engine, "before_cursor_execute", count)


def layers(count: int, prefix: str = "block") -> list[LayerDeclaration]:
    """So many layers."""
    return [
        LayerDeclaration(f"{prefix}{place}.weight", f"{prefix}{place}", [4], 4, "float32", 0, True)
        for place in range(count)
    ]


def frames(n: int, layer_count: int, first_step: int = 0, seed: int = 0) -> ChunkColumns:
    """Log-normal norms, now and then one that is not finite, a scalar that is not always there."""
    random = np.random.default_rng(seed)
    columns = {name: np.zeros(n, kind) for name, kind in COLUMN_TYPES.items()}
    columns["step"] = np.arange(first_step, first_step + n, dtype=np.int64)
    columns["time"] = 1_790_000_000.0 + random.random(n).cumsum()
    columns["global_norm"] = np.exp(random.standard_normal(n)).astype(np.float32)
    columns["clip_coefficient"] = random.random(n).astype(np.float32)
    columns["max_norm"][:] = np.inf
    columns["lr"][:] = 0.1
    columns["loss"] = random.standard_normal(n).astype(np.float32)
    columns["flags"] = (2 * random.integers(0, 2, n)).astype(np.uint32)
    norms = np.exp(random.standard_normal((n, layer_count))).astype(np.float32)
    for values in (columns["global_norm"], columns["loss"], norms):
        places = random.random(values.shape)
        values[places < 0.02] = np.nan
        values[places > 0.98] = np.inf
    rows = np.flatnonzero(columns["step"] % 64 == 0).astype(np.uint32)
    present = random.random(n) < 0.5
    details = [{"row": n - 1, "non_finite": [[0, 7, 0]], "batch_id": f"batch {first_step}"}] if seed % 2 else []
    scalars = {"accuracy": (present, np.where(present, random.random(n), np.nan))} if seed % 3 else {}
    return ChunkColumns(
        columns, norms, rows, random.random((len(rows), layer_count)).astype(np.float32), scalars, details
    )


@dataclass(slots=True)
class StreamInTables:
    """One stream of a run, fed without HTTP."""

    session_factory: sessionmaker[Session]
    key: StreamKey
    layout_ids: dict[int, str]
    next_frame: int = 0
    next_step: int = 0

    def add(self, n: int, layer_count: int = 2, *, lost: int = 0, seed: int = 0) -> ChunkColumns:
        """Store a chunk, after so many frames that are lost."""
        self.next_step += lost
        first = self.next_frame + lost
        new = frames(n, layer_count, self.next_step, seed)
        columns, layer_columns = encode_columns(new)
        with begin_write(self.session_factory) as session:
            if lost:
                gap = {
                    "n": lost,
                    "reason": "quota",
                    "first_step": self.next_step - lost,
                    "last_step": self.next_step - 1,
                }
                session.add(Gap(**self.key.columns(), first=self.next_frame, **gap))
            steps = {"first_step": self.next_step, "last_step": self.next_step + n - 1}
            blobs = {"columns": columns, "layer_columns": layer_columns}
            layout_id = self.layout_ids[layer_count]
            session.add(
                Chunk(**self.key.columns(), first=first, n=n, layout_id=layout_id, received_at=NOW, **steps, **blobs)
            )
            stream = session.get_one(Stream, (self.key.run_id, self.key.attempt_id, self.key.monitor))
            stream.next_frame, stream.last_step, stream.layout_id = first + n, self.next_step + n - 1, layout_id
        self.next_frame, self.next_step = first + n, self.next_step + n
        return new

    def end(self, state: str = "finished") -> None:
        """The attempt says that it is over."""
        with begin_write(self.session_factory) as session:
            session.get_one(Attempt, (self.key.run_id, self.key.attempt_id)).state = state

    def content(self) -> dict[int, Any]:
        """Every stored frame by its index, bit for bit; a frame that is there twice fails."""
        counts = {layout_id: count for count, layout_id in self.layout_ids.items()}
        found: dict[int, Any] = {}
        with self.session_factory.begin() as session:
            for stored in frames_from(session, self.key, 0):
                for first, part in stored.decode(counts[stored.layout_id]):
                    for index, frame in enumerate(each_frame(part, stored.layout_id), first):
                        assert index not in found, index
                        found[index] = frame
        return found


def each_frame(part: ChunkColumns, layout_id: str) -> Iterator[Any]:
    """What one frame is made of, bit for bit."""
    weights = {int(row): norms.tobytes() for row, norms in zip(part.param_rows, part.param_norms, strict=True)}
    details: dict[int, list[Any]] = {}
    for detail in part.details:
        details.setdefault(detail["row"], []).append(detail | {"row": 0})
    for row in range(len(part)):
        scalars = {name: values[row].tobytes() for name, (there, values) in part.scalars.items() if there[row]}
        columns = tuple(part.columns[name][row].tobytes() for name in COLUMN_TYPES)
        norms = np.ascontiguousarray(part.layer_norms[row]).tobytes()
        yield layout_id, columns, norms, weights.get(row), scalars, details.get(row, [])


def make_stream(
    session_factory: sessionmaker[Session], layer_counts: Sequence[int] = (2,), run: StreamKey | None = None
) -> StreamInTables:
    """A declared run with one attempt and layouts of so many layers; with ``run``, a later attempt of it."""
    key = StreamKey(run.run_id if run else uuid4(), uuid4(), "main")
    with begin_write(session_factory) as session:
        if run is None:
            declare_run(session, key.run_id, make_project(session, "p"), RunDeclaration("p", "n"), NOW)
        started = datetime.fromtimestamp(NOW.timestamp() + (1000 if run else 0), UTC)
        attempt = Attempt(run_id=key.run_id, attempt_id=key.attempt_id, rank=0, world_size=1, launch=key.attempt_id)
        attempt.host, attempt.pid, attempt.started_at, attempt.monitors = "", 0, started, {}
        attempt.live, attempt.interactive, attempt.heartbeat_at = True, False, NOW
        attempt.declared_state = attempt.state = "running"
        session.add(attempt)
        session.add(Stream(**key.columns(), next_frame=0))
        layout_ids = {count: f"{count:032x}" for count in layer_counts}
        for count, layout_id in layout_ids.items():
            declare_layout(session, key.run_id, layout_id, layers(count))
    return StreamInTables(session_factory, key, layout_ids)
