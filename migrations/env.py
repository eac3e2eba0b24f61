"""Alembic's environment: runs the migrations on the connection that the archive hands in.

The archive itself upgrades (`dicomweb-archive database upgrade`, or `serve` at its start): it holds the lock
that keeps two starters apart and has set the time limits of this session.
"""

from alembic import context

from dicomweb_archive.index.database.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("no connection was handed in; use `dicomweb-archive database upgrade`")

# One transaction a migration: what is done stays done, and a later one may build its index concurrently.
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
