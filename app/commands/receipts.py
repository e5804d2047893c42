"""Verbs that answer about one person: the receipt of a departure, and why they are in a channel or not."""

import json
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import click
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access import keys as keys_of_ours
from app.access.keys import Purpose
from app.audit.stored import TreeBroken
from app.clock import iso, now
from app.commands import evidence, moved
from app.commands.acting import ANYONE, INFORMED, ROLES, Acting, one_person, person_fields, verb
from app.commands.exits import CommandError, Exit, NotAllowed
from app.commands.handed_out import written_whole
from app.commands.offline import FILE, keys_from
from app.commands.output import Answer, Table, show
from app.database import reading
from app.directory.settings import off_means
from app.directory.tables import Person, Record, Source, Standing, Statement, StatementKind, Voice
from app.intake.tables import HREvent
from app.intake.termination_words import voice_of
from app.journal.tables import Entry
from app.lifecycle.figures import milliseconds
from app.lifecycle.one_person import formers_of
from app.lifecycle.standing import COMEBACKS
from app.revocation import receipts, signed_receipts
from app.revocation.receipt_page import page
from app.revocation.receipts import Told
from app.revocation.tables import Departure, Proof
from app.rules.explain import explain

_root = click.Group()


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(receipt)
    doorlist.add_command(why)


@verb(_root, "receipt", may=ANYONE)
@click.argument("person")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file, signed; a page to print where FILE ends in .html.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to print as well.")
def _receipt(acting: Acting, person: str, out: Path | None, html: Path | None) -> Answer:
    """Every departure of a person, newest first: each instant in each place, and how it is known; and where they have moved."""
    with reading() as session:
        meant = one_person(session, acting.organization_id, person)
        moves = moved.moves(session, acting.organization_id, meant.id, informed=acting.informed)
        found = receipts.departures_of(session, acting.organization_id, meant.id, formers=formers_of(session, acting.organization_id, meant.id))
        announced = _announced(session, meant, now()) if acting.informed else []
    if not acting.informed and (out is not None or html is not None):
        raise NotAllowed(f"{acting.actor.name} is {acting.role}; a receipt that is written says why somebody left, which is for {', '.join(sorted(INFORMED))}")
    written = _written(acting, meant, out=out, html=html) if out is not None or html is not None else []
    fields = [_departure(one, informed=acting.informed) for one in found]
    rows = [row for one in found for row in _rows(one, informed=acting.informed)]
    reason = meant.standing_reason if acting.informed else None
    notes = [f"{meant.display_name} is {meant.standing}" + (f": {reason}." if reason is not None else ".")]
    notes += [f"{one['voice']} {one['said_by']} says: {one['kind']} at {one['effective_at']}." for one in announced]
    if not found:
        notes.append("There is no departure to show.")
    notes += [f"Written to {one}." for one in written]
    return Answer(
        schema="receipt",
        fields={
            "person": person_fields(meant), "standing": meant.standing, "reason": reason, "announced": announced,
            "departures": fields, "moves": moves, "written": written,
        },
        tables=[
            *([Table(columns=("workspace", "what", "at", "known", "ms since received", "ms since due"), rows=rows)] if rows else []),
            *([Table(columns=("moved", "workspace", "what", "channel", "since", "kept until", "can be read"), rows=moved.rows(moves))] if moves else []),
        ],
        notes=notes,
    )  # fmt: skip


@click.command("receipt")
@click.argument("person", required=False)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it to this file, signed; a page to print where FILE ends in .html.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a page to print as well.")
@click.option("--verify", "file", type=FILE, metavar="FILE", help="Check a signed receipt instead; needs nothing but --keys.")
@click.option("--keys", type=FILE, metavar="FILE", help="Public keys, from doorlist keys export --json.")
@click.option("--organization", metavar="NAME", help="Which organisation; may be left out where there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
@click.pass_context
def receipt(
    context: click.Context, person: str | None, out: Path | None, html: Path | None, file: Path | None, keys: Path | None,
    organization: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Every departure of a person, newest first: each instant in each place, and how it is known.

    With --out it is a signed file that anybody can check, years later and without us: --verify FILE --keys KEYS. Exit 8
    says that it was altered, and what.
    """
    if file is None:
        if person is None:
            raise click.UsageError("say whose receipt: PERSON, or --verify FILE --keys KEYS")
        if keys is not None:
            raise click.UsageError("--keys goes with --verify")
        if out is not None and html is not None and out.resolve() == html.resolve():
            # The one would be written over the other.
            raise click.UsageError(f"--out and --html are both {out}: say one file for each")
        ended: int = context.invoke(_receipt, person=person, out=out, html=html, organization=organization, as_json=as_json)
        return ended
    if person is not None or out is not None or html is not None or keys is None:
        raise click.UsageError("--verify FILE takes --keys KEYS, and neither PERSON nor anything to write")
    answer = _verified(file, keys)
    with suppress(BrokenPipeError):
        show(answer, as_json=as_json)
    return int(answer.exit)


ROLES[receipt] = ANYONE


def _verified(file: Path, keys: Path) -> Answer:
    faults = signed_receipts.verify(file.read_bytes(), keys_from(keys))
    return Answer(
        schema="receipt_verified",
        fields={"good": not faults, "altered": faults},
        tables=[Table(columns=("what",), rows=[(one,) for one in faults])] if faults else [],
        notes=[f"{file} was altered." if faults else f"{file} is as it was signed."],
        exit=Exit.ALTERED if faults else Exit.DONE,
    )


def _written(acting: Acting, person: Person, *, out: Path | None, html: Path | None) -> list[str]:
    """Sign what is known now, with its place in a signed tree, and write it."""
    try:
        evidence.catch_up(acting.settings)
        evidence.sign(acting.settings, acting.organization_id)
    except TreeBroken as error:
        raise AuditAltered(f"the audit in the database was altered: {error}") from error
    at = now()
    with reading() as session:
        formers = formers_of(session, acting.organization_id, person.id)
        events = _events(session, acting.organization_id, person.id, formers)
        moves = moved.moves(session, acting.organization_id, person.id, informed=True)
        told = receipts.compose(session, (acting.organization_id, acting.organization), person, events=events, at=at, moves=moves, formers=formers)
        signed = signed_receipts.sign(told, keys_of_ours.signer(session, acting.settings, Purpose.EVIDENCE, at=at), at=at)
    pages = [one for one in (out, html) if one is not None and (one is html or one.suffix.lower() in (".html", ".htm"))]
    files = [out] if out is not None and out not in pages else []
    for path, content in [*((one, signed) for one in files), *((one, page(json.loads(signed)).encode()) for one in pages)]:
        if path.exists() and not path.is_file():
            # A pipe, say: it is not to be put out of the way.
            path.write_bytes(content)
            continue
        with written_whole(path) as written:
            written.write(content)
    return [str(one) for one in [*files, *pages]]


class AuditAltered(CommandError):
    exit = Exit.ALTERED


def _events(session: Session, organization_id: str, person_id: str, formers: Collection[str]) -> dict[str, receipts.SourceEvent]:
    """The HR call that each departure goes back to, where one does: the one its entry names, else the one that had named that day."""
    found = {}
    theirs = Departure.organization_id == organization_id, Departure.person_id.in_([person_id, *formers])
    for departure in session.scalars(select(Departure).where(*theirs)).all():
        called = _called(session, session.get_one(Entry, departure.journal_id))
        if called is None and voice_of(departure.reason) is Voice.HR:
            # What came due goes back to a call of some earlier day, whose entry is another.
            word = _word_of_hr(session, departure, person_id)
            called = None if word is None else _called(session, word)
        if called is not None:
            found[departure.id] = called
    return found


def _called(session: Session, entry: Entry) -> receipts.SourceEvent | None:
    """The HR call that an entry names, among those about whom it was written: that may be somebody who turned out to be another."""
    calls = session.execute(
        select(HREvent, Source.name)
        .join(Source, (Source.organization_id == HREvent.organization_id) & (Source.id == HREvent.source_id))
        .where(HREvent.organization_id == entry.organization_id, HREvent.person_id == entry.subject_id, HREvent.state == "applied")
        .order_by(HREvent.received_at.desc())
    )
    for call, source in calls:
        if call.sha256 in entry.because:
            return receipts.SourceEvent(source=source, event_id=call.event_id, received_at=call.received_at, sha256=call.sha256)
    return None


def _word_of_hr(session: Session, departure: Departure, person_id: str) -> Entry | None:
    """The entry of the word by which HR had somebody out at their departure: the last of that very day, else the last that was due."""
    heard_at = func.coalesce(Statement.heard_at, Statement.said_at)
    said = session.execute(
        select(Statement.effective_at, Entry)
        .join(Entry, Entry.id == func.coalesce(Statement.said_in, Statement.journal_id))
        .where(
            Statement.organization_id == departure.organization_id, Statement.person_id == person_id, Statement.voice == Voice.HR,
            Statement.kind.not_in(COMEBACKS), Statement.held.is_(False), Statement.effective_at <= departure.decided_at,
            heard_at <= departure.decided_at, Statement.withdrawn_at.is_(None) | (Statement.withdrawn_at > departure.decided_at),
        )
        .order_by(heard_at, Statement.id)
    ).all()  # fmt: skip
    chosen = [entry for effective_at, entry in said if effective_at == departure.due_at] or [entry for _, entry in said]
    return chosen[-1] if chosen else None


def _announced(session: Session, person: Person, at: datetime) -> list[dict[str, object]]:
    said = session.scalars(
        select(Statement)
        .where(
            Statement.organization_id == person.organization_id, Statement.person_id == person.id, Statement.effective_at > at,
            Statement.withdrawn_at.is_(None),
        )
        .order_by(Statement.effective_at)
    )  # fmt: skip
    told: list[dict[str, object]] = [
        {"voice": one.voice, "said_by": one.said_by, "kind": one.kind, "effective_at": iso(one.effective_at), "held": one.held} for one in said
    ]
    return sorted([*told, *_last_days(session, person, at)], key=lambda one: str(one["effective_at"]))


def _last_days(session: Session, person: Person, at: datetime) -> list[dict[str, object]]:
    """By which sources' last day access ends: that is the date of a record, and no statement."""
    if person.access_until is None or person.access_until <= at:
        return []
    names = session.scalars(
        select(Source.name)
        .join(Record, (Record.organization_id == Source.organization_id) & (Record.source_id == Source.id))
        .where(
            Record.organization_id == person.organization_id, Record.person_id == person.id, Record.ended_at.is_(None), Record.active,
            Record.ends_at == person.access_until,
        )
        .order_by(Source.name)
        .distinct()
    )  # fmt: skip
    leaves = off_means(session, person.organization_id) == Standing.DEPARTED
    kind = StatementKind.LEAVES if leaves else StatementKind.PAUSES
    said = {"voice": Voice.DIRECTORY.value, "kind": kind.value, "effective_at": iso(person.access_until), "held": False}
    return [{"said_by": name, **said} for name in names]


def _departure(told: Told, *, informed: bool) -> dict[str, object]:
    one = told.departure
    return {
        "id": one.id, "means": one.means, "reason": one.reason if informed else None, "actor": one.actor if informed else None,
        "reinstated": receipts.reinstatement(told) if informed else None, "due": iso(one.due_at), "received": iso(one.received_at),
        "decided": iso(one.decided_at), "returned": iso(one.ended_at), "journal": one.journal_id,
        "workspaces": [_target(told, proof, name, informed=informed) for proof, name, kind in told.targets if kind == "workspace"],
        "targets": [{"kind": kind, **_target(told, proof, name, informed=informed)} for proof, name, kind in told.targets],
        "open": receipts.still_open(told),
    }  # fmt: skip


def _target(told: Told, proof: Proof, name: str, *, informed: bool) -> dict[str, object]:
    one, erased = told.departure, told.erased.get(proof.workspace_id) if informed else None
    return {
        "name": name, "sent": iso(proof.sent_at), "acknowledged": iso(proof.acknowledged_at),
        "shut": iso(proof.shut_at), "shut_known": proof.shut_grade, "gone": iso(proof.gone_at), "gone_known": proof.gone_grade,
        "ms_from_received_to_shut": milliseconds(one.received_at, proof.shut_at),
        "ms_from_received_to_gone": milliseconds(one.received_at, proof.gone_at),
        "ms_from_due_to_shut": milliseconds(one.due_at, proof.shut_at),
        "ms_from_due_to_gone": milliseconds(one.due_at, proof.gone_at),
        "closed": proof.closed, "attempts": proof.attempts, "last_error": proof.last_error,
        "erased": None if erased is None else iso(erased.erased_at), "erased_known": None if erased is None else erased.grade,
    }  # fmt: skip


def _rows(told: Told, *, informed: bool) -> list[tuple[object, ...]]:
    """One line for each instant; what has not come yet is shown as not known."""
    one = told.departure

    def line(where: str, what: str, at: datetime | None, known: str | None) -> tuple[object, ...]:
        return (where, what, iso(at) or "not yet", known, milliseconds(one.received_at, at), milliseconds(one.due_at, at))

    why, by = (one.reason, one.actor) if informed else (None, None)
    rows = [line("doorlist", "due", one.due_at, why), line("doorlist", "received", one.received_at, by)]
    rows.append(line("doorlist", "decided", one.decided_at, f"{one.means}, journal {one.journal_id}"))
    for proof, name, _ in told.targets:
        rows += [
            line(name, "sent", proof.sent_at, None if proof.last_error is None else f"{proof.attempts} attempts: {proof.last_error}"),
            line(name, "acknowledged", proof.acknowledged_at, None),
            line(name, "shut", proof.shut_at, proof.shut_grade),
            line(name, "gone", proof.gone_at, proof.gone_grade),
        ]
        if informed and (erased := told.erased.get(proof.workspace_id)) is not None:
            rows.append(line(name, "erased", erased.erased_at, erased.grade))
    if one.ended_at is not None:
        undone = receipts.reinstatement(told) if informed else None
        rows.append(line("doorlist", "returned", one.ended_at, None if undone is None else f"reinstated by {undone['by']}: {undone['reason']}"))
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
