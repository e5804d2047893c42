"""Verbs of set-up: organisations, sources that push or call, announced departures."""

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import tokens
from app.access.sealing import KeyMissing, seal, unseal
from app.actors import Actor
from app.database import new_id
from app.directory.settings import check, lets_more_through, setting
from app.directory.tables import Source
from app.journal import entries
from app.journal.tables import Organization
from app.lifecycle.errors import NotFound, SecretElsewhere, Taken
from app.lifecycle.pulled_tables import SourceState
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from app.settings import Settings
from connectors.addresses import server_of

_SEALED_URL: Final = "sealed_url"
_HIDDEN: Final = re.compile(r"\?…#[0-9a-f]{12}\Z")


def add_organization(session: Session, name: str, *, at: datetime) -> Organization:
    """The organisation of that name, made where it is not there yet."""
    there = session.scalar(select(Organization).where(Organization.name == name))
    if there is not None:
        return there
    organization = Organization(id=new_id(), name=name, settings={}, created_at=at)
    session.add(organization)
    session.flush()
    return organization


def set_setting(session: Session, organization: Organization, key: str, value: str, *, actor: Actor, at: datetime) -> None:
    """Change a setting; where it lets more through than before, others are told. Raises UnusableSetting before anything is written."""
    check(key, value)
    # Held: whoever sets another one at this moment is waited for, and stays said.
    session.refresh(organization, with_for_update={"key_share": True})
    before, in_force = organization.settings.get(key), setting(organization.settings, key)
    organization.settings = {**organization.settings, key: value}
    entries.write(
        session, organization.id, at=at, actor=actor, verb="setting changed", because="operator", subject_kind="setting", subject_id=key,
        before={"value": before}, after={"value": value},
    )  # fmt: skip
    if lets_more_through(key, in_force, value):
        raise_alarm(
            session, organization.id, kind=AlarmKind.SAFEGUARD_LOWERED, about=key, sentence=f"{actor} set {key} from {in_force} to {value}.", at=at
        )


def find_source(session: Session, organization_id: str, name: str, *, lock: bool = False) -> Source:
    """A source by its name; locked for whoever changes what lets it in. Raises NotFound."""
    query = select(Source).where(Source.organization_id == organization_id, Source.name == name, Source.ended_at.is_(None))
    source = session.scalar(query.with_for_update().execution_options(populate_existing=True) if lock else query)
    if source is None:
        raise NotFound("source", name)
    return source


def _new_source(
    session: Session, organization_id: str, name: str, *, kind: str, sealed: bytes | None, actor: Actor, at: datetime,
    reached: dict[str, Any] | None = None,
) -> Source:  # fmt: skip
    taken = session.scalar(
        select(Source.id).where(Source.organization_id == organization_id, Source.name == name, Source.ended_at.is_(None))
    )
    if taken is not None:
        raise Taken("name", name, f"there is a source named {name!r} already")
    source = Source(organization_id=organization_id, id=new_id(), kind=kind, name=name, sealed_secret=sealed, created_at=at, journal_id=0)
    source.settings = reached
    source.journal_id = entries.write(
        session, organization_id, at=at, actor=actor, verb="source added", because="operator", subject_kind="source", subject_id=source.id,
        after={"name": name, "kind": kind, **({"settings": told(reached)} if reached is not None else {})},
    )  # fmt: skip
    session.add(source)
    session.flush()
    return source


def add_scim_source(session: Session, organization_id: str, name: str, *, actor: Actor, at: datetime) -> tuple[Source, str]:
    """A directory that pushes over SCIM, and its first token. Raises Taken."""
    source = _new_source(session, organization_id, name, kind="scim", sealed=None, actor=actor, at=at)
    return source, tokens.issue(session, organization_id, holder_kind="source", holder_id=source.id, at=at)


def add_hr_source(
    session: Session, organization_id: str, name: str, *, settings: Settings, actor: Actor, at: datetime
) -> tuple[Source, str]:
    """An HR system that calls with Standard Webhooks, and its secret. Raises Taken, KeyMissing."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return _new_source(session, organization_id, name, kind="hr", sealed=seal(settings, secret), actor=actor, at=at), secret


def add_pulled_source(
    session: Session, organization_id: str, name: str, *, kind: str, reached: dict[str, Any], secret: str, settings: Settings, actor: Actor, at: datetime
) -> Source:
    """A directory that is pulled: `reached` is how (address, options, schedule). Raises Taken, KeyMissing."""
    sealed = seal(settings, secret) if secret else None
    return _new_source(session, organization_id, name, kind=kind, sealed=sealed, actor=actor, at=at, reached=_kept(settings, reached, before={}))


def told(reached: Mapping[str, Any]) -> dict[str, Any]:
    """How a source is reached, as anybody may see it and the journal has it.

    What follows the `?` of an address is often all that is needed to read the list there, as in one that was signed: in its place stands
    a mark by which it is told from another one.
    """
    return {name: _without_query(value) if name == "url" else value for name, value in reached.items() if name != _SEALED_URL}


def url_of(source: Source, *, settings: Settings) -> str:
    """The whole address of a pulled source. Raises KeyMissing."""
    reached = source.settings or {}
    sealed = reached.get(_SEALED_URL)
    return str(reached.get("url", "")) if sealed is None else unseal(settings, sealed.encode())


def _kept(settings: Settings, reached: Mapping[str, Any], *, before: Mapping[str, Any]) -> dict[str, Any]:
    """As it is stored: an address with a query is sealed as a whole, and stays so where another one is not given."""
    shown, url = told(reached), str(reached.get("url", ""))
    if _SEALED_URL in before and url == before.get("url"):
        return {**shown, _SEALED_URL: before[_SEALED_URL]}
    return shown if shown.get("url", "") == url else {**shown, _SEALED_URL: seal(settings, url).decode()}


def _without_query(url: str) -> str:
    start, mark, _ = url.partition("?")
    if not mark or not url.lower().startswith(("https:", "http:")) or _HIDDEN.search(url):
        return url
    return f"{start}?…#{hashlib.sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def change_pulled_source(
    session: Session, source: Source, *, reached: dict[str, Any], rank: int, secret: str | None, settings: Settings, actor: Actor, at: datetime
) -> None:
    """Another address, schedule or rank of a directory that is pulled; `secret` None leaves it. Raises KeyMissing, SecretElsewhere.

    Where it is read otherwise from now on, all of it is read anew, and a pull that is under way writes nothing more.
    """
    if source.sealed_secret is not None and secret is None:
        stay_where_it_is_known(_servers(source.settings or {}), _servers(reached), name=source.name, give="--password-file or --key-file")
    before = source.settings or {}
    after = _kept(settings, reached, before=before)
    source.journal_id = entries.write(
        session, source.organization_id, at=at, actor=actor, verb="source changed", because="operator", subject_kind="source", subject_id=source.id,
        before={"settings": told(before), "rank": source.rank}, after={"settings": told(after), "rank": rank, "secret": secret is not None},
    )  # fmt: skip
    source.settings, source.rank = after, rank
    if secret is not None:
        source.sealed_secret = seal(settings, secret)
    state = session.get(SourceState, (source.organization_id, source.id), with_for_update=True, populate_existing=True)
    if state is None or (before == after and secret is None):
        return
    if any(told(before).get(name) != after.get(name) for name in ("url", "options")):
        # At another address is another directory, whose changes no cursor of this one tells; but a list has to have its columns anywhere.
        begin_anew(state, elsewhere=source.kind != "csv" and before.get("url") != after.get("url"))
    # By its new schedule it is due at once, or not at all; one that said that something changed is due whatever its schedule.
    state.next_at = None if state.woken_at is None else at


def begin_anew(state: SourceState, *, elsewhere: bool = False) -> None:
    """All of it is to be read, whoever is reading it now. Unless another directory is read, the cursor still says what columns there were."""
    state.cursor_at = state.full_at = state.claimed_by = state.claimed_until = None
    if elsewhere:
        state.cursor = None


def stay_where_it_is_known(before: frozenset[object], after: frozenset[object], *, name: str, give: str) -> None:
    """Refuse to show a stored secret to a server that whoever gave it did not name. Raises SecretElsewhere.

    Who may change an address may not read the secret: without this they would, by an address of their own.
    """
    if not after <= before:
        raise SecretElsewhere(f"{name} would be reached at another server, and its stored secret shown there: give the secret for it too ({give})")


def _servers(reached: Mapping[str, Any]) -> frozenset[object]:
    """Where a source shows its secret: its address, and what else of its options is one."""
    addresses = [reached.get("url") or "", *(value for value in (reached.get("options") or {}).values() if "://" in str(value))]
    return frozenset(server_of(str(address)) for address in addresses)


def _journal(session: Session, source: Source, verb: str, *, actor: Actor, at: datetime, after: dict[str, object] | None = None) -> None:
    source.journal_id = entries.write(
        session,
        source.organization_id,
        at=at,
        actor=actor,
        verb=verb,
        because="operator",
        subject_kind="source",
        subject_id=source.id,
        after=after,
    )


def rotate(session: Session, source: Source, *, settings: Settings, actor: Actor, at: datetime) -> str:
    """A new token or secret; the one before stays good until the next rotation or `revoke`. Raises KeyMissing."""
    _journal(session, source, "source rotated", actor=actor, at=at)
    if source.kind == "scim":
        return tokens.issue(session, source.organization_id, holder_kind="source", holder_id=source.id, at=at)
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    source.sealed_previous_secret, source.sealed_secret = source.sealed_secret, seal(settings, secret)
    return secret


def revoke(session: Session, source: Source, *, actor: Actor, at: datetime) -> None:
    """No token or secret of this source is good any more; what it said stays."""
    source.sealed_secret = source.sealed_previous_secret = None
    _journal(session, source, "source revoked", actor=actor, at=at)
    tokens.revoke_all(session, source.organization_id, holder_id=source.id, at=at)


def secrets_of(source: Source, *, settings: Settings) -> list[str]:
    """The secrets that a call of this HR system may be signed with. Raises KeyMissing."""
    found: list[str] = []
    unreadable: KeyMissing | None = None
    for sealed in (source.sealed_secret, source.sealed_previous_secret):
        try:
            found += [unseal(settings, sealed)] if sealed is not None else []
        except KeyMissing as error:
            # The older secret may have been sealed with a key that was lost: the newer one is enough.
            unreadable = error
    if unreadable is not None and not found:
        raise unreadable
    return found


def expect_departures(session: Session, organization_id: str, count: int, *, until: datetime, actor: Actor, at: datetime) -> None:
    """Let that many more pushed departures of each source past the brake, until then."""
    for source in session.scalars(select(Source).where(Source.organization_id == organization_id, Source.ended_at.is_(None))):
        source.expected_departures, source.expected_until = count, until
        _journal(session, source, "departures announced", actor=actor, at=at, after={"count": count, "until": until.isoformat()})
