"""The folder in which one attempt leaves what it declares and measures, until its service has it.

    <spool>/<run_id>/<attempt_id>/
        declarations        the run, the layouts and what was given up; appended to
        attempt             how the attempt is; replaced every few seconds, so that its time tells that the writer lives
        00000001.chunks     encoded chunks; appended to, 4 MiB at most; deleted once the service has them

One process writes an attempt's folder and needs no lock: no other file system feature than append, rename and delete is
used, which NFS and Lustre have. Anybody may read it meanwhile. What was appended survives the end of the process, also
by SIGKILL; what is older than a second survives a power cut. Files have mode 0600, folders 0700.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from gradvitals.backlog import CHUNK, Entry, Segment
from gradvitals.declarations import RunDeclaration
from gradvitals.frames import Layout, LostRange, without_layers
from gradvitals.segments import SegmentFile, read_file, replace_file

RUN, LAYOUT, LOST, ATTEMPT = 2, 3, 4, 5  # kinds of records beside CHUNK
DECLARATIONS_FILE, ATTEMPT_FILE, CHUNKS = "declarations", "attempt", ".chunks"
SEGMENT_BYTES = 4 << 20
SYNC_SECONDS = 1.0


class StoredRun(msgspec.Struct, frozen=True):
    """A run's declaration."""

    run_id: str
    body: dict[str, Any]  # as the service is told


class StoredLoss(msgspec.Struct, frozen=True):
    """Frames of a monitor that were given up."""

    monitor: str
    lost: LostRange


class StoredAttempt(msgspec.Struct, frozen=True):
    """How an attempt was when it last said so."""

    run_id: str
    attempt_id: str
    host: str  # with what tells processes apart there: see ``this_host``
    pid: int
    sends: bool  # its own process does, or tries to
    body: dict[str, Any]  # as the service is told
    acknowledged: dict[str, int]  # frames that the service holds, by monitor
    checkpoints: dict[str, Any]  # what the service has yet to hear


class Spool:
    """Writes one attempt's folder. Every method may raise OSError; ``interrupt`` then makes ready for another try."""

    def __init__(
        self,
        root: Path,
        run: RunDeclaration,
        attempt_id: str,
        *,
        quota_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = root
        self.folder = root / run.run_id / attempt_id
        self._run = run
        self.quota_bytes = quota_bytes  # how much may lie in the files of chunks
        self._clock = clock
        self._declarations: SegmentFile | None = None
        self._layouts: dict[str, Layout] = {}
        self._file: SegmentFile | None = None
        self._segment: Segment | None = None
        self._numbers = 0
        self._unsynced_since: float | None = None

    def open(self) -> None:
        """Make the folder and declare the run, unless that was done."""
        if self._declarations is None:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.folder.parent, self.folder):  # parents that mkdir makes have another mode
                folder.mkdir(exist_ok=True, mode=0o700)
            # One that an error cut short is begun anew: what it declared is known here.
            path = self.folder / f"{DECLARATIONS_FILE}.new"
            path.unlink(missing_ok=True)
            declarations = SegmentFile(path)
            try:
                declarations.append(RUN, msgspec.json.encode(StoredRun(self._run.run_id, self._run.body())))
                for layout in self._layouts.values():
                    declarations.append(LAYOUT, _encode_layout(layout))
                os.replace(path, self.folder / DECLARATIONS_FILE)
            except OSError:
                declarations.close()
                raise
            self._declarations = declarations

    def declare_layout(self, layout: Layout) -> None:
        """Declare a layout before the first chunk that has it."""
        if layout.layout_id not in self._layouts:
            self._declare(LAYOUT, _encode_layout(layout))
            self._layouts[layout.layout_id] = layout

    def note_lost(self, monitor: str, lost: LostRange) -> None:
        """Keep why frames are not here."""
        self._declare(LOST, msgspec.json.encode(StoredLoss(monitor, lost)))

    def append(self, entry: Entry, layout: Layout) -> tuple[Segment, int]:
        """Add a chunk to the newest file, or to a new one; the file, and where in it the chunk begins."""
        self.open()
        self.declare_layout(layout)
        if self._file is None or self._segment is None:
            self._numbers += 1
            path = self.folder / f"{self._numbers:08}{CHUNKS}"
            self._file, self._segment = SegmentFile(path), Segment(path)
        offset = self._file.append(CHUNK, entry.body or b"")
        if self._unsynced_since is None:
            self._unsynced_since = self._clock()
        return self._segment, offset

    def seal_if_full(self) -> Segment | None:
        """End the newest file where it is large enough; that file."""
        if self._file is None or self._file.size < SEGMENT_BYTES:
            return None
        self.sync()
        self._file.close()
        sealed, self._file, self._segment = self._segment, None, None
        return sealed

    def sync_in(self) -> float | None:
        """Seconds until what was appended must be on the disk itself; None where it is."""
        if self._unsynced_since is None:
            return None
        return max(self._unsynced_since + SYNC_SECONDS - self._clock(), 0.0)

    def sync(self) -> None:
        """Wait until the disk has all that was appended."""
        if self._unsynced_since is not None:
            if self._declarations is not None:
                self._declarations.sync()
            if self._file is not None:
                self._file.sync()
            self._unsynced_since = None

    def write_attempt(self, attempt: StoredAttempt, *, sync: bool) -> None:
        """Say how the attempt is."""
        self.open()
        replace_file(self.folder / ATTEMPT_FILE, ATTEMPT, msgspec.json.encode(attempt), sync=sync)

    def is_written_to(self, segment: Segment) -> bool:
        """Whether chunks may still be added to a file."""
        return segment is self._segment

    def thin(self, segment: Segment) -> tuple[Path, int]:
        """Write what is in a file anew without the layers, beside it; the new file and its size."""
        path = segment.path.with_suffix(f".thin{CHUNKS}")
        new = segment.path.with_suffix(".new")
        new.unlink(missing_ok=True)
        file = SegmentFile(new)
        try:
            for record in read_file(segment.path):
                if record.kind == CHUNK:
                    file.append(CHUNK, without_layers(record.payload))
            file.sync()
        finally:
            file.close()
        os.replace(new, path)
        return path, file.size

    def interrupt(self) -> None:
        """After an error: end the files that are open, in which the whole records stay. The next try begins others."""
        for file in (self._file, self._declarations):
            if file is not None:
                with suppress(OSError):
                    file.close()
        self._file = self._segment = self._declarations = self._unsynced_since = None

    def remove(self) -> None:
        """The service has everything: leave nothing behind."""
        self.interrupt()
        remove_attempt(self.folder)

    def _declare(self, kind: int, payload: bytes) -> None:
        self.open()
        if self._declarations is not None:
            self._declarations.append(kind, payload)


def _encode_layout(layout: Layout) -> bytes:
    return msgspec.json.encode(layout.to_json())


def remove_attempt(folder: Path) -> None:
    """Delete an attempt's folder, and its run's when that was the last one."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.parent.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise


def this_host() -> str:
    """Where a process's id means that process: the host, and on Linux the namespace of its ids."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}".strip()


def as_attempt(described: Mapping[str, Any], acknowledged: Mapping[str, int], *, sends: bool) -> StoredAttempt:
    """What is written of an attempt, as the sender describes it."""
    return StoredAttempt(host=this_host(), pid=os.getpid(), sends=sends, acknowledged=dict(acknowledged), **described)
