"""Requests that were seen: what is taken of each when it has been answered, and what is worked out of that later.

The first half runs on the request's way and only takes references. The second (`Teller`) runs in the writer's thread.
"""

import io
import json
import logging
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, Flask, Response, current_app, g, request
from flask.blueprints import BlueprintSetupState
from sqlalchemy import Connection, Select, select

from app.audit.masking import MASK, Masking, touched
from app.audit.request_tables import BodyState
from app.audit.requests import Captured, RequestLog, Told
from app.database import new_id
from app.directory.names import name_key
from app.directory.tables import Record, Source

log = logging.getLogger(__name__)

REHEARSED: Final = "doorlist.rehearsed"
"""Set in the environment of a request that is only tried out: it was seen once already."""
LARGEST_BODY: Final = 64 * 1024
_KEPT: Final = "doorlist_requests"
_PREFIX: Final = "/scim/v2/"
_KINDS: Final = {"users": "User", "groups": "Group"}
_PARAMETERS: Final = frozenset({"attributes", "excludedattributes", "sortby", "sortorder", "startindex", "count"})
_TOTAL: Final = re.compile(rb'"totalResults":\s*(\d{1,9})')
_ASKED_NAME: Final = re.compile(r'\s*(userName|displayName)\s+eq\s+("(?:[^"\\]|\\.)+")\s*', re.IGNORECASE)
_BEGINNING: Final = 300
_UNREADABLE: Final = object()


def see_requests(routes: Blueprint) -> None:
    """Have every request to the door noted, refused ones and wrong addresses too."""
    routes.record_once(_open)
    routes.before_app_request(_begin)
    routes.after_app_request(_note)


def request_log(app: Flask) -> RequestLog | None:
    """The log of an application; None where requests are not kept."""
    kept: RequestLog | None = app.extensions.get(_KEPT)
    return kept


def flush_requests(app: Flask) -> None:
    """Write what waits, before a process ends in order."""
    kept = request_log(app)
    if kept is not None and not kept.flush():
        log.warning("some requests seen could not be written down before the end")


def _open(state: BlueprintSetupState) -> None:
    settings = state.app.config["DOORLIST"]
    if settings.requests_kept_days > 0:
        teller = Teller(keeps_bodies=settings.bodies_kept_days > 0, shown=settings.bodies_show)
        state.app.extensions[_KEPT] = RequestLog(settings.database_url, teller)


def _begin() -> None:
    g.scim_began = time.perf_counter()


def _note(response: Response) -> Response:
    if request.path.startswith(_PREFIX):
        try:
            _capture(response)
        except Exception:
            # Whatever is wrong with noting a request, its answer stands.
            log.exception("a request could not be noted")
    return response


def _capture(response: Response) -> None:
    kept = request_log(current_app)
    if kept is None or REHEARSED in request.environ:
        return
    source_id, _, rest = request.path[len(_PREFIX) :].partition("/")
    status, method = response.status_code, request.method
    alike = status in (401, 429) or request.routing_exception is not None
    took = time.perf_counter() - g.get("scim_began", time.perf_counter())
    kept.put(
        Captured(
            id=new_id(), at=time.time() - took, took=took, source_id=source_id, known=not alike or "scim_client" in g, alike=alike,
            method=method, path=f"/{rest}", query=request.environ.get("QUERY_STRING", ""), status=status,
            # Only what was read is looked at: whoever showed no good token could send anything.
            body=None if alike else getattr(request, "_cached_data", None), answer=_answer(response, method, rest),
        )
    )  # fmt: skip


def note_answered(app: Flask, environ: Mapping[str, Any], status: int, answer: bytes, began: float) -> None:
    """Note a request that went well without Flask."""
    kept = request_log(app)
    if kept is None or REHEARSED in environ:
        return
    try:
        source_id, _, rest = environ["PATH_INFO"][len(_PREFIX) :].partition("/")
        took, body, looks_up = time.perf_counter() - began, environ["wsgi.input"], status == 200 and "/" not in rest
        kept.put(
            Captured(
                id=new_id(), at=time.time() - took, took=took, source_id=source_id, known=True, alike=False, method=environ["REQUEST_METHOD"],
                path=f"/{rest}", query=environ.get("QUERY_STRING", ""), status=status,
                body=body.getvalue() if isinstance(body, io.BytesIO) else None,
                answer=answer if status == 201 else answer[:_BEGINNING] if looks_up else None,
            )
        )  # fmt: skip
    except Exception:
        log.exception("a request could not be noted")


def _answer(response: Response, method: str, rest: str) -> bytes | None:
    """As much of the answer as says something: errors and new ids whole, of a list the beginning."""
    if response.status_code == 204 or not response.is_sequence:
        return None
    if response.status_code >= 400 or response.status_code == 201 or rest == "Bulk":
        return response.get_data()
    # A look-up's totalResults says whether the directory found somebody.
    looks_up = (method == "GET" and "/" not in rest.strip("/")) or rest.endswith(".search")
    return response.get_data()[:_BEGINNING] if looks_up else None


class Teller:
    """Works out what requests meant: whose they were, whom they were about, what may be kept of their bodies."""

    def __init__(self, *, keeps_bodies: bool, shown: Collection[str]) -> None:
        self._keeps_bodies, self._shown = keeps_bodies, shown
        self._organizations: dict[str, str] = {}

    def __call__(self, connection: Connection, captured: Sequence[Captured]) -> Sequence[Told]:
        self._learn_sources(connection, {one.source_id for one in captured})
        told: list[Told] = []
        for one in captured:
            # Without a directory there is nobody to keep it for.
            organization_id = self._organizations.get(one.source_id)
            if organization_id is not None:
                told += self._tell(organization_id, one)
        _name_people(connection, [one.seen for one in told])
        return told

    def _learn_sources(self, connection: Connection, asked: set[str]) -> None:
        new = [source_id for source_id in asked if source_id not in self._organizations and "\0" not in source_id]
        query = select(Source.id, Source.organization_id).where(Source.id.in_(new), Source.kind == "scim")
        self._organizations |= {source_id: organization_id for source_id, organization_id in connection.execute(query)} if new else {}

    def _tell(self, organization_id: str, one: Captured) -> list[Told]:
        masking = Masking(shown=self._shown)
        kind, resource_id = placed(one.path)
        said = _read(one.body)
        answer = _read(one.answer) if one.status != 200 or kind == "Bulk" else None
        masked = masking.body(said) if said is not _UNREADABLE else None
        is_resource = kind in _KINDS.values() and not one.path.endswith(".search")
        if resource_id is None and one.status == 201 and isinstance(answer, dict) and is_resource:
            resource_id = _text(answer.get("id"), 100)
        query, asked = _query(one.query, masking)
        name = _name_said(kind, said) or _name_asked(asked or _member(said, "filter"))
        state, body = self._body(one.body, said, masked)
        seen = {
            "organization_id": organization_id, "id": one.id, "at": datetime.fromtimestamp(one.at, UTC), "source_id": one.source_id,
            "known": one.known, "method": one.method[:20], "path": _clean(masking.sentence(one.path[:200])), "query": query,
            "resource_type": kind, "resource_id": resource_id, **_named(name), "person_id": None,
            "attributes": [_clean(attribute) for attribute in touched(said)] if is_resource else [],
            **_refused(one.status, answer, masking), "found": _found(one), "took_us": min(int(one.took * 1_000_000), 2**31 - 1),
            "times": one.times, "part_of": None, "part": None, "body": state.value, "body_bytes": len(one.body or b""),
        }  # fmt: skip
        whole = Told(seen=seen, body=body)
        return [whole, *(Told(seen=part) for part in _parts(seen, said, answer, masking))] if kind == "Bulk" else [whole]

    def _body(self, raw: bytes | None, said: Any, masked: Any) -> tuple[BodyState, str | None]:
        if not raw:
            return BodyState.NONE, None
        if not self._keeps_bodies:
            return BodyState.OFF, None
        if said is _UNREADABLE:
            # What cannot be read cannot be masked.
            return BodyState.UNREADABLE, None
        text = _clean(json.dumps(masked, ensure_ascii=False, separators=(",", ":")))
        written = text.encode()
        if len(written) <= LARGEST_BODY:
            return BodyState.KEPT, text
        return BodyState.CUT, written[:LARGEST_BODY].decode("utf-8", "ignore")


def _parts(whole: Mapping[str, Any], said: Any, answer: Any, masking: Masking) -> Iterator[dict[str, Any]]:
    """The operations of a Bulk that were answered, each as the request it stands for."""
    operations, answered = _member(said, "Operations"), _member(answer, "Operations")
    if not isinstance(operations, list) or not isinstance(answered, list):
        return
    waiting = iter(enumerate(operations))
    for one in answered:
        # What was left undone has no answer; the others are answered in order.
        found = next(((number, done) for number, done in waiting if _answers(one, done)), None)
        if found is None:
            return
        number, done = found
        data, path = _member(done, "data"), _text(_member(done, "path"), 200) or "/"
        kind, resource_id = placed(path)
        location = _text(_member(one, "location"), 1000)
        status = str(_member(one, "status"))
        yield {
            **whole, "id": new_id(), "method": str(_member(done, "method"))[:20].upper(), "path": _clean(masking.sentence(path)), "query": None,
            "resource_type": kind, "resource_id": location.rpartition("/")[2][:100] if location else resource_id,
            **_named(_name_said(kind, data)), "attributes": [_clean(attribute) for attribute in touched(data)],
            **_refused(int(status) if status.isascii() and status.isdigit() else 0, _member(one, "response"), masking),
            "found": None, "part_of": whole["id"], "part": number, "body_bytes": 0,
            "body": whole["body"] if data is not None else BodyState.NONE.value,
        }  # fmt: skip


def _answers(answered: Any, operation: Any) -> bool:
    return str(_member(answered, "method")).upper() == str(_member(operation, "method")).upper() and _member(answered, "bulkId") == _member(
        operation, "bulkId"
    )


def _name_people(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Whom each request about a user was about: the person of the record it names, else of the record that has the name."""
    users = [row for row in rows if row["resource_type"] == "User"]
    for organization_id in {row["organization_id"] for row in users}:
        mine = [row for row in users if row["organization_id"] == organization_id]
        of = select(Record.person_id).where(Record.organization_id == organization_id)
        by_id = _looked_up(connection, of.add_columns(Record.id), Record.id, {row["resource_id"] for row in mine})
        by_name = _looked_up(
            connection, of.where(Record.ended_at.is_(None)).add_columns(Record.source_id, Record.user_name_key), Record.user_name_key,
            {row["name_key"] for row in mine if row["resource_id"] is None},
        )  # fmt: skip
        for row in mine:
            named = by_id.get((row["resource_id"],)) if row["resource_id"] else by_name.get((row["source_id"], row["name_key"]))
            row["person_id"] = named


def _looked_up(connection: Connection, query: Select[Any], column: Any, keys: set[Any]) -> dict[tuple[str, ...], str]:
    wanted = sorted(keys - {None})
    found: dict[tuple[str, ...], str] = {}
    for start in range(0, len(wanted), 500):
        rows = connection.execute(query.where(column.in_(wanted[start : start + 500])))
        found |= {tuple(key): person_id for person_id, *key in rows}
    return found


def placed(path: str) -> tuple[str | None, str | None]:
    """The kind of resource at an address below the base URL, and the id in it."""
    first, _, rest = path.strip("/").partition("/")
    kind = _KINDS.get(first.lower())
    if kind is None:
        return _text(first, 60), None
    return kind, None if rest.startswith(".") else _text(rest, 100)


def _read(raw: bytes | None) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _member(said: Any, name: str) -> Any:
    return next((value for key, value in said.items() if key.lower() == name.lower()), None) if isinstance(said, dict) else None


def _name_said(kind: str | None, said: Any) -> str | None:
    """The userName, or a group's displayName, that a body gives."""
    wanted = {"User": "userName", "Group": "displayName"}.get(kind or "")
    if wanted is None:
        return None
    operations = _member(said, "Operations")
    places = [said] if not isinstance(operations, list) else [_as_resource(one) for one in operations]
    return next((name for place in places if isinstance(name := _member(place, wanted), str) and name.strip()), None)


def _as_resource(operation: Any) -> Any:
    path, value = _member(operation, "path"), _member(operation, "value")
    return {path.rpartition(":")[2]: value} if isinstance(path, str) and path else value


def _name_asked(text: Any) -> str | None:
    asked = _ASKED_NAME.fullmatch(text) if isinstance(text, str) else None
    name = _read(asked.group(2).encode("utf-8", "replace")) if asked is not None else None
    return name if isinstance(name, str) else None


def _named(name: str | None) -> dict[str, str | None]:
    text = _text(name, 300)
    return {"name": text, "name_key": key_asked(text) if text else None}


def key_asked(name: str) -> str | None:
    """The key under which requests that name somebody are found; cut, for an index takes no more."""
    return name_key(name[:300])[:500] or None


def _query(text: str, masking: Masking) -> tuple[str | None, str | None]:
    """The query string as it is kept, and the filter in it."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=50)
    except ValueError:
        return MASK, None
    kept = [(_clean(key[:60]), _clean(_parameter(key.lower(), value, masking)[:1000])) for key, value in pairs]
    return urlencode(kept) or None, next((value for key, value in pairs if key.lower() == "filter"), None)


def _parameter(name: str, value: str, masking: Masking) -> str:
    if name == "filter":
        return masking.text(value)
    return value if name in _PARAMETERS or not value else MASK


def _refused(status: int, answer: Any, masking: Masking) -> dict[str, Any]:
    if status < 400:
        return {"status": status, "refused": None, "scim_type": None, "error": None}
    detail = _member(answer, "detail")
    return {
        "status": status, "refused": status // 100, "scim_type": _text(_member(answer, "scimType"), 60),
        "error": _text(masking.sentence(detail), 1000) if isinstance(detail, str) else None,
    }  # fmt: skip


def _found(one: Captured) -> int | None:
    total = _TOTAL.search(one.answer[:_BEGINNING]) if one.status == 200 and one.answer else None
    return int(total.group(1)) if total is not None else None


def _text(value: Any, most: int) -> str | None:
    return _clean(value[:most]) if isinstance(value, str) and value else None


def _clean(text: str) -> str:
    """The text without what a database cannot hold."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
