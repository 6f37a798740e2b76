"""Alembic's entry: runs migrations over the connection that `fleetmend.store.schema` gives."""

from alembic import context

from fleetmend.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # SQLite can, once its transactions are begun by us
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
