"""Verbs on connections: the identity providers through which an organisation's people sign in."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection, ConnectionKind
from app.access.sealing import seal
from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, DESK, INSTANT, Acting, one_person, person_fields, text_in, verb
from app.commands.exits import CommandError
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Person, Standing
from app.lifecycle.sources import find_source
from app.sso import connections
from app.sso.connections import Matches, UnusableConnection, domains_of, find_named, settings_of

REFUSED_LATELY = timedelta(days=30)
# What a refusal says of somebody who has no access: how they stand, or that their day has come; and why, or when that was.
_NO_ACCESS = re.compile(rf"({'|'.join(Standing)}): .*|(access ended) at .*", re.DOTALL)
Given = TypeVar("Given", bound=Callable[..., Any])


@click.group()
def connection() -> None:
    """Identity providers through which people sign in: SAML 2.0 or OpenID Connect."""


def choices(act: Given) -> Given:
    """What may be chosen for either kind, when it is added and later."""
    options = (
        click.option("--domain", "domains", multiple=True, metavar="DOMAIN", help="People with such an e-mail address sign in here; may be repeated."),
        click.option("--require-second-factor/--no-require-second-factor", default=None, help="Refuse whoever was not asked for one by the provider."),
        click.option("--strong", multiple=True, metavar="VALUE", help="An acr, amr or AuthnContextClassRef that means a second factor; may be repeated."),
        click.option("--attribute", metavar="NAME", help="The attribute or claim that says the directory's own id. Default: the NameID or sub."),
        click.option("--matches", type=click.Choice([one.value for one in Matches]), help="What of a directory's user that id is. Default: externalId."),
        click.option("--directory", metavar="SOURCE", help="Only that directory's users are matched."),
        click.option("--jit/--no-jit", default=None, help="Let people join by signing in whom no directory has named. Default: no."),
    )
    for option in reversed(options):
        act = option(act)
    return act


def settings_typed(acting: Acting, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were typed; what was not is left out."""
    settings: dict[str, Any] = {
        name: given[name] for name in ("allow_idp_initiated", "require_second_factor", "jit") if given.get(name) is not None
    }
    if given["strong"]:
        settings["strong"] = list(given["strong"])
    key = {name: given[name] for name in ("attribute", "matches") if given[name]}
    if given["directory"]:
        with reading() as session:
            key["source_id"] = find_source(session, acting.organization_id, given["directory"]).id
    if key:
        settings["directory_id"] = key
    return settings


def usable(act: Callable[[], Answer]) -> Answer:
    """Say what cannot be used as an error of usage."""
    from app.sso.saml_setup import BadMetadata

    try:
        return act()
    except (UnusableConnection, BadMetadata) as error:
        raise click.UsageError(str(error)) from error


def secret_in(file: Path | None) -> str | None:
    """The secret in a file that was named."""
    if file is None:
        return None
    secret = text_in(file).strip()
    if not secret:
        raise click.UsageError(f"{file} is empty")
    return secret


@verb(connection, "list", may=ANYONE)
def list_connections(acting: Acting) -> Answer:
    """Every connection, and the e-mail domains that lead to it."""
    with reading() as session:
        rows = [_fields(session, acting, one) for one in connections.standing_connections(session, acting.organization_id)]
    columns = ("name", "kind", "issuer", "domains", "since", "id")
    cells = [[", ".join(row["domains"]) if name == "domains" else row[name] for name in columns] for row in rows]
    return Answer(schema="connections", fields={"connections": rows}, tables=[Table(columns=columns, rows=cells)])


@verb(connection, "show", may=ANYONE)
@click.argument("name")
def show_connection(acting: Acting, name: str) -> Answer:
    """A connection with every choice that was made for it."""
    with reading() as session:
        found = find_named(session, acting.organization_id, name)
    return shown(acting, found)


@verb(connection, "set", may=ADMINS)
@click.argument("name")
@click.option("--allow-idp-initiated/--no-allow-idp-initiated", default=None, help="Take sign-ins that begin at the provider.")
@click.option("--client-secret-file", type=Path, metavar="FILE", help="Another client secret (OpenID Connect).")
@click.option("--no-domains", is_flag=True, help="No e-mail domain leads here any more.")
@click.option("--default-match", is_flag=True, help="Match the NameID or sub to externalId again, but for what is given beside this.")
@choices
def set_connection(
    acting: Acting, /, name: str, client_secret_file: Path | None, no_domains: bool, default_match: bool, domains: Sequence[str], **given: Any
) -> Answer:
    """Change what is given and leave the rest; --domain and --strong replace what was there."""
    if domains and no_domains:
        raise click.UsageError("either --domain or --no-domains")
    settings = settings_typed(acting, given)
    typed = settings.pop("directory_id", {})
    secret = secret_in(client_secret_file)

    def act(session: Session) -> Connection:
        one = find_named(session, acting.organization_id, name, lock=True)
        if secret is not None and one.kind != ConnectionKind.OIDC:
            raise click.UsageError(f"{name} is a SAML connection: it has no client secret")
        if secret is not None and settings_of(one).oidc.get("auth_method") == "private_key_jwt":
            raise click.UsageError(f"{name} was added without a client secret and proves itself by our key: add it anew with one")
        kept = {} if default_match else one.settings.get("directory_id") or {}
        key = {"directory_id": {**kept, **typed} or None} if typed or default_match else {}
        return connections.change(
            session, one, settings={**settings, **key}, domains=domains if domains or no_domains else None,
            sealed_secret=None if secret is None else seal(acting.settings, secret), actor=acting.actor, at=now(),
        )  # fmt: skip

    return usable(lambda: shown(acting, in_transaction(act)))


@verb(connection, "end", may=ADMINS)
@click.argument("name")
def end_connection(acting: Acting, name: str) -> Answer:
    """Nobody signs in through it any more, and whoever did is signed out."""

    def act(session: Session) -> tuple[Connection, int]:
        one = find_named(session, acting.organization_id, name, lock=True)
        return one, connections.end(session, one, actor=acting.actor, at=now())

    ended, sessions = in_transaction(act)
    return Answer(
        schema="connection", fields={"id": ended.id, "name": name, "ended": True, "sessions": sessions},
        notes=[f"{sessions} sessions were ended; nobody signs in through {name} any more."],
    )  # fmt: skip


@verb(connection, "refusals", may=ANYONE)
@click.argument("number", required=False)
@click.option("--connection", "name", metavar="NAME", help="Only through this connection.")
@click.option("--since", type=INSTANT, help="Only those since then, such as 2026-11-30T17:00:00+01:00. Default: 30 days, and for a NUMBER all there are.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def list_refusals(acting: Acting, number: str | None, name: str | None, since: datetime | None, limit: int) -> Answer:
    """Why sign-ins were refused, newest first; of one whose person reads you the NUMBER of their page, that one."""

    from app.sso.refused_sign_ins import kept_refusals

    wanted = None if number is None else "".join(number.split()).upper()
    with reading() as session:
        one = None if name is None else find_named(session, acting.organization_id, name)
        after = since or (now() - REFUSED_LATELY if wanted is None else None)
        kept = kept_refusals(session, acting.organization_id, connection=one, since=after)
        found = list(islice((each for each in kept if wanted in (None, each.number)), limit if wanted is None else 1))
        people = {each.person_id: session.get(Person, (acting.organization_id, each.person_id)) for each in found if each.person_id is not None}
    if wanted is not None and not found:
        raise CommandError(f"no refused sign-in has number {number}; of one that came through no connection, only the log of 'doorlist serve' tells")
    rows = [
        {
            "number": each.number, "at": iso(each.at), "connection": each.connection, "reason": each.reason, "said": _said(acting, each.said),
            "person": None if (person := people.get(each.person_id or "")) is None else person_fields(person),
        }
        for each in found
    ]  # fmt: skip
    columns = ("at", "number", "connection", "reason", "said")
    return Answer(schema="refusals", fields={"refusals": rows}, tables=[Table(columns=columns, rows=[[row[column] for column in columns] for row in rows])])


def _said(acting: Acting, said: str) -> str:
    """Why, as far as whoever asks may know it."""
    found = None if acting.informed else _NO_ACCESS.fullmatch(said)
    return said if found is None else found[1] or found[2]


@verb(connection, "unbind", may=DESK)
@click.argument("name")
@click.argument("person")
def unbind_person(acting: Acting, name: str, person: str) -> Answer:
    """Forget whom the provider means by PERSON's subject: for an account that was made anew, or whose name a successor has."""

    from app.sso.binding import has_joined_by

    def act(session: Session) -> tuple[str, bool, int]:
        one = find_named(session, acting.organization_id, name)
        known = one_person(session, acting.organization_id, person)
        joined = has_joined_by(session, one, known.id)
        return known.id, joined, connections.unbind(session, one, known.id, actor=acting.actor, at=now())

    person_id, joined, unbound = in_transaction(act)
    notes = [f"{unbound} subjects were unbound."]
    if joined:
        notes.append("They had joined by signing in: nobody comes in by their address or id again before a directory names them.")
    return Answer(schema="unbound", fields={"person": person_id, "unbound": unbound}, notes=notes)


def _fields(session: Session, acting: Acting, one: Connection) -> dict[str, Any]:
    from app.sso import oidc, oidc_logout, saml_setup

    chosen = settings_of(one)
    key = chosen.directory_key
    if one.kind == ConnectionKind.SAML:
        where: dict[str, Any] = dict(saml_setup.addresses(acting.settings, one.id))
    else:
        base = acting.settings.public_url
        where = {
            "redirect_uri": oidc.redirect_uri(acting.settings, one.id), "client_id": chosen.oidc.get("client_id"),
            "post_logout_redirect_uri": oidc_logout.signed_out_uri(acting.settings, one.id),
            "backchannel_logout_uri": f"{base}/oidc/{one.id}/logout", "initiate_login_uri": f"{base}/oidc/{one.id}/login",
        }  # fmt: skip
    return {
        "id": one.id, "name": one.name, "kind": one.kind, "issuer": one.issuer, **where,
        "sign_in": f"{acting.settings.public_url}/sign-in?connection={one.id}", "domains": domains_of(session, one),
        "allow_idp_initiated": chosen.allow_idp_initiated, "jit": chosen.jit, "require_second_factor": chosen.require_second_factor,
        "strong": sorted(chosen.strong), "attribute": key.attribute if key else None, "matches": str(key.matches if key else Matches.EXTERNAL_ID),
        "directory": key.source_id if key else None, "since": iso(one.created_at),
    }  # fmt: skip


def shown(acting: Acting, one: Connection) -> Answer:
    """A connection as every verb shows it."""
    with reading() as session:
        fields = _fields(session, acting, one)
    rows = [(name, ", ".join(value) if isinstance(value, list) else value) for name, value in fields.items()]
    return Answer(schema="connection", fields=fields, tables=[Table(columns=("what", "value"), rows=rows)])
