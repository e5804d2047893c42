"""The installation's own signing keys: for tokens that others check, and for evidence that has to hold for years.

A new key is published before it signs, so that whoever keeps a copy of our key set has it in time; an old one stays
published for as long as something that it signed may still be shown.
"""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws, jwt
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey
from sqlalchemy import or_, select, text, update
from sqlalchemy.orm import Session

from app.access.key_tables import SigningKey
from app.access.sealing import seal, unseal
from app.actors import Actor
from app.clock import iso, now
from app.journal import entries
from app.journal.tables import Organization
from app.settings import Settings

RSA_BITS = 2048
OVERLAP = timedelta(hours=24)
"""How long a new key is published before it signs: longer than anybody should keep a key set without asking again."""
TOKENS_LIVE = timedelta(days=31)
"""How long a retired key for tokens stays in the key set. ID tokens come back as `id_token_hint` long after they ran out."""
_ONE_AT_A_TIME = 0x646C6B6579
"""PostgreSQL's advisory lock for whoever makes keys."""


class Purpose(StrEnum):
    """What a key may sign. Evidence has keys of its own: a token's key is used by far more of the code."""

    TOKENS = "tokens"
    EVIDENCE = "evidence"


ALGORITHMS: Final[Mapping[Purpose, tuple[str, ...]]] = {
    # IPSIE allows these three and no other.
    Purpose.TOKENS: ("ES256", "PS256", "EdDSA"),
    # C2SP signed notes are signed with Ed25519.
    Purpose.EVIDENCE: ("EdDSA",),
}


def _known_as(name: str) -> Any:
    # Any: joserfc keeps the name of this type to itself.
    # The name EdDSA is deprecated for being vague (RFC 9864); it is what readers know, and here always means Ed25519.
    model = copy(jws.JWSRegistry.algorithms[name if name != "EdDSA" else "Ed25519"])
    model.name = name
    return model


class _Registry(jws.JWSRegistry):
    """Only our algorithms."""

    algorithms = {name: _known_as(name) for name in ALGORITHMS[Purpose.TOKENS]}  # noqa: RUF012  # as joserfc has it
    max_header_length = 4096


REGISTRY: Final = _Registry(algorithms=list(ALGORITHMS[Purpose.TOKENS]))
"""Gives joserfc the three algorithms, and none else, for whoever reads what was signed here."""


@dataclass(frozen=True, kw_only=True)
class Signer:
    """A key that may sign now. `key` is joserfc's, private, and shows nothing of itself when printed."""

    kid: str
    algorithm: str
    key: Key = field(repr=False)

    def sign_jwt(self, claims: Mapping[str, Any], *, typ: str = "JWT") -> str:
        """A compact JWS of these claims (RFC 7515); the header names algorithm, key and type, and nothing else."""
        header = {"alg": self.algorithm, "kid": self.kid, "typ": typ}
        return jwt.encode(header, dict(claims), self.key, algorithms=[self.algorithm], registry=REGISTRY, default_type=None)

    def sign_bytes(self, message: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature over `message`, with no header around it (RFC 8032)."""
        private = self.key.get_op_key("sign")
        if not isinstance(private, Ed25519PrivateKey):
            raise TypeError(f"only an Ed25519 key signs bare bytes, not {self.algorithm}")
        return private.sign(message)

    @property
    def public_bytes(self) -> bytes:
        """The 32 bytes of an Ed25519 public key (RFC 8032)."""
        private = self.key.get_op_key("sign")
        if not isinstance(private, Ed25519PrivateKey):
            raise TypeError(f"only an Ed25519 key is 32 bytes long, not {self.algorithm}")
        return private.public_key().public_bytes_raw()


_unsealed: dict[tuple[str, bytes], Key] = {}
"""Opened keys of this process. By what was stored as well, so that two databases in one process never meet."""


def ensure_keys(session: Session, settings: Settings, *, at: datetime) -> list[str]:
    """Make each key that there never was; returns the new kids. Safe to call at any time. Raises KeyMissing."""
    _one_at_a_time(session)
    there = {tuple(row) for row in session.execute(select(SigningKey.purpose, SigningKey.algorithm).distinct())}
    made = [
        _make(session, settings, purpose, algorithm, at=at, active_from=at).kid
        for purpose, algorithms in ALGORITHMS.items()
        for algorithm in algorithms
        # Whoever has retired a key without a successor meant it: only what never was is made here.
        if (purpose.value, algorithm) not in there
    ]
    session.flush()
    return made


def signer(session: Session, settings: Settings, purpose: Purpose, *, at: datetime, algorithm: str | None = None) -> Signer:
    """The key that signs now: ES256 for tokens, Ed25519 for evidence, unless said otherwise. Raises KeyMissing, NoSigningKey."""
    wanted = algorithm or ALGORITHMS[purpose][0]
    found = _current(session, purpose, wanted, at=at)
    if found is None and session.scalar(select(SigningKey.kid).limit(1)) is None:
        ensure_keys(session, settings, at=at)
        found = _current(session, purpose, wanted, at=at)
    if found is None:
        raise NoSigningKey(f"there is no {wanted} key for {purpose} that may sign now: run 'doorlist keys rotate'")
    place = (found.kid, found.sealed_private)
    key = _unsealed.get(place)
    if key is None:
        key = _unsealed[place] = JWKRegistry.import_key(json.loads(unseal(settings, found.sealed_private)))
    return Signer(kid=found.kid, algorithm=found.algorithm, key=key)


class NoSigningKey(Exception):
    """No key may sign now; nothing is signed. The message says what to do."""


def jwks(session: Session, *, at: datetime | None = None) -> dict[str, Any]:
    """The public keys that tokens are checked with (RFC 7517 §5): the next, the current, and the retired ones that still matter.

    A key that was withdrawn is none of them: what it signed may be of anybody, so nobody is to believe it, we neither.
    """
    since = (at or now()) - TOKENS_LIVE
    shown = _listed(
        session, SigningKey.purpose == Purpose.TOKENS, SigningKey.withdrawn_at.is_(None),
        or_(SigningKey.retired_at.is_(None), SigningKey.retired_at > since),
    )  # fmt: skip
    return {"keys": [one.public for one in shown]}


def all_public(session: Session) -> list[dict[str, Any]]:
    """Every public key that ever was, as JWKs with members of ours beside (RFC 7517 §4): `purpose`, and what became of it when."""
    return [
        {
            **one.public, "purpose": one.purpose, "created": iso(one.created_at), "active_from": iso(one.active_from),
            "retired": iso(one.retired_at), "withdrawn": iso(one.withdrawn_at),
        }
        for one in _listed(session)
    ]  # fmt: skip


def rotate(session: Session, settings: Settings, purpose: Purpose, *, at: datetime, actor: Actor, overlap: timedelta = OVERLAP) -> list[str]:
    """Make the next key of each algorithm; it signs after `overlap`, and its predecessors until then. Returns the new kids.

    Without an overlap every key before is withdrawn: it signs no more at once, and no token that it signed counts any more.
    That is for a key that somebody else may have, who then has the others of that purpose too. Evidence of before stays
    good as it was dated, against a checkpoint that somebody else has. Rotating again while a successor waits makes a third
    key, and both others are retired when it begins. Raises KeyMissing.
    """
    _one_at_a_time(session)
    active_from = at + overlap
    if not overlap:
        session.execute(update(SigningKey).where(SigningKey.purpose == purpose, SigningKey.withdrawn_at.is_(None)).values(withdrawn_at=at))
    new = []
    for algorithm in ALGORITHMS[purpose]:
        standing = session.scalars(
            select(SigningKey).where(
                SigningKey.purpose == purpose, SigningKey.algorithm == algorithm,
                or_(SigningKey.retired_at.is_(None), SigningKey.retired_at > active_from),
            )
        ).all()  # fmt: skip
        for old in standing:
            old.retired_at = active_from
        new.append(_make(session, settings, purpose, algorithm, at=at, active_from=active_from).kid)
    # The keys are everybody's, so every organisation's journal says so.
    for organization_id in session.scalars(select(Organization.id).order_by(Organization.id)).all():
        entries.write(
            session, organization_id, at=at, actor=actor, verb="signing keys rotated", because=f"keys for {purpose}",
            subject_kind="signing key", subject_id=new[0],
            after={"purpose": purpose, "kids": new, "active_from": iso(active_from), "withdrawn": not overlap},
        )  # fmt: skip
    session.flush()
    return new


def _current(session: Session, purpose: Purpose, algorithm: str, *, at: datetime) -> SigningKey | None:
    return session.scalars(
        select(SigningKey)
        .where(
            SigningKey.purpose == purpose, SigningKey.algorithm == algorithm, SigningKey.active_from <= at,
            or_(SigningKey.retired_at.is_(None), SigningKey.retired_at > at),
        )
        .order_by(SigningKey.active_from.desc(), SigningKey.kid)
        .limit(1)
    ).first()  # fmt: skip


def _listed(session: Session, *conditions: Any) -> Sequence[SigningKey]:
    return session.scalars(select(SigningKey).where(*conditions).order_by(SigningKey.purpose, SigningKey.active_from, SigningKey.kid)).all()


def _make(session: Session, settings: Settings, purpose: Purpose, algorithm: str, *, at: datetime, active_from: datetime) -> SigningKey:
    key = _generated(algorithm)
    kid = key.thumbprint()
    named: dict[str, Any] = {"kid": kid, "alg": algorithm, "use": "sig"}
    row = SigningKey(
        kid=kid, purpose=purpose, algorithm=algorithm, sealed_private=seal(settings, json.dumps({**key.as_dict(private=True), **named})),
        public={**key.as_dict(private=False), **named}, created_at=at, active_from=active_from,
    )  # fmt: skip
    session.add(row)
    return row


def _generated(algorithm: str) -> Key:
    match algorithm:
        case "ES256":
            return ECKey.generate_key("P-256")
        case "PS256":
            return RSAKey.generate_key(RSA_BITS)
        case "EdDSA":
            return OKPKey.generate_key("Ed25519")
    raise ValueError(f"no keys are made for {algorithm}")


def _one_at_a_time(session: Session) -> None:
    # Two processes that start at once would each make a set; on SQLite whoever writes is alone anyway.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ONE_AT_A_TIME})
