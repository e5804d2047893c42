"""What directories write all day: a new user, a user changed or switched, members of a group. Read from its body, and written plainly.

What is not of the usual kind (`None`), and whatever is wrong (SCIMError), takes the ordinary way.
"""

import json
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple

from app.bare.connection import Acting
from app.directory.filters import AttributePath
from app.directory.vocabulary import USER_URN, Vocabulary
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.plain import join_plainly
from app.lifecycle.plain_brake import LayoffAnnounced
from app.lifecycle.plain_members import change_members_plainly
from app.lifecycle.plain_seen import Becomes, Seen
from app.lifecycle.plain_switch import switch_plainly
from app.scim import hot_reads
from app.scim.acts import becomes_by_patch, becomes_by_put
from app.scim.bodies import read_message, read_object, tidied
from app.scim.hot_reads import Answered, Knock, user_text
from app.scim.members import split_members
from app.scim.operations import Operation, Verb, read_operations
from app.scim.resources import Resource, user_as_said, user_draft
from app.settings import Settings

_SCHEMAS: Final = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
_COLONS: Final = _SCHEMAS[0].count(":")
_MOST: Final = 131_072
"""Operations of a PATCH times the bytes that each may have to look at, of the user and of the body. On an event loop all others wait meanwhile."""
_ACTIVE: Final = AttributePath(names=("active",))
BELIEVED_FOR: Final = 1.0
"""Seconds for which a layoff that was announced is not looked for again: each try in vain would keep all others from writing."""
_announced: Final[dict[str, float]] = {}


class Asked(NamedTuple):
    """One request: by whom, of which resource, with which query and body.

    It is read by `vocabulary`, which the organisation may have changed since. `made` is told the id of one that is made,
    before the database is asked.
    """

    knock: Knock
    id: str
    query: dict[str, str]
    body: bytes
    settings: Settings
    vocabulary: Vocabulary
    made: list[str]

    def said_by(self, method: str) -> dict[str, Any]:
        knock = self.knock
        return {"digest": knock.digest, "source_id": knock.source, "now": knock.now, "because": f"SCIM {method}"}


async def _post_user(on: Acting, asked: Asked) -> Answered | None:
    if asked.query:
        return None
    draft = user_draft(read_object(asked.body), vocabulary=asked.vocabulary)
    joined = await join_plainly(on, draft, schemas=asked.vocabulary.version, made=asked.made, **asked.said_by("POST"))
    if joined is None:
        return None
    row = (joined.record_id, joined.document, True, joined.at, joined.at, 1, None)
    base = asked.knock.base
    return Answered(status=201, body=[user_text(row, base).encode()], version=1, location=f"{base}/Users/{joined.record_id}")


async def _patch_user(on: Acting, asked: Asked) -> Answered | None:
    if asked.query:
        return None
    body, vocabulary = read_object(asked.body), asked.vocabulary.of_kind(USER_URN)
    active = _only_active(read_operations(body, vocabulary))
    if active is not None:
        return await _switched(on, asked, "PATCH", active=active) if _says_once(asked.body, body) else None
    # Once more, so that it is found out what is said twice.
    operations = read_operations(read_message(asked.body), vocabulary)
    longest = _MOST // max(len(operations), 1) - len(asked.body)
    return await _switched(on, asked, "PATCH", becomes=becomes_by_patch(operations, vocabulary), longest=longest) if longest > 0 else None


async def _put_user(on: Acting, asked: Asked) -> Answered | None:
    if asked.query:
        return None
    becomes = becomes_by_put(read_object(asked.body), asked.vocabulary)
    return await _switched(on, asked, "PUT", becomes=becomes, longest=_MOST - len(asked.body))


async def _switched(
    on: Acting, asked: Asked, method: str, *, active: bool | None = None, becomes: Callable[[Resource], RecordDraft] | None = None, longest: int = 0
) -> Answered | None:
    source, at = asked.knock.source, time.monotonic()
    announced = _announced.get(source, 0.0) > at
    if active is False and announced:
        return None
    given = None if becomes is None else _usual(becomes, asked.vocabulary, longest=longest, but_off=announced)
    beside = hot_reads.groups_beside(on.dialect, asked.knock)
    try:
        switched = await switch_plainly(on, asked.id, active, becomes=given, **asked.said_by(method), beside=beside)
    except LayoffAnnounced:
        _announced[source] = at + BELIEVED_FOR
        return None
    if switched is None:
        return None
    row = (asked.id, switched.document, switched.active, switched.created_at, switched.modified_at, switched.version, switched.beside)
    base = asked.knock.base
    return Answered(body=[user_text(row, base).encode()], version=switched.version, location=f"{base}/Users/{asked.id}")


def _usual(becomes: Callable[[Resource], RecordDraft], vocabulary: Vocabulary, *, longest: int, but_off: bool) -> Becomes:
    """What a user becomes, while it is this by which they are read, its document no longer than this, and not *off* if that has to be weighed."""

    def usual(there: Seen) -> tuple[dict[str, Any], RecordDraft] | None:
        if there.schemas_version != vocabulary.version or len(there.document) > longest:
            return None
        document = json.loads(there.document)
        said = user_as_said(document, user_name=there.user_name, external_id=there.external_id, active=bool(there.active))
        try:
            draft = becomes(said)
        except Exception:
            # The ordinary way meets it again and has the words for it; who goes along on this journey must not.
            return None
        return None if but_off and draft.active is False else (document, draft)

    return usual


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


async def _patch_group(on: Acting, asked: Asked) -> Answered | None:
    if asked.query:
        return None
    body = read_object(asked.body)
    members, others = split_members(read_operations(body))
    if others or members.whole is not None or bool(members.add) == bool(members.remove) or not _says_once(asked.body, body):
        return None
    ids, add = members.add or members.remove, bool(members.add)
    done = await change_members_plainly(on, asked.id, sorted(ids), add=add, **asked.said_by("PATCH"))
    return Answered(status=204, body=()) if done else None


Writes = Callable[[Acting, Asked], Coroutine[Any, Any, Answered | None]]
WRITES: Final[Mapping[tuple[str, str, bool], Writes]] = {
    ("POST", "Users", False): _post_user,
    ("PATCH", "Users", True): _patch_user,
    ("PUT", "Users", True): _put_user,
    ("PATCH", "Groups", True): _patch_group,
}
"""By method, kind and whether one of that kind is named."""
