"""What requests that were seen meant: whose they were, whom they were about, what may be kept of their bodies.

All of it runs in the writer's thread, for every request there is: what most of them look like is recognised first.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, unquote_plus, urlencode
from uuid import UUID

from sqlalchemy import Connection, Select, select

from app.audit.masking import ASKED_WITH, MASK, Masking, cut, touched, without_tokens
from app.audit.request_rows import Seen, Told
from app.audit.request_tables import BodyState
from app.audit.requests import Captured
from app.directory.names import name_key
from app.directory.tables import Record, Source
from app.json_text import is_storable, write_json
from app.lifecycle.plain_sql import one_of
from app.scim.operations import resources_in
from app.statements import param

LARGEST_BODY: Final = 64 * 1024
_KINDS: Final = {"users": "User", "groups": "Group"}
BEGINNING: Final = 300
"""Bytes of a list's answer that are looked at."""
_TOTAL: Final = re.compile(rb'"totalResults":\s*(\d{1,9})')
_ASKED_NAME: Final = re.compile(r'\s*(userName|displayName)\s+eq\s+("(?:[^"\\]|\\.)+")\s*', re.IGNORECASE)
_UNREADABLE: Final = object()
_REPEATED: Final = ("method", "bulkId")
_said: Final = json.JSONDecoder().decode
_OPENS: Final = ord("{")
_NO_BODY: Final = BodyState.NONE.value
# The look-up that every directory sends before each change, in letters that need no second look: read and written alike.
_USUAL_QUERY: Final = re.compile(
    r"filter=(userName|displayName|externalId)(?:%20|\+)eq(?:%20|\+)%22((?:[A-Za-z0-9._~@-]|%40|%20|\+){1,300})%22"
    r"(?:&(?:startIndex|count)=[0-9]{1,9}){0,9}"
)
_OF_ALL: Final = frozenset({"/Users", "/Groups"})
_USUAL_PLACE: Final = re.compile(r"/(?:Users|Groups)(?:/[0-9a-f-]{36})?")
# Words of ours in an address, and an id as ours are: they say nothing of anybody, whatever else is called so.
_OWN_WORDS: Final = re.compile(r"/(?:(?:Users|Groups|Bulk|Me|Schemas|ResourceTypes|ServiceProviderConfig)(?:/|\Z))?(?:\.search\Z)?")
_OWN_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONGEST: Final = 2**31 - 1
# Our own answers say the id first of all, after `schemas`.
_ID_FIRST: Final = re.compile(rb'\{(?:"schemas":\[(?:"[\w:.-]+",?)*\],)?"id":"([0-9a-f-]{36})"')


class Teller:
    """Works out what requests meant: whose they were, whom they were about, what may be kept of their bodies."""

    def __init__(self, *, keeps_bodies: bool, shown: Collection[str]) -> None:
        self._keeps_bodies, self._shown = keeps_bodies, shown
        self._organizations: dict[str, str] = {}

    def __call__(self, connection: Connection, captured: Sequence[Captured]) -> Sequence[Told]:
        self._learn_sources(connection, {one.source_id for one in captured})
        told: list[tuple[Seen, str | None]] = []
        for one in captured:
            # Without a directory there is nobody to keep it for.
            organization_id = self._organizations.get(one.source_id)
            if organization_id is None:
                continue
            if one.body or one.status >= 400:
                told += self._tell(organization_id, one)
            else:
                told.append((self._tell_bare(organization_id, one), None))
        person_of = _people(connection, [seen for seen, _ in told])
        return [Told(seen, person_of(seen), body) for seen, body in told]

    def _learn_sources(self, connection: Connection, asked: set[str]) -> None:
        new = [source_id for source_id in asked if source_id not in self._organizations and "\0" not in source_id]
        query = select(Source.id, Source.organization_id).where(Source.id.in_(new), Source.kind == "scim")
        self._organizations |= {source_id: organization_id for source_id, organization_id in connection.execute(query)} if new else {}

    def _tell_bare(self, organization_id: str, one: Captured) -> Seen:
        """Of a request that went well and sent nothing: what most are, so nothing is done here that is not needed."""
        query, name, key, masking = None, None, None, None
        if one.query:
            masking = Masking(shown=self._shown)
            query, asked = _asked(one.query, None, masking)
            name, key = _named(asked)
        kind, resource_id = placed(one.path)
        path = one.path
        # An address of a resource, or of all of them, is not masked unless something in it was masked before.
        if (masking is not None and (masking.hidden or masking.secrets)) or _USUAL_PLACE.fullmatch(path) is None:
            path = _address(path, masking or Masking())
        if one.status == 201 and resource_id is None and kind in ("User", "Group") and not is_search(one.path):
            resource_id = _new_id(one.answer)
        return Seen(
            organization_id=organization_id, id=one.id, at=round(one.at * 1_000_000), source_id=one.source_id, known=int(one.known),
            method=one.method[:20], path=path, query=query, resource_type=kind, resource_id=resource_id, status=one.status,
            took_us=min(int(one.took * 1_000_000), _LONGEST), name=name, name_key=key, found=_found(one) if one.answer else None, times=one.times,
        )  # fmt: skip

    def _tell(self, organization_id: str, one: Captured) -> list[tuple[Seen, str | None]]:
        masking = Masking(shown=self._shown)
        kind, resource_id = placed(one.path)
        is_resource = kind in ("User", "Group") and not is_search(one.path)
        said = _read(one.body)
        # A quote within a text is escaped, so without a backslash no text is the JSON of anything.
        said = resources_in(said) if one.body and b"\\" in one.body else said
        # What is masked of the body is looked for in everything else.
        masked = masking.body(said) if one.body and said is not _UNREADABLE else None
        answer = _read(one.answer) if one.status >= 400 or kind == "Bulk" else None
        if resource_id is None and one.status == 201 and is_resource:
            resource_id = _new_id(one.answer)
        said_name = _name_said(kind, said)
        query, asked_name = _asked(one.query, None if said_name else said, masking)
        name, key = _named(said_name or asked_name)
        state, body = self._body(one.body, said, masked)
        seen = Seen(
            organization_id=organization_id, id=one.id, at=round(one.at * 1_000_000), source_id=one.source_id, known=int(one.known),
            method=one.method[:20], path=one.path if one.path in _OF_ALL else _address(one.path, masking), query=query, resource_type=kind,
            resource_id=resource_id, name=name, name_key=key, attributes=_attributes(said) if is_resource else "[]", status=one.status, found=_found(one) if one.answer else None,
            took_us=min(int(one.took * 1_000_000), 2**31 - 1), body=state, body_bytes=len(one.body or b""), times=one.times,
        )  # fmt: skip
        if one.status >= 400:
            seen = seen._replace(**_refused(one.status, answer, masking))
        if kind == "Bulk":
            return [(seen, body), *((part, None) for part in _parts(seen, said, answer, masking))]
        return [(seen, body)]

    def _body(self, raw: bytes | None, said: Any, masked: Any) -> tuple[str, str | None]:
        if not raw:
            return _NO_BODY, None
        if not self._keeps_bodies:
            return BodyState.OFF.value, None
        if said is _UNREADABLE:
            # What cannot be read cannot be masked.
            return BodyState.UNREADABLE.value, None
        text = _clean(write_json(masked))
        # No letter takes more than four bytes.
        if len(text) <= LARGEST_BODY // 4:
            return BodyState.KEPT.value, text
        written = text.encode()
        if len(written) <= LARGEST_BODY:
            return BodyState.KEPT.value, text
        return BodyState.CUT.value, written[:LARGEST_BODY].decode("utf-8", "ignore")


def _parts(whole: Seen, said: Any, answer: Any, masking: Masking) -> Iterator[Seen]:
    """The operations of a Bulk that were answered, each as the request it stands for."""
    operations, answered = _member(said, "Operations"), _member(answer, "Operations")
    if not isinstance(operations, list) or not isinstance(answered, list):
        return
    told = [_repeated(one) for one in operations]
    folded = [{key.lower(): value for key, value in one.items()} if isinstance(one, dict) else {} for one in operations]
    start = 0
    for one in answered:
        # What was left undone has no answer; the others are answered in order.
        named = [_member(one, name) for name in _REPEATED]
        number = next((place for place in range(start, len(told)) if told[place] == named), None)
        if number is None:
            continue
        start, done = number + 1, folded[number]
        method, path = (_text(_member(done, "method"), 20) or "NONE").upper(), _addressed(_member(done, "path"))
        # Nobody reads what is sent with a DELETE, here as by itself.
        data = None if method == "DELETE" else _member(done, "data")
        kind, resource_id = placed(path)
        location = _text(_member(one, "location"), 1000)
        status = str(_member(one, "status"))
        name, key = _named(_name_said(kind, data))
        yield whole._replace(
            id=_behind(whole.id, number + 1), method=method, path=_address(path, masking), query=None,
            resource_type=kind, resource_id=location.rpartition("/")[2][:100] if location else resource_id, name=name, name_key=key,
            attributes=_attributes(data), found=None, part_of=whole.id, part=number, body_bytes=0, body=whole.body if data is not None else _NO_BODY,
            **_refused(int(status) if status.isascii() and status.isdigit() else 0, _member(one, "response"), masking),
        )  # fmt: skip


def _behind(id: str, places: int) -> str:
    """An id that many places behind another one: what came with a request is in order with it, however much later it is worked out."""
    return str(UUID(int=UUID(id).int + places))


def _repeated(operation: Any) -> list[str | None]:
    """What an answer to this operation repeats of it: texts that can be told, and of a name that is there twice nothing."""
    named = [[value for key, value in operation.items() if key.lower() == name.lower()] for name in _REPEATED] if isinstance(operation, dict) else [[], []]
    return [values[0] if len(values) == 1 and isinstance(values[0], str) and is_storable(values[0]) else None for values in named]


def _people(connection: Connection, rows: Sequence[Seen]) -> Callable[[Seen], str | None]:
    """Whom each request about a user was about: the person of the record it names, else of the record that has the name."""
    ids, names = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    organizations = dict[str, str]()
    for row in rows:
        if row.resource_type == "User":
            if row.resource_id is not None:
                ids[row.organization_id].add(row.resource_id)
            elif row.name_key is not None:
                names[row.source_id].add(row.name_key)
                organizations[row.source_id] = row.organization_id
    by_id, by_name = _by_id(connection.dialect.name), _by_name(connection.dialect.name)
    has_id, has_name = dict[str, dict[str, str]](), dict[str, dict[str, str]]()
    for of, wanted in ids.items():
        found = connection.execute(by_id, {"organization": of, "wanted": write_json([*wanted])})
        has_id[of] = {record_id: person_id for record_id, person_id in found.all()}
    for of, wanted in names.items():
        found = connection.execute(by_name, {"organization": organizations[of], "source": of, "wanted": write_json([*wanted])})
        has_name[of] = {key: person_id for key, person_id in found.all()}

    def person_of(row: Seen) -> str | None:
        if row.resource_type != "User":
            return None
        if row.resource_id is not None:
            return has_id[row.organization_id].get(row.resource_id)
        return None if row.name_key is None else has_name[row.source_id].get(row.name_key)

    return person_of


@cache
def _by_id(dialect: str) -> Select[str, str]:
    mine = Record.organization_id == param("organization")
    return select(Record.id, Record.person_id).where(mine, one_of(Record.id, "wanted", dialect))


@cache
def _by_name(dialect: str) -> Select[str, str]:
    mine = Record.organization_id == param("organization"), Record.source_id == param("source"), Record.ended_at.is_(None)
    return select(Record.user_name_key, Record.person_id).where(*mine, one_of(Record.user_name_key, "wanted", dialect))


def placed(path: str) -> tuple[str | None, str | None]:
    """The kind of resource at an address below the base URL, and the id in it."""
    first, _, rest = path.partition("?")[0].strip("/").partition("/")
    kind = _KINDS.get(first.lower())
    if kind is None:
        return _text(first, 60), None
    return kind, None if rest.startswith(".") else _text(rest, 100)


def _addressed(path: Any) -> str:
    """The address that an operation of a Bulk means: percent-encoded or not, and with slashes around it or without."""
    return "/" + unquote(path).strip("/") if isinstance(path, str) else "/"


def _address(path: str, masking: Masking) -> str:
    """An address as it is kept: without what was masked elsewhere.

    Its own words stay, though a role may be called User, and so does an id, though somebody's number may stand in it: or nobody
    could tell what was asked, nor ask it again.
    """
    path, asks, query = cut(path, 200).partition("?")
    if asks:
        # Of a client that encodes the question mark, too; what comes behind it is a query all the same, and an error quotes some of it.
        masking.secrets.add(query)
        return cut(f"{_address(path, masking)}?{unquote_plus(_query(query, masking)[0] or '')}", 200)
    own = _OWN_WORDS.match(path)
    begins = 0 if own is None else own.end()
    rest = path[begins:]
    if not rest or (_OWN_ID.fullmatch(rest) and rest not in masking.hidden and rest not in masking.secrets):
        return path
    return _clean(path[:begins] + masking.sentence(rest))


def is_search(path: str) -> bool:
    """Whether a POST at this address asks for what is there (RFC 7644 §3.4.3), and writes nothing."""
    return path.rstrip("/").endswith("/.search")


def _read(raw: bytes | None) -> Any:
    if not raw:
        return None
    try:
        # Nothing but UTF-8 begins so (RFC 4627 §3); the rest is for the library to guess.
        return _said(raw.decode("utf-8", "surrogatepass")) if raw[0] == _OPENS and raw[1:2] != b"\0" else json.loads(raw)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _member(said: Any, name: str) -> Any:
    if isinstance(said, dict):
        wanted = name.lower()
        for key, value in said.items():
            if key == name or key.lower() == wanted:
                return value
    return None


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


def _asked(text: str, said: Any, masking: Masking) -> tuple[str | None, str | None]:
    """The query string as it is kept, and the name that it asks for, or else the filter in the body."""
    usual = _USUAL_QUERY.fullmatch(text) if text else None
    if usual is not None and "dl_" not in text:
        attribute, name = usual.groups()
        kept = text.replace("%20", "+").replace("@", "%40")
        return kept, None if attribute == "externalId" else name.replace("%40", "@").replace("%20", " ").replace("+", " ")
    query, asked = _query(text, masking) if text else (None, None)
    return query, _name_asked(asked or _member(said, "filter"))


def _name_asked(text: Any) -> str | None:
    asked = _ASKED_NAME.fullmatch(text) if isinstance(text, str) else None
    name = _read(asked.group(2).encode("utf-8", "replace")) if asked is not None else None
    return name if isinstance(name, str) else None


def _named(name: str | None) -> tuple[str | None, str | None]:
    """A name as it is kept, and the key under which it is found."""
    text = _text(name, 300)
    return text, key_asked(text) if text else None


def key_asked(name: str) -> str | None:
    """The key under which requests that name somebody are found; cut, for an index takes no more."""
    return name_key(name[:300])[:500] or None


def _query(text: str, masking: Masking) -> tuple[str | None, str | None]:
    """The query string as it is kept, and the filter in it."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=50)
    except ValueError:
        return MASK, None
    kept = [(_clean(masking.key(key)[:60]), _clean(cut(_parameter(key.lower(), value, masking), 1000))) for key, value in pairs]
    return urlencode(kept) or None, next((value for key, value in pairs if key.lower() == "filter"), None)


def _parameter(name: str, value: str, masking: Masking) -> str:
    return masking.asked(name, value) if name in ASKED_WITH or not value else MASK


def _refused(status: int, answer: Any, masking: Masking) -> dict[str, Any]:
    if status < 400:
        return {"status": status, "refused": None, "scim_type": None, "error": None}
    detail = _member(answer, "detail")
    return {
        "status": status, "refused": status // 100, "scim_type": _text(_member(answer, "scimType"), 60),
        "error": _text(masking.sentence(detail), 1000) if isinstance(detail, str) else None,
    }  # fmt: skip


def _found(one: Captured) -> int | None:
    total = _TOTAL.search(one.answer, 0, BEGINNING) if one.status == 200 and one.answer else None
    return int(total.group(1)) if total is not None else None


def _new_id(answer: bytes | None) -> str | None:
    first = _ID_FIRST.match(answer) if answer else None
    return first.group(1).decode() if first is not None else _text(_member(_read(answer), "id"), 100)


def _attributes(said: Any) -> str:
    """The list of them, as JSON."""
    return write_json(touched(said)) if said else "[]"


def _text(value: Any, most: int) -> str | None:
    return _clean(without_tokens(value)[:most]) if isinstance(value, str) and value else None


def _clean(text: str) -> str:
    """The text without what a database cannot hold."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
