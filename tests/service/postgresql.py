"""An own PostgreSQL for the tests: on a free loopback port, in a temporary folder, never as root."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

SUPERUSER = "gradvitals"


def find_binaries() -> Path | None:
    """The folder with initdb and pg_ctl: from PATH, else where Debian puts the newest version."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return installed[-1] if installed else None


class Server:
    """A PostgreSQL server that a test may take away and give back; ``url`` is without a database's name."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._identity = _unprivileged()
        if "user" in self._identity:
            os.chown(folder, self._identity["user"], self._identity["group"])
        self._port = _free_port()
        self.url = f"postgresql+psycopg://{SUPERUSER}@127.0.0.1:{self._port}"
        words = ("-U", SUPERUSER, "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
        _run(binaries / "initdb", "-D", folder / "data", *words, **self._identity)

    def start(self) -> None:
        """Start it, on the port it had before."""
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200"
        self._control("-l", self._folder / "log", "-o", options, "start")

    def stop(self) -> None:
        """End it at once, whoever is connected."""
        self._control("-m", "immediate", "stop")

    def _control(self, *words: object) -> None:
        _run(self._binaries / "pg_ctl", "-D", self._folder / "data", "-w", *words, **self._identity)


@contextmanager
def running(binaries: Path) -> Iterator[Server]:
    """A server that has been started. Its data are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="gradvitals-postgresql-"))
    try:
        server = Server(binaries, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_server(binaries: Path) -> Iterator[str]:
    """Start a server; gives its URL without a database's name. Its data are gone afterwards."""
    with running(binaries) as server:
        yield server.url


def create_database(server_url: str, name: str, template: str = "template0") -> str:
    """A new database, copied from another one; gives its URL."""
    with _administration(server_url) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return f"{server_url}/{name}"


def drop_database(server_url: str, name: str) -> None:
    """Remove it, whoever is still connected."""
    with _administration(server_url) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def empty_database(url: str, kept_tables: Collection[str]) -> set[str]:
    """Delete every row of the other tables, the settings, and whoever is still connected; gives the tables."""
    server_url, _, name = url.rpartition("/")
    with _administration(server_url) as connection:
        connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))
        connection.execute(f'ALTER DATABASE "{name}" RESET ALL')
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("SET session_replication_role = replica")  # in any order: no foreign key is checked
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        tables = {table for (table,) in found} - set(kept_tables)
        for table in tables:
            connection.execute(f'DELETE FROM "{table}"')
    return tables


def _administration(server_url: str) -> "psycopg.Connection[Any]":
    return psycopg.connect(server_url.replace("+psycopg", "") + "/postgres", autocommit=True)


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then take another user."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("neither the user postgres nor nobody exists")


def _run(*command: object, **identity: Any) -> None:
    # Not captured through a pipe: the server would inherit it and keep it open.
    with tempfile.TemporaryFile() as output:
        words = [str(part) for part in command]
        result = subprocess.run(words, stdout=output, stderr=output, cwd="/", **identity)
        output.seek(0)
        assert result.returncode == 0, f"{words}:\n{output.read().decode(errors='replace')}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
