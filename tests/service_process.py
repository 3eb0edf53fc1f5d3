"""A real ``gradvitals-service serve`` in a process of its own, for tests that need to kill, restart or look at one."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

START_TIMEOUT_SECONDS = 60.0


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Forked:
    """A process that runs the command with its modules already imported, as far as a test of a ``Popen`` needs it."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path, folder: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["gradvitals_service.cli"])
        self._process = context.Process(target=_run, args=(command, environment, log, folder), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the service", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)


def _run(command: list[str], environment: dict[str, str], log: Path, folder: Path) -> None:
    """What the new process does."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with log.open("ab") as file, open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = command
    from gradvitals_service.cli import main

    main()


class ServiceProcess:
    """One service on a free port, with folders of its own; the same database again after a restart.

    ``forked`` starts it from a process that has imported it already: all but the start is the same, and that takes a
    tenth of the time.
    """

    def __init__(self, folder: Path, *arguments: str, forked: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.arguments = arguments
        self.log = folder / "service.log"
        self.python = Path(sys.executable)
        self.forked = forked
        self.process: subprocess.Popen[bytes] | _Forked | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a training process of the same user would have, and nothing that was set by hand."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("GRADVITALS_")}
        return own | {
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "data" / "gradvitals" / "gradvitals.db"

    @property
    def tokens(self) -> dict[str, str]:
        """The ingest and the read token."""
        return dict(json.loads((self.folder / "data" / "gradvitals" / "tokens.json").read_text()))

    def start(self) -> "ServiceProcess":
        """Start it and wait until it is ready."""
        command = ["gradvitals-service", "serve", "--port", str(self.port), *self.arguments]
        if self.forked:
            self.process = _Forked(command, self.environment, self.log, self.folder)
        else:
            started = [str(self.python), "-m", "gradvitals_service.cli", *command[1:]]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    started, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder
                )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2):
                    return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"the service did not start:\n{self.log.read_text()}")

    def cpu_seconds(self) -> float:
        """CPU time of the process so far; Linux only."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def stop(self) -> int:
        """End it as Ctrl-C would; gives its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the service did not end within 20 s of Ctrl-C:\n{self.log.read_text()}") from None

    def get(self, path: str) -> Any:
        """Read one JSON answer with the read token."""
        request = urllib.request.Request(self.url + path)
        request.add_header("Authorization", f"Bearer {self.tokens['read_token']}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any, token: str = "ingest_token") -> Any:
        """Send one JSON body with a token."""
        request = urllib.request.Request(self.url + path, data=json.dumps(body).encode(), method="POST")
        request.add_header("Authorization", f"Bearer {self.tokens[token]}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            raise AssertionError(f"{refusal.code}: {refusal.read().decode()}") from refusal
