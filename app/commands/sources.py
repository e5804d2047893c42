"""Verbs on sources: directories that push over SCIM, and HR systems that call."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.clients import Opened, Way, WayIn, client_of, limit_tokens, open_client, renew_client, ways_in
from app.clock import iso, now
from app.command_lines import to_type
from app.commands.acting import ADMINS, ANYONE, NAME, Acting, verb
from app.commands.output import Answer, Table, tell
from app.commands.source_states import states_of
from app.database import in_transaction, reading
from app.directory.tables import Source
from app.lifecycle import contractors, ended_sources, just_in_time
from app.lifecycle.sources import add_hr_source, add_scim_source, find_source, revoke, rotate, told
from app.settings import Settings

LONGEST_TERM = timedelta(days=3650)
_TOLD_EVERY = 500
"""Users and groups of a source that is given up, from one line of progress to the next."""
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class TermType(click.ParamType[Any]):
    """A length of time, such as 365d, 24h or 30m."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        said = re.fullmatch(r"([0-9]{1,7})([mhd])", value.strip().lower())
        term = timedelta(**{_UNITS[said[2]]: int(said[1])}) if said else None
        if term is None or term > LONGEST_TERM:
            self.fail(f"{value!r} is no length of time up to 3650d; write it like 365d, 24h or 30m", param, ctx)
        return term


TERM = TermType()
_expires_in = click.option("--expires-in", type=TERM, metavar="TIME", help="How long the token or secret is good, such as 365d. Default: until revoked.")
_jwks_file = click.option("--jwks-file", type=Path, metavar="FILE", help="The client signs with its own keys; FILE has the public ones, as a JWKS.")


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
    if one.kind in (just_in_time.KIND, contractors.KIND):
        # People who joined by signing in, or were entered by hand: nothing is pushed to it.
        return {}
    if (one.settings or {}).get("url"):
        # It is we who ask there.
        return {"url": told(one.settings or {})["url"]}
    return {"url": f"{settings.public_url}/hr/{one.id}"}


def _shown(acting: Acting, one: Source, secret: str, until: datetime | None = None) -> Answer:
    kept = "token" if one.kind == "scim" else "secret"
    where = address(acting.settings, one)
    return Answer(
        schema="source",
        fields={"id": one.id, "name": one.name, "kind": one.kind, **where, kept: secret, **({"expires": iso(until)} if one.kind == "scim" else {})},
        tables=[Table(columns=("name", *where, kept), rows=[(one.name, *where.values(), secret)])],
        notes=[f"The {kept} is shown this once."],
    )


def _shown_client(acting: Acting, one: Source, opened: Opened, until: datetime | None) -> Answer:
    where = {**address(acting.settings, one), "token_url": f"{acting.settings.public_url}/oauth2/token", "client_id": opened.client_id}
    secret = {} if opened.secret is None else {"client_secret": opened.secret}
    return Answer(
        schema="source",
        fields={"id": one.id, "name": one.name, "kind": one.kind, **where, **secret, "expires": iso(until)},
        tables=[Table(columns=("name", *where, *secret), rows=[(one.name, *where.values(), *secret.values())])],
        notes=["The client secret is shown this once."] if secret else ["The client signs its requests with its own keys; it has no secret."],
    )


def _until(at: datetime, term: timedelta | None) -> datetime | None:
    if term is not None and not term:
        raise click.UsageError("--expires-in 0 would make something that was never good")
    return None if term is None else at + term


def _keys_in(file: Path | None) -> Mapping[str, Any] | None:
    if file is None:
        return None
    from app.access.assertions import UnusableKeys, read_keys

    try:
        return read_keys(file.read_text(encoding="utf-8"))
    except (UnusableKeys, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file}: {error}") from error


@verb(add, "scim", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--auth", type=click.Choice(["bearer", "oauth"]), default="bearer", show_default=True, help="A token of ours, or OAuth 2 client credentials.")
@_expires_in
@_jwks_file
def add_scim(acting: Acting, name: str, auth: str, expires_in: timedelta | None, jwks_file: Path | None) -> Answer:
    """Connect a directory; its base URL and token, or its client's id and secret, go into the identity provider."""
    at = now()
    if jwks_file is not None and auth != "oauth":
        raise click.UsageError("--jwks-file goes with --auth oauth")
    if jwks_file is not None and expires_in is not None:
        raise click.UsageError("--expires-in is for tokens and secrets; a client's own keys end when you replace them")
    until, jwks = _until(at, expires_in), _keys_in(jwks_file)

    def act(session: Session) -> tuple[Source, str | Opened]:
        made, token = add_scim_source(session, acting.organization_id, name, actor=acting.actor, at=at)
        if auth == "oauth":
            return made, open_client(session, acting.organization_id, made.id, jwks=jwks, actor=acting.actor, at=at, expires_at=until)
        limit_tokens(session, acting.organization_id, made.id, actor=acting.actor, at=at, expires_at=until, overlap=None)
        return made, token

    made, opened = in_transaction(act)
    return _shown_client(acting, made, opened, until) if isinstance(opened, Opened) else _shown(acting, made, opened, until)


@verb(add, "hr", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--description", "file", metavar="FILE", help="How its calls are read: a YAML file, or the name of one that 'hr vendors' lists. Default: our own format.")
@click.option("--secret-file", type=Path, metavar="FILE", help="The secret that the vendor gave. Default: we make one.")
@click.option("--credential-file", type=Path, metavar="FILE", help="What the vendor's API is asked with.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A name in the API's address, such as company=acme.")
@click.option("--allow-private", is_flag=True, help="Its API is in a network of yours, and may be asked without TLS.")
def add_hr(
    acting: Acting, name: str, file: str | None, secret_file: Path | None, credential_file: Path | None, given: tuple[str, ...], allow_private: bool
) -> Answer:
    """Connect an HR system; it signs its calls with the secret (Standard Webhooks, or as its description says)."""
    from app.commands.hr import description_text, secret_in, usable, variables_of
    from app.intake import hr_systems

    if file is None:
        if secret_file is not None or credential_file is not None or given or allow_private:
            raise click.UsageError("--secret-file, --credential-file, --set and --allow-private go with --description")
        made, secret = in_transaction(
            lambda session: add_hr_source(session, acting.organization_id, name, settings=acting.settings, actor=acting.actor, at=now())
        )
        return _shown(acting, made, secret)
    text = description_text(file)
    theirs, credential, variables = secret_in(secret_file), secret_in(credential_file), variables_of(given)
    made, secret = usable(
        in_transaction,
        lambda session: hr_systems.add_described(
            session, acting.organization_id, name, text, secret=theirs, credential=credential, variables=variables,
            allow_private=allow_private, settings=acting.settings, actor=acting.actor, at=now(),
        ),
    )  # fmt: skip
    return _shown(acting, made, secret)


@verb(source, "rotate", may=ADMINS)
@click.argument("name")
@_expires_in
@click.option("--overlap", type=TERM, metavar="TIME", help="How long the one before stays good, such as 24h. Default: until the next rotation.")
@_jwks_file
def rotate_source(
    acting: Acting, name: str, expires_in: timedelta | None, overlap: timedelta | None, jwks_file: Path | None
) -> Answer:
    """Give a source a new token or secret; the one before stays good until the next rotation, or for --overlap."""
    at = now()
    until, jwks = _until(at, expires_in), _keys_in(jwks_file)

    def act(session: Session) -> tuple[Source, str | Opened]:
        one = _with_our_secret(session, acting, name)
        client = client_of(session, acting.organization_id, one.id)
        signs = client is not None and client.jwks is not None
        _check_terms(one, signs=signs, limited=expires_in is not None or overlap is not None, keys=jwks is not None)
        if client is not None:
            return one, renew_client(session, client, jwks=jwks, actor=acting.actor, at=at, expires_at=until, overlap=overlap)
        secret = rotate(session, one, settings=acting.settings, actor=acting.actor, at=at)
        if one.kind == "scim":
            limit_tokens(session, acting.organization_id, one.id, actor=acting.actor, at=at, expires_at=until, overlap=overlap)
        return one, secret

    one, opened = in_transaction(act)
    return _shown_client(acting, one, opened, until) if isinstance(opened, Opened) else _shown(acting, one, opened, until)


def _with_our_secret(session: Session, acting: Acting, name: str) -> Source:
    """One that gets in here by something that we gave it, locked. Raises NotFound, UsageError."""
    one = find_source(session, acting.organization_id, name, lock=True)
    if (one.settings or {}).get("url"):
        raise click.UsageError(
            f"{name} is pulled, with a password or token of its own; to have it take another: {to_type('source set', name, '--password-file FILE')}; "
            f"to have it read by the clock no longer: {to_type('source set', name, '--every off')}"
        )
    if one.kind in (just_in_time.KIND, contractors.KIND):
        raise click.UsageError(f"{name} calls nobody here: there is no token or secret that lets it in")
    return one


def _check_terms(one: Source, *, signs: bool, limited: bool, keys: bool) -> None:
    """Whether what was typed can be done to this source. Raises UsageError."""
    if one.kind != "scim" and (limited or keys):
        raise click.UsageError(f"{one.name} is no directory: its secret neither expires nor has an overlap")
    if signs and not keys:
        raise click.UsageError(f"{one.name} signs with its own keys: give its new ones with --jwks-file")
    if signs and limited:
        raise click.UsageError(f"{one.name} signs with its own keys, which end when they are replaced; for an overlap give a JWKS with both")
    if keys and not signs:
        raise click.UsageError(f"{one.name} does not sign with keys of its own: leave out --jwks-file")


@verb(source, "revoke", may=ADMINS)
@click.argument("name")
def revoke_source(acting: Acting, name: str) -> Answer:
    """No token or secret of this source is good any more, and no access token; what it said stays. `rotate` gives a new one."""

    def act(session: Session) -> Source:
        one = _with_our_secret(session, acting, name)
        revoke(session, one, actor=acting.actor, at=now())
        return one

    one = in_transaction(act)
    return Answer(
        schema="source", fields={"id": one.id, "name": one.name, "kind": one.kind, "revoked": True}, notes=[f"{one.name} can say nothing any more."]
    )


@verb(source, "end", may=ADMINS)
@click.argument("name")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept.")
def end_source(acting: Acting, name: str, reason: str) -> Answer:
    """Give a source up: what it said ends, and its name is free. Refused where anybody would lose access by it."""
    from app.sso.known_by import require_known_without

    if not reason.strip():
        raise click.BadParameter("say why, in a few words", param_hint="--reason")

    def closed(session: Session) -> tuple[Source, ended_sources.Left]:
        one = find_source(session, acting.organization_id, name)
        if one.kind in (just_in_time.KIND, contractors.KIND):
            raise click.UsageError(f"{name} is none that was added: it stands for people who came in by themselves, or were entered here")
        require_known_without(session, one)
        return one, ended_sources.close(session, one, actor=acting.actor, at=now())

    one, left = in_transaction(closed)

    def some(session: Session) -> int:
        # Not by its name, which may be another's by now.
        here = session.get_one(Source, (acting.organization_id, one.id))
        done = ended_sources.end_some(session, here, reason=reason.strip(), actor=acting.actor, at=now())
        if not done:
            ended_sources.end(session, here, reason=reason.strip(), actor=acting.actor, at=now())
        return done

    ended = 0
    while done := in_transaction(some):
        ended += done
        if ended % _TOLD_EVERY < done:
            tell(f"{ended} of {left.users + left.groups} users and groups are ended")
    return Answer(
        schema="source", fields={"id": one.id, "name": name, "kind": one.kind, "ended": True, "users": left.users, "groups": left.groups},
        notes=[f"{name} is a source no more. {left.users} users and {left.groups} groups of it are ended; nobody lost access."],
    )  # fmt: skip


@verb(source, "list", may=ANYONE)
def list_sources(acting: Acting) -> Answer:
    """Every source, its address, and when what lets it in was last used and expires."""
    with reading() as session:
        found = session.scalars(
            select(Source).where(Source.organization_id == acting.organization_id, Source.ended_at.is_(None)).order_by(Source.name)
        ).all()
        ways = {one.source_id: one for one in ways_in(session, acting.organization_id)}
        pulled = states_of(session, acting.organization_id)
    rows: list[dict[str, object]] = [
        {
            "id": one.id, "name": one.name, "kind": one.kind, **address(acting.settings, one), "since": iso(one.created_at),
            "expected_departures": one.expected_departures, "expected_until": iso(one.expected_until), "rank": one.rank,
            **(pulled[one.id] if one.id in pulled else _way_fields(one, ways.get(one.id))),
        }
        for one in found
    ]  # fmt: skip
    columns = ("name", "kind", "auth", "address", "since", "last_used", "expires", "pulled_at", "problem")
    shown = [[_cell(row, name) for name in columns] for row in rows]
    return Answer(schema="sources", fields={"sources": rows}, tables=[Table(columns=columns, rows=shown)])


def _cell(row: Mapping[str, object], column: str) -> object:
    if column == "address":
        return row.get("base_url") or row.get("url")
    # Who lets nobody in any more is not to look alive.
    return "revoked" if column == "auth" and row.get("revoked") else row.get(column)


def _way_fields(one: Source, way: WayIn | None) -> dict[str, object]:
    """How a directory gets in, and since and until when. An HR system signs its calls; where we ask ourselves, or enter people, nobody gets in."""
    if way is None:
        return {"auth": "signature", "revoked": one.sealed_secret is None} if one.kind == "hr" else {}
    keys = [{"since": iso(key.since), "expires": iso(key.expires_at), "last_used": iso(key.last_used_at)} for key in way.keys]
    return {
        "auth": way.way, "client_id": way.client_id, "revoked": way.shut, "last_used": iso(way.last_used_at),
        "expires": iso(way.keys[0].expires_at) if way.keys else None, "client_secrets" if way.way is Way.SECRET else "tokens": keys,
    }  # fmt: skip
