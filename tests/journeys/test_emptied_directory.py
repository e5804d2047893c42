"""A directory that shows nobody, or too few, takes nobody's access; thirty who really leave go by a reviewed plan, and come back by its undoing.

On real parts: OpenLDAP, Synapse, and Doorlist as its operators type it. Who has what is read from Synapse alone.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from flask import Flask

from app.commands.exits import Exit
from app.database import new_id
from connectors.http import path
from tests.journeys.chat_tree import ChatAdmin
from tests.journeys.doorlist import Doorlist, end
from tests.journeys.stage import keep_secret
from tests.journeys.typed import Typed
from tests.ports import free_port
from tests.servers.directories import SYNC_PASSWORD, Hired
from tests.servers.fixtures import running
from tests.servers.openldap import OpenLDAP
from tests.servers.synapse import Synapse
from tests.waiting import until

pytestmark = [pytest.mark.synapse, pytest.mark.ldap, pytest.mark.slow]

RULES: Final = """
rules:
  - id: everyone
    name: all-hands
  - id: departments
    for_each: department
    name: "dept-{{ key | slug }}"
    parent: company
  - id: groups
    for_each: group
    name: "grp-{{ group.displayName | slug }}"
"""
DEPARTMENTS: Final = ("Engines", "Looms", "Tables")
SIZE: Final = 60
NUMBERS: Final = range(SIZE)
CHOIR, GUARD = range(20), range(0, SIZE, 3)
UNREADABLE: Final = range(SIZE * 6 // 10)
# Of thirty who leave, some have no entry any more, one has it elsewhere, and some are locked by an administrator.
MOVED_AWAY: Final = 10
DELETED, DISABLED = range(11, 25), range(25, 40)
LEAVERS: Final = range(10, 40)
ONE_MORE: Final = 40
PATIENCE: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What Synapse shows of the company: whose account is locked or deactivated, and who is in which room, all by their number."""

    closed: frozenset[int]
    rooms: Mapping[str, frozenset[int]]

    def without(self, numbers: range) -> Seen:
        """The same, had these people been shut out, and nobody else."""
        return Seen(closed=self.closed | {*numbers}, rooms={name: members - {*numbers} for name, members in self.rooms.items()})


@dataclass(kw_only=True)
class Corp:
    """A company in OpenLDAP, which Doorlist pulls and brings into Synapse. Its people are numbers; `tag` tells them from others there."""

    doorlist: Typed
    directory: OpenLDAP
    synapse: Synapse
    chat: ChatAdmin
    tag: str
    tokens: dict[int, str] = field(default_factory=dict)

    # The directory

    def uid(self, number: int) -> str:
        return f"p{number:02d}-{self.tag}"

    def furnish(self) -> None:
        self.directory.hire(*(Hired(uid=self.uid(one), given="P", family=str(one), department=DEPARTMENTS[one % 3]) for one in NUMBERS))
        for name, members in (("Choir", CHOIR), ("Guard", GUARD)):
            self.directory.add_group(name, *(self.uid(one) for one in members))

    def backup(self) -> str:
        command = ["slapcat", "-f", str(self.directory.folder / "slapd.conf"), "-b", self.directory.base]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def restore(self, ldif: str) -> None:
        """As an administrator does it: an empty database, filled while the server is down. Every entry keeps its entryUUID."""
        with self.directory.down():
            database = self.directory.folder / "db"
            shutil.rmtree(database)
            database.mkdir()
            self.directory.load(ldif)

    # Doorlist

    def pull(self, *options: str, held: bool = False, by: Doorlist | None = None) -> dict[str, Any]:
        pulled = (by or self.doorlist).json("source", "pull", "corp", *options, good=(Exit.HELD if held else Exit.DONE,))
        assert (pulled["held"] is not None) is held, pulled
        return pulled

    def held(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.doorlist.json("held", "list")["held"]
        return entries

    def refuses(self, digest: str) -> str:
        """Why `held approve` lets nothing of it through."""
        said: str = self.doorlist.json("held", "approve", digest, good=(Exit.ERROR,))["error"]
        return said

    # Synapse

    @cached_property
    def accounts(self) -> dict[str, int]:
        return {self.chat.user_of(f"{self.uid(one)}@corp.example"): one for one in NUMBERS}

    @cached_property
    def rooms(self) -> dict[str, str]:
        """By name, every room that one of them is in."""
        ids = frozenset[str]().union(*(self.chat.rooms_of(account) for account in self.accounts))
        return {self.chat.call("GET", path("/_synapse/admin/v1/rooms/{}", one))["name"]: one for one in ids}

    def seen(self) -> Seen:
        members = {name: self.chat.call("GET", path("/_synapse/admin/v1/rooms/{}/members", one))["members"] for name, one in self.rooms.items()}
        return Seen(closed=self._numbers(self.chat.closed_accounts()), rooms={name: self._numbers(there) for name, there in members.items()})

    def _numbers(self, accounts: Any) -> frozenset[int]:
        return frozenset(self.accounts[one] for one in accounts if one in self.accounts)

    def signs_in(self, *numbers: int) -> None:
        names = {number: account for account, number in self.accounts.items()}
        self.tokens |= {number: self.synapse.user_token(names[number]) for number in numbers}

    def lets_in(self, number: int) -> bool:
        url = f"{self.synapse.url}/_matrix/client/v3/account/whoami"
        return requests.get(url, headers={"Authorization": f"Bearer {self.tokens[number]}"}, timeout=20).status_code == 200


@pytest.fixture
def corp(installed: Flask, database_url: str, synapse: Synapse, tmp_path: Path) -> Iterator[Corp]:
    with ExitStack() as leaving:
        directory = leaving.enter_context(running("OPENLDAP", OpenLDAP(), tmp_path / "openldap"))
        doorlist = Typed(home=tmp_path / "home", port=free_port(), database_url=database_url)
        doorlist.program.run("init", "--organization", "Northwind")
        leaving.callback(end, doorlist.serve(tmp_path / "doorlist.log"))
        # The most hostile wait that there is: a second *not there* counts as soon as it is said.
        doorlist.run("settings", "set", "gone_after", "0s")
        token = keep_secret(tmp_path / "token", synapse.admin_token)
        doorlist.run(
            "workspace", "add", "matrix", "chat", "--url", synapse.url, "--token-file", str(token), "--option", f"server_name={synapse.server_name}"
        )
        (tmp_path / "rules.yaml").write_text(RULES)
        doorlist.run("rules", "apply", str(tmp_path / "rules.yaml"))
        password = keep_secret(tmp_path / "password", SYNC_PASSWORD)
        doorlist.run(
            "source", "add", "ldap", "corp", "--url", directory.url, "--bind-dn", directory.sync_dn, "--password-file", str(password),
            "--base", directory.unit("staff"), "--option", f"group_base={directory.unit('groups')}", "--ca", str(directory.ca_file),
            "--kind", directory.kind, "--every", "off",
        )  # fmt: skip
        chat = ChatAdmin(synapse.url, synapse.admin_token)
        yield Corp(doorlist=doorlist, directory=directory, synapse=synapse, chat=chat, tag=new_id()[-6:])


def in_their_rooms() -> Seen:
    """What the rules say of this company, worked out here and not by Doorlist."""
    departments = {f"dept-{name.lower()}": frozenset(NUMBERS[at::3]) for at, name in enumerate(DEPARTMENTS)}
    groups = {"grp-choir": frozenset(CHOIR), "grp-guard": frozenset(GUARD)}
    return Seen(closed=frozenset(), rooms={"all-hands": frozenset(NUMBERS), "company": frozenset(NUMBERS), **departments, **groups})


def nobody_lost_anything(corp: Corp) -> None:
    corp.doorlist.settle()
    assert corp.seen() == in_their_rooms()
    assert all(corp.lets_in(one) for one in corp.tokens)


def everybody_comes(corp: Corp) -> None:
    corp.furnish()
    assert corp.pull()["joined"] == SIZE
    corp.doorlist.settle()
    corp.signs_in(UNREADABLE[0], DISABLED[0], NUMBERS[-1])
    nobody_lost_anything(corp)


def the_base_is_emptied(corp: Corp) -> None:
    """Told as changes, then as a listing, and again; then all of it is there again."""
    ldif = corp.backup()
    for one in NUMBERS:
        corp.directory.let_go(corp.uid(one))

    told = [corp.pull(held=True, by=corp.doorlist.program)["held"], *(corp.pull(*options, held=True)["held"] for options in (("--full",), (), ("--full",)))]

    assert told[0]["reason"] == f"corp: {SIZE} of {SIZE} people would lose access (100%); pull_brake = 20%,10,500 allows 12"
    empty = f"corp listed nobody at all, but {SIZE} people here are its own; that cannot be right"
    assert [one["reason"] for one in told[1:]] == [empty] * 3
    assert {one["would_lose_access"] for one in told} == {SIZE}
    assert corp.refuses(told[1]["digest"]) == f"{empty}; there is nothing to approve: make the source readable, then pull again"
    nobody_lost_anything(corp)
    corp.restore(ldif)
    all_is_well_again(corp)


def the_base_is_gone(corp: Corp) -> None:
    corp.directory.rename_unit("staff", "people")

    told = [corp.pull(*options, held=True)["held"] for options in ((), ("--full",))]

    for one in told:
        assert corp.directory.unit("staff") in one["reason"] and "is not there, or is not shown" in one["reason"]
        assert one["would_lose_access"] == SIZE
    nobody_lost_anything(corp)
    corp.directory.rename_unit("people", "staff")
    all_is_well_again(corp)


def most_of_it_is_unreadable(corp: Corp) -> None:
    """Nothing tells of a right that was lost. Of one who changes, syncrepl then says that they are deleted; and a listing leaves all of them out."""
    with corp.directory.hidden(*(corp.uid(one) for one in UNREADABLE)):
        unchanged = corp.pull()
        assert (unchanged["seen"], unchanged["missing"], unchanged["left"]) == (0, 0, 0)
        corp.directory.change(corp.uid(UNREADABLE[0]), title="Director")
        told = [corp.pull(*options, held=True)["held"] for options in ((), ("--full",), ())]

        reason = f"corp: {len(UNREADABLE)} of {SIZE} people would lose access (60%); pull_brake = 20%,10,500 allows 12"
        assert [(one["reason"], one["would_lose_access"]) for one in told] == [(reason, len(UNREADABLE))] * 3
        assert [(one["reason"], one["people"]) for one in corp.held()] == [(reason, len(UNREADABLE))]
        nobody_lost_anything(corp)
    all_is_well_again(corp)


def all_is_well_again(corp: Corp) -> None:
    """By the next good listing, without anybody deciding anything."""
    pulled = corp.pull()

    assert (pulled["seen"], pulled["joined"], pulled["left"], pulled["missing"]) == (SIZE, 0, 0, 0)
    assert corp.held() == []
    nobody_lost_anything(corp)


def thirty_leave(corp: Corp) -> int:
    """Only by the digest of what was seen, and only while it is still so. Returns the run that took them."""
    corp.directory.move(corp.uid(MOVED_AWAY), unit="branch")
    for one in DELETED:
        corp.directory.let_go(corp.uid(one))
    for one in DISABLED:
        corp.directory.disable(corp.uid(one))
    names = {corp.uid(one) for one in LEAVERS}
    held = corp.pull(held=True)["held"]
    assert held["reason"] == f"corp: 30 of {SIZE} people would lose access (50%); pull_brake = 20%,10,500 allows 12"
    plan = corp.doorlist.json("held", "show", held["digest"])
    assert {line["person"] for line in plan["lines"]} == names
    assert plan["people"] == held["would_lose_access"] == 30

    assert "nothing with digest" in corp.refuses("0" * 16)
    corp.directory.disable(corp.uid(ONE_MORE))
    assert corp.pull(held=True)["held"]["digest"] != held["digest"]
    assert "changed since you looked" in corp.refuses(held["digest"]), "it is about one more by now"
    corp.directory.enable(corp.uid(ONE_MORE))
    assert corp.pull(held=True)["held"]["digest"] == held["digest"], "the same is the same digest"
    # Nobody has pulled since these were there, and on, again.
    corp.directory.move(corp.uid(MOVED_AWAY), unit="staff")
    assert f"{corp.uid(MOVED_AWAY)} is there again, says corp" in corp.refuses(held["digest"])
    corp.directory.move(corp.uid(MOVED_AWAY), unit="branch")
    corp.directory.enable(corp.uid(DISABLED[0]))
    assert f"{corp.uid(DISABLED[0])} is on again, says corp" in corp.refuses(held["digest"])
    corp.directory.disable(corp.uid(DISABLED[0]))
    nobody_lost_anything(corp)

    approved = corp.doorlist.program.json("held", "approve", held["digest"])

    assert (approved["state"], approved["people"], approved["left"]) == ("approved", 30, None)
    corp.doorlist.settle()
    assert corp.seen() == in_their_rooms().without(LEAVERS)
    assert {one: corp.lets_in(one) for one in corp.tokens} == {one: one not in LEAVERS for one in corp.tokens}
    all_is_proved(corp, names)
    assert corp.held() == []
    return int(approved["run"])


def all_is_proved(corp: Corp, names: set[str]) -> None:
    today = datetime.now(UTC).date()
    days = ("--from", str(today - timedelta(days=1)), "--to", str(today))
    report = corp.doorlist.json("report", "terminations", *days)
    assert {line["userName"] for line in report["lines"]} == names
    for line in report["lines"]:
        assert (line["outcome"], line["state"]) == ("removed", "gone"), line
        assert line["shut_known"] in ("probed", "re-read") and line["gone_known"] in ("probed", "re-read"), line
    assert sorted(line["userName"] for line in report["lines"] if line["place"] == "chat") == sorted(names)
    receipt = corp.doorlist.json("receipt", corp.uid(DELETED[0]))
    assert [(one["name"], one["shut_known"], one["gone_known"]) for one in receipt["departures"][0]["workspaces"]] == [("chat", "re-read", "re-read")]


def it_is_undone(corp: Corp, run: int) -> None:
    undone = corp.doorlist.program.json("run", "undo", str(run))

    assert (undone["people"], undone["moved_on"]) == (30, [])
    corp.doorlist.settle()
    assert corp.seen() == in_their_rooms()
    receipt = corp.doorlist.json("receipt", corp.uid(DELETED[0]))
    assert receipt["departures"][0]["returned"] is not None
    # The directory says what it said before: that is decided, and later pulls leave it so.
    for options in ((), ("--full",), ()):
        assert corp.pull(*options)["left"] == 0
    corp.doorlist.settle()
    assert corp.seen() == in_their_rooms()
    assert corp.held() == []


def they_leave_anew(corp: Corp) -> None:
    """What a source takes back and says again is said anew: a few of them go without being asked about."""
    again = DISABLED[:3]
    for one in again:
        corp.directory.enable(corp.uid(one))
    corp.pull()
    for one in again:
        corp.directory.disable(corp.uid(one))

    assert corp.pull()["left"] == len(again)

    assert until(lambda: corp.seen() == in_their_rooms().without(again), within=PATIENCE), corp.seen()


# Minutes long, and the same story: what it writes has tests of its own on either database.
@pytest.mark.parametrize(
    "database_url", [pytest.param("sqlite", marks=pytest.mark.soak), pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_a_directory_that_shows_too_few_takes_nobody_and_thirty_leavers_go_by_digest_and_come_back(corp: Corp) -> None:
    everybody_comes(corp)
    the_base_is_emptied(corp)
    the_base_is_gone(corp)
    most_of_it_is_unreadable(corp)
    run = thirty_leave(corp)
    it_is_undone(corp, run)
    they_leave_anew(corp)
