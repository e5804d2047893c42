"""Verbs on the audit: its state, signing it, taking it elsewhere as a file, and checking such a file anywhere."""

from datetime import datetime
from pathlib import Path

import click
from sqlalchemy import select

from app.access import keys as signing
from app.access.keys import Purpose
from app.audit import checkpoints, lag, rounds
from app.audit.exports import NothingToExport, write_export
from app.audit.publishing import Forked
from app.audit.stored import TreeBroken
from app.audit.tree_tables import AuditCheckpoint, AuditDelivery, AuditTree
from app.audit.verifying import Fault, verify_export
from app.clock import iso, now
from app.commands import evidence
from app.commands.acting import ADMINS, ANYONE, INSTANT, Acting, verb
from app.commands.exits import CommandError, Exit
from app.commands.handed_out import written_whole
from app.commands.offline import FILE, keys_from, offline_verb
from app.commands.output import Answer, Table
from app.database import one_moment, reading
from app.lifecycle.operators import Role

AUDITORS = ADMINS | {Role.AUDITOR}


class Altered(CommandError):
    exit = Exit.ALTERED


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(audit)


@click.group()
def audit() -> None:
    """What was done, by whom, in a form that nobody can change unseen."""


@verb(audit, "status", may=ANYONE)
def status(acting: Acting) -> Answer:
    """How far the tree has grown, when it was last signed and published, and who has had it."""
    with reading() as session:
        grown = session.get(AuditTree, acting.organization_id)
        latest = checkpoints.latest(session, acting.organization_id)
        waiting = lag.waiting_since(session)
        behind = lag.audit_is_behind(session, at=now())
        receivers = session.scalars(
            select(AuditDelivery)
            .where(AuditDelivery.organization_id == acting.organization_id, AuditDelivery.receiver != rounds.RECEIVER)
            .order_by(AuditDelivery.receiver)
        ).all()
        round_ = session.get(AuditDelivery, (acting.organization_id, rounds.RECEIVER))
    fields: dict[str, object] = {
        "origin": grown.origin if grown else None, "leaves": grown.size if grown else 0, "sequenced": iso(grown.sequenced_at) if grown else None,
        "signed_leaves": latest.size if latest else 0, "signed": iso(latest.at) if latest else None,
        "published": iso(latest.published_at) if latest else None, "waiting_since": iso(waiting), "behind": behind,
        "without_content": grown.pruned if grown else 0, "looked_again": iso(round_.delivered_at) if round_ else None,
        "look_goes_on_at": round_.next if round_ else 0, "broken": round_.last_error if round_ else None,
        "receivers": [
            {"name": one.receiver, "leaves": one.next, "delivered": iso(one.delivered_at), "last_error": one.last_error} for one in receivers
        ],
    }  # fmt: skip
    tables = [Table(columns=("what", "is"), rows=[(name.replace("_", " "), value) for name, value in fields.items() if name != "receivers"])]
    if receivers:
        rows = [(one.receiver, one.next, iso(one.delivered_at), one.last_error) for one in receivers]
        tables.append(Table(columns=("receiver", "leaves", "delivered", "last error"), rows=rows))
    return Answer(
        schema="audit",
        fields=fields,
        tables=tables,
        notes=["The tree is behind: nothing new is given until it has caught up. Is a worker running?"] if behind else [],
    )


@verb(audit, "checkpoint", may=AUDITORS)
def checkpoint(acting: Acting) -> Answer:
    """Sign the tree as it is now, publish that where it is set up, and print it."""
    made = _signed(acting)
    if made is None:
        raise CommandError("nothing has been written down yet")
    places = evidence.places_of(acting.settings)
    if places:
        try:
            evidence.publish(acting.organization_id, places)
        except Forked as error:
            raise Altered(str(error)) from error
    return Answer(
        schema="checkpoint",
        fields={"size": made.size, "root": made.root.hex(), "signed": iso(made.at), "checkpoint": made.note},
        tables=[Table(columns=(line,), rows=[]) for line in made.note.splitlines()],
    )


def _signed(acting: Acting) -> AuditCheckpoint | None:
    try:
        evidence.catch_up(acting.settings)
        with reading() as session:
            grown = session.get(AuditTree, acting.organization_id)
        if grown is not None:
            evidence.look_at(acting.organization_id)
        return evidence.sign(acting.settings, acting.organization_id)
    except TreeBroken as error:
        raise _altered(error) from error


def _altered(why: TreeBroken | str) -> Altered:
    return Altered(f"the audit in the database was altered: {why}")


@verb(audit, "export", may=AUDITORS)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write; only its owner can read it.")
@click.option("--from", "since", type=INSTANT, help="Only what was appended at or after this instant.")
@click.option("--to", "until", type=INSTANT, help="Only what was appended before this instant.")
def export(acting: Acting, out: Path, since: datetime | None, until: datetime | None) -> Answer:
    """Write the audit to a file that anybody can check with the public keys alone.

    It holds what was written down, in the open: names, and what stood in a row before and after.
    """
    if out.exists() and not out.is_file():
        # It would be put out of the way: whoever has the machine would then have a file where there was a device or a pipe.
        raise click.UsageError(f"{out} is no file: an export is written beside it, and moved there once it is whole")
    broken = None
    try:
        evidence.catch_up(acting.settings)
        evidence.sign(acting.settings, acting.organization_id)
    except TreeBroken as error:
        # Whoever is to find the place needs the file: it goes as far as was signed.
        broken = str(error)
    try:
        # Half an export looks like one that was cut off.
        with written_whole(out) as file, one_moment() as session:
            signer = signing.signer(session, acting.settings, Purpose.EVIDENCE, at=now())
            done = write_export(
                session, acting.organization_id, acting.organization, file, signer, at=now(), kept=evidence.kept(acting.settings),
                since=since, until=until,
            )  # fmt: skip
    except TreeBroken as error:
        raise _altered(error) from error
    except NothingToExport as error:
        # Where what was signed is gone there is nothing either.
        raise (CommandError(str(error)) if broken is None else _altered(broken)) from error
    fields = {"file": str(out), "first": done.first, "end": done.end, "size": done.size, "checkpoints": done.checkpoints, "lines": done.lines, "broken": broken}
    return Answer(
        schema="audit_export", fields=fields, tables=[Table(columns=tuple(fields), rows=[list(fields.values())])],
        notes=[
            *([] if broken is None else [f"The audit in the database was altered, and nothing newer is signed: {broken}."]),
            "Check it with: doorlist audit verify FILE --keys KEYS (doorlist keys export --json > KEYS)",
        ],
        exit=Exit.DONE if broken is None else Exit.ALTERED,
    )  # fmt: skip


@offline_verb(audit, "verify")
@click.argument("file", type=FILE)
@click.option("--keys", "keys", type=FILE, required=True, help="Public keys, from doorlist keys export --json.")
@click.option("--checkpoint", "elsewhere", type=FILE, multiple=True, help="A checkpoint that was published: the file must be the same history. May be given again.")
def verify(file: Path, keys: Path, elsewhere: tuple[Path, ...]) -> Answer:
    """Check an exported audit: nothing altered, taken out, added or moved since it was signed. Exit 8 says that something was, and what."""
    if not file.is_file():
        # What came through a pipe is gone the second time, and that is not to be told as a file that was altered.
        raise click.UsageError(f"{file} is no file: it is read twice, so put what comes through a pipe into one first")
    verdict = verify_export(file, keys_from(keys), elsewhere=[one.read_text(encoding="utf-8", errors="replace") for one in elsewhere])

    def shown(faults: list[Fault]) -> list[dict[str, object]]:
        return [{"what": one.what, "line": one.line, "leaf": one.leaf} for one in faults]

    return Answer(
        schema="audit_verified",
        fields={
            "good": verdict.good, "origin": verdict.origin, "first": verdict.first, "end": verdict.end, "checkpoints": verdict.checkpoints,
            "values_checked": verdict.opened, "without_content": verdict.without_content, "altered": shown(verdict.faults), "remarks": shown(verdict.remarks),
        },
        tables=[Table(columns=("line", "leaf", "what"), rows=[(one.line, one.leaf, one.what) for one in verdict.faults])] if verdict.faults else [],
        notes=[
            f"{file}: leaves {verdict.first} to {verdict.end - 1} of {verdict.origin} are as they were signed." if verdict.good else f"{file} was altered.",
            *([f"{verdict.without_content} of them can be opened no more."] if verdict.without_content else []),
            *(f"Look at this: {one}" for one in verdict.remarks),
        ],
        exit=Exit.DONE if verdict.good else Exit.ALTERED,
    )  # fmt: skip
