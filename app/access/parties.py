"""Relying parties: the applications that sign people in through us, and the gateways that ask before they push.

A party belongs to one organisation, and only that organisation's people get in there.
"""

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.keys import ALGORITHMS, Purpose
from app.access.session_tables import PartyKind, RelyingParty
from app.access.tokens import digest_of
from app.actors import Actor
from app.clock import iso, microseconds
from app.database import new_id
from app.journal import entries

SECRET: Final = "dl_pc_secret_"
GATEWAY: Final = "dl_pg_"
_ID: Final = re.compile(r"[0-9a-f-]{36}")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")
LONGEST_URI: Final = 2000


class UnusableParty(ValueError):
    """A relying party cannot be like this; the message says what is wrong with it."""


class UnknownParty(LookupError):
    """There is no relying party of this name or id in this organisation."""


@dataclass(frozen=True, kw_only=True)
class PartyDraft:
    """What is asked for of a new party. A public one has no secret and proves itself by PKCE alone; with `jwks` it signs assertions."""

    name: str
    kind: PartyKind = PartyKind.APPLICATION
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str | None = None
    device_flow: bool = False
    public: bool = False
    algorithm: str = "ES256"
    private_network: bool = False
    jwks: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class OpenedParty:
    """A new party, and its secret where it has one: told this once."""

    client_id: str
    secret: str | None = field(repr=False)


def open_party(session: Session, organization_id: str, draft: PartyDraft, *, actor: Actor, at: datetime) -> OpenedParty:
    """Raises UnusableParty, also where the name is taken by a party that stands."""
    _check(draft)
    taken = select(RelyingParty.id).where(
        RelyingParty.organization_id == organization_id, RelyingParty.name == draft.name, RelyingParty.ended_at.is_(None)
    )
    if session.scalar(taken) is not None:
        raise UnusableParty(f"there is a client named {draft.name!r} already")
    client_id = new_id()
    secret = None if draft.public or draft.jwks is not None else _new_secret(draft.kind, client_id)
    party = RelyingParty(
        organization_id=organization_id, id=client_id, name=draft.name, kind=draft.kind, secret_digest=None if secret is None else digest_of(secret),
        redirect_uris=list(draft.redirect_uris), post_logout_redirect_uris=list(draft.post_logout_redirect_uris),
        backchannel_logout_uri=draft.backchannel_logout_uri, device_flow=draft.device_flow, algorithm=draft.algorithm,
        settings={
            **({} if draft.jwks is None else {"jwks": dict(draft.jwks)}), **({"private_network": True} if draft.private_network else {}),
        },
        created_at=at,
    )  # fmt: skip
    _journal(session, party, "client added", actor=actor, at=at, after=shown(party))
    session.add(party)
    session.flush()
    return OpenedParty(client_id=client_id, secret=secret)


def rotate_secret(session: Session, party: RelyingParty, *, overlap: timedelta, actor: Actor, at: datetime) -> str:
    """Another secret. The one before stays good for the overlap; what was there before that is over. Raises UnusableParty."""
    if party.secret_digest is None:
        raise UnusableParty(f"{party.name} has no secret: it is public, or signs with keys of its own")
    if party.ended_at is not None:
        raise UnusableParty(f"{party.name} has ended")
    # Of two at once each would else keep the one before, and one of the new ones would be good for nothing.
    session.refresh(party, with_for_update=True)
    secret = _new_secret(PartyKind(party.kind), party.id)
    previous = {"digest": party.secret_digest, "until": microseconds(at + overlap)}
    party.settings = {**{key: value for key, value in party.settings.items() if key != "previous"}, **({"previous": previous} if overlap else {})}
    party.secret_digest = digest_of(secret)
    _journal(session, party, "client secret rotated", actor=actor, at=at, after={"previous_until": iso(at + overlap) if overlap else None})
    session.flush()
    return secret


def end_party(session: Session, party: RelyingParty, *, actor: Actor, at: datetime) -> None:
    """The party is one no more: nothing that it was given works from the commit on. Ending twice is once."""
    if party.ended_at is None:
        _journal(session, party, "client ended", actor=actor, at=at, before=shown(party))
        party.ended_at = at
        session.flush()


def find_party(session: Session, client_id: str) -> RelyingParty | None:
    """The party of this id, if it stands; whose organisation it is, its row says."""
    # PostgreSQL cannot even be asked for a text with a NUL in it.
    if not _ID.fullmatch(client_id):
        return None
    return session.scalar(select(RelyingParty).where(RelyingParty.id == client_id, RelyingParty.ended_at.is_(None)))


def party_named(session: Session, organization_id: str, name: str) -> RelyingParty:
    """The party of this name or id: the one that stands, else the one that ended last. Raises UnknownParty."""
    found = session.scalars(
        select(RelyingParty)
        .where(RelyingParty.organization_id == organization_id, (RelyingParty.name == name) | (RelyingParty.id == name))
        .order_by(RelyingParty.ended_at.is_not(None), RelyingParty.ended_at.desc())
        .limit(1)
    ).first()
    if found is None:
        raise UnknownParty(f"client {name} does not exist")
    return found


def parties_of(session: Session, organization_id: str) -> Sequence[RelyingParty]:
    """Every party there is or was, by name."""
    return session.scalars(
        select(RelyingParty).where(RelyingParty.organization_id == organization_id).order_by(RelyingParty.name, RelyingParty.created_at)
    ).all()


def fits(secret: str, digest: str | None, settings: Mapping[str, Any], *, at: int) -> bool:
    """Whether this is a secret of the party whose columns these are, at this instant in microseconds. In constant time."""
    shown_digest = digest_of(secret)
    good = [] if digest is None else [digest]
    previous = settings.get("previous")
    if previous is not None and previous["until"] > at:
        good.append(previous["digest"])
    # Each is compared, so that the time tells nobody which one it was.
    return bool(sum([hmac.compare_digest(one, shown_digest) for one in good]))


def find_gateway(session: Session, token: str, *, at: datetime) -> RelyingParty | None:
    """The push gateway whose secret this is, shown as a bearer token; None where it is unknown or has ended."""
    if not token.startswith(GATEWAY):
        return None
    party = find_party(session, token.removeprefix(GATEWAY)[:36])
    if party is None or party.kind != PartyKind.GATEWAY:
        return None
    return party if fits(token, party.secret_digest, party.settings, at=microseconds(at)) else None


def shown(party: RelyingParty) -> dict[str, Any]:
    """A party as the journal and the command line show it: without secrets."""
    return {
        "client_id": party.id, "name": party.name, "kind": party.kind, "redirect_uris": party.redirect_uris,
        "post_logout_redirect_uris": party.post_logout_redirect_uris, "backchannel_logout_uri": party.backchannel_logout_uri,
        "device": party.device_flow, "private_network": bool(party.settings.get("private_network")), "auth": auth_method(party), "algorithm": party.algorithm,
    }  # fmt: skip


def auth_method(party: RelyingParty) -> str:
    """What the party proves itself with, as RFC 8414 names it."""
    if party.secret_digest is not None:
        return "client_secret"
    return "private_key_jwt" if "jwks" in party.settings else "none"


def _new_secret(kind: PartyKind, client_id: str) -> str:
    # A gateway shows its secret alone, so that has to say whose it is.
    return (f"{GATEWAY}{client_id}_" if kind is PartyKind.GATEWAY else SECRET) + secrets.token_urlsafe(32)


def _check(draft: PartyDraft) -> None:
    if not draft.name.strip() or len(draft.name) > 200 or not draft.name.isprintable():
        raise UnusableParty("a client needs a name of at most 200 characters that can be printed")
    if draft.algorithm not in ALGORITHMS[Purpose.TOKENS]:
        raise UnusableParty(f"ID tokens are signed with {', '.join(ALGORITHMS[Purpose.TOKENS])}, not {draft.algorithm[:20]}")
    if draft.kind is PartyKind.GATEWAY:
        if draft.redirect_uris or draft.public or draft.device_flow or draft.jwks is not None:
            raise UnusableParty("a gateway signs nobody in: it has a secret, no redirect URI and no device flow")
    elif not draft.redirect_uris and not draft.device_flow:
        raise UnusableParty("a client needs a redirect URI, or the device flow")
    if draft.public and draft.jwks is not None:
        raise UnusableParty("a client with keys of its own is not public")
    for uri in (*draft.redirect_uris, *draft.post_logout_redirect_uris):
        check_uri(uri)
    if draft.backchannel_logout_uri is not None:
        check_uri(draft.backchannel_logout_uri, http=draft.private_network)
        if urlsplit(draft.backchannel_logout_uri).scheme not in ("http", "https"):
            raise UnusableParty("a back-channel logout URI is called by us, so it must be https")


def may_be_private(party: RelyingParty) -> bool:
    """Whether we may call this party where the open internet ends: said when it was added, or plain from its address."""
    return bool(party.settings.get("private_network")) or urlsplit(party.backchannel_logout_uri or "").hostname in _LOOPBACK


def check_uri(uri: str, *, http: bool = False) -> None:
    """Refuse what nobody may be sent to: plain http but on this very machine, and what browsers read differently. Raises UnusableParty.

    Applications on a device may have a scheme of their own with a dot in it (RFC 8252 §7.1).
    """
    if not uri.isascii() or any(mark <= " " or mark in "\\\"'<>#`{}|^\x7f" for mark in uri) or len(uri) > LONGEST_URI:
        raise UnusableParty(f"{uri[:100]!r} is no absolute URI without a fragment, in plain characters")
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        raise UnusableParty(f"{uri[:100]!r} is no URI") from None
    if parts.scheme in ("http", "https"):
        if not parts.hostname or parts.username is not None:
            raise UnusableParty(f"{uri[:100]!r} needs a host, and no user name")
        if parts.scheme == "http" and not http and parts.hostname not in _LOOPBACK:
            raise UnusableParty(f"{uri[:100]!r} must be https: what is sent there could be read on the way")
    elif not _SCHEME.fullmatch(parts.scheme):
        raise UnusableParty(f"{uri[:100]!r} must be https, or have a scheme such as com.example.app")


def _journal(
    session: Session, party: RelyingParty, verb: str, *, actor: Actor, at: datetime, before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    entries.write(
        session, party.organization_id, at=at, actor=actor, verb=verb, because="operator", subject_kind="client", subject_id=party.id,
        before=before, after=after,
    )  # fmt: skip
