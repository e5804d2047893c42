"""What SQLite's planner is told of our tables, so that it chooses well in a large organisation.

Told nothing, it takes it that an organisation has ten rows of each table, and rather looks through all of them than begin with a
person: nobody notices among a hundred. It could count (`ANALYZE`), but plans would then follow whatever was there when it last did.
What is written here is no count but what a large organisation looks like, and the same for all
(https://www.sqlite.org/queryplanner-ng.html#howtofix). PostgreSQL counts by itself.
"""

from collections.abc import Iterator
from math import prod
from typing import Final

from sqlalchemy import Connection, Row, text

_MANY: Final = 1_000_000
_SOME: Final = 10_000
_FEW: Final = 20
_OF_SOME: Final = frozenset(
    {
        "alarm", "alarm_post", "awaited_member", "channel", "device_request", "directory_group", "engagement", "handed_channel", "handover", "heir", "held",
        "held_line", "legal_hold", "login", "one_time_code", "question", "reach", "room", "run", "sponsor_letter", "stay",
    }
)  # fmt: skip
_OF_FEW: Final = frozenset(
    {
        "alarm_route", "audit_checkpoint", "audit_delivery", "audit_sequencer", "audit_tree", "bearer_token", "break_glass_account", "connection",
        "connection_domain", "ended_workspace", "hr_system", "oauth_client", "operator", "organization", "relying_party", "rules_revision",
        "schema_extension", "signal_receiver", "signal_stream", "signal_transmitter", "signing_key", "source", "source_state", "sweep", "workspace",
    }
)  # fmt: skip
_VALUES: Final = {
    "organization_id": 1, "workspace_id": 2, "source_id": 4, "connection_id": 3, "client_id": 5, "stream_id": 3, "kind": 3, "state": 3, "standing": 4,
    "lane": 2, "subject": 4, "subject_kind": 3, "priority": 4, "why": 4, "what": 3, "step": 3, "place": 3, "refused": 2, "told_disabled": 2, "issuer": 3,
    "tenant": 3, "domain": 3, "rule_id": 20, "shard": 8, "department": 1_000, "channel_id": _SOME, "group_id": _SOME, "group_key": _SOME,
}  # fmt: skip
"""How many there are of what has few; of all else each row has its own."""
_OF_ONE: Final = 10
"""Rows that one person, say, has in a table."""
_HAVING: Final = _MANY // 20
"""Rows in an index of those only that have something, or of which something is still to be done."""


def tell(connection: Connection) -> None:
    """Tell it of every index there is; whoever connects from then on goes by it. Twice is once. Of PostgreSQL nothing is written."""
    if connection.dialect.name != "sqlite":
        return
    indexes = connection.execute(text("SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index'")).all()
    # Makes the table where there is none yet, and counts nothing.
    connection.execute(text("ANALYZE sqlite_master"))
    connection.execute(text("DELETE FROM sqlite_stat1"))
    told = [{"table": index.tbl_name, "index": index.name, "stat": " ".join(map(str, _rows(connection, index)))} for index in indexes]
    connection.execute(text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:table, :index, :stat)"), told)
    # Whoever is connected reads it by this.
    connection.execute(text("ANALYZE sqlite_master"))


def _rows(connection: Connection, index: Row[tuple[str, str, str | None]]) -> Iterator[int]:
    """How many rows the index has, and how many are alike in its first column, in its first two, and so on."""
    where = (index.sql or "").partition(" WHERE ")[2]
    rows = _FEW if index.tbl_name in _OF_FEW else _SOME if index.tbl_name in _OF_SOME else _MANY
    if where and where != "ended_at IS NULL":
        rows = min(rows, _HAVING)
    yield rows
    columns = [str(one.name) for one in connection.execute(text("SELECT name FROM pragma_index_info(:index) ORDER BY seqno"), {"index": index.name})]
    is_unique = index.sql is None or index.sql.startswith("CREATE UNIQUE")
    for count in range(1, len(columns) + 1):
        values = prod(_VALUES.get(column, rows) for column in columns[:count])
        yield 1 if is_unique and count == len(columns) else max(_OF_ONE, rows // values)
