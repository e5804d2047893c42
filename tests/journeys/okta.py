"""Okta's SCIM client as it is on the wire: the requests it sends, in its order, with its headers.

It keeps, as Okta does, the id that the SCIM server gave each person and group, and it does not retry: an
answer that Okta would turn into a task for an administrator raises `ProvisioningFailed`.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import groupby
from typing import Any, Final

import requests

from tests.journeys.company import ENTERPRISE_SCHEMA, Person, PushedGroup

PATCH_SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
GROUP_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
# Okta gives up after a minute of silence on the socket.
TIMEOUT: Final = 60.0

Progress = Callable[[int], None]
Document = dict[str, Any]


class ProvisioningFailed(Exception):
    """The SCIM server's answer is one that Okta shows to an administrator."""


class Okta:
    """One app assignment in Okta, pushing to one SCIM base URL. Safe to use from several threads."""

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url.rstrip("/")
        self.person_ids: dict[int, str] = {}
        self.group_ids: dict[str, str] = {}
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/scim+json",
            "Accept-Charset": "utf-8",
            "User-Agent": "Okta SCIM Client 1.0.0",
        }
        self._threads = threading.local()

    def test_connection(self) -> int:
        """Okta's *Test Connector*: the number of people that the server says it has."""
        found = self._call("GET", "/Users", query={"startIndex": "1", "count": "2"}, good=(200,))
        total = found.get("totalResults")
        if not isinstance(total, int):
            raise ProvisioningFailed(f"{self.base_url}/Users: totalResults is {total!r}, not a number")
        return total

    def assign(self, person: Person) -> str:
        """Looks for the userName, then creates the person, or updates and so links the one who is there."""
        found = self._find("/Users", "userName", person.user_name)
        if found is None:
            created = self._call("POST", "/Users", body=self._body(person), good=(201,))
            person_id = _id_of(created, f"POST /Users for {person.user_name}")
        else:
            person_id = _id_of(found, f"the search for {person.user_name}")
            self._put(person_id, {**found, **self._body(person), "id": person_id})
        self.person_ids[person.number] = person_id
        return person_id

    def update(self, person: Person) -> None:
        """A changed profile: the server's own answer, overlaid with Okta's values, as a whole."""
        person_id = self._known(person)
        seen = self._call("GET", f"/Users/{person_id}", good=(200,))
        body = self._body(person)
        body.pop("password")
        self._put(person_id, {**seen, **body, "id": person_id, "active": seen.get("active", True)})

    def deactivate(self, person: Person) -> None:
        """Unassigned, as apps from the integration network send it: a PATCH without a path."""
        self._set_active(person, active=False)

    def activate(self, person: Person) -> None:
        self._set_active(person, active=True)

    def get(self, person: Person) -> Document:
        return self._call("GET", f"/Users/{self._known(person)}", good=(200,))

    def push_group(self, group: PushedGroup) -> str:
        """Looks for the name, creates the group empty, reads it, echoes the name and replaces its members."""
        found = self._find("/Groups", "displayName", group.name)
        if found is None:
            empty = {"schemas": [GROUP_SCHEMA], "displayName": group.name, "members": []}
            found = self._call("POST", "/Groups", body=empty, good=(201,))
        group_id = self.group_ids[group.name] = _id_of(found, f"the group {group.name}")
        self._call("GET", f"/Groups/{group_id}", good=(200,))
        members = [{"value": self.person_ids[number]} for number in group.members]
        self._patch(f"/Groups/{group_id}", {"op": "replace", "value": {"id": group_id, "displayName": group.name}})
        self._patch(f"/Groups/{group_id}", {"op": "replace", "path": "members", "value": members})
        return group_id

    def push(self, everyone: Iterable[Person], *, threads: int = 4, progress: Progress | None = None) -> int:
        """Assigns all of them, level by level so that every manager has an id; the number pushed.

        `progress` is called with the number done so far, by one thread at a time. The first failure ends it.
        """
        done = 0
        for _, level in groupby(everyone, key=lambda person: person.level):
            for _ in self.each(level, self.assign, threads=threads):
                done += 1
                if progress is not None:
                    progress(done)
        return done

    def each(self, everyone: Iterable[Person], act: Callable[[Person], object], *, threads: int = 4) -> Iterator[object]:
        """Does `act` for each person on several threads, yielding as they finish; a few ahead, never all."""
        with ThreadPoolExecutor(threads) as pool:
            waiting: set[Future[object]] = set()
            try:
                for person in everyone:
                    waiting.add(pool.submit(act, person))
                    if len(waiting) >= threads * 4:
                        finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        yield from (future.result() for future in finished)
                while waiting:
                    finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            finally:
                for future in waiting:
                    future.cancel()

    def _body(self, person: Person) -> Document:
        manager_id = None if person.manager is None else self.person_ids[person.manager]
        return person.okta_body(manager_id=manager_id)

    def _known(self, person: Person) -> str:
        person_id = self.person_ids.get(person.number)
        if person_id is None:
            raise ProvisioningFailed(f"{person.user_name} was never assigned")
        return person_id

    def _set_active(self, person: Person, *, active: bool) -> None:
        self._patch(f"/Users/{self._known(person)}", {"op": "replace", "value": {"active": active}})

    def _put(self, person_id: str, body: Document) -> None:
        answer = self._call("PUT", f"/Users/{person_id}", body=body, good=(200,))
        sent = body[ENTERPRISE_SCHEMA].get("department")
        kept = answer.get(ENTERPRISE_SCHEMA, {}).get("department")
        if kept != sent:
            raise ProvisioningFailed(f"PUT /Users/{person_id}: sent department {sent!r}, answered {kept!r}")

    def _patch(self, path: str, operation: Document) -> None:
        self._call("PATCH", path, body={"schemas": [PATCH_SCHEMA], "Operations": [operation]}, good=(200, 204))

    def _find(self, path: str, attribute: str, value: str) -> Document | None:
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        query = {"filter": f'{attribute} eq "{quoted}"', "startIndex": "1", "count": "100"}
        resources = self._call("GET", path, query=query, good=(200,)).get("Resources") or []
        first: Document | None = resources[0] if resources else None
        return first

    def _call(
        self,
        method: str,
        path: str,
        *,
        good: tuple[int, ...],
        body: Document | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Document:
        headers = self._headers
        if body is not None:
            headers = {**headers, "Content-Type": "application/scim+json; charset=utf-8"}
        try:
            answer = self._session().request(method, self.base_url + path, params=query, json=body, headers=headers, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise ProvisioningFailed(f"{method} {path}: no answer ({type(error).__name__})") from error
        if answer.status_code not in good:
            raise ProvisioningFailed(f"{method} {path} answered {answer.status_code}: {answer.text[:300]}")
        if not answer.content:
            return {}
        try:
            document = answer.json()
        except requests.JSONDecodeError as error:
            raise ProvisioningFailed(f"{method} {path} answered no JSON: {answer.text[:100]}") from error
        if not isinstance(document, dict):
            raise ProvisioningFailed(f"{method} {path} answered a {type(document).__name__}, not an object")
        return document

    def _session(self) -> requests.Session:
        # A requests.Session is not promised to be safe across threads, so each thread has its own connection.
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = requests.Session()
        return session


def _id_of(document: Document, what: str) -> str:
    value = document.get("id")
    if not isinstance(value, str) or not value:
        raise ProvisioningFailed(f"{what}: the answer has no id")
    return value
