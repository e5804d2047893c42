"""Trying an LDAP source: connect, bind, search, count, each with its own outcome and in an administrator's words."""

from __future__ import annotations

import time
from collections.abc import Callable

from connectors.contract import ConnectorError, Misconfigured
from connectors.source_contract import Cursor, Incomplete, SourceCheck, Step
from connectors.sources.ldap_dialects import ROOT_ATTRIBUTES, Dialect, dialect_of
from connectors.sources.ldap_reading import Clock, Reading
from connectors.sources.ldap_settings import Settings
from connectors.sources.ldap_wire import Entry, Wire

NAMES = {"openldap": "OpenLDAP", "ad": "Active Directory", "389ds": "389 Directory Server"}
NO_CHANGES = {
    "openldap": "the overlay syncprov is not there, or contextCSN is not shown to the bind account",
    "ad": "deleted objects are not shown to the bind account, so deletions would never be heard of",
    "389ds": "there is no retro changelog with targetUniqueId that the bind account may read",
}


class _Steps:
    def __init__(self) -> None:
        self.taken: list[Step] = []

    def take(self, name: str, act: Callable[[], str]) -> bool:
        began = time.monotonic()
        try:
            good, detail = True, act()
        except ConnectorError as error:
            good, detail = False, str(error)
        self.taken.append(Step(name=name, good=good, detail=detail, milliseconds=round((time.monotonic() - began) * 1000)))
        return good


def inspect(settings: Settings, dialect: Dialect | None, *, cursor_now: Callable[[Reading], Cursor], clock: Clock) -> SourceCheck:
    """Reads, and changes nothing. Stops at the first step that fails."""
    wire, steps, place = Wire(settings.place), _Steps(), settings.place
    found: dict[str, int] = {}
    cost = ""

    def connect() -> str:
        wire.open()
        how = "TLS, certificate verified" if place.tls or place.start_tls else "NOT ENCRYPTED: the password goes in the clear"
        return f"{place.host}:{place.port}, {how}"

    def bind() -> str:
        wire.bind()
        return f"as {place.bind_dn}"

    def search() -> str:
        reading = opened()
        for base in dict.fromkeys((reading.people.base, reading.groups.base)):
            if wire.read(base, ["1.1"]) is None:
                raise Misconfigured(f"{wire.name}: {base} is not there, or is not shown to the bind account")
        first = wire.search(reading.people.base, reading.people.filter, reading.people.attributes, limit=1).entries
        if not first:
            reading.require_that_nobody_is_there()
            return f"{NAMES[reading.dialect.kind]}; nobody is below {reading.people.base} yet"
        person = reading.person(first[0])
        return f"{NAMES[reading.dialect.kind]}; for example {person.user_name}, {'on' if person.active else 'off'}, with id {person.key}"

    def count() -> str:
        nonlocal cost
        reading, began, nameless, off = opened(), time.monotonic(), 0, 0
        found["people"] = 0
        for entry in wire.pages(reading.people.base, reading.people.filter, reading.people.attributes):
            person = reading.people.person(entry, manager=None, at=clock())
            found["people"] += 1
            off += not person.active
            nameless += person.user_name == person.key
        took = time.monotonic() - began
        if settings.with_groups:
            found["groups"] = sum(1 for _ in wire.pages(reading.groups.base, reading.groups.filter, ["1.1"]))
        told = cursor_now(reading)
        why = "switched off" if settings.changes == "none" else NO_CHANGES[reading.dialect.kind]
        changes = f"changes are not told ({why}): every pull is a full listing"
        if told != "none":
            changes = "changes are told"
            if reading.dialect.kind == "ad" and settings.changes != "auto":
                changes += f" by {settings.changes}, deletions only where deleted objects are shown to the bind account"
        cost = f"a full listing reads {found['people']} people in about {took:.1f} s; {changes}"
        hidden = _hidden(reading)
        return f"{found['people']} people, {off} of them off, {nameless} without a name; {found.get('groups', 0)} groups{hidden}"

    def opened() -> Reading:
        return Reading(wire, settings, dialect or dialect_of(wire.root(ROOT_ATTRIBUTES)), clock=clock)

    try:
        all(steps.take(step.__name__, step) for step in (connect, bind, search, count))
    finally:
        wire.close()
    return SourceCheck(steps=tuple(steps.taken), people=found.get("people"), groups=found.get("groups"), cost=cost)


def _hidden(reading: Reading) -> str:
    """Where the server counts what is below the base (389-ds), whether more is there than is shown."""
    base: Entry | None = reading.wire.read(reading.people.base, ["numSubordinates"])
    said = base.number("numsubordinates") if base is not None else None
    if said is None:
        return ""
    try:
        shown = sum(1 for _ in reading.wire.pages(reading.people.base, "(objectClass=*)", ["1.1"], children=True))
    except Incomplete:
        return ""
    return f"; {said - shown} entries right below {reading.people.base} are not shown to the bind account" if shown < said else ""
