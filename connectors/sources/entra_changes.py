"""What Microsoft Graph's delta queries tell, and what it means.

Graph tells an object several times, in any order, over pages that may be empty, again after it was told, and a group's members in
pieces. So a round is read to its end first, what it says is put together, and whoever was mentioned is then asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from connectors.contract import Misconfigured, Missing, Unreachable
from connectors.documents import Document
from connectors.source_contract import Change, CursorLost, Gone, Incomplete, Kind, Memberships, SourceKey, SourcePerson
from connectors.sources.entra_reading import GROUPS, USERS, Reading, next_of
from connectors.sources.vendor_calls import Got

LATEST: Final = "latest"
_USER: Final = "#microsoft.graph.user"
# Else a group's name would come with every change of its members, and the group would have to be read whole each time.
_MINIMAL: Final = {"Prefer": "return=minimal"}


@dataclass(kw_only=True)
class UserNews:
    """`retyped`: what kind of user they are changed. Of whoever is new, or restored, their name is told along with it."""

    removed: bool = False
    told: bool = False
    retyped: bool = False
    enabled: set[bool] = field(default_factory=set)


@dataclass(kw_only=True)
class GroupNews:
    """`whole`: more than a few people came or went, so that only the group itself says what it is now."""

    removed: bool = False
    told: bool = False
    whole: bool = False
    added: set[SourceKey] = field(default_factory=set)
    gone: set[SourceKey] = field(default_factory=set)


_Note = Callable[[Document], None]


class Changes:
    """One round of both lists. `users` and `groups` are the links behind it, once `tell` has ended normally."""

    def __init__(self, reading: Reading, *, users: str, groups: str) -> None:
        self._reading = reading
        self.users = users
        self.groups = groups

    def tell(self) -> Iterator[Change]:
        people, groups = dict[str, UserNews](), dict[str, GroupNews]()
        self.users = self._round(self.users, lambda item: _note_user(people, item))
        if self.groups:
            self.groups = self._round(self.groups, lambda item: _note_group(groups, item))
        for key, news in people.items():
            told = self._person(key, news)
            if self.groups and news.retyped and isinstance(told, SourcePerson) and not self._reading.people.counts_guests:
                raise CursorLost(f"{self._reading.name}: {told.user_name} is no guest any more, and no group says that they are in it")
            yield told
        yield from self._groups(groups)

    def _person(self, key: str, news: UserNews) -> Change:
        found = self._reading.user(key) if news.told else None
        if found is not None and news.removed and self._reading.in_the_bin(key):
            found = None
        if found is None:
            # Deleted, or a guest by now. What was only ever told as removed is not asked for: a replica may not know it yet.
            return Gone(kind=Kind.PERSON, key=SourceKey(key))
        # For the same reason a closed account is closed, even where the one who was asked still shows it open.
        return self._reading.people.person(found, source=self._reading.name, known_off=news.enabled == {False})

    def _groups(self, groups: dict[str, GroupNews]) -> Iterator[Change]:
        again = dict[str, None]()
        for key, news in groups.items():
            if news.removed and not news.told:
                yield Gone(kind=Kind.GROUP, key=SourceKey(key))
                continue
            holders = self._reading.holders(key)
            again |= dict.fromkeys(holders)
            if news.whole or news.added & news.gone or holders or self._holds_groups(key):
                again[key] = None
            elif news.added or news.gone:
                yield Memberships(group=SourceKey(key), added=frozenset(news.added), removed=frozenset(news.gone))
        for key in again:
            found = self._reading.group(key)
            yield Gone(kind=Kind.GROUP, key=SourceKey(key)) if found is None else found

    def _holds_groups(self, key: str) -> bool:
        try:
            return self._reading.holds_groups(key)
        except Missing:
            return True

    def _round(self, link: str, note: _Note) -> str:
        """The link behind the round. Raises CursorLost where Graph does not know the one before it any more."""
        last: Got | None = None
        try:
            for last in self._reading.calls.pages(link, next_of, headers=_MINIMAL):
                for item in last.document().parts("value"):
                    note(item)
        except (Misconfigured, Missing) as error:
            # 410 after seven days, or a 4xx with syncStateNotFound; whatever it is, only a full listing helps.
            raise CursorLost(f"{self._reading.name}: the link to what changed is not accepted any more: {error}") from error
        except Incomplete as error:
            raise CursorLost(f"{self._reading.name}: the list of changes broke off: {error}") from error
        return _behind(last)


def links_now(reading: Reading, *, with_groups: bool) -> tuple[str, str]:
    """Where both lists stand, told without a listing."""
    query = {"$select": f"{reading.people.select},manager", "$deltatoken": LATEST}
    users = _latest(reading, USERS + "/delta", query)
    return users, _latest(reading, GROUPS + "/delta", {"$select": "displayName,members", "$deltatoken": LATEST}) if with_groups else ""


def _latest(reading: Reading, place: str, query: dict[str, str]) -> str:
    *_, last = reading.calls.pages(place, next_of, query=query, headers=_MINIMAL)
    return _behind(last)


def _behind(last: Got | None) -> str:
    link = "" if last is None else last.document().text("@odata.deltaLink")
    if last is None or not link:
        raise Incomplete(f"{last.source if last else 'delta'}: the list of changes ends without saying where to go on")
    return link


def _note_user(people: dict[str, UserNews], item: Document) -> None:
    news = people.setdefault(_id(item), UserNews())
    if item.has("@removed"):
        news.removed = True
        return
    news.told = True
    news.retyped = news.retyped or (item.has("userType") and not item.has("userPrincipalName"))
    if item.has("accountEnabled"):
        news.enabled.add(item.flag("accountEnabled"))


def _note_group(groups: dict[str, GroupNews], item: Document) -> None:
    news = groups.setdefault(_id(item), GroupNews())
    if item.has("@removed"):
        news.removed = True
        return
    news.told = True
    news.whole = news.whole or item.has("displayName")
    for member in item.parts("members@delta"):
        if member.text("@odata.type") not in ("", _USER):
            # A group within it, or a device; which people come or go with it is not told.
            news.whole = True
        else:
            (news.gone if member.has("@removed") else news.added).add(SourceKey(_id(member)))


def _id(item: Document) -> str:
    if not (key := item.text("id")):
        raise Unreachable("delta: something without an id was told", sent=True)
    return key
