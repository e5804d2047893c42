"""What changed in OpenLDAP: syncrepl (RFC 4533) over its provider overlay, once for people, for groups, and for the tree above them.

To each of these searches the server names as gone whatever changed and does not match, the others' entries among them; and of
what was deleted it keeps the id alone. So a deletion is told for both kinds; keys are never used twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from connectors.source_contract import Change, Cursor, CursorLost, Gone, Kind, SourceKey
from connectors.sources.ldap_filters import below
from connectors.sources.ldap_groups import Nesting
from connectors.sources.ldap_reading import Reading
from connectors.sources.ldap_syncrepl import REQUEST, Refreshed, refresh

TOO_MANY_TO_ASK_FOR = 2000
LISTS = ("people", "groups", "tree")
# Whatever people are below, be it a country, a role or a person; by class where the server does not say who has any below.
TREE = (
    "(|(hasSubordinates=TRUE)(objectClass=organizationalUnit)(objectClass=organization)(objectClass=dcObject)"
    "(objectClass=locality)(objectClass=container))"
)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the three lists of changes stand, and which groups were in which when we last looked: a group that is deleted is cut
    out of those that held it without moving their timestamps."""

    cookies: dict[str, bytes]
    nesting: Nesting

    def written(self) -> Cursor:
        cookies = {name: cookie.decode("latin-1") for name, cookie in self.cookies.items()}
        return Cursor(json.dumps({"cookies": cookies, "holding": sorted(self.nesting.holding), "held": sorted(self.nesting.held)}))


def _read(cursor: str) -> _Place:
    """Raises ValueError, KeyError or AttributeError for what is not a cursor."""
    said = json.loads(cursor)
    return _Place(
        cookies={name: str(said["cookies"][name]).encode("latin-1") for name in LISTS},
        nesting=Nesting(
            holding=frozenset(SourceKey(str(key)) for key in said["holding"]),
            held=frozenset(SourceKey(str(key)) for key in said["held"]),
        ),
    )


def cursor_now(reading: Reading) -> Cursor | None:
    """The state of the database, which the provider overlay keeps as `contextCSN` on its suffix; a cookie is made of it the way
    consumers do. None where it is not shown: without it changes are not told."""
    root = reading.root()
    suffix = max((name for name in root.texts("namingcontexts") if below(reading.people.base, name)), key=len, default="")
    if not suffix or REQUEST not in root.texts("supportedcontrol") or not below(reading.groups.base, suffix):
        return None
    entry = reading.wire.read(suffix, ["contextCSN"])
    states = entry.texts("contextcsn") if entry is not None else []
    if not states:
        return None
    cookie = f"rid=000,csn={';'.join(states)}".encode()
    nesting = Nesting(holding=frozenset(), held=frozenset())
    if reading.settings.with_groups:
        nesting = reading.groups.nesting(reading.context)
    return _Place(cookies=dict.fromkeys(LISTS, cookie), nesting=nesting).written()


def changes_since(reading: Reading, cursor: str) -> Iterator[Change | Cursor]:
    """The last thing that comes is the new cursor."""
    wire, people, groups = reading.wire, reading.people, reading.groups
    try:
        before = _read(cursor)
    except (ValueError, KeyError, AttributeError, TypeError):
        raise CursorLost(f"{wire.name}: the cursor is not one of this source's") from None

    def since(name: str, base: str, filter: str, attributes: list[str]) -> Refreshed:
        return refresh(wire, base, filter, attributes, cookie=before.cookies[name])

    # Every group and every unit, not only ours: one that ours hold may lie elsewhere, and one that was ours may have been moved there.
    context = reading.context
    tree = since("tree", context, TREE, ["entryUUID"])
    if tree.changed:
        # Renaming a unit renames everything below it, and moves none of their timestamps.
        raise CursorLost(f"{wire.name}: the tree of units itself changed")
    moved = since("people", people.base, people.filter, [*people.attributes, "uid"])
    regrouped = since("groups", context, reading.dialect.group_filter, ["entryUUID"])
    after = {"people": moved.cookie, "groups": regrouped.cookie, "tree": tree.cookie}
    changed_groups = {groups.key(entry) for entry in regrouped.changed}
    changed_people = {people.key(entry) for entry in moved.changed}
    yield from (Gone(kind=Kind.PERSON, key=key) for key in moved.gone if key not in changed_groups)
    yield from (reading.person(entry) for entry in moved.changed)
    place = replace(before, cookies=after)
    if reading.settings.with_groups:
        gone = [key for key in regrouped.gone if key not in changed_people]
        yield from (Gone(kind=Kind.GROUP, key=key) for key in gone)
        held_is_gone = not before.nesting.held.isdisjoint(gone)
        if len(moved.changed) > TOO_MANY_TO_ASK_FOR:
            yield from reading.every_group()
        else:
            anew = [*regrouped.changed, *(reading.groups_by_key(before.nesting.holding) if held_is_gone else ())]
            yield from reading.groups_anew(anew, context)
            yield from reading.memberships_of(moved.changed, context)
        if regrouped.changed or held_is_gone:
            place = replace(place, nesting=groups.nesting(context))
    yield place.written()
