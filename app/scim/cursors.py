"""Cursors (RFC 9865): how far a client has read a list, sealed with the installation's key and good for that list only."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.access.sealing import KeyMissing, seal, unseal
from app.directory.sort_sql import SortValue
from app.scim.answers import Problem, SCIMError, refused
from app.settings import Settings

LIFETIME = timedelta(hours=1)
_LONGEST = 4096


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the next page begins after: the last row's sort value and id, None at the beginning of that kind of resource.

    `kind` counts the kinds of resources that one list holds; `total` was counted for the first page.
    """

    kind: int
    last: tuple[SortValue, str] | None
    total: int


def write_cursor(settings: Settings, place: Place, *, question: Sequence[str], at: datetime) -> str:
    """`question` is all that decides what the list holds, and whose it is. Raises SCIMError without an encryption key."""
    expires = int((at + LIFETIME).timestamp())
    said = [_digest(question), expires, place.kind, place.last, place.total]
    # RFC 9865 §2: only unreserved characters, which the padding is not.
    return _sealed(settings, json.dumps(said, ensure_ascii=False, separators=(",", ":"))).rstrip("=")


def read_cursor(settings: Settings, text: str, *, question: Sequence[str], at: datetime) -> Place:
    """Raises SCIMError, in the same words for whatever is wrong, so that nobody learns of another's list."""
    found = _unsealed(settings, text)
    if not isinstance(found, list) or not found or found[0] != _digest(question):
        raise refused(
            "this cursor was not given out for this list: send an empty cursor for the first page, then each nextCursor with the same query",
            Problem.INVALID_CURSOR,
        )
    _, expires, kind, last, total = found
    if at.timestamp() > expires:
        seconds = int(LIFETIME.total_seconds())
        raise refused(
            f"this cursor has expired: ask for each page within {seconds} seconds of the one before, and begin again with an empty cursor",
            Problem.EXPIRED_CURSOR,
        )
    return Place(kind=kind, last=None if last is None else (last[0], last[1]), total=total)


def _digest(question: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(question)).encode()).hexdigest()[:32]


def _sealed(settings: Settings, text: str) -> str:
    try:
        return seal(settings, text).decode()
    except KeyMissing:
        raise SCIMError(
            503, "paging by cursor needs this installation's encryption key, which is not there; page by startIndex meanwhile"
        ) from None


def _unsealed(settings: Settings, text: str) -> Any:
    if len(text) > _LONGEST:
        return None
    try:
        return json.loads(unseal(settings, (text + "=" * (-len(text) % 4)).encode()))
    except ValueError:
        return None
    except KeyMissing:
        # Said of a missing key and of a text that it did not seal alike; without a key there is nothing to tell.
        _sealed(settings, "")
        return None
