"""Verbs on what is parked: work that a workspace refused, and HR calls whose person is not known."""

from collections.abc import Callable

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Workspace
from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, DESK, Acting, verb
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Person, Source
from app.intake import hr
from app.intake.tables import HREvent
from app.journal import entries
from app.journal.tables import Work
from app.lifecycle.errors import NotFound
from app.lifecycle.parked import drop_work, find_parked, parked_work, retry_work
from app.rules.tables import Channel


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(parked)


@click.group()
def parked() -> None:
    """What was set aside for somebody to look at: refused work, and HR calls about nobody we know."""


@verb(parked, "list", may=ANYONE)
def list_parked(acting: Acting) -> Answer:
    """Everything that is parked, and why."""
    with reading() as session:
        rows = [_of_work(session, row) for row in parked_work(session, acting.organization_id)]
        calls = session.scalars(
            select(HREvent).where(HREvent.organization_id == acting.organization_id, HREvent.state == "parked").order_by(HREvent.received_at)
        )
        rows += [
            {
                "id": f"hr:{call.source_id}:{call.event_id}", "kind": "hr", "workspace": None, "subject": "employee",
                "name": call.employee_id, "error": call.problem, "since": iso(call.received_at),
            }
            for call in calls
        ]  # fmt: skip
    columns = ("id", "workspace", "subject", "name", "error")
    return Answer(
        schema="parked", fields={"parked": rows}, tables=[Table(columns=columns, rows=[[row[name] for name in columns] for row in rows])]
    )


def _of_work(session: Session, row: Work) -> dict[str, object]:
    workspace = session.get(Workspace, (row.organization_id, row.workspace_id))
    person = session.get(Person, (row.organization_id, row.subject_id))
    channel = session.get(Channel, (row.organization_id, row.subject_id))
    name = person.user_name if person is not None else channel.name if channel is not None else row.subject_id
    return {
        "id": f"work:{row.workspace_id}:{row.subject}:{row.subject_id}:{row.lane}", "kind": "work",
        "workspace": workspace.name if workspace is not None else None, "subject": row.subject, "name": name, "error": row.last_error,
        "since": iso(row.due_at),
    }  # fmt: skip


@verb(parked, "retry", may=DESK)
@click.argument("parked_id", metavar="ID")
def retry(acting: Acting, parked_id: str) -> Answer:
    """Try it again now."""
    return _decide(acting, parked_id, of_work=_retry_work, of_call=_retry_call)


@verb(parked, "drop", may=ADMINS)
@click.argument("parked_id", metavar="ID")
def drop(acting: Acting, parked_id: str) -> Answer:
    """Let it be: work is not tried again until its subject changes, an HR call never."""
    return _decide(acting, parked_id, of_work=_drop_work, of_call=_drop_call)


def _decide(
    acting: Acting, parked_id: str, *, of_work: Callable[[Session, Acting, Work], str], of_call: Callable[[Session, Acting, HREvent], str]
) -> Answer:
    kind, _, rest = parked_id.partition(":")
    parts = rest.split(":")

    def act(session: Session) -> Answer:
        if kind == "work" and len(parts) == 4:
            workspace_id, subject, subject_id, lane = parts
            row = find_parked(
                session, acting.organization_id, workspace_id=workspace_id, subject=subject, subject_id=subject_id, lane=lane
            )
            state = of_work(session, acting, row)
        elif kind == "hr" and len(parts) > 1:
            source_id, _, event_id = rest.partition(":")
            call = session.get(HREvent, (acting.organization_id, source_id, event_id), with_for_update=True)
            if call is None or call.state != "parked":
                raise NotFound("parked", parked_id)
            state = of_call(session, acting, call)
        else:
            raise click.BadParameter(f"{parked_id!r} is not an id that 'parked list' shows", param_hint="ID")
        return Answer(schema="parked.decided", fields={"id": parked_id, "state": state}, notes=[f"{parked_id}: {state}"])

    return in_transaction(act)


def _retry_work(session: Session, acting: Acting, row: Work) -> str:
    retry_work(session, row, actor=acting.actor, at=now())
    return "waiting"


def _drop_work(session: Session, acting: Acting, row: Work) -> str:
    drop_work(session, row, actor=acting.actor, at=now())
    return "dropped"


def _retry_call(session: Session, acting: Acting, call: HREvent) -> str:
    source = session.get_one(Source, (acting.organization_id, call.source_id))
    _write(session, acting, call, "HR call retried")
    hr.try_again(session, source, call, at=now())
    return call.state


def _drop_call(session: Session, acting: Acting, call: HREvent) -> str:
    _write(session, acting, call, "HR call dropped")
    call.state = "dropped"
    return call.state


def _write(session: Session, acting: Acting, call: HREvent, what: str) -> None:
    entries.write(
        session, acting.organization_id, at=now(), actor=acting.actor, verb=what, because="operator", subject_kind="hr_event",
        subject_id=call.event_id, before={"state": call.state, "problem": call.problem},
    )  # fmt: skip
