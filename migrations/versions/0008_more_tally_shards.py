"""PostgreSQL: more rows over which those who create at the same time are spread, so that two of them seldom wait for each other."""

from alembic import op

from migrations.triggers import tally_function

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        tally_function(shards=64)
