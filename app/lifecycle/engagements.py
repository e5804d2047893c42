"""Verbs on engagements: somebody who is no employee is taken on by a sponsor until a day, vouched for anew, or let go.

The end is said by the sponsor's voice, so nothing has to run for access to end on that day.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.actors import CLOCK, Actor
from app.clock import iso
from app.command_lines import to_type
from app.database import BeginAnew, new_id
from app.directory.names import name_key
from app.directory.settings import contractor_longest, contractor_types, value_of
from app.directory.tables import Person, Standing, Statement, StatementKind, Voice
from app.journal import entries
from app.journal.work import insert_for
from app.lifecycle import leaving
from app.lifecycle.engagement_tables import Engagement, Origin, SponsorLetter
from app.lifecycle.errors import LifecycleError
from app.lifecycle.standing import as_said, counts

REMINDED: Final = (30, 14, 7)
"""So many days before the end the sponsor is written to."""
LET_GO: Final = "ended"
"""Why an engagement is over whose person was let go before its day."""
_QUIET: Final = {"synchronize_session": False}


class Unfit(LifecycleError):
    """What was asked does not fit the engagement, its dates or its sponsor; the message says what would."""


class TakenOnMeanwhile(Unfit, BeginAnew):
    """Somebody else has begun, or resumed, an engagement of the same person at this moment: begun anew, it is seen."""


def open_engagement(session: Session, organization_id: str, person_id: str, *, lock: bool = False) -> Engagement | None:
    """The engagement of a person that stands, if any."""
    query = select(Engagement).where(
        Engagement.organization_id == organization_id, Engagement.person_id == person_id, Engagement.ended_at.is_(None)
    )
    return session.scalar(query.with_for_update().execution_options(populate_existing=True) if lock else query)


def take_on(
    session: Session, person: Person, *, sponsor: Person, starts_at: datetime | None, ends_at: datetime, kind: str, actor: Actor, at: datetime
) -> Engagement:
    """Somebody is here until `ends_at`, and from `starts_at` on where that is given; the sponsor answers for them. Raises Unfit.

    Whoever was let go by a sponsor before comes back under the same identity.
    """
    there = open_engagement(session, person.organization_id, person.id, lock=True) or resume(session, person, at=at)
    if there is not None:
        raise Unfit(f"{person.user_name} is taken on already: {to_type('contractor attest', person.user_name, '--until DAY --by SPONSOR')}, or reassign, or end")
    check_sponsor(session, sponsor, person)
    _check_end(session, person, starts_at=starts_at, ends_at=ends_at, at=at)
    row = Engagement(
        organization_id=person.organization_id, id=new_id(), person_id=person.id, kind=kind, origin=Origin.OPERATOR, sponsor_id=sponsor.id,
        starts_at=starts_at, ends_at=ends_at, attested_at=at, attested_by=sponsor.user_name, created_at=at,
    )  # fmt: skip
    begin(session, row)
    journal(session, row, "engagement begun", actor=actor, at=at, because="operator", after={"sponsor": sponsor.id, "ends_at": iso(ends_at)})
    if starts_at is not None and starts_at > at:
        _say(session, row, sponsor, StatementKind.STARTS, effective_at=starts_at, actor=actor, at=at, because="engagement begun")
    if person.standing == Standing.DEPARTED:
        # Who was let go by a sponsor is taken on again; behind their start, so that nobody is let in for a moment.
        person = _say(session, row, sponsor, StatementKind.RETURNS, effective_at=at, actor=actor, at=at, because="taken on again")
        if person.standing == Standing.DEPARTED:
            raise Unfit(f"{person.user_name} stays out ({person.standing_reason}): {to_type('return', person.user_name)} comes first")
    _say(session, row, sponsor, StatementKind.PAUSES, effective_at=ends_at, actor=actor, at=at, because="engagement begun")
    write_letters(session, row, at=at)
    return row


def begin(session: Session, row: Engagement) -> None:
    """Store an engagement as the one that stands of its person. Raises TakenOnMeanwhile."""
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise TakenOnMeanwhile("somebody else took them on at the same moment: look, and type it again") from error


def attest(session: Session, row: Engagement, *, until: datetime, by: Person, actor: Actor, at: datetime) -> Person:
    """The sponsor vouches for somebody until another day. Whoever was suspended because nobody had answered is back. Raises Unfit.

    It gives nothing back that another voice has taken.
    """
    person = session.get_one(Person, (row.organization_id, row.person_id))
    if row.sponsor_id is None:
        raise Unfit(f"nobody answers for {person.user_name} yet: {to_type('contractor reassign', person.user_name, '--to PERSON')}")
    if by.id != row.sponsor_id:
        sponsor = session.get_one(Person, (row.organization_id, row.sponsor_id))
        raise Unfit(f"{by.user_name} does not answer for {person.user_name}, but {sponsor.user_name} does")
    if person.standing == Standing.DEPARTED:
        raise Unfit(f"{person.user_name} has departed, and no sponsor brings them back")
    check_sponsor(session, by, person)
    _check_end(session, person, starts_at=row.starts_at, ends_at=until, at=at)
    journal(
        session, row, "engagement attested", actor=actor, at=at, because=f"attested by {by.user_name}", before={"ends_at": iso(row.ends_at)},
        after={"ends_at": iso(until)},
    )  # fmt: skip
    _say(session, row, by, StatementKind.RETURNS, effective_at=at, actor=actor, at=at, because="engagement attested")
    person = _say(session, row, by, StatementKind.PAUSES, effective_at=until, actor=actor, at=at, because="engagement attested")
    row.ends_at, row.attested_at, row.attested_by, row.lapsed_at = until, at, by.user_name, None
    session.flush()
    write_letters(session, row, at=at)
    return person


def reassign(session: Session, row: Engagement, to: Person, *, actor: Actor, at: datetime, because: str) -> None:
    """Another sponsor answers from now on; the day stays. Raises Unfit."""
    person = session.get_one(Person, (row.organization_id, row.person_id))
    check_sponsor(session, to, person)
    if row.sponsor_id != to.id:
        journal(session, row, "sponsor changed", actor=actor, at=at, because=because, before={"sponsor": row.sponsor_id}, after={"sponsor": to.id})
        row.sponsor_id = to.id
        session.flush()


def end(session: Session, row: Engagement, *, actor: Actor, at: datetime) -> Person:
    """They are let go: their access ends now. Ending twice is once."""
    person = session.get_one(Person, (row.organization_id, row.person_id))
    if row.ended_at is None:
        sponsor = _sponsor_of(session, row)
        person = _say(session, row, sponsor, StatementKind.LEAVES, effective_at=at, actor=actor, at=at, because="engagement ended")
        close(session, row, why=LET_GO, actor=actor, at=at)
    return person


def resume(session: Session, person: Person, *, at: datetime) -> Engagement | None:
    """Whoever was let go before their day and is back is here until that day: the engagement goes on, and its sponsor is asked about it again.

    None where no engagement has to go on. Whoever has one that stands is not asked about here.
    """
    if person.standing == Standing.DEPARTED:
        return None
    row = last_engagement(session, person)
    if row is None or row.ended_why != LET_GO or not _day_counts(session, row, at=at):
        return None
    row.ended_at = row.ended_why = None
    begin(session, row)
    journal(session, row, "engagement resumed", actor=CLOCK, at=at, because="they are back before their last day", after={"ends_at": iso(row.ends_at)})
    write_letters(session, row, at=at)
    return row


def last_engagement(session: Session, person: Person) -> Engagement | None:
    """The engagement of a person that was over last, locked."""
    mine = Engagement.organization_id == person.organization_id, Engagement.person_id == person.id
    last = select(Engagement).where(*mine, Engagement.ended_at.is_not(None)).order_by(Engagement.ended_at.desc(), Engagement.created_at.desc()).limit(1)
    return session.scalar(last.with_for_update().execution_options(populate_existing=True))


def _day_counts(session: Session, row: Engagement, *, at: datetime) -> bool:
    """Whether the sponsor's word on the last day still ends access on it, or has."""
    heard = select(Statement).where(
        Statement.organization_id == row.organization_id, Statement.person_id == row.person_id, Statement.withdrawn_at.is_(None),
        Statement.held.is_(False),
    )  # fmt: skip
    statements = [as_said(one) for one in session.scalars(heard)]
    days = [one for one in statements if one.voice is Voice.SPONSOR and one.kind is StatementKind.PAUSES and one.effective_at == row.ends_at]
    return any(counts(day, statements, now=at) for day in days)


def keep_on(session: Session, row: Engagement, *, actor: Actor, at: datetime) -> Person:
    """They stay, as an employee: no sponsor's day ends their access any more, and who was suspended by it is back."""
    person = session.get_one(Person, (row.organization_id, row.person_id))
    if row.ended_at is None:
        sponsor = _sponsor_of(session, row)
        person = _say(session, row, sponsor, StatementKind.RETURNS, effective_at=at, actor=actor, at=at, because="became an employee")
        close(session, row, why="became an employee", actor=actor, at=at)
    return person


def close(session: Session, row: Engagement, *, why: str, actor: Actor, at: datetime) -> None:
    """The engagement is over; what was said of the person stands."""
    journal(session, row, "engagement ended", actor=actor, at=at, because=why, before={"ends_at": iso(row.ends_at)})
    row.ended_at, row.ended_why = at, why
    session.flush()
    _drop_letters(session, row, at=at)


def lapse(session: Session, row: Engagement, *, at: datetime) -> None:
    """Its last day has passed and nobody has answered. The sponsor's voice has suspended them already; this writes it down."""
    journal(session, row, "engagement lapsed", actor=CLOCK, at=at, because="nobody vouched for them by their last day", after={"ends_at": iso(row.ends_at)})
    row.lapsed_at = at
    session.flush()


def refuse_lapsed(session: Session, person: Person, *, at: datetime) -> None:
    """Whoever is suspended because their engagement has run out comes back by their sponsor's word, which names another day. Raises Unfit."""
    row = open_engagement(session, person.organization_id, person.id)
    if row is not None and row.ends_at is not None and row.ends_at <= at:
        raise Unfit(
            f"the engagement of {person.user_name} has run out: {to_type('contractor attest', person.user_name, '--until DAY --by SPONSOR')} "
            "lets them back in until another day"
        )


def check_sponsor(session: Session, sponsor: Person, person: Person) -> None:
    """A sponsor is an employee who is here, and somebody else. Raises Unfit."""
    if why := why_no_sponsor(session, sponsor, person):
        raise Unfit(f"{sponsor.user_name} cannot answer for {person.user_name}: {why}")


def why_no_sponsor(session: Session, sponsor: Person, person: Person) -> str | None:
    """Why somebody may not answer for another; None where they may."""
    if sponsor.id == person.id:
        return "nobody vouches for themselves"
    if sponsor.standing != Standing.ACTIVE:
        return "they have no access themselves"
    if open_engagement(session, sponsor.organization_id, sponsor.id) is not None or is_contractor(session, sponsor):
        return "they are no employee"
    return None


def is_contractor(session: Session, person: Person) -> bool:
    """Whether a directory calls somebody what the organisation takes for no employee."""
    return person.user_type is not None and name_key(person.user_type) in _kinds(session, person.organization_id)


def kinds_said(session: Session, organization_id: str, *whose: ColumnElement[bool]) -> list[str]:
    """How directories spell what the organisation takes for no employee, of these people. No database folds every letter as we do."""
    kinds = _kinds(session, organization_id)
    if not kinds:
        return []
    said = select(Person.user_type).where(Person.organization_id == organization_id, Person.user_type.is_not(None), *whose).distinct()
    return sorted(one for one in session.scalars(said) if one is not None and name_key(one) in kinds)


def _kinds(session: Session, organization_id: str) -> set[str]:
    return {name_key(kind) for kind in contractor_types(value_of(session, organization_id, "contractor_types"))}


def write_letters(session: Session, row: Engagement, *, at: datetime) -> None:
    """Letters for the present end, so far as their days are still to come; those for another are not sent any more."""
    _drop_letters(session, row, at=at)
    if row.ends_at is None:
        return
    due = [(days, row.ends_at - timedelta(days=days)) for days in (*REMINDED, 0)]
    rows = [
        {"organization_id": row.organization_id, "engagement_id": row.id, "ends_at": row.ends_at, "days": days, "due_at": due_at, "attempts": 0}
        for days, due_at in due
        if due_at > at
    ]  # fmt: skip
    if rows:
        statement = insert_for(session.get_bind().dialect.name)(SponsorLetter).values(rows)
        again = {"dropped_at": None, "due_at": statement.excluded.due_at, "lease_until": None, "attempts": 0}
        session.execute(statement.on_conflict_do_update(index_elements=["organization_id", "engagement_id", "ends_at", "days"], set_=again))


def _drop_letters(session: Session, row: Engagement, *, at: datetime) -> None:
    mine = (SponsorLetter.organization_id == row.organization_id, SponsorLetter.engagement_id == row.id)
    session.execute(
        update(SponsorLetter).where(*mine, SponsorLetter.posted_at.is_(None), SponsorLetter.dropped_at.is_(None)).values(dropped_at=at),
        execution_options=_QUIET,
    )


def _sponsor_of(session: Session, row: Engagement) -> Person | None:
    return None if row.sponsor_id is None else session.get_one(Person, (row.organization_id, row.sponsor_id))


def _say(
    session: Session, row: Engagement, sponsor: Person | None, kind: StatementKind, *, effective_at: datetime, actor: Actor, at: datetime,
    because: str,
) -> Person:  # fmt: skip
    return leaving.say(
        session, row.organization_id, row.person_id, voice=Voice.SPONSOR, kind=kind, said_by="nobody" if sponsor is None else sponsor.user_name,
        effective_at=effective_at, actor=actor, at=at, because=because,
    )  # fmt: skip


def _check_end(session: Session, person: Person, *, starts_at: datetime | None, ends_at: datetime, at: datetime) -> None:
    begins = at if starts_at is None else max(at, starts_at)
    if ends_at <= begins:
        raise Unfit(f"{iso(ends_at)} is not after {iso(begins)}: an engagement needs a last day that is still to come")
    longest = contractor_longest(value_of(session, person.organization_id, "contractor_longest"))
    if ends_at - begins > longest:
        raise Unfit(f"{iso(ends_at)} is more than {longest.days} days ahead, the longest that contractor_longest allows")


def journal(
    session: Session, row: Engagement, verb: str, *, actor: Actor, at: datetime, because: str, before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> int:  # fmt: skip
    """Write down what becomes of an engagement; it stands with its person."""
    return entries.write(
        session, row.organization_id, at=at, actor=actor, verb=verb, because=because, subject_kind="engagement", subject_id=row.id,
        before=before, after={"person": row.person_id, **(after or {})},
    )  # fmt: skip
