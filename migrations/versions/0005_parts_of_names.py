"""Users found by part of their name without looking at all of them."""

from migrations.name_parts import index_parts_of_names

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # On SQLite the worker takes in the names that are here already; until then they are looked at one by one.
    index_parts_of_names()
