"""Verbs on one person: when they start, that they never come, what every voice says of them, that closing them was a mistake; and signing them out."""


import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.command_lines import to_type
from app.commands.acting import ADMINS, DESK, INFORMED, Acting, one_person, person_fields, verb
from app.commands.days import ZONE, beginning_at
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Person, Source, Standing, Statement, Voice
from app.lifecycle import reinstating, starting
from app.lifecycle.engagements import open_engagement
from app.lifecycle.people import records_of, standing_now
from app.lifecycle.signing_out import sign_out_everywhere
from app.revocation import departures

_root = click.Group()


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(person)
    doorlist.add_command(reinstate)
    doorlist.add_command(sign_out)


@click.group()
def person() -> None:
    """One person: whether they are expected, in, away or gone, and who says so."""


_PERSON = click.argument("who", metavar="PERSON")


@verb(person, "expect", may=ADMINS)
@_PERSON
@click.option("--at", "when", metavar="T", help="When they start: a day such as 2026-12-01, a time there, or an instant with its zone.")
@click.option("--now", "at_once", is_flag=True, help="They start now, whatever was said of it before.")
@ZONE
def expect(acting: Acting, who: str, when: str | None, at_once: bool, zone: str | None) -> Answer:
    """Somebody starts on a day: until then their account is prepared, and lets nobody in."""
    if (when is None) is not at_once:
        raise click.UsageError("say when they start: --at T, or --now")

    def act(session: Session) -> Answer:
        at = now()
        starts_at = at if when is None else beginning_at(session, acting, when, zone)
        said = starting.expect(
            session, one_person(session, acting.organization_id, who), starts_at=starts_at, said_by=acting.actor.name, actor=acting.actor, at=at,
            because="doorlist person expect",
        )  # fmt: skip
        begun = f"{said.display_name} is {said.standing}: {said.standing_reason}."
        return _answer("person.expect", said, starts_at=iso(max(starts_at, at)), notes=[
            f"{said.display_name} starts at {iso(starts_at)}. To call it off: {to_type('person rescind', said.user_name, '--reason TEXT')}"
            if said.standing == Standing.EXPECTED else begun
        ])  # fmt: skip

    return in_transaction(act)


@verb(person, "rescind", may=ADMINS)
@_PERSON
@click.option("--reason", required=True, metavar="TEXT", help="Why they do not come; it is kept.")
def rescind(acting: Acting, who: str, reason: str) -> Answer:
    """Somebody who was expected does not come."""

    def act(session: Session) -> Answer:
        meant = one_person(session, acting.organization_id, who)
        said = starting.rescind(session, meant, said_by=acting.actor.name, actor=acting.actor, at=now(), reason=_said(reason))
        return _answer("person.rescind", said, notes=[f"{said.display_name} is {said.standing}: {said.standing_reason}."])

    return in_transaction(act)


@verb(_root, "reinstate", may=ADMINS)
@_PERSON
@click.option("--reason", required=True, metavar="TEXT", help="Why closing them was a mistake; it stands in the receipt.")
def reinstate(acting: Acting, who: str, reason: str) -> Answer:
    """Somebody was closed by mistake: they are back at once, whoever closed them, and the receipt says so."""

    def act(session: Session) -> Answer:
        meant = one_person(session, acting.organization_id, who)
        was_out = meant.standing != Standing.ACTIVE
        was = departures.current(session, acting.organization_id, meant.id) if was_out else None
        said = reinstating.reinstate(
            session, acting.organization_id, meant.id, said_by=acting.actor.name, reason=_said(reason), actor=acting.actor, at=now()
        )
        then = "Whatever they were signed in to asks them to sign in again." if was_out else "They had access already: nothing was undone."
        notes = [f"{said.display_name} is {said.standing}: {said.standing_reason}. {then}"]
        if said.access_until is not None:
            notes.append(f"They still leave at {iso(said.access_until)}, as was announced. {_another_day(session, said)}")
        if not reinstating.standing_records(session, said):
            notes.append("No directory names them any more, and no group: both come back when one does.")
        return _answer("reinstate", said, notes=notes, departure=was.id if was is not None else None)

    return in_transaction(act)


def _another_day(session: Session, said: Person) -> str:
    """What moves the day on which somebody's access ends: a return calls off no sponsor's day, and no date of a record."""
    match reinstating.who_ends_it(session, said):
        case Voice.SPONSOR:
            return f"Their sponsor names another day: {to_type('contractor attest', said.user_name, '--until DAY --by SPONSOR')}"
        case Voice.DIRECTORY:
            return "A directory says so, and the day is changed there."
        case _:
            return f"To call that off: {to_type('return', said.user_name)}"


@verb(_root, "sign-out", may=DESK)
@_PERSON
@click.option("--reason", metavar="TEXT", help="Why, such as a phone that was lost; it is kept.")
def sign_out(acting: Acting, who: str, reason: str | None) -> Answer:
    """End every session, token and device of somebody who stays: a phone was lost, or a password is known to others.

    They may sign in again at once. Whoever is to be kept out departs, or is barred: doorlist depart.
    """

    def act(session: Session) -> Answer:
        meant = one_person(session, acting.organization_id, who)
        before = meant.access_epoch
        because = "doorlist sign-out" if reason is None else _said(reason)
        said = sign_out_everywhere(session, acting.organization_id, meant.id, actor=acting.actor, at=now(), because=because)
        ended = said.access_epoch != before
        note = (
            f"{said.display_name} is signed out everywhere, and may sign in again."
            if ended
            else f"{said.display_name} is {said.standing}: nothing was open that could be ended."
        )
        return Answer(
            schema="sign-out",
            fields={"person": person_fields(said), "standing": said.standing, "signed_out": ended},
            tables=[Table(columns=("person", "standing", "signed out"), rows=[(said.user_name, said.standing, ended)])],
            notes=[note],
        )

    return in_transaction(act)


def _said(reason: str) -> str:
    if not reason.strip():
        raise click.UsageError("--reason says nothing")
    return reason.strip()


def _answer(schema: str, said: Person, *, notes: list[str], **more: object) -> Answer:
    return Answer(
        schema=schema,
        fields={
            "person": person_fields(said), "standing": said.standing, "reason": said.standing_reason, "access_until": iso(said.access_until), **more,
        },
        tables=[
            Table(
                columns=("person", "standing", "reason", "access until"),
                rows=[(said.user_name, said.standing, said.standing_reason, iso(said.access_until))],
            )
        ],
        notes=notes,
    )  # fmt: skip


@verb(person, "show", may=INFORMED)
@_PERSON
def show(acting: Acting, who: str) -> Answer:
    """What every voice says of somebody, with its dates, and what follows from it."""
    with reading() as session:
        meant = one_person(session, acting.organization_id, who)
        records = _records(session, meant)
        statements = _statements(session, meant)
        decided = standing_now(session, meant, records_of(session, meant), at=now())
        row = open_engagement(session, acting.organization_id, meant.id)
        sponsor = None if row is None or row.sponsor_id is None else session.get_one(Person, (acting.organization_id, row.sponsor_id))
    engagement = None if row is None else {
        "kind": row.kind, "sponsor": None if sponsor is None else person_fields(sponsor), "starts": iso(row.starts_at), "ends": iso(row.ends_at),
        "lapsed": iso(row.lapsed_at),
    }  # fmt: skip
    columns = ("voice", "said by", "says", "from", "until", "said at")
    rows = [
        *(("directory", one["source"], one["says"], one["starts"], one["ends"], one["said_at"]) for one in records),
        *((one["voice"], one["said_by"], one["says"], one["effective_at"], None, one["said_at"]) for one in statements),
    ]
    return Answer(
        schema="person",
        fields={
            "person": person_fields(meant), "standing": meant.standing, "reason": meant.standing_reason, "access_until": iso(meant.access_until),
            "changes_at": iso(decided.wake_at), "records": records, "statements": statements, "engagement": engagement,
        },
        tables=[Table(columns=columns, rows=rows)],
        notes=[f"{meant.display_name} is {meant.standing}: {meant.standing_reason}."],
    )  # fmt: skip


def _records(session: Session, meant: Person) -> list[dict[str, object]]:
    names = {one.id: one.name for one in session.scalars(select(Source).where(Source.organization_id == meant.organization_id))}
    return [
        {
            "id": one.id, "source": names.get(one.source_id, one.source_id), "userName": one.user_name,
            "says": "ended" if one.ended_at is not None else "on" if one.active else "off", "means": one.off_means, "held": one.held,
            "starts": iso(one.starts_at), "ends": iso(one.ends_at), "said_at": iso(min(one.active_said_at, one.modified_at)),
        }
        for one in records_of(session, meant)
    ]  # fmt: skip


def _statements(session: Session, meant: Person) -> list[dict[str, object]]:
    said = select(Statement).where(
        Statement.organization_id == meant.organization_id, Statement.person_id == meant.id, Statement.withdrawn_at.is_(None)
    )
    return [
        {
            "voice": one.voice, "said_by": one.said_by, "says": one.kind, "engagement": one.engagement, "effective_at": iso(one.effective_at),
            "means": one.means, "held": one.held, "said_at": iso(one.heard_at or one.said_at),
        }
        for one in session.scalars(said.order_by(Statement.said_at, Statement.id))
    ]  # fmt: skip
