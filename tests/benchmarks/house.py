"""The same company twice: through Doorlist into one fresh Synapse, by bare calls into another."""

import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from tests.benchmarks.bare import BareSynapse, at_once
from tests.journeys import company
from tests.journeys.company import DEPARTMENTS, Person, PushedGroup
from tests.journeys.demo import set_up
from tests.journeys.expected import RULES, SPACE, expected_channels, expected_in_space
from tests.journeys.ledger import Ledger
from tests.journeys.stage import Stage
from tests.servers.synapse import Synapse

PEOPLE: Final = int(os.environ.get("BENCH_PEOPLE", "1000"))
PUSH_THREADS: Final = 4

T = TypeVar("T")


@dataclass(kw_only=True)
class BareHouse:
    """What the bare calls made: rooms by topic, accounts by number, and who is where."""

    server: BareSynapse
    synapse: Synapse
    rooms: dict[str, str]
    users: dict[int, str]
    members: dict[str, frozenset[int]]


@dataclass(kw_only=True)
class Houses:
    """Both, and how many seconds each took; `pushed` is when the last push was answered."""

    stage: Stage
    ledger: Ledger
    bare: BareHouse
    groups: tuple[PushedGroup, ...]
    channels: int
    memberships: int
    pushed: float
    through_doorlist: float
    by_bare_calls: float


class Bench:
    """What the benchmarks share: a folder, and the two houses, which are built once for whoever asks first."""

    def __init__(self, folder: Path, leaving: ExitStack) -> None:
        self.folder = folder
        self.leaving = leaving
        self._houses: Houses | None = None
        self._synapses: list[Synapse] = []

    @contextmanager
    def alone(self, synapse: Synapse) -> Iterator[None]:
        """Every other Synapse stands still.

        After a first sync one goes on with its directory of users for many minutes, at most of a core. The one that is not
        measured must not take that from the one that is, and both keep the same rest of it for whatever comes next.
        """
        with ExitStack() as others:
            for other in self._synapses:
                if other is not synapse:
                    others.enter_context(other.paused())
            yield

    def houses(self) -> Houses:
        if self._houses is None:
            self._houses = self._build()
        return self._houses

    def fresh_stage(self, name: str, *, size: int) -> Stage:
        """A Doorlist of its own with a Synapse of its own and the rules of a thousand people."""
        folder = self.folder / name
        folder.mkdir()
        stage = set_up(folder, size=size, leaving=self.leaving, port=0)
        self._synapses.append(stage.synapse)
        stage.doorlist.json("rules", "apply", str(RULES))
        return stage

    def _build(self) -> Houses:
        stage = self.fresh_stage("through-doorlist", size=PEOPLE)
        ledger = Ledger(stage.doorlist.home)
        groups = company.pushed_groups(stage.people)
        began = time.monotonic()
        stage.okta.push(stage.people, threads=PUSH_THREADS)
        for group in groups:
            stage.okta.push_group(group)
        pushed = time.monotonic() - began
        ledger.settle()
        through_doorlist = time.monotonic() - began
        # Our own server stands still from here on, and a second one measures the floor.
        with stage.synapse.paused():
            bare, by_bare_calls = build_bare(self.folder / "bare", stage.people, groups, leaving=self.leaving)
        self._synapses.append(bare.synapse)
        return Houses(
            stage=stage, ledger=ledger, bare=bare, groups=groups, channels=len(bare.rooms),
            memberships=sum(map(len, bare.members.values())), pushed=pushed, through_doorlist=through_doorlist, by_bare_calls=by_bare_calls,
        )  # fmt: skip


def build_bare(folder: Path, people: list[Person], groups: tuple[PushedGroup, ...], *, leaving: ExitStack) -> tuple[BareHouse, float]:
    synapse = Synapse()
    leaving.callback(synapse.stop)
    synapse.start(folder.absolute())
    server = BareSynapse(synapse.url, synapse.admin_token)
    server.lift_limits(synapse.admin_id)
    house = BareHouse(server=server, synapse=synapse, rooms={}, users={}, members=members_of(people, groups))
    rooms_of = turned(house.members)
    number_of = {person.user_name: person.number for person in people}
    began = time.monotonic()

    def make_room(topic: str) -> None:
        house.rooms[topic] = server.create_room(_alias(topic), topic=topic)
        if topic in DEPARTMENTS:
            server.put_under(house.rooms[topic], house.rooms[SPACE])

    def make_person(person: Person) -> None:
        house.users[person.number] = server.create_account(person)
        for topic in rooms_of[person.number]:
            server.join(house.rooms[topic], house.users[person.number])

    house.rooms[SPACE] = server.create_room(SPACE, topic="", space=True)
    at_once(make_room, sorted(house.members.keys() - {SPACE}))
    at_once(make_person, people)
    owned = [(topic, house.users[number_of[topic]]) for topic in sorted(house.rooms) if topic in number_of]
    at_once(lambda one: server.own(house.rooms[one[0]], one[1]), owned)
    return house, time.monotonic() - began


def members_of(people: list[Person], groups: tuple[PushedGroup, ...]) -> dict[str, frozenset[int]]:
    """By topic, the space included."""
    channels = expected_channels(people, groups)
    return {**channels, SPACE: expected_in_space(channels, DEPARTMENTS.keys())}


def turned(members: dict[str, frozenset[int]]) -> dict[int, list[str]]:
    """By person, the topics of their channels."""
    found: dict[int, list[str]] = {}
    for topic in sorted(members):
        for number in members[topic]:
            found.setdefault(number, []).append(topic)
    return found


def batches(subjects: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """So many at a time."""
    left = iter(subjects)
    while some := tuple(islice(left, size)):
        yield some


def timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def reorganised(people: list[Person], count: int, *, seed: int = 1) -> list[Person]:
    """So many of those who lead nobody, or all of them, each in another team of another department, drawn at random."""
    chance = random.Random(seed)
    leads = [person for person in people if person.level == 3]
    moved = []
    movable = [person for person in people if person.level == 4]
    for person in chance.sample(movable, min(count, len(movable))):
        elsewhere = [lead for lead in leads if lead.department != person.department]
        moved.append(person.moved(to=chance.choice(elsewhere or leads)))
    return moved


def _alias(topic: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", topic.lower())
