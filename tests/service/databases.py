"""Fixtures that give databases: an own PostgreSQL server, and SQLite files."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from service import postgresql

from gradvitals_service import migrating
from gradvitals_service.database import make_engine

TEMPLATE = "gradvitals_template"
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server whose template database is migrated."""
    binaries = postgresql.find_binaries()
    if binaries is None:
        if "postgres" in os.environ.get("GRADVITALS_REQUIRE", ""):
            pytest.fail("GRADVITALS_REQUIRE names postgres, but initdb is neither on PATH nor in /usr/lib/postgresql")
        pytest.skip("PostgreSQL is not installed: initdb is neither on PATH nor in /usr/lib/postgresql")
    with postgresql.running_server(binaries) as url:
        migrate(postgresql.create_database(url, TEMPLATE))
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh migrated database, once of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "gradvitals.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    yield from _postgresql_database(request.getfixturevalue("postgresql_server"), TEMPLATE)


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    yield from _postgresql_database(request.getfixturevalue("postgresql_server"), "template0")


def migrate(database_url: str) -> None:
    """Bring a database up to date, and let go of it."""
    engine = make_engine(database_url)
    migrating.upgrade(engine)
    engine.dispose()


def _postgresql_database(server: str, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    yield postgresql.create_database(server, name, template)
    postgresql.drop_database(server, name)
