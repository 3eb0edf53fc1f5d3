"""Deliver what a run measured, without ever making the training loop wait.

The training thread calls ``submit`` and ``amend``, which touch only the store. The sender's thread owns the transport,
the declarations, the heartbeat and the retry schedule. Shared are the store, which has its lock, and three events.
Nothing is raised into the training: what goes wrong is retried, counted as lost or told to the person in one line.
"""

from __future__ import annotations

import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gradvitals.announce import Announcer, counted
from gradvitals.checkpoints import Checkpoint, CheckpointOutbox
from gradvitals.declarations import Attempt, RunDeclaration
from gradvitals.errors import (
    ChunkRefusedError,
    DeliveryError,
    NotDeclaredError,
    OutOfOrderError,
    SendingStoppedError,
    ServiceUnavailableError,
)
from gradvitals.frames import WIRE_VERSIONS, Frame, Layout
from gradvitals.giving_way import give_way, give_way_unless
from gradvitals.logged import LoggedValues
from gradvitals.pending import CHUNK_FRAMES, FrameStore, Parcel
from gradvitals.route import LOOK_AGAIN_SECONDS, Route
from gradvitals.transport import AttemptAnswer, Transport, what_to_install

HEARTBEAT_SECONDS = 5.0
FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 30.0
TELL_AGAIN_SECONDS = 600.0  # of a service that goes away again and again


class Sender:
    """One daemon thread that delivers one attempt. ``close`` ends it."""

    def __init__(
        self,
        run: RunDeclaration,
        attempt: Attempt,
        store: FrameStore,
        route: Route,
        announcer: Announcer,
        *,
        checkpoints: CheckpointOutbox | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.events_told = 0
        self.before_telling: Callable[[], None] = lambda: None  # brings the attempt up to date; must not raise
        self.checkpoints = checkpoints or CheckpointOutbox(asks=attempt.resumed_from_step is not None)
        self._checkpoints_at = -math.inf  # not to be told again before
        self._run = run
        self._attempt = attempt
        self._store = store
        self._route = route
        self._announcer = announcer
        self._clock = clock
        self._jitter = random.Random(secrets.randbits(64))  # noqa: S311 -- its own, so that the user's seed stays theirs
        self._wake = threading.Event()  # something is due
        self._closing = threading.Event()  # deliver everything, then end
        self._delivered = threading.Event()  # all of it, and the end was told
        self._declared = False  # the run and the attempt, to the present transport
        self._declared_layouts: set[str] = set()
        self._transport: Transport | None = None
        self._stopped_by: Transport | None = None  # the transport that will take nothing from us
        self._failures = 0
        self._problem: str | None = None  # why nothing is delivered at present
        self._told_away_at: float | None = None
        self._away_was_told = False
        self._heartbeat_at = -math.inf
        self._most: dict[str, int] = {}  # frames in one request, of monitors of which more were refused
        self._events_seen: int | None = None
        self._event_ids: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="gradvitals-sender", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._store.start(self._wake.set, self._describe)
        try:
            self._thread.start()
        except RuntimeError as error:  # the system has no thread left to give
            self._problem = f"the sender could not start: {error}"
            self._announcer.say(self._problem)

    # The training thread's side.

    @property
    def submit(self) -> Callable[[str, Frame, LoggedValues | None], None]:
        """Hand over one frame of a monitor, with what was logged for it; never blocks."""
        return self._store.add

    def amend(self, monitor: str, step: int, logged: LoggedValues) -> bool:
        """Add logged values to a monitor's frame of ``step``; False when it was sent already."""
        return self._store.amend(monitor, step, logged)

    def beat(self) -> None:
        """Have the next heartbeat sent now, because the attempt's state has changed."""
        self._heartbeat_at = -math.inf
        self._wake.set()

    def tell_checkpoint(self, path: str, checkpoint: Checkpoint | None) -> None:
        """Have the service told of a checkpoint, None when it is deleted; never blocks."""
        self.checkpoints.add(path, checkpoint)
        self._wake.set()

    def begin_close(self) -> None:
        """Have what is left delivered and the service told the end, without waiting for it."""
        self._closing.set()
        self._store.begin_close()
        self._wake.set()

    def close(self, timeout_seconds: float) -> bool:
        """Deliver what is left and tell the service the end; True when that happened within the timeout.

        What is not delivered by then is still tried for as long as the process lives.
        """
        deadline = time.monotonic() + timeout_seconds
        self.begin_close()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        if not self._thread.is_alive():
            self._settle()  # once more, should it have failed there
            self._store.close(deadline - time.monotonic())
        return self._delivered.is_set()

    def outcome(self) -> str:
        """What became of the frames, in words."""
        counts = self._store.counts().values()
        waiting, lost = sum(count.waiting for count in counts), sum(count.lost for count in counts)
        given_up = f", {counted(lost, 'frame')} given up" if lost else ""
        if self._delivered.is_set():
            return f"everything was sent{given_up}"
        unsent = f"not sent: {counted(waiting, 'frame')}" if waiting else "the service was not told of the end"
        if self._store.place is None:
            return f"{unsent}{given_up}: {self._problem or 'it takes too long'}"
        why = f": {self._problem or 'it takes too long'}" if self._transport is not None else ""
        return f"{unsent}{given_up}{why}; kept in {self._store.place} for `gradvitals sync`"

    # Of a sender without a thread, whose owner does what the thread would.

    @property
    def is_delivered(self) -> bool:
        """Whether the service has everything and knows the end."""
        return self._delivered.is_set()

    @property
    def problem(self) -> str | None:
        """Why nothing is delivered at present."""
        return self._problem

    @property
    def is_closing(self) -> threading.Event:
        """Set once no frame follows."""
        return self._closing

    def describe_as(self, attempt: Attempt) -> None:
        """Tell from now on that the attempt is so."""
        self._attempt = attempt

    # The sender's thread.

    def _work(self) -> None:
        """The outermost guard of the thread. A fault that comes as far as this ends it: frames then wait for nobody."""
        give_way_unless(self._closing.is_set)
        for part in (self._deliver, self._settle):
            try:
                part()
            except Exception as fault:  # noqa: BLE001 -- a defect of ours must not reach the training
                self._problem = f"a fault in gradvitals: {fault!r}"
                with suppress(Exception):  # telling may be what has failed
                    self._announcer.say_once(repr(fault), f"nothing more is sent: {self._problem}")

    def _settle(self) -> None:
        """Leave to the store what is not delivered."""
        self._store.settle(self._delivered.is_set())

    def _describe(self) -> Mapping[str, Any]:
        """How the attempt is, for whoever sends what this process cannot."""
        return {
            "run_id": self._run.run_id,
            "attempt_id": self._attempt.attempt_id,
            "body": self._body(),
            "checkpoints": self.checkpoints.waiting().body(self._attempt.attempt_id),
        }

    def _body(self) -> dict[str, Any]:
        self.before_telling()
        return self._attempt.body(self._store.counts(), self._events_seen or 0)

    def _meanwhile(self) -> str:
        where = "in memory" if self._store.place is None else f"in {self._store.place}"
        return f"Training goes on; frames wait {where} and are sent later"

    def _deliver(self) -> None:
        while True:
            pause = self.try_round()
            if self._delivered.is_set() or (self._closing.is_set() and self.is_hopeless()):
                self._route.close()
                return
            if not self._failures:
                self._wake.wait(pause)
                self._wake.clear()
            elif self._closing.is_set():
                self._delivered.wait(pause)  # nobody else sets it: this only waits
            elif self._closing.wait(pause):
                self._failures = 0  # leaving: try at once, and then at short intervals

    def is_hopeless(self) -> bool:
        """Whether nothing can be delivered before the process ends: no service is known, or it refuses us."""
        return self._transport is None or self._transport is self._stopped_by

    def try_round(self) -> float:
        """Do one round; the seconds until the next one is due."""
        try:
            self._round()
            pause = self._seconds_until_due()
            self._recover()
            return pause
        except SendingStoppedError as refusal:
            self._stopped_by = self._transport
            self._problem = str(refusal)
            self._announcer.say_once(str(refusal), f"nothing more is sent: {refusal}")
            return LOOK_AGAIN_SECONDS
        except DeliveryError as error:
            return self._back_off(error)
        except Exception as fault:  # noqa: BLE001 -- a defect of ours, which may be cured by what comes next
            line = f"a fault in gradvitals: {fault!r}"
            self._announcer.say_once(repr(fault), f"{line}. {self._meanwhile()}")
            return self._back_off(ServiceUnavailableError(line), told=True)

    def _round(self) -> None:
        """Declare what is new, beat if it is time, and send all that is due."""
        transport = self._route.current()
        if transport is not self._transport:
            self._transport = transport
            self._forget_declarations()
        if transport is None:
            self._problem = self._route.absence
            self._announcer.say_once("absence", self._route.absence)
            return
        if transport is self._stopped_by:
            return
        redeclared = False
        while True:
            try:
                self._declare(transport)
                if self._clock() - self._heartbeat_at >= HEARTBEAT_SECONDS:
                    self._heartbeat(transport)
                self._tell_checkpoints(transport, redeclared=redeclared)
                closing = self._closing.is_set()  # read before the store: what is added later belongs to no flush
                chunk = self._store.take(closing, self._most)
                give_way()
                if chunk is not None:
                    self._send(transport, chunk)
                    redeclared = False
                elif closing:
                    self._heartbeat(transport)
                    self._tell_checkpoints(transport, redeclared=redeclared, last=True)
                    self._delivered.set()
                    return
                else:
                    return
            except NotDeclaredError as error:
                if redeclared:
                    raise ServiceUnavailableError(f"{error}, though it was just declared") from error
                redeclared = True
                self._forget_declarations()

    def _declare(self, transport: Transport) -> None:
        """Declare the run and the attempt, unless this service has heard of them."""
        if self._declared:
            return
        try:
            answer = transport.declare_run(self._run.run_id, self._run.body())
            if not set(WIRE_VERSIONS) & set(answer.wire_versions):
                raise SendingStoppedError(f"the service at {transport.url} {what_to_install(answer.wire_versions)}")
            self._heartbeat(transport)
        except ChunkRefusedError as refusal:
            raise SendingStoppedError(f"the run was refused: {refusal}") from refusal
        self._declared = True
        if transport.url is not None:
            page = f"{transport.url}/runs/{self._run.run_id}"
            self._announcer.say_once(page, f"{self._run.name!r} can be seen at {page}")

    def _declare_layout(self, transport: Transport, layout: Layout) -> None:
        if layout.layout_id not in self._declared_layouts:
            transport.declare_layout(self._run.run_id, layout.layout_id, layout.to_json())
            self._declared_layouts.add(layout.layout_id)

    def _forget_declarations(self) -> None:
        self._declared = False
        self._declared_layouts.clear()

    def _send(self, transport: Transport, chunk: Parcel) -> None:
        """Send one chunk and let go of what was acknowledged, or of what never will be."""
        try:
            self._declare_layout(transport, chunk.layout)
            answer = transport.send_chunk(self._run.run_id, chunk.encode())
        except OutOfOrderError as error:
            if not self._store.rewind(chunk.monitor, error.next):
                raise ServiceUnavailableError(f"the service cannot say where to go on: {error}") from error
            return
        except ChunkRefusedError as refusal:
            self._narrow_down(chunk, refusal)
            return
        if not chunk.end <= answer.next <= self._store.counts()[chunk.monitor].made:
            raise ServiceUnavailableError(f"the service acknowledged {answer.next} frames, {chunk.end} were sent")
        give_way()
        self._store.acknowledge(chunk, answer.next)
        self._widen(chunk.monitor)
        self._recover()
        if answer.event_revision > (self._events_seen or 0):
            self._heartbeat(transport)

    def _narrow_down(self, chunk: Parcel, refusal: ChunkRefusedError) -> None:
        """Have fewer frames sent at once until the one is found that is refused; that one is given up."""
        if not chunk.n:  # what was lost is refused as well: there is nothing that could be sent instead
            raise SendingStoppedError(str(refusal)) from refusal
        if chunk.n > 1 and chunk.layout.layout_id in self._declared_layouts:
            self._most[chunk.monitor] = chunk.n // 2
            return
        self._store.give_up(chunk, "refused")
        self._announcer.say_once("refused", f"{counted(chunk.n, 'frame')} refused and given up: {refusal}")

    def _widen(self, monitor: str) -> None:
        if monitor in self._most:
            self._most[monitor] *= 2
            if self._most[monitor] >= CHUNK_FRAMES:
                del self._most[monitor]

    def _tell_checkpoints(self, transport: Transport, *, redeclared: bool, last: bool = False) -> None:
        """Tell what waits of checkpoints. Whatever becomes of that, frames are never held up, unless it is the last."""
        while (last or self._clock() >= self._checkpoints_at) and (batch := self.checkpoints.take()) is not None:
            try:
                answer = transport.declare_checkpoints(self._run.run_id, batch.body(self._attempt.attempt_id))
            except ServiceUnavailableError:
                if last:
                    raise
                self._checkpoints_at = self._clock() + HEARTBEAT_SECONDS
                return
            except (NotDeclaredError, ChunkRefusedError) as refusal:
                if isinstance(refusal, NotDeclaredError) and not redeclared:
                    raise
                self.checkpoints.forget(batch)
                self._announcer.say_once("checkpoints", f"the service does not keep these checkpoints: {refusal}")
            else:
                newest = answer.newest_clean
                self.checkpoints.acknowledge(batch, None if newest is None else newest.path)

    def _heartbeat(self, transport: Transport) -> None:
        """Say how the attempt is, and hear of events; again at once while there are more of them."""
        while True:
            self._heartbeat_at = self._clock()
            seen = self._events_seen
            answer = transport.declare_attempt(self._run.run_id, self._attempt.attempt_id, self._body())
            self._hear(answer)
            if not answer.events or self._events_seen == seen or answer.event_revision <= (self._events_seen or 0):
                return

    def _hear(self, answer: AttemptAnswer) -> None:
        """Tell each event once. What was there before this attempt's first word was told by an earlier one."""
        if self._events_seen is None:
            self._event_ids.update(event.event_id for event in answer.events)
            self._events_seen = answer.event_revision
            return
        if answer.events:
            self.checkpoints.ask()
        for event in answer.events:
            if event.event_id not in self._event_ids:
                self._event_ids.add(event.event_id)
                self.events_told += 1
                where = "" if event.start_step is None else f" at step {event.start_step}"
                why = "" if event.cause is None else f"; {event.cause}"
                self._announcer.say(f"{event.severity}: {event.kind.replace('_', '-')}{where}: {event.message}{why}")
        if answer.event_revision < self._events_seen:  # the service was set back, and will count up from there
            self._events_seen = answer.event_revision
        else:
            newest = max((event.revision for event in answer.events), default=answer.event_revision)
            self._events_seen = max(self._events_seen, newest)

    def _back_off(self, error: DeliveryError, *, told: bool = False) -> float:
        """Count a failure, tell of the first one, and say how long to wait."""
        self._failures += 1
        self._problem = str(error)
        now = self._clock()
        first = self._failures == 1 and not told
        if first and (self._told_away_at is None or now - self._told_away_at >= TELL_AGAIN_SECONDS):
            self._told_away_at = now
            self._away_was_told = True
            self._announcer.say(f"{error}. {self._meanwhile()}")
        if isinstance(error, ServiceUnavailableError) and error.retry_after is not None:
            return error.retry_after
        longest: float = min(FIRST_RETRY_SECONDS * 2.0 ** min(self._failures, 20), LONGEST_RETRY_SECONDS)
        return longest * self._jitter.uniform(0.5, 1.0)

    def _recover(self) -> None:
        self._failures = 0
        if self._transport not in (None, self._stopped_by):
            self._problem = None
        if self._away_was_told:
            self._away_was_told = False
            self._announcer.say("the service answers again")

    def _seconds_until_due(self) -> float:
        if self._transport is None or self._transport is self._stopped_by:
            return LOOK_AGAIN_SECONDS
        beat = max(self._heartbeat_at + HEARTBEAT_SECONDS - self._clock(), 0.0)
        chunk = self._store.due_in()
        return beat if chunk is None else min(beat, chunk)
