"""What one transaction knows of runs and streams, and what it has yet to write about them.

Chunks are taken one after the other and written together: a statement a table for all that gathered, since most of a
small statement's cost is not the database's. What was read counts until somebody else may have changed it, which the
writer knows; what is read from the tables themselves needs ``write`` before. Under the lock of each run's row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from gradvitals_service.ingest import ledger_queries as queries
from gradvitals_service.ingest.ledger_queries import Figures, Place, RunHead
from gradvitals_service.ingest.queries import Snapshot, StreamHead, StreamKey

WORTHWHILE = 3
"""Streams from which on reading them together takes less than one by one."""


class Ledger:
    """The books of one transaction; owned by its thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._begin()

    def _begin(self) -> None:
        self._runs: dict[UUID, RunHead] = {}
        self._places: dict[tuple[StreamKey, str], Place] = {}
        self._heads: dict[StreamKey, StreamHead] = {}
        self._chunks: list[dict[str, Any]] = []
        self._advanced: dict[StreamKey, StreamHead] = {}
        self._snapshots: dict[StreamKey, Snapshot] = {}
        self._seen: dict[UUID, tuple[Figures | None, datetime]] = {}

    def look_up(self, asked: Sequence[tuple[StreamKey, str]]) -> None:
        """Lock and read together what chunks of these streams and layouts will need; what is not there is left out."""
        if len(asked) < WORTHWHILE:
            return
        self._runs.update(queries.lock_run_heads(self._connection, {key.run_id for key, _ in asked}))
        for (key, layout_id), place in queries.read_places(self._connection, asked).items():
            self._keep_place(key, layout_id, place)

    def run(self, run_id: UUID) -> RunHead:
        """The run, ours alone until the transaction ends, or 404."""
        if run_id not in self._runs:
            self._runs[run_id] = queries.lock_run_head(self._connection, run_id)
        return self._runs[run_id]

    def place(self, key: StreamKey, layout_id: str) -> Place:
        """Where chunks of a stream belong, or 404; the run must be locked."""
        if (key, layout_id) not in self._places:
            self._keep_place(key, layout_id, queries.read_place(self._connection, key, layout_id))
        return self._places[key, layout_id]

    def _keep_place(self, key: StreamKey, layout_id: str, place: Place) -> None:
        """A stream has one head, whatever layouts its chunks have."""
        head = self._heads.setdefault(key, place.head)
        self._places[key, layout_id] = replace(place, head=head)

    def add_chunk(self, key: StreamKey, values: Mapping[str, Any], received_at: datetime) -> None:
        """Store the frames of one chunk."""
        self._chunks.append(key.columns() | dict(values) | {"received_at": received_at})

    def see_run(self, run_id: UUID, figures: Figures | None, now: datetime) -> None:
        """The run was heard of; its figures change only where these are its newest."""
        earlier, _ = self._seen.get(run_id, (None, now))
        if figures is not None and earlier is not None:
            figures = earlier.followed_by(figures)
        self._seen[run_id] = (figures or earlier, now)

    def advance(self, key: StreamKey, head: StreamHead, snapshot: Snapshot | None) -> None:
        """How far the stream is now, and the state of its detectors if one is given."""
        if not head.exists:
            queries.insert_stream(self._connection, key, head)
            head.exists = True
        self._advanced[key] = head
        if snapshot is not None:
            self._snapshots[key] = snapshot

    def write(self) -> None:
        """Write what has gathered; what is known stays so."""
        queries.insert_chunks(self._connection, self._chunks)
        queries.save_runs(self._connection, self._seen)
        queries.save_streams(self._connection, self._advanced, self._snapshots)
        self._chunks, self._advanced, self._snapshots, self._seen = [], {}, {}, {}

    def drop(self) -> None:
        """Forget everything, what is not yet written included."""
        self._begin()
