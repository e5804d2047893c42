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
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote_plus

import psycopg
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.access.tokens import digest_of
from app.bare.connection import Bare, Busy, waited
from app.bare.lent import acting_on_loop, bare_of, forget, lent_on_loop
from app.clock import now
from app.scim import hot_reads
from app.scim.answers import MEDIA_TYPE, SCIMError
from app.scim.door import ARRIVED, JSON_TYPES, MAYBE_MADE, limits_of
from app.scim.hot_cursors import page_by_cursor
from app.scim.hot_reads import Answered, Knock
from app.scim.hot_writes import WRITES, Asked, Writes
from app.scim.schemas import USUAL_PAGE
from app.scim.seen import note_answered
from app.scim.vocabularies import last_vocabulary
from app.settings import Settings

log = logging.getLogger(__name__)

_LARGEST_BODY: Final = 65_536
_PLACE: Final = re.compile(r"/scim/v2/([0-9A-Za-z-]{1,64})/(Users|Groups)(?:/([0-9A-Za-z-]{1,64}))?")
_PAGE: Final = frozenset({"filter", "startIndex", "count", "cursor"})
# What asks for more than the usual answer.
_UNUSUAL: Final = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING")
_WORDS: Final = {200: "200 OK", 201: "201 CREATED", 204: "204 NO CONTENT"}
_DECLINED: Final = "doorlist.hot.declined"
"""Set in the environment of a request that no hot path takes, so that none is tried again."""
_SHORT: Final = 8_192
"""Bytes of a body whose work on SQLite an event loop does itself; and it answers no lists there: others would wait for them."""
_ONE: Final = re.compile(r"filter=[A-Za-z]{1,20}(?:%20|\+)eq(?:%20|\+)[^&]*")
# The request is wrong, or a name or key is taken, perhaps by somebody who is off.
_WRONG: Final = (SCIMError, sqlite3.IntegrityError, psycopg.IntegrityError)
_FAILED: Final = (sqlite3.Error, psycopg.Error, SQLAlchemyError)
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]
Early = tuple[int, list[tuple[str, str]], Sequence[bytes]]


class Planned(NamedTuple):
    """A request of a usual shape, and the view of it: one that reads, or one that writes."""

    reads: "Reads | None"
    writes: Writes | None
    asked: Asked

    async def soon(self, app: Flask) -> Answered | None:
        """The answer on the running event loop."""
        if self.writes is not None:
            return await self.writes(acting_on_loop(app), self.asked)
        async with lent_on_loop(app) as bare:
            return await self.on(bare)

    async def on(self, bare: Bare) -> Answered | None:
        if self.writes is not None:
            return await self.writes(bare, self.asked)
        return None if self.reads is None else await self.reads(bare, self.asked)


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
        if (reads is None and writes is None) or scheme.lower() != "bearer" or any(name in environ for name in _UNUSUAL):
            return None
        vocabulary = last_vocabulary(self._app, source)
        # Where attributes are left out of answers, only the ordinary way knows of which.
        if vocabulary is None or vocabulary.hides:
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
        asked = Asked(knock=knock, id=id or "", query=query, body=body, settings=self._settings, vocabulary=vocabulary, made=[])
        return Planned(reads=reads, writes=writes, asked=asked)

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
        limits_of(self._app).requests.take(planned.asked.knock.source)
        return answered.status, _headers(answered), answered.body if environ["REQUEST_METHOD"] != "HEAD" else ()

    def _note(self, environ: dict[str, Any], planned: Planned, answered: Answered, took: float) -> None:
        body = answered.body if environ["REQUEST_METHOD"] != "HEAD" else ()
        note_answered(self._app, environ, planned.asked.body, answered.status, body, took)


def _failed(environ: dict[str, Any], planned: Planned, error: Exception) -> None:
    if planned.asked.made:
        # It may have been committed before the connection broke.
        environ[MAYBE_MADE] = planned.asked.made[-1]
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


async def _get_user(bare: Bare, asked: Asked) -> Answered | None:
    return None if asked.query else await hot_reads.one_user(bare, asked.knock, asked.id)


async def _get_group(bare: Bare, asked: Asked) -> Answered | None:
    return None if asked.query else await hot_reads.one_group(bare, asked.knock, asked.id)


async def _list_users(bare: Bare, asked: Asked) -> Answered | None:
    if "cursor" in asked.query:
        if not asked.query.keys() <= {"cursor", "count"}:
            return None
        return await page_by_cursor(bare, asked.knock, asked.settings, cursor=asked.query["cursor"], count=asked.query.get("count"))
    start, count = _whole(asked.query.get("startIndex", "1")), _whole(asked.query.get("count", str(USUAL_PAGE)))
    if start is None or count is None:
        return None
    if "filter" in asked.query:
        return await hot_reads.found_users(bare, asked.knock, asked.query["filter"], start=start, count=count)
    return await hot_reads.page_of_users(bare, asked.knock, start=start, count=count)


def _whole(text: str) -> int | None:
    """A page's number of the usual kind: above zero and no larger than a page may be asked for."""
    # Python itself refuses to read thousands of digits.
    return int(text) if len(text) <= 10 and text.isascii() and text.isdigit() and 0 < int(text) < 2**31 else None


Reads = Callable[[Bare, Asked], Coroutine[Any, Any, Answered | None]]
_READS: Final[dict[tuple[str, str, bool], Reads]] = {
    ("GET", "Users", True): _get_user,
    ("GET", "Users", False): _list_users,
    ("GET", "Groups", True): _get_group,
}
_WRITES: Final = dict(WRITES)
