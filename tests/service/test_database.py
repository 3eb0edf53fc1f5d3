"""What the columns and the transactions promise on both databases."""

import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.database import begin_write, insert_if_absent, make_engine, make_session_factory
from gradvitals_service.projects.models import Project
from gradvitals_service.projects.queries import find_project, make_project, project_for
from gradvitals_service.runs.models import Run
from gradvitals_service.runs.queries import declare_run
from gradvitals_service.runs.schemas import RunDeclaration

NOW = datetime(2026, 9, 21, 12, 30, 15, 250_000, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def session_factory(engine: Engine) -> sessionmaker[Session]:
    return make_session_factory(engine)


def make_run(session: Session) -> UUID:
    run_id = uuid4()
    declare_run(session, run_id, make_project(session, "p"), RunDeclaration("p", "n"), NOW)
    return run_id


def test_every_connection_to_sqlite_syncs_fully(tmp_path: Path) -> None:
    """Each one that a writer could get: an acknowledgement promises that a power cut loses nothing."""
    engine = make_engine(f"sqlite:///{tmp_path / 'gradvitals.db'}")
    connections = [engine.connect() for _ in range(5)]
    for connection in connections:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        connection.close()
    engine.dispose()


@pytest.mark.parametrize("value", [0.1, 0.0, 1e308, 5e-324, math.inf, -math.inf, math.nan, None])
def test_a_number_comes_back_as_it_went_in_also_when_it_is_not_finite(
    session_factory: sessionmaker[Session], value: float | None
) -> None:
    with begin_write(session_factory) as session:
        run_id = make_run(session)
        session.get_one(Run, run_id).loss = value
    with session_factory.begin() as session:
        assert repr(session.get_one(Run, run_id).loss) == repr(value)


def test_a_time_comes_back_aware_and_in_utc(session_factory: sessionmaker[Session]) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-7)))
    with begin_write(session_factory) as session:
        run_id = make_run(session)
        session.get_one(Run, run_id).last_seen_at = elsewhere
    with session_factory.begin() as session:
        found = session.get_one(Run, run_id).last_seen_at
        assert (found, found.utcoffset()) == (NOW, timedelta(0))


def test_a_time_without_a_zone_is_refused(session_factory: sessionmaker[Session]) -> None:
    with begin_write(session_factory) as session:
        session.get_one(Run, make_run(session)).last_seen_at = datetime(2026, 9, 21)
        with pytest.raises(StatementError, match="without a time zone"):
            session.flush()
        session.rollback()


def test_a_row_is_inserted_once(session_factory: sessionmaker[Session]) -> None:
    row = {"project_id": uuid4(), "name": "p", "created_at": NOW}
    with begin_write(session_factory) as session:
        assert insert_if_absent(session, Project, row)
        assert not insert_if_absent(session, Project, row | {"project_id": uuid4()})  # the name is taken


def test_a_project_that_many_name_at_once_is_made_once(session_factory: sessionmaker[Session]) -> None:
    found: list[Any] = []
    barrier = threading.Barrier(6)

    def name_it() -> None:
        barrier.wait(10)
        found.append(project_for(session_factory, "gru-lm"))

    threads = [threading.Thread(target=name_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 6
    assert len(set(found)) == 1


def test_a_savepoint_that_fails_takes_back_its_own_work_only(session_factory: sessionmaker[Session]) -> None:
    """With SQLite's driver left to itself, the release of a savepoint would commit."""
    with begin_write(session_factory) as session:
        make_project(session, "kept")
        savepoint = session.begin_nested()
        make_project(session, "taken back")
        savepoint.rollback()
    with session_factory.begin() as session:
        assert set(session.scalars(select(Project.name))) == {"kept"}


def test_two_that_read_before_they_write_wait_for_each_other(session_factory: sessionmaker[Session]) -> None:
    """On SQLite a transaction that began as a reader could not become a writer after another one's commit."""
    first_has_read, failures = threading.Event(), []

    def read_then_write(name: str, wait_for: threading.Event | None) -> None:
        try:
            with begin_write(session_factory) as session:
                find_project(session, "none")
                first_has_read.set()
                if wait_for is not None:
                    wait_for.wait(0.2)
                make_project(session, name)
        except Exception as error:  # noqa: BLE001  # shown by the assertion below
            failures.append(error)

    one = threading.Thread(target=read_then_write, args=("one", threading.Event()))
    one.start()
    assert first_has_read.wait(10)
    read_then_write("two", None)
    one.join(30)
    assert failures == []


def test_what_people_sent_does_not_stand_in_error_messages(session_factory: sessionmaker[Session]) -> None:
    with pytest.raises(StatementError) as failure, begin_write(session_factory) as session:
        session.execute(text("INSERT INTO no_such_table (name) VALUES (:name)"), {"name": "secret-name"})
    assert "secret-name" not in str(failure.value)
