"""An hour without a service, processes that are killed, clocks that jump: every frame arrives once, or is counted.

Simulated time: the clocks of sender, store and spool are a test's, and their rounds are done when they are due.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from client.building import frame
from client.fake_service import TOKEN, Scripted, running_service
from client.test_sender import stored_steps
from client.test_spooled import Spooling, synced

import gradvitals
from gradvitals import MemoryTransport, ServiceUnavailableError
from gradvitals.transport import Answer, refusal

HOUR_SECONDS = 3600
STEPS_A_SECOND = 10
PAGE = b"<html>Log in to the hotel's network</html>"
JSON_ERROR = b'{"error": "some_error", "detail": "no"}'


class Answering(MemoryTransport):
    """A service that gives one answer to everything, until it is well again."""

    def __init__(self, answer: Answer | None) -> None:
        super().__init__()
        self.answer = answer
        self.asked = 0

    def _answer_wrongly(self) -> None:
        self.asked += 1
        if self.answer is None:
            raise ServiceUnavailableError("it hangs")
        if self.answer.status == 200:  # a page: see test_transport.py for what makes this of it
            raise ServiceUnavailableError("what answers is not a gradvitals service")
        raise refusal("http://here", self.answer)

    def declare_run(self, run_id, body):
        if self.answer is not WELL:
            self._answer_wrongly()
        return super().declare_run(run_id, body)

    def declare_attempt(self, run_id, attempt_id, body):
        if self.answer is not WELL:
            self._answer_wrongly()
        return super().declare_attempt(run_id, attempt_id, body)

    def declare_layout(self, run_id, layout_id, body):
        if self.answer is not WELL:
            self._answer_wrongly()
        return super().declare_layout(run_id, layout_id, body)

    def send_chunk(self, run_id, body):
        if self.answer is not WELL:
            self._answer_wrongly()
        return super().send_chunk(run_id, body)


WELL = Answer(0, {}, b"")
TROUBLES = {
    "it is absent or hangs": None,
    "400 of a proxy": Answer(400, {}, PAGE),
    "404 of a proxy": Answer(404, {}, PAGE),
    "409 without a count": Answer(409, {}, b"{}"),
    "429": Answer(429, {}, JSON_ERROR),
    "429 with seconds": Answer(429, {"Retry-After": "30"}, JSON_ERROR),
    "429 with an absurd time": Answer(429, {"Retry-After": "1000000000"}, JSON_ERROR),
    "500": Answer(500, {}, JSON_ERROR),
    "502": Answer(502, {}, PAGE),
    "503": Answer(503, {"Retry-After": "5"}, JSON_ERROR),
    "503 with nonsense": Answer(503, {"Retry-After": "soon"}, JSON_ERROR),
    "504": Answer(504, {}, PAGE),
    "200 with a page": Answer(200, {}, PAGE),
}


class Hour:
    """A training of ten steps a second, and what its threads do meanwhile, in simulated time."""

    def __init__(self, root, transport) -> None:
        self.spooling = Spooling(root, transport)
        self.clock = self.spooling.clock
        self._sender_at = self._spool_at = self.clock.now
        self.spooling.frames._wake_sender = self._wake
        self._woken = False
        self.added_ns: list[int] = []  # what each step cost the training thread

    def _wake(self) -> None:
        self._woken = True

    def pass_by(self, seconds: float, *, steps: bool = True) -> None:
        spooling = self.spooling
        for _ in range(round(seconds * STEPS_A_SECOND)):
            if steps:
                made = frame(spooling.made)
                before = time.perf_counter_ns()
                spooling.frames.add("main", made, None)
                self.added_ns.append(time.perf_counter_ns() - before)
                spooling.made += 1
            self.clock.now += 1 / STEPS_A_SECOND
            if self.clock.now >= self._spool_at or spooling.frames._due.is_set():
                spooling.frames._due.clear()
                spooling.frames.round()
                self._spool_at = self.clock.now + spooling.frames.pause()
            if self.clock.now >= self._sender_at or (self._woken and not spooling.sender._failures):
                self._woken = False
                self._sender_at = self.clock.now + spooling.sender.try_round()


def resident_bytes() -> int:
    """The memory that this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="asks Linux how much memory there is")
class TestAnHourOfTrouble:
    @pytest.fixture(autouse=True)
    def _real_time_costs_nothing(self, monkeypatch):
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # 3,600 times an hour

    def test_without_a_service_every_frame_arrives_once_and_memory_does_not_grow(self, spool_folder):
        self.live_through(None, HOUR_SECONDS, spool_folder)

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_two_minutes_of_any_other_answer(self, trouble, spool_folder):
        self.live_through(TROUBLES[trouble], 120, spool_folder)

    @pytest.mark.soak
    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_an_hour_of_any_answer(self, trouble, spool_folder):
        self.live_through(TROUBLES[trouble], HOUR_SECONDS, spool_folder)

    def live_through(self, trouble: Answer | None, seconds: int, spool_folder) -> None:
        transport = Answering(WELL)
        hour = Hour(spool_folder, transport)
        hour.pass_by(10)
        usual_ns = statistics.median(hour.added_ns)
        hour.added_ns.clear()
        transport.answer = trouble
        before = resident_bytes()
        hour.pass_by(seconds)
        assert resident_bytes() - before < 16 << 20
        assert statistics.median(hour.added_ns) < 2 * usual_ns  # nothing that grows with what waits
        assert transport.asked <= 10 + seconds / 5  # not without pause
        transport.answer = WELL
        hour.pass_by(60)
        assert hour.spooling.made - len(transport.frames()) <= 2 * STEPS_A_SECOND
        hour.spooling.sender.begin_close()
        hour.spooling.sender.try_round()
        assert hour.spooling.sender.is_delivered
        assert stored_steps(transport) == list(range(hour.spooling.made))
        assert transport.lost() == []

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_wrong_token_stops_the_sending_and_not_the_keeping_with_one_warning(self, status, spool_folder):
        transport = Answering(Answer(status, {}, JSON_ERROR))
        hour = Hour(spool_folder, transport)
        hour.pass_by(300)
        assert transport.asked == 1
        assert sum("nothing more is sent" in line for line in hour.spooling.told.lines) == 1
        hour.spooling.end()
        assert stored_steps(synced(spool_folder)) == list(range(3000))

    def test_another_version_of_the_wire_is_named_with_what_to_install_and_frames_are_kept(self, spool_folder):
        body = b'{"error": "unsupported", "detail": "v", "wire_versions": [2, 3]}'
        hour = Hour(spool_folder, Answering(Answer(415, {}, body)))
        hour.pass_by(60)
        (line,) = [line for line in hour.spooling.told.lines if "wire version" in line]
        assert "install a newer gradvitals here" in line
        hour.spooling.end()
        assert stored_steps(synced(spool_folder)) == list(range(600))


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_jumps_by_an_hour_changes_no_order_and_loses_nothing(jump, spool_folder, monkeypatch):
    transport, now = Answering(WELL), [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    hour = Hour(spool_folder, transport)
    for _ in range(4):
        hour.pass_by(10)
        now[0] += jump
    hour.spooling.sender.begin_close()
    hour.spooling.sender.try_round()
    assert stored_steps(transport) == list(range(400))


WRITER = """
import sys, time
import gradvitals
run = gradvitals.init(mode="offline", name="killed")
observer = run.observer(max_norm=1.0)
print("ready", flush=True)
step = 0
while True:
    observer.observe(1.0)
    step += 1
    if step % 20 == 0:
        print(step, time.monotonic(), flush=True)
    time.sleep(0.0005)
"""


def kill_a_writer(root, after_seconds: float) -> None:
    """All that a process had made a second before its death is read, and nothing else."""
    environment = {**os.environ, "GRADVITALS_SPOOL_DIR": str(root), "GRADVITALS_QUIET": "1"}
    writer = subprocess.Popen([sys.executable, "-c", WRITER], env=environment, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "ready\n"
    while not any(root.rglob("*.chunks")):  # a busy machine may take a while to come to it
        time.sleep(0.001)
    time.sleep(after_seconds)  # a moment that the writer did not choose
    killed_at = time.monotonic()
    writer.send_signal(signal.SIGKILL)
    said = [line.split() for line in writer.stdout.read().splitlines() if line.count(" ") == 1]
    writer.wait()
    writer.stdout.close()
    due = [int(step) for step, at in said if float(at) < killed_at - 1.0]
    transport = synced(root)
    steps = stored_steps(transport)
    assert steps == list(range(len(steps)))
    assert len(steps) >= max(due, default=0)
    assert transport.lost() == []
    assert [body["state"] for body in transport.attempts.values()] == ["failed"]
    assert list(root.iterdir()) == []


class TestKilledWriters:
    def kill(self, root, times: int) -> None:
        chance = random.Random(times)
        with ThreadPoolExecutor(3) as several:
            moments = [(root / str(number), chance.uniform(0.0, 1.9)) for number in range(times)]
            list(several.map(kill_a_writer, *zip(*moments, strict=True)))

    @pytest.mark.timeout(400)
    def test_all_but_the_last_second_arrives_20_times(self, spool_folder):
        self.kill(spool_folder, 20)

    @pytest.mark.soak
    @pytest.mark.timeout(3600)
    def test_all_but_the_last_second_arrives_200_times(self, spool_folder):
        self.kill(spool_folder, 200)


def test_a_spool_cut_at_every_byte_is_sent_up_to_the_cut(spool_folder):
    spooling = Spooling(spool_folder)
    for _ in range(3):
        spooling.make(3)
        spooling.frames.round()
    spooling.end()
    (path,) = spool_folder.rglob("*.chunks")
    whole, declared = path.read_bytes(), (path.parent / "declarations").read_bytes()
    ended = (path.parent / "attempt").read_bytes()
    for length in range(len(whole) + 1):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole[:length])
        (path.parent / "declarations").write_bytes(declared)
        (path.parent / "attempt").write_bytes(ended)
        transport = synced(spool_folder)
        steps = stored_steps(transport)
        assert steps == list(range(len(steps)))
        assert len(steps) in (0, 3, 6, 9)
    assert len(steps) == 9


ENDING = """
import os, signal, sys, threading, time
import gradvitals
def begin(mode=None):
    run = gradvitals.init(name="ending", mode=mode)
    observer = run.observer(max_norm=1.0)
    for _ in range(300):
        observer.observe(1.0)
    return run, observer
"""


class TestEnds:
    """Real processes: they leave within 5 s whatever the service does, and what was not sent is kept."""

    def run(self, code: str, root, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", ENDING + code],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "GRADVITALS_SPOOL_DIR": str(root), "GRADVITALS_STATE_DIR": str(root), **environment},
        )

    @pytest.mark.parametrize(
        "code",
        [
            "run, _ = begin('offline')",
            "run, _ = begin('offline'); sys.exit(3)",
            "run, _ = begin('offline'); raise ValueError",
            "run, _ = begin('offline'); time.sleep(1); os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)",
            "run, _ = begin('offline'); time.sleep(1); os.kill(os.getpid(), signal.SIGINT); time.sleep(30)",
            "run, _ = begin('offline'); time.sleep(1); os._exit(0)",
            "run, _ = begin('offline'); threading.Thread(target=time.sleep, args=(1,)).start()",
        ],
        ids=["the end of the script", "sys.exit", "an exception", "SIGTERM", "SIGINT", "os._exit", "another thread"],
    )
    def test_no_frame_is_lost_by(self, code, spool_folder):
        started = time.monotonic()
        self.run(code, spool_folder)
        assert time.monotonic() - started < 12
        assert stored_steps(synced(spool_folder)) == list(range(300))

    def test_a_service_that_hangs_holds_up_the_end_for_5_seconds_and_the_frames_are_kept(self, spool_folder):
        with running_service() as service:
            service.hanging.set()
            code = "run, _ = begin(); print(time.monotonic(), flush=True)"
            result = self.run(code, spool_folder, GRADVITALS_URL=service.url, GRADVITALS_TOKEN=TOKEN)
            ended = time.monotonic()
        assert result.returncode == 0, result.stderr
        assert ended - float(result.stdout) < 7  # with a second or two for the interpreter
        assert "`gradvitals sync`" in result.stderr
        assert stored_steps(synced(spool_folder)) == list(range(300))

    def test_a_forked_child_sends_nothing_and_writes_nothing_into_its_parents_spool(self, spool_folder):
        code = """
run, observer = begin("offline")
child = os.fork()
if child == 0:
    for _ in range(500):
        observer.observe(2.0)
    time.sleep(0.6)
    run.finish()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
observer.observe(1.0)
"""
        result = self.run(code, spool_folder)
        assert result.returncode == 0, result.stderr
        transport = synced(spool_folder)
        assert stored_steps(transport) == list(range(301))
        assert {stored.global_norm for stored in transport.frames()} == {1.0}

    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_workers_of_multiprocessing_write_nothing(self, method, spool_folder, tmp_path):
        script = tmp_path / "script.py"
        script.write_text(
            ENDING
            + f"""
import multiprocessing
def work(number):
    return number * 2
if __name__ == "__main__":
    run, observer = begin("offline")
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        assert pool.map(work, range(4)) == [0, 2, 4, 6]
    observer.observe(1.0)
"""
        )
        environment = {**os.environ, "GRADVITALS_SPOOL_DIR": str(spool_folder)}
        result = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, result.stderr
        assert stored_steps(synced(spool_folder)) == list(range(301))

    def test_a_limit_on_the_size_of_files_is_a_full_disk(self, spool_folder):
        code = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY))
run, observer = begin("offline")
time.sleep(0.6)
for _ in range(300):
    observer.observe(1.0)
"""
        result = self.run(code, spool_folder)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("cannot be written") == 1


def test_a_page_as_an_answer_is_no_acknowledgement_and_the_frames_stay_on_disk(spool_folder, monkeypatch):
    monkeypatch.setenv("GRADVITALS_TOKEN", TOKEN)
    monkeypatch.setattr("gradvitals.run.FINISH_SECONDS", 1.0)
    with running_service() as service:
        service.always = Scripted(200, PAGE, content_type="text/html")
        with gradvitals.init(url=service.url) as run:
            observer = run.observer(max_norm=1.0)
            for _ in range(20):
                observer.observe(1.0)
        service.always = None
        run._sender.close(10)  # what was not delivered goes on as long as the process lives
        assert stored_steps(service.store) == list(range(20))
    assert not [path for path in spool_folder.rglob("*") if path.is_file()]
