"""What all ways have in common in which one and the same directory reaches Doorlist: where commands are typed, and what has become different.

Each way is told what the directory was before and what it is now, and says so in its own manner.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner
from flask import Flask

from app.commands.entry import doorlist
from app.directory.names import name_key
from tests.journeys.change_set import Human, State


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where commands for one organisation are typed, in this process."""

    app: Flask
    organization: str
    folder: Path

    def types(self, *arguments: str) -> dict[str, Any]:
        """A command that goes well."""
        ended = CliRunner().invoke(doorlist, [*arguments, "--organization", self.organization, "--json"], obj=lambda: self.app)
        assert ended.exit_code == 0, (arguments, ended.output)
        answer = json.loads(ended.stdout)
        assert isinstance(answer, dict)
        return answer

    def file(self, name: str, text: str) -> str:
        """Put in its place in one step, so that nobody reads half of it."""
        new = self.folder / f"{name}.new"
        new.write_text(text, encoding="utf-8")
        os.replace(new, self.folder / name)
        return str(self.folder / name)


class Way(ABC):
    """One organisation, and how its directory reaches it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    @abstractmethod
    def tells(self, before: State, now: State) -> None: ...


def manager_of(one: Human, state: State) -> Human | None:
    return state.humans[one.manager] if one.manager else None


def entry_of(one: Human | None) -> str:
    return "" if one is None else one.entry


class Differences:
    """What a directory that notices its own changes would tell, in an order in which it can be told."""

    def __init__(self, before: State, now: State) -> None:
        was, there = before.there, now.there
        self.gone: Final = [one for entry, one in was.items() if entry not in there]
        self.joined: Final = [one for entry, one in there.items() if entry not in was]
        stayed = [one for entry, one in there.items() if entry in was]
        self.off: Final = [*(one for one in stayed if was[one.entry].on and not one.on), *(one for one in self.gone if one.on)]
        self.on: Final = [one for one in stayed if one.on and not was[one.entry].on]
        names = {name_key(one.user_name) for one in was.values()}
        changed = [one for one in stayed if _told(one, now) != _told(was[one.entry], before)]
        # Whoever gets the name that another one had comes after them.
        self.changed: Final = sorted(
            changed, key=lambda one: name_key(one.user_name) in names and name_key(one.user_name) != name_key(was[one.entry].user_name)
        )
        turns = [one.entry for one in (*self.changed, *self.joined)]
        new = {one.entry for one in self.joined}
        managers = {one.entry: entry_of(manager_of(one, now)) for one in (*self.changed, *self.joined)}
        self.led_by_later: Final = [
            there[entry] for turn, entry in enumerate(turns) if managers[entry] in new and managers[entry] not in turns[:turn]
        ]
        """Whose manager joins only after them."""
        self.dissolved: Final = [key for key in before.circles if key not in now.circles]
        self.formed: Final = {key: circle for key, circle in now.circles.items() if key not in before.circles}
        self.renamed: Final = {key: one for key, one in now.circles.items() if key in before.circles and one.name != before.circles[key].name}
        self.members: Final = {key: found for key in now.circles if any(found := _joined_and_parted(key, before, now))}
        """For each group who joined and who parted, by entry."""
        self.take: Final = bool(self.gone or self.dissolved or self.renamed or any(parted for _, parted in self.members.values()))


def _told(one: Human, state: State) -> tuple[Any, ...]:
    return (
        one.user_name, one.given, one.family, one.display, one.mail, one.number, one.title, one.kind, one.department,
        entry_of(manager_of(one, state)),
    )  # fmt: skip


def _joined_and_parted(key: str, before: State, now: State) -> tuple[list[str], list[str]]:
    were = {before.humans[who].entry for who in before.within(key)} if key in before.circles else set()
    are = {now.humans[who].entry for who in now.within(key)}
    return sorted(are - were), sorted(were - are)
