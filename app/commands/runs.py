"""Verbs on runs: what each pull and each decision did, and putting back what one took."""

from collections.abc import Sequence

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, NUMBERED, Acting, verb
from app.commands.exits import Exit
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Group, Person, Record, Source
from app.lifecycle import runs
from app.lifecycle.pulled_tables import Run, RunLine, Took

_AT_ONCE = 500


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(run)


@click.group()
def run() -> None:
    """Pulls and decisions, by number: what each saw and did, and undoing one."""


_number = click.argument("number", type=NUMBERED)
_COUNTS = ("seen", "joined", "moved", "left", "unchanged", "missing", "asked")


@verb(run, "list", may=ANYONE)
@click.option("--last", type=click.IntRange(1, 10_000), default=50, show_default=True, help="So many, the newest first.")
def list_runs(acting: Acting, last: int) -> Answer:
    """The newest runs first."""
    with reading() as session:
        names = _sources(session, acting.organization_id)
        rows = [_fields(one, names) for one in runs.recent(session, acting.organization_id, most=last)]
    columns = ("run", "kind", "source", "state", "started", *_COUNTS, "problem")
    return Answer(schema="runs", fields={"runs": rows}, tables=[Table(columns=columns, rows=[[row[name] for name in columns] for row in rows])])


@verb(run, "show", may=ANYONE)
@_number
def show(acting: Acting, number: int) -> Answer:
    """One run: what it saw, everything that it took, and what was remarkable."""
    with reading() as session:
        one = runs.find(session, acting.organization_id, number)
        fields = _fields(one, _sources(session, acting.organization_id))
        # That somebody is to end is not for everybody.
        taken = [line for line in runs.lines_of(session, acting.organization_id, number) if acting.informed or line.took != Took.ENDS]
        lines = _lines(session, acting.organization_id, taken)
    columns = ("took", "person", "group", "undone_by")
    return Answer(
        schema="run", fields={**fields, "notes": one.notes, "lines": lines},
        tables=[Table(columns=("run", "kind", "source", "state", *_COUNTS), rows=[[fields[name] for name in ("run", "kind", "source", "state", *_COUNTS)]]),
                Table(columns=columns, rows=[[line[name] for name in columns] for line in lines])],
        notes=one.notes,
    )  # fmt: skip


@verb(run, "undo", may=ADMINS)
@_number
def undo(acting: Acting, number: int) -> Answer:
    """Put back what run NUMBER took, as far as nobody changed it since. The next pulls leave it so for as long as the source says the same."""
    from app.lifecycle import putting_back

    done = in_transaction(lambda session: putting_back.undo(session, acting.organization_id, number, actor=acting.actor, at=now()))
    with reading() as session:
        named = _names(session, acting.organization_id, done.people)
    notes = [f"{len(done.people)} people were given back what run {number} took.", *done.moved_on]
    return Answer(
        schema="run.undone",
        fields={
            "run": done.run, "undone": done.of_run, "lines": done.lines, "people": len(done.people), "who": [named.get(one, one) for one in done.people],
            "moved_on": list(done.moved_on),
        },
        tables=[Table(columns=("run", "undone", "people", "moved_on"), rows=[(done.run, done.of_run, len(done.people), len(done.moved_on))])],
        notes=notes, exit=Exit.PARTLY if done.moved_on else Exit.DONE,
    )  # fmt: skip


def _sources(session: Session, organization_id: str) -> dict[str, str]:
    return {one.id: one.name for one in session.scalars(select(Source).where(Source.organization_id == organization_id))}


def _fields(one: Run, names: dict[str, str]) -> dict[str, object]:
    return {
        "run": one.number, "kind": one.kind, "source": names.get(one.source_id or ""), "full": one.whole, "state": one.state, "actor": one.actor,
        "started": iso(one.started_at), "ended": iso(one.ended_at), **{name: getattr(one, name) for name in _COUNTS}, "of_run": one.of_run,
        "problem": one.problem,
    }  # fmt: skip


def _lines(session: Session, organization_id: str, lines: Sequence[RunLine]) -> list[dict[str, object]]:
    people = _names(session, organization_id, sorted({line.person_id for line in lines if line.person_id is not None}))
    records = _found(session, organization_id, Record, sorted({line.subject_id for line in lines if line.person_id is None and line.group_id is None}))
    groups = _found(session, organization_id, Group, sorted({one for line in lines for one in (line.group_id, line.subject_id) if one is not None}))
    return [
        {
            "took": line.took, "person": people.get(line.person_id or "") or records.get(line.subject_id), "person_id": line.person_id,
            "group": groups.get(line.group_id or line.subject_id), "subject": line.subject_id, "undone_by": line.undone_by,
        }
        for line in lines
    ]  # fmt: skip


def _names(session: Session, organization_id: str, ids: Sequence[str]) -> dict[str, str]:
    return _found(session, organization_id, Person, ids)


def _found(session: Session, organization_id: str, table: type[Person] | type[Record] | type[Group], ids: Sequence[str]) -> dict[str, str]:
    name = table.display_name if table is Group else table.user_name  # type: ignore[union-attr]  # a group has no user name
    found: dict[str, str] = {}
    for start in range(0, len(ids), _AT_ONCE):
        query = select(table.id, name).where(table.organization_id == organization_id, table.id.in_(ids[start : start + _AT_ONCE]))
        found |= {one: text for one, text in session.execute(query)}
    return found
