"""Read what an attempt left in the spool, so that another process can send it.

Whether its writer lives is known so: on the same host (and in the same namespace of process ids) by its process id;
elsewhere by the age of the file ``attempt``, which a living writer replaces every 5 s. Ages are measured against a file
that is written for it on the same file system, since two machines' clocks may differ. To be wrong harms nothing: frames
are counted by the service, and a file that may still be appended to is never deleted.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gradvitals.backlog import Backlog
from gradvitals.checkpoints import Checkpoint, CheckpointOutbox
from gradvitals.declarations import Attempt, RunDeclaration, WatchedFacts
from gradvitals.frames import Frame, Layer, Layout, LostRange
from gradvitals.logged import LoggedValues
from gradvitals.pending import Counts, FrameStore, Parcel
from gradvitals.segments import Record, read_file
from gradvitals.spool import (
    ATTEMPT,
    ATTEMPT_FILE,
    CHUNKS,
    DECLARATIONS_FILE,
    LAYOUT,
    LOST,
    RUN,
    StoredAttempt,
    StoredLoss,
    StoredRun,
    remove_attempt,
    this_host,
)

SILENT_SECONDS = 60.0  # after which a writer elsewhere is taken for dead
LATE_SECONDS = 900.0  # after which what it left is no news: nobody is paged, and its end is declared
ENDS = ("finished", "failed")


class _StoredLayers(msgspec.Struct, frozen=True):
    layers: tuple[Layer, ...]


@dataclass(slots=True)
class Leftover:
    """One attempt's folder, as it was found."""

    folder: Path
    run: StoredRun
    attempt: StoredAttempt | None  # None: it died before it could say anything
    age_seconds: float  # since its writer's last sign of life
    is_alive: bool  # its writer, as far as can be known
    is_dead: bool  # its writer, for certain
    layouts: dict[str, Layout] = field(default_factory=dict)
    losses: list[StoredLoss] = field(default_factory=list)

    @property
    def attempt_id(self) -> str:
        """The attempt that made it."""
        return self.folder.name

    @property
    def has_ended(self) -> bool:
        """Whether nothing follows."""
        said = self.attempt is not None and self.attempt.body.get("state") in ENDS
        return said or self.is_dead or (not self.is_alive and self.age_seconds > LATE_SECONDS)

    @property
    def is_news(self) -> bool:
        """Whether what happened in it is recent enough to call somebody for."""
        return self.age_seconds <= LATE_SECONDS

    @property
    def files(self) -> list[Path]:
        """The files of chunks, the oldest first."""
        return sorted(path for path in _listed(self.folder) if path.name.endswith(CHUNKS))

    @property
    def nbytes(self) -> int:
        """How much room it takes."""
        total = 0
        for path in _listed(self.folder):
            with contextlib.suppress(OSError):  # deleted meanwhile
                total += path.stat().st_size
        return total


def find_leftovers(root: Path, run_id: str | None = None) -> Iterator[Leftover]:
    """What lies in a spool, the oldest attempt first; of one run, or of all."""
    now = _now_on(root)
    if now is None:
        return
    folders = [root / run_id] if run_id is not None else [path for path in _listed(root) if _is_id(path.name)]
    attempts = [path for folder in folders for path in _listed(folder) if _is_id(path.name)]
    for path in sorted(attempts, key=lambda path: path.name):  # ids sort by time
        leftover = read_leftover(path, now)
        if leftover is not None:
            yield leftover


def read_leftover(folder: Path, now: float) -> Leftover | None:
    """What is declared in an attempt's folder; None where nobody could send it. ``now`` by the folder's own clock."""
    try:
        declared = list(read_file(folder / DECLARATIONS_FILE))
        run = next(_decode(record, StoredRun) for record in declared if record.kind == RUN)
        attempt, seen_at = _read_attempt(folder / ATTEMPT_FILE)
        seen_at = max([seen_at, *(path.stat().st_mtime for path in folder.iterdir())])
    except (OSError, msgspec.MsgspecError, StopIteration):
        return None
    age = max(now - seen_at, 0.0)
    is_here = attempt is not None and attempt.host == this_host()
    runs_here = attempt is not None and is_here and _runs(attempt.pid)  # or another process that has its id now
    leftover = Leftover(
        folder,
        run,
        attempt,
        age_seconds=age,
        is_alive=runs_here and age < LATE_SECONDS if is_here else age < SILENT_SECONDS,
        is_dead=is_here and not runs_here,
    )
    for record in declared:
        if record.kind == LAYOUT:
            layout = Layout(_decode(record, _StoredLayers).layers)
            leftover.layouts[layout.layout_id] = layout
        elif record.kind == LOST:
            leftover.losses.append(_decode(record, StoredLoss))
    return leftover


class LeftoverFrames(FrameStore):
    """The frames of a leftover, for a sender. Nothing is added to them here."""

    def __init__(self, leftover: Leftover, on_sent: Callable[[int], None] = lambda frames: None) -> None:
        self.leftover = leftover
        self._on_sent = on_sent
        self._acknowledged: dict[str, int] = dict(leftover.attempt.acknowledged) if leftover.attempt else {}
        self._backlog = Backlog(leftover.attempt_id)
        self.refresh(leftover)
        for name, stream in self._backlog.streams.items():
            stream.acknowledged = min(self._acknowledged.get(name, 0), stream.end)

    @property
    def place(self) -> str:
        """Where the frames are."""
        return str(self.leftover.folder)

    @property
    def damaged(self) -> int:
        """Records that were found changed."""
        return self._backlog.damaged

    def refresh(self, leftover: Leftover) -> None:
        """Look again: the attempt may have made more meanwhile."""
        self.leftover = leftover
        self._backlog.layouts |= leftover.layouts
        for path in leftover.files:
            with contextlib.suppress(OSError, msgspec.MsgspecError):  # gone: sent by somebody else
                self._backlog.adopt(path)
        for loss in leftover.losses:
            if loss.monitor in self._backlog.streams:
                self._backlog.lose(loss.monitor, loss.lost)

    def add(self, monitor: str, frame: Frame, logged: LoggedValues | None) -> None:
        """No frame comes here."""

    def amend(self, monitor: str, step: int, logged: LoggedValues) -> bool:
        """It is too late."""
        return False

    def take(self, flush: bool, most: Mapping[str, int]) -> Parcel | None:
        """The oldest of what is to be sent."""
        return self._backlog.take(most)

    def due_in(self) -> float | None:
        """Nobody knows when there will be more."""
        return None

    def acknowledge(self, chunk: Parcel, next: int) -> None:
        """The service holds ``next`` frames of the chunk's stream."""
        self._backlog.acknowledge(chunk, next)
        self._on_sent(chunk.n)

    def rewind(self, monitor: str, next: int) -> bool:
        """The service holds only ``next`` frames; False when that changes nothing."""
        return self._backlog.rewind(monitor, next)

    def give_up(self, chunk: Parcel, reason: str) -> None:
        """Count a chunk's frames as lost."""
        self._backlog.lose(chunk.monitor, LostRange(chunk.first, chunk.n, reason))

    def counts(self) -> Mapping[str, Counts]:
        """How far each monitor's stream has come, as far as there is anything left of it."""
        counts = {name: Counts(acknowledged, 0, 0) for name, acknowledged in self._acknowledged.items()}
        for name, stream in self._backlog.streams.items():
            counts[name] = Counts(max(stream.end, stream.acknowledged), stream.waiting, stream.lost_frames)
        return counts

    def clear_away(self, *, all_told: bool) -> None:
        """Delete what the service holds: all of it once the attempt has ended and that was told."""
        if all_told and self.leftover.has_ended:
            remove_attempt(self.leftover.folder)
            return
        newest = self.leftover.files[-1:]  # its writer may still append to it
        for segment in self._backlog.done():
            if segment.path not in newest:
                self._backlog.drop(segment)
                segment.path.unlink(missing_ok=True)


def attempt_of(leftover: Leftover, *, live: bool) -> Attempt:
    """The attempt as it is declared for somebody else: one that ended without a word has failed."""
    stored = leftover.attempt
    body: dict[str, Any] = dict(stored.body) if stored is not None else {}
    monitors: dict[str, Any] = body.get("monitors", {})
    share = float(body.get("overhead", 0.0)) / max(len(monitors), 1)  # only the sum of all monitors was told
    state = str(body.get("state", "running"))
    if state not in ENDS and leftover.has_ended:
        state = "failed"
    return Attempt(
        attempt_id=leftover.attempt_id,
        rank=body.get("rank", 0),
        world_size=body.get("world_size", 1),
        launch=body.get("launch", leftover.attempt_id),
        host=body.get("host", "unknown"),
        pid=body.get("pid", 0),
        started_at=body.get("started_at", leftover.folder.stat().st_mtime),
        resumed_from_step=body.get("resumed_from_step"),
        interactive=body.get("interactive", False),
        live=live,
        state=state,
        last_step=body.get("last_step"),
        exception=body.get("exception"),
        monitors={
            name: WatchedFacts(
                facts["optimizer"],
                float(facts["norm_type"]),
                facts["clip_value"],
                math.inf if facts["max_norm"] is None else facts["max_norm"],
                overhead=share,
            )
            for name, facts in monitors.items()
        },
    )


def declaration_of(leftover: Leftover) -> RunDeclaration:
    """The run, as it declared itself."""
    return msgspec.convert({"run_id": leftover.run.run_id, **leftover.run.body}, RunDeclaration)


def checkpoints_of(leftover: Leftover) -> CheckpointOutbox:
    """What the service has yet to hear of checkpoints."""
    outbox = CheckpointOutbox(asks=False)
    words = leftover.attempt.checkpoints if leftover.attempt is not None else {}
    for saved in words.get("saved", ()):
        outbox.add(saved["path"], msgspec.convert(saved, Checkpoint))
    for path in words.get("deleted", ()):
        outbox.add(path, None)
    return outbox


def _read_attempt(path: Path) -> tuple[StoredAttempt | None, float]:
    try:
        seen_at = path.stat().st_mtime
        records = [record for record in read_file(path) if record.kind == ATTEMPT]
    except FileNotFoundError:
        return None, 0.0
    return (_decode(records[0], StoredAttempt) if records else None), seen_at


def _decode(record: Record, kind: type[Any]) -> Any:
    return msgspec.json.decode(record.payload, type=kind)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OSError):
        return True  # somebody's
    return True


def _now_on(root: Path) -> float | None:
    """The time by the clock that dates the files of a folder; None where there is no such folder."""
    probe = root / f".now-{secrets.token_hex(4)}"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.close(descriptor)
        now = probe.stat().st_mtime
        probe.unlink()
        return now
    except OSError:
        with contextlib.suppress(OSError):
            return max(root.stat().st_mtime, time.time())
    return None


def _listed(folder: Path) -> list[Path]:
    """What is in a folder; nothing where there is none, or none any more."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False
