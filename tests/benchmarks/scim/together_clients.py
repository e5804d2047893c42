"""The clients that write at once: each with people of its own, and all of them at the same groups, the same people, the same names."""

import http.client
import json
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from tests.benchmarks.scim import people
from tests.benchmarks.scim.operations import one_member, patch
from tests.benchmarks.scim.served import NotServed, Served

SHARED_GROUPS: Final = 5
SHARED_PEOPLE: Final = 5
MOST_OWN: Final = 25
# Longer than any answer should take; a client that waits so long has found a fault.
WITHIN: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """What all clients write to: groups, people of whom each client sets one telephone number, and one person as a counter."""

    groups: tuple[str, ...]
    shared: tuple[str, ...]
    counter: str

    @classmethod
    def arranged(cls, served: Served, *, clients: int) -> "Meeting":
        """Raises NotServed."""
        groups = tuple(
            _made(served, "/Groups", {"schemas": [people.GROUP_URN], "displayName": f"shared {number}"}) for number in range(SHARED_GROUPS)
        )
        shared = tuple(_made(served, "/Users", _person(f"shared-{number}")) for number in range(SHARED_PEOPLE))
        counter = _made(served, "/Users", {**_person("counter"), "title": "0"})
        return cls(groups=groups, shared=shared, counter=counter)


def _made(served: Served, path: str, body: dict[str, Any]) -> str:
    status, document = served.ask("POST", path, body)
    if status != 201:
        raise NotServed(f"POST {path} was answered {status}: {str(document)[:200]}")
    return str(document["id"])


def _person(name: str) -> dict[str, Any]:
    address = f"{name}@northwind.example"
    return {
        "schemas": [people.USER_URN], "userName": address, "externalId": name, "displayName": name, "active": True,
        "emails": [{"primary": True, "value": address, "type": "work"}],
    }  # fmt: skip


@dataclass(kw_only=True)
class Own:
    """One of a client's own people, as the last accepted write left them."""

    name: str
    title: str
    active: bool
    groups: set[str]


class Client:
    """One client with one connection. What it did and was told is its log: `own`, `gone`, `phones`, `counted`, `won`, `lost`."""

    def __init__(self, number: int, served: Served, meeting: Meeting) -> None:
        self.number = number
        self.own: dict[str, Own] = {}
        self.gone: list[str] = []
        self.phones: dict[str, str] = {}
        self.counted = 0
        self.won: dict[str, str] = {}
        self.lost: set[str] = set()
        self.acts: Counter[str] = Counter()
        self.times: list[float] = []
        self.wrongs: list[str] = []
        self._served = served
        self._meeting = meeting
        self._chance = random.Random(number)
        self._step = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=WITHIN)

    def run(self, until: float) -> None:
        """Acts drawn at random until then. What goes wrong is kept in `wrongs`; after a few the client gives up."""
        acts = (self._join, self._change, self._change, self._switch, self._put, self._leave, self._enter, self._enter, self._phone, self._count, self._race)
        while time.monotonic() < until and len(self.wrongs) < 5:
            self._step += 1
            act = self._chance.choice(acts)
            try:
                act()
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.wrongs.append(f"client {self.number}, {act.__name__.strip('_')}: {error.__class__.__name__}: {error}")
                self._connection.close()
        self._connection.close()

    def _ask(self, what: str, method: str, path: str, body: object = None, *, good: tuple[int, ...], version: str | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._served.token}", "Content-Type": "application/scim+json"}
        if version is not None:
            headers["If-Match"] = version
        began = time.perf_counter()
        self._connection.request(method, self._served.prefix + path, None if body is None else json.dumps(body).encode(), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        self.times.append(time.perf_counter() - began)
        if answer.status in good:
            self.acts[what if answer.status < 400 else f"{what} refused with {answer.status}"] += 1
        else:
            self.wrongs.append(f"client {self.number}: {method} {path} was answered {answer.status}: {text[:200].decode(errors='replace')}")
        return answer.status, json.loads(text) if text else None

    def _some(self) -> str | None:
        return self._chance.choice(list(self.own)) if self.own else None

    def _join(self) -> None:
        if len(self.own) >= MOST_OWN:
            return self._leave()
        name = f"own-{self.number}-{self._step}"
        status, document = self._ask("joined", "POST", "/Users", {**_person(name), "title": "0"}, good=(201,))
        if status == 201:
            self.own[document["id"]] = Own(name=name, title="0", active=True, groups=set())
        return None

    def _change(self) -> None:
        id = self._some()
        if id is None:
            return
        title = f"title {self._step}"
        body = patch({"op": "replace", "path": "title", "value": title})
        status, _ = self._ask("changed", "PATCH", f"/Users/{id}", body, good=(200, 204))
        if status < 300:
            self.own[id].title = title

    def _switch(self) -> None:
        id = self._some()
        if id is None:
            return
        active = not self.own[id].active
        status, _ = self._ask("switched", "PATCH", f"/Users/{id}", patch({"op": "replace", "value": {"active": active}}), good=(200, 204))
        if status < 300:
            self.own[id].active = active

    def _put(self) -> None:
        id = self._some()
        if id is None:
            return
        title = f"whole {self._step}"
        body = {**_person(self.own[id].name), "title": title, "active": self.own[id].active}
        status, _ = self._ask("replaced", "PUT", f"/Users/{id}", body, good=(200,))
        if status == 200:
            self.own[id].title = title

    def _leave(self) -> None:
        id = self._some()
        if id is None:
            return
        status, _ = self._ask("deleted", "DELETE", f"/Users/{id}", good=(204,))
        if status == 204:
            del self.own[id]
            self.gone.append(id)

    def _enter(self) -> None:
        """Into a shared group, or out of it."""
        id = self._some()
        if id is None:
            return
        group = self._chance.choice(self._meeting.groups)
        inside = group in self.own[id].groups
        status, _ = self._ask("membership", "PATCH", f"/Groups/{group}", one_member(self._served, id, add=not inside), good=(200, 204))
        if status < 300:
            (self.own[id].groups.discard if inside else self.own[id].groups.add)(group)

    def _phone(self) -> None:
        """A shared person's number of this client's own kind: others set theirs in the same document at the same moment."""
        id = self._chance.choice(self._meeting.shared)
        value = f"+49 30 {self.number:03d} {self._step:06d}"
        body = patch({"op": "replace", "path": f'phoneNumbers[type eq "client-{self.number}"].value', "value": value})
        status, _ = self._ask("shared person", "PATCH", f"/Users/{id}", body, good=(200, 204))
        if status < 300:
            self.phones[id] = value

    def _count(self) -> None:
        """Read, add one, write if nobody wrote meanwhile."""
        path = f"/Users/{self._meeting.counter}"
        status, document = self._ask("read", "GET", path, good=(200,))
        if status != 200:
            return
        body = patch({"op": "replace", "path": "title", "value": str(int(document["title"]) + 1)})
        status, _ = self._ask("counted", "PATCH", path, body, good=(200, 204, 412), version=document["meta"]["version"])
        if status < 300:
            self.counted += 1

    def _race(self) -> None:
        """The same name as a neighbour's, about to be taken by both."""
        name = f"race-{self.number // 2}-{len(self.won) + len(self.lost)}"
        status, document = self._ask("raced", "POST", "/Users", _person(name), good=(201, 409))
        if status == 201:
            self.won[name] = document["id"]
        elif status == 409:
            self.lost.add(name)
