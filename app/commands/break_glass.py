"""Verbs on break-glass accounts: who may come in while the identity provider does not answer."""

import click
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, OWNERS, Acting, one_person, person_fields, verb
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Person
from app.sso import break_glass as accounts


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(break_glass)


@click.group("break-glass")
def break_glass() -> None:
    """Named people who may come in without the identity provider, by a second factor of their own. There are none by default."""


def _with_code(acting: Acting, person: Person, code: str) -> Answer:
    url = f"{acting.settings.public_url}/break-glass/set-up"
    until = iso(now() + accounts.SET_UP_WITHIN)
    return Answer(
        schema="break_glass",
        fields={"person": person_fields(person), "set_up_url": url, "set_up_code": code, "expires": until},
        tables=[Table(columns=("person", "set_up_url", "set_up_code", "expires"), rows=[(person.user_name, url, code, until)])],
        notes=["The code is shown this once. It sets up one factor; every use of the account raises an alarm."],
    )


@verb(break_glass, "add", may=OWNERS)
@click.argument("person")
def add(acting: Acting, person: str) -> Answer:
    """Let PERSON come in without the identity provider; the code is for setting a factor up."""

    def act(session: Session) -> tuple[Person, str]:
        known = one_person(session, acting.organization_id, person)
        return known, accounts.add(session, acting.organization_id, known.id, actor=acting.actor, at=now())[1]

    return _with_code(acting, *in_transaction(act))


@verb(break_glass, "code", may=OWNERS)
@click.argument("person")
def code(acting: Acting, person: str) -> Answer:
    """Another code for PERSON, to set up one more factor, or codes for another envelope."""

    def act(session: Session) -> tuple[Person, str]:
        known = one_person(session, acting.organization_id, person)
        account = accounts.find(session, acting.organization_id, known.id)
        return known, accounts.set_up_code(session, account, actor=acting.actor, at=now())

    return _with_code(acting, *in_transaction(act))


@verb(break_glass, "list", may=ANYONE)
def list_accounts(acting: Acting) -> Answer:
    """Who may, what they prove themselves with, and when they last did."""
    with reading() as session:
        rows: list[dict[str, object]] = [
            {
                "person": person_fields(one.person), "factors": list(one.factors), "codes_left": one.codes_left,
                "since": iso(one.account.added_at), "added_by": one.account.added_by, "last_used": iso(one.account.last_used_at),
                "blocked_until": iso(one.account.blocked_until), "closed": iso(one.closed_at),
            }
            for one in accounts.accounts(session, acting.organization_id)
        ]  # fmt: skip
        names = [one.person.user_name for one in accounts.accounts(session, acting.organization_id)]
    columns = ("factors", "codes_left", "since", "last_used", "closed")
    shown = [(name, *(", ".join(row[key]) if isinstance(row[key], list) else row[key] for key in columns)) for name, row in zip(names, rows, strict=True)]  # type: ignore[arg-type]  # factors are words
    return Answer(schema="break_glass_accounts", fields={"accounts": rows}, tables=[Table(columns=("person", *columns), rows=shown)])


@verb(break_glass, "end", may=ADMINS)
@click.argument("person")
def end(acting: Acting, person: str) -> Answer:
    """PERSON comes in by the identity provider alone from now on; sessions that were opened without it end."""

    def act(session: Session) -> Person:
        known = one_person(session, acting.organization_id, person)
        accounts.end(session, accounts.find(session, acting.organization_id, known.id), actor=acting.actor, at=now())
        return known

    known = in_transaction(act)
    return Answer(
        schema="break_glass", fields={"person": person_fields(known), "ended": True}, notes=[f"{known.user_name} has no break-glass account any more."]
    )
