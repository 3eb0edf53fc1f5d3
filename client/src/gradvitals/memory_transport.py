"""A service in memory, for tests of training code: no socket, and every frame at hand.

It counts as the service does (``docs/wire.md``, "Exactly once") and can be told to fail. It is a test double and keeps
everything for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import msgspec

from gradvitals.errors import DeliveryError, NotDeclaredError, OutOfOrderError, ServiceUnavailableError
from gradvitals.frames import Chunk, Frame, Layer, Layout, LostRange, decode_chunk
from gradvitals.transport import (
    AttemptAnswer,
    CheckpointPlace,
    CheckpointsAnswer,
    ChunkAnswer,
    Event,
    LayoutAnswer,
    RunAnswer,
)


class MemoryTransport:
    """Takes what a run sends: ``gradvitals.init(url=MemoryTransport())``.

    ``runs``, ``attempts`` and ``checkpoints`` hold the newest declaration of each id or path, as the wire spells it.
    Every method may be called from any thread.
    """

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.attempts: dict[str, dict[str, Any]] = {}
        self.layouts: dict[str, Layout] = {}
        self.checkpoints: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []  # the kinds of request in the order they came, failed ones included
        self.closed = False
        self._frames: dict[tuple[str, str], list[Frame]] = {}  # of a stream: (attempt, monitor)
        self._lost: dict[tuple[str, str], list[LostRange]] = {}
        self._next: dict[tuple[str, str], int] = {}
        self._events: list[Event] = []
        self._failures: list[tuple[str | None, DeliveryError, bool]] = []  # of which request, what, only when stored
        self._away = False
        self._changed = threading.Condition()

    @property
    def url(self) -> None:
        """There is nothing to look at."""
        return None

    # What a test asks and arranges.

    def frames(self, monitor: str = "main") -> list[Frame]:
        """The frames stored for a monitor, over all attempts, in the order of their streams."""
        with self._changed:
            return [frame for (_, name), frames in self._frames.items() if name == monitor for frame in frames]

    def lost(self, monitor: str = "main") -> list[LostRange]:
        """The ranges that the run gave up."""
        with self._changed:
            return [lost for (_, name), ranges in self._lost.items() if name == monitor for lost in ranges]

    def wait_for(self, request: str, count: int = 1, timeout_seconds: float = 10.0) -> bool:
        """Wait until ``count`` requests of a kind ("run", "attempt", "layout", "chunk", "checkpoints") have come."""
        with self._changed:
            return self._changed.wait_for(lambda: self.requests.count(request) >= count, timeout_seconds)

    def wait_for_frames(self, count: int, monitor: str = "main", timeout_seconds: float = 10.0) -> bool:
        """Wait until ``count`` frames of a monitor are stored."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.frames(monitor)) >= count, timeout_seconds)

    def fail_next(self, error: DeliveryError, *, request: str | None = None, after_storing: bool = False) -> None:
        """Answer one coming request, of any kind or of one, with an error; ``after_storing`` loses only the answer."""
        with self._changed:
            self._failures.append((request, error, after_storing))

    def go_away(self) -> None:
        """Answer nothing until ``come_back``."""
        with self._changed:
            self._away = True

    def come_back(self) -> None:
        """Answer again."""
        with self._changed:
            self._away = False

    def forget(self, *, keep: int | None = None) -> None:
        """Forget every declaration, as a restored database does, and all but ``keep`` frames of each stream."""
        with self._changed:
            self.runs.clear()
            self.attempts.clear()
            self.layouts.clear()
            self.checkpoints.clear()
            for stream, frames in self._frames.items():
                if keep is not None:
                    del frames[keep:]
                    self._next[stream] = min(keep, self._next[stream])

    def report(
        self, kind: str, step: int, message: str, *, severity: str = "critical", cause: str | None = None
    ) -> Event:
        """Make an event, which the run hears of with its next heartbeat."""
        with self._changed:
            revision = len(self._events) + 1
            event = Event(f"event-{revision}", kind, severity, step, message, revision, cause=cause)
            self._events.append(event)
            return event

    # Transport.

    def declare_run(self, run_id: str, body: Mapping[str, Any]) -> RunAnswer:
        """Take a run's declaration."""
        with self._request("run"):
            self.runs[run_id] = dict(body)
            return RunAnswer(wire_versions=[1])

    def declare_attempt(self, run_id: str, attempt_id: str, body: Mapping[str, Any]) -> AttemptAnswer:
        """Take an attempt's declaration or heartbeat; tells of the events that it has not seen."""
        with self._request("attempt"):
            if run_id not in self.runs:
                raise NotDeclaredError(f"there is no run {run_id}")
            self.attempts[attempt_id] = dict(body)
            unseen = [event for event in self._events if event.revision > body["events_seen"]]
            return AttemptAnswer(len(self._events), unseen[:20], body["state"])

    def declare_layout(self, run_id: str, layout_id: str, body: Mapping[str, Any]) -> LayoutAnswer:
        """Take a layout's declaration."""
        with self._request("layout"):
            if run_id not in self.runs:
                raise NotDeclaredError(f"there is no run {run_id}")
            layers = msgspec.json.decode(msgspec.json.encode(body["layers"]), type=tuple[Layer, ...])
            self.layouts[layout_id] = Layout(layers)
            return LayoutAnswer(layout_id)

    def send_chunk(self, run_id: str, body: bytes | bytearray) -> ChunkAnswer:
        """Store what of a chunk is new, exactly once."""
        with self._request("chunk"):
            try:
                chunk = decode_chunk(body, self.layouts)
            except KeyError as error:
                raise NotDeclaredError(f"there is no layout {error}") from error
            if chunk.attempt_id not in self.attempts:
                raise NotDeclaredError(f"there is no attempt {chunk.attempt_id}")
            return ChunkAnswer(self._store(chunk), len(self._events))

    def declare_checkpoints(self, run_id: str, body: Mapping[str, Any]) -> CheckpointsAnswer:
        """Take what became of checkpoints. It judges none: the newest that was not said to be spoiled is its answer."""
        with self._request("checkpoints"):
            if body["attempt_id"] not in self.attempts:
                raise NotDeclaredError(f"there is no attempt {body['attempt_id']}")
            self.checkpoints |= {saved["path"]: dict(saved) for saved in body["saved"]}
            for path in body["deleted"]:
                self.checkpoints.pop(path, None)
            clean = [saved for saved in self.checkpoints.values() if saved["clean"] is not False]
            newest = max(clean, key=lambda saved: (saved["step"], saved["saved_at"]), default=None)
            return CheckpointsAnswer(None if newest is None else CheckpointPlace(newest["path"], newest["step"]))

    def close(self) -> None:
        """Nothing is sent any more."""
        self.closed = True

    def _store(self, chunk: Chunk) -> int:
        stream = (chunk.attempt_id, chunk.monitor)
        start = count = self._next.get(stream, 0)
        taken: list[LostRange] = []
        for lost in chunk.lost:
            if lost.first > count:
                raise OutOfOrderError(f"the stream has {count} frames, not {lost.first}", start)
            end = lost.first + lost.n
            if end > count:
                if lost.first < count:  # a part of the range is here; the first step of the rest is not known
                    lost = replace(lost, first=count, n=end - count, first_step=None)
                taken.append(lost)
                count = end
        if chunk.first > count:
            raise OutOfOrderError(f"the stream has {count} frames, not {chunk.first}", start)
        new = chunk.frames[count - chunk.first :]
        self._lost.setdefault(stream, []).extend(taken)
        self._frames.setdefault(stream, []).extend(new)
        self._next[stream] = max(count, chunk.end)
        return self._next[stream]

    @contextmanager
    def _request(self, kind: str) -> Iterator[None]:
        """One request, alone, with the failure that was arranged for it before or after it takes effect."""
        with self._changed:
            self.requests.append(kind)
            self._changed.notify_all()
            if self._away:
                raise ServiceUnavailableError("the service is away")
            failure = next((failure for failure in self._failures if failure[0] in (None, kind)), None)
            error, after_storing = None, False
            if failure is not None:
                self._failures.remove(failure)
                _, error, after_storing = failure
            if error is not None and not after_storing:
                raise error
            yield
            self._changed.notify_all()
            if error is not None:
                raise error
