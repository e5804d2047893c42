"""What changed in 389 Directory Server: its retro changelog (draft-good-ldap-changelog), with `nsuniqueid:targetUniqueId` kept in it.

Its content synchronization (RFC 4533) is not used: there the server announces a present phase and names nobody in it, which
read by the letter says that everybody is gone.
"""

from __future__ import annotations

from collections.abc import Iterator

from connectors.contract import Misconfigured, Unauthorised
from connectors.source_contract import Change, Cursor, CursorLost, Gone, Kind, SourceKey
from connectors.sources.ldap_filters import below, equals
from connectors.sources.ldap_reading import Reading
from connectors.sources.ldap_wire import Entry

CHANGELOG = "cn=changelog"
# Never `changes`: what was written may be a password.
ATTRIBUTES = ("changeNumber", "changeType", "targetDn", "targetUniqueId", "changeTime")
NUMBERS = ("firstChangeNumber", "lastChangeNumber")


def cursor_now(reading: Reading) -> str | None:
    """None where there is no changelog for us, or it does not keep whom a change was about."""
    number = reading.wire.root(NUMBERS).number("lastchangenumber")
    if number is None:
        return None
    try:
        last = next(iter(reading.wire.pages(CHANGELOG, equals("changeNumber", str(number)), ATTRIBUTES)), None)
    except (Unauthorised, Misconfigured):
        return None
    if last is None:
        # All of it was trimmed, or we may not read it; the root says only that there is one.
        readable = reading.wire.read(CHANGELOG, ["1.1"]) is not None
        return f"{number}:" if readable and number == 0 else None
    return f"{number}:{_proof(last)}" if last.text("targetuniqueid") else None


def changes_since(reading: Reading, cursor: str) -> Iterator[Change | Cursor]:
    """The last thing that comes is the new cursor."""
    number, proof, name = *_parted(reading, cursor), reading.wire.name
    records = []
    for record in reading.wire.pages(CHANGELOG, f"(changeNumber>={number})", ATTRIBUTES):
        if record.number("changenumber") is not None:
            records.append(record)
    records.sort(key=lambda record: record.number("changenumber") or 0)
    if proof:
        # Each server numbers by itself. Only the one that wrote our last record has it there.
        if not records or records[0].number("changenumber") != number or _proof(records[0]) != proof:
            raise CursorLost(f"{name}: change {number} is not in the changelog as it was: trimmed, or another server answers")
        del records[0]
    for expected, record in enumerate(records, start=number + 1):
        if record.number("changenumber") != expected or not record.text("targetuniqueid"):
            raise CursorLost(f"{name}: change {expected} is missing in the changelog, or does not say whom it is about")
    yield from _told(reading, records)
    yield Cursor(f"{records[-1].number('changenumber')}:{_proof(records[-1])}" if records else cursor)


def _parted(reading: Reading, cursor: str) -> tuple[int, str]:
    number, _, proof = cursor.partition(":")
    if not (number.isascii() and number.isdigit()):
        raise CursorLost(f"{reading.wire.name}: the cursor is not one of this source's")
    return int(number), proof


def _proof(record: Entry) -> str:
    return f"{record.text('changetime')}/{record.text('targetuniqueid')}"


def _told(reading: Reading, records: list[Entry]) -> Iterator[Change]:
    about: dict[SourceKey, list[Entry]] = {}
    for record in records:
        about.setdefault(SourceKey(record.text("targetuniqueid").lower()), []).append(record)
    context = reading.context
    people, groups, left = [], [], []
    for key, told in about.items():
        if (person := reading.entry_of(key)) is not None:
            people.append(person)
        elif found := list(reading.groups_by_key([key])):
            # Every group, not only ours: one that ours hold may lie elsewhere.
            groups += found
        elif any(below(record.text("targetdn"), base) for record in told for base in (reading.people.base, reading.groups.base)):
            if told[-1].text("changetype").lower() != "delete":
                reading.require_that_it_shows(key)
            if any(_renames(record) for record in told):
                _require_a_leaf(reading, key, context)
            left += [record.text("targetdn") for record in told]
            # Of what kind it was is not kept; keys are never used twice.
            yield from (Gone(kind=kind, key=key) for kind in Kind)
    yield from (reading.person(entry) for entry in people)
    if reading.settings.with_groups:
        # Groups may go on naming what has left, or was renamed: then nothing says that they changed.
        left += [record.text("targetdn") for told in about.values() for record in told if _renames(record)]
        holding = [group for dn in dict.fromkeys(left) for group in reading.groups.holding(dn, context).values()]
        yield from reading.groups_anew([*groups, *holding], context)
        yield from reading.memberships_of(people, context)


def _renames(record: Entry) -> bool:
    return record.text("changetype").lower() == "modrdn"


def _require_a_leaf(reading: Reading, key: SourceKey, context: str) -> None:
    """Renaming what has entries below it renames them all, and only the one is in the changelog."""
    for entry in reading.wire.pages(context, reading.dialect.key_filter(key), ["numSubordinates"]):
        if entry.number("numsubordinates"):
            raise CursorLost(f"{reading.wire.name}: the tree around {entry.dn} itself changed")
