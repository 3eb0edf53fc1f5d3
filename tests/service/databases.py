"""Fixtures that give databases: an own PostgreSQL server, and SQLite files.

A PostgreSQL database is some hundred files, and making them takes longer than most tests. So one that a test has used
is emptied and given to the next.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from service import postgresql

from gradvitals_service import migrating
from gradvitals_service.database import Base, make_engine

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


@pytest.fixture(scope="session")
def used_databases() -> list[str]:
    """URLs of PostgreSQL databases that are migrated, empty and free to be taken."""
    return []


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path, used_databases: list[str]) -> Iterator[str]:
    """A migrated database without a row, once of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "gradvitals.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgresql_server")
    url = used_databases.pop() if used_databases else postgresql.create_database(server, _new_name(), TEMPLATE)
    yield url
    if postgresql.empty_database(url, kept_tables=["alembic_version"]) == set(Base.metadata.tables):
        used_databases.append(url)
    else:  # the test took tables away
        postgresql.drop_database(server, url.rpartition("/")[2])


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server, name = request.getfixturevalue("postgresql_server"), _new_name()
    yield postgresql.create_database(server, name)
    postgresql.drop_database(server, name)


def migrate(database_url: str) -> None:
    """Bring a database up to date, and let go of it."""
    engine = make_engine(database_url)
    migrating.upgrade(engine)
    engine.dispose()


def _new_name() -> str:
    return f"test_{uuid4().hex}"
