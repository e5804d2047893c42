"""What relying parties are told of a person: ID tokens, the claims of /userinfo, and ID tokens that come back as a hint."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict

from authlib.oidc.core.util import create_half_hash
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy.orm import Session

from app.access.keys import ALGORITHMS, REGISTRY, Purpose, jwks, signer
from app.access.session_tables import Grant, RelyingParty, WebSession
from app.access.sessions import Present
from app.directory.tables import Person
from app.settings import Settings

ID_TOKEN_LIVES: Final = timedelta(minutes=10)
ONE_FACTOR: Final = "urn:doorlist:acr:1"
TWO_FACTORS: Final = "urn:doorlist:acr:2"
LONGEST_HINT: Final = 16_384


class How(TypedDict):
    """How somebody proved who they are, as parties are told."""

    acr: str
    amr: tuple[str, ...]


def acr_values_of(sent: Mapping[str, str]) -> tuple[str, ...]:
    """How a client wants its people to prove who they are, best first (OpenID Connect Core §3.1.2.1)."""
    return tuple(sent.get("acr_values", "").split())


def how_of(present: Present, wanted: Sequence[str] = ()) -> How:
    """The class of an authentication and its methods (RFC 8176): as the identity provider said them, else whether a second factor was used.

    Who wanted one of our own classes is answered by that, whatever the provider calls what it did.
    """
    fulfilled = [one for one in wanted if one in (present.acr, ONE_FACTOR) or (one == TWO_FACTORS and present.strong)]
    said = present.acr or (TWO_FACTORS if present.strong else ONE_FACTOR)
    return {"acr": fulfilled[0] if fulfilled else said, "amr": present.amr or (("mfa",) if present.strong else ())}


def claims_of(person: Person, scope: str) -> dict[str, Any]:
    """Whom a party may know by these scopes. `sub` is for ever, whatever somebody is called; `tenant` goes with it (IPSIE)."""
    scopes = scope.split()
    claims: dict[str, Any] = {"sub": person.id, "tenant": person.organization_id}
    if "profile" in scopes:
        claims |= {"name": person.display_name, "preferred_username": person.user_name}
    # That the address is theirs is the directory's word; nothing is said of it being verified, and nobody is known by it.
    if "email" in scopes and person.email:
        claims["email"] = person.email
    return claims


def sign_id_token(
    session: Session, settings: Settings, party: RelyingParty, grant: Grant, person: Person, *, scope: str, nonce: str | None,
    access_token: str, at: datetime,
) -> str:  # fmt: skip
    """OpenID Connect Core §2, with what IPSIE SL1 wants in it. Raises KeyMissing, NoSigningKey."""
    key = signer(session, settings, Purpose.TOKENS, at=at, algorithm=party.algorithm)
    second = int(at.timestamp())
    # An application that may work alone goes on for longer than its user's session: of that the identity provider said how long it lasts.
    browser = None if grant.session_id is None else session.get(WebSession, (grant.organization_id, grant.session_id))
    ends = [one for one in (grant.expires_at, person.access_until, None if browser is None else browser.expires_at) if one is not None]
    claims = {
        **claims_of(person, scope), "iss": settings.public_url, "aud": party.id, "iat": second, "exp": second + int(ID_TOKEN_LIVES.total_seconds()),
        "auth_time": int(grant.authenticated_at.timestamp()), "acr": grant.acr or ONE_FACTOR, "amr": grant.amr, "sid": grant.sid,
        "session_expiry": int(min(ends).timestamp()), "at_hash": create_half_hash(access_token, key.algorithm).decode(),
    }  # fmt: skip
    return key.sign_jwt(claims if nonce is None else {**claims, "nonce": nonce})


def read_hint(session: Session, settings: Settings, hint: str, *, at: datetime) -> dict[str, Any] | None:
    """The claims of an ID token of ours that a party gives back; None for anything else. It may have run out (RP-Initiated Logout §2)."""
    if len(hint) > LONGEST_HINT:
        return None
    try:
        read = jws.deserialize_compact(hint, KeySet.import_key_set(jwks(session, at=at)), registry=REGISTRY)  # type: ignore[arg-type]  # joserfc's own name for such an object
        header, claims = read.headers(), json.loads(read.payload or b"")
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        return None
    # Logout tokens and security events are signed with the same keys, and are something else.
    if header.get("typ") != "JWT" or header.get("alg") not in ALGORITHMS[Purpose.TOKENS] or not isinstance(claims, dict):
        return None
    fits = claims.get("iss") == settings.public_url and all(isinstance(claims.get(name), str) for name in ("sub", "aud", "sid"))
    return claims if fits else None
