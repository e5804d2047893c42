"""Verbs that connect an identity provider and read again what it publishes."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection, ConnectionKind
from app.access.sealing import seal
from app.clock import iso, now
from app.command_lines import to_type
from app.commands.acting import ADMINS, DESK, NAME, Acting, verb
from app.commands.connections import choices, connection, secret_in, settings_typed, shown, usable
from app.commands.exits import Exit
from app.commands.output import Answer, Table
from app.database import in_transaction, new_id, reading
from app.sso import connections
from app.sso.connections import UnusableConnection, find_named, settings_of
from connectors.contract import ConnectorError

_private = click.option("--allow-private", is_flag=True, help="The provider is in a network of your own.")


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(connection)


@connection.group()
def add() -> None:
    """Connect an identity provider."""


def _private_by_itself(url: str) -> bool:
    """Whether the address that an operator typed is one of their own network, so that they mean it."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        # What is wrong with it is said by whoever calls it.
        return False
    try:
        return ipaddress.ip_address(host or "").is_private
    except ValueError:
        return host == "localhost"


@verb(add, "saml", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--metadata", required=True, metavar="FILE_OR_URL", help="The provider's metadata.")
@click.option("--allow-idp-initiated", is_flag=True, default=None, help="Take sign-ins that begin at the provider. Default: no.")
@choices
@_private
def add_saml(acting: Acting, /, name: str, metadata: str, domains: Sequence[str], allow_private: bool, **given: Any) -> Answer:
    """Connect a SAML provider by its metadata; what is shown goes into the provider."""
    from app.sso.saml_setup import new_connection

    def do() -> Answer:
        at, connection_id = now(), new_id()
        private = allow_private or _private_by_itself(metadata)
        text, url = _metadata(metadata, allow_private=private)
        made = new_connection(acting.settings, text, connection_id=connection_id, metadata_url=url, allow_private=private, at=at)
        settings = {**settings_typed(acting, given), "saml": made.saml}

        def act(session: Session) -> Connection:
            return connections.add(
                session, acting.organization_id, kind=ConnectionKind.SAML, name=name, issuer=made.issuer, settings=settings, domains=domains,
                sealed_secret=made.sealed_secret, connection_id=connection_id, actor=acting.actor, at=at,
            )  # fmt: skip

        return shown(acting, in_transaction(act))

    return usable(do)


def _metadata(place: str, *, allow_private: bool) -> tuple[str, str | None]:
    """The metadata, and the address that it can be read at again."""
    from app.sso.saml_setup import fetch_metadata

    if not place.lower().startswith(("http://", "https://")):
        try:
            return Path(place).read_text(encoding="utf-8-sig"), None
        except UnicodeDecodeError as error:
            raise click.UsageError(f"{place} is not UTF-8") from error
    return fetch_metadata(place, allow_private=allow_private), place


@verb(add, "oidc", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--issuer", required=True, metavar="URL", help="The provider's issuer, letter by letter.")
@click.option("--client-id", required=True, metavar="ID")
@click.option("--client-secret-file", type=Path, metavar="FILE", help="The client's secret. Without one we sign with our own key (private_key_jwt).")
@click.option("--acr-values", metavar="VALUES", help="What authentication to ask the provider for.")
@click.option("--tenant", metavar="TENANT", help="The one tenant whose accounts are taken, where the issuer has many.")
@choices
@_private
def add_oidc(
    acting: Acting, /, name: str, issuer: str, client_id: str, client_secret_file: Path | None, acr_values: str | None, tenant: str | None,
    domains: Sequence[str], allow_private: bool, **given: Any,
) -> Answer:  # fmt: skip
    """Connect an OpenID provider by its issuer; the redirect URI that is shown goes into the provider."""
    from app.sso.oidc_setup import discover

    if not client_id or client_id != client_id.strip() or not client_id.isprintable():
        raise click.UsageError(f"{client_id!r} is no client id: it is empty, or holds blanks or signs that the provider's own has not")

    def do() -> Answer:
        secret = secret_in(client_secret_file)
        oidc = {**discover(issuer, allow_private=allow_private or _private_by_itself(issuer)), "client_id": client_id}
        if secret is None:
            oidc["auth_method"] = "private_key_jwt"
        elif oidc.get("auth_method") == "private_key_jwt":
            raise click.UsageError("the provider takes no client secret; leave out --client-secret-file and give it our keys")
        # Not `name` once more: Python from 3.12 on would lose the outer one (tests/architecture/test_outer_names.py).
        oidc |= {key: value for key, value in (("acr_values", acr_values), ("tenant", tenant)) if value}

        def act(session: Session) -> Connection:
            return connections.add(
                session, acting.organization_id, kind=ConnectionKind.OIDC, name=name, issuer=issuer,
                settings={**settings_typed(acting, given), "oidc": oidc}, domains=domains,
                sealed_secret=None if secret is None else seal(acting.settings, secret), actor=acting.actor, at=now(),
            )  # fmt: skip

        return shown(acting, in_transaction(act))

    return usable(do)


@verb(connection, "refresh", may=ADMINS)
@click.argument("name")
@click.option("--metadata", metavar="FILE_OR_URL", help="SAML metadata to take, where it is not read from its address.")
@click.option("--replace", is_flag=True, help="Forget every certificate that is not in it: for one that was stolen.")
def refresh_connection(acting: Acting, name: str, metadata: str | None, replace: bool) -> Answer:
    """Read the provider's metadata again; a next certificate counts beside the present one."""
    from app.sso import oidc_setup, saml_refreshing

    with reading() as session:
        known = find_named(session, acting.organization_id, name)

    def do() -> Answer:
        changes: list[str] = []
        if known.kind == ConnectionKind.SAML:
            kept = settings_of(known).saml
            place = metadata or kept.get("metadata_url")
            if not place:
                raise click.UsageError(f"{name} was made from a file: give the metadata with --metadata")
            private = kept.get("allow_private") is True or (metadata is not None and _private_by_itself(metadata))
            text, _ = _metadata(place, allow_private=private)
            take = saml_refreshing.replace if replace else saml_refreshing.refresh

            def act(session: Session) -> Connection:
                one = find_named(session, acting.organization_id, name, lock=True)
                changes[:] = take(session, one, text, actor=acting.actor, at=now())
                return one
        else:
            if metadata is not None or replace:
                raise click.UsageError("--metadata and --replace are for SAML; an OpenID provider's metadata is read from its issuer")
            oidc = oidc_setup.rediscovered(known)

            def act(session: Session) -> Connection:
                one = find_named(session, acting.organization_id, name, lock=True)
                kept = settings_of(one).oidc
                changes[:] = [f"{key} is {value}" for key, value in oidc.items() if kept.get(key) != value]
                return connections.change(session, one, settings={"oidc": oidc}, actor=acting.actor, at=now())

        done = in_transaction(act)
        after = shown(acting, done)
        return Answer(
            schema=after.schema, fields={**after.fields, "changes": changes}, tables=after.tables, notes=changes or ["Nothing is new there."]
        )

    return usable(do)


@verb(connection, "test", may=DESK)
@click.argument("name")
def try_connection(acting: Acting, name: str) -> Answer:
    """Read what the provider publishes, and say what would keep people from signing in. Nobody signs in by it."""
    with reading() as session:
        known = find_named(session, acting.organization_id, name)
    problems = _saml_problems(known) if known.kind == ConnectionKind.SAML else _oidc_problems(known)
    return Answer(
        schema="connection_test",
        fields={"id": known.id, "name": known.name, "problems": problems, "sign_in": f"{acting.settings.public_url}/sign-in?connection={known.id}"},
        tables=[Table(columns=("problem",), rows=[(one,) for one in problems])] if problems else [],
        notes=[] if problems else [f"{name} answers; try it: {acting.settings.public_url}/sign-in?connection={known.id}"],
        exit=Exit.ERROR if problems else Exit.DONE,
    )  # fmt: skip


def _saml_problems(known: Connection) -> list[str]:
    from app.sso.saml_refreshing import expiring
    from app.sso.saml_setup import BadMetadata, fetch_metadata, read_metadata

    kept, at = settings_of(known).saml, now()
    with reading() as session:
        found = [f"{one.what} ends at {iso(one.ends_at)}" for one in expiring(session, at=at) if one.connection_id == known.id]
    if url := kept.get("metadata_url"):
        try:
            said = read_metadata(fetch_metadata(url, allow_private=kept.get("allow_private") is True), at=at)
        except (BadMetadata, ConnectorError) as error:
            return [*found, str(error)]
        if said["entity_id"] != known.issuer:
            found.append(f"the metadata is of another provider: {said['entity_id']}")
        if not set(said["certificates"]) & set(kept.get("certificates", [])):
            found.append(f"the provider's certificate has changed: {to_type('connection refresh', known.name)}")
    return found


def _oidc_problems(known: Connection) -> list[str]:
    from app.sso.oidc_setup import read, rediscovered

    try:
        provider = read(known)
        said = rediscovered(known)
        keys = provider.visitor().get(provider.jwks_uri)
    except (UnusableConnection, ConnectorError) as error:
        return [str(error)]
    kept = settings_of(known).oidc
    found = [f"the provider's {key} has changed: {to_type('connection refresh', known.name)}" for key in ("authorization_endpoint", "token_endpoint", "jwks_uri") if said.get(key) != kept.get(key)]
    if provider.names_issuer and not said["names_issuer"]:
        found.append(f"the provider promises no iss in its answers any more, and is refused without: {to_type('connection refresh', known.name)}")
    if keys.status != 200 or not keys.document().has("keys"):
        found.append(f"the provider's keys cannot be read: {provider.jwks_uri} answers {keys.status}")
    return found
