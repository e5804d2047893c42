"""Verbs on directories that are pulled: connecting one, trying it step by step, and pulling it now."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.command_lines import to_type
from app.commands.acting import ADMINS, NAME, Acting, verb
from app.commands.exits import Exit
from app.commands.output import Answer, Table, tell
from app.commands.source_states import schedule
from app.commands.sources import add, source
from app.commands.typed_paths import whole_path
from app.database import in_transaction, reading
from app.directory.tables import Source
from app.lifecycle.pulled_tables import SourceState
from app.lifecycle.sources import add_pulled_source, change_pulled_source, find_source, told

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
OFTEN: Final = {"every": "15m", "full_every": "24h"}


def add_to(doorlist: click.Group) -> None:
    """They are verbs of `source`, which is added with the others."""


class Period(click.ParamType[Any]):
    """How often something is done, or off."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from app.intake.pull_state import SOONEST, length

        try:
            if (span := length(value)) is not None and span < SOONEST:
                raise ValueError(f"{value!r} is too often: once a minute is the most")
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


_option = click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="Any other option of this kind of source; several times.")
_every = click.option("--every", type=Period(), metavar="TIME", help="How often what changed is pulled, such as 15m, or off. Default: 15m.")
_full_every = click.option("--full-every", type=Period(), metavar="TIME", help="How often all of it is read, such as 24h, or off. Default: 24h.")
_private = click.option("--allow-private", is_flag=True, help="It is in a network of yours.")


def _secret(file: Path | None) -> str | None:
    from app.commands.hr import secret_in, usable

    line: str | None = usable(secret_in, file)
    return line


def _said(given: Sequence[str]) -> dict[str, str]:
    from app.commands.hr import usable, variables_of

    said: dict[str, str] = usable(variables_of, given, option="--option")
    if ca := said.get("ca_file"):
        said["ca_file"] = whole_path(ca)
    return said


def _address(kind: str, url: str) -> str:
    # Only a list of people may be at a path; what is no address at all is refused where it is opened.
    return whole_path(url) if kind == "csv" and url.strip() and not _SCHEME.match(url.strip()) else url


def _added(
    acting: Acting, name: str, kind: str, url: str, options: dict[str, str | None], more: Sequence[str], *,
    secret: str | None, every: str | None, full_every: str | None,
) -> Answer:  # fmt: skip
    from connectors.contract import Secret
    from connectors.registry import SourceSettings, open_source

    chosen = {**{key: value for key, value in options.items() if value}, **_said(more)}
    # What cannot be right is said now, and not by the first pull.
    open_source(kind, SourceSettings(name=name, url=url, secret=Secret(secret or ""), options=chosen))
    reached = {"url": url, "options": chosen, "every": every or OFTEN["every"], "full_every": full_every or OFTEN["full_every"]}
    made = in_transaction(
        lambda session: add_pulled_source(
            session, acting.organization_id, name, kind=kind, reached=reached, secret=secret or "", settings=acting.settings, actor=acting.actor, at=now()
        )
    )
    shown = told(reached)
    columns = ("name", "kind", "url", "every", "full_every")
    return Answer(
        schema="source",
        fields={"id": made.id, "name": made.name, "kind": made.kind, **shown},
        tables=[Table(columns=columns, rows=[(name, kind, *(shown[column] for column in columns[2:]))])],
        notes=[f"Nothing was read yet. Try it: {to_type('source test', name)}; then: {to_type('source pull', name, '--dry-run')}"],
    )


@verb(add, "ldap", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--url", required=True, metavar="URL", help="ldaps://HOST[:PORT], or ldap:// with --option start_tls=true.")
@click.option("--bind-dn", required=True, metavar="DN", help="Who reads it; an account that can do nothing else.")
@click.option("--password-file", type=Path, required=True, metavar="FILE", help="Their password; - is standard input.")
@click.option("--base", required=True, metavar="DN", help="Where people and groups are.")
@click.option("--ca", "ca_file", type=Path, metavar="FILE", help="Who signed its certificate. Default: the authorities of this machine.")
@click.option("--kind", type=click.Choice(["openldap", "ad", "389ds"]), help="Which server it is. Default: it is asked.")
@_option
@_every
@_full_every
def add_ldap(
    acting: Acting, name: str, url: str, bind_dn: str, password_file: Path, base: str, ca_file: Path | None, kind: str | None,
    options: tuple[str, ...], every: str | None, full_every: str | None,
) -> Answer:  # fmt: skip
    """Connect OpenLDAP, Active Directory, Samba or 389 Directory Server."""
    given = {"bind_dn": bind_dn, "base": base, "ca_file": _where(ca_file), "kind": kind}
    return _added(acting, name, "ldap", url, given, options, secret=_secret(password_file), every=every, full_every=full_every)


@verb(add, "okta", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--url", required=True, metavar="URL", help="https://ORGANISATION.okta.com")
@click.option("--token-file", type=Path, metavar="FILE", help="An API token.")
@click.option("--client-id", metavar="ID", help="Instead of a token: an API service application.")
@click.option("--key-file", type=Path, metavar="FILE", help="The private key of that application, as JWK or PEM.")
@click.option("--kid", metavar="ID", help="The id of that key in Okta.")
@click.option("--ca", "ca_file", type=Path, metavar="FILE", help="Who signed its certificate. Default: the authorities of this machine.")
@_private
@_option
@_every
@_full_every
def add_okta(
    acting: Acting, name: str, url: str, token_file: Path | None, client_id: str | None, key_file: Path | None, kid: str | None, ca_file: Path | None,
    allow_private: bool, options: tuple[str, ...], every: str | None, full_every: str | None,
) -> Answer:  # fmt: skip
    """Connect Okta, whose users and groups are pulled over its API."""
    if (token_file is None) == (key_file is None) or (key_file is None) != (client_id is None):
        raise click.UsageError("either --token-file, or --client-id and --key-file")
    given = {"client_id": client_id, "kid": kid, "ca_file": _where(ca_file), "allow_private": "true" if allow_private else None}
    return _added(acting, name, "okta", url, given, options, secret=_whole(token_file, key_file), every=every, full_every=full_every)


@verb(add, "entra", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--tenant", required=True, metavar="ID", help="The directory (tenant) id.")
@click.option("--client-id", required=True, metavar="ID", help="The application (client) id.")
@click.option("--secret-file", type=Path, metavar="FILE", help="Its client secret.")
@click.option("--key-file", type=Path, metavar="FILE", help="Instead of a secret: the private key of its certificate.")
@click.option("--url", default="https://graph.microsoft.com", show_default=True, metavar="URL", help="Of Microsoft Graph; national clouds have their own.")
@click.option("--ca", "ca_file", type=Path, metavar="FILE", help="Who signed its certificate. Default: the authorities of this machine.")
@_private
@_option
@_every
@_full_every
def add_entra(
    acting: Acting, name: str, tenant: str, client_id: str, secret_file: Path | None, key_file: Path | None, url: str, ca_file: Path | None,
    allow_private: bool, options: tuple[str, ...], every: str | None, full_every: str | None,
) -> Answer:  # fmt: skip
    """Connect Entra ID (Azure AD), whose users and groups are pulled from Microsoft Graph."""
    if (secret_file is None) == (key_file is None):
        raise click.UsageError("either --secret-file or --key-file")
    given = {"tenant": tenant, "client_id": client_id, "ca_file": _where(ca_file), "allow_private": "true" if allow_private else None}
    return _added(acting, name, "entra", url, given, options, secret=_whole(secret_file, key_file), every=every, full_every=full_every)


@verb(add, "csv", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--file", "file", type=Path, metavar="FILE", help="A CSV or JSON file on this machine.")
@click.option("--url", metavar="URL", help="Instead of a file: an address that answers with one.")
@click.option("--token-file", type=Path, metavar="FILE", help="With --url: what is sent there as bearer token.")
@_private
@_option
@_every
@_full_every
def add_csv(
    acting: Acting, name: str, file: Path | None, url: str | None, token_file: Path | None, allow_private: bool, options: tuple[str, ...],
    every: str | None, full_every: str | None,
) -> Answer:  # fmt: skip
    """Connect a list of people and groups, as CSV or JSON."""
    if (file is None) == (url is None):
        raise click.UsageError("either --file or --url")
    address = _address("csv", url) if url is not None else whole_path(str(file))
    given = {"allow_private": "true" if allow_private else None}
    return _added(acting, name, "csv", address, given, options, secret=_secret(token_file), every=every, full_every=full_every)


def _where(file: Path | None) -> str | None:
    return None if file is None else whole_path(str(file))


def _whole(line: Path | None, key: Path | None) -> str | None:
    """A secret of one line, or a key file as it is."""
    if key is None:
        return _secret(line)
    try:
        return sys.stdin.read() if str(key) == "-" else key.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{key} is no text: a private key is read as PEM or as JWK") from error


@verb(source, "set", may=ADMINS)
@click.argument("name")
@click.option("--url", metavar="URL", help="Another address.")
@_option
@_every
@_full_every
@click.option("--rank", type=click.IntRange(0, 10_000), help="Where several sources speak of one person, the attributes of the lowest count first. Default: 100.")
@click.option("--password-file", "--secret-file", "--token-file", "secret_file", type=Path, metavar="FILE", help="Another password, secret or token.")
@click.option("--key-file", type=Path, metavar="FILE", help="Another private key, as JWK or PEM.")
def set_source(
    acting: Acting, name: str, url: str | None, options: tuple[str, ...], every: str | None, full_every: str | None, rank: int | None,
    secret_file: Path | None, key_file: Path | None,
) -> Answer:  # fmt: skip
    """Change how a directory is pulled; an option without a value (NAME=) goes back to its default."""
    from app.intake import pulling

    if secret_file is not None and key_file is not None:
        raise click.UsageError("either --secret-file or --key-file")
    if not options and all(one is None for one in (url, every, full_every, rank, secret_file, key_file)):
        raise click.UsageError("say what changes: --url, --option, --every, --full-every, --rank, or a file with a secret")
    secret, said = _whole(secret_file, key_file), _said(options)

    def act(session: Session) -> Source:
        one = find_source(session, acting.organization_id, name)
        # Its mapping is kept beside what is set here, and changed by others.
        session.refresh(one, with_for_update=True)
        if one.kind not in pulling.PULLED:
            if url or said or every or full_every or secret is not None:
                raise click.UsageError(f"{name} is not pulled: it has a rank, and nothing else is set here")
            reached = one.settings or {}
        else:
            before = one.settings or {}
            chosen = {key: value for key, value in {**before.get("options", {}), **said}.items() if value}
            reached = {**before, "url": _address(one.kind, url) if url else before.get("url", ""), "options": chosen}
            reached |= {key: value for key, value in (("every", every), ("full_every", full_every)) if value is not None}
        change_pulled_source(
            session, one, reached=reached, rank=one.rank if rank is None else rank, secret=secret, settings=acting.settings, actor=acting.actor, at=now()
        )
        if one.kind in pulling.PULLED and (url or said or secret is not None):
            # What cannot be right is refused, and nothing is stored. When it is read can be changed whatever is wrong with the rest.
            pulling.open_source_of(acting.settings, one)
        return one

    one = in_transaction(act)
    return Answer(
        schema="source", fields={"id": one.id, "name": one.name, "kind": one.kind, "rank": one.rank, **told(one.settings or {})},
        notes=[f"{name} is changed; the next pull goes by it." if one.kind in pulling.PULLED else f"{name} is changed."],
    )  # fmt: skip


@verb(source, "hook", may=ADMINS)
@click.argument("name")
def hook_source(acting: Acting, name: str) -> Answer:
    """Have Okta or Entra say at once that something changed: where their events go, and what proves them. Entra is asked to subscribe us."""
    from app.intake import notices

    hook = notices.begin(acting.settings, acting.organization_id, name, at=now())
    fields: dict[str, object] = {"name": name, "url": hook.url, "ends": iso(hook.ends_at)}
    if hook.secret:
        fields["secret"] = hook.secret
    notes = (
        ["Enter the address as an event hook in Okta, and the secret as the value of its Authorization header."]
        if hook.secret
        else ["Microsoft Graph calls this address from now on; the subscriptions are renewed by themselves."]
    )
    return Answer(schema="source.hook", fields=fields, tables=[Table(columns=tuple(fields), rows=[tuple(fields.values())])], notes=notes)


@verb(source, "test", may=ADMINS)
@click.argument("name")
def test_source(acting: Acting, name: str) -> Answer:
    """Try a directory: connect, bind, search and count, each with its own outcome. Nothing is written."""
    from app.intake import pulling

    with reading() as session:
        one = find_source(session, acting.organization_id, name)
        state = session.get(SourceState, (acting.organization_id, one.id))
    opened = pulling.open_source_of(acting.settings, one)
    check = opened.check()
    steps = [{"name": step.name, "good": step.good, "detail": step.detail, "milliseconds": step.milliseconds} for step in check.steps]
    fields: dict[str, object] = {
        "name": name, "kind": one.kind, "good": check.good, "steps": steps, "people": check.people, "groups": check.groups, "cost": check.cost,
        **schedule(one, state),
    }  # fmt: skip
    columns = ("name", "good", "milliseconds", "detail")
    tables = [Table(columns=columns, rows=[[step[column] for column in columns] for step in steps])]
    notes = [f"{name}: every step went well." if check.good else f"{name}: {check.steps[-1].name} failed: {check.steps[-1].detail}"]
    if check.cost:
        notes.append(check.cost)
    return Answer(schema="source.test", fields=fields, tables=tables, notes=notes, exit=Exit.DONE if check.good else Exit.UNREACHABLE)


@verb(source, "pull", may=ADMINS)
@click.argument("name")
@click.option("--full", is_flag=True, help="Read all of it, not only what changed.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
def pull_source(acting: Acting, name: str, full: bool, dry_run: bool) -> Answer:
    """Pull a directory now. What would take access from too many is held, and nothing that came short or empty takes any."""
    from app.intake import pulling

    outcome = pulling.pull(
        acting.settings, acting.organization_id, name, whole=full, dry_run=dry_run, actor=acting.actor, clock=now, progress=tell,
        patience=pulling.PATIENCE,
    )  # fmt: skip
    counts = {key: getattr(outcome, key) for key in ("seen", "joined", "moved", "left", "unchanged", "missing", "asked")}
    held = None
    if outcome.held is not None:
        held = {"digest": outcome.held.digest, "reason": outcome.held.reason, "would_lose_access": outcome.held.would_lose_access}
    notes = list(outcome.notes)
    if held is not None:
        # Of a listing that cannot be right, the reason is the run's own note.
        notes = [note for note in notes if note != held["reason"]]
        notes += [str(held["reason"]), f"Look at it: doorlist held show {held['digest']}" if held["digest"] else "Nothing was written."]
    return Answer(
        schema="source.pull", fields={"run": outcome.run, "source": name, **counts, "held": held, "notes": list(outcome.notes)},
        tables=[Table(columns=("run", *counts), rows=[(outcome.run, *counts.values())])], notes=notes, exit=Exit.HELD if held is not None else Exit.DONE,
    )  # fmt: skip
