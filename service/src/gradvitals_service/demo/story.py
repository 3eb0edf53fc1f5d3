"""The demonstration: a service, a GRU trained without clipping and with it, and what came of both.

Everything happens in child processes, as it would in earnest: ``serve`` and two runs of ``examples/gru.py``, which know
of each other only through HTTP. This module imports neither torch nor the client.
"""

import errno
import importlib.util
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import IO, Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy.engine import make_url

from gradvitals_service.auth.tokens import load_tokens
from gradvitals_service.demo.children import Children
from gradvitals_service.demo.comparison import Reader, finished_run, lay_out, read_outcome
from gradvitals_service.settings import Settings

GRU = Path(__file__).parents[1] / "examples" / "gru.py"
PROJECT = "demo"
READY_SECONDS = 60.0
INTERRUPTED = 130


class Training(NamedTuple):
    """One of the two trainings, which differ in nothing but the option."""

    title: str
    run_name: str
    option: str


TRAININGS = (
    Training("without clipping", "gru, not clipped", "--no-clip"),
    Training("with clipping", "gru, clipped", "--clip"),
)


class DemoError(Exception):
    """The demonstration cannot go on; the message is all that the person needs."""


def run_demo(
    host: str = "127.0.0.1", port: int = 8765, database_url: str | None = None, exit_when_done: bool = False
) -> int:
    """Show it all and go on serving until Ctrl-C; gives the exit code.

    0 when it was shown (and, without ``exit_when_done``, ended by Ctrl-C), 1 when it could not be shown, which is said
    in one line, 130 when interrupted before the comparison.
    """
    shown = False
    try:
        settings = check(host, port, database_url)
        with Children() as children, tempfile.TemporaryFile("a+b") as log:
            service = start_service(children, settings, log)
            reader = Reader(address(settings), load_tokens(settings).read)
            database = make_url(settings.database_url).render_as_string(hide_password=True)
            say(f"the service runs at {reader.url} and keeps its data in {database}")
            say(f"watch both trainings there while they run: {reader.login_link()}")
            outcomes = []
            for training in TRAININGS:
                say(f"training {training.title}: same weights, same batches")
                run_id = train(children, service, settings, training)
                outcomes.append(read_outcome(reader, training.title, finished_run(reader, run_id)))
            print(f"\n{lay_out(outcomes, bold)}\n")
            shown = True
            if exit_when_done:
                say(f"both runs are kept; `gradvitals-service serve` shows them again at {reader.url}")
            else:
                say(f"see both runs on the dashboard: {reader.login_link()}")
                say("serving until Ctrl-C")
                service.wait()
                raise DemoError(f"the service ended by itself:\n{tail(log)}")
    except KeyboardInterrupt:
        say("stopped; what was trained and stored stays" if shown else "interrupted; everything it started has ended")
        return 0 if shown else INTERRUPTED
    except DemoError as error:
        print(f"gradvitals: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"gradvitals: the service does not answer, or its folder cannot be used: {error}", file=sys.stderr)
        return 1
    return 0


def check(host: str, port: int, database_url: str | None) -> Settings:
    """Find out what is missing before anything is started; raises DemoError."""
    missing = [name for name in ("torch", "gradvitals") if importlib.util.find_spec(name) is None]
    if missing:
        install = shlex.join([sys.executable, "-m", "pip", "install", *missing])
        raise DemoError(f"the demo trains a network and needs {' and '.join(missing)}: {install}")
    given: dict[str, Any] = {"host": host, "port": port}
    if database_url:
        given["database_url"] = database_url
    try:
        settings = Settings(**given)
    except ValidationError as error:
        reason = error.errors()[0]
        raise DemoError(f"{'.'.join(map(str, reason['loc'])) or 'settings'}: {reason['msg']}") from None
    settings.port = take_port(settings)
    return settings


def bind(host: str, port: int) -> socket.socket:
    """A socket on the address, as a server would have it; OSError when it cannot be had."""
    family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    probe = socket.socket(family, kind, protocol)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(where)
    except OSError:
        probe.close()
        raise
    return probe


def take_port(settings: Settings) -> int:
    """The port to listen on, a free one for 0; DemoError when it is taken, saying whether by a service of ours."""
    try:
        with bind(settings.host, settings.port) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise DemoError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
        if runs_already(settings):
            raise DemoError(
                f"your own gradvitals service already runs at {address(settings)}; "
                "stop it first, or choose another port with --port"
            ) from None
        raise DemoError(
            f"port {settings.port} on {settings.host} is in use by another program; choose another one with --port"
        ) from None


def runs_already(settings: Settings) -> bool:
    """Whether the file that a service of this user leaves for its clients names this very port."""
    try:
        kept = json.loads((settings.state_dir / "service.json").read_text())
        return str(kept["url"]).rstrip("/").endswith(f":{settings.port}")
    except (OSError, ValueError, TypeError, KeyError):
        return False


def address(settings: Settings) -> str:
    """Where this machine reaches the service."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - read, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def start_service(children: Children, settings: Settings, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start ``serve`` and wait until it is ready; its own output is kept aside, so that progress bars stay whole."""
    command = [sys.executable, "-m", "gradvitals_service.cli", "serve"]
    command += ["--host", settings.host, "--port", str(settings.port)]
    environment = os.environ | {"GRADVITALS_SERVICE_DATABASE_URL": settings.database_url, "PYTHONUNBUFFERED": "1"}
    service = children.start(command, environment, log)
    give_up = time.monotonic() + READY_SECONDS
    while service.poll() is None and time.monotonic() < give_up:
        try:
            Reader(address(settings), "").get("/readyz")
        except OSError:
            time.sleep(0.1)
        else:
            return service
    raise DemoError(f"the service did not start:\n{tail(log)}")


def tail(log: IO[bytes], lines: int = 15) -> str:
    """The last lines of what the service said."""
    said = os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0)  # not by seeking: the child shares the position
    return "\n".join(said.decode(errors="replace").splitlines()[-lines:])


def train(children: Children, service: "subprocess.Popen[bytes]", settings: Settings, training: Training) -> str:
    """Train once, in front of the person; gives the run's id."""
    run_id = str(uuid.uuid4())
    command = [sys.executable, str(GRU), training.option, "--project", PROJECT, "--name", training.run_name]
    process = children.start(command, training_environment(settings) | {"GRADVITALS_RUN_ID": run_id})
    while process.poll() is None:
        if service.poll() is not None:
            raise DemoError("the service ended while the network was training")
        time.sleep(0.1)
    if process.returncode != 0:
        raise DemoError(f"the training {training.title} failed with exit code {process.returncode}")
    return run_id


def training_environment(settings: Settings) -> dict[str, str]:
    """The environment of a training that belongs to no cluster job and sends to this service, past any proxy."""
    foreign = ("GRADVITALS_", "SLURM_", "TORCHELASTIC_", "WORLD_SIZE", "RANK", "LOCAL_RANK")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    own["GRADVITALS_URL"] = address(settings)
    own["GRADVITALS_TOKEN"] = load_tokens(settings).ingest
    own["OMP_NUM_THREADS"] = "1"
    own["NO_PROXY"] = own["no_proxy"] = "127.0.0.1,localhost,::1"
    return own


def say(sentence: str) -> None:
    """One line to the person."""
    print(f"{bold('gradvitals:')} {sentence}", flush=True)


def bold(text: str) -> str:
    """Bold where a terminal shows it."""
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text
