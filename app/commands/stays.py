"""Verbs on exceptions: somebody is in a channel although no rule says so, on somebody's word, until a day."""

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.acting import ADMINS, INFORMED, Acting, one_person, person_fields, verb
from app.commands.days import ZONE, end_at
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Person
from app.lifecycle.errors import NotFound
from app.rules import stays
from app.rules.stay_tables import Stay
from app.rules.stays import Listed
from app.rules.tables import Channel


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(exception)


@click.group()
def exception() -> None:
    """Who is in a channel although no rule says so: each has an approver, a reason and an end."""


_PERSON = click.argument("person")
_CHANNEL = click.option("--channel", required=True, metavar="C", help="The channel, by its name.")


@verb(exception, "add", may=ADMINS)
@_PERSON
@_CHANNEL
@click.option("--until", required=True, metavar="T", help="Until when: a day, a time there, or an instant with its zone.")
@click.option("--approved-by", "approver", required=True, metavar="PERSON", help="Who answers for it; not the person themselves.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept.")
@ZONE
def add(acting: Acting, person: str, channel: str, until: str, approver: str, reason: str, zone: str | None) -> Answer:
    """Somebody is in a channel until a day, though no rule says so; it ends by itself. Another day replaces the one before."""
    if not reason.strip():
        raise click.UsageError("--reason says nothing")

    def act(session: Session) -> Answer:
        at = now()
        meant, by = one_person(session, acting.organization_id, person), one_person(session, acting.organization_id, approver)
        found = _channel(session, acting, channel)
        row = stays.allow(
            session, meant, found, approver=by, reason=reason.strip(), until=end_at(session, acting, until, zone), actor=acting.actor, at=at
        )
        one = Listed(stay=row, person=meant, channel=found, approver=by)
        return Answer(
            schema="exception", fields=_fields(one), tables=[_table([one])],
            notes=[f"{meant.display_name} is in {found.name} until {iso(row.ends_at)}, whatever the rules say."],
        )  # fmt: skip

    return in_transaction(act)


@verb(exception, "end", may=ADMINS)
@_PERSON
@_CHANNEL
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept.")
def end(acting: Acting, person: str, channel: str, reason: str) -> Answer:
    """End an exception before its day: from now on the rules alone count."""
    if not reason.strip():
        raise click.UsageError("--reason says nothing")

    def act(session: Session) -> Answer:
        meant = one_person(session, acting.organization_id, person)
        found = _channel(session, acting, channel)
        row = stays.find(session, acting.organization_id, meant.id, found.id)
        if row is None:
            raise NotFound("exception", f"of {meant.user_name} in {found.name}")
        stays.end(session, row, why=reason.strip(), actor=acting.actor, at=now())
        by = None if row.approved_by is None else session.get(Person, (acting.organization_id, row.approved_by))
        one = Listed(stay=row, person=meant, channel=found, approver=by)
        return Answer(schema="exception", fields=_fields(one), tables=[_table([one])], notes=[f"The rules alone say whether {meant.display_name} is in {found.name}."])

    return in_transaction(act)


@verb(exception, "list", may=INFORMED)
@click.option("--all", "past", is_flag=True, help="Those that have ended as well.")
def list_exceptions(acting: Acting, past: bool) -> Answer:
    """Everybody who is in a channel beside the rules, those first whose time ends first; channels that were handed over come last."""
    with reading() as session:
        found = list(stays.listed(session, acting.organization_id, past=past))
    return Answer(schema="exceptions", fields={"exceptions": [_fields(one) for one in found]}, tables=[_table(found)])


def _channel(session: Session, acting: Acting, name: str) -> Channel:
    found = session.scalar(select(Channel).where(Channel.organization_id == acting.organization_id, Channel.name == name))
    if found is None:
        raise NotFound("channel", name)
    return found


def _fields(one: Listed) -> dict[str, object]:
    row: Stay = one.stay
    return {
        "id": row.id, "person": person_fields(one.person), "channel": one.channel.name, "kind": row.why, "owns": row.owns,
        "approved_by": None if one.approver is None else person_fields(one.approver), "entered_by": row.entered_by, "reason": row.reason,
        "since": iso(row.begins_at), "until": iso(row.ends_at), "ended": iso(row.ended_at), "ended_because": row.ended_why,
    }  # fmt: skip


def _table(found: list[Listed]) -> Table:
    columns = ("person", "channel", "kind", "approved by", "reason", "since", "until", "ended")
    rows = [
        (
            one.person.user_name, one.channel.name, one.stay.why, None if one.approver is None else one.approver.user_name, one.stay.reason,
            iso(one.stay.begins_at), iso(one.stay.ends_at), iso(one.stay.ended_at),
        )
        for one in found
    ]  # fmt: skip
    return Table(columns=columns, rows=rows)
