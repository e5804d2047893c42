"""Pulls of a large OpenLDAP: everything though nothing changed, what changed, and the first time. Each in a process of its own.

There are six memberships for each person of the largest size, and as many in all at the smaller ones.
"""

import base64
import json
import os
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.apart import apart
from tests.benchmarks.figures import Bound, Figure, Unit, middle
from tests.benchmarks.house import Bench, batches
from tests.benchmarks.pulling_apart import reached_by
from tests.journeys import company
from tests.servers.directories import DirectoryMissing
from tests.servers.openldap import OpenLDAP
from tests.servers.postgres import PostgresMissing, running_postgres
from tests.servers.processes import ServerBroken

SIZES: Final = sorted({int(size) for size in os.environ.get("BENCH_PULL_SIZES", "10000,100000").split(",")})
MEMBERSHIPS: Final = 6 * SIZES[-1]
TEAM: Final = 200
TRIES: Final = 3
SHORT_TRIES: Final = 5
CHANGES: Final = (0, 1, 100)
_SAFE: Final = re.compile(r"[!-9;=-~][ -~]*(?<! )")
"""What LDIF takes as it stands (RFC 2849)."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What was measured with a directory of one size on one database, each part as often as it was tried."""

    size: int
    memberships: int
    joining: Sequence[dict[str, Any]]
    bare: Sequence[dict[str, Any]]
    listing: Sequence[dict[str, Any]]
    alone: Sequence[dict[str, Any]]
    changes: Mapping[int, Sequence[dict[str, Any]]]


def run(bench: Bench) -> list[Figure]:
    with ExitStack() as leaving:
        databases: dict[str, Callable[[], str]] = {"SQLite": lambda: _sqlite(bench.folder)}
        try:
            databases["PostgreSQL"] = leaving.enter_context(running_postgres()).database
        except PostgresMissing as error:
            print(f"pulling: NOT MEASURED ON POSTGRESQL: {error}", file=sys.stderr)
        taken: dict[str, list[Taken]] = {name: [] for name in databases}
        try:
            for size in SIZES:
                house = Directory(bench.folder.absolute() / f"openldap-{size}", size=size)
                try:
                    house.fill()
                    for name, database in databases.items():
                        taken[name].append(_measured(house, name, database, bench.folder))
                finally:
                    house.server.stop()
        except (DirectoryMissing, ServerBroken) as error:
            raise RuntimeError(str(error)) from error
        return [figure for name, some in taken.items() for figure in figures(name, some)]


def _sqlite(folder: Path) -> str:
    number = len(list(folder.glob("pull-*.db")))
    (folder / f"pull-{number}.db").touch()
    return f"sqlite:///{(folder / f'pull-{number}.db').absolute()}"


# The directory


class Directory:
    """An OpenLDAP with so many people in it, who come in no order, and with groups of everybody, by division, place and team."""

    def __init__(self, folder: Path, *, size: int) -> None:
        self.server = OpenLDAP()
        self.size = size
        self._folder = folder
        self._people = list(company.people(size=size))
        self._groups = dict(_groups(self._people, of_each=MEMBERSHIPS // size))
        self.entries = size + len(self._groups)
        self.memberships = sum(map(len, self._groups.values()))

    def fill(self) -> None:
        self.server.start(self._folder)
        self.server.stop()
        self.server.load(self._ldif())
        self.server.start(self._folder)

    def promote(self, count: int, *, to: str) -> None:
        """So many people have another title."""
        for person in self._people[-count:] if count else ():
            self.server.change(_uid(person), title=to)

    def _ldif(self) -> str:
        order = list(self._people)
        random.Random(1).shuffle(order)
        return "".join([*(self._person(one) for one in order), *(self._group(name, members) for name, members in self._groups.items())])

    def _dn(self, person: company.Person) -> str:
        return f"uid={_uid(person)},{self.server.unit('staff')}"

    def _person(self, one: company.Person) -> str:
        said = {
            "uid": _uid(one), "cn": one.display_name, "sn": one.family_name, "givenName": one.given_name, "displayName": one.display_name,
            "mail": one.user_name, "title": one.title, "employeeNumber": one.employee_number, "employeeType": one.user_type,
            "departmentNumber": one.department or "", "manager": "" if one.manager is None else self._dn(self._people[one.manager]),
        }  # fmt: skip
        return _entry(self._dn(one), ["inetOrgPerson", "shadowAccount"], [pair for pair in said.items() if pair[1]])

    def _group(self, name: str, members: Sequence[int]) -> str:
        return _entry(self.server.group_dn(name), ["groupOfNames"], [("cn", name), *(("member", self._dn(self._people[one])) for one in members)])


def _groups(people: Sequence[company.Person], *, of_each: int) -> Iterator[tuple[str, Sequence[int]]]:
    """Name and members; everybody is in so many of them."""
    numbers = [person.number for person in people]
    yield "everybody", numbers
    for what, of in {"division": "division", "place": "country"}.items():
        for value in sorted({getattr(person, of) for person in people}):
            yield f"{what} {value}", [person.number for person in people if getattr(person, of) == value]
    for turn in range(of_each - 3):
        random.Random(turn).shuffle(numbers)
        for number, some in enumerate(batches(numbers, TEAM)):
            yield f"team {turn}.{number}", some


def _uid(person: company.Person) -> str:
    return person.user_name.partition("@")[0]


def _entry(dn: str, classes: Sequence[str], said: Sequence[tuple[str, str]]) -> str:
    lines = [("dn", dn), *(("objectClass", name) for name in classes), *said]
    return "\n".join(map(_line, lines)) + "\n\n"


def _line(said: tuple[str, str]) -> str:
    name, value = said
    return f"{name}: {value}" if _SAFE.fullmatch(value) else f"{name}:: {base64.b64encode(value.encode()).decode()}"


# Measuring


def _measured(house: Directory, name: str, database: Callable[[], str], folder: Path) -> Taken:
    """What is compared takes turns, so that both meet the same machine."""
    url, home = database(), str(folder / "pulling")
    reached, people_only = reached_by(house.server.settings()), reached_by(house.server.settings(groups="false"))

    def part(what: str, *given: str) -> dict[str, Any]:
        found = apart("tests.benchmarks.pulling_apart", what, *given)
        print(f"pulling: {what}, {house.size:,} people, {name}: {json.dumps(found)}", file=sys.stderr, flush=True)
        return found

    joining, bare = [part("first", url, home, reached)], [part("bare", url, database(), home)]
    for _ in range(1, TRIES):
        joining.append(part("first", database(), home, people_only))
        bare.append(part("bare", url, database(), home))
    for one in joining:
        _require(one, joined=house.size)
    listing, alone = [], []
    for _ in range(TRIES):
        alone.append(part("alone", reached))
        _require(alone[-1], entries=house.entries)
        listing.append(part("listing", url, home))
        _require(listing[-1], seen=house.size, unchanged=house.size, moved=0)
    changes: dict[int, list[dict[str, Any]]] = {count: [] for count in CHANGES}
    for turn in range(SHORT_TRIES):
        for count in CHANGES:
            house.promote(count, to=f"Adviser {name} {turn}.{count}")
            changes[count].append(part("changes", url, home))
            _require(changes[count][-1], seen=count, moved=count)
    return Taken(
        size=house.size, memberships=house.memberships, joining=[one["joining"] for one in joining], bare=bare, listing=listing, alone=alone, changes=changes
    )


def _require(found: Mapping[str, Any], **wanted: int) -> None:
    """A figure of something else than was asked for is none."""
    if wrong := {key: found[key] for key, value in wanted.items() if found[key] != value}:
        raise RuntimeError(f"{json.dumps(wrong)} where there should be {json.dumps(wanted)}")


# Figures


def figures(name: str, taken: Sequence[Taken]) -> list[Figure]:
    """Of one database."""
    least, most = taken[0], taken[-1]
    made = [
        Figure(
            what=f"full listing, nothing changed, {one.size:,} people, {one.memberships:,} memberships, {name}", unit=Unit.SECONDS,
            measured=_seconds(one.listing), floor=_seconds(one.alone), floor_is="reading the same entries with ldap3 alone", bound=Bound(times=1.5),
        )
        for one in taken
    ]  # fmt: skip
    beyond, small = _beyond(least), {count: _milliseconds(least.changes[count]) for count in CHANGES}
    made.append(Figure(what=f"peak memory of a listing beyond that reading, {least.size:,} people, {name}", unit=Unit.MEGABYTES, measured=beyond))
    made += [Figure(what=f"pull, {_said(count)}, {least.size:,} people, {name}", unit=Unit.MILLISECONDS, measured=small[count]) for count in CHANGES]
    if most is not least:
        of_less = f"the same with {least.size:,} people"
        made.append(
            Figure(
                what=f"peak memory of a listing beyond that reading, {most.size:,} people, {name}", unit=Unit.MEGABYTES, measured=_beyond(most), floor=beyond,
                floor_is=of_less, bound=Bound(times=1.2),
            )
        )  # fmt: skip
        made += [
            Figure(
                what=f"pull, {_said(count)}, {most.size:,} people, {name}", unit=Unit.MILLISECONDS, measured=_milliseconds(most.changes[count]),
                floor=small[count], floor_is=of_less, bound=Bound(times=1.5, plus=20.0),
            )
            for count in CHANGES
        ]  # fmt: skip
    for one in taken:
        rows, joining, bare = one.bare[0]["rows"], _seconds(one.joining), _seconds(one.bare)
        made.append(
            Figure(
                what=f"{one.size:,} people into an empty directory, {rows / joining:,.0f} rows a second, {name}", unit=Unit.SECONDS, measured=joining,
                floor=bare, floor_is=f"bare bulk insert, {rows / bare:,.0f} rows a second", bound=Bound(times=4),
            )
        )  # fmt: skip
    return made


def _said(count: int) -> str:
    return {0: "nothing changed", 1: "one person changed"}.get(count, f"{count} people changed")


def _seconds(tries: Sequence[Mapping[str, Any]]) -> float:
    """The least disturbed of them."""
    return min(float(one["seconds"]) for one in tries)


def _milliseconds(tries: Sequence[Mapping[str, Any]]) -> float:
    return 1000 * _seconds(tries)


def _beyond(one: Taken) -> float:
    """What a listing needs more than the reading."""
    return middle([listed["megabytes"] for listed in one.listing]) - middle([read["megabytes"] for read in one.alone])
