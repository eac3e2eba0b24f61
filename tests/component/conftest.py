"""Fixtures of tests on real parts: `database_url` and `database` are a fresh, migrated PostgreSQL a test."""

from tests.database import database, database_server, database_url

__all__ = ["database", "database_server", "database_url"]
