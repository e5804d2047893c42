"""Alembic migrations: expand, fill, contract."""
