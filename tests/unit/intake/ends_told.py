"""What a directory tells of ends, and what becomes of them while time passes."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.database import in_transaction
from app.lifecycle.people import reconsider
from tests.unit.intake.pulled_company import Pulled, pulled_company
from tests.unit.intake.scripted_directory import person

DAY = timedelta(days=1)
KEYS = [f"p{number:02}" for number in range(30)]


def thirty_people() -> Pulled:
    """Thirty people, pulled: ten of them may go at once."""
    corp = pulled_company()
    corp.directory.put(*map(person, KEYS))
    corp.pull()
    return corp


def ends(corp: Pulled, ends_at: datetime | None, *keys: str) -> None:
    for key in keys:
        corp.directory.alter(key, ends_at=None if ends_at is None else ends_at.isoformat())


def promote(corp: Pulled, key: str) -> None:
    corp.directory.alter(key, document={**corp.directory.people[key].document, "title": "Countess"})


def lives_on(corp: Pulled, length: timedelta) -> None:
    """Time passes, and a worker looks at whoever came due."""
    corp.wait(length)
    for one in [corp.person(user_name).id for user_name in corp.standing()]:
        in_transaction(lambda session, one=one: reconsider(session, corp.organization_id, one, at=corp.at))  # type: ignore[misc]  # defaults bind the loop's values


def here(corp: Pulled) -> int:
    return sum(standing == "active" for standing in corp.standing().values())


def until(corp: Pulled, key: str) -> datetime | None:
    return corp.person(f"{key}@x.example").access_until


def given_a_nearer_end(corp: Pulled, keys: list[str]) -> None:
    ends(corp, corp.at + DAY, *keys)


def switched_off(corp: Pulled, keys: list[str]) -> None:
    for key in keys:
        corp.directory.alter(key, active=False)


def deleted(corp: Pulled, keys: list[str]) -> None:
    corp.directory.drop(*keys)


def promoted(corp: Pulled, keys: list[str]) -> None:
    for key in keys:
        promote(corp, key)


def disabled(corp: Pulled, keys: list[str]) -> None:
    """By hand: of such accounts LDAP servers tell no end."""
    for key in keys:
        corp.directory.alter(key, active=False, ended=False, state="disabled", ends_at=None)


def seen_to_pass(corp: Pulled, keys: list[str]) -> None:
    """As LDAP servers tell of an end that has come."""
    for key in keys:
        corp.directory.alter(key, active=False, ended=True, state="accountExpires has passed")


def comes(corp: Pulled, *keys: str) -> None:
    """The end of these comes, and is heard of by the listing after it."""
    lives_on(corp, 2 * DAY)
    seen_to_pass(corp, list(keys))


def title(corp: Pulled) -> object:
    return corp.records()["p00@x.example"].document.get("title")
