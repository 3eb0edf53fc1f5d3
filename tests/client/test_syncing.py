"""What lies in the spool is sent by a command, by a relay and by the run's next process, each frame once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time

import pytest
from client.building import ATTEMPT_ID, RUN_ID, attempt, declaration
from client.fake_service import TOKEN, Scripted, running_service
from client.test_sender import Told, stored_steps
from client.test_spooled import Spooling

import gradvitals
from gradvitals import MemoryTransport, SendingStoppedError, ServiceUnavailableError
from gradvitals import syncing as syncing_module
from gradvitals.checkpoints import Checkpoint
from gradvitals.cli import main
from gradvitals.leftovers import LATE_SECONDS, SILENT_SECONDS, find_leftovers
from gradvitals.route import FixedRoute
from gradvitals.segments import SegmentFile
from gradvitals.spool import ATTEMPT_FILE, RUN
from gradvitals.syncing import Courier, NextProcess, Relay, Syncing


@pytest.fixture
def root(spool_folder):
    return spool_folder


def sync(root, transport: MemoryTransport) -> list[str]:
    lines: list[str] = []
    Syncing(root, FixedRoute(transport), lines.append).send_everything()
    return lines


def left_by_a_dead_process(root, steps: int = 20, **options) -> Spooling:
    """What a process leaves that ended without a word: here its id is of one that has ended."""
    spooling = Spooling(root, **options)
    spooling.make(steps)
    spooling.frames.round()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: ended.pid)
        spooling.clock.now += 10
        spooling.frames.round()
    return spooling


def written_elsewhere(root, monkeypatch, age_seconds: float, steps: int = 20) -> Spooling:
    """What a process on another host has in a shared folder, and when it last wrote."""
    spooling = Spooling(root)
    spooling.make(steps)
    with monkeypatch.context() as patch:
        patch.setattr("gradvitals.spool.this_host", lambda: "elsewhere")
        spooling.frames.round()
    for path in (root / RUN_ID / ATTEMPT_ID).iterdir():
        then = time.time() - age_seconds
        os.utime(path, (then, then))
    return spooling


class TestSync:
    def test_sends_every_frame_and_says_so_and_leaves_nothing(self, root):
        spooling = Spooling(root)
        spooling.make(20)
        spooling.end()
        transport = MemoryTransport()
        assert sync(root, transport) == [f"'a run' ({ATTEMPT_ID[-12:]}): 20 frames sent"]
        assert stored_steps(transport) == list(range(20))
        assert list(root.iterdir()) == []

    def test_is_marked_as_late_so_that_nobody_is_paged(self, root):
        spooling = Spooling(root)
        spooling.make(3)
        spooling.end()
        transport = MemoryTransport()
        sync(root, transport)
        body = transport.attempts[ATTEMPT_ID]
        assert (body["live"], body["state"], body["monitors"]["main"]["made"]) == (False, "finished", 3)

    def test_says_of_one_that_was_killed_that_it_failed(self, root):
        left_by_a_dead_process(root)
        transport = MemoryTransport()
        sync(root, transport)
        assert transport.attempts[ATTEMPT_ID]["state"] == "failed"
        assert transport.attempts[ATTEMPT_ID]["monitors"]["main"]["made"] == 20

    def test_declares_all_that_the_run_did(self, root):
        spooling = Spooling(root)
        spooling.make(1)
        spooling.end()
        transport = MemoryTransport()
        sync(root, transport)
        assert transport.runs == {RUN_ID: declaration().body()}
        ours = attempt().body({}, 0)
        theirs = transport.attempts[ATTEMPT_ID]
        assert {name for name in ours if ours[name] != theirs[name]} == {"live", "state", "monitors"}

    def test_tells_of_checkpoints(self, root):
        spooling = Spooling(root)
        spooling.sender.tell_checkpoint("/c/1.pt", Checkpoint("/c/1.pt", 1, {"main": 1}, 1790000000.0, True))
        spooling.make(1)
        spooling.end()
        transport = MemoryTransport()
        sync(root, transport)
        assert transport.checkpoints["/c/1.pt"]["step"] == 1

    def test_twice_or_after_an_answer_got_lost_stores_nothing_twice(self, root):
        spooling = Spooling(root)
        spooling.make(20)
        spooling.end()
        transport = MemoryTransport()
        transport.fail_next(ServiceUnavailableError("down", retry_after=0.0), request="chunk", after_storing=True)
        sync(root, transport)
        sync(root, transport)
        assert stored_steps(transport) == list(range(20))

    def test_keeps_what_is_refused_for_its_token(self, root):
        spooling = Spooling(root)
        spooling.make(20)
        spooling.end()
        transport = MemoryTransport()
        transport.fail_next(SendingStoppedError("401: the token is wrong"))
        (line,) = sync(root, transport)
        assert "0 frames sent, 20 kept: 401: the token is wrong" in line
        sync(root, transport)
        assert stored_steps(transport) == list(range(20))

    def test_leaves_alone_what_a_running_process_sends_itself(self, root):
        spooling = Spooling(root)
        spooling.make(20)
        spooling.frames.round()
        transport = MemoryTransport()
        (line,) = sync(root, transport)
        assert "left alone" in line
        assert transport.requests == []

    def test_takes_what_is_there_of_an_offline_run_that_goes_on(self, root):
        spooling = Spooling(root)
        spooling.frames._sends = False
        spooling.make(20)
        spooling.frames.round()
        transport = MemoryTransport()
        (line,) = sync(root, transport)
        assert "it still runs" in line
        assert transport.attempts[ATTEMPT_ID]["state"] == "running"
        spooling.make(10)
        spooling.end()
        sync(root, transport)
        assert stored_steps(transport) == list(range(30))
        assert list(root.iterdir()) == []

    def test_says_that_a_record_was_damaged_and_sends_the_others(self, root):
        spooling = Spooling(root)
        for _ in range(3):
            spooling.make(10)
            spooling.frames.round()
        spooling.end()
        (path,) = root.rglob("*.chunks")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        transport = MemoryTransport()
        (line,) = sync(root, transport)
        assert "1 damaged record passed over" in line
        assert stored_steps(transport) == [*range(10), *range(20, 30)]
        assert [(gap.first, gap.n, gap.reason) for gap in transport.lost()] == [(10, 10, "damaged")]


class TestWhoLives:
    def one(self, root):
        (leftover,) = find_leftovers(root)
        return leftover

    def test_a_process_of_this_host_by_its_id(self, root):
        spooling = Spooling(root)
        spooling.frames.round()
        assert self.one(root).is_alive
        assert not self.one(root).has_ended

    def test_one_that_has_ended_by_that_too(self, root):
        left_by_a_dead_process(root)
        assert (self.one(root).is_alive, self.one(root).has_ended) == (False, True)

    @pytest.mark.parametrize(
        ("age", "is_alive", "has_ended"),
        [(0, True, False), (SILENT_SECONDS + 5, False, False), (LATE_SECONDS + 5, False, True)],
    )
    def test_one_of_another_host_by_when_it_last_wrote(self, root, monkeypatch, age, is_alive, has_ended):
        written_elsewhere(root, monkeypatch, age)
        assert (self.one(root).is_alive, self.one(root).has_ended) == (is_alive, has_ended)

    def test_folders_that_are_no_runs_are_passed_over(self, root):
        (root / "notes").mkdir(parents=True)
        (root / RUN_ID / ATTEMPT_ID).mkdir(parents=True)
        (root / RUN_ID / "notes").mkdir()
        assert list(find_leftovers(root)) == []


class TestRelay:
    def test_follows_a_live_run_and_tells_it_as_live(self, root, monkeypatch):
        spooling = written_elsewhere(root, monkeypatch, 0)
        transport, lines = MemoryTransport(), []
        relay = Relay(root, FixedRoute(transport), lines.append)
        relay.look(0.0)
        assert stored_steps(transport) == list(range(20))
        assert transport.attempts[ATTEMPT_ID]["live"] is True
        spooling.make(10)
        spooling.frames.round()
        relay.look(1.0)
        assert stored_steps(transport) == list(range(30))
        assert transport.attempts[ATTEMPT_ID]["state"] == "running"
        spooling.end()
        relay.look(2.0)
        assert transport.attempts[ATTEMPT_ID]["state"] == "finished"
        assert list(root.iterdir()) == []
        assert len(lines) == 2

    def test_pages_nobody_for_what_is_old(self, root, monkeypatch):
        written_elsewhere(root, monkeypatch, LATE_SECONDS + 5)
        transport = MemoryTransport()
        Relay(root, FixedRoute(transport), lambda line: None).look(0.0)
        assert transport.attempts[ATTEMPT_ID]["live"] is False

    def test_says_nothing_for_a_run_that_is_silent(self, root, monkeypatch):
        written_elsewhere(root, monkeypatch, SILENT_SECONDS + 5)
        transport = MemoryTransport()
        relay = Relay(root, FixedRoute(transport), lambda line: None)
        relay.look(0.0)
        requests = len(transport.requests)
        relay.look(100.0)
        assert len(transport.requests) == requests

    def test_waits_and_tells_once_where_the_service_is_away(self, root, monkeypatch):
        written_elsewhere(root, monkeypatch, 0)
        transport, lines = MemoryTransport(), []
        transport.go_away()
        relay = Relay(root, FixedRoute(transport), lines.append)
        for second in range(5):
            relay.look(float(second))
        assert sum("away" in line for line in lines) == 1
        transport.come_back()
        relay.look(100.0)
        assert stored_steps(transport) == list(range(20))

    def test_the_writer_takes_files_that_the_relay_deleted_for_sent(self, root, monkeypatch):
        monkeypatch.setattr("gradvitals.spool.SEGMENT_BYTES", 2_000)
        spooling = Spooling(root, quota_bytes=20_000)
        transport = MemoryTransport()
        relay = Relay(root, FixedRoute(transport), lambda line: None)
        for second in range(20):
            spooling.make(40)
            spooling.frames.round()
            relay.look(float(second))
        spooling.end()
        relay.look(30.0)
        assert stored_steps(transport) == list(range(800))
        assert transport.lost() == []
        assert spooling.frames.counts()["main"].lost == 0


class TestTheNextProcess:
    def next(self, root, transport, told) -> NextProcess:
        return NextProcess(root, RUN_ID, "another", lambda: FixedRoute(transport), told, threading.Event())

    def test_sends_what_a_dead_one_left(self, root):
        left_by_a_dead_process(root)
        transport, told = MemoryTransport(), Told()
        self.next(root, transport, told).look()
        assert stored_steps(transport) == list(range(20))
        assert told.lines == ["sent 20 frames that an earlier process of this run had left"]
        assert list(root.iterdir()) == []

    def test_warns_loudly_of_another_that_lives_and_sends_nothing_for_it(self, root):
        spooling = Spooling(root)
        spooling.make(3)
        spooling.frames.round()
        transport, told = MemoryTransport(), Told()
        process = self.next(root, transport, told)
        process.look()
        process.look()
        (line,) = told.lines
        assert line.startswith("WARNING: another process 1 on here trains the same run as the same rank")
        assert transport.requests == []

    def test_a_fault_in_it_is_one_line_and_ends_it(self, root, monkeypatch):
        left_by_a_dead_process(root)
        told = Told()
        process = self.next(root, MemoryTransport(), told)
        monkeypatch.setattr(syncing_module, "find_leftovers", lambda *_: 1 / 0)
        process._work()
        (line,) = told.lines
        assert "what an earlier process left is not sent" in line

    def test_it_is_part_of_every_run(self, root, monkeypatch):
        left_by_a_dead_process(root)
        with running_service() as service:
            monkeypatch.setenv("GRADVITALS_TOKEN", TOKEN)
            with gradvitals.init(url=service.url, run_id=RUN_ID):
                assert service.store.wait_for_frames(20)
        assert stored_steps(service.store) == list(range(20))


class TestCommands:
    @pytest.fixture(autouse=True)
    def _own_environment(self, monkeypatch, tmp_path):
        for name in ("GRADVITALS_URL", "GRADVITALS_MODE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("GRADVITALS_STATE_DIR", str(tmp_path))
        monkeypatch.setenv("GRADVITALS_TOKEN", TOKEN)

    def test_status_says_what_is_there(self, root, capsys):
        left_by_a_dead_process(root)
        assert main(["status"]) == 0
        said = capsys.readouterr().out
        assert "'a run'" in said
        assert "20 frames to send" in said
        assert "ended without a word" in said

    def test_status_of_an_empty_spool(self, root, capsys):
        assert main(["status"]) == 0
        assert capsys.readouterr().out == f"{root}: nothing is spooled\n"

    def test_status_of_what_is_no_folder(self, root, capsys):
        root.write_text("")
        assert main(["status"]) == 1
        assert "is no folder that can be read" in capsys.readouterr().out

    def test_status_what_names_all_that_is_sent_and_never_is(self, capsys):
        assert main(["status", "--what"]) == 0
        said = capsys.readouterr().out
        assert "Never sent: weights, gradients, data, code" in said

    def test_sync_sends_and_says_how_much_and_where(self, root, capsys):
        left_by_a_dead_process(root)
        with running_service() as service:
            assert main(["sync", "--url", service.url]) == 0
            said = capsys.readouterr().out
            assert f"{service.url}/runs/{RUN_ID}" in said
            assert f"20 frames of 1 attempt sent to {service.url}" in said
            assert main(["sync", "--url", service.url]) == 0
        assert "nothing to send" in capsys.readouterr().out

    def test_sync_that_cannot_send_keeps_it_and_exits_with_1(self, root, capsys, monkeypatch):
        monkeypatch.setattr("gradvitals.syncing.PATIENCE_SECONDS", 0.0)
        left_by_a_dead_process(root)
        with running_service() as service:
            service.always = Scripted(503)
            assert main(["sync", "--url", service.url]) == 1
        assert "1 attempt kept for the next sync" in capsys.readouterr().out
        assert len(list(find_leftovers(root))) == 1

    def test_sync_without_a_service_says_what_to_set(self, root, capsys):
        assert main(["sync"]) == 1
        assert "Set GRADVITALS_URL" in capsys.readouterr().out

    def test_sync_cannot_watch_what_is_no_folder(self, tmp_path, capsys):
        assert main(["sync", "--watch", str(tmp_path / "nowhere")]) == 1
        assert "is no folder" in capsys.readouterr().out

    def test_check_tells_of_a_spool_that_cannot_be_written(self, root, capsys):
        root.write_text("not a folder")
        with running_service() as service:
            assert main(["check", "--url", service.url]) == 1
        assert "set GRADVITALS_SPOOL_DIR to a folder that can" in capsys.readouterr().out

    @pytest.mark.parametrize("command", [["status"], ["sync"], ["check"]])
    def test_no_command_needs_torch(self, tmp_path, root, command):
        (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
        left_by_a_dead_process(root)
        with running_service() as service:
            result = subprocess.run(
                [sys.executable, "-m", "gradvitals.cli", *command],
                env={**os.environ, "GRADVITALS_URL": service.url},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
            )
        assert result.returncode == 0, result.stderr

    def test_the_attempt_file_holds_no_token(self, root):
        left_by_a_dead_process(root)
        written = (root / RUN_ID / ATTEMPT_ID / ATTEMPT_FILE).read_bytes()
        assert TOKEN.encode() not in written
        assert json.loads(written[written.index(b"{") :])["attempt_id"] == ATTEMPT_ID


def test_frames_of_a_run_that_is_offline_arrive_with_a_sync(root, monkeypatch):
    with gradvitals.init(mode="offline", name="offline") as run:
        observer = run.observer(max_norm=1.0)
        for _ in range(50):
            observer.observe(2.0)
    transport = MemoryTransport()
    sync(root, transport)
    assert stored_steps(transport) == list(range(50))
    assert [body["name"] for body in transport.runs.values()] == ["offline"]


class TestStrangeFolders:
    def test_one_that_cannot_be_understood_holds_up_none_of_the_others(self, root):
        spooling = Spooling(root)
        spooling.make(20)
        spooling.end()
        strange = root / RUN_ID / "0199a3c2-7d10-7abc-8def-000000000001"
        strange.mkdir()
        file = SegmentFile(strange / "declarations")
        file.append(RUN, b'{"run_id": "x", "body": {"name": "\\u001b[2J"}}')
        file.close()
        transport = MemoryTransport()
        lines = sync(root, transport)
        assert stored_steps(transport) == list(range(20))
        assert sum("cannot be sent" in line for line in lines) == 1
        assert not any("\x1b" in line for line in lines)

    def test_folders_and_files_are_their_owners_only(self, root):
        spooling = Spooling(root)
        spooling.make(1)
        spooling.end()
        for path in [root, *root.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)

    def test_a_next_process_that_ends_stops_trying(self, root):
        left_by_a_dead_process(root)
        transport, told, ends = MemoryTransport(), Told(), threading.Event()
        transport.go_away()
        ends.set()
        courier = Courier(next(find_leftovers(root)), FixedRoute(transport), told, live=False)
        assert not courier.send_all(60.0, ends.wait)
        assert transport.requests == ["run"]
