"""Whoever writes on SQLite does so with a full sync, the compactor's swap too."""

import pytest
from service.series.storing import make_stream
from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

from gradvitals_service.alerts.channels import Channels
from gradvitals_service.dashboard.hub import Hub
from gradvitals_service.ingest.writer import Writer
from gradvitals_service.series.compactor import Compactor


def test_every_commit_of_the_writer_syncs_fully(session_factory: sessionmaker[Session]) -> None:
    engine = session_factory.kw["bind"]
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's default is synchronous_commit=on")
    stream = make_stream(session_factory)
    for seed in range(6):
        stream.add(256, seed=seed)
    stream.end()
    levels = []
    event.listen(engine, "commit", lambda connection: levels.append(_synchronous(connection)))
    writer = Writer(session_factory, Channels([], "http://127.0.0.1"), Hub())
    writer.start()
    try:
        assert Compactor(session_factory, writer).work() == 1
    finally:
        writer.stop()
    assert levels
    assert set(levels) == {2}  # FULL


def _synchronous(connection) -> int:
    return connection.connection.dbapi_connection.execute("PRAGMA synchronous").fetchone()[0]
