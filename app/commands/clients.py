"""Verbs on clients: applications that sign people in through Doorlist, and gateways that ask before they push."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from sqlalchemy.orm import Session

from app.access.keys import ALGORITHMS, Purpose
from app.access.parties import PartyDraft, UnknownParty, UnusableParty, end_party, open_party, parties_of, party_named, rotate_secret, shown
from app.access.session_tables import PartyKind, RelyingParty
from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, NAME, Acting, verb
from app.commands.output import Answer, Table
from app.commands.sources import TERM
from app.database import in_transaction, reading
from app.lifecycle.errors import NotFound

Result = TypeVar("Result")


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(client)


@click.group()
def client() -> None:
    """Applications that people enter through Doorlist, and push gateways."""


def _fields(party: RelyingParty) -> dict[str, Any]:
    return {**shown(party), "created": iso(party.created_at), "ended": iso(party.ended_at)}


def _tried(act: Callable[[Session], Result]) -> Result:
    try:
        return in_transaction(act)
    except UnusableParty as error:
        raise click.UsageError(str(error)) from error


def _named(session: Session, acting: Acting, name: str) -> RelyingParty:
    try:
        return party_named(session, acting.organization_id, name)
    except UnknownParty:
        raise NotFound("client", name) from None


@verb(client, "add", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--redirect-uri", "redirect_uris", multiple=True, metavar="URI", help="Where people are sent back to, letter by letter; may be given several times.")
@click.option("--post-logout-redirect-uri", "goodbyes", multiple=True, metavar="URI", help="Where they may be sent after signing out.")
@click.option("--backchannel-logout-uri", metavar="URI", help="Where the application is told that somebody's session is over.")
@click.option("--private-network", is_flag=True, help="That address is in a network of your own; plain http is taken there.")
@click.option("--device", is_flag=True, help="Devices without a browser may be let in by a code (RFC 8628).")
@click.option("--public", is_flag=True, help="It cannot keep a secret, as an app on a telephone; PKCE alone proves it.")
@click.option("--gateway", is_flag=True, help="A push gateway: it signs nobody in, and only asks whether it may push.")
@click.option("--algorithm", type=click.Choice(ALGORITHMS[Purpose.TOKENS]), default="ES256", show_default=True, help="How its ID tokens are signed.")
@click.option("--jwks-file", type=Path, metavar="FILE", help="It signs with its own keys instead of showing a secret; FILE has the public ones, as a JWKS.")
def add(
    acting: Acting, name: str, redirect_uris: tuple[str, ...], goodbyes: tuple[str, ...], backchannel_logout_uri: str | None, private_network: bool,
    device: bool, public: bool, gateway: bool, algorithm: str, jwks_file: Path | None,
) -> Answer:  # fmt: skip
    """Let an application sign people of this organisation in; its secret is shown this once."""
    draft = PartyDraft(
        name=name, kind=PartyKind.GATEWAY if gateway else PartyKind.APPLICATION, redirect_uris=redirect_uris, post_logout_redirect_uris=goodbyes,
        backchannel_logout_uri=backchannel_logout_uri, device_flow=device, public=public, algorithm=algorithm, private_network=private_network,
        jwks=_keys_in(jwks_file),
    )  # fmt: skip
    opened = _tried(lambda session: open_party(session, acting.organization_id, draft, actor=acting.actor, at=now()))
    secret = {} if opened.secret is None else {"client_secret": opened.secret}
    issuer = acting.settings.public_url
    return Answer(
        schema="client",
        fields={"client_id": opened.client_id, "client_secret": opened.secret, "name": name, "issuer": issuer},
        tables=[Table(columns=("name", "issuer", "client_id", *secret), rows=[(name, issuer, opened.client_id, *secret.values())])],
        notes=["The client secret is shown this once."] if secret else ["It has no secret: it proves itself by PKCE, or with its own keys."],
    )


def _keys_in(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    from app.access.assertions import UnusableKeys, read_keys

    try:
        return read_keys(file.read_text(encoding="utf-8"))
    except (UnusableKeys, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file}: {error}") from error


@verb(client, "list", may=ANYONE)
def list_clients(acting: Acting) -> Answer:
    """Every client, ended ones too."""
    with reading() as session:
        found = [_fields(party) for party in parties_of(session, acting.organization_id)]
    columns = ("name", "kind", "client_id", "auth", "backchannel_logout_uri", "ended")
    return Answer(schema="clients", fields={"clients": found}, tables=[Table(columns=columns, rows=[[one[name] for name in columns] for one in found])])


@verb(client, "show", may=ANYONE)
@click.argument("name")
def show(acting: Acting, name: str) -> Answer:
    """One client, by its name or id."""
    with reading() as session:
        fields = _fields(_named(session, acting, name))
    rows = [(key, ", ".join(value) if isinstance(value, list) else value) for key, value in fields.items()]
    return Answer(schema="client", fields=fields, tables=[Table(columns=("what", "value"), rows=rows)])


@verb(client, "rotate", may=ADMINS)
@click.argument("name")
@click.option("--overlap", type=TERM, default="24h", show_default=True, metavar="TIME", help="How long the secret before stays good; 0m ends it at once.")
def rotate(acting: Acting, name: str, overlap: timedelta) -> Answer:
    """Give a client another secret; it is shown this once."""
    at = now()

    def act(session: Session) -> tuple[RelyingParty, str]:
        party = _named(session, acting, name)
        return party, rotate_secret(session, party, overlap=overlap, actor=acting.actor, at=at)

    party, secret = _tried(act)
    return Answer(
        schema="client",
        fields={"client_id": party.id, "client_secret": secret, "name": party.name, "previous_until": iso(at + overlap)},
        tables=[Table(columns=("name", "client_id", "client_secret"), rows=[(party.name, party.id, secret)])],
        notes=["The client secret is shown this once.", f"The one before is good until {iso(at + overlap)}."],
    )


@verb(client, "end", may=ADMINS)
@click.argument("name")
def end(acting: Acting, name: str) -> Answer:
    """End a client: nothing that it was given works from now on, and nobody is signed in there through Doorlist."""

    def act(session: Session) -> RelyingParty:
        party = _named(session, acting, name)
        end_party(session, party, actor=acting.actor, at=now())
        return party

    party = in_transaction(act)
    return Answer(schema="client", fields=_fields(party), notes=[f"{party.name} has ended. Sessions of its own it keeps until it asks us, or ends them itself."])
