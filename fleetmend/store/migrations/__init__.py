"""Alembic's scripts; run by `fleetmend.store.schema` alone."""
