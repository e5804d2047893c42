"""Pages that are made from the code, or that must name everything in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from app.commands.acting import ROLES
from app.commands.entry import doorlist
from app.commands.settings_page import page
from app.lifecycle.operators import Role

DOCS = Path(__file__).parents[3] / "docs"


def verbs(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_the_settings_page_is_current() -> None:
    assert (DOCS / "settings.md").read_text() == page(), "python -m app.commands.settings_page > docs/settings.md"


def test_every_verb_is_on_the_page_with_exactly_its_roles() -> None:
    rows = {
        cells[0].strip("` "): {word.strip() for word in cells[1].split(",")}
        for line in (DOCS / "cli.md").read_text().splitlines()
        if line.startswith("| `") and len(cells := line.strip("|").split("|")) > 1
    }

    def named(command: click.Command) -> set[str]:
        may = ROLES.get(command)
        return {"the machine's user"} if may is None else {"anyone"} if may == frozenset(Role) else {role.value for role in may}

    assert {name: rows.get(name) for name, _ in verbs(doorlist)} == {name: named(command) for name, command in verbs(doorlist)}


def test_every_verb_takes_an_organisation_and_answers_in_json() -> None:
    for name, command in verbs(doorlist):
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--organization", "--json"} <= options, name
