"""What `thousand_rules.yaml` says of a company, worked out from the company alone and not by Doorlist's code."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.journeys.company import Person, PushedGroup

RULES: Final = Path(__file__).with_name("thousand_rules.yaml")
EVERYONE: Final = "everyone"
SPACE: Final = "company"


def expected_channels(people: Iterable[Person], groups: Iterable[PushedGroup], *, left: Collection[int] = ()) -> dict[str, frozenset[int]]:
    """By topic, the numbers of those who should be in each channel. Channels that nobody should be in are left out."""
    everyone = {person.number: person for person in people}
    there = {number: person for number, person in everyone.items() if number not in left}
    channels: dict[str, set[int]] = {EVERYONE: set(there)}
    for person in there.values():
        if person.user_type == "Employee" and person.department is not None:
            channels.setdefault(person.department, set()).add(person.number)
        if person.manager is not None and person.title.startswith("Specialist") and person.department != "Finance":
            # A team whose manager has left is still that manager's, until the directory names another.
            team = channels.setdefault(everyone[person.manager].user_name, set())
            team |= {person.number, person.manager} & there.keys()
    for group in groups:
        channels[group.name] = set(group.members) & there.keys()
    return {topic: frozenset(members) for topic, members in channels.items() if members}


def expected_in_space(channels: Mapping[str, frozenset[int]], departments: Collection[str]) -> frozenset[int]:
    """Whoever is in a department's channel is in the space above it."""
    return frozenset(number for topic, members in channels.items() if topic in departments for number in members)
