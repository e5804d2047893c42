"""The same directory pulled: out of a real OpenLDAP, by what changed and by whole listings, and from a CSV or JSON file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.directory.names import name_key
from tests.journeys.change_set import Circle, Human, State
from tests.journeys.ways_in import Desk, Differences, Way, entry_of, manager_of
from tests.servers.directories import SYNC_PASSWORD, Hired
from tests.servers.openldap import OpenLDAP


class Pulled(Way):
    """Where anything is taken it is pulled twice: nobody is gone, and no group, that was not missing before."""

    def __init__(self, desk: Desk, *added: str, whole: bool = False) -> None:
        super().__init__(desk)
        self._whole = whole
        self.runs: list[dict[str, Any]] = []
        desk.types("settings", "set", "gone_after", "0s")
        desk.types("source", "add", *added, "--every", "off", "--full-every", "off")

    def tells(self, before: State, now: State) -> None:
        times = 2 if Differences(before, now).take else 1
        self.runs = [self.desk.types("source", "pull", "corp", *(["--full"] if self._whole else [])) for _ in range(times)]
        left = [note for note in self.runs[-1]["notes"] if "circle" not in note and "holds itself" not in note]
        assert left == [] and self.runs[-1]["held"] is None, self.runs


class ByLDAP(Pulled):
    """By what changed, or by a whole listing each time."""

    def __init__(self, desk: Desk, server: OpenLDAP, *, whole: bool) -> None:
        password = desk.file("password", SYNC_PASSWORD)
        super().__init__(
            desk, "ldap", "corp", "--url", server.url, "--bind-dn", server.sync_dn, "--password-file", password, "--base", server.base,
            "--ca", str(server.ca_file), "--kind", server.kind, whole=whole,
        )  # fmt: skip


class ByFile(Pulled):
    """A list that is written anew after each change."""

    def __init__(self, desk: Desk, *, name: str) -> None:
        self._name = name
        super().__init__(desk, "csv", "corp", "--file", str(desk.folder / name))

    def tells(self, before: State, now: State) -> None:
        self.desk.file(self._name, as_csv(now) if self._name.endswith(".csv") else as_json(now))
        super().tells(before, now)


def as_csv(state: State) -> str:
    """One row for each person, with all groups that they are in."""
    written = io.StringIO()
    rows = [_row(one, state) for one in state.there.values()]
    table = csv.DictWriter(written, [*rows[0], "groups"])
    table.writeheader()
    for one, row in zip(state.there.values(), rows, strict=True):
        groups = [circle.name for key, circle in state.circles.items() if one.who in state.within(key)]
        table.writerow({**row, "active": "yes" if one.on else "no", "groups": ";".join(groups)})
    return written.getvalue()


def as_json(state: State) -> str:
    """People, and groups that hold people and groups."""
    groups = [
        {"id": f"g-{key}", "name": circle.name, "members": [*(state.humans[who].entry for who in circle.people), *(f"g-{one}" for one in circle.groups)]}
        for key, circle in state.circles.items()
    ]
    return json.dumps({"people": [_row(one, state) for one in state.there.values()], "groups": groups})


def _row(one: Human, state: State) -> dict[str, Any]:
    return {
        "id": one.entry, "userName": one.user_name, "displayName": one.display, "givenName": one.given, "familyName": one.family, "mail": one.mail,
        "employeeNumber": one.number, "title": one.title, "userType": one.kind, "department": one.department,
        "manager": entry_of(manager_of(one, state)), "active": one.on,
    }  # fmt: skip


@dataclass(kw_only=True)
class Tree:
    """A real OpenLDAP in which happens what happens in the directory. Whoever pulls it is a way of its own."""

    server: OpenLDAP

    def follows(self, before: State, now: State) -> None:
        changes = Differences(before, now)
        for one in changes.gone:
            self.server.let_go(one.user_name)
        for key in changes.dissolved:
            self.server.delete_group(before.circles[key].name)
        for one in changes.changed:
            self._changes(before.there[one.entry], one)
        for one in changes.joined:
            # An address is made of the first uid, and holds ASCII alone.
            self.server.hire(Hired(uid=one.entry, given=one.given, family=one.family))
            self.server.rename(one.entry, one.user_name)
            self._says(one, _as_attributes(one))
        for one in (*changes.joined, *changes.changed):
            manager, was = manager_of(one, now), before.there.get(one.entry)
            if was is None or entry_of(manager_of(was, before)) != entry_of(manager):
                self._says(one, {"manager": None if manager is None else self.server.dn_of(manager.user_name)})
        for one in changes.off:
            if one.entry in now.there:
                self.server.disable(one.user_name)
        for one in changes.on:
            self.server.enable(one.user_name)
        self._regroups(before, now, changes)

    def _changes(self, was: Human, one: Human) -> None:
        if was.user_name == one.user_name:
            pass
        elif name_key(was.user_name) == name_key(one.user_name):
            self._spells(one)
        else:
            self.server.rename(was.user_name, one.user_name)
        before = _as_attributes(was)
        self._says(one, {name: value for name, value in _as_attributes(one).items() if before[name] != value})

    def _spells(self, one: Human) -> None:
        """The entry's own name stays as it is: to the server both are the same."""
        self.server.as_admin().modify(self.server.dn_of(one.user_name), {"uid": [("MODIFY_REPLACE", [one.user_name])]})
        assert self.server.as_admin().result["result"] == 0, self.server.as_admin().result

    def _says(self, one: Human, attributes: Mapping[str, str | None]) -> None:
        if attributes:
            self.server.change(one.user_name, **attributes)

    def _regroups(self, before: State, now: State, changes: Differences) -> None:
        for key, circle in changes.renamed.items():
            self.server.rename_group(before.circles[key].name, circle.name)
        for circle in changes.formed.values():
            self.server.add_group(circle.name)
        for key, circle in now.circles.items():
            was = before.circles.get(key, Circle(name=circle.name))
            # Whoever was deleted, and groups that were, are cut out by the server itself.
            stayed = {who for who in was.people if before.humans[who].entry in now.there}
            came_anew = {who for who in circle.people if who in was.people and who not in stayed}
            names = _user_names(now, (circle.people - was.people) | came_anew)
            if names or circle.groups - was.groups:
                self.server.join(circle.name, *names, groups=[now.circles[one].name for one in sorted(circle.groups - was.groups)])
            out, groups_out = _user_names(now, frozenset(stayed) - circle.people), (was.groups - circle.groups) & now.circles.keys()
            if out or groups_out:
                self.server.part(circle.name, *out, groups=[now.circles[one].name for one in sorted(groups_out)])


def _as_attributes(one: Human) -> dict[str, str | None]:
    return {
        "givenName": one.given, "sn": one.family, "displayName": one.display, "mail": one.mail, "employeeNumber": one.number or None,
        "title": one.title or None, "employeeType": one.kind, "departmentNumber": one.department or None,
    }  # fmt: skip


def _user_names(state: State, people: frozenset[str]) -> list[str]:
    return sorted(state.humans[who].user_name for who in people)
