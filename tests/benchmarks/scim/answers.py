"""When an answer is right: its status, and that it is about whom it should be. Each check says in words what is wrong."""

import json
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.scim import people
from tests.benchmarks.scim.wire import Check


def is_person(number: int, id: str | None, *, status: int = 200, active: bool | None = None) -> Check:
    """This person, under this id (any id where it is None, as on creation)."""

    def check(answered: int, body: bytes) -> str | None:
        if answered != status:
            return f"answered {answered}, not {status}: {_start(body)}"
        resource = _object(body)
        return _wrong_person(resource, number, id) or _wrong_active(resource, active)

    return check


def is_changed_person(number: int, id: str, *, active: bool | None = None) -> Check:
    """A PATCH may be answered with the person or, with 204, without (RFC 7644 §3.5.2)."""
    shown = is_person(number, id, active=active)

    def check(answered: int, body: bytes) -> str | None:
        return None if answered == 204 else shown(answered, body)

    return check


def is_accepted(answered: int, body: bytes) -> str | None:
    return None if answered in (200, 204) else f"answered {answered}, not 200 or 204: {_start(body)}"


def finds_only(number: int, id: str) -> Check:
    def check(answered: int, body: bytes) -> str | None:
        if answered != 200:
            return f"answered {answered}, not 200: {_start(body)}"
        listed = _object(body)
        found = listed.get("Resources") or []
        if listed.get("totalResults") != 1 or len(found) != 1:
            return f"found {listed.get('totalResults')}, showed {len(found)}, where one person fits"
        return _wrong_person(found[0], number, id)

    return check


def is_page(*, start: int | None, count: int, total: int, known: frozenset[str]) -> Check:
    """So many different people that are all known, and the number of all; `start` None for a page by cursor."""

    def check(answered: int, body: bytes) -> str | None:
        if answered != 200:
            return f"answered {answered}, not 200: {_start(body)}"
        listed = _object(body)
        ids = {one.get("id") for one in listed.get("Resources") or []}
        if len(ids) != count:
            return f"showed {len(ids)} people of {count}"
        if not ids <= known:
            return "showed people whom nobody made"
        if listed.get("totalResults") != total:
            return f"counted {listed.get('totalResults')} people, where there are {total}"
        if start is not None and listed.get("startIndex") != start:
            return f"said that the page starts at {listed.get('startIndex')}, not at {start}"
        return None

    return check


def is_group(id: str, *, without_members: bool) -> Check:
    def check(answered: int, body: bytes) -> str | None:
        if answered != 200:
            return f"answered {answered}, not 200: {_start(body)}"
        group = _object(body)
        if group.get("id") != id or group.get("displayName") != people.GROUP_NAME:
            return f"showed group {group.get('id')!r}, not {id!r}"
        return "showed its members" if without_members and "members" in group else None

    return check


def member_ids(document: Any) -> Sequence[str]:
    """Who is in a group as it is answered; the same member twice comes twice."""
    members = document.get("members") if isinstance(document, dict) else None
    return [str(member.get("value")) for member in members or []]


def _wrong_person(resource: dict[str, Any], number: int, id: str | None) -> str | None:
    if not resource.get("id") or (id is not None and resource["id"] != id):
        return f"showed id {resource.get('id')!r}, not {id!r}"
    for name, wanted in (("userName", people.user_name(number)), ("externalId", people.external_id(number))):
        if resource.get(name) != wanted:
            return f"showed {name} {resource.get(name)!r}, not {wanted!r}"
    return None


def _wrong_active(resource: dict[str, Any], active: bool | None) -> str | None:
    if active is None or resource.get("active") is active:
        return None
    return f"showed active {resource.get('active')!r} after {active} was said"


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _start(body: bytes) -> str:
    detail = _object(body).get("detail")
    return str(detail or body.decode(errors="replace"))[:160]
