"""Half a company moves at once: from Okta's first request to the last membership, against the bare calls."""

from collections.abc import Callable
from functools import partial
from typing import Final

from tests.benchmarks.bare import AT_ONCE, at_once
from tests.benchmarks.figures import Bound, Figure, Unit
from tests.benchmarks.house import PUSH_THREADS, BareHouse, Bench, Houses, members_of, reorganised, timed, turned
from tests.journeys.company import Person

MOVES: Final = 500


def run(bench: Bench) -> list[Figure]:
    houses = bench.houses()
    people = houses.stage.people
    moved = reorganised(people, MOVES)
    after = list(people)
    for person in moved:
        after[person.number] = person
    # Their teams' channels are made now where a team had none before; that is part of it on both sides.
    changes = _changes(houses, after, moved)
    with bench.alone(houses.stage.synapse):
        seconds = timed(lambda: _through_doorlist(houses, moved))
    with bench.alone(houses.bare.synapse):
        floor = timed(lambda: at_once(lambda acts: [act() for act in acts], changes))
    people[:] = after
    steps = sum(map(len, changes))
    return [
        Figure(
            what=f"{len(moved)} people move, {steps:,} joins and kicks: first push to last membership",
            unit=Unit.SECONDS,
            measured=seconds,
            floor=floor,
            floor_is=f"bare Synapse calls, {AT_ONCE} at once",
            bound=Bound(times=1.3),
        )
    ]


def _through_doorlist(houses: Houses, moved: list[Person]) -> None:
    for _ in houses.stage.okta.each(moved, houses.stage.okta.update, threads=PUSH_THREADS):
        pass
    houses.ledger.settle()


def _changes(houses: Houses, after: list[Person], moved: list[Person]) -> list[list[Callable[[], object]]]:
    """For each person who moves, the kicks and joins that bring the bare house to the same shape.

    In the order in which the directory tells us of them: neighbours in the organisation, one after the other, are less
    work for Synapse, and nobody who hears of one person at a time could sort them so.
    """
    bare: BareHouse = houses.bare
    was, will = turned(bare.members), turned(members_of(after, houses.groups))
    changes: list[list[Callable[[], object]]] = []
    told = {person.number: place for place, person in enumerate(moved)}
    for number, user in sorted(bare.users.items(), key=lambda one: told.get(one[0], len(told))):
        before, then = set(was[number]), set(will[number])
        acts: list[Callable[[], object]] = [partial(bare.server.kick, bare.rooms[topic], user) for topic in sorted(before - then)]
        acts += [partial(bare.server.join, bare.rooms[topic], user) for topic in sorted(then - before) if topic in bare.rooms]
        if acts:
            changes.append(acts)
    return changes
