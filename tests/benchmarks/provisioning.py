"""A company into Synapse: from Okta's first request to the last membership, against the bare calls."""

from tests.benchmarks.bare import AT_ONCE
from tests.benchmarks.figures import Bound, Figure, Unit
from tests.benchmarks.house import Bench


def run(bench: Bench) -> list[Figure]:
    houses = bench.houses()
    people = len(houses.stage.people)
    return [
        Figure(
            what=f"{people:,} people, {houses.channels} rooms, {houses.memberships:,} memberships: first push to last membership",
            unit=Unit.SECONDS,
            measured=houses.through_doorlist,
            floor=houses.by_bare_calls,
            floor_is=f"bare Synapse calls, {AT_ONCE} at once",
            bound=Bound(times=1.3),
        ),
        Figure(what="  of which until the last push was answered", unit=Unit.SECONDS, measured=houses.pushed),
    ]
