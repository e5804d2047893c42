"""What a mapping would make of real people, before anybody is pulled by it. Asks the source and reads the directory; writes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.directory.names import name_key
from app.directory.tables import Record, Source
from app.intake.mapping import PersonMapping, Unmappable, what_becomes
from app.intake.mapping_places import Place, Way, read
from app.lifecycle.people import find_people
from app.lifecycle.pulled_tables import PulledEntry
from connectors.contract import ConnectorError
from connectors.source_contract import Source as Connected
from connectors.source_contract import SourceKey, SourcePerson


@dataclass(frozen=True, kw_only=True)
class Becomes:
    """One attribute of one person, as the source has it and as it would be kept; None where there is none."""

    attribute: str
    before: Any
    after: Any

    @property
    def changed(self) -> bool:
        return bool(self.before != self.after)


@dataclass(frozen=True, kw_only=True)
class Previewed:
    """One person, with every attribute that is mapped; or why they would be set aside."""

    key: str
    user_name: str
    becomes: tuple[Becomes, ...] = ()
    attribute: str | None = None
    problem: str | None = None


def preview(compiled: PersonMapping, person: SourcePerson) -> Previewed:
    """What would become of somebody."""
    try:
        values = what_becomes(compiled, person)
    except Unmappable as error:
        return Previewed(key=person.key, user_name=person.user_name, attribute=error.attribute, problem=error.reason)
    becomes = tuple(Becomes(attribute=place.path, before=_before(place, person), after=value) for place, value in values)
    return Previewed(key=person.key, user_name=person.user_name, becomes=becomes)


def _before(place: Place, person: SourcePerson) -> Any:
    match place.way:
        case Way.USER_NAME:
            return person.user_name
        case Way.EXTERNAL_ID:
            return person.external_id
        case Way.ACTIVE:
            return person.active
        case _:
            return read(place, person.document)


def some_people(connected: Connected, most: int) -> Iterator[SourcePerson]:
    """The first that the source lists. Raises ConnectorError."""
    return islice(connected.list_people(), most)


def people_named(connected: Connected, named: Sequence[str], keys: dict[str, SourceKey]) -> dict[str, SourcePerson | None]:
    """Each of these, as the source has them now: by the key that is known of them, by the source's own key, or by userName or e-mail.

    The last takes a listing, up to the last of them. None is whom the source does not have. Raises ConnectorError.
    """
    found = {text: _asked(connected, keys.get(text), text) for text in named}
    waiting = {name_key(text): text for text, person in found.items() if person is None and text not in keys}
    if waiting:
        for person in connected.list_people():
            for name in _names_of(person) & waiting.keys():
                found[waiting.pop(name)] = person
            if not waiting:
                break
    return found


def known_keys(session: Session, source: Source, named: Sequence[str]) -> dict[str, SourceKey]:
    """The source's keys of those who are people here already, by how they were named; who fits several people is left out."""
    found: dict[str, SourceKey] = {}
    for text in named:
        people = find_people(session, source.organization_id, text)
        if len(people) != 1:
            continue
        key = session.scalar(
            select(PulledEntry.key)
            .join(Record, (Record.organization_id == PulledEntry.organization_id) & (Record.id == PulledEntry.subject_id))
            .where(
                PulledEntry.organization_id == source.organization_id, PulledEntry.source_id == source.id, PulledEntry.kind == "person",
                Record.person_id == people[0].id, Record.ended_at.is_(None),
            )
            .order_by(PulledEntry.key).limit(1)
        )  # fmt: skip
        if key is not None:
            found[text] = SourceKey(key)
    return found


def _asked(connected: Connected, key: SourceKey | None, text: str) -> SourcePerson | None:
    if key is not None:
        return connected.find_person(key)
    try:
        return connected.find_person(SourceKey(text))
    except ConnectorError:
        # A name may be no key that the source can read. Whatever else is wrong, the listing that follows says.
        return None


def _names_of(person: SourcePerson) -> set[str]:
    emails = person.document.get("emails")
    addresses = [one.get("value") for one in emails if isinstance(one, dict)] if isinstance(emails, list) else []
    return {name_key(name) for name in (person.user_name, *addresses) if isinstance(name, str)}
