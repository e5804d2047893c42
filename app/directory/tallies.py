"""How many records and groups a source has, without counting them."""

from functools import cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, cast, func, select

from app.directory.tables import Tally
from app.statements import param


@cache
def number_of(kind: str) -> Select[Any]:
    """SELECT how many of `kind` (`record`, `directory_group`) stand of the source `:source` of `:organization`."""
    return number_in(param("organization"), kind)


def number_in(organization: ColumnElement[str], kind: str) -> Select[Any]:
    """`number_of`, where another expression says of which organisation."""
    return select(cast(func.coalesce(func.sum(Tally.number), 0), BigInteger)).where(
        Tally.organization_id == organization, Tally.source_id == param("source"), Tally.kind == kind
    )
