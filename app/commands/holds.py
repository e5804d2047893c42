"""Verbs on legal holds: what somebody wrote is kept from being erased. Only those who are told why somebody left are told of them."""

import click
from sqlalchemy.orm import Session

from app.access.known_workspaces import name_of_workspace
from app.clock import iso, now
from app.commands.acting import ADMINS, INFORMED, Acting, one_person, person_fields, verb
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Person
from app.lifecycle import legal_hold
from app.lifecycle.hold_tables import LegalHold
from app.revocation.erasure_tables import Erasure


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(hold)


@click.group()
def hold() -> None:
    """Legal holds: nothing that somebody wrote is erased while one stands."""


_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why, such as the number of a case; it is kept.")
_BY = click.option("--by", "ordered_by", required=True, metavar="NAME", help="Who has ordered it.")


@verb(hold, "set", may=ADMINS)
@click.argument("person")
@_REASON
@_BY
def set_hold(acting: Acting, person: str, reason: str, ordered_by: str) -> Answer:
    """Keep what somebody wrote, whether they are here or have left. Each order is a hold of its own."""
    reason, ordered_by = _said(reason, "--reason"), _said(ordered_by, "--by")

    def act(session: Session) -> Answer:
        meant = one_person(session, acting.organization_id, person)
        placed = legal_hold.place(session, acting.organization_id, meant.id, reason=reason, ordered_by=ordered_by, actor=acting.actor, at=now())
        late = [_late(session, one) for one in placed.too_late]
        notes = [f"What {meant.display_name} wrote is kept. To end this: doorlist hold end {placed.hold.id}"]
        notes += [
            f"In {one['workspace']} it was erased already, at {one['erased']}." if one["erased"] is not None
            else f"In {one['workspace']} erasing had begun at {one['begun']}, and may be done."
            for one in late
        ]  # fmt: skip
        return Answer(schema="hold", fields={**_fields(placed.hold, meant), "too_late": late}, tables=[_table([(placed.hold, meant)])], notes=notes)

    return in_transaction(act)


def _late(session: Session, one: Erasure) -> dict[str, object]:
    name = name_of_workspace(session, one.organization_id, one.workspace_id)
    return {"workspace": name, "begun": iso(one.begun_at), "erased": iso(one.erased_at)}


@verb(hold, "end", may=ADMINS)
@click.argument("id")
@_REASON
@_BY
def end_hold(acting: Acting, id: str, reason: str, ordered_by: str) -> Answer:
    """One hold has ended. What is due is erased a day from now at the earliest, unless another hold stands."""
    reason, ordered_by = _said(reason, "--reason"), _said(ordered_by, "--by")

    def act(session: Session) -> Answer:
        row = legal_hold.find(session, acting.organization_id, id)
        meant = session.get_one(Person, (acting.organization_id, row.person_id))
        legal_hold.end(session, row, because=reason, ordered_by=ordered_by, actor=acting.actor, at=now())
        others = len(legal_hold.standing(session, acting.organization_id, meant.id))
        notes = [f"{others} more stand for {meant.display_name}." if others else f"None stands for {meant.display_name} any more."]
        return Answer(schema="hold", fields={**_fields(row, meant), "others": others}, tables=[_table([(row, meant)])], notes=notes)

    return in_transaction(act)


@verb(hold, "list", may=INFORMED)
@click.option("--all", "ended", is_flag=True, help="Those that have ended as well.")
@click.option("--person", metavar="PERSON", help="Only those for one person.")
def list_holds(acting: Acting, ended: bool, person: str | None) -> Answer:
    """Every legal hold, the oldest first."""
    with reading() as session:
        meant = None if person is None else one_person(session, acting.organization_id, person)
        found = [one for one in legal_hold.listed(session, acting.organization_id, ended=ended) if meant is None or one[1].id == meant.id]
    return Answer(schema="holds", fields={"holds": [_fields(*one) for one in found]}, tables=[_table(found)])


def _said(text: str, option: str) -> str:
    if not text.strip():
        raise click.UsageError(f"{option} says nothing")
    return text.strip()


def _fields(row: LegalHold, person: Person) -> dict[str, object]:
    return {
        "id": row.id, "person": person_fields(person), "reason": row.reason, "ordered_by": row.ordered_by, "placed_by": row.placed_by,
        "since": iso(row.placed_at), "ended": iso(row.ended_at), "ended_by": row.ended_by, "ended_because": row.ended_because,
    }  # fmt: skip


def _table(found: list[tuple[LegalHold, Person]]) -> Table:
    columns = ("id", "person", "standing", "reason", "ordered by", "since", "ended")
    rows = [(row.id, person.user_name, person.standing, row.reason, row.ordered_by, iso(row.placed_at), iso(row.ended_at)) for row, person in found]
    return Table(columns=columns, rows=rows)
