"""Whose is this record? One person's, nobody's whom we know, or that is in doubt: then somebody is asked, and nothing is guessed."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.directory.finding import ever_named
from app.directory.names import name_key
from app.directory.settings import matching_keys, value_of
from app.directory.tables import Person, Record, RecordEmail, Source, Standing
from app.lifecycle.drafts import RecordDraft, addresses_of, number_of
from app.lifecycle.key_locks import NUMBER, hold_keys
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry

BY_SIGN_IN: Final = "sign-in"
"""The kind of source that stands for people who joined by signing in. Nobody is joined to them: no directory speaks of them."""
SHOWN: Final = 5
"""Of more candidates than this only so many are named."""


@dataclass(frozen=True, kw_only=True)
class One:
    """Exactly this person, and nothing speaks against it. `by` is what named them."""

    person_id: str
    by: str


@dataclass(frozen=True, kw_only=True)
class Nobody:
    """Nobody whom we know: they join as a person of their own."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Somebody who may be meant, and why."""

    person_id: str
    because: str


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """`reason` is a sentence for an administrator, without its full stop."""

    reason: str
    candidates: tuple[Candidate, ...]


Match = One | Nobody | Doubt


def whom(session: Session, organization_id: str, source_id: str, draft: RecordDraft, *, key: str | None = None, given: str | None = None) -> Match:
    """Who is meant by what a source says of somebody for the first time.

    `key` is what a pulled source calls the entry for ever: whoever it meant before, it means now. Else the organisation's own
    keys are asked in turn, and the first that anybody has decides: it is theirs where they are the only one and nothing
    contradicts. Never by an address or a name alone, unless the organisation chose that. `given` is the record that somebody
    else may have had until now. Only reads; whoever goes by the answer calls `hold` before.
    """
    known = None if key is None else _of_key(session, organization_id, source_id, key)
    if known is not None:
        return One(person_id=known, by="key")
    for chosen in matching_keys(value_of(session, organization_id, "matching")):
        named = _values(draft, chosen)
        ids = session.scalars(_having(organization_id, chosen, named).distinct().order_by(Record.person_id).limit(SHOWN + 1)).all() if named else []
        if len(ids) > 1:
            return _several(ids, f"{_WORDS[chosen]} {_listed(named)}")
        if ids:
            return _of_one(session, organization_id, source_id, draft, ids[0], by=chosen, given=given)
    return Nobody()


def hold(session: Session, organization_id: str, drafts: Iterable[RecordDraft]) -> None:
    """Hold what these say for the organisation's keys: of two who join by one at the same time the second finds the first.

    And the employee number, whatever the keys are: an HR call may wait for it. To be called before anybody's row is held.
    """
    keys = {*matching_keys(value_of(session, organization_id, "matching")), NUMBER}
    hold_keys(session, organization_id, ((key, value) for draft in drafts for key in keys for value in _values(draft, key)))


_WORDS: Final = {"employeeNumber": "employee number", "email": "the address", "userName": "the name"}


def _of_key(session: Session, organization_id: str, source_id: str, key: str) -> str | None:
    """Whose the record is that this entry was; an ended one too, for an entry that was gone and is there again."""
    return session.scalar(
        select(Record.person_id)
        .join(PulledEntry, (PulledEntry.organization_id == Record.organization_id) & (PulledEntry.subject_id == Record.id))
        .where(
            PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id, PulledEntry.key == key,
            PulledEntry.kind.in_((EntryKind.PERSON, EntryKind.GONE_PERSON)),
        )
        # At most one is there of either kind; one that stands says more than one that went.
        .order_by(PulledEntry.kind.desc())
        .limit(1)
    )  # fmt: skip


def _values(draft: RecordDraft, chosen: str) -> Collection[str]:
    if chosen == "employeeNumber":
        number = number_of(draft)
        return [] if number is None else [number]
    return addresses_of(draft) if chosen == "email" else [name_key(draft.user_name)]


def _having(organization_id: str, chosen: str, named: Collection[str]) -> Select[str]:
    """The people who have one of these, by any record of theirs, an ended one too."""
    query = (
        select(Record.person_id)
        .join(Source, (Source.organization_id == Record.organization_id) & (Source.id == Record.source_id))
        .where(Record.organization_id == organization_id, Source.kind != BY_SIGN_IN)
    )
    if chosen == "employeeNumber":
        return query.where(Record.employee_number.in_(named))
    if chosen == "userName":
        return query.where(ever_named(organization_id, Record.user_name_key, named))
    return query.where(
        Record.id.in_(select(RecordEmail.record_id).where(RecordEmail.organization_id == organization_id, RecordEmail.address_key.in_(named)))
    )


def _several(ids: Sequence[str], what: str) -> Doubt:
    count = str(len(ids)) if len(ids) <= SHOWN else f"more than {SHOWN}"
    because = f"has {what}"
    return Doubt(
        reason=f"{count} people have {what}", candidates=tuple(Candidate(person_id=person_id, because=because) for person_id in ids[:SHOWN])
    )


def _of_one(session: Session, organization_id: str, source_id: str, draft: RecordDraft, person_id: str, *, by: str, given: str | None) -> Match:
    """Exactly one person has the key. What speaks against their being the one?"""
    person = session.get_one(Person, (organization_id, person_id))
    against = _contradiction(session, person, source_id, draft, by=by, given=given)
    if against is None:
        return One(person_id=person_id, by=by)
    because = f"has {_WORDS[by]} {_listed(_values(draft, by))}"
    others = _others_of_addresses(session, organization_id, draft, but=person_id) if by == "employeeNumber" else []
    candidates = [Candidate(person_id=person_id, because=because), *(Candidate(person_id=one, because="has the address") for one in others)]
    return Doubt(reason=against, candidates=tuple(candidates))


def _contradiction(session: Session, person: Person, source_id: str, draft: RecordDraft, *, by: str, given: str | None) -> str | None:
    what = f"{_WORDS[by]} {_listed(_values(draft, by))}"
    theirs = session.execute(
        select(Record.id, Record.source_id, Record.employee_number, Record.user_name_key, Record.ended_at).where(
            Record.organization_id == person.organization_id, Record.person_id == person.id
        )
    ).all()
    if by != "employeeNumber":
        # A number is for one human being and for life. Names and addresses are given again: to whom they belong is only clear
        # while the one who had them is here, and nothing tells the two apart.
        number, numbers = number_of(draft), {one.employee_number for one in theirs if one.employee_number is not None}
        if person.standing == Standing.DEPARTED:
            return f"{what} belonged to {person.user_name}, who has left"
        if number is not None and numbers and number not in numbers:
            return f"{what} belongs to {person.user_name}, who has another employee number"
        here = {one.id for one in theirs if one.source_id == source_id and one.ended_at is None}
        if here == {given}:
            return f"{what} belongs to {person.user_name}, who had this user under another externalId until now"
        if here:
            return f"{what} belongs to {person.user_name}, who has another account in this directory"
    said = addresses_of(draft)
    known = {one.user_name_key for one in theirs if "@" in one.user_name_key} | set(
        session.scalars(
            select(RecordEmail.address_key).where(
                RecordEmail.organization_id == person.organization_id, RecordEmail.record_id.in_([one.id for one in theirs])
            )
        )
    )
    if said and not said & known:
        if known:
            return f"{what} belongs to {person.user_name}, whose addresses are others"
        if by == "employeeNumber" and _others_of_addresses(session, person.organization_id, draft, but=person.id):
            return f"{what} belongs to {person.user_name}, but the address to somebody else"
    return None


def _others_of_addresses(session: Session, organization_id: str, draft: RecordDraft, *, but: str) -> Sequence[str]:
    named = addresses_of(draft)
    if not named:
        return []
    query = _having(organization_id, "email", named).where(Record.person_id != but)
    return session.scalars(query.distinct().order_by(Record.person_id).limit(SHOWN)).all()


def _listed(named: Collection[str]) -> str:
    return " or ".join(sorted(named)[:3])
