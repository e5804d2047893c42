"""What changed in Active Directory: DirSync (MS-ADTS §3.1.1.3.4.1.3), or uSNChanged where the account may not.

Both only say *which* entries changed; each is then read anew, so that base and filter hold, and a person is always told whole.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from connectors.contract import Misconfigured, Unauthorised, Unreachable
from connectors.source_contract import Change, Cursor, CursorLost, Gone, Incomplete, Kind, Memberships, SourceKey
from connectors.sources.ldap_ber import OCTETS, SEQUENCE, integer, tlv
from connectors.sources.ldap_filters import below, both, equals
from connectors.sources.ldap_reading import Reading
from connectors.sources.ldap_wire import Entry

DIRSYNC = "1.2.840.113556.1.4.841"
EXTENDED_DN = "1.2.840.113556.1.4.529"
SHOW_DELETED = "1.2.840.113556.1.4.417"
INCREMENTAL_VALUES = -0x80000000
OBJECT_SECURITY = 0x1
LONGEST_ANSWER = 0x7FFFFFFF
ADDED, REMOVED = "member;range=1-1", "member;range=0-0"
# People are in units and in plain containers; those of group policies, which change often, hold nobody.
TREE = "(objectClass=organizationalUnit)(&(objectClass=container)(!(objectClass=groupPolicyContainer)))"
WATCHED = f"(|(&(objectClass=user)(!(objectClass=computer)))(objectClass=group){TREE})"
DELETED_OBJECTS = "(&(isDeleted=TRUE)(objectClass=container))"
_GUID = re.compile(r"<GUID=([0-9a-fA-F-]+)>")


@dataclass(kw_only=True)
class Moved:
    """What the change log said, by key."""

    people: dict[SourceKey, None] = field(default_factory=dict)
    groups: dict[SourceKey, None] = field(default_factory=dict)
    gone: list[Gone] = field(default_factory=list)
    # Of a group: whom it named, whom it does not any more. None where it must be read whole.
    deltas: dict[SourceKey, tuple[set[SourceKey], set[SourceKey]] | None] = field(default_factory=dict)
    tree: bool = False


def cursor_now(reading: Reading) -> str | None:
    """By itself only a way that tells deletions too is taken: an account that does not see deleted objects would never hear of
    them. Whoever sets `dirsync` or `usn` takes it as it is, and leaves deletions to full listings."""
    how = reading.settings.changes
    for flags in (INCREMENTAL_VALUES, INCREMENTAL_VALUES | OBJECT_SECURITY) if how in ("auto", "dirsync") else ():
        try:
            cookie, shown = _dirsync_now(reading, flags)
        except (Unauthorised, Misconfigured):
            continue
        if shown or (how == "dirsync" and flags & OBJECT_SECURITY):
            return _dirsync_cursor(flags, cookie)
    if how == "usn" or (how == "auto" and _shows_deleted(reading)):
        number = reading.wire.root(["highestCommittedUSN"]).number("highestcommittedusn")
        return None if number is None else f"usn:{_server(reading)}:{number}"
    return None


def changes_since(reading: Reading, cursor: str) -> Iterator[Change | Cursor]:
    """The last thing that comes is the new cursor."""
    how, _, rest = cursor.partition(":")
    first, _, second = rest.partition(":")
    try:
        if how == "dirsync":
            moved, after = _dirsync(reading, int(first), base64.b64decode(second, validate=True))
        elif how == "usn":
            moved, after = _usn(reading, first, int(second))
        else:
            raise ValueError(how)
    except ValueError:
        raise CursorLost(f"{reading.wire.name}: the cursor is not one of this source's") from None
    if moved.tree:
        raise CursorLost(f"{reading.wire.name}: the tree of units and containers itself changed")
    yield from moved.gone
    changed = []
    gone = {told.key for told in moved.gone}
    for key in (key for key in moved.people if key not in gone):
        if (entry := reading.entry_of(key)) is None:
            reading.require_that_it_shows(key)
            yield Gone(kind=Kind.PERSON, key=key)
        else:
            changed.append(entry)
            yield reading.person(entry)
    if reading.settings.with_groups:
        context = _context(reading)
        anew = []
        for key in (key for key in moved.groups if key not in gone):
            if (group := _group(reading, key, context)) is None:
                reading.require_that_it_shows(key)
                yield Gone(kind=Kind.GROUP, key=key)
            elif (delta := moved.deltas.get(key)) is not None and _stands_alone(reading, group, context, delta):
                kept = frozenset(person for person in delta[1] if _by_primary_group(reading, person, group))
                told = Memberships(group=key, added=_ours(reading, delta[0]), removed=frozenset(delta[1]) - kept)
                if told.added or told.removed:
                    yield told
            else:
                anew.append(group)
        yield from reading.groups_anew(anew, context)
        if any(gone.kind is Kind.GROUP for gone in moved.gone):
            # Which groups held it is not told.
            yield from reading.every_group()
        yield from reading.memberships_of(changed, context)
        yield from _primary_groups(reading, changed, context)
    yield Cursor(after)


def _dirsync_now(reading: Reading, flags: int) -> tuple[bytes, bool]:
    """A cookie that stands at now, and whether deleted objects are shown. Asked for is the one object that is always among them,
    their container; everything else is passed over by the server."""
    cookie, more, shown = b"", True, False
    while more:
        entries, cookie, more = _page(reading, flags, cookie, DELETED_OBJECTS, ["isDeleted"])
        shown = shown or bool(entries)
    return cookie, shown


def _shows_deleted(reading: Reading) -> bool:
    return any(True for _ in reading.wire.pages(_context(reading), DELETED_OBJECTS, ["1.1"], controls=[(SHOW_DELETED, True, None)]))


def _dirsync_cursor(flags: int, cookie: bytes) -> str:
    return f"dirsync:{flags}:{base64.b64encode(cookie).decode()}"


def _dirsync(reading: Reading, flags: int, cookie: bytes) -> tuple[Moved, str]:
    moved, more = Moved(), True
    classes: dict[SourceKey, frozenset[str]] = {}
    # Names and places too: whoever moves may come into our range, or leave it.
    asked = [*reading.people.attributes, *reading.groups.attributes, "name", "sAMAccountName", "isDeleted", "objectClass", "objectCategory"]
    while more:
        try:
            entries, cookie, more = _page(reading, flags, cookie, WATCHED, list(dict.fromkeys(asked)))
        except (Misconfigured, Unauthorised, Incomplete) as error:
            # The cookie is not accepted, or the right to ask was taken away: everything can still be read.
            raise CursorLost(f"{reading.wire.name}: DirSync does not go on: {error}") from None
        for entry in entries:
            key = reading.groups.key(entry)
            _note(moved, entry, key, _classes(reading, entry, key, classes))
    return moved, _dirsync_cursor(flags, cookie)


def _classes(reading: Reading, entry: Entry, key: SourceKey, known: dict[SourceKey, frozenset[str]]) -> frozenset[str]:
    """Of what kind it is. Only for what is new does the change itself say so."""
    if key not in known:
        found: Entry | None = entry
        if not entry.values.get("objectclass"):
            asked = reading.wire.pages(
                _context(reading), reading.dialect.key_filter(key), ["objectClass"], controls=[(SHOW_DELETED, True, None)]
            )
            found = next(iter(asked), None)
        known[key] = frozenset(name.lower() for name in found.texts("objectclass")) if found is not None else frozenset()
    return known[key]


def _is_deleted(entry: Entry) -> bool:
    return entry.text("isdeleted").upper() == "TRUE"


def _page(reading: Reading, flags: int, cookie: bytes, filter: str, attributes: list[str]) -> tuple[list[Entry], bytes, bool]:
    wanted = tlv(SEQUENCE, integer(flags) + integer(LONGEST_ANSWER) + tlv(OCTETS, cookie))
    controls = [(DIRSYNC, True, wanted), (EXTENDED_DN, True, tlv(SEQUENCE, integer(1))), (SHOW_DELETED, True, None)]
    answer = reading.wire.search(_context(reading), filter, attributes, controls=controls)
    done = answer.controls.get(DIRSYNC)
    if not isinstance(done, dict) or not done.get("cookie"):
        raise Unreachable(f"{reading.wire.name}: DirSync answered without a cookie", sent=True)
    return answer.entries, bytes(done["cookie"]), bool(done["more_results"])


def _note(moved: Moved, entry: Entry, key: SourceKey, classes: frozenset[str]) -> None:
    if classes & {"organizationalunit", "container"}:
        moved.tree = True
    elif _is_deleted(entry):
        moved.gone.append(Gone(kind=Kind.GROUP if "group" in classes else Kind.PERSON, key=key))
    elif "group" in classes:
        moved.groups[key] = None
        added, removed = _guids(entry, ADDED), _guids(entry, REMOVED)
        before = moved.deltas.get(key, (set(), set()))
        # A name in the delta says that the group is new, or renamed: then it is told whole.
        if before is None or not (added or removed) or {"cn", "name"} & set(entry.values) or "member" in entry.values:
            moved.deltas[key] = None
        else:
            moved.deltas[key] = ((before[0] - removed) | added, (before[1] - added) | removed)
    else:
        moved.people[key] = None


def _guids(entry: Entry, attribute: str) -> set[SourceKey]:
    found = (_GUID.search(text) for text in entry.texts(attribute))
    return {SourceKey(str(uuid.UUID(match[1]))) for match in found if match}


def _usn(reading: Reading, server: str, number: int) -> tuple[Moved, str]:
    """uSNChanged counts on each domain controller by itself: another one, or one that was set back, knows nothing of our number."""
    wire = reading.wire
    now = wire.root(["highestCommittedUSN"]).number("highestcommittedusn")
    if now is None or now < number or _server(reading) != server:
        raise CursorLost(f"{wire.name}: another domain controller answers, or this one was set back")
    moved, since = Moved(), f"(uSNChanged>={number + 1})"
    watched, key = both(WATCHED, since), reading.groups.key
    for entry in wire.pages(_context(reading), watched, ["objectGUID", "objectClass"]):
        _note(moved, entry, key(entry), frozenset(name.lower() for name in entry.texts("objectclass")))
    try:
        # Deleted objects keep their class, and only what they need to be told by.
        deleted = both(WATCHED, "(isDeleted=TRUE)", since)
        for entry in wire.pages(
            _context(reading), deleted, ["objectGUID", "objectClass", "isDeleted"], controls=[(SHOW_DELETED, True, None)]
        ):
            _note(moved, entry, key(entry), frozenset(name.lower() for name in entry.texts("objectclass")))
    except (Unauthorised, Misconfigured):
        pass  # Then deletions are only found by the next full listing; `check` says so.
    return moved, f"usn:{server}:{now}"


def _server(reading: Reading) -> str:
    """This domain controller's database, by the id that changes when it is restored."""
    service = reading.wire.root(["dsServiceName"]).text("dsservicename")
    entry = reading.wire.read(service, ["invocationId"]) if service else None
    found = entry.values.get("invocationid") if entry is not None else None
    return base64.urlsafe_b64encode(found[0] if found else service.encode()).decode().rstrip("=")


def _context(reading: Reading) -> str:
    """DirSync wants a naming context, and no part of one."""
    found = [name for name in reading.root().texts("namingcontexts") if below(reading.people.base, name)]
    if not found:
        raise Misconfigured(f"{reading.wire.name}: {reading.people.base} is in no naming context of this server")
    return max(found, key=len)


def _group(reading: Reading, key: SourceKey, context: str) -> Entry | None:
    filter = both(reading.dialect.key_filter(key), reading.dialect.group_filter)
    return next(iter(reading.wire.pages(context, filter, ["objectGUID", "objectSid", "cn"])), None)


def _stands_alone(reading: Reading, group: Entry, context: str, delta: tuple[set[SourceKey], set[SourceKey]]) -> bool:
    """Is its own list all that there is to it? No groups in it, none of those named in the delta, and none that hold it."""
    groups = reading.groups
    nested = both(reading.dialect.group_filter, equals("memberOf", group.dn))
    return (
        groups.is_ours(group)
        and not any(True for _ in reading.wire.pages(context, nested, ["1.1"]))
        and not groups.holding(group.dn, context)
        and not any(_group(reading, key, context) for key in delta[0] | delta[1])
    )


def _ours(reading: Reading, keys: set[SourceKey]) -> frozenset[SourceKey]:
    return frozenset(key for key in keys if reading.entry_of(key) is not None)


def _by_primary_group(reading: Reading, person: SourceKey, group: Entry) -> bool:
    """Whoever makes a group their primary one is taken off its list by the server, and is in it all the same."""
    entry, sid = reading.entry_of(person), group.values.get("objectsid")
    return entry is not None and bool(sid) and entry.number("primarygroupid") == int.from_bytes((sid or [b""])[0][-4:], "little")


def _primary_groups(reading: Reading, people: list[Entry], context: str) -> Iterator[Memberships]:
    by_number: dict[int, set[SourceKey]] = {}
    for entry in people:
        if (number := entry.number("primarygroupid")) is not None:
            by_number.setdefault(number, set()).add(reading.people.key(entry))
    if not by_number:
        return
    for group in reading.wire.pages(context, reading.dialect.group_filter, ["objectGUID", "objectSid", "cn"]):
        sid = group.values.get("objectsid")
        members = by_number.get(int.from_bytes(sid[0][-4:], "little")) if sid else None
        if members:
            for found in (group, *reading.groups.above([group.dn], context).values()):
                if reading.groups.is_ours(found):
                    yield Memberships(group=reading.groups.key(found), added=frozenset(members))
