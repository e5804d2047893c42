"""Reading one organisation of Okta: pages, groups with their members, who was deleted, and Okta's own clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from connectors.contract import Missing, Unreachable
from connectors.documents import LONGEST_WAIT, Document
from connectors.http import path
from connectors.source_contract import Gone, Kind, SourceGroup, SourceKey, SourcePerson
from connectors.sources.okta_people import People
from connectors.sources.vendor_calls import Calls, Dialect, Got

USERS: Final = "/api/v1/users"
GROUPS: Final = "/api/v1/groups"
LOGS: Final = "/api/v1/logs"
EVERYBODY: Final = 'lastUpdated gt "1970-01-01T00:00:00.000Z"'
"""The plain list leaves deprovisioned users out; one with a filter does not."""
_DELETIONS: Final = ("user.lifecycle.delete.initiated", "user.lifecycle.delete.completed", "group.lifecycle.delete")
_SMALL_PAGE: Final = 25
_NEXT: Final = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')


class Reading:
    """`types` are the kinds of group that count."""

    def __init__(self, calls: Calls, people: People, *, types: frozenset[str], size: int, clock: Callable[[], datetime]) -> None:
        self.name = calls.name
        self.calls = calls
        self.people = people
        self._types = types
        self._size = size
        self._clock = clock

    def pages(self, place: str, *, query: Mapping[str, str]) -> Iterator[Got]:
        begun = False
        try:
            for got in self.calls.pages(place, next_of, query={**query, "limit": str(self._size)}):
                begun = True
                yield got
        except Unreachable as error:
            # Okta answers 500 where a page takes it too long, and says to ask for less. Links to further pages keep the limit.
            if begun or not error.sent or self._size <= _SMALL_PAGE:
                raise
            yield from self.calls.pages(place, next_of, query={**query, "limit": str(_SMALL_PAGE)})

    def user(self, key: str) -> Document | None:
        user = self.calls.find(path(USERS + "/{}", key))
        # Okta takes a login, or "me", for an id too; only the one that was meant will do.
        if user is not None and user.text("id") != key:
            raise Unreachable(f"{self.name}: asked for user {key}, another one was answered", sent=True)
        return user

    def resolved(self, user: Document, known: dict[str, SourceKey | None]) -> SourcePerson:
        """With the manager, who is asked for where only a login is told. `known` keeps the answers."""
        person, login = self.people.person(user, source=self.name), self.people.login_of_manager(user)
        if not login:
            return person
        if login not in known:
            found = self.calls.find(path(USERS + "/{}", login))
            known[login] = self.people.key(found, source=self.name) if found and self.people.login(found) == login else None
        return replace(person, manager=known[login])

    def groups(self, *, query: Mapping[str, str]) -> Iterator[Document]:
        for got in self.pages(GROUPS, query=query):
            for group in got.items():
                if group.text("type") in self._types:
                    yield group

    def whole(self, group: Document) -> SourceGroup | None:
        """With everybody in it; None where it was deleted meanwhile."""
        if not (key := group.text("id")):
            raise Unreachable(f"{self.name}: a group without an id was told", sent=True)
        members: set[SourceKey] = set()
        try:
            for got in self.pages(path(GROUPS + "/{}/users", key), query={}):
                members.update(self.people.key(user, source=self.name) for user in got.items())
        except Missing:
            return None
        return SourceGroup(key=SourceKey(key), name=group.part("profile").text("name") or key, members=frozenset(members))

    def deleted(self, *, since: datetime, until: datetime) -> Iterator[Gone]:
        """By the System Log, and each asked for: the first of a user's two deletions only deactivates."""
        asked = {"since": stamp(since), "until": stamp(until), "sortOrder": "ASCENDING"}
        # Without `until` the log is a list without an end: it always names a next page.
        asked["filter"] = " or ".join(f'eventType eq "{kind}"' for kind in _DELETIONS)
        told: set[str] = set()
        for got in self.pages(LOGS, query=asked):
            events = got.items()
            if not events:
                return
            for event in events:
                for target in event.parts("target"):
                    key, kind = target.text("id"), TARGETS.get(target.text("type"))
                    if not key or kind is None or key in told:
                        continue
                    told.add(key)
                    if self._is_gone(key, kind):
                        yield Gone(kind=kind, key=SourceKey(key))

    def time_of(self, got: Got) -> datetime:
        """Okta's own clock as it answered: ours may be wrong, and what is compared with it was stamped by Okta."""
        try:
            return parsedate_to_datetime(got.headers["Date"]).astimezone(UTC)
        except (KeyError, ValueError, TypeError, OverflowError):
            return self._clock()

    def _is_gone(self, key: str, kind: Kind) -> bool:
        if kind is Kind.PERSON:
            return self.user(key) is None
        return self.calls.find(path(GROUPS + "/{}", key)) is None


TARGETS: Final[Mapping[str, Kind]] = {"User": Kind.PERSON, "UserGroup": Kind.GROUP}
"""What the System Log and event hooks call the two."""


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def next_of(got: Got) -> str | None:
    """From the Link headers (RFC 8288), which Okta sends one by one and which arrive joined by commas."""
    found = _NEXT.search(got.headers.get("Link", ""))
    return found[1] if found else None


def _said(document: Document) -> tuple[str, str]:
    return document.text("errorCode"), document.text("errorSummary")


def _wait(headers: Mapping[str, str]) -> float | None:
    """Okta names the second at which the minute's calls are given back, by its own clock; not how long to wait."""
    if "Retry-After" in headers:
        return None
    try:
        wait = float(headers["X-Rate-Limit-Reset"]) - parsedate_to_datetime(headers["Date"]).timestamp()
        return min(max(0.0, wait), LONGEST_WAIT)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


# E0000007: there is no such resource. E0000008: there is no such path.
DIALECT: Final = Dialect(said=_said, missing=frozenset({"E0000007"}), wait=_wait)
