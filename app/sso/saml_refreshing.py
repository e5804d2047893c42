"""Keeping a SAML connection up to date: a provider's next certificate taken beside the present one, and warned of what ends."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection, ConnectionKind
from app.actors import CLOCK, Actor
from app.database import in_transaction, reading
from app.journal import entries
from app.sso.connections import settings_of
from app.sso.saml_certificates import BadCertificate, Certificate, read_certificate
from app.sso.saml_setup import BadMetadata, fetch_metadata, read_metadata
from connectors.contract import ConnectorError

WARNED_AHEAD: Final = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Expiring:
    """A certificate that ends soon, or has ended. `what` says whose it is."""

    organization_id: str
    connection_id: str
    connection_name: str
    what: str
    fingerprint: str
    ends_at: datetime


def expiring(session: Session, *, at: datetime, ahead: timedelta = WARNED_AHEAD) -> list[Expiring]:
    """Connections whose last good certificate ends within `ahead`, or has ended; and ours. One that has a successor is not told."""
    found = []
    standing = select(Connection).where(Connection.kind == ConnectionKind.SAML, Connection.ended_at.is_(None))
    for connection in session.scalars(standing.order_by(Connection.organization_id, Connection.name)):
        kept = settings_of(connection).saml
        theirs, ours = _readable(kept.get("certificates", [])), _readable([kept.get("our_certificate", "")])
        for what, certificates in (("the provider's certificate", theirs), ("our own certificate", ours)):
            last = max(certificates, key=lambda one: one.not_after, default=None)
            if last is not None and last.not_after <= at + ahead:
                whose = {"organization_id": connection.organization_id, "connection_id": connection.id, "connection_name": connection.name}
                found.append(Expiring(**whose, what=what, fingerprint=last.fingerprint, ends_at=last.not_after))
    return found


def _readable(certificates: Iterable[str]) -> list[Certificate]:
    found = []
    for pem in certificates:
        try:
            found.append(read_certificate(pem))
        except BadCertificate:
            continue
    return found


def refresh(session: Session, connection: Connection, metadata: str, *, actor: Actor, at: datetime) -> list[str]:
    """Take what the provider's metadata says now; returns what is new, in sentences. Raises BadMetadata.

    Certificates are only ever added by this: an older one counts until its own end, since the provider may still sign with
    it. So whoever could answer in the provider's place once cannot lock its people out. What they could do is add a
    certificate of their own; where the metadata was signed, it has to be signed by the same again, or by one known here.
    """
    return _take(session, connection, read_metadata(metadata, at=at), actor=actor, at=at, forgets=False)


def replace(session: Session, connection: Connection, metadata: str, *, actor: Actor, at: datetime) -> list[str]:
    """Take this metadata and forget every certificate that is not in it: for one that was stolen. Raises BadMetadata."""
    return _take(session, connection, read_metadata(metadata, at=at), actor=actor, at=at, forgets=True)


def _take(session: Session, connection: Connection, said: dict[str, Any], *, actor: Actor, at: datetime, forgets: bool) -> list[str]:
    kept = dict(settings_of(connection).saml)
    if said.pop("entity_id") != connection.issuer:
        raise BadMetadata(f"the metadata is of another provider than {connection.issuer}")
    if not forgets:
        _check_signer(kept, said)
        standing = [pem for pem in kept.get("certificates", []) if pem not in said["certificates"] and read_certificate(pem).not_after > at]
        said["certificates"] = [*said["certificates"], *standing]
    fresh = {**kept, **said}
    if fresh == kept:
        return []
    changes = _changes(kept, fresh)
    entries.write(
        session, connection.organization_id, at=at, actor=actor, verb="connection's metadata taken", because="; ".join(changes),
        subject_kind="connection", subject_id=connection.id, before=_shown(kept), after=_shown(fresh),
    )  # fmt: skip
    connection.settings = {**connection.settings, "saml": fresh}
    session.flush()
    return changes


def _check_signer(kept: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    before = kept.get("metadata_signer")
    if before is None:
        return
    trusted = {before, *(read_certificate(pem).fingerprint for pem in kept.get("certificates", []))}
    if said["metadata_signer"] not in trusted:
        raise BadMetadata(
            f"the metadata was signed with {before} and now is signed with {said['metadata_signer'] or 'nothing'}: have the provider's "
            "administrator confirm it, then replace it by hand"
        )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old, new = (_fingerprints(one) for one in (before, after))
    changes = [f"new certificate {one}" for one in new if one not in old] + [
        f"certificate {one} no longer counts" for one in old if one not in new
    ]
    names = {
        "sso_url": "the address of sign-in",
        "slo_url": "the address of sign-out",
        "slo_response_url": "the address of answers to sign-out",
    }
    changes += [f"{words} is {after.get(key)}" for key, words in names.items() if before.get(key) != after.get(key)]
    return changes or ["how it is signed"]


def _fingerprints(kept: Mapping[str, Any]) -> list[str]:
    return [read_certificate(pem).fingerprint for pem in kept.get("certificates", [])]


def _shown(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "certificates": _fingerprints(kept),
        **{key: kept.get(key) for key in ("sso_url", "slo_url", "slo_response_url", "metadata_signer")},
    }


@dataclass(frozen=True, kw_only=True)
class NotRefreshed:
    """A connection whose metadata could not be read, or was not taken."""

    organization_id: str
    connection_id: str
    sentence: str


def refresh_all(*, at: datetime) -> list[NotRefreshed]:
    """Every connection with an address for its metadata, asked once. Returns those where that could not be done.

    Each is fetched with no transaction open, and changed in one of its own.
    """
    with reading() as session:
        connections = session.scalars(select(Connection).where(Connection.kind == ConnectionKind.SAML, Connection.ended_at.is_(None))).all()
    problems = []
    for connection in connections:
        kept = settings_of(connection).saml
        url = kept.get("metadata_url")
        if not url:
            continue
        try:
            text = fetch_metadata(url, allow_private=kept.get("allow_private") is True)
            in_transaction(lambda session, known=connection, text=text: _refresh_known(session, known, text, at=at))  # type: ignore[misc]  # defaults bind the loop's values
        except (ValueError, BadCertificate, ConnectorError) as error:
            # Whatever is odd about one connection keeps no other from being read.
            sentence = f"The metadata of the connection {connection.name!r} was not taken: {error}."
            problems.append(NotRefreshed(organization_id=connection.organization_id, connection_id=connection.id, sentence=sentence))
    return problems


def _refresh_known(session: Session, known: Connection, text: str, *, at: datetime) -> list[str]:
    here = session.get_one(Connection, (known.organization_id, known.id), with_for_update=True, populate_existing=True)
    # Who changed it while the metadata were fetched meant something by it, such as that a certificate is not to come back.
    return refresh(session, here, text, actor=CLOCK, at=at) if here.ended_at is None and here.settings == known.settings else []
