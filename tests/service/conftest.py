"""Every test of the service runs on SQLite and on PostgreSQL."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from service import postgresql
from service.speaking import ServiceUnderTest

from gradvitals_service import migrating
from gradvitals_service.database import make_engine

TEMPLATE = "gradvitals_template"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server whose template database is migrated."""
    binaries = postgresql.find_binaries()
    if binaries is None:
        if "postgres" in os.environ.get("GRADVITALS_REQUIRE", ""):
            pytest.fail("GRADVITALS_REQUIRE names postgres, but initdb is neither on PATH nor in /usr/lib/postgresql")
        pytest.skip("PostgreSQL is not installed: initdb is neither on PATH nor in /usr/lib/postgresql")
    with postgresql.running_server(binaries) as url:
        _migrate(postgresql.create_database(url, TEMPLATE))
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh migrated database, once of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "gradvitals.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgresql_server")
    name = f"test_{uuid4().hex}"
    yield postgresql.create_database(server, name, TEMPLATE)
    postgresql.drop_database(server, name)


@pytest.fixture
def make_service(database_url: str, tmp_path: Path) -> Iterator[Callable[..., ServiceUnderTest]]:
    """Start services on the same database with given settings; all end with the test."""
    started: list[ServiceUnderTest] = []

    def start(**settings: object) -> ServiceUnderTest:
        service = ServiceUnderTest(database_url, tmp_path, **settings)
        service.client.__enter__()
        started.append(service)
        return service

    yield start
    for service in reversed(started):
        service.client.__exit__(None, None, None)


@pytest.fixture
def service(make_service: Callable[..., ServiceUnderTest]) -> ServiceUnderTest:
    """A running service on a fresh database."""
    return make_service()


def _migrate(database_url: str) -> None:
    engine = make_engine(database_url)
    migrating.upgrade(engine)
    engine.dispose()
