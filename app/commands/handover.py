"""Verbs on handovers: to whom somebody's channels go when they leave, and what became of each."""

from collections.abc import Sequence

import click
from sqlalchemy.orm import Session

from app.access.known_workspaces import name_of_workspace
from app.clock import iso, now
from app.command_lines import to_type
from app.commands.acting import ADMINS, INFORMED, Acting, one_person, person_fields, verb
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.delivery import ruled_handovers
from app.directory.tables import Person, Standing
from app.lifecycle import handover
from app.lifecycle.handover import Told
from app.lifecycle.handover_tables import BY_THE_RULES, HandedChannel, Heir


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(handing)


@click.group("handover")
def handing() -> None:
    """Who takes over the channels that would lose their owner with a leaver."""


_PERSON = click.argument("person")


@verb(handing, "set", may=ADMINS)
@_PERSON
@click.option("--to", metavar="PERSON", help="Who takes over.")
@click.option("--nobody", is_flag=True, help="Nobody takes over.")
@click.option("--default", "as_set", is_flag=True, help="Whoever the setting handover says.")
def set_heir(acting: Acting, person: str, to: str | None, nobody: bool, as_set: bool) -> Answer:
    """Say who takes over from somebody: before they leave all of their channels, afterwards those that the rules make."""
    if sum((to is not None, nobody, as_set)) != 1:
        raise click.UsageError("say who takes over: --to PERSON, --nobody or --default")

    def act(session: Session) -> Answer:
        at = now()
        meant = one_person(session, acting.organization_id, person)
        heir = None if to is None else one_person(session, acting.organization_id, to)
        if meant.standing == Standing.DEPARTED:
            if heir is None:
                raise click.UsageError(f"{meant.user_name} has left already: say who takes over, --to PERSON")
            ruled_handovers.give_to(session, meant, heir, actor=acting.actor, at=at)
            notes = [
                f"{heir.display_name} takes over what the rules make. Rooms that {meant.display_name} had made are with whom they went to: "
                + to_type("handover show", meant.user_name)
            ]  # fmt: skip
        elif as_set:
            handover.forget_heir(session, meant, actor=acting.actor, at=at)
            notes = [f"The setting handover says who takes over from {meant.display_name}."]
        else:
            handover.name_heir(session, meant, heir, actor=acting.actor, at=at)
            who = "Nobody" if heir is None else heir.display_name
            notes = [f"{who} takes over from {meant.display_name} when they leave."]
        fields = {"person": person_fields(meant), "to": None if heir is None else person_fields(heir), "nobody": nobody}
        return Answer(schema="handover.set", fields=fields, notes=notes)

    return in_transaction(act)


@verb(handing, "show", may=INFORMED)
@_PERSON
def show(acting: Acting, person: str) -> Answer:
    """To whom somebody's channels went, and to whom they could not and why; of whoever is here, to whom they would go."""
    with reading() as session:
        meant = one_person(session, acting.organization_id, person)
        told = list(handover.history(session, meant))
        named = session.get(Heir, (acting.organization_id, meant.id))
        would = handover.choose(session, meant, at=now()) if meant.standing != Standing.DEPARTED else None
        shown = [_departure(session, one) for one in told]
    rows = [row for one in shown for row in _rows(one)]
    if told:
        notes = [f"{one['channels_handed_over']} handed over, {one['channels_left']} not: {one['how']}." for one in shown]
    elif would is None:
        notes = [f"{meant.display_name} has handed over nothing." if meant.standing == Standing.DEPARTED else "The organisation hands nothing over."]
    else:
        who = would.person.display_name if would.person is not None else "Nobody"
        notes = [f"{who} would take over from {meant.display_name}: {would.how}."]
    columns = ("place", "channel", "what", "to", "arrived", "because", "at")
    return Answer(
        schema="handover",
        fields={
            "person": person_fields(meant), "named": named is not None,
            "would_go_to": None if would is None or would.person is None else person_fields(would.person),
            "why": None if would is None else would.how, "departures": shown,
        },
        tables=[Table(columns=columns, rows=rows)] if rows else [],
        notes=notes,
    )  # fmt: skip


def _departure(session: Session, told: Told) -> dict[str, object]:
    channels = [_channel(session, one) for one in told.channels]
    return {
        "departure": told.departure.id, "decided": iso(told.departure.decided_at), "returned": iso(told.departure.ended_at),
        "to": None if told.heir is None else person_fields(told.heir), "how": told.handover.how,
        "channels_handed_over": sum(one["what"] == "handed over" for one in channels),
        "channels_left": sum(one["what"] == "could not" for one in channels),
        "places": [
            {"workspace": _place(session, told.departure.organization_id, one.workspace_id), "begun": iso(one.begun_at), "done": iso(one.done_at),
             "error": one.last_error}
            for one in told.places if one.workspace_id != BY_THE_RULES
        ],
        "channels": channels,
    }  # fmt: skip


def _channel(session: Session, one: HandedChannel) -> dict[str, object]:
    to = None if one.to_person_id is None else session.get(Person, (one.organization_id, one.to_person_id))
    return {
        "workspace": _place(session, one.organization_id, one.workspace_id), "channel": one.channel, "name": one.name, "what": one.outcome,
        "to": None if to is None else person_fields(to), "account": one.to_account, "arrived": one.arrival, "because": one.because, "at": iso(one.at),
    }  # fmt: skip


def _place(session: Session, organization_id: str, workspace_id: str) -> str | None:
    """The name of a workspace; None stands for all of them, as the rules make a channel in each."""
    if workspace_id == BY_THE_RULES:
        return None
    return name_of_workspace(session, organization_id, workspace_id)


def _rows(one: dict[str, object]) -> Sequence[tuple[object, ...]]:
    channels = one["channels"]
    assert isinstance(channels, list)
    return [
        (
            line["workspace"] or "by the rules", line["name"], line["what"], None if line["to"] is None else line["to"]["userName"], line["arrived"],
            line["because"], line["at"],
        )
        for line in channels
    ]  # fmt: skip
