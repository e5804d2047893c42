"""What a description of an HR system says, once it is read: how its calls are checked, what they mean, and how its API is asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from app.intake.yaml_nodes import is_beside

SHIPPED: Final = Path(__file__).parent / "vendors"


class Scheme(StrEnum):
    """How a call proves where it comes from. A token, or a name with a password, goes with any text and proves no text."""

    STANDARD_WEBHOOKS = "standard webhooks"
    HMAC = "hmac"
    PUBLIC_KEY = "public key"
    JWT = "jwt"
    TOKEN = "token"
    BEARER = "bearer"
    BASIC = "basic"
    NONE = "none"


class Encoding(StrEnum):
    HEX = "hex"
    BASE64 = "base64"
    BASE64URL = "base64url"


class Event(StrEnum):
    """What an event, or a record that was asked for, means for a person."""

    CREATED = "created"
    CHANGED = "changed"
    LEAVES_AT = "leaves at"
    REVOKE_NOW = "revoke now"
    CANCELLED = "cancelled"
    REHIRED = "rehired"
    ON_LEAVE = "on leave"
    HERE = "here"
    NOTHING = "nothing"


class Rule(StrEnum):
    """How a date becomes an instant: where the day ends or begins, a local time there, an instant with its zone, or when the call came."""

    END_OF_DAY = "end_of_day"
    START_OF_DAY = "start_of_day"
    LOCAL_TIME = "local_time"
    INSTANT = "instant"
    NOW = "now"


class BodyForm(StrEnum):
    JSON = "json"
    FORM = "form"
    JWT = "jwt"


class Credential(StrEnum):
    """How our credential is shown to the vendor's API.

    A token; `user:password`; a key in the place of the user; a key in a header of its own; or `id:secret` of an OAuth client,
    for which a token is fetched.
    """

    BEARER = "bearer"
    BASIC = "basic"
    BASIC_KEY = "basic key"
    HEADER = "header"
    OAUTH = "oauth"


Place = str | tuple[str, ...] | None
"""Where something stands: at one place, or at the first of several that is not empty."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """How a call is signed. `header` may be `query:NAME`; `timestamp` that ends with `=` stands in the signature's own header."""

    scheme: Scheme
    header: str = "Authorization"
    algorithm: str = "sha256"
    over: tuple[str, ...] = ("body",)
    encoding: Encoding = Encoding.HEX
    prefix: str = ""
    key: str = "text"
    timestamp: str | None = None
    tolerance: timedelta = timedelta(minutes=5)
    body_claim: str | None = None

    @property
    def proves(self) -> bool:
        """Whether a good signature means that the vendor said exactly this. A token goes with any text."""
        return self.scheme in (Scheme.STANDARD_WEBHOOKS, Scheme.HMAC, Scheme.PUBLIC_KEY, Scheme.JWT)

    def covers(self, place: str) -> bool:
        """Whether a header or a part of the query is signed as well."""
        return place in self.over or (place.startswith("query:") and "url" in self.over)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One place where a date may stand, and how it becomes an instant; passed over where it is empty or one of `unless`."""

    rule: Rule
    place: str
    format: str | None = None
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What is meant where all of `when` fit. With `fetch` the vendor's API is asked, and its record decides.

    With `ahead` it is meant only while its date is still to come: a date that has passed may be left over from before.
    In `when` an empty text stands for *nothing is said there*.
    """

    event: Event
    when: Mapping[str, tuple[str, ...]]
    at: tuple[Moment, ...] = ()
    fetch: bool = False
    ahead: bool = False


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Where things stand in an event, or in a record. `number` is the employee number as directories know it; an address only confirms.

    `each` is where a call has a list of events, in each of which the other places are; `call:` before one leads to the whole body.
    """

    key: Place
    number: Place
    email: Place
    engagement: Place
    zone: Place
    means: tuple[Meaning, ...]
    each: str | None = None

    @property
    def beside(self) -> frozenset[str]:
        """The headers and parts of the query that a meaning depends on."""
        return frozenset(place for meaning in self.means for place in meaning.when if is_beside(place))


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question to the vendor's API: a path with `{key}` or a variable in it, and where the record or the list stands in the answer."""

    path: str
    place: str = ""
    send: Mapping[str, object] | None = None
    page: str | None = None
    first: int = 1
    offset: str | None = None
    next: str | None = None
    cursor: str | None = None
    every: timedelta = timedelta(minutes=15)
    missing_is_gone: bool = False


@dataclass(frozen=True, kw_only=True)
class TokenAddress:
    """Where an OAuth client gets its token (RFC 6749 §4.4), and whether it names itself in the body or in the header."""

    url: str
    scope: str | None = None
    in_body: bool = False


@dataclass(frozen=True, kw_only=True)
class API:
    url: str
    credential: Credential
    headers: Mapping[str, str]
    header: str | None = None
    token: TokenAddress | None = None


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """A first call that brings the secret. It is taken once the vendor's API has accepted it back."""

    token: str
    put: str
    send: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A text by which the vendor tries whether the address is ours: what stands at `place` is answered, as JSON or as it is."""

    place: str
    as_json: bool = False


@dataclass(frozen=True, kw_only=True)
class Description:
    """One HR system. `event` reads its calls, `record` what its API answers; one of the two there is."""

    vendor: str
    body: BodyForm = BodyForm.JSON
    signature: Signature | None = None
    event_id: str | None = None
    pings: tuple[str, ...] = ()
    ignore: Mapping[str, tuple[str, ...]]
    time_zone: str | None = None
    event: Reading | None = None
    record: Reading | None = None
    api: API | None = None
    details: Question | None = None
    poll: Question | None = None
    handshake: Handshake | None = None
    challenge: Challenge | None = None
    answer: int | None = None
    silent_after: timedelta | None = None
    schema: str | None = None

    @property
    def confirms(self) -> bool:
        """Whether a call is only a reason to ask the vendor's API."""
        return self.signature is not None and not self.signature.proves
