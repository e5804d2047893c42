"""Verbs on sources: directories that push over SCIM, and HR systems that call."""

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, Acting, verb
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Source
from app.lifecycle.sources import add_hr_source, add_scim_source, find_source, revoke, rotate
from app.settings import Settings


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(source)


@click.group()
def source() -> None:
    """Directories that push over SCIM, and HR systems that call."""


@source.group()
def add() -> None:
    """Connect a directory or an HR system."""


def address(settings: Settings, one: Source) -> dict[str, object]:
    """Where the other side reaches this source, under the name that its side gives it."""
    if one.kind == "scim":
        return {"base_url": f"{settings.public_url}/scim/v2/{one.id}"}
    return {"url": f"{settings.public_url}/hr/{one.id}"}


def _shown(acting: Acting, one: Source, secret: str) -> Answer:
    kept = "token" if one.kind == "scim" else "secret"
    where = address(acting.settings, one)
    return Answer(
        schema="source",
        fields={"id": one.id, "name": one.name, "kind": one.kind, **where, kept: secret},
        tables=[Table(columns=("name", *where, kept), rows=[(one.name, *where.values(), secret)])],
        notes=[f"The {kept} is shown this once."],
    )


@verb(add, "scim", may=ADMINS)
@click.argument("name")
def add_scim(acting: Acting, name: str) -> Answer:
    """Connect a directory; its base URL and token go into the identity provider."""
    made, token = in_transaction(lambda session: add_scim_source(session, acting.organization_id, name, actor=acting.actor, at=now()))
    return _shown(acting, made, token)


@verb(add, "hr", may=ADMINS)
@click.argument("name")
def add_hr(acting: Acting, name: str) -> Answer:
    """Connect an HR system; it signs its calls with the secret (Standard Webhooks)."""
    made, secret = in_transaction(
        lambda session: add_hr_source(session, acting.organization_id, name, settings=acting.settings, actor=acting.actor, at=now())
    )
    return _shown(acting, made, secret)


@verb(source, "rotate", may=ADMINS)
@click.argument("name")
def rotate_source(acting: Acting, name: str) -> Answer:
    """Give a source a new token or secret; the one before stays good until the next rotation."""

    def act(session: Session) -> tuple[Source, str]:
        one = find_source(session, acting.organization_id, name)
        return one, rotate(session, one, settings=acting.settings, actor=acting.actor, at=now())

    return _shown(acting, *in_transaction(act))


@verb(source, "revoke", may=ADMINS)
@click.argument("name")
def revoke_source(acting: Acting, name: str) -> Answer:
    """No token or secret of this source is good any more; what it said stays. `rotate` gives a new one."""

    def act(session: Session) -> Source:
        one = find_source(session, acting.organization_id, name)
        revoke(session, one, actor=acting.actor, at=now())
        return one

    one = in_transaction(act)
    return Answer(
        schema="source", fields={"id": one.id, "name": one.name, "kind": one.kind, "revoked": True}, notes=[f"{one.name} can say nothing any more."]
    )


@verb(source, "list", may=ANYONE)
def list_sources(acting: Acting) -> Answer:
    """Every source and its address."""
    with reading() as session:
        found = session.scalars(
            select(Source).where(Source.organization_id == acting.organization_id, Source.ended_at.is_(None)).order_by(Source.name)
        ).all()
    rows: list[dict[str, object]] = [
        {
            "id": one.id, "name": one.name, "kind": one.kind, **address(acting.settings, one), "since": iso(one.created_at),
            "expected_departures": one.expected_departures, "expected_until": iso(one.expected_until),
        }
        for one in found
    ]  # fmt: skip
    shown = [(row["name"], row["kind"], row.get("base_url") or row.get("url"), row["since"]) for row in rows]
    return Answer(
        schema="sources", fields={"sources": rows}, tables=[Table(columns=("name", "kind", "address", "since"), rows=shown)]
    )
