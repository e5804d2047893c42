"""The verb of the sweep: look now for access that is still alive."""

import click

from app.commands.acting import ADMINS, Acting, verb
from app.commands.exits import Exit
from app.commands.output import Answer, Table
from app.database import reading
from app.delivery.sweeping import Swept, left_out, sweep
from app.delivery.workspaces import Targets

_root = click.Group()


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(look)


@verb(_root, "sweep", may=ADMINS)
@click.option("--all", "everyone", is_flag=True, help="Everyone who has left, now; else who is due.")
def look(acting: Acting, everyone: bool) -> Answer:
    """Look for people who have left and could still get in; shut out again who is found. A worker does the same by itself."""
    swept = sweep(acting.app, Targets(), organization_id=acting.organization_id, everyone=everyone)
    with reading() as session:
        swept += left_out(session, acting.organization_id, swept)
    places = [_fields(one) for one in swept]
    alive = [(one.name, person.user_name, person.how) for one in swept for person in one.alive]
    return Answer(
        schema="sweep", fields={"places": places, "looked": sum(one.looked for one in swept), "alive": len(alive)},
        tables=[
            Table(columns=("place", "looked", "alive", "error"), rows=[(one.name, one.looked, len(one.alive), one.error) for one in swept]),
            *([Table(columns=("place", "person", "how"), rows=alive)] if alive else []),
        ],
        notes=[] if not alive else ["They are being shut out again: doorlist status"], exit=_exit(swept),
    )  # fmt: skip


def _exit(swept: list[Swept]) -> Exit:
    if any(one.alive for one in swept):
        return Exit.ERROR
    failed = [one for one in swept if one.error is not None]
    return Exit.DONE if not failed else Exit.PARTLY if len(failed) < len(swept) else Exit.UNREACHABLE


def _fields(one: Swept) -> dict[str, object]:
    alive = [{"person": found.person_id, "userName": found.user_name, "how": found.how, "shut_before": found.shut_before} for found in one.alive]
    return {"place": one.name, "looked": one.looked, "complete": one.complete, "error": one.error, "alive": alive}
