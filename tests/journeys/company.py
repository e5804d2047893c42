"""A plausible company, the same one every time: people, their managers, departments and pushed groups.

People come out as a stream, level by level from the chief executive down, so a manager is always there before
those who report to them, and a company of 100,000 need not be held in memory.
"""

import hashlib
import random
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

CORE_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE_SCHEMA: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
DOMAIN: Final = "northwind.example"
FIRST_EMPLOYEE_NUMBER: Final = 10_001

# Ampersands, commas, slashes and umlauts: channel names are made of these, and a workspace holds few of them.
DEPARTMENTS: Final = {
    "Engineering": "Product",
    "R&D": "Product",
    "Design / UX": "Product",
    "Sales & Marketing": "Commercial",
    "Kundendienst Süd": "Commercial",
    "Finance": "Corporate",
    "Legal, Risk & Compliance": "Corporate",
    "People Operations": "Corporate",
}
LOCATIONS: Final = (
    ("Berlin", "DE"),
    ("São Paulo", "BR"),
    ("Denver", "US"),
    ("Kraków", "PL"),
    ("Nairobi", "KE"),
    ("Ōsaka", "JP"),
)
# fmt: off
GIVEN_NAMES: Final = (
    "Amara", "Bastien", "Chloé", "Dmitri", "Elif", "Farid", "Grace", "Hiro", "Ines", "Jürgen", "Kwame",
    "Lúcia", "Mara", "Nikolai", "Oluchi", "Priya", "Quentin", "Rosa", "Søren", "Tomás", "Uma", "Viktor",
    "Wanjiru", "Ximena", "Yusuf", "Zoë", "Aiko", "Björn", "Carmen", "Daniel", "Esther", "Fatima", "Gabriel",
    "Hannah", "Ibrahim", "Joanna",
)
FAMILY_NAMES: Final = (
    "Okonjo", "Moreau", "O'Neil", "Łukaszewicz", "Nguyễn", "Silva", "Müller", "Van der Berg", "Haddad",
    "Kimura", "Andersson", "Banerjee", "Castillo", "Dubois", "Eriksen", "Fernández", "Grønning", "Hassan",
    "Ivanova", "Jensen", "Kowalska", "Lindqvist", "Mwangi", "Novák", "Owusu", "Petrov", "Quispe", "Rossi",
    "Şahin", "Tanaka", "Ueda", "Vasquez", "Weiß", "Yamamoto", "Zieliński", "Achterberg", "Brandão", "Costa",
    "Diallo", "Smith-Jones",
)
# fmt: on
# Letters that stand for themselves in Unicode and so survive decomposition.
_ASCII: Final = str.maketrans({"ø": "o", "ł": "l", "ß": "ss", "đ": "d", "ı": "i", "æ": "ae"})
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TITLES: Final = ("Chief Executive Officer", "Head of {}", "Director, {}", "Team Lead, {}", "Specialist, {}")


@dataclass(frozen=True, kw_only=True)
class Person:
    """One employee or contractor. `level`: 0 the chief executive, 1 to 3 managers, 4 everyone else."""

    number: int
    level: int
    manager: int | None
    external_id: str
    user_name: str
    given_name: str
    family_name: str
    user_type: str
    title: str
    department: str | None
    division: str
    locality: str
    country: str

    @property
    def display_name(self) -> str:
        return f"{self.given_name} {self.family_name}"

    @property
    def employee_number(self) -> str:
        return f"E-{FIRST_EMPLOYEE_NUMBER + self.number}"

    def moved(self, *, to: "Person") -> "Person":
        """The same person in the team that `to` leads."""
        return replace(
            self,
            manager=to.number,
            department=to.department,
            division=to.division,
            title=_TITLES[self.level].format(to.department),
        )

    def okta_body(self, *, manager_id: str | None) -> dict[str, Any]:
        """What Okta sends on assignment; `manager_id` is the id that the SCIM server gave the manager.

        The placeholder password is sent even with password sync off, and so is the empty `groups`. Okta
        leaves out what has no value."""
        enterprise: dict[str, Any] = {"employeeNumber": self.employee_number, "division": self.division}
        if self.department is not None:
            enterprise["department"] = self.department
        if manager_id is not None:
            enterprise["manager"] = {"value": manager_id}
        return {
            "schemas": [CORE_SCHEMA, ENTERPRISE_SCHEMA],
            "userName": self.user_name,
            "name": {"givenName": self.given_name, "familyName": self.family_name},
            "emails": [{"primary": True, "value": self.user_name, "type": "work"}],
            "addresses": [{"primary": True, "type": "work", "locality": self.locality, "country": self.country}],
            "displayName": self.display_name,
            "title": self.title,
            "userType": self.user_type,
            "locale": "en-US",
            "externalId": self.external_id,
            "groups": [],
            "password": "pl4ceh0lder",
            "active": True,
            ENTERPRISE_SCHEMA: enterprise,
        }


@dataclass(frozen=True, kw_only=True)
class PushedGroup:
    """A group as an administrator would push it: a name and the numbers of the people in it."""

    name: str
    members: tuple[int, ...]


def people(*, size: int = 250, seed: int = 1) -> Iterator[Person]:
    """`size` people in the order in which they can be pushed: nobody before their manager.

    The same size and seed give the same people. One in eight of those who lead nobody is a contractor.
    """
    chance = random.Random(seed)
    names_in_use: dict[str, int] = {}
    departments = tuple(DEPARTMENTS)
    # Who leads the level that comes next, and in which department: some thousands at most, however large the
    # company.
    above: list[tuple[int, str | None]] = []
    number = 0
    for level, count in enumerate(_people_per_level(size)):
        here: list[tuple[int, str | None]] = []
        for place in range(count):
            # Everyone who leads gets somebody to lead; after that teams grow unevenly, as teams do.
            turn = place if level < 4 or place < len(above) else chance.randrange(len(above))
            manager, department = above[turn % len(above)] if above else (None, None)
            if level == 1:
                department = departments[place]
            given, family = chance.choice(GIVEN_NAMES), chance.choice(FAMILY_NAMES)
            locality, country = chance.choice(LOCATIONS)
            contractor = level == 4 and chance.random() < 1 / 8
            yield Person(
                number=number,
                level=level,
                manager=manager,
                external_id=_external_id(seed, number),
                user_name=_user_name(given, family, names_in_use),
                given_name=given,
                family_name=family,
                user_type="Contractor" if contractor else "Employee",
                title=_TITLES[level].format(department),
                department=department,
                division="Corporate" if department is None else DEPARTMENTS[department],
                locality=locality,
                country=country,
            )
            if level < 4:
                here.append((number, department))
            number += 1
        above = here


def pushed_groups(everyone: Iterable[Person]) -> tuple[PushedGroup, ...]:
    """Three groups that cut across the departments, as an administrator would push them."""
    leaders, contractors, on_call = [], [], []
    for person in everyone:
        if person.level in (1, 2):
            leaders.append(person.number)
        if person.user_type == "Contractor":
            contractors.append(person.number)
        if person.department == "Engineering" and person.number % 3 == 0:
            on_call.append(person.number)
    return (
        PushedGroup(name="Leadership circle", members=tuple(leaders)),
        PushedGroup(name="Contractors (all)", members=tuple(contractors)),
        PushedGroup(name="On-call: Engineering", members=tuple(on_call)),
    )


def _people_per_level(size: int) -> tuple[int, ...]:
    """Chief executive, heads, directors, team leads, all others; small companies fill up from the top."""
    counts = []
    left = size
    for wanted in (1, len(DEPARTMENTS), max(16, size // 64), max(24, size // 8)):
        counts.append(min(wanted, left))
        left -= counts[-1]
    return (*counts, left)


def _external_id(seed: int, number: int) -> str:
    """Okta's form: `00u` and seventeen letters or digits."""
    value = int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:16], "big")
    digits = []
    for _ in range(17):
        value, digit = divmod(value, 62)
        digits.append(_BASE62[digit])
    return "00u" + "".join(digits)


def _user_name(given: str, family: str, names_in_use: dict[str, int]) -> str:
    spelled = unicodedata.normalize("NFKD", f"{given}.{family}".lower().translate(_ASCII))
    local = re.sub(r"[^a-z.\-]", "", spelled)
    names_in_use[local] = taken = names_in_use.get(local, 0) + 1
    return f"{local}@{DOMAIN}" if taken == 1 else f"{local}{taken}@{DOMAIN}"
