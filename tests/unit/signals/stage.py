"""A company, a provider that signs what it says, and whoever else speaks of its people: stand-ins for tests of signals."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import responses
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access.connection_tables import Connection, ConnectionKind, Identity
from app.access.sessions import Authenticated, Limits, check, start
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.directory.tables import Person, Record, RecordEmail
from app.lifecycle.people import lock_person
from app.revocation.stream_tables import Received
from app.revocation.stream_tables import Transmitter as TransmitterRow
from app.revocation.telling import tell_of_everything
from app.settings import Settings
from app.signals import transmitters
from app.signals.events import CAEP, RISC, SSF
from app.signals.transmitters import Draft, Policy
from tests.company import ADMIN, Company, new_company

SESSION_REVOKED = f"{CAEP}session-revoked"
CREDENTIAL_CHANGE = f"{CAEP}credential-change"
TOKEN_CLAIMS_CHANGE = f"{CAEP}token-claims-change"
DEVICE_COMPLIANCE_CHANGE = f"{CAEP}device-compliance-change"
DISABLED = f"{RISC}account-disabled"
ENABLED = f"{RISC}account-enabled"
PURGED = f"{RISC}account-purged"
CHANGED = f"{RISC}identifier-changed"
RECYCLED = f"{RISC}identifier-recycled"
VERIFICATION = f"{SSF}verification"
STREAM_UPDATED = f"{SSF}stream-updated"

PUBLIC_URL = "http://127.0.0.1:8484"


@cache
def key_of(algorithm: str, name: str) -> Key:
    """A private key that fits; for one name the same each time."""
    named: Any = {"kid": name}
    match algorithm:
        case "RS256" | "PS256":
            return RSAKey.generate_key(2048, named)
        case "EdDSA":
            return OKPKey.generate_key("Ed25519", named)
        case _:
            return ECKey.generate_key("P-256", named)


def signed(header: Mapping[str, Any], claims: Mapping[str, Any], key: Key) -> str:
    with warnings.catch_warnings():
        # The name EdDSA is deprecated, and what people send.
        warnings.simplefilter("ignore")
        return jws.serialize_compact(dict(header), json.dumps(claims), key, algorithms=[header["alg"]])


def seconds(value: Any) -> Any:
    """A timedelta is counted from now, an instant is written as JWTs have it."""
    if isinstance(value, timedelta):
        value = now() + value
    return value.timestamp() if isinstance(value, datetime) else value


@dataclass(kw_only=True)
class Provider:
    """Signs with its own key, and publishes it."""

    issuer: str
    algorithm: str = "ES256"
    key_name: str = "k1"
    jwks_uri: str = field(default_factory=lambda: f"https://idp.example/{new_id()}/jwks")

    @property
    def key(self) -> Key:
        return key_of(self.algorithm, self.key_name)

    def publishes(self, outside: responses.RequestsMock) -> None:
        outside.get(self.jwks_uri, json={"keys": [self.key.as_dict(private=False)]})

    def signs(self, claims: Mapping[str, Any], *, key: Key | None = None, **header: Any) -> str:
        """A JWT; None leaves a claim or a part of the header out."""
        said = {"alg": self.algorithm, "kid": self.key_name, "typ": "secevent+jwt", **header}
        kept = {name: seconds(value) for name, value in claims.items() if value is not None}
        return signed({name: value for name, value in said.items() if value is not None}, kept, key or self.key)


@dataclass(kw_only=True)
class Stage:
    """One company and whoever pushes signals of its people."""

    app: Flask
    http: FlaskClient
    outside: responses.RequestsMock
    company: Company

    @property
    def settings(self) -> Settings:
        settings = self.app.config["DOORLIST"]
        assert isinstance(settings, Settings)
        return settings

    @property
    def organization_id(self) -> str:
        return self.company.organization_id

    def beside(self) -> Stage:
        """Another organisation of the same installation."""
        return Stage(app=self.app, http=self.http, outside=self.outside, company=new_company())

    def joins(self, name: str, number: str | None = None, *, issuer: str | None = None, subject: str | None = None) -> Record:
        """Somebody; with an issuer, whom it already signed in."""
        record = self.company.joins(f"{name}@clinic.example", number or f"E-{name}")
        if issuer is not None:
            self.binds(record.person_id, issuer=issuer, subject=subject or f"u-{name}")
        return record

    def binds(self, person_id: str, *, issuer: str, subject: str) -> None:
        def act(session: Session) -> None:
            session.add(
                Identity(
                    organization_id=self.organization_id, id=new_id(), issuer=issuer, subject=subject, person_id=person_id, bound_by="test", bound_at=now()
                )
            )  # fmt: skip

        in_transaction(act)

    def shares(self, record: Record, address: str) -> None:
        """Give somebody an address that another may have as well."""
        in_transaction(lambda session: session.add(RecordEmail(organization_id=self.organization_id, record_id=record.id, address_key=address)))

    def signs_in(self, person_id: str, *, upstream_session: str | None = None, connection_id: str | None = None) -> str:
        """The cookie of a new session."""

        def act(session: Session) -> str:
            how = Authenticated(connection_id=connection_id, at=now(), upstream_session=upstream_session)
            return start(session, lock_person(session, self.organization_id, person_id), how, limits=Limits(), agent="test", at=now())[1]

        return in_transaction(act)

    def is_in(self, cookie: str) -> bool:
        with reading() as session:
            return check(session, cookie, at=now()) is not None

    def looks_again(self, record: Record) -> None:
        """Have it looked once more at what somebody may still do, as another change of them would."""
        in_transaction(lambda session: tell_of_everything(session, self.organization_id, record.person_id, because=None, at=now()))

    def standing(self, record: Record) -> str:
        with reading() as session:
            return session.get_one(Person, (self.organization_id, record.person_id)).standing

    def epoch(self, record: Record) -> int:
        with reading() as session:
            return session.get_one(Person, (self.organization_id, record.person_id)).access_epoch

    def hears(self, provider: Provider, name: str = "idp", **draft: Any) -> Hearing:
        """Add a transmitter that pushes."""
        provider.publishes(self.outside)
        policy = Policy(**draft.pop("policy", {}))
        wanted = Draft(name=name, issuer=provider.issuer, jwks_uri=provider.jwks_uri, policy=policy, **draft)
        row, header = in_transaction(
            lambda session: transmitters.add(session, self.settings, self.organization_id, wanted, actor=ADMIN, at=now())
        )
        return Hearing(stage=self, provider=provider, row=row, header=header or "")

    def hears_no_more(self, hearing: Hearing) -> None:
        """End a transmitter."""
        in_transaction(lambda session: transmitters.end(session, self.organization_id, hearing.row.id, actor=ADMIN, at=now()))

    def connects(self, provider: Provider, kind: ConnectionKind = ConnectionKind.OIDC, **settings: Any) -> str:
        """A connection to a provider; returns its id."""
        provider.publishes(self.outside)
        own = {"oidc": {"jwks_uri": provider.jwks_uri, "client_id": "0oa1clientid"}} if kind is ConnectionKind.OIDC else {}

        def act(session: Session) -> str:
            row = Connection(
                organization_id=self.organization_id, id=new_id(), kind=kind, name=f"okta {new_id()}", issuer=provider.issuer,
                settings={**own, **settings}, created_at=now(),
            )  # fmt: skip
            session.add(row)
            session.flush()
            return row.id

        return in_transaction(act)

    def disconnects(self, connection_id: str) -> None:
        """End a connection."""

        def act(session: Session) -> None:
            session.get_one(Connection, (self.organization_id, connection_id)).ended_at = now()

        in_transaction(act)


@dataclass(kw_only=True)
class Hearing:
    """A stream that a transmitter pushes to us."""

    stage: Stage
    provider: Provider
    row: TransmitterRow
    header: str

    def says(self, event: str, subject: Mapping[str, Any] | None, /, *, header: Mapping[str, Any] | None = None, key: Key | None = None, said: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A good token but for what is said otherwise; None leaves a claim out."""
        usual = {
            "iss": self.row.issuer, "jti": new_id(), "iat": timedelta(), "aud": self.row.audience, "sub_id": subject, "events": {event: dict(said or {})},
        }  # fmt: skip
        return self.provider.signs({**usual, **claims}, key=key, **(header or {}))

    def push(self, token: str, *, authorization: str | None = None, content_type: str = "application/secevent+jwt") -> TestResponse:
        sent = self.header if authorization is None else authorization
        return self.stage.http.post(
            f"/signals/push/{self.row.id}", data=token, content_type=content_type, headers={"Authorization": sent} if sent else {}
        )

    def pushes(self, event: str, subject: Mapping[str, Any] | None, /, **otherwise: Any) -> Received:
        """Push an event that is taken; returns what is kept of it."""
        token = self.says(event, subject, **otherwise)
        answer = self.push(token)
        assert answer.status_code == 202, answer.text
        return self.last()

    def kept(self) -> list[Received]:
        with reading() as session:
            return list(
                session.scalars(
                    select(Received)
                    .where(Received.organization_id == self.row.organization_id, Received.sender_id == self.row.id)
                    .order_by(Received.received_at)
                )
            )

    def last(self) -> Received:
        return self.kept()[-1]

    def refused(self, token: str, **otherwise: Any) -> str:
        """Push a token that is refused; returns why. Nothing is kept of it."""
        before = len(self.kept())
        answer = self.push(token, **otherwise)
        assert answer.status_code in (400, 401), (answer.status_code, answer.text)
        assert len(self.kept()) == before
        return str(answer.get_json()["err"])


def iss_sub(issuer: str, subject: str) -> dict[str, str]:
    return {"format": "iss_sub", "iss": issuer, "sub": subject}


def email(address: str) -> dict[str, str]:
    return {"format": "email", "email": address}


def opaque(said: str) -> dict[str, str]:
    return {"format": "opaque", "id": said}


def user(subject: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    return {"format": "complex", "user": dict(subject), **members}
