"""Engines, sessions and the base of all tables.

One request, one transaction: routes take ``SessionDep``, queries flush, and the commit happens here, after the route
has returned and before its answer is sent. The ingest writer opens its own transactions on the same engine.
"""

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import JSON, Connection, DateTime, Dialect, Double, Engine, ForeignKey, MetaData, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, sessionmaker
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

BUSY_TIMEOUT_SECONDS = 30.0
PAGE_BYTES = 8192
READ_CONNECTIONS = 40  # as many as there are threads for requests
_INCREMENTAL = 2  # SQLite's number for a file whose pages are given back when asked
POOL_TIMEOUT_SECONDS = 5.0  # a read that waits longer for a connection is told to come again


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on every database; SQLite, which has no time zones, stores it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, since a silent local time would be hours off."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back an aware time."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _SQLiteReal(UserDefinedType[float]):
    """A REAL column that takes what it is given; SQLAlchemy's own Float would turn our text back into a NaN."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Name the column's affinity."""
        return "REAL"


class NonFiniteDouble(TypeDecorator[float]):
    """A double that may be NaN or infinite.

    SQLite stores a bound NaN as NULL, which here means "missing"; its columns take text too, so NaN is spelled out.
    """

    impl = Double
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type."""
        return dialect.type_descriptor(_SQLiteReal() if dialect.name == "sqlite" else Double())

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | str | None:
        """Spell NaN for SQLite."""
        if value is not None and math.isnan(value) and dialect.name == "sqlite":
            return "NaN"
        return value

    def process_result_value(self, value: float | str | None, dialect: Dialect) -> float | None:
        """Read the spelling back."""
        return None if value is None else float(value)


def database_reason(error: Exception) -> str:
    """What went wrong, for the log: the first line, since the lines after it may quote what people sent."""
    first_line, _, _ = str(getattr(error, "orig", None) or type(error).__name__).strip().partition("\n")
    return first_line


UUIDKey = Annotated[UUID, mapped_column(primary_key=True)]
RunKey = Annotated[UUID, mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True)]
JSONObject = Annotated[dict[str, Any], mapped_column(JSON)]
JSONStrings = Annotated[list[str], mapped_column(JSON)]
NonFiniteFloat = Annotated[float, mapped_column(NonFiniteDouble)]


class Base(DeclarativeBase):
    """The base of every table: times are aware, constraints are named."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UTCDateTime}  # noqa: RUF012  # SQLAlchemy reads it as a plain attribute


def make_engine(database_url: str) -> Engine:
    """Open SQLite (WAL, full sync, foreign keys) or PostgreSQL through psycopg 3.

    Who writes has an engine apart from those who read: an acknowledgement never waits for a reader's connection.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
        return create_engine(
            url, pool_size=10, pool_timeout=POOL_TIMEOUT_SECONDS, pool_pre_ping=True, hide_parameters=True
        )
    # Parameters stay out of error messages, and so out of the log: they are what people sent.
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
        pool_size=READ_CONNECTIONS,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """FULL, not NORMAL: an acknowledgement promises that a power cut loses nothing.

    Some builds fill what is deleted with zeros, which made a compactor's swap write twice as much. Two things can be
    chosen for a new file only; to say so of one that is there would be a write, and wait for all others. Nearly all
    that is stored are blobs of many pages: of twice the usual size it takes a quarter less CPU time to write them. And
    a file gives pages back where it was made to.
    """
    connection.isolation_level = None  # the driver would begin too late for savepoints; we begin ourselves
    if connection.execute("PRAGMA page_count").fetchone() == (0,):
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    _use_write_ahead_log(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=OFF"):
        connection.execute(f"PRAGMA {pragma}")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Set for the whole file by whoever comes first. For that SQLite does not wait: who comes second is refused."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that will write takes the write lock first: one that reads before it writes could not wait."""
    writes = connection.get_execution_options().get("will_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def make_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions whose objects stay readable after the commit, since answers are built from them."""
    return sessionmaker(engine, expire_on_commit=False)


def insert_if_absent(session: Session, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert one row unless its key is there already, also if another process is doing so now; whether it was new."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(table).values(values).on_conflict_do_nothing()
    result = session.connection().execute(statement, execution_options={"preserve_rowcount": True})
    return result.rowcount == 1


@contextmanager
def begin_write(session_factory: sessionmaker[Session]) -> Iterator[Session]:
    """One transaction that will write; on SQLite it waits for its turn here, and cannot fail for it later."""
    with session_factory.begin() as session:
        session.connection(execution_options={"will_write": True})
        yield session


@contextmanager
def begin_snapshot(session_factory: sessionmaker[Session]) -> Iterator[Session]:
    """One transaction that reads one state of the database, however many statements it takes.

    On SQLite every transaction does; PostgreSQL would show each statement what was committed before it.
    """
    with session_factory.begin() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def write_nothing(connection: Connection) -> None:
    """Write something that means nothing, to learn whether writing is possible."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
        return
    for statement in (
        "CREATE TABLE trial (room BLOB)",
        "INSERT INTO trial VALUES (zeroblob(65536))",  # as much room as a chunk takes
        "DROP TABLE trial",
    ):
        connection.exec_driver_sql(statement)


def pages_of(connection: Connection) -> tuple[int, int]:
    """How many pages SQLite's file has, and how many of them it could give back; none if it was made without that."""
    pages, free, mode = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("page_count", "freelist_count", "auto_vacuum")
    )
    return pages, free if mode == _INCREMENTAL else 0


def give_back_pages(connection: Connection, most: int) -> None:
    """Take free pages from SQLite's file, which is shorter after the commit.

    One at a time: the driver takes a statement that gives no rows one step far, and this one is a step a page.
    """
    cursor = connection.connection.cursor()
    for _ in range(most):
        cursor.execute("PRAGMA incremental_vacuum(1)")


def open_session(request: Request) -> Iterator[Session]:
    """One transaction for one request, committed before the answer goes out."""
    with request.app.state.session_factory.begin() as session:
        yield session


# scope="function": with the default the answer would be sent before the commit, and could promise what then failed.
SessionDep = Annotated[Session, Depends(open_session, scope="function")]
