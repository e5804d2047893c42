"""Verbs on the installation's own signing keys: showing the public ones, and making their successors."""

from datetime import timedelta

import click
from flask import Flask

from app.access import keys as signing
from app.access.keys import Purpose
from app.clock import now
from app.commands.acting import host_user, host_verb
from app.commands.exits import NotReady
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.schema import why_unfit
from app.settings import Settings

_COLUMNS = ("purpose", "algorithm", "kid", "created", "active_from", "retired", "withdrawn")


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(keys)


@click.group()
def keys() -> None:
    """What Doorlist signs with: tokens, and evidence."""


def _settings(app: Flask) -> Settings:
    settings: Settings = app.config["DOORLIST"]
    if (unfit := why_unfit()) is not None:
        raise NotReady(unfit)
    in_transaction(lambda session: signing.ensure_keys(session, settings, at=now()))
    return settings


@host_verb(keys, "export")
def export(app: Flask, organization: str | None) -> Answer:
    """Print every public key that ever was, as a JWKS: what tokens, receipts and audits are checked with, years later too.

    Keep a copy where nobody of this installation can change it: evidence is worth as much as the keys it is checked with.
    """
    _settings(app)
    with reading() as session:
        found = signing.all_public(session)
    rows = [[one["purpose"], one["alg"], *(one[name] for name in _COLUMNS[2:])] for one in found]
    return Answer(
        schema="keys", fields={"keys": found}, tables=[Table(columns=_COLUMNS, rows=rows)],
        notes=["The keys themselves are printed with --json: doorlist keys export --json > keys.json"],
    )  # fmt: skip


@host_verb(keys, "list")
def list_keys(app: Flask, organization: str | None) -> Answer:
    """Every key, what it signs, and from when until when."""
    _settings(app)
    with reading() as session:
        found = signing.all_public(session)
    rows = [{"purpose": one["purpose"], "algorithm": one["alg"], **{name: one[name] for name in _COLUMNS[2:]}} for one in found]
    return Answer(
        schema="key_list", fields={"keys": rows}, tables=[Table(columns=_COLUMNS, rows=[[row[name] for name in _COLUMNS] for row in rows])]
    )


@host_verb(keys, "rotate")
@click.argument("purpose", type=click.Choice([one.value for one in Purpose]))
@click.option("--at-once", is_flag=True, help="The old keys are withdrawn, for keys that somebody else may have: they sign no more, and no token of theirs counts.")
def rotate(app: Flask, organization: str | None, purpose: str, at_once: bool) -> Answer:
    """Make the next keys. They are published now and sign from tomorrow; the old ones sign until then, and stay published."""
    settings = _settings(app)
    overlap = timedelta() if at_once else signing.OVERLAP
    at = now()
    new = in_transaction(
        lambda session: signing.rotate(session, settings, Purpose(purpose), at=at, actor=host_user(), overlap=overlap)
    )
    with reading() as session:
        made = [one for one in signing.all_public(session) if one["kid"] in new]
    rows = [{"purpose": one["purpose"], "algorithm": one["alg"], **{name: one[name] for name in _COLUMNS[2:]}} for one in made]
    return Answer(
        schema="key_list", fields={"keys": rows}, tables=[Table(columns=_COLUMNS, rows=[[row[name] for name in _COLUMNS] for row in rows])],
        notes=["Whoever keeps a copy of the public keys needs a new one: doorlist keys export --json"],
    )  # fmt: skip
