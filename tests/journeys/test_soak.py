"""The 1,000-person shows: killed ten times at random, and a layoff in the middle of the first sync.

`SOAK_PEOPLE`, `SOAK_KILLS` and `SOAK_SEED` make them smaller or different.
"""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import requests

from tests.journeys import company
from tests.journeys.auditor import ChatServer
from tests.journeys.chat_tree import ADMIN, ChatAdmin
from tests.journeys.company import DEPARTMENTS, Person
from tests.journeys.demo import set_up
from tests.journeys.doorlist import Doorlist, StepFailed, end
from tests.journeys.expected import RULES, SPACE, expected_channels, expected_in_space
from tests.journeys.ledger import Departed, Ledger
from tests.journeys.okta import ProvisioningFailed
from tests.journeys.stage import Stage, say

pytestmark = [pytest.mark.soak, pytest.mark.synapse, pytest.mark.timeout(2400)]

PEOPLE: Final = int(os.environ.get("SOAK_PEOPLE", "1000"))
KILLS: Final = int(os.environ.get("SOAK_KILLS", "10"))
SEED: Final = int(os.environ.get("SOAK_SEED", "1"))
LEAVERS: Final = PEOPLE // 5
PUSH_THREADS: Final = 4
# Longer than a claim outlives the process that held it, and a delivery after it.
GIVE_UP_AFTER: Final = 180.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as leaving:
        made = set_up(tmp_path, size=PEOPLE, leaving=leaving, port=0)
        made.doorlist.json("rules", "apply", str(RULES))
        # Whether a team that loses its manager has a channel by then depends on who was killed when.
        made.doorlist.run("settings", "set", "handover", "none")
        yield made


def test_killed_at_random_nobody_is_missing_twice_or_extra(stage: Stage, tmp_path: Path) -> None:
    began = time.monotonic()
    groups = company.pushed_groups(stage.people)
    with ExitStack() as leaving, ThreadPoolExecutor(1) as killing:
        crew = Crew(stage, tmp_path)
        leaving.callback(crew.end)
        kills = killing.submit(crew.kill_at_random, KILLS, chance=random.Random(SEED), longest_pause=PEOPLE / 250)

        for _, level in by_level(stage.people):
            for _ in stage.okta.each(level, patient(stage.okta.assign), threads=PUSH_THREADS):
                if kills.done():
                    kills.result()
        for group in groups:
            patient(stage.okta.push_group)(group)
        pushed = time.monotonic() - began
        killed = kills.result()
        Ledger(stage.doorlist.home).settle()

    holds = read(stage.chat)
    wanted = expected_channels(stage.people, groups)
    say(
        json.dumps(
            {
                "people": len(holds.accounts), "channels": len(holds.channels), "memberships": sum(map(len, holds.channels.values())),
                "killed": killed, "seconds_to_push": round(pushed, 1), "seconds": round(time.monotonic() - began, 1),
            }
        )
    )  # fmt: skip
    assert sum(killed.values()) == KILLS
    assert differences(holds, stage.people, wanted) == []


def test_departures_scattered_into_a_first_sync_stay_shut_and_gone(stage: Stage) -> None:
    chance = random.Random(SEED)
    groups = company.pushed_groups(stage.people)
    leavers = {person.number: person for person in chance.sample(stage.people[1:], LEAVERS)}
    until = datetime.now(UTC) + timedelta(hours=2)
    # Beside an HR source a directory's *off* only pauses; here it is the one that says who leaves.
    stage.doorlist.run("settings", "set", "leaving_voice", "directory")
    stage.doorlist.json("expect-departures", str(LEAVERS), "--until", until.isoformat())
    ledger = Ledger(stage.doorlist.home)
    auditor = Auditor(stage, list(leavers.values()))

    with ThreadPoolExecutor(2) as beside:
        auditing = beside.submit(auditor.watch)
        try:
            firing = beside.submit(scatter, stage, leavers, auditor, chance)
            began = time.monotonic()
            stage.okta.push(stage.people, threads=PUSH_THREADS)
            for group in groups:
                stage.okta.push_group(group)
            firing.result()
            ledger.settle()
            seconds = time.monotonic() - began
        finally:
            auditor.stop.set()
        auditing.result()

    departed = ledger.departed()
    auditor.look_at_all()
    shut = sorted((one.shut_ns - one.received_ns) / 1e6 for one in departed.values() if one.shut_ns is not None)
    say(
        json.dumps(
            {
                "people": PEOPLE, "departed": len(departed), "looks": len(auditor.looks), "accounts_watched": len(auditor.found),
                "signed_in": len(auditor.signed_in), "seconds": round(seconds, 1), "held": stage.doorlist.status()["held"],
                "looks_while_open": sum(not look.closed for look in auditor.looks),
                "ms_to_shut": {"p50": round(shut[len(shut) // 2]), "max": round(shut[-1])} if shut else None,
            }
        )
    )  # fmt: skip
    assert stage.doorlist.status()["held"] == 0
    assert departed.keys() == {person.user_name for person in leavers.values()}
    assert [name for name, one in departed.items() if one.shut_ns is None or one.gone_ns is None] == []
    assert [finding for look in auditor.looks for finding in broken_promises(look, departed[look.user_name])] == []
    assert differences(read(stage.chat), stage.people, expected_channels(stage.people, groups, left=leavers), left=leavers) == []


# Pushing


def by_level(people: list[Person]) -> list[tuple[int, list[Person]]]:
    levels: dict[int, list[Person]] = {}
    for person in people:
        levels.setdefault(person.level, []).append(person)
    return sorted(levels.items())


def patient(act: Callable[[Any], object]) -> Callable[[Any], object]:
    """Tries again where no answer came, as an identity provider does; an answer that says no is still the end."""

    def acting(subject: Any) -> object:
        until = time.monotonic() + GIVE_UP_AFTER
        while True:
            try:
                return act(subject)
            except ProvisioningFailed as error:
                if not isinstance(error.__cause__, requests.RequestException) or time.monotonic() > until:
                    raise
                time.sleep(0.2)

    return acting


def scatter(stage: Stage, leavers: dict[int, Person], auditor: "Auditor", chance: random.Random) -> None:
    """Each leaver is unassigned once: right after they were assigned, or while their account is being put into channels, or later."""
    due: dict[int, float] = {}
    waits_for_account = {number for number in leavers if chance.random() < 0.6}
    left = dict(leavers)
    while left:
        now = time.monotonic()
        for number, person in list(left.items()):
            there = person.user_name in auditor.found if number in waits_for_account else number in stage.okta.person_ids
            if there:
                due.setdefault(number, now + chance.choice((0.0, 0.2, 5.0)) * chance.random())
            if due.get(number, now + 1) <= now:
                stage.okta.deactivate(left.pop(number))
        time.sleep(0.005)


# Killing


class Crew:
    """`serve` and a separate `worker`; whichever is killed is started again at once."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._doorlist: Doorlist = stage.doorlist
        self._folder = folder
        self._starts = 0
        self._children = {"serve": stage.server, "worker": self._start("worker")}
        self._ended = threading.Event()

    def kill_at_random(self, times: int, *, chance: random.Random, longest_pause: float) -> dict[str, int]:
        """How often each was killed."""
        killed: Counter[str] = Counter()
        while sum(killed.values()) < times and not self._ended.wait(chance.uniform(0.1, longest_pause + 0.1)):
            which = chance.choice(sorted(self._children))
            self._children[which].kill()
            self._children[which].wait()
            self._children[which] = self._start(which)
            killed[which] += 1
        return dict(killed)

    def end(self) -> None:
        self._ended.set()
        for child in self._children.values():
            end(child)

    def _start(self, which: str) -> Any:
        self._starts += 1
        log = self._folder / f"{which}-{self._starts}.log"
        return self._doorlist.serve(log) if which == "serve" else self._doorlist.worker(log)


# Reading the chat server


@dataclass(frozen=True, kw_only=True)
class Holds:
    """What the chat server has: accounts in use by address, channels by topic, and who is in the space."""

    accounts: dict[str, list[str]]
    channels: dict[str, frozenset[str]]
    space: frozenset[str]
    twice: list[str]


def read(chat: ChatAdmin) -> Holds:
    accounts: dict[str, list[str]] = {}
    page: str | None = "0"
    while page is not None:
        listing = chat.call("GET", f"{ADMIN}/v2/users?from={page}&limit=500&locked=true&guests=false")
        for user in listing["users"]:
            if not user["admin"]:
                row = chat.call("GET", f"{ADMIN}/v2/users/{quote(user['name'], safe='')}")
                for address in [one["address"] for one in row["threepids"]] or [f"no address: {user['name']}"]:
                    accounts.setdefault(address, []).append(user["name"])
        page = listing.get("next_token")
    channels: dict[str, frozenset[str]] = {}
    space: frozenset[str] = frozenset()
    twice = [f"{address} has {names}" for address, names in accounts.items() if len(names) > 1]
    for room in chat.rooms().values():
        if room.space and room.name == SPACE:
            space = room.members
            continue
        topic = chat.call("GET", f"{ADMIN}/v1/rooms/{quote(room.room_id, safe='')}")["topic"]
        if topic in channels:
            twice.append(f"two rooms for {topic}")
        channels[topic] = room.members
    return Holds(accounts=accounts, channels=channels, space=space, twice=twice)


def differences(
    holds: Holds, people: list[Person], wanted: dict[str, frozenset[int]], *, left: dict[int, Person] | None = None
) -> list[str]:
    """One sentence for each account, room or membership that is missing, there twice, or extra."""
    gone = left or {}
    address_of = {person.number: person.user_name for person in people if person.number not in gone}
    found = list(holds.twice)
    found += [f"no account: {address}" for address in sorted(set(address_of.values()) - holds.accounts.keys())]
    found += [f"extra account: {address}" for address in sorted(holds.accounts.keys() - set(address_of.values()))]
    account_of = {address: names[0] for address, names in holds.accounts.items()}

    def compare(where: str, should: frozenset[int], there: frozenset[str]) -> None:
        expected = {account_of.get(address_of[number], address_of[number]) for number in should}
        found.extend(f"{where}: missing {one}" for one in sorted(expected - there))
        found.extend(f"{where}: extra {one}" for one in sorted(there - expected))

    for topic in sorted(wanted.keys() | holds.channels.keys()):
        compare(topic, wanted.get(topic, frozenset()), holds.channels.get(topic, frozenset()))
    compare("the space", expected_in_space(wanted, DEPARTMENTS.keys()), holds.space)
    return found


# Auditing


@dataclass(frozen=True, kw_only=True)
class LookAt:
    """What the chat server showed of one leaver to requests that were all sent after `since_ns`."""

    user_name: str
    since_ns: int
    devices: int
    pushers: int
    rooms: int
    closed: bool


def broken_promises(look: LookAt, departed: Departed) -> list[str]:
    found = []
    if departed.shut_ns is not None and look.since_ns > departed.shut_ns and (look.devices or look.pushers or not look.closed):
        found.append(f"{look} after shut at {departed.shut_ns}")
    if departed.gone_ns is not None and look.since_ns > departed.gone_ns and look.rooms:
        found.append(f"{look} after gone at {departed.gone_ns}")
    return found


@dataclass(kw_only=True)
class _Watched:
    user: str
    server: ChatServer
    closed_looks: int = 0


@dataclass
class Auditor:
    """Its own administrator of the chat server and its own connection: it finds each leaver's account as soon as it is there,
    signs every second in on a phone that has a push registration, and looks at them in turn."""

    stage: Stage
    leavers: list[Person]
    stop: threading.Event = field(default_factory=threading.Event)
    looks: list[LookAt] = field(default_factory=list)
    found: dict[str, _Watched] = field(default_factory=dict)
    signed_in: set[str] = field(default_factory=set)

    def watch(self) -> None:
        chat = ChatAdmin(self.stage.synapse_url, self.stage.auditor_token)
        while not self.stop.is_set():
            for number, person in enumerate(self.leavers):
                if self.stop.is_set():
                    return
                if person.user_name not in self.found:
                    self._find(chat, person, sign_in=number % 2 == 0)
                # Those who are surely gone are looked at again at the very end.
                elif self.found[person.user_name].closed_looks < 5:
                    self._look(person.user_name)
            self.stop.wait(0.02)

    def look_at_all(self) -> None:
        for user_name in self.found:
            self._look(user_name)

    def _find(self, chat: ChatAdmin, person: Person, *, sign_in: bool) -> None:
        if person.number not in self.stage.okta.person_ids:
            return
        try:
            user = chat.user_of(person.user_name)
        except StepFailed:
            return
        self.found[person.user_name] = _Watched(
            user=user, server=ChatServer(self.stage.synapse_url, self.stage.auditor_token, user)
        )
        if sign_in:
            try:
                chat.give_password(user, "correct horse battery")
                _register_push(self.stage.synapse_url, chat.sign_in(user, "correct horse battery"))
            except StepFailed:
                # Shut out between two of these requests.
                return
            self.signed_in.add(person.user_name)

    def _look(self, user_name: str) -> None:
        watched = self.found[user_name]
        since_ns = time.time_ns()
        seen = watched.server.look()
        watched.closed_looks += seen.closed and not seen.rooms
        self.looks.append(
            LookAt(
                user_name=user_name, since_ns=since_ns, devices=seen.devices, pushers=seen.pushers, rooms=len(seen.rooms), closed=seen.closed
            )
        )  # fmt: skip


def _register_push(url: str, token: str) -> None:
    answer = requests.post(
        f"{url}/_matrix/client/v3/pushers/set",
        json={
            "kind": "http", "app_id": "org.example.phone", "pushkey": token[-16:], "app_display_name": "Phone",
            "device_display_name": "Phone", "lang": "en", "data": {"url": "http://127.0.0.1:9/_matrix/push/v1/notify"},
        },
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )  # fmt: skip
    if answer.status_code != 200:
        raise StepFailed(f"the push registration was answered {answer.status_code}")
