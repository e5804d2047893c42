"""Who is no employee: whom an operator takes on, and whom a directory calls so. Each has an engagement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.actors import CLOCK, Actor
from app.clock import iso
from app.command_lines import to_type
from app.database import new_id
from app.directory.settings import contractor_types, value_of
from app.directory.tables import Person, Record, Source, Standing
from app.journal import entries
from app.lifecycle import engagements
from app.lifecycle.engagement_tables import Engagement, Origin
from app.lifecycle.engagements import Unfit, open_engagement
from app.lifecycle.entered import BY_HAND
from app.lifecycle.records import RecordDraft, add_record, change_record

KIND: Final = BY_HAND
CALLED: Final = "Contractor"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Somebody who is no employee, with their engagement; None where a directory has just named them and nobody has noticed."""

    person: Person
    engagement: Engagement | None
    sponsor: Person | None


def enter(
    session: Session, organization_id: str, name: str, *, email: str, user_name: str, starts_at: datetime | None, actor: Actor, at: datetime
) -> Person:
    """Somebody whom no directory names: a person of their own. Raises Taken.

    Until `starts_at` they are expected; how long they are here is said by their engagement.
    """
    source = _source(session, organization_id, actor=actor, at=at)
    document: dict[str, Any] = {
        "userName": user_name, "displayName": name, "userType": CALLED, "emails": [{"value": email, "primary": True}],
    }  # fmt: skip
    draft = RecordDraft(external_id=None, user_name=user_name, active=True, document=document, starts_at=starts_at)
    record = add_record(session, organization_id, source.id, draft, actor=actor, at=at, because="contractor added")
    return session.get_one(Person, (organization_id, record.person_id))


def _source(session: Session, organization_id: str, *, actor: Actor, at: datetime) -> Source:
    mine = select(Source).where(Source.organization_id == organization_id, Source.kind == KIND, Source.ended_at.is_(None))
    found = session.scalar(mine.order_by(Source.created_at, Source.id).limit(1))
    if found is not None:
        return found
    # A directory may have the name: then the id tells the two apart.
    names = set(session.scalars(select(Source.name).where(Source.organization_id == organization_id, Source.ended_at.is_(None))))
    made = Source(organization_id=organization_id, id=new_id(), kind=KIND, name=KIND, created_at=at, journal_id=0)
    made.name = KIND if KIND not in names else f"{KIND} {made.id}"
    made.journal_id = entries.write(
        session, organization_id, at=at, actor=actor, verb="source added", because="the first contractor was entered by hand",
        subject_kind="source", subject_id=made.id, after={"name": made.name, "kind": KIND},
    )  # fmt: skip
    session.add(made)
    session.flush()
    return made


def engagement_of(session: Session, person: Person, *, at: datetime) -> Engagement:
    """The engagement of a person, locked; resumed, or begun where a directory calls them no employee, where nobody has noticed yet. Raises Unfit.

    None is begun of whoever has departed: it would stand in the way of the one that goes on when they are back.
    """
    found = open_engagement(session, person.organization_id, person.id, lock=True) or engagements.resume(session, person, at=at)
    if found is None and person.standing == Standing.DEPARTED:
        raise Unfit(f"{person.user_name} has departed: {to_type('contractor add', person.user_name, '--sponsor PERSON --until DAY')} takes them on again")
    if found is None and engagements.is_contractor(session, person):
        found = adopt(session, person, at=at)
    if found is None:
        raise Unfit(f"{person.user_name} is an employee: {to_type('contractor add', person.user_name, '--sponsor PERSON --until DAY')} takes them on")
    return found


def engagement_to_end(session: Session, person: Person, *, at: datetime) -> Engagement:
    """The same; of whoever has departed also the one that they were let go from, since ending twice is once. Raises Unfit."""
    if person.standing == Standing.DEPARTED and open_engagement(session, person.organization_id, person.id, lock=True) is None:
        over = engagements.last_engagement(session, person)
        if over is not None and over.ended_why == engagements.LET_GO:
            return over
    return engagement_of(session, person, at=at)


def keep_on(session: Session, row: Engagement, *, actor: Actor, at: datetime) -> Person:
    """They stay, as an employee. What was entered by hand calls them no employee any more, since no directory will ever say so of it."""
    person = engagements.keep_on(session, row, actor=actor, at=at)
    entered = (
        select(Record)
        .join(Source, (Source.organization_id == Record.organization_id) & (Source.id == Record.source_id))
        .where(Record.organization_id == row.organization_id, Record.person_id == row.person_id, Record.ended_at.is_(None), Source.kind == KIND)
    )
    for record in session.scalars(entered.order_by(Record.id)).all():
        draft = RecordDraft(
            external_id=record.external_id, user_name=record.user_name, active=None, starts_at=record.starts_at, ends_at=record.ends_at,
            document={name: value for name, value in record.document.items() if name != "userType"},
        )  # fmt: skip
        change_record(session, row.organization_id, record.source_id, record.id, draft, actor=actor, at=at, because="became an employee")
    return person


def adopt(session: Session, person: Person, *, at: datetime) -> Engagement:
    """Begin the engagement of somebody whom a directory calls no employee. It takes nothing: where no last day is named, there is none yet."""
    manager = None if person.manager_id is None else session.get(Person, (person.organization_id, person.manager_id))
    fit = manager is not None and engagements.why_no_sponsor(session, manager, person) is None
    row = Engagement(
        organization_id=person.organization_id, id=new_id(), person_id=person.id, kind=person.user_type or CALLED, origin=Origin.DIRECTORY,
        sponsor_id=manager.id if manager is not None and fit else None, ends_at=end_by_records(session, person), created_at=at,
    )  # fmt: skip
    engagements.begin(session, row)
    engagements.journal(
        session, row, "engagement begun", actor=CLOCK, at=at, because=f"a directory says userType {row.kind}",
        after={"sponsor": row.sponsor_id, "ends_at": iso(row.ends_at)},
    )  # fmt: skip
    engagements.write_letters(session, row, at=at)
    return row


def end_by_records(session: Session, person: Person) -> datetime | None:
    """When the directory itself ends somebody: the last of its dates, where every record that is on has one."""
    dates = session.scalars(
        select(Record.ends_at).where(
            Record.organization_id == person.organization_id, Record.person_id == person.id, Record.active.is_(True), Record.ended_at.is_(None)
        )
    ).all()
    known = [date for date in dates if date is not None]
    return max(known) if known and len(known) == len(dates) else None


def adopt_some(session: Session, organization_id: str, *, after: str, most: int, at: datetime) -> str | None:
    """Look at the next people in the order of their ids, and begin what has not been begun. Returns how far it came; None at the end."""
    if not contractor_types(value_of(session, organization_id, "contractor_types")):
        return None
    page = (
        select(Person.id)
        .where(Person.organization_id == organization_id, Person.id > after)
        .order_by(Person.id)
        .limit(most)
        .subquery("page")
    )
    last, count = session.execute(select(func.max(page.c.id), func.count()).select_from(page)).one()
    of_page = Person.id > after, Person.id <= (last or after)
    kinds = engagements.kinds_said(session, organization_id, *of_page)
    found = session.scalars(_unengaged(organization_id, kinds).where(*of_page).order_by(Person.id)).all() if kinds else []
    for person in found:
        if engagements.resume(session, person, at=at) is None:
            adopt(session, person, at=at)
    return last if count == most else None


def engaged(session: Session, organization_id: str) -> Sequence[Listed]:
    """Everybody with an engagement who has not departed, those first who end first; who has no end comes last."""
    sponsor = aliased(Person)
    rows = session.execute(
        select(Person, Engagement, sponsor)
        .join(Engagement, (Engagement.organization_id == Person.organization_id) & (Engagement.person_id == Person.id))
        .outerjoin(sponsor, (sponsor.organization_id == Engagement.organization_id) & (sponsor.id == Engagement.sponsor_id))
        .where(Engagement.organization_id == organization_id, Engagement.ended_at.is_(None), Person.standing != Standing.DEPARTED)
        .order_by(Engagement.ends_at.is_(None), Engagement.ends_at, Person.user_name_key)
    )
    return [Listed(person=person, engagement=row, sponsor=by) for person, row, by in rows]


def listed(session: Session, organization_id: str) -> Sequence[Listed]:
    """The same, and behind them whom a directory has just named. Reads everybody, so it is for a person who asks."""
    kinds = engagements.kinds_said(session, organization_id)
    waiting = session.scalars(_unengaged(organization_id, kinds).order_by(Person.user_name_key)).all() if kinds else []
    return [*engaged(session, organization_id), *(Listed(person=person, engagement=None, sponsor=None) for person in waiting)]


def _unengaged(organization_id: str, kinds: Sequence[str]) -> Any:
    there = select(Engagement.id).where(
        Engagement.organization_id == Person.organization_id, Engagement.person_id == Person.id, Engagement.ended_at.is_(None)
    )
    return select(Person).where(
        Person.organization_id == organization_id, Person.user_type.in_(kinds), Person.standing != Standing.DEPARTED, ~there.exists()
    )
