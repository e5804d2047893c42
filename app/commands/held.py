"""Verbs on what is held: a burst of pushes, rules or a plan that would take too much away."""

from collections.abc import Sequence
from datetime import datetime

import click
from sqlalchemy.orm import Session

from app.access.tables import Workspace
from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, INFORMED, Acting, one_person, verb
from app.commands.differences import find_differences, want_all
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Group, Person, Source
from app.intake import approving
from app.intake.pull_weighing import KIND as PULL
from app.journal import entries
from app.lifecycle import brake, leaving, seconding
from app.lifecycle.errors import WorldMoved
from app.lifecycle.tables import Held, HeldLine, HeldState
from app.rules.file import from_data
from app.rules.revisions import apply_rules, current_rules, diff, in_force


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(held)


@click.group()
def held() -> None:
    """What waits because it would take access from many at once."""


_DIGEST = click.argument("digest")


@verb(held, "list", may=ANYONE)
def list_held(acting: Acting) -> Answer:
    """Everything that is held, oldest first."""
    with reading() as session:
        entries_ = [_entry(session, one, lines) for one, lines in brake.waiting(session, acting.organization_id)]
    columns = ("digest", "kind", "source", "people", "since", "reason")
    return Answer(
        schema="held",
        fields={"held": entries_},
        tables=[Table(columns=columns, rows=[[one[name] for name in columns] for one in entries_])],
    )


def _entry(session: Session, one: Held, lines: Sequence[HeldLine]) -> dict[str, object]:
    source = session.get(Source, (one.organization_id, one.source_id)) if one.source_id is not None else None
    # What could not be read has no lines: then it is about all who are its own.
    by_line = one.kind in ("pushes", PULL) and lines
    people = len({line.person_id for line in lines if line.person_id is not None}) if by_line else int((one.payload or {}).get("people", 0))
    return {
        "digest": brake.digest_of(one, lines), "kind": one.kind, "source": source.name if source is not None else None, "people": people,
        "reason": one.reason, "since": iso(one.created_at), "first_approval": (one.seconded_by or "").partition(" ")[2] or None,
    }  # fmt: skip


@verb(held, "show", may=INFORMED)
@_DIGEST
def show(acting: Acting, digest: str) -> Answer:
    """Every line of what is held: whom it is about and what they would become."""
    with reading() as session:
        one, lines = brake.find(session, acting.organization_id, digest)
        entry = _entry(session, one, lines)
        shown = [_line(session, line) for line in lines]
    fields: dict[str, object] = {**entry, "lines": shown}
    if one.kind not in ("pushes", PULL):
        fields["change"] = {key: value for key, value in (one.payload or {}).items() if key != "rules"}
    columns = ("person", "name", "group", "becomes", "since")
    return Answer(
        schema="held.show", fields=fields, tables=[Table(columns=columns, rows=[[line[name] for name in columns] for line in shown])],
        notes=[one.reason],
    )  # fmt: skip


def _line(session: Session, line: HeldLine) -> dict[str, object]:
    person = session.get(Person, (line.organization_id, line.person_id)) if line.person_id is not None else None
    group_id = line.subject_id.partition(" ")[0] if line.subject_kind in ("member", "group") else None
    group = session.get(Group, (line.organization_id, group_id)) if group_id is not None else None
    return {
        "group": group.display_name if group is not None else None,
        "person": person.user_name if person is not None else None, "name": person.display_name if person is not None else None,
        "person_id": line.person_id, "subject": f"{line.subject_kind} {line.subject_id}", "version": line.version, "becomes": line.becomes,
        "since": iso(line.created_at),
    }  # fmt: skip


@verb(held, "approve", may=ADMINS)
@_DIGEST
def approve(acting: Acting, digest: str) -> Answer:
    """Let all of it take effect, in one transaction, and only where it is still what DIGEST stands for."""
    with reading() as session:
        one, all_lines = brake.find(session, acting.organization_id, digest)
    if one.kind == "plan":
        return _approve_plan(acting, one, digest)
    if one.kind == PULL:
        done = approving.approve(acting.settings, acting.organization_id, digest, actor=acting.actor)
        return _let_through(digest, done, waiting=len(all_lines))

    def act(session: Session) -> Answer:
        here, lines = brake.find(session, acting.organization_id, digest)
        if not seconding.is_enough(session, here, seen=digest, actor=acting.actor, at=now()):
            return _seconded(acting, digest, waiting=len(lines))
        people = _approve_rules(session, acting, here, now()) if here.kind == "rules" else len(_release(session, acting, here, lines))
        return _decided(digest, "approved", people)

    return in_transaction(act)


def _release(session: Session, acting: Acting, here: Held, lines: Sequence[HeldLine]) -> list[str]:
    return leaving.release(session, here, lines, actor=acting.actor, at=now())


def _approve_rules(session: Session, acting: Acting, here: Held, at: datetime) -> int:
    brake.lock_open(session, here)
    payload = here.payload or {}
    rules = from_data(payload["rules"])
    if in_force(session, acting.organization_id) != payload["revision"]:
        raise WorldMoved("other rules were put in force since these were held; apply the file again")
    change = diff(session, acting.organization_id, current_rules(session, acting.organization_id), rules)
    seen = payload["change"]
    if change.removed > seen["removed"]:
        raise WorldMoved(f"these rules would now remove {change.removed} memberships, not {seen['removed']} as was seen; apply the file again")
    brake.close_lines(session, here, [], state=HeldState.APPROVED, by=str(acting.actor), at=at)
    return apply_rules(session, acting.organization_id, rules, acting.actor, at, instead_of=payload["revision"]).people


def _approve_plan(acting: Acting, one: Held, digest: str) -> Answer:
    payload = one.payload or {}
    with reading() as session:
        workspace = session.get_one(Workspace, (acting.organization_id, payload["workspace_id"]))
    # The workspace is read again, outside any transaction: what was seen is what is approved.
    found = find_differences(acting.organization_id, workspace)
    if found.plan.digest != payload["digest"]:
        raise WorldMoved(f"{workspace.name} or the directory has changed since the plan was held; look again: doorlist plan")

    def act(session: Session) -> Answer:
        here, lines = brake.find(session, acting.organization_id, digest)
        brake.lock_open(session, here)
        if not seconding.is_enough(session, here, seen=digest, actor=acting.actor, at=now()):
            return _seconded(acting, digest, waiting=len(lines))
        brake.close_lines(session, here, [], state=HeldState.APPROVED, by=str(acting.actor), at=now())
        want_all(session, acting.organization_id, workspace, found, actor=acting.actor, at=now())
        return _decided(digest, "approved", len(found.people | found.leavers))

    return in_transaction(act)


@verb(held, "reject", may=ADMINS)
@_DIGEST
def reject(acting: Acting, digest: str) -> Answer:
    """Decide that none of it takes effect. What a source said stays stored, and the people keep their access."""

    def act(session: Session) -> Answer:
        here, lines = brake.find(session, acting.organization_id, digest)
        if here.kind != "pushes":
            here, lines = brake.find_to_decide(session, acting.organization_id, digest)
        if here.kind == PULL:
            return _decided(digest, "rejected", len(approving.reject(session, here, lines, actor=acting.actor, at=now())))
        if here.kind != "pushes":
            entries.write(
                session, acting.organization_id, at=now(), actor=acting.actor, verb=f"{here.kind} rejected", because=here.reason,
                subject_kind="held", subject_id=here.id,
            )  # fmt: skip
        people = leaving.reject(session, here, lines, actor=acting.actor, at=now())
        return _decided(digest, "rejected", len(people))

    return in_transaction(act)


@verb(held, "pass", may=ADMINS)
@_DIGEST
@click.argument("people", nargs=-1, required=True, metavar="PERSON...")
def let_pass(acting: Acting, digest: str, people: tuple[str, ...]) -> Answer:
    """Let these people's departures take effect; the rest stays held, under a new digest."""
    with reading() as session:
        one, all_lines = brake.find(session, acting.organization_id, digest)
        ids = [one_person(session, acting.organization_id, text).id for text in people] if one.kind == PULL else []
    if one.kind == PULL:
        done = approving.let_pass(acting.settings, acting.organization_id, digest, ids, actor=acting.actor)
        return _let_through(digest, done, waiting=len(all_lines))

    def act(session: Session) -> Answer:
        here, lines = brake.find(session, acting.organization_id, digest)
        if here.kind != "pushes":
            raise click.UsageError(f"a held {here.kind} is approved or rejected as a whole")
        meant = {one_person(session, acting.organization_id, text).id: text for text in people}
        not_held = [text for person_id, text in meant.items() if person_id not in {line.person_id for line in lines}]
        if not_held:
            raise click.UsageError(f"not held under {digest}: {', '.join(not_held)}; nothing was done")
        seen = seconding.part_of(digest, meant)
        if not seconding.is_enough(session, here, seen=seen, actor=acting.actor, at=now()):
            return _seconded(acting, digest, waiting=len(lines))
        passed = leaving.release(session, here, [line for line in lines if line.person_id in meant], actor=acting.actor, at=now())
        left = brake.lines_of(session, here)
        return _decided(digest, "passed", len(set(passed)), left=brake.digest_of(here, left) if left else None, still=len(left))

    return in_transaction(act)


def _let_through(digest: str, done: approving.Approved, *, waiting: int) -> Answer:
    """A pull's: what was taken is a run, which can be undone."""
    if done.waits_for is not None:
        return Answer(schema="held.decided", fields={**_as_it_was(digest, waiting), "run": None}, notes=[done.waits_for])
    notes = [f"{len(done.people)} people: let through, as run {done.run}. To put it back: doorlist run undo {done.run}"]
    if done.left is not None:
        notes.append(f"{done.still} lines still wait under digest {done.left}.")
    fields = {"digest": digest, "state": "approved", "people": len(done.people), "run": done.run, "left": done.left, "still_held": done.still}
    return Answer(schema="held.decided", fields=fields, notes=notes)


def _seconded(acting: Acting, digest: str, *, waiting: int) -> Answer:
    note = f"{acting.actor.name} has approved this as the first of two; another administrator has to do the same."
    return Answer(schema="held.decided", fields=_as_it_was(digest, waiting), notes=[note])


def _as_it_was(digest: str, waiting: int) -> dict[str, object]:
    """Of what waits for a second word: all of it is held still, under the same digest."""
    return {"digest": digest, "state": "seconded", "people": 0, "left": digest, "still_held": waiting}


def _decided(digest: str, state: str, people: int, *, left: str | None = None, still: int = 0) -> Answer:
    notes = [f"{people} people: {state}."]
    if left is not None:
        notes.append(f"{still} still wait under digest {left}.")
    return Answer(schema="held.decided", fields={"digest": digest, "state": state, "people": people, "left": left, "still_held": still}, notes=notes)
