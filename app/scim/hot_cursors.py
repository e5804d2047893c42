"""Pages of users by cursor (RFC 9865) from stored bytes: the same cursors as the ordinary way gives and takes."""

from functools import cache
from typing import Any

from sqlalchemy import Select, select
from werkzeug.datastructures import MultiDict

from app.access.knocking import client_query
from app.bare.connection import Bare
from app.directory.sort_sql import USERS
from app.directory.tables import Record
from app.directory.tallies import number_in
from app.journal.tables import Organization
from app.scim.cursors import Place, read_cursor, write_cursor
from app.scim.hot_reads import USUAL, Answered, Knock, limit_of, list_text, shown_users, user_text
from app.scim.paging import asked_page
from app.settings import Settings
from app.statements import param


@cache
def _client() -> Select[Any]:
    """organization_id, how many users the directory has, and by which schemas they are read; no row where the token is not good."""
    client = client_query().subquery("client")
    number = number_in(client.c.organization_id, Record.__tablename__).scalar_subquery()
    own = Organization.id == client.c.organization_id
    return select(client.c.organization_id, number, Organization.schemas_version).select_from(client).join(Organization, own)


@cache
def _page(dialect: str, usual: int | None) -> Select[Any]:
    """Users by id, from the one after `:behind` on, `:most` or as many as is `usual`: see `hot_reads.limit_of`."""
    own = (Record.organization_id == param("organization"), Record.source_id == param("source"), Record.ended_at.is_(None))
    ids = select(Record.id).where(*own, Record.id > param("behind")).order_by(Record.id).limit(limit_of(usual))
    return shown_users(dialect, ids)


async def page_by_cursor(bare: Bare, knock: Knock, settings: Settings, *, cursor: str, count: str | None) -> Answered | None:
    """GET /Users with a cursor and without a filter. Raises SCIMError for one that is not good, or a count that is none."""
    client = await bare.rows(_client(), knock.values())
    if not client:
        return None
    organization_id, number, schemas_version = client[0]
    # A cursor says by which schemas its list is read, and those are known to the ordinary way.
    if schemas_version is not None:
        return None
    page = asked_page(MultiDict({"cursor": cursor, **({} if count is None else {"count": count})}))
    question = (organization_id, knock.source, USERS.name, *page.question)
    place = read_cursor(settings, page.cursor, question=question, at=knock.now) if page.cursor else None
    behind = "" if place is None or place.last is None else place.last[1]
    # One more than fits tells whether there is another page.
    most = page.count + 1
    values = knock.values(organization=organization_id, behind=behind, most=most)
    rows = await bare.rows(_page(bare.dialect, most if page.count in USUAL else None), values)
    shown = rows[: page.count]
    total = place.total if place is not None else number if len(rows) > page.count else len(rows)
    following = None
    # A page of none is asked for the number alone: none follows.
    if shown and len(rows) > page.count:
        following = write_cursor(settings, Place(kind=0, last=(None, shown[-1][0]), total=total), question=question, at=knock.now)
    return Answered(body=[list_text([user_text(row, knock.base) for row in shown], total=total, following=following).encode()])
