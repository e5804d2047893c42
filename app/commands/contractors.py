"""Verbs on people who are no employees: taking them on, vouching for them, another sponsor, letting go."""

from typing import Any

import click
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.acting import ADMINS, INFORMED, NAME, Acting, one_person, person_fields, verb
from app.commands.days import ZONE, beginning_at, end_at
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.names import is_bare
from app.directory.tables import Person
from app.lifecycle import contractors, engagements
from app.lifecycle.contractors import Listed
from app.lifecycle.engagement_tables import Engagement
from app.lifecycle.people import find_people


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(contractor)


@click.group()
def contractor() -> None:
    """People who are no employees: each has a sponsor who answers for them, and a last day."""


class AddressType(click.ParamType[Any]):
    """An e-mail address and nothing beside it. Of what is entered here nobody can change it later."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        address = value.strip()
        local, _, domain = address.rpartition("@")
        if not (is_bare(local) and is_bare(domain)):
            self.fail(f"{value!r} is no address; write it like zoe@agency.example", param, ctx)
        return address


_NAME = click.argument("name", metavar="NAME")
_UNTIL = click.option("--until", required=True, metavar="D", help="Their last day, such as 2026-12-31; or a time there, or an instant with its zone.")


@verb(contractor, "add", may=ADMINS)
@_NAME
@click.option("--sponsor", required=True, metavar="PERSON", help="The employee who answers for them.")
@_UNTIL
@click.option("--from", "since", metavar="D", help="The day they start, if that is still to come.")
@click.option("--email", type=AddressType(), metavar="ADDRESS", help="Of somebody whom no directory names; then NAME is what they are called.")
@click.option("--user-name", type=NAME, metavar="U", help="Their userName; their address without it.")
@ZONE
def add(
    acting: Acting, name: str, sponsor: str, until: str, since: str | None, email: str | None, user_name: str | None, zone: str | None
) -> Answer:
    """Take somebody on until a day: whom a directory names, or, with --email, somebody new."""
    if user_name is not None and email is None:
        raise click.UsageError("--user-name goes with --email: a directory gives its people their names")

    def act(session: Session) -> Answer:
        at = now()
        by = one_person(session, acting.organization_id, sponsor)
        starts_at = None if since is None else beginning_at(session, acting, since, zone)
        ends_at = end_at(session, acting, until, zone)
        if email is None:
            person = one_person(session, acting.organization_id, name)
        else:
            NAME.convert(name, None, None)
            for one in (email, user_name or email):
                _refuse_known(session, acting, one)
            person = contractors.enter(
                session, acting.organization_id, name, email=email, user_name=user_name or email, starts_at=starts_at, actor=acting.actor, at=at
            )
        kind = person.user_type if engagements.is_contractor(session, person) else None
        row = engagements.take_on(
            session, person, sponsor=by, starts_at=starts_at, ends_at=ends_at, kind=kind or contractors.CALLED, actor=acting.actor, at=at
        )
        return _answer("contractor", person, row, by, notes=[f"{person.display_name} is {person.standing}, until {iso(person.access_until or row.ends_at)}."])

    return in_transaction(act)


def _refuse_known(session: Session, acting: Acting, text: str) -> None:
    """What means somebody already would mean two people, and neither could be let go by it."""
    known = find_people(session, acting.organization_id, text)
    if known:
        names = ", ".join(one.user_name for one in known)
        raise click.UsageError(f"{text} is known already, as {names}; whom a directory names is taken on without --email")


@verb(contractor, "list", may=INFORMED)
def list_contractors(acting: Acting) -> Answer:
    """Everybody who is no employee, those first who end first."""
    with reading() as session:
        found = contractors.listed(session, acting.organization_id)
    rows = [_fields(one) for one in found]
    columns = ("person", "kind", "sponsor", "from", "until", "state")
    cells = [
        (one.person.user_name, row["kind"], None if one.sponsor is None else one.sponsor.user_name, row["starts"], row["ends"], row["state"])
        for one, row in zip(found, rows, strict=True)
    ]
    return Answer(schema="contractors", fields={"contractors": rows}, tables=[Table(columns=columns, rows=cells)])


@verb(contractor, "attest", may=ADMINS)
@_NAME
@_UNTIL
@click.option("--by", required=True, metavar="SPONSOR", help="The sponsor, who has said so.")
@ZONE
def attest(acting: Acting, name: str, until: str, by: str, zone: str | None) -> Answer:
    """The sponsor vouches for somebody until another day; whoever was suspended for want of it is back."""

    def act(session: Session) -> Answer:
        at = now()
        sponsor = one_person(session, acting.organization_id, by)
        row = _engagement(session, acting, name)
        person = engagements.attest(
            session, row, until=end_at(session, acting, until, zone), by=sponsor, actor=acting.actor, at=at
        )
        return _answer("contractor", person, row, sponsor, notes=[f"{person.display_name} is {person.standing}, until {iso(person.access_until or row.ends_at)}."])

    return in_transaction(act)


@verb(contractor, "reassign", may=ADMINS)
@_NAME
@click.option("--to", required=True, metavar="PERSON", help="The employee who answers for them from now on.")
def reassign(acting: Acting, name: str, to: str) -> Answer:
    """Another sponsor answers for somebody; their last day stays."""

    def act(session: Session) -> Answer:
        sponsor = one_person(session, acting.organization_id, to)
        row = _engagement(session, acting, name)
        engagements.reassign(session, row, sponsor, actor=acting.actor, at=now(), because="operator")
        person = session.get_one(Person, (row.organization_id, row.person_id))
        return _answer("contractor", person, row, sponsor, notes=[f"{sponsor.display_name} answers for {person.display_name}."])

    return in_transaction(act)


@verb(contractor, "end", may=ADMINS)
@_NAME
@click.option("--stays", is_flag=True, help="They become an employee: no sponsor's day ends their access any more.")
def end(acting: Acting, name: str, stays: bool) -> Answer:
    """Let somebody go now; or, with --stays, keep them as an employee."""

    def act(session: Session) -> Answer:
        at = now()
        found, ended = (contractors.engagement_of, contractors.keep_on) if stays else (contractors.engagement_to_end, engagements.end)
        row = found(session, one_person(session, acting.organization_id, name), at=at)
        person = ended(session, row, actor=acting.actor, at=at)
        notes = [f"{person.display_name} is {person.standing}: {person.standing_reason}."]
        if stays and engagements.is_contractor(session, person):
            notes.append(f"A directory still calls them {person.user_type}: until it does not, they get another engagement within minutes.")
        return _answer("contractor", person, row, None, notes=notes)

    return in_transaction(act)


def _engagement(session: Session, acting: Acting, name: str) -> Engagement:
    return contractors.engagement_of(session, one_person(session, acting.organization_id, name), at=now())


def _answer(schema: str, person: Person, row: Engagement, sponsor: Person | None, *, notes: list[str]) -> Answer:
    fields = _fields(Listed(person=person, engagement=row, sponsor=sponsor))
    # The day of an engagement that is over ends nobody's access any more.
    until = fields["ends"] if row.ended_at is None else iso(person.access_until)
    columns = ("person", "standing", "sponsor", "until")
    cells = (person.user_name, person.standing, None if sponsor is None else sponsor.user_name, until)
    return Answer(schema=schema, fields={**fields, "access_until": iso(person.access_until)}, tables=[Table(columns=columns, rows=[cells])], notes=notes)


def _fields(one: Listed) -> dict[str, object]:
    row = one.engagement
    return {
        "person": person_fields(one.person), "kind": one.person.user_type if row is None else row.kind, "state": _state(row),
        "sponsor": None if one.sponsor is None else person_fields(one.sponsor),
        "starts": None if row is None else iso(row.starts_at), "ends": None if row is None else iso(row.ends_at),
        "attested": None if row is None else iso(row.attested_at), "attested_by": None if row is None else row.attested_by,
        "origin": "directory" if row is None else row.origin,
    }  # fmt: skip


def _state(row: Engagement | None) -> str:
    """`incomplete` without a sponsor or a last day, `lapsed` where that day passed without an answer."""
    if row is not None and row.ended_at is not None:
        return "ended"
    if row is not None and row.lapsed_at is not None:
        return "lapsed"
    return "incomplete" if row is None or row.sponsor_id is None or row.ends_at is None else "open"
