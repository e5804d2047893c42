"""Verbs of leaving and returning, as an operator says them."""

from datetime import datetime

import click
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.command_lines import to_type
from app.commands.acting import ADMINS, DESK, INSTANT, Acting, one_person, person_fields, verb
from app.commands.days import ZONE, end_of_day
from app.commands.exits import NotAllowed
from app.commands.output import Answer, Table
from app.database import in_transaction
from app.directory.tables import OUTSIDE, Person, Standing, StatementKind, Voice
from app.lifecycle import handover, leaving
from app.lifecycle.engagements import refuse_lapsed
from app.lifecycle.sources import expect_departures
from app.revocation import departures

_root = click.Group()


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(depart)
    doorlist.add_command(come_back)
    doorlist.add_command(expect)


@verb(_root, "depart", may=DESK)
@click.argument("person")
@click.option("--at", "instant", type=INSTANT, metavar="T", help="When, such as 2026-11-30T17:00:00+01:00; at once without it.")
@click.option("--last-day", metavar="DAY", help="At the end of this day instead, such as 2026-11-30, in --zone.")
@ZONE
@click.option("--pause", is_flag=True, help="Off for now: the account is kept, and all is put back on return.")
@click.option("--bar", is_flag=True, help="Only an operator can let them back in.")
@click.option("--handover-to", "heir", metavar="PERSON", help="Who takes over their channels, in the place of whom the setting handover says.")
def depart(
    acting: Acting, person: str, instant: datetime | None, last_day: str | None, zone: str | None, pause: bool, bar: bool, heir: str | None
) -> Answer:
    """Somebody leaves: their access ends everywhere, now or at the given instant."""
    if instant is not None and last_day is not None:
        raise click.UsageError("--at and --last-day exclude each other")
    if zone is not None and last_day is None:
        # Without a day they would leave at once, which is not what somebody meant who said where their day ends.
        raise click.UsageError("--zone says where --last-day ends, and there is none; --at names an instant with its zone")
    if pause and bar:
        raise click.UsageError("--pause and --bar exclude each other: whoever is barred has departed")
    if heir is not None and pause:
        raise click.UsageError("--handover-to and --pause exclude each other: who is only away keeps what is theirs")
    if heir is not None and acting.role not in ADMINS:
        # It gives somebody a say in rooms that may be nobody else's business.
        raise NotAllowed(f"{acting.actor.name} is {acting.role}; who takes over from a leaver is for {', '.join(sorted(ADMINS))} to say")
    kind = StatementKind.PAUSES if pause else StatementKind.BARS if bar else StatementKind.LEAVES

    def act(session: Session) -> Answer:
        at = now()
        given = instant if last_day is None else end_of_day(session, acting, last_day, zone)
        effective = given if given is not None and given > at else at
        if heir is not None:
            meant, to = one_person(session, acting.organization_id, person), one_person(session, acting.organization_id, heir)
            if meant.standing == Standing.DEPARTED:
                raise click.UsageError(f"{meant.user_name} has left already: {to_type('handover set', meant.user_name, '--to PERSON')}")
            handover.name_heir(session, meant, to, actor=acting.actor, at=at)
        said = _say(session, acting, person, kind=kind, effective_at=effective, at=at, because="doorlist depart")
        departure = departures.current(session, acting.organization_id, said.id)
        out = said.standing in OUTSIDE
        return Answer(
            schema="depart",
            fields={
                "person": person_fields(said), "standing": said.standing, "reason": _reason(acting, said), "effective_at": iso(effective),
                "access_until": _until(acting, said, own=effective), "departure": departure.id if departure is not None and out else None,
            },
            tables=[_row(acting, said, own=effective)],
            notes=[
                f"{said.display_name} is {said.standing}. How it goes: {to_type('receipt', said.user_name)}"
                if out
                else f"{said.display_name} leaves at {_until(acting, said, own=effective) or iso(effective)}. "
                f"To call it off: {to_type('return', said.user_name)}"
            ],
        )  # fmt: skip

    return in_transaction(act)


@verb(_root, "return", may=DESK)
@click.argument("person")
@click.option("--at", "instant", type=INSTANT, metavar="T", help="When, such as 2026-12-01T08:00:00+01:00; at once without it.")
def come_back(acting: Acting, person: str, instant: datetime | None) -> Answer:
    """Somebody comes back; this also calls off a departure that was announced for later."""

    def act(session: Session) -> Answer:
        at = now()
        effective = instant if instant is not None and instant > at else at
        refuse_lapsed(session, one_person(session, acting.organization_id, person), at=at)
        said = _say(session, acting, person, kind=StatementKind.RETURNS, effective_at=effective, at=at, because="doorlist return")
        reason = _reason(acting, said)
        return Answer(
            schema="return",
            fields={
                "person": person_fields(said), "standing": said.standing, "reason": reason, "effective_at": iso(effective),
                "access_until": _until(acting, said, own=None),
            },
            tables=[_row(acting, said, own=None)],
            notes=[f"{said.display_name} is {said.standing}" + (f": {reason}." if reason is not None else ".")],
        )  # fmt: skip

    return in_transaction(act)


def _say(session: Session, acting: Acting, text: str, *, kind: StatementKind, effective_at: datetime, at: datetime, because: str) -> Person:
    meant = one_person(session, acting.organization_id, text)
    return leaving.say(
        session, acting.organization_id, meant.id, voice=Voice.OPERATOR, kind=kind, said_by=acting.actor.name, effective_at=effective_at,
        actor=acting.actor, at=at, because=because,
    )  # fmt: skip


def _reason(acting: Acting, said: Person) -> str | None:
    return said.standing_reason if acting.informed else None


def _until(acting: Acting, said: Person, *, own: datetime | None) -> str | None:
    """When access ends; for whoever may not see what others planned, only the instant that they have given themselves."""
    return iso(said.access_until) if acting.informed or said.access_until == own else None


def _row(acting: Acting, said: Person, *, own: datetime | None) -> Table:
    return Table(
        columns=("person", "standing", "reason", "access until"),
        rows=[(said.user_name, said.standing, _reason(acting, said), _until(acting, said, own=own))],
    )


@verb(_root, "expect-departures", may=ADMINS)
@click.argument("count", type=click.IntRange(0, 1_000_000_000), metavar="N")
@click.option("--until", type=INSTANT, required=True, metavar="T", help="Until when they may come, such as 2026-11-30T17:00:00+01:00.")
def expect(acting: Acting, count: int, until: datetime) -> Answer:
    """Announce a layoff: of each source, so many more departures pass the brake until then. 0 takes it back."""
    if until <= now():
        raise click.UsageError(f"--until {iso(until)} has passed already")
    in_transaction(
        lambda session: expect_departures(session, acting.organization_id, count, until=until, actor=acting.actor, at=now())
    )
    return Answer(
        schema="expect-departures",
        fields={"count": count, "until": iso(until)},
        notes=[f"Of each source, {count} departures more than push_brake allows take effect at once until {iso(until)}."],
    )
