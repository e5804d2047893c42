"""Who joins by the same number, address or name comes one after the other, so that the second sees the first.

PostgreSQL alone needs that: SQLite has one writer at a time. A row can be held only once it is there; these are advisory locks.
"""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, Final
from zlib import crc32

from sqlalchemy import ColumnElement, Integer, Select, Text, cast, func, literal, select
from sqlalchemy.orm import Session

from app.statements import each_of, param

NUMBER: Final = "employeeNumber"
_PLACES: Final = 1024
"""Addresses and names share so many locks in an organisation: a pull names thousands at once, and PostgreSQL has room for some thousand locks."""
_HALF: Final = 2**31
_ORGANIZATION: Final = param("organization")


def hold_keys(session: Session, organization_id: str, keys: Iterable[tuple[str, str]]) -> None:
    """Hold these, each a key's name and a value of it, until the transaction ends; whoever holds one is waited for. Twice is once.

    What is read afterwards is as they have left it. Whoever joins holds keys before anybody's row.
    """
    if session.get_bind().dialect.name != "postgresql":
        return
    listed = key_numbers(keys)
    if listed:
        session.execute(holding(_ORGANIZATION), {"organization": organization_id, "numbers": json.dumps(listed)})


def hold_numbers(session: Session, organization_id: str, numbers: Iterable[str]) -> None:
    """The same of employee numbers."""
    hold_keys(session, organization_id, ((NUMBER, number) for number in numbers))


def key_numbers(keys: Iterable[tuple[str, str]]) -> list[int]:
    """The locks of these, in one order, so that no two wait for each other."""
    return sorted({_number(key, value) for key, value in keys})


def _number(key: str, value: str) -> int:
    # Half a sign is nothing that a database keeps, but it may be asked about before that is found out.
    number = crc32(f"{key} {value}".encode("utf-8", "surrogatepass"))
    # Numbers change in the midst of a pull, where no order can be kept: they must not share a lock with anybody else's.
    return (number if key == NUMBER else number % _PLACES) - _HALF


@cache
def holding(organization: ColumnElement[str]) -> Select[Any]:
    """PostgreSQL: hold the locks `:numbers` (`key_numbers`, as JSON) of an organisation, one after the other.

    The statement is kept from then on, and so `organization` is to be one that is, not one made for each who asks.
    """
    each = cast(each_of("numbers", "postgresql"), Integer)
    space: ColumnElement[str] = literal("matching ", Text(), literal_execute=True).op("||")(organization)
    return select(func.pg_advisory_xact_lock(func.hashtext(space), each))
