"""The hot paths: requests of the usual shapes, answered before Flask begins, with the same answers and the same rows.

Only what goes well is answered here. Everything else, and whatever is wrong with a request, takes the ordinary way, which
then begins anew; so nothing here says no to anybody.
"""

import asyncio
import io
import logging
import re
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote_plus

import psycopg
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.access.tokens import digest_of
from app.bare.connection import Acting, Bare, Busy, waited
from app.bare.lent import acting_on_loop, bare_of, forget, lent_on_loop
from app.clock import now
from app.directory.filters import AttributePath
from app.directory.vocabulary import USER_URN
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.plain import join_plainly
from app.lifecycle.plain_brake import LayoffAnnounced
from app.lifecycle.plain_members import change_members_plainly
from app.lifecycle.plain_switch import switch_plainly
from app.scim import hot_reads
from app.scim.answers import MEDIA_TYPE, SCIMError
from app.scim.bodies import has_own_extension, read_object, tidied
from app.scim.door import ARRIVED, JSON_TYPES, MAYBE_MADE, limits_of
from app.scim.hot_cursors import page_by_cursor
from app.scim.hot_reads import Answered, Knock, user_text
from app.scim.members import split_members
from app.scim.operations import Operation, Verb, read_operations
from app.scim.resources import user_draft
from app.scim.schemas import USUAL_PAGE
from app.scim.seen import note_answered
from app.scim.vocabularies import hides_something
from app.settings import Settings

log = logging.getLogger(__name__)

_SCHEMAS: Final = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
_COLONS: Final = _SCHEMAS[0].count(":")
_ACTIVE: Final = AttributePath(names=("active",))
_LARGEST_BODY: Final = 65_536
_PLACE: Final = re.compile(r"/scim/v2/([0-9A-Za-z-]{1,64})/(Users|Groups)(?:/([0-9A-Za-z-]{1,64}))?")
_PAGE: Final = frozenset({"filter", "startIndex", "count", "cursor"})
# What asks for more than the usual answer.
_UNUSUAL: Final = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING")
_WORDS: Final = {200: "200 OK", 201: "201 CREATED", 204: "204 NO CONTENT"}
_DECLINED: Final = "doorlist.hot.declined"
"""Set in the environment of a request that no hot path takes, so that none is tried again."""
BELIEVED_FOR: Final = 1.0
"""Seconds for which a layoff that was announced is not looked for again: each try in vain would keep all others from writing."""
_announced: Final[dict[str, float]] = {}
_SHORT: Final = 8_192
"""Bytes of a body whose work on SQLite an event loop does itself; and it answers no lists there: others would wait for them."""
_ONE: Final = re.compile(r"filter=[A-Za-z]{1,20}(?:%20|\+)eq(?:%20|\+)[^&]*")
# The request is wrong, or a name or key is taken, perhaps by somebody who is off.
_WRONG: Final = (SCIMError, sqlite3.IntegrityError, psycopg.IntegrityError)
_FAILED: Final = (sqlite3.Error, psycopg.Error, SQLAlchemyError)
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]
Early = tuple[int, list[tuple[str, str]], Sequence[bytes]]
On = TypeVar("On", bound=Acting)


class Asked(NamedTuple, Generic[On]):
    """One request: on which connection or where it is written, by whom, of which resource, with which query and body.

    `made` is told the id of one that is made, before the database is asked.
    """

    on: On
    knock: Knock
    id: str
    query: dict[str, str]
    body: bytes
    settings: Settings
    made: list[str]

    def said_by(self, method: str) -> dict[str, Any]:
        knock = self.knock
        return {"digest": knock.digest, "source_id": knock.source, "now": knock.now, "because": f"SCIM {method}"}


class Planned(NamedTuple):
    """A request of a usual shape, before it is known on which connection: one that reads, or one that writes."""

    reads: "Reads | None"
    writes: "Writes | None"
    knock: Knock
    id: str
    query: dict[str, str]
    body: bytes
    settings: Settings
    made: list[str]

    async def soon(self, app: Flask) -> Answered | None:
        """The answer on the running event loop."""
        if self.writes is not None:
            return await self.writes(self._on(acting_on_loop(app)))
        async with lent_on_loop(app) as bare:
            return await self.on(bare)

    async def on(self, bare: Bare) -> Answered | None:
        if self.writes is not None:
            return await self.writes(self._on(bare))
        return None if self.reads is None else await self.reads(self._on(bare))

    def _on(self, on: On) -> Asked[On]:
        return Asked(on=on, knock=self.knock, id=self.id, query=self.query, body=self.body, settings=self.settings, made=self.made)


class HotDoor:
    """A WSGI application before the application's own; and, for a server with an event loop, one before that."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._ordinary: WSGI = app.wsgi_app
        self._settings: Settings = app.config["DOORLIST"]
        self._on_sqlite = self._settings.database_url.startswith("sqlite")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        began = time.perf_counter()
        environ.setdefault(ARRIVED, now())
        planned = None if _DECLINED in environ else self._plan(environ)
        answered = None if planned is None else self._now(environ, planned)
        if planned is None or answered is None:
            return self._ordinary(environ, start_response)
        status, headers, body = self._early(environ, planned, answered)
        self._note(environ, planned, answered, time.perf_counter() - began)
        start_response(_WORDS[status], headers)
        return body

    async def soon(self, environ: dict[str, Any]) -> Early | None:
        """The answer, on the running event loop; None where the request has to go to a thread.

        The body has to be there as a whole. What takes long is not done here: a group, which may have many members, and on
        SQLite lists and long bodies.
        """
        began = time.perf_counter()
        environ[ARRIVED] = now()
        if _is_of_group(environ) or (self._on_sqlite and _takes_long(environ)):
            return None
        planned = self._plan(environ)
        if planned is None:
            environ[_DECLINED] = True
            return None
        try:
            answered = await planned.soon(self._app)
        except Busy:
            return None
        except _WRONG:
            answered = None
        except _FAILED as error:
            _failed(environ, planned, error)
            answered = None
        if answered is None:
            environ[_DECLINED] = True
            return None
        # Once it has been sent.
        asyncio.get_running_loop().call_soon(self._note, environ, planned, answered, time.perf_counter() - began)
        return self._early(environ, planned, answered)

    def _plan(self, environ: dict[str, Any]) -> Planned | None:
        place = _PLACE.fullmatch(environ["PATH_INFO"])
        if place is None:
            return None
        source, kind, id = place.groups()
        method = "GET" if _reads(environ) else environ["REQUEST_METHOD"]
        reads, writes = _READS.get((method, kind, id is not None)), _WRITES.get((method, kind, id is not None))
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if (reads is None and writes is None) or scheme.lower() != "bearer" or any(name in environ for name in _UNUSUAL) or hides_something(self._app, source):
            return None
        digest, limits = digest_of(token.strip()), limits_of(self._app)
        # Who has not been good within the last minute is looked at by the ordinary way: it notes the use of tokens, and
        # waits for no body before it has judged the head.
        if not limits.uses.wait(digest) or limits.requests.wait(source) > 0:
            return None
        query = _query_of(environ.get("QUERY_STRING", ""))
        body = _body_of(environ, most=min(_LARGEST_BODY, self._app.config["MAX_CONTENT_LENGTH"]))
        if query is None or body is None:
            return None
        knock = Knock(digest=digest, source=source, base=f"{self._settings.public_url}/scim/v2/{source}", now=environ[ARRIVED])
        return Planned(reads=reads, writes=writes, knock=knock, id=id or "", query=query, body=body, settings=self._settings, made=[])

    def _now(self, environ: dict[str, Any], planned: Planned) -> Answered | None:
        try:
            return waited(planned.on(bare_of(self._app)))
        except _WRONG:
            return None
        except _FAILED as error:
            # Whatever it was, the ordinary way tries again and says it in words.
            _failed(environ, planned, error)
            forget(self._app)
            return None

    def _early(self, environ: dict[str, Any], planned: Planned, answered: Answered) -> Early:
        limits_of(self._app).requests.take(planned.knock.source)
        return answered.status, _headers(answered), answered.body if environ["REQUEST_METHOD"] != "HEAD" else ()

    def _note(self, environ: dict[str, Any], planned: Planned, answered: Answered, took: float) -> None:
        body = answered.body if environ["REQUEST_METHOD"] != "HEAD" else ()
        note_answered(self._app, environ, planned.body, answered.status, body, took)


def _failed(environ: dict[str, Any], planned: Planned, error: Exception) -> None:
    if planned.made:
        # It may have been committed before the connection broke.
        environ[MAYBE_MADE] = planned.made[-1]
    log.warning("a hot path failed: %s", error.__class__.__name__)


def _reads(environ: dict[str, Any]) -> bool:
    """HEAD says what GET would (RFC 9110 §9.3.2), to the length."""
    return environ["REQUEST_METHOD"] in ("GET", "HEAD")


def _is_of_group(environ: dict[str, Any]) -> bool:
    return _reads(environ) and "/Groups/" in environ["PATH_INFO"]


def _takes_long(environ: dict[str, Any]) -> bool:
    if _reads(environ):
        query = environ.get("QUERY_STRING", "")
        # One user by id, or the one of a name.
        return _ONE.fullmatch(query) is None if query else "/Users/" not in environ["PATH_INFO"]
    length = environ.get("CONTENT_LENGTH", "")
    return not length.isdigit() or int(length) > _SHORT


def _headers(answered: Answered) -> list[tuple[str, str]]:
    headers = [("Content-Type", f"{MEDIA_TYPE}; charset=utf-8")]
    if answered.status != 204:
        headers.append(("Content-Length", str(sum(map(len, answered.body)))))
    if answered.location is not None:
        headers += [("ETag", f'W/"{answered.version}"'), ("Location", answered.location)]
    return headers


def _query_of(text: str) -> dict[str, str] | None:
    """The parameters of a page, each once; None where there are others."""
    if not text:
        return {}
    name, _, value = text.partition("=")
    pairs = parse_qsl(text, keep_blank_values=True) if "&" in text else [(name, unquote_plus(value))]
    query = dict(pairs)
    # What is no UTF-8 is read otherwise by the ordinary way.
    usual = len(query) == len(pairs) and query.keys() <= _PAGE and not any("\ufffd" in one for one in query.values())
    return query if usual else None


def _body_of(environ: dict[str, Any], *, most: int) -> bytes | None:
    """The body, which the ordinary way can read once more; None where it is not one of the usual kind."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if _reads(environ):
        return b"" if length == "0" else None
    if not length.isdigit() or not 0 < int(length) <= most:
        return None
    kind, _, more = environ.get("CONTENT_TYPE", "").lower().partition(";")
    if kind.strip() not in JSON_TYPES or more.strip() not in ("", "charset=utf-8"):
        return None
    body: bytes = environ["wsgi.input"].read(int(length))
    environ["wsgi.input"] = io.BytesIO(body)
    return body if len(body) == int(length) else None


# The views


async def _get_user(asked: Asked[Bare]) -> Answered | None:
    return None if asked.query else await hot_reads.one_user(asked.on, asked.knock, asked.id)


async def _get_group(asked: Asked[Bare]) -> Answered | None:
    return None if asked.query else await hot_reads.one_group(asked.on, asked.knock, asked.id)


async def _list_users(asked: Asked[Bare]) -> Answered | None:
    if "cursor" in asked.query:
        if not asked.query.keys() <= {"cursor", "count"}:
            return None
        return await page_by_cursor(asked.on, asked.knock, asked.settings, cursor=asked.query["cursor"], count=asked.query.get("count"))
    start, count = _whole(asked.query.get("startIndex", "1")), _whole(asked.query.get("count", str(USUAL_PAGE)))
    if start is None or count is None:
        return None
    if "filter" in asked.query:
        return await hot_reads.found_users(asked.on, asked.knock, asked.query["filter"], start=start, count=count)
    return await hot_reads.page_of_users(asked.on, asked.knock, start=start, count=count)


def _whole(text: str) -> int | None:
    """A page's number of the usual kind: above zero and no larger than a page may be asked for."""
    # Python itself refuses to read thousands of digits.
    return int(text) if len(text) <= 10 and text.isascii() and text.isdigit() and 0 < int(text) < 2**31 else None


async def _post_user(asked: Asked[Acting]) -> Answered | None:
    if asked.query:
        return None
    body = read_object(asked.body)
    # What its organisation declared of it is known to the ordinary way.
    if has_own_extension(body):
        return None
    joined = await join_plainly(asked.on, user_draft(body), made=asked.made, **asked.said_by("POST"))
    if joined is None:
        return None
    row = (joined.record_id, joined.document, True, joined.at, joined.at, 1, None)
    base = asked.knock.base
    return Answered(status=201, body=[user_text(row, base).encode()], version=1, location=f"{base}/Users/{joined.record_id}")


async def _patch_user(asked: Asked[Acting]) -> Answered | None:
    body = {} if asked.query else read_object(asked.body)
    active = None if asked.query else _only_active(read_operations(body))
    if active is None or not _says_once(asked.body, body):
        return None
    return await _switched(asked, "PATCH", active, None)


async def _put_user(asked: Asked[Acting]) -> Answered | None:
    if asked.query:
        return None
    body = read_object(asked.body)
    if has_own_extension(body):
        return None
    draft = user_draft(body)
    return await _switched(asked, "PUT", draft.active, draft)


async def _switched(asked: Asked[Acting], method: str, active: bool | None, draft: RecordDraft | None) -> Answered | None:
    source, at = asked.knock.source, time.monotonic()
    if active is False and _announced.get(source, 0.0) > at:
        return None
    beside = hot_reads.groups_beside(asked.on.dialect, asked.knock)
    try:
        switched = await switch_plainly(asked.on, asked.id, active, draft=draft, **asked.said_by(method), beside=beside)
    except LayoffAnnounced:
        _announced[source] = at + BELIEVED_FOR
        return None
    if switched is None:
        return None
    row = (asked.id, switched.document, switched.active, switched.created_at, switched.modified_at, switched.version, switched.beside)
    base = asked.knock.base
    return Answered(body=[user_text(row, base).encode()], version=switched.version, location=f"{base}/Users/{asked.id}")


def _says_once(raw: bytes, body: dict[str, Any]) -> bool:
    """Whether a PATCH names no member twice, of which only the last was read: each leaves a colon. Unusual ones may be taken for such."""
    colons = len(body) + (_COLONS if body.get("schemas") == _SCHEMAS else 0)
    for one in body.get("Operations", ()):
        value = one.get("value")
        if isinstance(value, list):
            colons += sum([len(element) for element in value if isinstance(element, dict)])
        colons += len(one) + (len(value) if isinstance(value, dict) else 0)
    return raw.count(b":") == colons and b"\\u" not in raw


def _only_active(operations: list[Operation]) -> bool | None:
    """What `active` becomes, where nothing else is said."""
    said = [one.value for one in operations if one.verb is not Verb.REMOVE and one.path == _ACTIVE]
    value = said[0] if len(said) == len(operations) == 1 else None
    # Entra's "False" is told from true by the ordinary way's own reading.
    fitted = tidied({"active": value}, USER_URN).get("active")
    return fitted if isinstance(fitted, bool) else None


async def _patch_group(asked: Asked[Acting]) -> Answered | None:
    if asked.query:
        return None
    body = read_object(asked.body)
    members, others = split_members(read_operations(body))
    if others or members.whole is not None or bool(members.add) == bool(members.remove) or not _says_once(asked.body, body):
        return None
    ids, add = members.add or members.remove, bool(members.add)
    done = await change_members_plainly(asked.on, asked.id, sorted(ids), add=add, **asked.said_by("PATCH"))
    return Answered(status=204, body=()) if done else None


Reads = Callable[[Asked[Bare]], Coroutine[Any, Any, Answered | None]]
Writes = Callable[[Asked[Acting]], Coroutine[Any, Any, Answered | None]]
_READS: Final[dict[tuple[str, str, bool], Reads]] = {
    ("GET", "Users", True): _get_user,
    ("GET", "Users", False): _list_users,
    ("GET", "Groups", True): _get_group,
}
_WRITES: Final[dict[tuple[str, str, bool], Writes]] = {
    ("POST", "Users", False): _post_user,
    ("PATCH", "Users", True): _patch_user,
    ("PUT", "Users", True): _put_user,
    ("PATCH", "Groups", True): _patch_group,
}
