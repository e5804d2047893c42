"""Reading one tenant by Microsoft Graph: pages, people with their managers, groups with everybody in them at any depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from connectors.contract import Missing, Unreachable
from connectors.documents import Document
from connectors.http import path
from connectors.source_contract import Incomplete, SourceGroup, SourceKey
from connectors.sources.entra_people import People
from connectors.sources.vendor_calls import Calls, Dialect, Got

VERSION: Final = "/v1.0"
USERS: Final = VERSION + "/users"
GROUPS: Final = VERSION + "/groups"
DELETED: Final = VERSION + "/directory/deletedItems"
WITH_MANAGER: Final = "manager($select=id)"
EVENTUAL: Final = {"ConsistencyLevel": "eventual"}
"""Asked for by Graph wherever it casts or counts."""
_USER: Final = "#microsoft.graph.user"
_GROUP: Final = "#microsoft.graph.group"


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What a group holds, at any depth."""

    people: frozenset[SourceKey]
    groups: frozenset[str]
    others: int


class Reading:
    def __init__(self, calls: Calls, people: People, *, size: int) -> None:
        self.name = calls.name
        self.calls = calls
        self.people = people
        self._size = str(size)

    def users(self) -> Iterator[Document]:
        query = {"$select": self.people.select, "$expand": WITH_MANAGER, "$top": self._size}
        anybody = False
        for user in self.values(USERS, query=query):
            anybody = True
            if self.people.counts(user):
                yield user
        if not anybody:
            # Every tenant has an administrator: a right was lost, and nobody has left.
            raise Incomplete(f"{self.name}: nobody at all is shown to this application")

    def user(self, key: str) -> Document | None:
        """None where Graph says that there is no such user; a deleted one that could still be restored is none either."""
        user = self.calls.find(path(USERS + "/{}", key), query={"$select": self.people.select, "$expand": WITH_MANAGER})
        # A userPrincipalName would do for Graph; only the id that was meant will do here.
        if user is not None and user.text("id").lower() != key.lower():
            raise Unreachable(f"{self.name}: asked for user {key}, another one was answered", sent=True)
        return user if user is not None and self.people.counts(user) else None

    def in_the_bin(self, key: str) -> bool:
        """Whether the user is among the deleted, whom a replica that is behind may still show as being there."""
        return self.calls.find(path(DELETED + "/{}", key), query={"$select": "id"}) is not None

    def groups(self) -> Iterator[Document]:
        return self.values(GROUPS, query={"$select": "id,displayName", "$top": self._size})

    def group(self, key: str) -> SourceGroup | None:
        found = self.calls.find(path(GROUPS + "/{}", key), query={"$select": "id,displayName"})
        return None if found is None else self.whole(found)

    def whole(self, group: Document) -> SourceGroup | None:
        """With everybody in it, groups within it taken apart by Entra; None where it was deleted meanwhile."""
        if not (key := group.text("id")):
            raise Unreachable(f"{self.name}: a group without an id was told", sent=True)
        name = group.text("displayName") or key
        try:
            inside = self._inside(key)
        except Missing:
            return None
        return SourceGroup(
            key=SourceKey(key),
            name=name,
            members=inside.people,
            cycles=(name,) if key in inside.groups else (),
            ignored=inside.others,
        )

    def holders(self, key: str) -> frozenset[str]:
        """The groups that this one is in, at any depth: what changes in it changes in them."""
        pages = self.values(path(GROUPS + "/{}/transitiveMemberOf", key), query={"$select": "id", "$top": self._size})
        try:
            return frozenset(one.text("id") for one in pages if one.text("@odata.type") == _GROUP)
        except Missing:
            return frozenset()

    def holds_groups(self, key: str) -> bool:
        query = {"$select": "id", "$top": "1", "$count": "true"}
        found = self.calls.get(path(GROUPS + "/{}/members/microsoft.graph.group", key), query=query, headers=EVENTUAL)
        return any(True for _ in found.document().parts("value"))

    def values(self, place: str, *, query: Mapping[str, str]) -> Iterator[Document]:
        for got in self.calls.pages(place, next_of, query=query):
            document = got.document()
            if not document.has("value"):
                raise Unreachable(f"{got.source}: a page without a list was answered", sent=True)
            yield from document.parts("value")

    def _inside(self, key: str) -> Inside:
        people, groups, others = set[SourceKey](), set[str](), 0
        query = {"$select": "id,userType", "$top": self._size}
        for one in self.values(path(GROUPS + "/{}/transitiveMembers", key), query=query):
            kind, found = one.text("@odata.type"), one.text("id")
            if not found:
                raise Unreachable(f"{self.name}: a member of group {key} is told without an id", sent=True)
            if kind == _GROUP:
                groups.add(found)
            elif kind == _USER and self.people.counts(one):
                people.add(SourceKey(found))
            else:
                others += 1
        return Inside(people=frozenset(people), groups=frozenset(groups), others=others)


def next_of(got: Got) -> str | None:
    return got.document().text("@odata.nextLink") or None


def _said(document: Document) -> tuple[str, str]:
    error = document.part("error")
    return error.text("code"), error.text("message")


DIALECT: Final = Dialect(said=_said, missing=frozenset({"Request_ResourceNotFound", "ResourceNotFound"}))
