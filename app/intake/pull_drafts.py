"""From what a source says of somebody to a record's draft: the same document as a push of the same person would have left.

And the other way round to one text for one meaning, whose digest tells whether anything changed.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from app.clock import parse_instant
from app.directory.names import name_key
from app.directory.tables import Standing
from app.directory.vocabulary import ENTERPRISE, ENTERPRISE_URN, GROUP_URN, USER, USER_URN, Kind
from app.json_text import DEEPEST
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.groups import GroupDraft
from connectors.source_contract import SourceGroup, SourceKey, SourcePerson

LONGEST: Final = 2_048
"""Bytes of a text that people and groups are found by; a row of an index of PostgreSQL's ends at 2,704."""
LONGEST_KEY: Final = 1_024
PAUSING: Final = frozenset({"SUSPENDED"})
"""Okta's state of somebody who is to come back: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/UserLifecycle/"""
SOON: Final = timedelta(days=7)
"""An end that is news and no further ahead takes like one that has come: nobody might look before it has."""
# What others decide, or nobody here asks for.
_OURS: Final = ("id", "meta", "groups", "password", "active", "schemas", "userName", "externalId")
_TOO_DEEP: Final = f"it is nested more than {DEEPEST} deep"
_NAME_OF_KIND: Final = {dict: "an object", list: "a list", bool: "true or false"}


class Unusable(Exception):
    """What is said of an entry cannot be taken over. The message says why, as a sentence about it without its full stop."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a source says of one person: one text for one meaning. `broken` says why it can be no draft, whatever else it says."""

    key: str
    text: str
    digest: bytes
    manager: str | None
    broken: str | None = None


def said_of(person: SourcePerson, *, broken: str | None = None) -> Said:
    """The same text and digest for the same meaning, whatever order the source told it in. Never raises for what a source can say.

    `broken` is why the rest of it is not to be looked at; that somebody is off is heard, however odd the rest is.
    """
    said = {
        "key": person.key, "userName": person.user_name, "active": person.active, "externalId": person.external_id,
        "manager": person.manager, "startsAt": person.starts_at, "endsAt": person.ends_at, "document": person.document,
        **({"state": person.state.upper()} if pauses(person) else {}),
    }  # fmt: skip
    text = None
    if broken is None:
        try:
            text = _text(said)
        except (TypeError, ValueError, RecursionError) as error:
            broken = f"what is said of it cannot be kept: {_sentence(error)}"
    if text is None:
        starts_at, ends_at = dates_of(person)
        said = {
            "key": person.key, "userName": _storable(person.user_name), "active": person.active, "document": {}, "broken": _storable(broken or ""),
            "startsAt": None if starts_at is None else starts_at.isoformat(), "endsAt": None if ends_at is None else ends_at.isoformat(),
        }  # fmt: skip
        text = _text(said)
    return Said(key=person.key, text=text, digest=digest_of(text), manager=None if broken else person.manager, broken=broken)


def pauses(person: SourcePerson) -> bool:
    """Whether the source's own word for it is one that nobody uses of somebody who has left."""
    return not person.active and person.state.upper() in PAUSING


def says_on(person: SourcePerson, *, at: datetime) -> bool:
    """Whether a source says that somebody is on now. A date that cannot be read says neither: then only `active` is heard."""
    return stands_on(person.active, *dates_of(person), at=at)


def dates_of(person: SourcePerson) -> tuple[datetime | None, datetime | None]:
    """From and until when a source says that somebody is on; neither, where one of both cannot be read."""
    try:
        return _instant(person.starts_at, "startsAt"), _instant(person.ends_at, "endsAt")
    except Unusable:
        return None, None


def stands_on(active: bool, starts_at: datetime | None, ends_at: datetime | None, *, at: datetime) -> bool:
    """Whether that is *on* at this instant."""
    return active and (starts_at is None or starts_at <= at) and (ends_at is None or ends_at > at)


def ends_soon(said: datetime | None, here: datetime | None, *, at: datetime) -> bool:
    """Whether an end to come is news that takes: there was none here, or a later one, and it comes within days."""
    return said is not None and at < said <= at + SOON and (here is None or said < here)


def _text(said: Mapping[str, Any]) -> str:
    text = _ENCODER.encode(said)
    text.encode()  # a half of a sign that is written in two cannot be stored
    if "\\u0000" in text and any("\0" in one for one in _texts(said)):
        raise ValueError("it holds a NUL")
    # As deep as a push may be, and one for what is said around it. SQLite can look into nothing that is deeper than a thousand. Nothing is
    # deeper than it has brackets.
    if text.count("{") + text.count("[") > DEEPEST and _deeper(said, DEEPEST + 1):
        raise ValueError(_TOO_DEEP)
    return text


def _deeper(value: object, levels: int) -> bool:
    if levels < 0 or not isinstance(value, Mapping | list | tuple):
        return levels < 0
    return any(_deeper(part, levels - 1) for part in (value.values() if isinstance(value, Mapping) else value))


def _plain(value: object) -> object:
    """What JSON does not know by itself."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | set | frozenset):
        return sorted(value)
    raise TypeError(f"it holds a {type(value).__name__}")


_ENCODER: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield str(key)
            yield from _texts(part)
    elif isinstance(value, Iterable):
        for part in value:
            yield from _texts(part)


def _sentence(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "it holds half of a sign"
    return _TOO_DEEP if isinstance(error, RecursionError) else str(error)


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def odd_key(key: str) -> str | None:
    """Why nothing can be remembered under this key; None where it can."""
    if not key or "\0" in key or _storable(key) != key:
        return "its key is empty, or holds what cannot be stored"
    return f"its key is longer than {LONGEST_KEY} bytes" if len(key.encode()) > LONGEST_KEY else None


def read_back(text: str) -> tuple[SourcePerson, str | None]:
    """The person of a `Said` text, and why they can be no draft."""
    said = json.loads(text)
    manager = said.get("manager")
    person = SourcePerson(
        key=SourceKey(said["key"]), user_name=said["userName"], active=said["active"], document=said["document"],
        external_id=said.get("externalId"), manager=None if manager is None else SourceKey(manager), starts_at=said.get("startsAt"),
        ends_at=said.get("endsAt"), state=said.get("state", ""),
    )  # fmt: skip
    return person, said.get("broken")


def draft_of(person: SourcePerson, *, manager: str | None) -> RecordDraft:
    """A draft as a push would have made it; `manager` is a record's id. Raises Unusable."""
    if not person.user_name.strip():
        raise Unusable("it has no userName")
    external_id = person.external_id or person.key
    document = {**_shaped(person.document), "userName": person.user_name, "externalId": external_id}
    extension = {name: value for name, value in (document.pop(ENTERPRISE_URN, None) or {}).items() if name != "manager"}
    if manager is not None:
        extension["manager"] = {"value": manager}
    if extension:
        document[ENTERPRISE_URN] = extension
    extensions = sorted(key for key, value in document.items() if ":" in key and isinstance(value, dict))
    draft = RecordDraft(
        external_id=external_id, user_name=person.user_name, active=person.active,
        document={"schemas": [USER_URN, *extensions], **document},
        starts_at=_instant(person.starts_at, "startsAt"), ends_at=_instant(person.ends_at, "endsAt"),
        off_means=Standing.PAUSED if pauses(person) else None,
    )  # fmt: skip
    for label, value in _looked_up(draft):
        if isinstance(value, str):
            refuse_too_long(label, value)
    return draft


def _shaped(said: Mapping[str, Any]) -> dict[str, Any]:
    """The document in the shape in which documents are kept, without what is ours to say. Raises Unusable."""
    document: dict[str, Any] = {}
    for name, value in said.items():
        if value is None or name in _OURS:
            continue
        attribute = USER.get(name.lower())
        if ":" in name:
            if name == ENTERPRISE_URN and not isinstance(value, Mapping):
                raise Unusable(f"{name} is {_kind_of(value)} and not an object")
            kept = {key: _work(key, part) for key, part in value.items() if part is not None} if isinstance(value, Mapping) else value
        elif attribute is None:
            kept = value
        elif attribute.many:
            kept = _listed(name, value)
        elif attribute.kind is Kind.COMPLEX:
            if not isinstance(value, Mapping):
                raise Unusable(f"{name} is {_kind_of(value)} and not an object")
            kept = {key: part for key, part in value.items() if part is not None}
        else:
            kept = _single(name, value)
        if kept not in ("", {}, []):
            document[name if attribute is None else attribute.name] = kept
    return document


def _work(name: str, value: Any) -> Any:
    attribute = ENTERPRISE.get(name.lower())
    return value if attribute is None or attribute.kind is Kind.COMPLEX else _single(name, value)


def _listed(name: str, value: Any) -> list[Any]:
    elements = [value] if isinstance(value, Mapping) else value
    if not isinstance(elements, list) or not all(isinstance(one, Mapping) for one in elements):
        raise Unusable(f"{name} is {_kind_of(value)} and not a list of objects")
    return [{key: part for key, part in one.items() if part is not None} for one in elements]


def _single(name: str, value: Any) -> str:
    if isinstance(value, bool | dict | list):
        raise Unusable(f"{name} is {_kind_of(value)} and not a text")
    return value if isinstance(value, str) else str(value)


def _kind_of(value: Any) -> str:
    return next((words for kind, words in _NAME_OF_KIND.items() if isinstance(value, kind)), "a text" if isinstance(value, str) else "a number")


def _instant(text: str | None, name: str) -> datetime | None:
    if not text:
        return None
    try:
        return parse_instant(text)
    except (ValueError, OverflowError):
        raise Unusable(f"{name} is no instant: {text!r}") from None


def _looked_up(draft: RecordDraft) -> Iterator[tuple[str, object]]:
    yield "externalId", draft.external_id
    yield "userName", draft.user_name
    extension = draft.document.get(ENTERPRISE_URN) or {}
    yield "employeeNumber", extension.get("employeeNumber")
    yield "department", extension.get("department")
    for email in draft.document.get("emails") or ():
        yield "emails.value", email.get("value")


def refuse_too_long(label: str, text: str) -> None:
    """Raises Unusable for a text that no index could hold."""
    if len(text) > LONGEST // 40 and (length := max(len(text.encode()), len(name_key(text).encode()))) > LONGEST:
        raise Unusable(f"its {label} is {length} bytes long; at most {LONGEST} can be looked up by")


def digest_of_group(group: SourceGroup) -> bytes:
    """Of its name and everybody in it, in whatever order they came."""
    made = hashlib.sha256(json.dumps([group.name, group.external_id, len(group.members)]).encode())
    made.update("\0".join(sorted(group.members)).encode("utf-8", "surrogatepass"))
    return made.digest()[:16]


def group_draft(key: str, name: str, external_id: str | None) -> GroupDraft:
    """A group without its members. Raises Unusable."""
    if not name.strip() or "\0" in name or _storable(name) != name:
        raise Unusable("its name is empty, or holds what cannot be stored")
    outside = external_id or key
    if "\0" in outside or _storable(outside) != outside:
        raise Unusable("its externalId holds what cannot be stored")
    refuse_too_long("name", name)
    refuse_too_long("externalId", outside)
    return GroupDraft(
        external_id=outside, display_name=name, document={"schemas": [GROUP_URN], "displayName": name, "externalId": outside}
    )
