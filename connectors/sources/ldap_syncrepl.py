"""LDAP content synchronization, refreshOnly (RFC 4533): what changed since a cookie. ldap3 passes these controls on unread."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from connectors.contract import Unreachable
from connectors.source_contract import CursorLost, Incomplete, SourceKey
from connectors.sources.ldap_ber import BOOLEAN, ENUMERATED, OCTETS, SEQUENCE, SET, items, tlv
from connectors.sources.ldap_wire import Entry, Wire

REQUEST = "1.3.6.1.4.1.4203.1.9.1.1"
STATE = "1.3.6.1.4.1.4203.1.9.1.2"
DONE = "1.3.6.1.4.1.4203.1.9.1.3"

_NEW_COOKIE, _REFRESH_DELETE, _REFRESH_PRESENT, _ID_SET = 0x80, 0xA1, 0xA2, 0xA3
_PRESENT, _ADD, _MODIFY, _DELETE = range(4)


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What changed, what is gone, and where that leaves us."""

    changed: list[Entry]
    gone: list[SourceKey]
    cookie: bytes


def refresh(wire: Wire, base: str, filter: str, attributes: Iterable[str], *, cookie: bytes) -> Refreshed:
    """Raises CursorLost where the server names what *is there* instead of what is gone (its present phase, RFC 4533 §3.3.2): it has
    forgotten what was deleted since, as after a restart. Nothing is ever taken for gone because it was not named: one server
    (389-ds) says so of a present phase in which it names nobody. Also where it is behind the cookie, or has more to tell than one
    search may bring.
    """
    value = tlv(SEQUENCE, tlv(ENUMERATED, b"\x01") + tlv(OCTETS, cookie))
    try:
        answer = wire.search(base, filter, attributes, controls=[(REQUEST, True, value)])
    except Incomplete as error:
        # OpenLDAP calls itself unwilling where it was set back to a backup; and of changes there are no pages, but of a listing there are.
        raise CursorLost(str(error)) from None
    try:
        return _read(wire.name, base, answer.entries, answer.told, _octets(answer.controls.get(DONE)), cookie)
    except (IndexError, ValueError, KeyError, StopIteration) as error:
        raise Unreachable(f"{wire.name}: the answer about changes below {base} is garbled ({type(error).__name__})", sent=True) from None


def _read(name: str, base: str, entries: list[Entry], told: list[bytes], done: bytes, before: bytes) -> Refreshed:
    changed, gone = [], []
    lists_what_is_there = False
    for entry in entries:
        state, key = _state(entry.controls[STATE])
        if state == _DELETE:
            gone.append(key)
        elif state == _PRESENT:
            lists_what_is_there = True
        else:
            changed.append(entry)
    cookie = before
    for message in told:
        kind, content = next(items(message))
        if kind == _NEW_COOKIE:
            cookie = content
            continue
        parts = list(items(content))
        cookie = next((part for tag, part in parts if tag == OCTETS), cookie)
        if kind == _REFRESH_PRESENT:
            lists_what_is_there = True
        elif kind == _ID_SET:
            # refreshDeletes is FALSE unless it is said (RFC 4533 §2.5).
            if any(tag == BOOLEAN and part != b"\0" for tag, part in parts):
                gone += [_key(part) for tag, ids in parts if tag == SET for _, part in items(ids)]
            else:
                lists_what_is_there = True
    refresh_deletes = False
    if done:
        for tag, part in items(next(items(done))[1]):
            if tag == OCTETS:
                cookie = part
            elif tag == BOOLEAN:
                refresh_deletes = part != b"\0"
    if lists_what_is_there or (not refresh_deletes and cookie != before):
        raise CursorLost(f"{name}: the server no longer knows what was deleted below {base} (its session log was lost, or is too short)")
    return Refreshed(changed=changed, gone=gone, cookie=cookie)


def _state(control: bytes) -> tuple[int, SourceKey]:
    parts = list(items(next(items(control))[1]))
    return parts[0][1][0], _key(parts[1][1])


def _key(value: bytes) -> SourceKey:
    return SourceKey(str(uuid.UUID(bytes=bytes(value))))


def _octets(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""
