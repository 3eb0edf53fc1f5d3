"""What a deleted run has taken on the disk is given back, where that is worth it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from service.series.storing import WriterAtOnce, make_stream
from service.speaking import ServiceUnderTest
from sqlalchemy import delete, text
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service import migrating, shrinking
from gradvitals_service.database import begin_write, make_engine, make_session_factory
from gradvitals_service.series.models import Chunk
from gradvitals_service.shrinking import Shrinker


@pytest.fixture
def few_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten pages are worth it, a few at a time."""
    monkeypatch.setattr(shrinking, "LEAST_PAGES", 10)
    monkeypatch.setattr(shrinking, "PAGES_AT_ONCE", 7)


def size_bytes(session_factory: sessionmaker[Session], database: Path) -> int:
    with session_factory.kw["bind"].connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    return database.stat().st_size


def page_bytes(session_factory: sessionmaker[Session]) -> int:
    with session_factory.kw["bind"].connect() as connection:
        return int(connection.execute(text("PRAGMA page_size")).scalar_one())


def fill_and_delete(session_factory: sessionmaker[Session], chunks: int) -> None:
    stream = make_stream(session_factory, (20,))
    for seed in range(chunks):
        stream.add(256, 20, seed=seed)
    with begin_write(session_factory) as session:
        session.execute(delete(Chunk).where(Chunk.first >= 256))


@pytest.mark.usefixtures("few_pages")
class TestSQLite:
    def test_gives_back_the_pages_of_what_was_deleted_but_for_a_tenth(self, tmp_path: Path):
        database = tmp_path / "gradvitals.db"
        engine = make_engine(f"sqlite:///{database}")
        migrating.upgrade(engine)
        session_factory = make_session_factory(engine)
        before = size_bytes(session_factory, database)
        fill_and_delete(session_factory, 40)
        full = size_bytes(session_factory, database)
        assert full > before + 400_000
        given = Shrinker(session_factory, WriterAtOnce(session_factory)).work()
        after = size_bytes(session_factory, database)
        assert given > 0
        assert after == full - given * page_bytes(session_factory)
        assert after < before + 0.2 * (full - before)
        assert Shrinker(session_factory, WriterAtOnce(session_factory)).work() == 0
        engine.dispose()
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_leaves_a_file_alone_that_an_earlier_version_made(self, tmp_path: Path):
        database = tmp_path / "gradvitals.db"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE made_before (anything)")
        engine = make_engine(f"sqlite:///{database}")
        migrating.upgrade(engine)
        session_factory = make_session_factory(engine)
        fill_and_delete(session_factory, 10)
        assert Shrinker(session_factory, WriterAtOnce(session_factory)).work() == 0
        engine.dispose()


@pytest.mark.usefixtures("few_pages")
def test_a_service_leaves_a_database_alone_in_which_nothing_is_free(service: ServiceUnderTest) -> None:
    """On PostgreSQL that is every one: it has a vacuum of its own."""
    state = service.app.state
    assert any(isinstance(chore, Shrinker) for chore in state.chores)
    assert Shrinker(state.session_factory, state.writer).work() == 0
