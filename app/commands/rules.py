"""Verbs on channel rules: trying a file, counting what it would change, putting it in force, renaming a key."""

from collections.abc import Sequence
from pathlib import Path

import click
from sqlalchemy.orm import Session

from app.clock import now
from app.commands.acting import ADMINS, ANYONE, Acting, verb
from app.commands.exits import Exit, NotReady
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.delivery.expansion import want_channels
from app.journal import entries
from app.lifecycle.brake import digest_of, hold_whole
from app.reconcile.ceiling import Ceiling, TooLarge
from app.rules.file import Rule, as_data, parse
from app.rules.membership import keys_in_use
from app.rules.moves import rename
from app.rules.revisions import Difference, apply_rules, current_rules, diff, in_force
from app.rules.unknown_names import unknown_names


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(rules)


@click.group()
def rules() -> None:
    """Which channels there are, and who belongs in them: a YAML file."""


_FILE = click.argument("file", type=click.Path(path_type=Path))


def _read(file: Path) -> tuple[Rule, ...]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotReady(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error
    return parse(text)


def _counted(change: Difference) -> dict[str, object]:
    return {
        "added": change.added, "removed": change.removed, "kept": change.kept, "people": change.people,
        "new_channels": list(change.new_channels), "lost_channels": list(change.lost_channels),
        "renamed_channels": [{"old": old, "new": new} for old, new in change.renamed_channels],
    }  # fmt: skip


def _table(change: Difference) -> Table:
    rows = [
        *(("+ channel", name) for name in change.new_channels),
        *(("- channel", name) for name in change.lost_channels),
        *(("= channel", f"{old} is called {new}") for old, new in change.renamed_channels),
        ("+ memberships", change.added),
        ("- memberships", change.removed),
        ("= memberships", change.kept),
    ]
    return Table(columns=("change", "what"), rows=rows)


@verb(rules, "test", may=ANYONE)
@_FILE
def test(acting: Acting, file: Path) -> Answer:
    """Read a file and show the channels it makes for the people of now; nothing is written."""
    read = _read(file)
    with reading() as session:
        found = [(one.belongs.rule_id, one.belongs.key, one.people) for one in keys_in_use(session, acting.organization_id, read)]
        remarks = unknown_names(session, acting.organization_id, read)
    found.sort()
    return Answer(
        schema="rules.test",
        fields={"rules": len(read), "channels": [{"rule": rule, "key": key, "people": people} for rule, key, people in found], "remarks": remarks},
        tables=[Table(columns=("rule", "key", "people"), rows=found)],
        notes=remarks or [f"{file}: {len(read)} rules, nothing wrong with them."],
    )


@verb(rules, "diff", may=ANYONE)
@_FILE
def show_diff(acting: Acting, file: Path) -> Answer:
    """Count what a file would change for the people of now; nothing is written."""
    read = _read(file)
    with reading() as session:
        change = diff(session, acting.organization_id, current_rules(session, acting.organization_id), read)
        remarks = unknown_names(session, acting.organization_id, read)
    return Answer(schema="rules.diff", fields={**_counted(change), "remarks": remarks}, tables=[_table(change)], notes=remarks)


@verb(rules, "apply", may=ADMINS)
@_FILE
def apply(acting: Acting, file: Path) -> Answer:
    """Put a file in force. One that takes too many memberships away is held (exit 5) until it is approved."""
    read = _read(file)
    # Apart from what is written: it may look at everybody.
    with reading() as session:
        remarks = unknown_names(session, acting.organization_id, read)

    def act(session: Session) -> Answer:
        there = in_force(session, acting.organization_id)
        change = diff(session, acting.organization_id, current_rules(session, acting.organization_id), read)
        try:
            Ceiling().check_counts(removed=change.removed, of=change.kept + change.removed)
        except TooLarge as error:
            return _hold(session, acting, read, change, str(error), remarks, there=there)
        applied = apply_rules(session, acting.organization_id, read, acting.actor, now(), instead_of=there)
        return Answer(
            schema="rules",
            fields={"revision": applied.revision.number, "rules": len(read), "held": None, **_counted(change), "remarks": remarks},
            tables=[_table(change)],
            notes=[*remarks, f"Revision {applied.revision.number} is in force; {applied.people} people are looked at."],
        )

    return in_transaction(act)


def _hold(
    session: Session, acting: Acting, read: Sequence[Rule], change: Difference, reason: str, remarks: list[str], *, there: int
) -> Answer:
    held = hold_whole(
        session, acting.organization_id, kind="rules", about="rules", reason=reason, actor=acting.actor, at=now(),
        payload={"rules": as_data(read), "revision": there, "change": _counted(change), "people": change.people},
    )  # fmt: skip
    digest = digest_of(held, [])
    return Answer(
        schema="rules",
        fields={"revision": None, "rules": len(read), "held": digest, "reason": reason, **_counted(change), "remarks": remarks},
        tables=[_table(change)],
        notes=[*remarks, f"Held: {reason}. Nothing has changed. Look: doorlist held show {digest}; let it through: doorlist held approve {digest}"],
        exit=Exit.HELD,
    )


@verb(rules, "rename", may=ADMINS)
@click.argument("rule")
@click.argument("old")
@click.argument("new")
def rename_key(acting: Acting, rule: str, old: str, new: str) -> Answer:
    """Say that OLD is now called NEW: its channel is renamed and keeps its history."""

    def act(session: Session) -> Answer:
        at = now()
        done = rename(session, acting.organization_id, rule, old, new, at)
        entries.write(
            session, acting.organization_id, at=at, actor=acting.actor, verb="key renamed", because="operator", subject_kind="channel",
            subject_id=done.channel_id, before={"rule": rule, "key": old}, after={"key": done.new, "name": done.name},
        )  # fmt: skip
        touched = {done.channel_id} | ({done.superseded} if done.superseded is not None else set())
        want_channels(session, acting.organization_id, touched, at=at)
        return Answer(
            schema="rules.rename",
            fields={"rule": rule, "old": old, "new": done.new, "channel": {"id": done.channel_id, "name": done.name}, "superseded": done.superseded},
            tables=[Table(columns=("rule", "old", "new", "channel"), rows=[(rule, old, done.new, done.name)])],
        )

    return in_transaction(act)
