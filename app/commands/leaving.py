"""Verbs of leaving and returning, as an operator says them."""

from datetime import datetime

import click
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.acting import ADMINS, DESK, INSTANT, Acting, one_person, person_fields, verb
from app.commands.output import Answer, Table
from app.database import in_transaction
from app.directory.tables import Person, Standing, StatementKind, Voice
from app.lifecycle import leaving
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
@click.option("--pause", is_flag=True, help="Off for now: the account is kept, and all is put back on return.")
@click.option("--bar", is_flag=True, help="Only an operator can let them back in.")
def depart(acting: Acting, person: str, instant: datetime | None, pause: bool, bar: bool) -> Answer:
    """Somebody leaves: their access ends everywhere, now or at the given instant."""
    if pause and bar:
        raise click.UsageError("--pause and --bar exclude each other: whoever is barred has departed")
    kind = StatementKind.PAUSES if pause else StatementKind.BARS if bar else StatementKind.LEAVES

    def act(session: Session) -> Answer:
        at = now()
        effective = instant if instant is not None and instant > at else at
        said = _say(session, acting, person, kind=kind, effective_at=effective, at=at, because="doorlist depart")
        departure = departures.current(session, acting.organization_id, said.id)
        out = said.standing in (Standing.DEPARTED, Standing.PAUSED)
        return Answer(
            schema="depart",
            fields={
                "person": person_fields(said), "standing": said.standing, "reason": said.standing_reason, "effective_at": iso(effective),
                "access_until": iso(said.access_until), "departure": departure.id if departure is not None and out else None,
            },
            tables=[_row(said)],
            notes=[
                f"{said.display_name} is {said.standing}. How it goes: doorlist receipt {said.user_name}"
                if out
                else f"{said.display_name} leaves at {iso(said.access_until)}. To call it off: doorlist return {said.user_name}"
            ],
        )  # fmt: skip

    return in_transaction(act)


@verb(_root, "return", may=DESK)
@click.argument("person")
def come_back(acting: Acting, person: str) -> Answer:
    """Somebody comes back; this also calls off a departure that was announced for later."""

    def act(session: Session) -> Answer:
        at = now()
        said = _say(session, acting, person, kind=StatementKind.RETURNS, effective_at=at, at=at, because="doorlist return")
        return Answer(
            schema="return",
            fields={
                "person": person_fields(said), "standing": said.standing, "reason": said.standing_reason, "access_until": iso(said.access_until),
            },
            tables=[_row(said)],
            notes=[f"{said.display_name} is {said.standing}: {said.standing_reason}."],
        )  # fmt: skip

    return in_transaction(act)


def _say(session: Session, acting: Acting, text: str, *, kind: StatementKind, effective_at: datetime, at: datetime, because: str) -> Person:
    meant = one_person(session, acting.organization_id, text)
    return leaving.say(
        session, acting.organization_id, meant.id, voice=Voice.OPERATOR, kind=kind, said_by=acting.actor.name, effective_at=effective_at,
        actor=acting.actor, at=at, because=because,
    )  # fmt: skip


def _row(said: Person) -> Table:
    return Table(
        columns=("person", "standing", "reason", "access until"),
        rows=[(said.user_name, said.standing, said.standing_reason, iso(said.access_until))],
    )


@verb(_root, "expect-departures", may=ADMINS)
@click.argument("count", type=click.IntRange(min=0), metavar="N")
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
