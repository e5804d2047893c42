"""The frame of verbs that check evidence: they need no database, no settings and no installation, only the files they are given."""

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec

import click

from app.audit.public_keys import EvidenceKey, UnusableKeys, read_keys
from app.commands.exits import CommandError, Exit
from app.commands.output import Answer, show

Given = ParamSpec("Given")
FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


class BadKeys(CommandError):
    exit = Exit.USAGE


def offline_verb(group: click.Group, name: str) -> Callable[[Callable[Given, Answer]], click.Command]:
    """Add a verb that runs without anything of ours around it. `--organization` is taken, as everywhere, and means nothing."""

    def decorate(act: Callable[Given, Answer]) -> click.Command:
        @functools.wraps(act)
        def run(*args: Any, as_json: bool, organization: str | None, **given: Any) -> int:
            answer = act(*args, **given)
            # Nobody who stops reading makes good what was altered.
            with suppress(BrokenPipeError):
                show(answer, as_json=as_json)
            return int(answer.exit)

        organization = click.option("--organization", metavar="NAME", help="Not needed here: the file says whose it is.")
        as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
        return group.command(name)(organization(as_json(run)))

    return decorate


def keys_from(path: Path) -> dict[str, EvidenceKey]:
    """The public keys in a file. Raises BadKeys, OSError."""
    try:
        return read_keys(path.read_text(encoding="utf-8", errors="replace"))
    except UnusableKeys as error:
        raise BadKeys(f"{path}: {error}") from error
