"""How far workspaces have drifted from what should be there: by the last sweep, and by a look at each of them now."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.sealing import KeyMissing
from app.access.tables import Workspace
from app.clock import iso
from app.commands.differences import find_differences
from app.database import reading
from app.directory.tables import Person
from app.intake.termination_words import FOUND_BY_THE_SWEEP
from app.journal.tables import HERE
from app.revocation.sweeps import sweeps_of
from app.revocation.tables import Departure
from connectors.contract import ConnectorError

AT_A_TIME = 500
Add = Callable[[Mapping[str, object]], None]


def drifts(organization_id: str, workspaces: Sequence[Workspace], add: Add) -> list[dict[str, object]]:
    """Add a row for each place that was swept, each person found alive since its last round began, and each difference; returns what came of each workspace.

    A workspace that cannot be read is a row that says so. No transaction is open while one is read.
    """
    with reading() as session:
        _swept(session, organization_id, {one.id: one.name for one in workspaces}, add)
    return [_differing(organization_id, workspace, add) for workspace in workspaces]


def _swept(session: Session, organization_id: str, names: Mapping[str, str], add: Add) -> None:
    swept = sweeps_of(session, organization_id)
    for one in swept:
        add(
            {
                "kind": "sweep", "place": HERE if one.place == HERE else names.get(one.place, one.place), "at": iso(one.round_ended_at or one.round_began_at),
                "looked": one.looked, "alive": one.alive, "why": one.last_error,
            }
        )  # fmt: skip
    began = min((one.round_began_at for one in swept if one.round_began_at is not None), default=None)
    if began is None:
        return
    found = (
        select(Departure.decided_at, Departure.reason, Person.user_name)
        .join(Person, (Person.organization_id == Departure.organization_id) & (Person.id == Departure.person_id))
        .where(
            Departure.organization_id == organization_id, Departure.decided_at >= began,
            Departure.reason.startswith(FOUND_BY_THE_SWEEP, autoescape=True),
        )
        .order_by(Departure.decided_at, Departure.id)
    )  # fmt: skip
    for decided_at, reason, user_name in session.execute(found, execution_options={"yield_per": AT_A_TIME}):
        place, _, how = reason.removeprefix(f"{FOUND_BY_THE_SWEEP} in ").partition(": ")
        add({"kind": "found alive", "place": place, "person": user_name, "at": iso(decided_at), "why": how})


def _differing(organization_id: str, workspace: Workspace, add: Add) -> dict[str, object]:
    try:
        found = find_differences(organization_id, workspace)
    except (ConnectorError, KeyMissing) as error:
        add({"kind": "unknown", "place": workspace.name, "why": f"it could not be read: {error}"})
        return {"name": workspace.name, "error": str(error)}
    for name in found.new_channels:
        add({"kind": "differs", "place": workspace.name, "sign": "+", "channel": name})
    for line in found.lines:
        add({"kind": "differs", "place": workspace.name, "sign": line.sign, "channel": line.channel, "person": line.person})
    return {
        "name": workspace.name, "error": None, "add": found.plan.added, "remove": found.plan.removed, "keep": found.plan.kept,
        "new_channels": len(found.new_channels),
    }  # fmt: skip
