"""A store on disk: what it keeps, what it gives up and counts, and what it does where the disk fails or hangs."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import threading

import numpy as np
import pytest
from client.building import ATTEMPT_ID, LAYOUT, attempt, declaration, frame, store
from client.test_sender import Told, stored_steps

from gradvitals import MemoryTransport
from gradvitals.frames import Layer, Layout
from gradvitals.pending import Counts
from gradvitals.route import FixedRoute, OfflineRoute
from gradvitals.sender import Sender
from gradvitals.spool import SEGMENT_BYTES, Spool
from gradvitals.spooled import SpooledFrames
from gradvitals.syncing import Syncing

WIDE = Layout(tuple(Layer(f"layer {number}", "linear", (1,), 1, "float32", 0, True) for number in range(50)))


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Spooling:
    """A sender and a store on disk whose threads are never started: a test does their rounds."""

    def __init__(self, root, transport=None, *, quota_bytes: int = 256 << 20) -> None:
        self.root, self.clock, self.told = root, Clock(), Told()
        memory = store()
        memory._clock = self.clock
        self.spool = Spool(root, declaration(), ATTEMPT_ID, quota_bytes=quota_bytes, clock=self.clock)
        self.frames = SpooledFrames(
            memory, self.spool, self.told, attempt_id=ATTEMPT_ID, sends=True, at_once=True, clock=self.clock
        )
        route = OfflineRoute() if transport is None else FixedRoute(transport)
        self.sender = Sender(declaration(), attempt(), self.frames, route, self.told, clock=self.clock)
        self.frames._describe = self.sender._describe
        memory.start(self.frames._due.set, self.sender._describe)
        self.made = 0

    def make(self, count: int, layout=LAYOUT) -> None:
        """Add frames, and wait until they are due."""
        for _ in range(count):
            made = frame(self.made, layout=layout)
            made.layer_norms = np.ones(len(layout.layers), np.float32)
            self.frames.add("main", made, None)
            self.made += 1
        self.clock.now += 0.5

    def end(self) -> None:
        """As a process leaves that cannot send."""
        self.sender._attempt.state = "finished"
        self.frames.begin_close()
        self.frames.settle(delivered=False)
        self.frames.round()


def synced(root) -> MemoryTransport:
    """A service after a sync."""
    transport = MemoryTransport()
    Syncing(root, FixedRoute(transport), lambda line: None).send_everything()
    return transport


def files(root) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


@pytest.fixture
def root(spool_folder):
    return spool_folder


class TestWhatIsKept:
    def test_frames_are_on_disk_once_they_are_due(self, root):
        spooling = Spooling(root)
        spooling.make(10)
        spooling.frames.round()
        assert files(root) == ["00000001.chunks", "attempt", "declarations"]
        spooling.end()
        assert stored_steps(synced(root)) == list(range(10))

    def test_whose_frames_they_are_is_on_disk_before_the_first_of_them(self, root, monkeypatch):
        spooling = Spooling(root)
        spooling.make(10)
        monkeypatch.setattr(spooling.spool, "append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            spooling.frames.round()
        assert files(root) == ["attempt", "declarations"]

    def test_the_training_thread_touches_no_disk(self, root, monkeypatch):
        spooling = Spooling(root)
        for name in ("open", "write", "fsync", "replace", "mkdir", "unlink", "stat"):
            monkeypatch.setattr(os, name, lambda *_, **__: pytest.fail("the disk was touched"))
        for step in range(2000):
            spooling.frames.add("main", frame(step), None)

    def test_what_the_service_has_is_deleted_and_so_is_the_folder_at_the_end(self, root):
        transport = MemoryTransport()
        spooling = Spooling(root, transport)
        spooling.make(10)
        spooling.frames.round()
        spooling.sender.try_round()
        spooling.sender.begin_close()
        spooling.sender.try_round()
        assert spooling.sender.is_delivered
        spooling.frames.settle(delivered=True)
        assert spooling.frames.round()
        assert list(root.iterdir()) == []
        assert stored_steps(transport) == list(range(10))

    def test_a_service_that_was_set_back_gets_what_is_not_deleted_yet(self, root):
        transport = MemoryTransport()
        spooling = Spooling(root, transport)
        for _ in range(2):
            spooling.make(10)
            spooling.frames.round()
            spooling.sender.try_round()
            transport.forget(keep=3)
        spooling.make(10)
        spooling.frames.round()
        spooling.sender.try_round()
        assert stored_steps(transport) == list(range(30))
        assert transport.lost() == []

    def test_what_is_older_than_a_second_is_synced_to_the_disk(self, root, monkeypatch):
        synced_files = []
        monkeypatch.setattr(os, "fsync", synced_files.append)
        spooling = Spooling(root)
        spooling.make(10)
        spooling.frames.round()
        assert synced_files == []
        assert spooling.frames.pause() <= 1.0
        spooling.clock.now += 1.0
        spooling.frames.round()
        assert synced_files != []

    def test_counts_add_up_in_memory_on_disk_and_at_the_service(self, root):
        spooling = Spooling(root, MemoryTransport())
        spooling.make(10)
        spooling.frames.round()
        spooling.sender.try_round()
        spooling.make(5)
        spooling.frames.round()
        spooling.frames.add("main", frame(15), None)
        assert spooling.frames.counts() == {"main": Counts(made=16, waiting=6, lost=0)}

    def test_a_non_finite_step_is_on_disk_without_waiting(self, root):
        spooling = Spooling(root)
        spooling.frames.round()
        spooling.frames._due.clear()
        spooling.frames.add("main", frame(0, global_norm=math.nan), None)
        assert spooling.frames._due.is_set()
        spooling.frames.round()
        spooling.end()
        assert stored_steps(synced(root)) == [0]


class TestQuota:
    """2,400 frames of 50 layers: 200 bytes of a frame are of its layers, some 60 are not."""

    def fill(self, root, monkeypatch, quota: int) -> Spooling:
        monkeypatch.setattr("gradvitals.spool.SEGMENT_BYTES", 40_000)
        spooling = Spooling(root, quota_bytes=quota)
        for _ in range(60):
            spooling.make(40, WIDE)
            spooling.frames.round()
        return spooling

    def test_layers_of_the_oldest_frames_go_first(self, root, monkeypatch):
        spooling = self.fill(root, monkeypatch, 400_000)
        size = sum(path.stat().st_size for path in root.rglob("*.chunks"))
        spooling.end()
        transport = synced(root)
        assert size <= 440_000
        assert stored_steps(transport) == list(range(2400))
        widths = [len(stored.layer_norms) for stored in transport.frames()]
        assert widths[0] == 0
        assert widths[-1] == 50
        assert widths == sorted(widths)
        assert sum("what there is of each layer is given up" in line for line in spooling.told.lines) == 1

    def test_then_the_oldest_frames_in_one_counted_gap(self, root, monkeypatch):
        spooling = self.fill(root, monkeypatch, 120_000)
        spooling.end()
        transport = synced(root)
        (gap,) = transport.lost()
        assert (gap.first, gap.reason) == (0, "quota")
        assert stored_steps(transport) == list(range(gap.n, 2400))
        assert spooling.frames.counts()["main"].lost == gap.n
        assert sum("the oldest frames are given up" in line for line in spooling.told.lines) == 1

    def test_files_end_at_4_mib(self):
        assert SEGMENT_BYTES == 4 << 20


@contextlib.contextmanager
def failing_disk(monkeypatch, number: int):
    """Nothing can be written."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        yield


class TestDisksThatFail:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ESTALE, errno.EIO])
    def test_frames_wait_in_memory_and_are_sent_and_one_warning_is_given(self, root, monkeypatch, number):
        transport = MemoryTransport()
        spooling = Spooling(root, transport)
        with failing_disk(monkeypatch, number):
            for _ in range(5):
                spooling.make(10)
                spooling.frames.round()
            assert spooling.frames.place is None
            spooling.sender.try_round()
        assert stored_steps(transport) == list(range(50))
        (line,) = [line for line in spooling.told.lines if "cannot be written" in line]
        assert os.strerror(number) in line

    def test_a_disk_that_has_room_again_is_used_again_and_nothing_is_lost(self, root, monkeypatch):
        spooling = Spooling(root)
        spooling.make(10)
        spooling.frames.round()
        with failing_disk(monkeypatch, errno.ENOSPC):
            spooling.make(10)
            spooling.frames.round()
        spooling.make(10)
        spooling.clock.now += 30
        spooling.frames.round()
        spooling.end()
        assert stored_steps(synced(root)) == list(range(30))

    def test_a_chunk_that_was_written_in_part_is_written_again_in_another_file(self, root, monkeypatch):
        spooling = Spooling(root)
        spooling.make(10)
        spooling.frames.round()
        spooling.make(10)
        write, left = os.write, [40]

        def fill_up(descriptor, data):
            if not left[0]:
                raise OSError(errno.ENOSPC, "full")
            written = write(descriptor, data[: left[0]])
            left[0] -= written
            return written

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fill_up)
            spooling.frames.round()
        spooling.clock.now += 30
        spooling.frames.round()
        spooling.end()
        transport = synced(root)
        assert stored_steps(transport) == list(range(20))
        assert transport.lost() == []

    def test_in_memory_no_more_than_10_000_frames_wait(self, root, monkeypatch):
        transport = MemoryTransport()
        spooling = Spooling(root, transport)
        with failing_disk(monkeypatch, errno.ENOSPC):
            for _ in range(60):
                spooling.make(200)
                spooling.frames.round()
        spooling.sender.try_round()
        (gap,) = transport.lost()
        assert stored_steps(transport) == list(range(gap.n, 12_000))
        assert 2_000 <= gap.n <= 2_200
        assert spooling.frames.counts()["main"] == Counts(made=12_000, waiting=0, lost=gap.n)

    def test_a_spool_that_is_a_file_is_told_and_harms_nothing(self, root):
        root.parent.mkdir(exist_ok=True)
        root.write_text("not a folder")
        transport = MemoryTransport()
        spooling = Spooling(root, transport)
        spooling.make(3)
        spooling.frames.round()
        spooling.sender.try_round()
        assert stored_steps(transport) == [0, 1, 2]

    def test_while_the_disk_hangs_frames_are_sent_and_leaving_is_not_held_up(self, root, monkeypatch):
        hangs, released = threading.Event(), threading.Event()
        transport, told = MemoryTransport(), Told()

        def hang(*_):
            hangs.set()
            released.wait(30)
            raise OSError(errno.EIO, "at last")

        monkeypatch.setattr("gradvitals.segments.SegmentFile._write", hang)
        monkeypatch.setattr("gradvitals.spooled.STUCK_SECONDS", 0.0)
        spool = Spool(root, declaration(), ATTEMPT_ID, quota_bytes=1 << 20)
        frames = SpooledFrames(store(), spool, told, attempt_id=ATTEMPT_ID, sends=True, at_once=True)
        sender = Sender(declaration(), attempt(), frames, FixedRoute(transport), told)
        sender.start()
        try:
            assert hangs.wait(10)
            for step in range(10):
                sender.submit("main", frame(step), None)
            assert sender.close(2)
            assert stored_steps(transport) == list(range(10))
        finally:
            released.set()
