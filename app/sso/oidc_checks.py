"""What an ID token must say before anybody is believed to be somebody. Pure: claims in, a verified person out, or a refusal.

The libraries leave half of this to whoever uses them: Authlib compares neither `aud` nor `iss` unless told to, and takes
its algorithms from the provider's metadata. So each rule stands here once, with its own words for the administrator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from authlib.oidc.core.util import create_half_hash

from app.access.connection_tables import Connection
from app.access.signed_tokens import BadToken, SignedToken, instant
from app.sso.connections import directory_ids
from app.sso.logins import Begun
from app.sso.oidc_setup import GOOGLE, OIDCSettings
from app.sso.refusals import Reason, Refused
from app.sso.verified import Verified

SKEW: Final = timedelta(minutes=3)
"""How far two clocks may be apart."""
LONGEST_SUBJECT: Final = 255
"""OpenID Connect Core §2."""
_ID_TOKEN_TYPES: Final = (None, "jwt")
"""No other kind of JWT passes for an ID token (RFC 8725 §3.11), such as `at+jwt`, `logout+jwt`, `secevent+jwt`, `command+jwt`."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a provider gave for a code: a signed ID token, and perhaps an access token."""

    token: SignedToken
    raw: str = field(repr=False)
    access_token: str | None = field(repr=False)


def verified_of(
    answer: Answer, *, connection: Connection, provider: OIDCSettings, begun: Begun, more: Mapping[str, Any], at: datetime
) -> Verified:
    """The person whom an ID token names (OpenID Connect Core §3.1.3.7). `more` are claims of the userinfo endpoint. Raises Refused."""
    claims = answer.token.claims
    check = _Check(connection_id=connection.id, claims=claims, at=at)
    if answer.token.typ not in _ID_TOKEN_TYPES or "events" in claims:
        raise check.bad("the message is of another kind than an ID token")
    check.issuer(provider.issuer)
    check.audience(provider.client_id)
    if claims.get("nonce") != begun.secrets["nonce"]:
        # A token of another sign-in, of another browser, or of nobody's: this one was never asked for.
        raise check.refused(Reason.NOT_ASKED_FOR, "the ID token has no nonce, or that of another sign-in")
    issued = check.times(begun_at=begun.created_at)
    authenticated = check.authenticated(issued, begun=begun)
    check.access_token(answer)
    tenant = check.tenant(provider)
    subject = check.subject(provider.subject_claim)
    # Microsoft says in a claim of its own which authentication contexts were satisfied.
    contexts = _methods(claims.get("acrs")) if provider.tenant_claim == "tid" else ()
    said = {**more, **claims}
    if said.get("email_verified") in (False, "false"):
        # Whoever may write their own address would join by it, or be looked up by it where a connection chose that.
        said.pop("email", None)
    return Verified(
        organization_id=connection.organization_id, connection_id=connection.id, issuer=provider.issuer, subject=subject,
        tenant=tenant, directory_ids=directory_ids(connection, _texts(said)),
        # Shown to people and never believed: whoever runs a tenant writes there what they like (nOAuth).
        email=_text(said.get("email")), display_name=_text(said.get("name")), issued_at=issued, authenticated_at=authenticated,
        until=check.until(), acr=_text(claims.get("acr")), amr=_methods(claims.get("amr")) + contexts, upstream_session=_text(claims.get("sid")),
        id_token=answer.raw, return_to=begun.return_to, asked=dict(begun.asked),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Check:
    connection_id: str
    claims: Mapping[str, Any]
    at: datetime

    def refused(self, reason: Reason, message: str) -> Refused:
        return Refused(reason, message, connection_id=self.connection_id)

    def bad(self, message: str) -> Refused:
        return self.refused(Reason.BAD_MESSAGE, message)

    def issuer(self, issuer: str) -> None:
        if self.claims.get("iss") != issuer:
            raise self.refused(Reason.OTHER_ISSUER, f"the message is of issuer {shown(self.claims.get('iss'))}, not of {issuer}")

    def audience(self, client_id: str) -> None:
        """For us, and for nobody else who could show it to us again (IPSIE SL1: exactly one)."""
        audience = self.claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if named != [client_id]:
            raise self.refused(Reason.OTHER_AUDIENCE, f"aud of the message is {shown(audience)}, and not our client id alone")
        if self.claims.get("azp", client_id) != client_id:
            raise self.refused(Reason.OTHER_AUDIENCE, f"the message was given to another client, {shown(self.claims['azp'])}")

    def instant(self, name: str) -> datetime | None:
        try:
            return instant(self.claims, name)
        except BadToken as error:
            raise self.bad(str(error)) from error

    def required(self, name: str) -> datetime:
        found = self.instant(name)
        if found is None:
            raise self.bad(f"the message does not say {name}")
        return found

    def times(self, *, begun_at: datetime) -> datetime:
        expires, issued, earliest = self.required("exp"), self.required("iat"), self.instant("nbf")
        if issued > self.at + SKEW or (earliest is not None and earliest > self.at + SKEW):
            raise self.skewed(f"it is {_minutes(max(issued, earliest or issued) - self.at)} ahead of us")
        if issued < begun_at - SKEW:
            raise self.skewed(f"the ID token was made {_minutes(begun_at - issued)} before it was asked for")
        if expires <= self.at - SKEW:
            raise self.skewed(f"the ID token ran out {_minutes(self.at - expires)} ago")
        return issued

    def skewed(self, message: str) -> Refused:
        return self.refused(Reason.CLOCK_SKEW, f"the clocks here and at the provider differ: {message}; {SKEW.seconds // 60} minutes are let pass")

    def authenticated(self, issued: datetime, *, begun: Begun) -> datetime:
        """When they proved who they are. Asked for a fresh proof, we take no older one (§3.1.2.1, max_age and auth_time)."""
        said = self.instant("auth_time")
        if said is not None and said > self.at + SKEW:
            raise self.skewed(f"auth_time is {_minutes(said - self.at)} ahead of us")
        if begun.asked.get("force"):
            if said is None:
                raise self.bad("a fresh sign-in was asked for, and the ID token does not say auth_time")
            # By the provider's own clock, so that no difference between clocks makes an old proof a fresh one.
            if issued - said > self.at - begun.created_at + timedelta(seconds=5):
                raise self.refused(Reason.NOT_ASKED_FOR, "a fresh sign-in was asked for, and the provider vouches for an older one")
        return min(said or issued, self.at)

    def until(self) -> datetime | None:
        """IPSIE's `session_expiry`: as far as the provider vouches."""
        until = self.instant("session_expiry")
        if until is not None and until <= self.at:
            raise self.refused(Reason.TOO_LATE, "the session at the provider is over (session_expiry)")
        return until

    def access_token(self, answer: Answer) -> None:
        said = self.claims.get("at_hash")
        if said is None or answer.access_token is None:
            return
        wanted: bytes = create_half_hash(answer.access_token, answer.token.algorithm)
        if said != wanted.decode():
            raise self.bad("the access token beside the ID token is another one than it names (at_hash)")

    def tenant(self, provider: OIDCSettings) -> str:
        """The tenant that vouches. Accounts of every other one are refused, also where their issuer is the same."""
        if provider.tenant_claim is None:
            return ""
        said = _text(self.claims.get(provider.tenant_claim))
        if said is None or (provider.tenant is not None and said.lower() != provider.tenant.lower()):
            wanted = provider.tenant or "some organisation's"
            raise self.refused(Reason.OTHER_ISSUER, f"{provider.tenant_claim} of the ID token is {shown(said)}, not {wanted}")
        # Google numbers all its accounts together, whatever their domain is called today.
        return "" if provider.issuer == GOOGLE else said.lower()

    def subject(self, claim: str) -> str:
        # §2: `sub` must be there even where another claim names the person.
        for name in ("sub", claim):
            said = self.claims.get(name)
            if not isinstance(said, str) or not 0 < len(said) <= LONGEST_SUBJECT or not said.isprintable():
                raise self.bad(f"the message does not say {name}, a text of at most {LONGEST_SUBJECT} characters")
        return str(self.claims[claim])


def check_issuer_and_audience(connection_id: str, claims: Mapping[str, Any], provider: OIDCSettings, *, at: datetime) -> None:
    """The two rules that every message of a provider has to keep. Raises Refused."""
    check = _Check(connection_id=connection_id, claims=claims, at=at)
    check.issuer(provider.issuer)
    check.audience(provider.client_id)


def shown(value: object) -> str:
    """What a message said, fit for a log: short, and without anything that a terminal would obey."""
    text = value if isinstance(value, str) else type(value).__name__ if value is not None else "nobody"
    return repr(text[:100])


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= 1000 and value.isprintable() else None


def _texts(said: Mapping[str, Any]) -> dict[str, list[str]]:
    """Claims as texts. A number is one, since directories number their people; an object is none."""
    found: dict[str, list[str]] = {}
    for name, value in said.items():
        values = value if isinstance(value, list) else [value]
        found[name] = [str(one) for one in values if isinstance(one, str | int) and not isinstance(one, bool)]
    return found


def _methods(value: object) -> tuple[str, ...]:
    # RFC 8176 has a list; some send a single text.
    values = value if isinstance(value, list) else [value]
    return tuple(one for one in (_text(each) for each in values) if one is not None)[:20]


def _minutes(apart: timedelta) -> str:
    return f"{apart.total_seconds() / 60:.0f} minutes" if apart >= timedelta(minutes=2) else f"{apart.total_seconds():.0f} seconds"
