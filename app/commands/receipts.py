"""Verbs that answer about one person: the receipt of a departure, and why they are in a channel or not."""

from datetime import datetime

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.acting import ANYONE, Acting, one_person, person_fields, verb
from app.commands.output import Answer, Table
from app.database import reading
from app.directory.tables import Statement
from app.lifecycle.figures import milliseconds
from app.revocation import departures
from app.revocation.tables import Departure, Proof
from app.rules.explain import explain

_root = click.Group()


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(receipt)
    doorlist.add_command(why)


@verb(_root, "receipt", may=ANYONE)
@click.argument("person")
def receipt(acting: Acting, person: str) -> Answer:
    """Every departure of a person, newest first: each instant in each workspace, and how it is known."""
    with reading() as session:
        meant = one_person(session, acting.organization_id, person)
        found = [(one, list(proofs)) for one, proofs in departures.history(session, acting.organization_id, meant.id)]
        announced = _announced(session, acting.organization_id, meant.id, now())
    fields = [_departure(one, proofs) for one, proofs in found]
    rows = [row for one, proofs in found for row in _rows(one, proofs)]
    notes = [f"{meant.display_name} is {meant.standing}: {meant.standing_reason}."]
    notes += [f"{one['voice']} {one['said_by']} says: {one['kind']} at {one['effective_at']}." for one in announced]
    if not found:
        notes.append("There is no departure to show.")
    return Answer(
        schema="receipt",
        fields={"person": person_fields(meant), "standing": meant.standing, "reason": meant.standing_reason, "announced": announced, "departures": fields},
        tables=[Table(columns=("workspace", "what", "at", "known", "ms since received", "ms since due"), rows=rows)] if rows else [],
        notes=notes,
    )


def _announced(session: Session, organization_id: str, person_id: str, at: datetime) -> list[dict[str, object]]:
    said = session.scalars(
        select(Statement)
        .where(
            Statement.organization_id == organization_id, Statement.person_id == person_id, Statement.effective_at > at,
            Statement.withdrawn_at.is_(None),
        )
        .order_by(Statement.effective_at)
    )  # fmt: skip
    return [
        {"voice": one.voice, "said_by": one.said_by, "kind": one.kind, "effective_at": iso(one.effective_at), "held": one.held} for one in said
    ]


def _departure(one: Departure, proofs: list[tuple[Proof, str]]) -> dict[str, object]:
    return {
        "id": one.id, "means": one.means, "reason": one.reason, "actor": one.actor, "due": iso(one.due_at), "received": iso(one.received_at),
        "decided": iso(one.decided_at), "returned": iso(one.ended_at), "journal": one.journal_id,
        "workspaces": [
            {
                "name": name, "sent": iso(proof.sent_at), "acknowledged": iso(proof.acknowledged_at),
                "shut": iso(proof.shut_at), "shut_known": proof.shut_grade, "gone": iso(proof.gone_at), "gone_known": proof.gone_grade,
                "ms_from_received_to_shut": milliseconds(one.received_at, proof.shut_at),
                "ms_from_received_to_gone": milliseconds(one.received_at, proof.gone_at),
                "ms_from_due_to_shut": milliseconds(one.due_at, proof.shut_at),
                "ms_from_due_to_gone": milliseconds(one.due_at, proof.gone_at),
                "closed": proof.closed, "attempts": proof.attempts, "last_error": proof.last_error,
            }
            for proof, name in proofs
        ],
    }  # fmt: skip


def _rows(one: Departure, proofs: list[tuple[Proof, str]]) -> list[tuple[object, ...]]:
    """One line for each instant; what has not come yet is shown as not known."""

    def line(where: str, what: str, at: datetime | None, known: str | None) -> tuple[object, ...]:
        return (where, what, iso(at) or "not yet", known, milliseconds(one.received_at, at), milliseconds(one.due_at, at))

    rows = [line("doorlist", "due", one.due_at, one.reason), line("doorlist", "received", one.received_at, one.actor)]
    rows.append(line("doorlist", "decided", one.decided_at, f"{one.means}, journal {one.journal_id}"))
    for proof, name in proofs:
        rows += [
            line(name, "sent", proof.sent_at, None if proof.last_error is None else f"{proof.attempts} attempts: {proof.last_error}"),
            line(name, "acknowledged", proof.acknowledged_at, None),
            line(name, "shut", proof.shut_at, proof.shut_grade),
            line(name, "gone", proof.gone_at, proof.gone_grade),
        ]
    if one.ended_at is not None:
        rows.append(line("doorlist", "returned", one.ended_at, None))
    return rows


@verb(_root, "explain", may=ANYONE)
@click.argument("person")
@click.option("--channel", metavar="C", help="One channel by its name; without it, all of them.")
def why(acting: Acting, person: str, channel: str | None) -> Answer:
    """Say in one sentence why somebody is, or is not, in a channel, then show the steps."""
    with reading() as session:
        meant = one_person(session, acting.organization_id, person)
        found = explain(session, acting.organization_id, meant.id, channel, now())
    steps = [{"question": step.question, "answer": step.answer, "holds": step.holds} for step in found.steps]
    return Answer(
        schema="explain",
        fields={"person": person_fields(meant), "channel": channel, "sentence": found.sentence, "steps": steps},
        tables=[
            Table(columns=(found.sentence,), rows=[]),
            Table(columns=("question", "answer"), rows=[(step.question, step.answer) for step in found.steps]),
        ],
    )
