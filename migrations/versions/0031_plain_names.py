"""What a channel is called without the number that keeps it apart from another, so that `interns-2026` is told from a second `interns`."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"

_LONGEST = 80
_AT_A_TIME = 500
_channel = sa.table("channel", *map(sa.column, ("organization_id", "id", "name", "plain")))


def upgrade() -> None:
    op.add_column("channel", sa.Column("plain", sa.Text()))
    connection = op.get_bind()
    rows = connection.execute(sa.select(_channel.c.organization_id, _channel.c.id, _channel.c.name)).all()
    names = {(row.organization_id, row.name) for row in rows}
    own = [row for row in rows if not _may_be_numbered(row.organization_id, row.name, names)]
    for start in range(0, len(own), _AT_A_TIME):
        some = [(row.organization_id, row.id) for row in own[start : start + _AT_A_TIME]]
        mine = sa.tuple_(_channel.c.organization_id, _channel.c.id).in_(some)
        connection.execute(_channel.update().where(mine).values(plain=_channel.c.name))


def _may_be_numbered(organization_id: str, name: str, names: set[tuple[str, str]]) -> bool:
    """Whether the number behind it may be one of ours: those before it were given first. Of a name that was cut nobody knows the whole."""
    found = re.fullmatch(r"(.*)-([0-9]+)", name, re.DOTALL)
    if found is None:
        return False
    before = int(found[2]) - 1
    return len(name) == _LONGEST or (organization_id, found[1] if before == 1 else f"{found[1]}-{before}") in names
