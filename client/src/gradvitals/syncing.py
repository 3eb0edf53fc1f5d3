"""Send what lies in the spool for processes that could not: a person's command, a relay, and a run's next process.

A leftover is sent by the same sender that a training has, in the thread that asks for it. Needs no torch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gradvitals.announce import Announcer, counted
from gradvitals.giving_way import give_way_unless
from gradvitals.leftovers import (
    Leftover,
    LeftoverFrames,
    attempt_of,
    checkpoints_of,
    declaration_of,
    find_leftovers,
)
from gradvitals.route import Route
from gradvitals.sender import Sender

PATIENCE_SECONDS = 30.0  # with a service that does not answer, where a person waits
UNREADABLE_SECONDS = 60.0  # until a relay tries again what failed here, and not at the service
LOOK_SECONDS = 1.0  # between two looks of a relay
LOOK_FOR_DEAD_SECONDS = 90.0  # between two looks of a run's next process


class Courier:
    """Sends one leftover."""

    def __init__(
        self,
        leftover: Leftover,
        route: Route,
        announcer: Announcer,
        *,
        live: bool,
        on_sent: Callable[[int], None] = lambda frames: None,
    ) -> None:
        self.leftover = leftover
        self.frames = LeftoverFrames(leftover, on_sent)
        self._live = live
        self._sender = Sender(
            declaration_of(leftover),
            attempt_of(leftover, live=live),
            self.frames,
            route,
            announcer,
            checkpoints=checkpoints_of(leftover),
        )

    @property
    def is_done(self) -> bool:
        """Whether the service has all that there will ever be."""
        return self._sender.is_delivered

    @property
    def problem(self) -> str | None:
        """Why something is not sent."""
        return self._sender.problem

    @property
    def is_hopeless(self) -> bool:
        """Whether to try again would cure nothing."""
        return self._sender.is_hopeless()

    @property
    def waiting(self) -> int:
        """Frames that are still to be sent."""
        return sum(counts.waiting for counts in self.frames.counts().values())

    @property
    def lost(self) -> int:
        """Frames that can no longer be sent."""
        return sum(counts.lost for counts in self.frames.counts().values())

    def look_again(self, leftover: Leftover) -> None:
        """Take what the attempt has made meanwhile."""
        self.leftover = leftover
        self.frames.refresh(leftover)
        self._sender.describe_as(attempt_of(leftover, live=self._live))

    def send(self) -> float:
        """Send what is there; the seconds after which another try is due."""
        if self.leftover.has_ended:
            self._sender.begin_close()
        pause = self._sender.try_round()
        self.frames.clear_away(all_told=self.is_done)
        return pause

    def send_all(self, patience_seconds: float, wait: Callable[[float], object] = time.sleep) -> bool:
        """Send all that is there, however often a try fails within the time; whether that was done."""
        deadline = time.monotonic() + patience_seconds
        while True:
            pause = self.send()
            if self.problem is None:
                return True
            if self.is_hopeless or time.monotonic() + pause > deadline:
                return False
            if wait(pause):  # no time is left
                return False


@dataclass
class Synced:
    """What a sync did."""

    attempts: int = 0
    frames: int = 0
    failed: int = 0


class Syncing:
    """Sends what lies in one spool. Every attempt is told in one line."""

    def __init__(
        self,
        root: Path,
        route: Route,
        say: Callable[[str], None],
        show_progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._root = root
        self._route = route
        self._say = say
        self._show_progress = show_progress
        self._announcer = Announcer(enabled=False)
        self._progress = ""
        self._before = 0  # frames that were sent of other attempts
        self.synced = Synced()

    def send_everything(self) -> Synced:
        """Send what there is, the oldest first; nobody is paged for it."""
        for leftover in find_leftovers(self._root):
            if leftover.is_alive and leftover.attempt is not None and leftover.attempt.sends and not leftover.has_ended:
                self._say(f"{name_of(leftover)}: left alone, its process {where_of(leftover)} runs and sends it itself")
                continue
            try:
                self._send(leftover)
            except Exception as fault:  # noqa: BLE001 -- one that cannot be read holds up none of the others
                self.synced.failed += 1
                self._say(f"{name_of(leftover)}: cannot be sent: {fault!r}")
        return self.synced

    def _send(self, leftover: Leftover) -> None:
        courier = Courier(leftover, self._route, self._announcer, live=False, on_sent=self._count)
        before, total, damaged = self.synced.frames, courier.waiting, courier.frames.damaged
        self._progress, self._before = f"of {counted(total, 'frame')} of {name_of(leftover)} sent", before
        is_sent = courier.send_all(PATIENCE_SECONDS)
        sent = counted(self.synced.frames - before, "frame")
        notes = f", {counted(courier.lost, 'frame')} lost" if courier.lost else ""
        notes += f", {counted(damaged, 'damaged record')} passed over" if damaged else ""
        self._show_progress("")
        if is_sent:
            self.synced.attempts += 1
            more = "" if courier.is_done else "; it still runs, and sync will have more to send"
            page = "" if self._route.url is None else f": {self._route.url}/runs/{leftover.run.run_id}"
            self._say(f"{name_of(leftover)}: {sent} sent{notes}{more}{page}")
        else:
            self.synced.failed += 1
            self._say(f"{name_of(leftover)}: {sent} sent, {courier.waiting:,} kept{notes}: {courier.problem}")

    def _count(self, frames: int) -> None:
        self.synced.frames += frames
        self._show_progress(f"{self.synced.frames - self._before:,} {self._progress}")


class Relay:
    """Follows a spool that other processes write, and sends as they do: for machines that reach no network themselves.

    What happens now is news, so that it is told as live: somebody may be paged. What is older than 15 minutes is not.
    """

    def __init__(self, root: Path, route: Route, say: Callable[[str], None]) -> None:
        self._root = root
        self._route = route
        self._say = say
        self._announcer = Announcer(enabled=False)
        self._couriers: dict[str, Courier] = {}
        self._not_before: dict[str, float] = {}
        self._told: set[tuple[str, str]] = set()

    def look(self, now: float) -> int:
        """Send what is new; how many attempts there are."""
        count = 0
        for leftover in find_leftovers(self._root):
            count += 1
            if now >= self._not_before.get(leftover.attempt_id, now):
                try:
                    self._follow(leftover, now)
                except Exception as fault:  # noqa: BLE001 -- as above
                    self._not_before[leftover.attempt_id] = now + UNREADABLE_SECONDS
                    self._tell_once(leftover, f"cannot be sent: {fault!r}")
        return count

    def _follow(self, leftover: Leftover, now: float) -> None:
        courier = self._couriers.get(leftover.attempt_id)
        if courier is None:
            courier = Courier(leftover, self._route, self._announcer, live=leftover.is_news)
            self._couriers[leftover.attempt_id] = courier
            self._say(f"{name_of(leftover)}: followed, {counted(courier.waiting, 'frame')} waiting")
        else:
            courier.look_again(leftover)
        if not (leftover.is_alive or leftover.has_ended or courier.waiting):
            return  # silent: a heartbeat from here would say that it lives
        pause = courier.send()
        if courier.problem is not None:
            self._not_before[leftover.attempt_id] = now + pause
            self._tell_once(leftover, courier.problem)
        elif courier.is_done:
            del self._couriers[leftover.attempt_id]
            self._say(f"{name_of(leftover)}: has ended, everything was sent")

    def _tell_once(self, leftover: Leftover, problem: str) -> None:
        if (leftover.attempt_id, problem) not in self._told:
            self._told.add((leftover.attempt_id, problem))
            self._say(f"{name_of(leftover)}: {problem}")


@dataclass
class NextProcess:
    """In a run's next process: sends what the dead ones before it left, and tells of one that is not dead at all."""

    root: Path
    run_id: str
    attempt_id: str
    open_route: Callable[[], Route]
    announcer: Announcer
    ends: threading.Event
    _told: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Look in a thread of its own, now and then until the run ends."""
        try:
            threading.Thread(target=self._work, name="gradvitals-leftovers", daemon=True).start()
        except RuntimeError:  # no thread is left to give: `gradvitals sync` will do it
            return

    def _work(self) -> None:
        try:
            give_way_unless(self.ends.is_set)
            while not self.ends.is_set():
                self.look()
                self.ends.wait(LOOK_FOR_DEAD_SECONDS)
        except Exception as fault:  # noqa: BLE001 -- a defect of ours must not reach the training
            self.announcer.say_once(repr(fault), f"what an earlier process left is not sent: {fault!r}")

    def look(self) -> None:
        """Send what is left of this run by those that are dead."""
        for leftover in find_leftovers(self.root, self.run_id):
            if leftover.attempt_id == self.attempt_id or self.ends.is_set():
                continue
            if leftover.is_alive:
                self._tell_of_another(leftover)
                continue
            route = self.open_route()
            courier = Courier(leftover, route, Announcer(enabled=False), live=leftover.is_news)
            waiting = courier.waiting
            if courier.send_all(LOOK_FOR_DEAD_SECONDS, self.ends.wait) and waiting:
                self.announcer.say(f"sent {counted(waiting, 'frame')} that an earlier process of this run had left")
            route.close()

    def _tell_of_another(self, leftover: Leftover) -> None:
        """Only where it has this rank as well: other ranks of one run are no surprise."""
        attempt = leftover.attempt
        if attempt is None or attempt.body.get("rank") != 0 or leftover.has_ended or leftover.attempt_id in self._told:
            return
        self._told.add(leftover.attempt_id)
        self.announcer.say(
            f"WARNING: another process {where_of(leftover)} trains the same run as the same rank. Each is kept as an "
            "attempt of its own; if that is not meant, give one of them another run_id"
        )


def name_of(leftover: Leftover) -> str:
    """A leftover in a few words: the run, and its rank where there are several."""
    body = leftover.attempt.body if leftover.attempt is not None else {}
    rank = f", rank {body['rank']}" if body.get("world_size", 1) > 1 else ""
    return f"{leftover.run.body.get('name', leftover.run.run_id)!r}{rank} ({leftover.attempt_id[-12:]})"


def where_of(leftover: Leftover) -> str:
    """The process that wrote it."""
    body = leftover.attempt.body if leftover.attempt is not None else {}
    return f"{body.get('pid', '?')} on {body.get('host', '?')}"
