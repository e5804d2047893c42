"""The reads that directories ask all day, answered from stored bytes: the token and the rows in one statement.

What is not answered here (`None`) takes the ordinary way, which also says what is wrong with a request.
"""

import json
import math
import re
import time
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Integer, Select, Subquery, Text, and_, cast, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.access.knocking import client_query
from app.bare.connection import Bare
from app.clock import iso_of, microseconds
from app.directory.filters import LONGEST
from app.directory.name_parts import MOST_TOLD, most_telling, name_fits, names_sampled, numbers_of_trigrams, told, trigrams_of
from app.directory.names import name_key
from app.directory.tables import INSIDE, Group, Membership, Person, Record
from app.directory.tallies import number_in, number_of
from app.directory.values import Operator, fold
from app.lifecycle.plain_seen import Beside
from app.lifecycle.plain_sql import text
from app.scim.answers import LIST_URN, JSONList
from app.scim.member_texts import said_of, with_members
from app.scim.schemas import LARGEST_PAGE, USUAL_PAGE
from app.statements import param

Row = tuple[Any, ...]
# Only ASCII letters have two cases here: `uſerName` is no name of ours.
_LOOK_UP: Final = re.compile(
    r'[ \t]*(userName|externalId)[ \t]+(eq|co|sw|ew)[ \t]+"([^"\\\x00-\x1f]+)"[ \t]*', re.IGNORECASE | re.ASCII
)
USUAL: Final = frozenset({10, 20, 25, 50, USUAL_PAGE, LARGEST_PAGE})
"""Sizes of pages that have a statement of their own (`limit_of`)."""
_TELLING: Final = tuple(f"telling_{number}" for number in range(MOST_TOLD))
SAMPLE_FOR: Final = 600.0
"""Seconds for which a connection goes by the same sample of names."""
_SAMPLES: Final[WeakKeyDictionary[Bare, tuple[float, str]]] = WeakKeyDictionary()
_OF_PERSON: Final = and_(Person.organization_id == Record.organization_id, Person.id == Record.person_id)


class Knock(NamedTuple):
    """What every hot statement needs: whose token, at which directory and when, and the base URL of its resources."""

    digest: str
    source: str
    base: str
    now: datetime

    def values(self, **more: Any) -> dict[str, Any]:
        return {"digest": self.digest, "source": self.source, "at": microseconds(self.now), "groups": f"{self.base}/Groups/", **more}


class Answered(NamedTuple):
    """An answer whose body is JSON already, in pieces."""

    body: Sequence[bytes]
    status: int = 200
    version: int | None = None
    location: str | None = None


def _user_columns(dialect: str) -> tuple[ColumnElement[Any], ...]:
    """id, document, active, created, modified, version, groups: all that the answer of a user is made of."""
    active = and_(Record.active, Person.standing.in_([literal(standing.value, literal_execute=True) for standing in INSIDE]))
    return (
        Record.id.expression, cast(Record.document, Text), active, Record.created_at.expression, Record.modified_at.expression,
        Record.version.expression, _groups(dialect),
    )  # fmt: skip


@cache
def _groups(dialect: str) -> ColumnElement[Any]:
    """The groups of a record as JSON text, null where it has none. SQLite's index of memberships gives them in the order of ids."""
    parts = [part for name, value in said_of(Group.id, "groups", Group.display_name, "direct").items() for part in (text(name), value)]
    if dialect == "sqlite":
        # It has no order of its own here before 3.44: what is read comes in that order.
        listed: ColumnElement[Any] = func.json_group_array(func.json_object(*parts))
    else:
        listed = cast(func.json_agg(aggregate_order_by(func.json_build_object(*parts), Group.id)), Text)
    return (
        select(listed)
        .select_from(Membership)
        .join(Group, and_(Group.organization_id == Membership.organization_id, Group.id == Membership.group_id))
        .where(
            Membership.organization_id == Record.organization_id, Membership.record_id == Record.id, Membership.ended_at.is_(None),
            Group.ended_at.is_(None),
        )
        .correlate(Record)
        .scalar_subquery()
    )  # fmt: skip


@cache
def _one(dialect: str) -> Select[Any]:
    """The user `:id`; a row of nulls where the token is good and the user unknown, no row where it is not good."""
    return _beside(client_query().subquery("client"), dialect, Record.id == param("id"))


@cache
def _named(dialect: str, attribute: str, operator: Operator) -> Select[Any]:
    """Those whose userName or externalId fits `:value`, one more than `:most` at the most."""
    client, value, most = client_query().subquery("client"), param("value"), param("most", Integer())
    if attribute == "username":
        own = (client.c.organization_id, client.c.source_id)
        telling = [param(name) for name in _TELLING]
        wanted = name_fits(Record.user_name_key, operator, value, dialect, own=own, most=most, telling=telling)
    else:
        wanted = Record.external_id == value
    query = _beside(client, dialect, wanted)
    return query if operator is Operator.EQ else query.order_by(Record.id).limit(most)


def _beside(client: Subquery, dialect: str, wanted: ColumnElement[bool]) -> Select[Any]:
    own = and_(Record.organization_id == client.c.organization_id, Record.source_id == client.c.source_id, Record.ended_at.is_(None), wanted)
    return select(*_user_columns(dialect)).select_from(client).outerjoin(Record, own).outerjoin(Person, _OF_PERSON)


def user_text(row: Row, base: str) -> str:
    """A user as it is answered, from the columns of `_user_columns`."""
    record_id, document, active, created, modified, version, groups = row
    return (
        f'{{"id":"{record_id}",{document[1:-1]},"active":{"true" if active else "false"},"groups":{groups or "[]"},'
        f'"meta":{{"resourceType":"User","created":"{iso_of(created)}","lastModified":"{iso_of(modified)}",'
        f'"location":"{base}/Users/{record_id}","version":"W/\\"{version}\\""}}}}'
    )


def list_text(resources: Sequence[str], *, total: int, start: int | None = None, following: str | None = None) -> str:
    """A ListResponse of resources that are JSON already; `start` where pages go by index, `following` where there is a next cursor."""
    first = "" if start is None else f'"startIndex":{start},'
    cursor = "" if following is None else f'"nextCursor":"{following}",'
    return (
        f'{{"schemas":["{LIST_URN}"],"totalResults":{total},{first}"itemsPerPage":{len(resources)},{cursor}'
        f'"Resources":[{",".join(resources)}]}}'
    )


async def one_user(bare: Bare, knock: Knock, record_id: str) -> Answered | None:
    """GET /Users/id."""
    rows = await bare.rows(_one(bare.dialect), knock.values(id=record_id))
    if not rows or rows[0][0] is None:
        return None
    return Answered(body=[user_text(rows[0], knock.base).encode()], version=rows[0][5], location=f"{knock.base}/Users/{rows[0][0]}")


@cache
def _group(dialect: str) -> Select[Any]:
    """The group `:id`, in a row for each piece of its members; no row where it or the token is not good."""
    client = client_query().subquery("client")
    own = and_(Group.organization_id == client.c.organization_id, Group.source_id == client.c.source_id, Group.id == param("id"))
    group = (
        select(
            cast(Group.document, Text), Group.display_name, Group.external_id, Group.created_at.expression, Group.modified_at.expression,
            Group.version,
        )
        .select_from(client)
        .join(Group, own)
        .where(Group.ended_at.is_(None))
    )  # fmt: skip
    return with_members(group, dialect)


async def one_group(bare: Bare, knock: Knock, group_id: str) -> Answered | None:
    """GET /Groups/id."""
    rows = await bare.long_rows(_group(bare.dialect), {**knock.values(id=group_id), "users": f"{knock.base}/Users/"})
    if not rows:
        return None
    document, name, external_id, created, modified, version, _ = rows[0]
    said = {**json.loads(document), "displayName": name, **({} if external_id is None else {"externalId": external_id})}
    location = f"{knock.base}/Groups/{group_id}"
    members = JSONList()
    rows.reverse()
    while rows:
        # Each is let go once it is a piece of the answer, so that there are never two of all.
        *_, piece = rows.pop()
        if piece is not None:
            members.append(piece)
    before = f'{{"id":"{group_id}",{json.dumps(said, ensure_ascii=False)[1:-1]},"members":'
    after = (
        f',"meta":{{"resourceType":"Group","created":"{iso_of(created)}","lastModified":"{iso_of(modified)}",'
        f'"location":"{location}","version":"W/\\"{version}\\""}}}}'
    )
    return Answered(body=[before.encode(), *members.pieces, after.encode()], version=version, location=location)


async def _telling(bare: Bare, value: str) -> Sequence[str]:
    """What the index of parts of names is asked for a folded text."""
    if bare.dialect == "postgresql":
        return told(value, bare.dialect, sample=await _sample(bare))
    trigrams = trigrams_of(value)
    if not trigrams:
        return (value,)
    counted = await bare.rows(numbers_of_trigrams(), {"trigrams": json.dumps(trigrams)})
    return (most_telling(trigrams, [number for (number,) in counted]),)


async def _sample(bare: Bare) -> str:
    at, sample = _SAMPLES.get(bare, (-math.inf, ""))
    if time.monotonic() - at > SAMPLE_FOR:
        rows = await bare.rows(names_sampled(), {})
        sample = (rows[0][0] if rows else None) or ""
        _SAMPLES[bare] = (time.monotonic(), sample)
    return sample


@cache
def _client() -> Select[str, int]:
    """organization_id, and how many users the directory has; no row where the token is not good."""
    client = client_query().subquery("client")
    number = number_in(client.c.organization_id, Record.__tablename__).scalar_subquery()
    return select(client.c.organization_id, number).select_from(client)


@cache
def _page(dialect: str, from_end: bool, usual: int | None) -> Select[Any]:
    """Users by id, from the one after `:skip` others on. Ids are counted off in an index; only what is shown is read.

    They are counted from the nearer end; from the last one it takes their number, as it is at this very moment.
    """
    own = (Record.organization_id == param("organization"), Record.source_id == param("source"), Record.ended_at.is_(None))
    most = limit_of(usual)
    skip = param("skip", Integer())
    if from_end:
        greatest = func.max if dialect == "sqlite" else func.greatest
        number = number_of(Record.__tablename__).scalar_subquery()
        ids = select(Record.id).where(*own).order_by(Record.id.desc()).limit(most).offset(greatest(number - skip - param("most", Integer()), 0))
    else:
        ids = select(Record.id).where(*own).order_by(Record.id).limit(most).offset(skip)
    return shown_users(dialect, ids)


def limit_of(usual: int | None) -> Any:
    """`:most` rows, or as many as is usual: PostgreSQL takes a plan for few rows only where the text says that they are few."""
    return param("most", Integer()) if usual is None else literal(usual, literal_execute=True)


def shown_users(dialect: str, ids: Select[str]) -> Select[Any]:
    """What `user_text` needs of the users of these ids, in the order of ids. The values `organization` and `groups` have to be given."""
    shown = ids.subquery("shown")
    return (
        select(*_user_columns(dialect))
        .select_from(shown)
        .join(Record, and_(Record.organization_id == param("organization"), Record.id == shown.c.id))
        .join(Person, _OF_PERSON)
        # By the list's own id: by the record's, SQLite would read everybody's record in order, and look each up in the list.
        .order_by(shown.c.id)
    )


def groups_beside(dialect: str, knock: Knock) -> Beside:
    """The groups of a record as JSON text, null where it has none, to be asked along with whatever else is asked of it."""
    return _groups(dialect), {"groups": f"{knock.base}/Groups/"}


async def page_of_users(bare: Bare, knock: Knock, *, start: int, count: int) -> Answered | None:
    """GET /Users without a filter."""
    client = await bare.rows(_client(), knock.values())
    if not client:
        return None
    organization_id, number = client[0]
    most = min(count, LARGEST_PAGE, max(number - start + 1, 0))
    values = knock.values(organization=organization_id, most=most, skip=start - 1)
    rows = await bare.rows(_page(bare.dialect, start > number // 2, most if most in USUAL else None), values)
    return Answered(body=[list_text([user_text(row, knock.base) for row in rows], total=number, start=start).encode()])


async def found_users(bare: Bare, knock: Knock, text: str, *, start: int, count: int) -> Answered | None:
    """GET /Users with a filter by name or externalId, as directories look before they create."""
    asked = _LOOK_UP.fullmatch(text) if len(text) <= LONGEST else None
    if asked is None or start != 1:
        return None
    attribute, operator, value = asked[1].lower(), Operator(asked[2].lower()), asked[3]
    if attribute == "username":
        value = name_key(value) if operator is Operator.EQ else fold(value)
    elif operator is not Operator.EQ:
        return None
    most = min(count, LARGEST_PAGE)
    telling = () if operator is Operator.EQ else await _telling(bare, value)
    # Where there are fewer, the last once more.
    asked_for = {name: telling[min(number, len(telling) - 1)] for number, name in enumerate(_TELLING)} if telling else {}
    rows = await bare.rows(_named(bare.dialect, attribute, operator), knock.values(value=value, most=most + 1, **asked_for))
    # No row at all: the token is not good. More than fit on the page: all have to be counted.
    if not rows or len(rows) > most:
        return None
    found = [user_text(row, knock.base) for row in rows if row[0] is not None]
    return Answered(body=[list_text(found, total=len(found), start=1).encode()])
