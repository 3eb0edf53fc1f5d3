"""The service is killed again and again while clients send: what was acknowledged is there, once."""

import http.client
import os
import random
import sqlite3
import threading
import time
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from service.speaking import CHUNK_TYPE, LAYERS, chunk, layout_id
from service_process import ServiceProcess

MOST_FRAMES = 40
ACKNOWLEDGEMENTS_BETWEEN_KILLS = 60
RESTART_SECONDS = 5.0
SOAK_KILLS = int(os.environ.get("GRADVITALS_SOAK_KILLS", "1000"))


class Acknowledgements:
    """How many chunks were acknowledged, for whoever waits for the next ones."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def count_one(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_for_more(self, more: int) -> None:
        with self._changed:
            enough = self._count + more
            assert self._changed.wait_for(lambda: self._count >= enough, timeout=120), "nobody is acknowledged any more"


class Client(threading.Thread):
    """One training process as the wire sees it: sends the next frames until they are acknowledged, whatever happens."""

    def __init__(self, service: ServiceProcess, number: int, acknowledged: Acknowledgements) -> None:
        super().__init__(daemon=True)
        self.service = service
        self.run_id, self.attempt_id = uuid4(), uuid4()
        self.next = 0
        self.stopping = threading.Event()
        self.faults: list[str] = []
        self._random = random.Random(number)
        self._acknowledged = acknowledged
        self._token = service.tokens["ingest_token"]

    def declare(self) -> None:
        path = f"/api/v1/runs/{self.run_id}"
        attempt = {"rank": 0, "world_size": 1, "launch": str(self.attempt_id), "host": "h", "pid": 1}
        attempt |= {"started_at": 1_790_000_000.0, "state": "running"}
        self._ask("PUT", path, {"project": "p", "name": "n"})
        self._ask("PUT", f"{path}/attempts/{self.attempt_id}", attempt)
        self._ask("PUT", f"{path}/layouts/{layout_id()}", {"layers": LAYERS})

    def run(self) -> None:
        while not self.stopping.is_set():
            n = self._random.randint(1, MOST_FRAMES)
            first = max(0, self.next - self._random.choice([0, 0, 0, 7]))  # now and then some that were sent before
            body = numbered_chunk(self.attempt_id, first, self.next + n - first)
            answer = self._until_answered(body)
            if answer is not None:
                self._take(answer)

    def _until_answered(self, body: bytes) -> tuple[int, dict[str, int]] | None:
        """Send the same chunk until somebody answers; a service that is away answers nothing."""
        while not self.stopping.is_set():
            try:
                return self._send("POST", f"/api/v1/runs/{self.run_id}/chunks", body, CHUNK_TYPE)
            except (OSError, http.client.HTTPException, msgspec.DecodeError):
                self.stopping.wait(0.02)
        return None

    def _take(self, answer: tuple[int, dict[str, int]]) -> None:
        status, said = answer
        if status == 503:
            return
        if status not in (200, 409):
            self.faults.append(f"{status}: {said}")
            self.stopping.set()
        elif said["next"] < self.next:
            self.faults.append(f"{self.next} frames were acknowledged, and now there are {said['next']}")
            self.stopping.set()
        else:
            self.next = said["next"]
            self._acknowledged.count_one()

    def _ask(self, method: str, path: str, body: object) -> None:
        status, said = self._send(method, path, msgspec.json.encode(body), "application/json")
        assert status == 200, said

    def _send(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, dict[str, int]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, msgspec.json.decode(answer.read())
        finally:
            connection.close()


def numbered_chunk(attempt_id: UUID, first: int, n: int) -> bytes:
    """Frames whose norms tell their steps, so that a frame in another's place would be seen."""
    norms = [1.0 + step % 1000 / 10_000 for step in range(first, first + n)]
    return msgspec.msgpack.encode(chunk(attempt_id, first, n, global_norm=norms))


def check_every_acknowledged_frame_once(service: ServiceProcess, client: Client) -> None:
    run = service.get(f"/api/v1/runs/{client.run_id}")
    frames = run["frames"]
    assert (frames >= client.next, run["lost"]) == (True, 0)
    step = 0
    while step < frames:  # page by page, each small enough to be told frame by frame
        stop = min(step + 1000, frames)
        asked = f"metrics=global_norm&points=2000&from_step={step}&to_step={stop - 1}"
        series = service.get(f"/api/v1/runs/{client.run_id}/series?{asked}")
        assert series["step"] == list(range(step, stop))
        norms = [1.0 + k % 1000 / 10_000 for k in range(step, stop)]
        assert series["series"]["global_norm"]["min"] == pytest.approx(norms, rel=1e-6)
        step = stop


def integrity(database: Path) -> str:
    connection = sqlite3.connect(database)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("clients", "kills"),
    [(4, 5), pytest.param(50, SOAK_KILLS, marks=[pytest.mark.soak, pytest.mark.timeout(6 * 3600)])],
)
def test_no_acknowledged_frame_is_lost_or_doubled_however_often_the_service_is_killed(
    tmp_path: Path, clients: int, kills: int
) -> None:
    service = ServiceProcess(tmp_path).start()
    acknowledged = Acknowledgements()
    senders = [Client(service, number, acknowledged) for number in range(clients)]
    chance, restarts = random.Random(kills), []
    try:
        for sender in senders:
            sender.declare()
        for sender in senders:
            sender.start()
        for _ in range(kills):
            acknowledged.wait_for_more(chance.randint(1, ACKNOWLEDGEMENTS_BETWEEN_KILLS))
            time.sleep(chance.uniform(0.0, 0.03))  # or each kill would come just after a commit
            service.kill()
            assert integrity(service.database) == "ok"
            service.start()
            restarts.append(service.cpu_seconds())
        acknowledged.wait_for_more(clients)
        for sender in senders:
            sender.stopping.set()
        for sender in senders:
            sender.join(60)
        assert [sender.faults for sender in senders] == [[]] * clients
        for sender in senders:
            check_every_acknowledged_frame_once(service, sender)
        # CPU time from the start to being ready: a busy machine makes everything else late.
        assert max(restarts) < RESTART_SECONDS, restarts
        frames = sum(sender.next for sender in senders)
        print(f"{kills} kills, {clients} clients, {frames} frames, restarts of at most {max(restarts):.1f} CPU s")
    finally:
        for sender in senders:
            sender.stopping.set()
        service.stop()
