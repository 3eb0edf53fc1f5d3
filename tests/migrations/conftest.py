"""Migrations are tested on SQLite and on PostgreSQL."""

from service.databases import empty_database_url, postgresql_server, sqlite_template

__all__ = ["empty_database_url", "postgresql_server", "sqlite_template"]
