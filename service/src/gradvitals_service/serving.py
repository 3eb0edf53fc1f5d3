"""Run one service process: take the port and the database, say where it is, serve until asked to end."""

import contextlib
import fcntl
import gc
import json
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from sqlalchemy.engine import make_url

from gradvitals_service import migrating
from gradvitals_service.allocator import keep_freed_memory
from gradvitals_service.app import create_app
from gradvitals_service.auth.routes import login_url
from gradvitals_service.auth.tokens import Tokens, write_private
from gradvitals_service.bounded_http import BoundedHttp
from gradvitals_service.database import make_engine
from gradvitals_service.filesystems import MOUNTS, network_filesystem
from gradvitals_service.settings import Settings

SHUTDOWN_SECONDS = 5


class CannotServeError(Exception):
    """Why the service does not start, in one line for the person who started it."""


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; raises CannotServeError before anything has changed."""
    os.umask(0o077)  # the database and its journal are for their owner alone
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends everything in order, as Ctrl-C does
    keep_freed_memory()
    listener = listen(settings.host, settings.port)
    with contextlib.closing(listener), hold_database(settings.database_url):
        prepare_database(settings.database_url)
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        app = create_app(settings)
        for line in welcome(app, settings):
            print(line, flush=True)
        gc.freeze()  # what the start has made stays: no collection need look at it again
        with tell_clients(settings.state_dir, app.state.base_url, app.state.tokens):
            run_server(app, listener)


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else, so that a busy one costs nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise CannotServeError(
            f"cannot listen on {host}:{port}: {error.strerror}; is a service running there already? "
            "Choose another port with --port"
        ) from None
    return listener


@contextlib.contextmanager
def hold_database(database_url: str, mounts: Path = MOUNTS) -> Iterator[None]:
    """SQLite serves one process: a lock beside the file keeps a second service away, and ends with this process.

    ``mounts`` is where the kernel lists file systems; SQLite is refused on one that lies across a network.
    """
    path = sqlite_path(database_url)
    if path is None:
        yield
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if kind := network_filesystem(path.parent, mounts):
        raise CannotServeError(
            f"the database {path} would lie on {kind}, a network file system, where SQLite can lose what it stored; "
            "name a file on a local disk with --database-url sqlite:////path/file.db, or use PostgreSQL"
        )
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotServeError(
                f"another service has the database {path} open, and SQLite serves one process; "
                "use that one, or PostgreSQL for several"
            ) from None
        yield


def sqlite_path(database_url: str) -> Path | None:
    """The file of a SQLite database."""
    url = make_url(database_url)
    return Path(url.database).absolute() if url.get_backend_name() == "sqlite" and url.database else None


def prepare_database(database_url: str) -> None:
    """SQLite is brought up to date; a team's PostgreSQL only by whoever runs ``migrate``."""
    engine = make_engine(database_url)
    try:
        if engine.dialect.name == "sqlite":
            migrating.upgrade(engine)
            return
        with engine.connect() as connection:
            current = migrating.is_current(connection)
        if not current:
            raise CannotServeError(
                "the database is not at this version's schema; run `gradvitals-service migrate` first"
            )
    finally:
        engine.dispose()


def welcome(app: FastAPI, settings: Settings) -> Iterator[str]:
    """What a person needs to know at the start; secrets are in it, so it goes to stdout and never to the log."""
    shown = make_url(settings.database_url).render_as_string(hide_password=True)
    yield f"gradvitals listens on {app.state.base_url}, database {shown}"
    yield f"open the dashboard (this link works once): {login_url(app.state.base_url, app.state.login_codes)}"
    for name in app.state.channels.names:
        yield f"gradvitals will alert here: {app.state.channels[name].description}"
    if not settings.alert:
        yield "gradvitals alerts nobody yet: add --alert with an Apprise URL"


@contextlib.contextmanager
def tell_clients(state_dir: Path, url: str, tokens: Tokens) -> Iterator[None]:
    """Write the file by which clients of the same user find this service; take it back if it is still ours."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state_dir / "service.json"
    content = json.dumps({"url": url, "ingest_token": tokens.ingest, "pid": os.getpid()})
    fresh = path.with_name(f"service.json.{os.getpid()}.{secrets.token_hex(4)}")
    write_private(fresh, content)
    fresh.replace(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text() == content:
                path.unlink()


class _Server(uvicorn.Server):
    """Ends live streams as soon as it is told to end, since it would wait for them otherwise."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)  # run_server put it there
        app.state.hub.close()
        super().handle_exit(sig, frame)


def run_server(app: FastAPI, listener: socket.socket) -> None:
    """Serve on the listener; Ctrl-C and SIGTERM end it in order."""
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        log_config=None,
        access_log=False,  # a line a heartbeat tells nobody anything, and login codes stand in query strings
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        backlog=2048,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has ended
        _Server(config).run(sockets=[listener])
