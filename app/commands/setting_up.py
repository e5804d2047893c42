"""Verbs of setting up: the database, organisations, operators, an organisation's settings."""

import shlex

import click
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from app import schema
from app.access.closed import look
from app.access.sealing import make_key
from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, NAME, OWNERS, Acting, host_user, host_verb, verb
from app.commands.exits import NotReady
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.settings import DEFAULTS, value_of
from app.directory.tables import Source
from app.journal import entries
from app.journal.tables import Organization
from app.lifecycle.operators import Role, add_operator, end_operator, operators_of
from app.lifecycle.sources import add_organization, set_setting
from app.settings import Settings

FIRST_ORGANIZATION = "default"


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(init)
    doorlist.add_command(operator)
    doorlist.add_command(settings)


@click.group()
def operator() -> None:
    """Named people who act, each with a role and a token for DOORLIST_TOKEN."""


@click.group()
def settings() -> None:
    """Settings of the organisation. Those of the process come from the environment."""


_root = click.Group()


@host_verb(_root, "init")
def init(app: Flask, organization: str | None) -> Answer:
    """Make or upgrade the database, the encryption key and the organisation. May be run again."""
    chosen: Settings = app.config["DOORLIST"]
    if (damage := schema.damage()) is not None:
        raise NotReady(damage)
    schema.upgrade()
    key_made = make_key(chosen)

    def act(session: Session) -> tuple[Organization, bool, int]:
        schema.one_at_a_time(session.connection())
        asked = chosen.organization if organization is None else organization
        if asked is None:
            there = session.scalars(select(Organization).order_by(Organization.created_at).limit(1)).first()
        else:
            there = session.scalar(select(Organization).where(Organization.name == asked))
        if there is not None:
            return there, False, 0
        # One that was made before names were checked is still found by its own.
        name = FIRST_ORGANIZATION if asked is None else NAME.convert(asked, None, None)
        others = session.scalars(select(func.count()).select_from(Organization)).one()
        if others and organization is None:
            # It may be a slip in a file of settings, which an upgrade is not to make an organisation of.
            raise NotReady(f"there is no organisation {name}, which DOORLIST_ORGANIZATION says; to make it: doorlist init --organization {shlex.quote(name)}")
        made = add_organization(session, name, at=now())
        entries.write(
            session, made.id, at=now(), actor=host_user(), verb="organisation added", because="doorlist init", subject_kind="organization",
            subject_id=made.id, after={"name": made.name},
        )  # fmt: skip
        return made, True, others

    kept, made, others = in_transaction(act)
    database = _place_of(chosen.database_url)
    return Answer(
        schema="init",
        fields={
            "organization": {"id": kept.id, "name": kept.name}, "made": made, "database": database, "home": str(chosen.home),
            "encryption_key_made": key_made,
        },
        tables=[Table(columns=("organisation", "database", "home"), rows=[(kept.name, database, chosen.home)])],
        notes=[
            *([f"The encryption key is new: keep a copy of {chosen.home / 'encryption.key'} apart from the database."] if key_made else []),
            *([_beside(kept.name, others)] if others else []),
            *_next(chosen, kept),
        ],
    )  # fmt: skip


def _next(chosen: Settings, kept: Organization) -> list[str]:
    with reading() as session:
        why = look(session, chosen, at=now())
        has_source = session.scalars(select(Source.id).where(Source.organization_id == kept.id).limit(1)).first() is not None
    if why is not None:
        return [
            f"It is closed, nobody is given anything: {why}.",
            "Next, where a backup was restored: doorlist doctor --restored; see 'Restoring a backup' in docs/operations.md",
        ]
    return [] if has_source else ["Next: doorlist source add scim NAME"]


def _place_of(database_url: str) -> str:
    """Where the database is, without its password; a file by its path as it is, since nobody finds a folder by `%C3%BC`."""
    said = make_url(database_url)
    # libpq takes one, and that of a client's key, behind the `?` as well (its manual §34.1.1.2).
    shown = said.difference_update_query(["password", "sslpassword"]).render_as_string(hide_password=True)
    if said.get_backend_name() != "sqlite":
        return shown
    _, mark, query = shown.partition("?")
    return f"sqlite:///{said.database}{mark}{query}"


def _beside(name: str, others: int) -> str:
    there = "the one that was" if others == 1 else f"the {others} that were"
    return f"{name} is another organisation, beside {there} there before: from now on every verb needs --organization, such as --organization {shlex.quote(name)}."


@verb(operator, "add", may=OWNERS)
@click.argument("name", type=NAME)
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
def add(acting: Acting, name: str, role: str) -> Answer:
    """Add an operator; the token is shown this once."""
    made, token = in_transaction(
        lambda session: add_operator(session, acting.organization_id, name, Role(role), actor=acting.actor, at=now())
    )
    return Answer(
        schema="operator",
        fields={"id": made.id, "name": made.name, "role": made.role, "token": token},
        tables=[Table(columns=("name", "role", "token"), rows=[(made.name, made.role, token)])],
        notes=["The token is shown this once; it is used as DOORLIST_TOKEN."],
    )


@verb(operator, "list", may=ADMINS)
def list_operators(acting: Acting) -> Answer:
    """Everybody who is or was an operator."""
    with reading() as session:
        found = operators_of(session, acting.organization_id)
    rows = [{"id": one.id, "name": one.name, "role": one.role, "since": iso(one.created_at), "ended": iso(one.ended_at)} for one in found]
    columns = ("name", "role", "since", "ended")
    return Answer(
        schema="operators", fields={"operators": rows}, tables=[Table(columns=columns, rows=[[row[name] for name in columns] for row in rows])]
    )


@verb(operator, "end", may=OWNERS)
@click.argument("name")
def end(acting: Acting, name: str) -> Answer:
    """End an operator: their token is no longer good."""
    ended = in_transaction(lambda session: end_operator(session, acting.organization_id, name, actor=acting.actor, at=now()))
    return Answer(
        schema="operator",
        fields={"id": ended.id, "name": ended.name, "role": ended.role, "ended": iso(ended.ended_at)},
        notes=[f"{ended.name} acts no more."],
    )


@verb(settings, "list", may=ANYONE)
def list_settings(acting: Acting) -> Answer:
    """Every setting, what is in force, and the default."""
    with reading() as session:
        values = {key: value_of(session, acting.organization_id, key) for key in sorted(DEFAULTS)}
    return Answer(
        schema="settings",
        fields={"settings": values},
        tables=[Table(columns=("key", "value", "default"), rows=[(key, value, DEFAULTS[key]) for key, value in values.items()])],
    )


@verb(settings, "set", may=ADMINS)
@click.argument("key")
@click.argument("value")
def set_one(acting: Acting, key: str, value: str) -> Answer:
    """Change a setting."""

    def act(session: Session) -> None:
        organization = session.get_one(Organization, acting.organization_id)
        set_setting(session, organization, key, value, actor=acting.actor, at=now())

    in_transaction(act)
    return Answer(schema="setting", fields={"key": key, "value": value}, notes=[f"{key} is {value}."])
