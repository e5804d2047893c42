"""Who knocks at the SCIM door and what the request says besides its body: directory, address, selection, version."""

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from flask import Flask, Response, after_this_request, current_app, g, request
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from werkzeug.exceptions import RequestEntityTooLarge

from app.access.callers import address_of_caller
from app.access.rates import Buckets
from app.access.tokens import USE_NOTED_EVERY, SourceClient, digest_of, find_source, note_use, was_let_out
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Group, Record
from app.directory.vocabulary import Vocabulary
from app.scim.answers import Problem, SCIMError, error_answer
from app.scim.bodies import read_object
from app.scim.selection import Selection
from app.scim.versions import version_of, versions_in
from app.scim.vocabularies import vocabulary_for

_log = logging.getLogger(__name__)
JSON_TYPES = ("application/scim+json", "application/json")
_CHARSETS = ("utf-8", "utf8", "us-ascii")
ARRIVED: Final = "doorlist.arrived"
"""Where the environment of a request keeps the instant at which all of it was there; it may have waited since."""
MAYBE_MADE: Final = "doorlist.maybe_made"
"""Where it keeps the id of a user whom this request may have made already: the database went before it said so."""
_WRONG: Final = "this token is not valid here: it is wrong, expired, revoked or another directory's"
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A directory's client: whose records it may see, at which base URL, by which schemas, and how its acts are journaled.

    `arrived` is when the request came: of two that were under way at once, that tells which was said last.
    """

    client: SourceClient
    base: str
    because: str
    vocabulary: Vocabulary
    arrived: datetime

    @property
    def key(self) -> tuple[str, str]:
        """(organization_id, source_id)."""
        return self.client.organization_id, self.client.source_id

    def saying(self) -> dict[str, Any]:
        """`actor`, `at` and `because` of one act, for the verbs of lifecycle."""
        return {"actor": Actor(kind=ActorKind.SOURCE, name=self.client.source_name), "at": now(), "because": self.because}


def authenticate() -> Response | None:
    """Let in who shows this directory's token; whom it keeps out, or asks to come later, has the answer here. Raises SCIMError."""
    token = _token_in(request.headers.get("Authorization", ""))
    client = None if token is None else _client_of(token, g.scim_source_id)
    if token is None or client is None:
        return _kept_out(token)
    g.scim_client, g.scim_digest, g.scim_vocabulary = client, digest_of(token), vocabulary_for(client)
    # Whoever must be out is never kept waiting for all the others.
    if (wait := let_in(g.scim_digest)) and not _takes_access():
        return _come_later(f"this directory sends more than {limits().requests.rate:g} requests a second (DOORLIST_SCIM_RATE)", wait)
    # PostgreSQL cannot even be asked for an id with a NUL in it.
    if "\0" in request.path:
        raise SCIMError(404, f"nothing is at {request.path[:200]!r}")
    return None


def _token_in(header: str) -> str | None:
    scheme, _, token = header.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _client_of(token: str, source_id: str) -> SourceClient | None:
    with reading() as session:
        client = find_source(session, token)
    # Another directory's token is answered as a wrong one: neither learns that the other exists.
    return client if client is not None and client.source_id == source_id else None


def _kept_out(token: str | None) -> Response:
    """RFC 6750 §3: what is wrong is said only to those who showed something."""
    if token is None:
        return _challenged(error_answer(401, "send this directory's token as Authorization: Bearer TOKEN"), "")
    failures = limits().failures
    # A good token was let in before we came here, so whoever guesses slows down nobody but themselves.
    if wait := max(failures.take(f"source {g.scim_source_id}"), failures.take(f"address {address_of_caller()}")):
        return _come_later(f"{_WRONG}; and such requests come too often", wait)
    return _challenged(error_answer(401, _WRONG), f', error="invalid_token", error_description="{_WRONG}"')


def _challenged(response: Response, more: str) -> Response:
    response.headers["WWW-Authenticate"] = f'Bearer realm="doorlist"{more}'
    return response


def _come_later(why: str, wait: float) -> Response:
    seconds = seconds_of(wait)
    response = error_answer(429, f"{why}; wait {seconds} s and send it again")
    response.headers["Retry-After"] = seconds
    return response


def seconds_of(wait: float) -> str:
    """A wait as Retry-After has it: whole seconds, and never none."""
    return str(max(1, math.ceil(wait)))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How often who may knock; each process counts for itself."""

    requests: Buckets
    failures: Buckets
    grants: Buckets
    uses: Buckets


def limits() -> Limits:
    """What this application counts with."""
    return limits_of(current_app._get_current_object())  # type: ignore[attr-defined]  # a proxy


def limits_of(app: Flask) -> Limits:
    """What an application counts with."""
    kept: Limits | None = app.extensions.get("doorlist_limits")
    if kept is None:
        rate = app.config["DOORLIST"].scim_rate
        made = Limits(
            requests=Buckets(rate=rate, burst=max(1, 2 * rate)), failures=Buckets(rate=1, burst=20), grants=Buckets(rate=1, burst=60),
            uses=Buckets(rate=1 / USE_NOTED_EVERY.total_seconds(), burst=1),
        )  # fmt: skip
        kept = app.extensions.setdefault("doorlist_limits", made)
    return kept


def let_in(digest: str) -> float:
    """Count a request whose token is good, and have its use written down. Gives the seconds by which it came too early."""
    if not limits().uses.take(digest):
        _note_use_later(digest)
    return limits().requests.take(g.scim_source_id)


def _note_use_later(digest: str) -> None:
    """Write down the token's use once the answer has been sent: nobody waits for it, and it may fail."""
    app, at = current_app._get_current_object(), now()  # type: ignore[attr-defined]  # a proxy

    def note() -> None:
        with app.app_context():
            try:
                in_transaction(lambda session: note_use(session, digest, at=at), attempts=1)
            except SQLAlchemyError as error:
                _log.warning("the use of a token could not be written down: %s", error.__class__.__name__)

    @after_this_request
    def when_sent(response: Response) -> Response:
        response.call_on_close(note)
        return response


# A cheap look, and so a generous one: it may take for a deactivation what is none. The quantifiers give nothing back, so that
# no body makes it slow.
_ACTIVE_NOT_TRUE: Final = re.compile(rb'"(?:[^"\\]*:)?\s*+active\s*+"\s*+:(?!\s*+"?+\s*+true)', re.IGNORECASE)
_ACTIVE_AS_PATH: Final = re.compile(rb'"path"\s*+:\s*+"\s*+(?:[^"\\]*:)?active\s*+"', re.IGNORECASE)
_NOT_TRUE: Final = re.compile(rb'"value"\s*+:[\s\[{]*+(?:"value"\s*+:)?+\s*+(?:"?+\s*+false|null|"")|"op"\s*+:\s*+"remove"', re.IGNORECASE)
# What is percent-encoded may be anybody's.
_OF_USER: Final = re.compile(rb'"path"\s*+:\s*+"(?:/*+Users/|[^"%]*+%)', re.IGNORECASE)
_DELETE: Final = re.compile(rb'"method"\s*+:\s*+"delete"', re.IGNORECASE)
# What may be written in two ways. An escaped quote or backslash stays one, or it would end its text here.
_ESCAPED: Final = re.compile(rb"\\(?:[\\/tnrf]|u00[0-7][0-9a-fA-F])")
_IN_A_TEXT: Final = re.compile(rb'\\(["\\])')
_PLAIN: Final = {
    b"\\\\": b"\\\\", b"\\/": b"/", **dict.fromkeys((b"\\t", b"\\n", b"\\r", b"\\f"), b" "),
    **{
        escape: escape if chr(sign) in '"\\' else bytes([max(sign, ord(" "))])
        for sign in range(128)
        for escape in (b"\\u%04x" % sign, b"\\u%04X" % sign)
    },
}  # fmt: skip


def _takes_access() -> bool:
    """Whether the request switches somebody off or deletes them, or is a Bulk in which something does."""
    kind = "".join(request.path.split("/", 5)[4:5])
    if kind == "Users":
        return request.method == "DELETE" or (request.method in ("PATCH", "PUT") and says_off(request.get_data()))
    return kind == "Bulk" and ends_users(request.get_data())


def says_off(raw: bytes) -> bool:
    """Whether a body sets `active` to anything but true, or removes it."""
    return _says_off(_unescaped(raw))


def ends_users(raw: bytes) -> bool:
    """Whether a Bulk has a body in it that does so, or deletes a user."""
    said = _unescaped(raw)
    return _says_off(said) or (_DELETE.search(said) is not None and _OF_USER.search(said) is not None)


def _says_off(said: bytes) -> bool:
    # A text may be the JSON of a resource, in which what is escaped here says something.
    return _ends_access(said) or (b'\\"' in said and _ends_access(_unescaped(_IN_A_TEXT.sub(rb"\1", said))))


def _ends_access(said: bytes) -> bool:
    return _ACTIVE_NOT_TRUE.search(said) is not None or (_ACTIVE_AS_PATH.search(said) is not None and _NOT_TRUE.search(said) is not None)


def _unescaped(raw: bytes) -> bytes:
    """JSON with plain letters where escapes stand for them (RFC 8259 §7): PHP writes every slash as one."""
    return _ESCAPED.sub(lambda found: _PLAIN[found[0]], raw) if b"\\" in raw else raw


def caller() -> Caller:
    """Whose request this is; `authenticate` came first."""
    client: SourceClient = g.scim_client
    base = f"{current_app.config['DOORLIST'].public_url}/scim/v2/{client.source_id}"
    arrived = request.environ.get(ARRIVED) or now()
    return Caller(client=client, base=base, because=f"SCIM {request.method}", vocabulary=g.scim_vocabulary, arrived=arrived)


def body(read: Callable[[bytes], dict[str, Any]] = read_object) -> dict[str, Any]:
    """The body as one JSON object, as `read` reads it. Raises SCIMError."""
    if request.mimetype and request.mimetype not in JSON_TYPES:
        raise SCIMError(415, f"send the body as {JSON_TYPES[0]} or {JSON_TYPES[1]}, not {request.mimetype}")
    if (charset := request.mimetype_params.get("charset", "utf-8").lower()) not in _CHARSETS:
        raise SCIMError(415, f"send the body in UTF-8 (RFC 8259 §8.1), not in {charset[:40]!r}")
    if (coding := request.headers.get("Content-Encoding", "identity").lower()) != "identity":
        # What is packed says nothing of how large it becomes.
        raise SCIMError(415, f"send the body as it is: Content-Encoding {coding[:40]!r} is not taken")
    raw = request.get_data()
    if request.content_length is None and len(raw) >= current_app.config["MAX_CONTENT_LENGTH"]:
        # A body that does not say how long it is was read up to the limit; what comes behind is not looked at.
        raise RequestEntityTooLarge
    return read(raw)


def selection() -> Selection:
    """What of a resource the query string asks for."""
    attributes, excluded = (",".join(_asked(name)) for name in ("attributes", "excludedAttributes"))
    return Selection(attributes, excluded, g.scim_vocabulary)


def selects() -> bool:
    """Whether the query string says anything of what is to be shown."""
    return bool(_asked("attributes") or _asked("excludedAttributes"))


def _asked(name: str) -> list[str]:
    return [value for key, value in request.args.items(multi=True) if key.lower() == name.lower()]


def expected_version() -> int | None:
    """The version that If-Match asks for (RFC 7644 §3.14); else as `version_in`. Raises SCIMError, also for If-None-Match."""
    arguments: dict[str, str] = request.view_args or {}
    ((name, resource_id),) = arguments.items()
    kind = "Users" if name == "record_id" else "Groups"
    if unwanted := request.headers.get("If-None-Match", "").strip():
        standing, named = _standing_version(kind, resource_id), versions_in(unwanted)
        if standing is not None and (named is None or standing in named):
            raise SCIMError(412, f"If-None-Match: {unwanted[:40]} names the version that stands")
    text = request.headers.get("If-Match", "")
    named = versions_in(text)
    if named is None:
        return None
    if len(named) > 1:
        # The verb checks one version under its lock; of several it is told the one that stands now.
        standing = _standing_version(kind, resource_id)
        return standing if standing in named else min(named)
    return next(iter(named)) if named else version_in(text, kind, resource_id)


def version_in(text: str, kind: str, resource_id: str, *, said_as: str = "If-Match") -> int | None:
    """The number in an ETag of ours; None for any. Raises SCIMError for one that never was ours, naming where it was said.

    Where nothing stands under this id it is None as well: whoever looks for the resource says that it is not there.
    """
    text = text.strip()
    if text in ("", "*"):
        return None
    number = version_of(text)
    if number is None and _standing_version(kind, resource_id) is not None:
        raise SCIMError(412, f"{said_as}: {text[:40]} is no version of this resource")
    return number


def _standing_version(kind: str, resource_id: str) -> int | None:
    client: SourceClient = g.scim_client
    table: type[Record] | type[Group] = Record if kind == "Users" else Group
    own = (table.organization_id == client.organization_id, table.source_id == client.source_id, table.id == resource_id)
    with reading() as session:
        return session.scalar(select(table.version).where(*own, table.ended_at.is_(None)))


def written(act: Callable[[Session], Result]) -> Result:
    """One transaction, for whoever still may. Where another one took the same name meanwhile, the second try says so in words."""

    def act_if_let_in(session: Session) -> Result:
        # A Bulk takes its time, and a source that is given up has to have said its last word by then.
        if was_let_out(session, g.scim_client, g.scim_digest):
            raise SCIMError(401, _WRONG)
        return act(session)

    try:
        return in_transaction(act_if_let_in)
    except IntegrityError:
        raise SCIMError(409, "another request just took this name or id", problem=Problem.UNIQUENESS) from None
