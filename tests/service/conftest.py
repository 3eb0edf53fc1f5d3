"""Every test of the service runs on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from service.databases import database_url, empty_database_url, postgresql_server, sqlite_template, used_databases
from service.speaking import ServiceUnderTest

__all__ = ["database_url", "empty_database_url", "postgresql_server", "sqlite_template", "used_databases"]


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
