"""Part of a record's name is found by the trigrams in it: pg_trgm's index on PostgreSQL, FTS5's on SQLite.

An index only proposes; every record is then asked for its name as it is now. See docs/decisions/0018.
"""

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    String,
    TextClause,
    and_,
    case,
    column,
    exists,
    func,
    literal,
    literal_column,
    not_,
    select,
    table,
    text,
    union_all,
)
from sqlalchemy.orm import Session

from app.directory.json_sql import Claim, fitting, reader_for
from app.directory.tables import Record
from app.directory.values import Operator

SHORTEST: Final = 3
"""Signs that a text has at least where trigrams help."""
RARE: Final = 5_000
"""Where more names than these are proposed, SQLite is quicker by looking at every record."""
MANY: Final = 1_000
AT_ONCE: Final = 500
"""Names that are taken into SQLite's index in one transaction: some 5 ms, in which nobody else writes."""
MOST_TOLD: Final = 3
SAMPLED: Final = 3
"""Of the hundred names that PostgreSQL keeps as a sample, so many may have a trigram that is asked for."""
PARTLY: Final = frozenset({Operator.CO, Operator.SW, Operator.EW})
_INDEX: Final = "ix_record_name_part"
_LONGEST: Final = 60
# pg_trgm knows words of letters and digits, and where they begin and end; which letters beside these depends on the locale.
_KNOWN: Final = re.compile(r"[a-z0-9]{3}|(?![a-z0-9])[\x20-\x7e][a-z0-9]{2}|[a-z0-9]{2}(?![a-z0-9])[\x20-\x7e]")
_CREATE: Final = "CREATE VIRTUAL TABLE {} USING fts5(name, content='', columnsize=0, tokenize='trigram case_sensitive 1')"

# Made by migration 0005 on SQLite only, therefore not in the metadata. `rowid` and `number` are the rowid of a record:
# records are never deleted, so those are 1, 2, 3 and so on, and stay so when the table is copied (VACUUM, a dump).
_PART = table("name_part", column("rowid"), column("name", String()))
_UPTO = table("name_part_upto", column("number"))
_RENAMED = table("name_part_renamed", column("number"), column("was", String()))

Own = tuple[ColumnElement[Any], ColumnElement[Any]]


@cache
def trigrams_known() -> bool:
    """Whether this Python's SQLite has FTS5 with trigrams (3.34)."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(_CREATE.format("probe"))
        except sqlite3.OperationalError:
            return False
    return True


def name_fits(
    name: Any, operator: Operator, wanted: Any, dialect: str, *, telling: Sequence[Any], own: Own | None = None, most: Any = None
) -> Claim:
    """Whether `Record.user_name_key` fits an expression for a folded text, of which the index is asked what is `telling` (`told`).

    With `own` (of which organisation and source, in the query around) and `most`, no more than `most` need be found: where
    there are more, as many are, but it is open which.
    """
    fits = fitting(reader_for(dialect), name, operator, wanted)
    if operator not in PARTLY:
        return fits
    if dialect == "postgresql":
        return and_(*(name.like(one) for one in telling), fits)
    if not trigrams_known():
        return fits
    return and_(Record.id.in_(_proposed(operator, wanted, own, most, telling[0])), fits)


def trigrams_of(wanted: str) -> list[str]:
    """The trigrams of the part of a text that tells something, in their order; none where SQLite has no index of them."""
    return _trigrams(_before_domain(wanted)) if trigrams_known() else []


def _trigrams(part: str) -> list[str]:
    return [part[start : start + SHORTEST] for start in range(len(part) - SHORTEST + 1)]


def _before_domain(wanted: str) -> str:
    """The part of a text that the index is asked for. Everybody has the same domain, and reading all of them is slow."""
    at = wanted.find("@") + 1
    return (wanted[:at] if at > SHORTEST else wanted)[:_LONGEST]


def told(wanted: str, dialect: str, *, sample: str = "") -> tuple[str, ...]:
    """What the index is asked, as long as nothing is known of how many names have what: see `name_fits`.

    On PostgreSQL it is at most MOST_TOLD patterns of a trigram each, of those that are rare in a `sample` of names (`names_sampled`):
    GIN reads some of the list of each that it is asked for, and three far from each other are in few names together.
    """
    part = _before_domain(wanted)
    if dialect == "sqlite":
        return (part,)
    trigrams = _trigrams(part)
    known = {one: sample.count(one) for one in trigrams if _KNOWN.fullmatch(one)}
    rare = [one for one, number in known.items() if number <= max(SAMPLED, min(known.values()))] or [part]
    chosen = dict.fromkeys((rare[0], rare[len(rare) // 2], rare[-1]))
    return tuple("%" + re.sub(r"([\\%_])", r"\\\1", one) + "%" for one in chosen)


@cache
def names_sampled() -> TextClause:
    """SELECT a text of a hundred names; no row, or null, where PostgreSQL has not yet looked at them (ANALYZE). For PostgreSQL."""
    return text(
        "SELECT CAST(histogram_bounds AS TEXT) FROM pg_stats "
        "WHERE schemaname = current_schema() AND tablename = 'record' AND attname = 'user_name_key'"
    )


def most_telling(trigrams: Sequence[str], numbers: Sequence[int]) -> str:
    """The part of the text to ask for, given in how many names each trigram is (`numbers_of_trigrams`): the rare ones in a row.

    FTS5 reads the list of every trigram it is asked for; of the one that everybody's name has, that is everybody.
    """
    rarest = first = last = min(range(len(numbers)), key=numbers.__getitem__)
    # Where each is in many, all of them together are in the fewest.
    few = MANY + 1 if numbers[rarest] >= MANY else min(MANY, 4 * numbers[rarest] + 50)
    while first and numbers[first - 1] < few:
        first -= 1
    while last + 1 < len(numbers) and numbers[last + 1] < few:
        last += 1
    return "".join(one[0] for one in trigrams[first:last]) + trigrams[last]


@cache
def numbers_of_trigrams() -> TextClause:
    """SELECT in how many names each of the JSON list `:trigrams` is, in their order; counted up to MANY. For SQLite."""
    return text(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM name_part WHERE name MATCH '\"' || replace(value, '\"', '\"\"') || '\"' "
        f"LIMIT {MANY})) FROM json_each(:trigrams) ORDER BY key"
    )


def rare(session: Session) -> Callable[[str], bool]:
    """The question whether a text is in so few names that the index is the quicker way to them."""
    if session.get_bind().dialect.name == "postgresql" or not trigrams_known():
        return lambda key: True

    def is_rare(key: str) -> bool:
        some = select(literal(1)).select_from(_PART).where(_matches(_PART, literal(_before_domain(key)))).limit(RARE).subquery()
        return len(key) >= SHORTEST and (session.scalar(select(func.count()).select_from(some)) or 0) < RARE

    return is_rare


def _matches(part: Any, telling: Any) -> Claim:
    # A text in quotes is no query, whatever is in it.
    phrase = literal('"').concat(func.replace(telling, '"', '""', type_=String())).concat('"')
    claim: Claim = part.c.name.op("MATCH", is_comparison=True)(phrase)
    return claim


def _proposed(operator: Operator, wanted: Any, own: Own | None, most: Any, telling: Any) -> Any:
    """SELECT the ids of those whose name fits: by the index, and each by itself of those that it does not know (as they are now)."""
    part, renamed, other = _PART.alias("part"), _RENAMED.alias("renamed"), Record.__table__.alias("other")
    number: Any = literal_column("other.rowid")
    long = func.length(wanted) >= SHORTEST
    upto = select(_UPTO.c.number).scalar_subquery()
    changed = exists().where(renamed.c.number == part.c.rowid)
    # None of them twice, so that `most` of them are as many records.
    ways = (
        select(other.c.id).select_from(part).join(other, number == part.c.rowid).where(_matches(part, telling), long, not_(changed)),
        # As a sum, so that SQLite does not look for each record among the renamed, but the other way round.
        select(other.c.id).select_from(renamed).join(other, number == renamed.c.number + 0).where(long),
        # Of texts too short for trigrams the index knows nobody.
        select(other.c.id).where(number > case((long, upto), else_=0)),
    )
    fits = fitting(reader_for("sqlite"), other.c.user_name_key, operator, wanted)
    if own is None:
        return union_all(*(way.where(fits) for way in ways))
    # As texts put together, so that SQLite does not go by the index of sources, which has everybody.
    theirs = (other.c.organization_id.concat("") == own[0], other.c.source_id.concat("") == own[1], other.c.ended_at.is_(None))
    around = [one.table for one in own if getattr(one, "table", None) is not None]
    found = union_all(*(way.where(fits, *theirs).correlate(*around) for way in ways))
    return found if most is None else found.limit(most)


def catch_up(session: Session) -> bool:
    """Take names into the index that it does not know yet. Whether there may be more of them."""
    if session.get_bind().dialect.name == "postgresql":
        # What was put aside while users were created is merged here, and not while another is.
        if is_indexed(session):
            session.execute(select(func.gin_clean_pending_list(literal_column(f"'{_INDEX}'::regclass"))))
        return False
    if not trigrams_known():
        return False
    if not is_indexed(session):
        # The schema was made where FTS5 was missing, and a table that stays empty stands for the index.
        for step in ("DROP TABLE IF EXISTS name_part", _CREATE.format("name_part"), "UPDATE name_part_upto SET number = 0", "DELETE FROM name_part_renamed"):
            session.execute(text(step))
    return _take_renamed(session) | _take_new(session)


def _take_renamed(session: Session) -> bool:
    batch = {"most": AT_ONCE}
    some = "FROM name_part_renamed ORDER BY number LIMIT :most"
    if session.scalar(text("SELECT 1 FROM name_part_renamed LIMIT 1")) is None:
        return False
    # An index without content has to be told what it should forget.
    session.execute(text(f"INSERT INTO name_part (name_part, rowid, name) SELECT 'delete', number, was {some}"), batch)
    session.execute(
        text(
            f"INSERT INTO name_part (rowid, name) SELECT record.rowid, record.user_name_key FROM (SELECT number {some}) AS some "
            "JOIN record ON record.rowid = some.number ORDER BY 1"
        ),
        batch,
    )
    session.execute(text(f"DELETE FROM name_part_renamed WHERE number IN (SELECT number {some})"), batch)
    return session.scalar(text("SELECT 1 FROM name_part_renamed LIMIT 1")) is not None


def _take_new(session: Session) -> bool:
    upto = session.scalar(select(_UPTO.c.number)) or 0
    new = "SELECT rowid AS number, user_name_key AS name FROM record WHERE rowid > :upto ORDER BY rowid LIMIT :most"
    batch = {"upto": upto, "most": AT_ONCE}
    last = session.scalar(text(f"SELECT max(number) FROM ({new})"), batch)
    if last is None:
        return False
    session.execute(text(f"INSERT INTO name_part (rowid, name) {new}"), batch)
    session.execute(text("UPDATE name_part_upto SET number = :last"), {"last": last})
    return session.scalar(text("SELECT 1 FROM record WHERE rowid > :last LIMIT 1"), {"last": last}) is not None


def is_indexed(session: Session) -> bool:
    """Whether the database has the index; without it every record's name is looked at."""
    if session.get_bind().dialect.name == "postgresql":
        asked = text("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND indisvalid")
        return session.scalar(asked, {"name": _INDEX}) is not None
    asked = text("SELECT 1 FROM sqlite_master WHERE name = 'name_part' AND sql LIKE 'CREATE VIRTUAL%'")
    return trigrams_known() and session.scalar(asked) is not None
