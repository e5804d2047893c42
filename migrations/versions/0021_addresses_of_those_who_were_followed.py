"""Whoever a resource was taken from for a successor is known by their addresses again."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.directory.names import name_key

revision = "0021"
down_revision = "0020"

_AT_A_TIME = 1000
_record = sa.table(
    "record", *map(sa.column, ("organization_id", "id", "ended_at")),
    sa.column("document", sa.JSON().with_variant(postgresql.JSONB(), "postgresql")),
)  # fmt: skip
_email = sa.table("record_email", *map(sa.column, ("organization_id", "record_id", "address_key")))


def upgrade() -> None:
    connection = op.get_bind()
    known = sa.exists().where(_email.c.organization_id == _record.c.organization_id, _email.c.record_id == _record.c.id)
    own = _record.c.organization_id, _record.c.id
    ended = sa.select(*own, _record.c.document).where(_record.c.ended_at.is_not(None), ~known).order_by(*own).limit(_AT_A_TIME)
    last: tuple[str, str] | None = None
    while rows := connection.execute(ended if last is None else ended.where(sa.tuple_(*own) > sa.tuple_(*map(sa.literal, last)))).all():
        last = rows[-1].organization_id, rows[-1].id
        addresses = [
            {"organization_id": row.organization_id, "record_id": row.id, "address_key": key}
            for row in rows
            for key in sorted(set(_keys(row.document)))
        ]
        if addresses:
            connection.execute(_email.insert(), addresses)


def _keys(document: Any) -> Iterator[str]:
    elements = document.get("emails") if isinstance(document, dict) else None
    for element in elements if isinstance(elements, list) else []:
        value = element.get("value") if isinstance(element, dict) else element
        if isinstance(value, str) and value.strip():
            yield name_key(value)
