"""Signature schemes: does a call come from who holds the secret, over these very bytes, and now? Pure."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from app.audit.public_keys import from_base64
from app.clock import parse_instant
from app.intake.description_types import Encoding, Scheme, Signature
from app.intake.hr import BadSignature
from app.intake.public_keys import public_key_of, signed_by, verify_jwt

MOST_SIGNATURES: Final = 20
NAME: Final = "doorlist"
_BEGINS = re.compile(r"[A-Za-z0-9_./-]{1,20}[=, ]", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,19}", re.ASCII)
MILLISECONDS_FROM: Final = 100_000_000_000
"""A number as large as this counts milliseconds: as seconds it would be the year 5138."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A call as it came. `headers` are by lower-case name; `url` is the address as the sender knows it, with its query."""

    method: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    def beside(self, place: str) -> str | None:
        """What a header or a part of the query says, for `header:NAME` and `query:NAME`; None where it says nothing."""
        where, _, name = place.partition(":")
        return (self.query.get(name) if where == "query" else self.headers.get(name.lower())) or None


def verify(signature: Signature, request: Request, secrets: Sequence[str], *, event_id: str | None, at: datetime) -> None:
    """Check a call with any secret that is good now. Raises BadSignature.

    A scheme that proves nothing passes as far as it goes: see `Signature.proves`.
    """
    match signature.scheme:
        case Scheme.NONE:
            return
        case Scheme.BEARER | Scheme.TOKEN:
            _token(signature, request, secrets)
        case Scheme.BASIC:
            _basic(signature, request, secrets)
        case Scheme.STANDARD_WEBHOOKS:
            _standard_webhooks(signature, request, secrets, at=at)
        case Scheme.HMAC | Scheme.PUBLIC_KEY:
            _signed(signature, request, secrets, event_id=event_id, at=at)
        case Scheme.JWT:
            shown = request.body.decode("ascii", "replace") if signature.body_claim is None else _shown_token(signature, request)
            verify_jwt(signature, shown, request.body, secrets, at=at)


def check_secret(signature: Signature, secret: str | None) -> None:
    """Refuse a secret that no call could ever be checked with, when it is given. Raises ValueError with a sentence."""
    if secret is None:
        if signature.scheme is Scheme.PUBLIC_KEY or signature.key == "hex":
            raise ValueError("this vendor's calls are checked with what the vendor gives: --secret-file")
        return
    try:
        if signature.scheme is Scheme.PUBLIC_KEY:
            public_key_of(secret)
        elif signature.scheme is Scheme.STANDARD_WEBHOOKS:
            text = secret.removeprefix("whsec_")
            # The library passes over what is no base64, and pads by itself.
            Webhook(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
        elif signature.scheme is Scheme.HMAC:
            _key(signature, secret)
    except (ValueError, BadSignature, EmptyWebhookSecretError):
        wanted = {Scheme.PUBLIC_KEY: "a public key, as PEM", Scheme.STANDARD_WEBHOOKS: "whsec_ and base64"}.get(signature.scheme, signature.key)
        raise ValueError(f"the secret is not {wanted}") from None


def _same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _is_one_of(shown: str, secrets: Sequence[str]) -> bool:
    # Digests are compared, so that not even the length of the token is told.
    digest = hashlib.sha256(shown.encode()).digest()
    return any([_same(digest, hashlib.sha256(secret.encode()).digest()) for secret in secrets if secret])


def _shown_token(signature: Signature, request: Request) -> str:
    said = _shown(request, signature.header)
    word, _, token = said.partition(" ")
    return token.strip() if word.lower() == "bearer" else said


def _token(signature: Signature, request: Request, secrets: Sequence[str]) -> None:
    if not _is_one_of(_shown_token(signature, request), secrets):
        raise BadSignature("the token is not ours")


def _basic(signature: Signature, request: Request, secrets: Sequence[str]) -> None:
    word, _, shown = _shown(request, signature.header).partition(" ")
    try:
        pair = from_base64(shown.strip()).decode()
    except ValueError:
        pair = ""
    # Where we made the secret it is the password, and the name is ours.
    good = [secret if ":" in secret else f"{NAME}:{secret}" for secret in secrets if secret]
    if word.lower() != "basic" or not _is_one_of(pair, good):
        raise BadSignature("the name and the password are not ours")


def _standard_webhooks(signature: Signature, request: Request, secrets: Sequence[str], *, at: datetime) -> None:
    """The library's own `verify` asks the clock of the machine; here the instant is handed in."""
    named = signature.header[: -len("signature")]
    event_id, stamp = _shown(request, f"{named}id"), _shown(request, f"{named}timestamp")
    moment = _in_time(signature, stamp, at=at)
    if str(int(moment.timestamp())) != stamp:
        raise BadSignature("the timestamp is no whole number of seconds")
    said = _shown(request, signature.header).split(" ")
    try:
        text = request.body.decode()
    except ValueError:
        raise BadSignature("the body is no text") from None
    try:
        wanted = [Webhook(secret).sign(event_id, moment, text).partition(",")[2].encode() for secret in secrets]
    except (ValueError, EmptyWebhookSecretError):
        raise BadSignature("our secret is not base64") from None
    shown = [
        value.encode() for version, comma, value in (one.partition(",") for one in said[:MOST_SIGNATURES]) if comma and version == "v1"
    ]
    if not any([_same(one, other) for one in shown for other in wanted]):
        raise BadSignature("no signature fits")


def _signed(signature: Signature, request: Request, secrets: Sequence[str], *, event_id: str | None, at: datetime) -> None:
    said = _shown(request, signature.header)
    shown = _decoded(signature, said)
    fits = [
        _fits(signature, secret, b"".join(_part(part, request, stamp=stamp, event_id=event_id) for part in signature.over), shown)
        for stamp in _stamps(signature, request, said, at=at)
        for secret in secrets
        if secret
    ]
    if not any(fits):
        raise BadSignature("the signature does not fit")


def _fits(signature: Signature, secret: str, signed: bytes, shown: Sequence[bytes]) -> bool:
    if signature.scheme is Scheme.PUBLIC_KEY:
        return any(signed_by(public_key_of(secret), one, signed, algorithm=signature.algorithm) for one in shown)
    wanted = hmac.digest(_key(signature, secret), signed, signature.algorithm)
    return any([_same(one, wanted) for one in shown])


def _stamps(signature: Signature, request: Request, said: str, *, at: datetime) -> list[str]:
    """The times that may have been signed, all of them good now; an empty one where no time is. More than one while keys are changed over."""
    if signature.timestamp is None:
        return [""]
    if not signature.timestamp.endswith("="):
        stamp = _shown(request, signature.timestamp)
        _in_time(signature, stamp, at=at)
        return [stamp]
    found = list(_values(said, signature.timestamp))
    if not found:
        raise BadSignature(f"{signature.header} holds no time behind {signature.timestamp!r}")
    good = [stamp for stamp in found if _is_in_time(signature, stamp, at=at)]
    if not good:
        _in_time(signature, found[0], at=at)
    return good


def _part(part: str, request: Request, *, stamp: str, event_id: str | None) -> bytes:
    match part:
        case "body":
            return request.body
        case "timestamp":
            return stamp.encode()
        case "method":
            return request.method.encode()
        case "url":
            return request.url.encode()
        case "id":
            if not event_id:
                raise BadSignature("the id that is signed is missing")
            return event_id.encode()
    return _shown(request, part.removeprefix("header:")).encode() if part.startswith("header:") else part[1:-1].encode()


def _key(signature: Signature, secret: str) -> bytes:
    try:
        match signature.key:
            case "base64":
                return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
            case "hex":
                return bytes.fromhex(secret)
    except ValueError:
        raise BadSignature(f"our secret is not {signature.key}") from None
    return secret.encode()


def _values(header: str, prefix: str) -> Iterable[str]:
    """What stands in a header behind a prefix, which may itself hold a comma or a space; without one, every word of it."""
    found = re.finditer(rf"(?:^|(?<=[\s,;&])){re.escape(prefix)}([^\s,;&]+)", header)
    return [one[1].strip('"') for one, _ in zip(found, range(MOST_SIGNATURES), strict=False)]


def _decoded(signature: Signature, header: str) -> list[bytes]:
    """The signatures in a header; more than one stands there while a secret is changed over."""
    found = []
    for value in _values(header, signature.prefix):
        try:
            match signature.encoding:
                case Encoding.HEX:
                    # Written in one case throughout: of a signature with a letter changed to its capital nobody would say that it is the same.
                    if value in (value.lower(), value.upper()):
                        found.append(bytes.fromhex(value))
                # The last letter has bits that most decoders pass over: only the one spelling is the same signature.
                case Encoding.BASE64:
                    found.append(from_base64(value))
                case Encoding.BASE64URL:
                    found.append(from_base64(value.rstrip("=").translate(_FROM_URL) + "=" * (-len(value.rstrip("=")) % 4)))
        except ValueError:
            continue
    if not found:
        behind = f" behind {signature.prefix!r}" if signature.prefix else ""
        begins = None if signature.prefix else _BEGINS.match(header)
        hint = f"; it begins with {begins[0]!r}, which would be its 'prefix'" if begins is not None else ""
        raise BadSignature(f"{signature.header} holds no signature in {signature.encoding}{behind}{hint}")
    return found


_FROM_URL: Final = str.maketrans({"-": "+", "_": "/", "+": "?", "/": "?"})


def _is_in_time(signature: Signature, stamp: str, *, at: datetime) -> bool:
    try:
        _in_time(signature, stamp, at=at)
    except BadSignature:
        return False
    return True


def _in_time(signature: Signature, stamp: str, *, at: datetime) -> datetime:
    moment = _moment(stamp)
    if abs(at - moment) > signature.tolerance:
        raise BadSignature(f"the timestamp is more than {int(signature.tolerance.total_seconds())} seconds off")
    return moment


def _moment(stamp: str) -> datetime:
    """Seconds since 1970, or parts of them; an ISO 8601 instant; or the date of an HTTP header (RFC 9110 §5.6.7)."""
    try:
        if _SECONDS.fullmatch(stamp):
            number = float(stamp)
            while number >= MILLISECONDS_FROM:
                number /= 1000
            return datetime.fromtimestamp(number, UTC)
        if "," in stamp:
            moment = parsedate_to_datetime(stamp)
            return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return parse_instant(stamp)
    except (ValueError, OverflowError, TypeError):
        raise BadSignature("the timestamp is no number of seconds, and no instant with its zone") from None


def _shown(request: Request, name: str) -> str:
    """A header, or query:NAME. Raises BadSignature where it is missing."""
    value = request.beside(name if name.startswith("query:") else f"header:{name}") or ""
    if not value:
        raise BadSignature(f"{name} is missing" if name.startswith("query:") else f"the header {name} is missing")
    if not value.isascii():
        raise BadSignature(f"the header {name} cannot be read")
    return value
