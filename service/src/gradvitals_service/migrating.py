"""Bring a database's schema up to date, or say that it is not.

Safe when several processes do it at once: the first takes a lock for the whole migration, which is one transaction,
and the others then find nothing left to do. A migration that fails leaves the schema as it was.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

# Any fixed number serves; it must never change, or two versions could migrate side by side.
_MIGRATION_LOCK = 0x67726164


def alembic_config(connection: Connection | None = None) -> Config:
    """Point Alembic at the migrations inside this package, wherever it is installed."""
    folder = Path(__file__).parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Apply what is missing up to ``revision``."""
    with engine.connect().execution_options(will_write=True) as connection, connection.begin():
        _lock(connection)
        command.upgrade(alembic_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take back everything after ``revision``, its data included."""
    with engine.connect().execution_options(will_write=True) as connection, connection.begin():
        _lock(connection)
        command.downgrade(alembic_config(connection), revision)


def is_current(connection: Connection) -> bool:
    """Whether the database is exactly at this version's schema."""
    heads = ScriptDirectory.from_config(alembic_config()).get_heads()
    return set(MigrationContext.configure(connection).get_current_heads()) == set(heads)


def _lock(connection: Connection) -> None:
    """SQLite's lock was taken by the transaction's beginning."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
