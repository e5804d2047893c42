"""How evidence is spelled: one form for each value, digests that only a key opens, and what the parts of an export are called.

Nothing here needs a database, so that whoever checks evidence needs none.
"""

import hmac
import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import orjson

SCHEMA: Final = "doorlist.audit/1"
END: Final = b"doorlist.audit.end/1\n"
"""Stands before what the end of an export signs, so that it can be taken for nothing else that the same key signs."""
MARK: Final = 8
"""Bytes that are kept of the digest of each line: to find which one differs, not to prove that it does."""
_WRITER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_ALIKE: Final = frozenset({str, bool, type(None), int})
"""What is spelled in one way by whoever writes JSON without escapes; a float is not."""
_TEXTS: Final = frozenset({str})


def canonical(value: object) -> bytes:
    """JSON with one spelling for each value: keys in order, nothing between, no escapes but those that JSON needs.

    As RFC 8785 has it for what we write: texts, whole numbers, lists and objects with ASCII keys. Half a surrogate pair,
    which some clients send and no UTF-8 has, is passed on as it is, so that no row is one that cannot be hashed.
    """
    if _is_alike(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except TypeError:
            # Half a surrogate pair, or a number of more than 64 bits.
            pass
    return _WRITER.encode(value).encode("utf-8", "surrogatepass")


def _is_alike(value: object) -> bool:
    """Whether both writers spell a value alike, or the quicker one refuses it."""
    if type(value) is dict:
        return _TEXTS.issuperset(map(type, value)) and _are_alike(value.values())
    if type(value) is list:
        return _are_alike(value)
    return type(value) in _ALIKE


def _are_alike(parts: Collection[object]) -> bool:
    # Most have none that has parts itself.
    return _ALIKE.issuperset(map(type, parts)) or all(map(_is_alike, parts))


def exact(instant: datetime) -> str:
    """An instant to the microsecond, as it was stored."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def key_of(salt: bytes, name: str) -> bytes:
    """Each value has a key of its own, so that one can be shown without the others becoming guessable."""
    return hmac.digest(salt, name.encode(), "sha256")


def digest_of(key: bytes, value: object) -> str:
    """What binds us to a value."""
    return hmac.digest(key, canonical(value), "sha256").hex()
