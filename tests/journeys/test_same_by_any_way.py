"""The same changes of a directory, pushed over SCIM, pulled out of LDAP and read from a file, end in the same directory and the same channels."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from flask import Flask

from tests.journeys.change_set import CHANGES, Chances, State, beginning, hired, marked
from tests.journeys.chat_tree import ChatAdmin
from tests.journeys.pictures import (
    RULES,
    Workspaces,
    by_address,
    deliver,
    differences,
    expected,
    expected_channels,
    expected_rooms,
    organization_named,
    picture,
    rooms_of,
)
from tests.journeys.pulled_ways import ByFile, ByLDAP, Pulled, Tree
from tests.journeys.pushed_ways import ByEntra, ByOkta
from tests.journeys.real_rooms import Chat, deliver_for_real
from tests.journeys.ways_in import Desk, Way
from tests.lagging import audit_may_lag
from tests.served import served
from tests.servers.openldap import OpenLDAP
from tests.servers.synapse import Synapse

pytestmark = [pytest.mark.ldap, pytest.mark.slow]

LDAP = "ldap, by changes"
WAYS: Final[Mapping[str, Callable[[Desk, OpenLDAP], Way]]] = {
    "okta": lambda desk, _: ByOkta(desk),
    "entra": lambda desk, _: ByEntra(desk),
    LDAP: lambda desk, server: ByLDAP(desk, server, whole=False),
    "ldap, by listings": lambda desk, server: ByLDAP(desk, server, whole=True),
    "csv": lambda desk, _: ByFile(desk, name="people.csv"),
    "json": lambda desk, _: ByFile(desk, name="people.json"),
}


@dataclass(kw_only=True)
class House:
    """One installation with an organisation for each way, all of which have the same directory; `marks` are what their names end with."""

    app: Flask
    folder: Path
    server: OpenLDAP
    marks: Mapping[str, str]
    ways: dict[str, Way] = field(default_factory=dict)
    state: State = field(default_factory=State)
    workspaces: Workspaces = field(default_factory=Workspaces)

    def __post_init__(self) -> None:
        for name, mark in self.marks.items():
            desk = Desk(app=self.app, organization=name, folder=self.folder / name)
            desk.folder.mkdir()
            desk.types("init")
            desk.types("rules", "apply", desk.file("rules.yaml", RULES.format(mark=mark)))
            self.ways[name] = WAYS[name](desk, self.server)

    def becomes(self, state: State) -> None:
        """The directory changes, and each way says so."""
        before, self.state = self.state, state
        Tree(server=self.server).follows(marked(before, self.marks[LDAP]), marked(state, self.marks[LDAP]))
        for name, way in self.ways.items():
            way.tells(marked(before, self.marks[name]), marked(state, self.marks[name]))

    def types(self, *arguments: str) -> None:
        """A command for each organisation."""
        for way in self.ways.values():
            way.desk.types(*arguments)

    def told(self, name: str) -> int:
        """How many people were read by the last pull but one, which brought the news."""
        way = self.ways[name]
        assert isinstance(way, Pulled)
        return int(way.runs[0]["seen"])

    def organizations(self) -> Mapping[str, str]:
        return {name: organization_named(name) for name in self.ways}


@contextmanager
def furnished(database_url: str, openldap: OpenLDAP, folder: Path, marks: Mapping[str, str]) -> Iterator[House]:
    openldap.empty()
    try:
        with served(database_url, folder) as one:
            # No sequencer runs beside.
            audit_may_lag(one.app, 3600)
            yield House(app=one.app, folder=folder, server=openldap, marks=marks)
    finally:
        openldap.empty()


def connects(house: House, *names: str) -> None:
    """These have a workspace, which is a stand-in."""
    for name in names:
        house.workspaces.connects(organization_named(name))


def ends_in_the_same(house: House, state: State, what: str) -> None:
    """The directory becomes so; then all ways have ended in that, and their workspaces too."""
    house.becomes(state)
    deliver(house.app, house.workspaces)
    ids, workspaces = house.organizations(), house.workspaces.by_organization
    seen = {name: picture(id) for name, id in ids.items()}
    for name, one in seen.items():
        assert differences(expected(state, one), one) == [], f"{name}, after {what}"
        assert differences(seen[LDAP], one) == [], f"{name} and {LDAP}, after {what}"
    there = {name: rooms_of(id, workspaces[id]) for name, id in ids.items() if id in workspaces}
    for name, rooms in there.items():
        assert differences(expected_rooms(seen[name], rooms, state), rooms) == [], f"{name}, after {what}"
        assert differences(there[LDAP], rooms) == [], f"{name} and {LDAP}, after {what}"


def test_after_each_change_all_ways_have_ended_in_the_same(database_url: str, openldap: OpenLDAP, tmp_path: Path) -> None:
    with furnished(database_url, openldap, tmp_path, dict.fromkeys(WAYS, "")) as house:
        connects(house, "okta", LDAP, "csv")
        ends_in_the_same(house, beginning(), "the beginning")

        for what, change in CHANGES.items():
            ends_in_the_same(house, change(house.state), what)
            everybody = len(house.state.there)
            assert house.told(LDAP) < everybody == house.told("ldap, by listings"), f"how many are read after {what}"


@pytest.mark.parametrize(
    ("database_url", "seed", "pushed", "listed"),
    [("sqlite", 1, "okta", "csv"), pytest.param("postgres", 2, "entra", "json", marks=pytest.mark.postgres), ("sqlite", 3, "entra", "csv")],
    indirect=["database_url"],
)
def test_changes_in_an_order_that_nobody_thought_of_end_in_the_same(
    database_url: str, seed: int, pushed: str, listed: str, openldap: OpenLDAP, tmp_path: Path
) -> None:
    chances, done, ways = Chances(seed=seed), 0, (pushed, LDAP, listed)
    with furnished(database_url, openldap, tmp_path, dict.fromkeys(ways, "")) as house:
        connects(house, *ways)
        # What would be too much at once is another matter, and not counted alike.
        house.types("settings", "set", "pull_brake", "off")
        house.types("settings", "set", "push_brake", "off")
        ends_in_the_same(house, chances.state, "the beginning")

        while done < 40:
            done += (number := chances.chance.randint(3, 10))
            ends_in_the_same(house, chances.step(number), f"{done} changes")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_one_who_is_asked_cannot_say_is_not_the_same(database_url: str, openldap: OpenLDAP, tmp_path: Path) -> None:
    """As docs/pulling.md has it: what was between two pulls, blanks around a value, and who names a manager that was deleted."""
    with furnished(database_url, openldap, tmp_path, dict.fromkeys(("entra", LDAP, "csv"), "")) as house:
        house.becomes(beginning())
        entra = house.ways["entra"]
        assert isinstance(entra, ByEntra)

        between = house.state.hires(hired("kim", "Kim", "Nguyễn"))
        entra.tells(house.state, between)
        after = between.lets_go("kim").changes("bob", title=" Lead ")
        entra.tells(between, after)
        entra.deletes(after.humans["mia"])
        without = after.lets_go("mia")
        Tree(server=openldap).follows(house.state, without)
        for name in (LDAP, "csv"):
            house.ways[name].tells(house.state, without)

        seen = {name: {one[0]: one for one in picture(id).people} for name, id in house.organizations().items()}
        assert {name: "kim" in people for name, people in seen.items()} == {"entra": True, LDAP: False, "csv": False}
        assert {name: people["bob"][-3] for name, people in seen.items()} == {"entra": " Lead ", LDAP: "Lead", "csv": "Lead"}
        assert {name: people["ada"][-2] for name, people in seen.items()} == {"entra": "mia", LDAP: "", "csv": ""}


@pytest.mark.synapse
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_real_workspace_has_the_same_rooms_in_the_end(database_url: str, openldap: OpenLDAP, synapse: Synapse, tmp_path: Path) -> None:
    """By its own word, and not by what Doorlist keeps in mind of it."""
    tag, admin = secrets.token_hex(3), ChatAdmin(synapse.url, synapse.admin_token)
    token = tmp_path / "token"
    token.write_text(synapse.admin_token)
    marks = {"okta": f"-a{tag}", LDAP: f"-b{tag}", "csv": f"-c{tag}"}
    changes = list(CHANGES.values())
    with furnished(database_url, openldap, tmp_path, marks) as house:
        house.types(
            "workspace", "add", "matrix", "chat", "--url", synapse.url, "--token-file", str(token), "--option", f"server_name={synapse.server_name}"
        )
        for some in ([lambda _: beginning()], changes[:6], changes[6:]):
            state = house.state
            for change in some:
                state = change(state)
            house.becomes(state)
            deliver_for_real(house.app)

            chats = {name: Chat(admin, organization_named(name), mark) for name, mark in marks.items()}
            rooms = {name: chat.rooms() for name, chat in chats.items()}
            led, _ = expected_channels(state)
            assert differences(rooms[LDAP], {**rooms[LDAP], **by_address(led, state)}) == []
            for name, chat in chats.items():
                assert differences(rooms[LDAP], rooms[name]) == [], f"{name} and {LDAP}"
                assert differences(chats[LDAP].people(), chat.people()) == [], f"{name} and {LDAP}"
