"""What must stand once everybody has written: made from the clients' logs of accepted writes, and compared with what is read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.scim.answers import member_ids
from tests.benchmarks.scim.served import Served
from tests.benchmarks.scim.together_clients import Client, Meeting, Own


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The sum of all logs."""

    own: dict[str, Own]
    gone: list[str]
    members: dict[str, set[str]]
    phones: dict[str, set[str]]
    counter: str
    counted: int
    races: dict[str, list[str]]
    shared: int

    @classmethod
    def of(cls, clients: Sequence[Client], meeting: Meeting) -> "Ledger":
        own = {id: one for client in clients for id, one in client.own.items()}
        races: dict[str, list[str]] = {}
        for client in clients:
            for name in client.lost | client.won.keys():
                races.setdefault(name, [])
            for name, id in client.won.items():
                races[name].append(id)
        return cls(
            own=own, gone=[id for client in clients for id in client.gone], counter=meeting.counter, races=races,
            members={group: {id for id, one in own.items() if group in one.groups} for group in meeting.groups},
            phones={id: {client.phones[id] for client in clients if id in client.phones} for id in meeting.shared},
            counted=sum(client.counted for client in clients), shared=len(meeting.shared) + 1,
        )  # fmt: skip

    def compare(self, served: Served) -> list[str]:
        """What is not as it was accepted, in sentences."""
        return [
            *self._people(served), *self._deleted(served), *self._groups(served), *self._shared(served), *self._raced(served), *self._all(served),
        ]  # fmt: skip

    def _people(self, served: Served) -> list[str]:
        found = []
        for id, one in self.own.items():
            status, document = served.ask("GET", f"/Users/{id}")
            said = (document.get("title"), document.get("active")) if status == 200 else (status, None)
            if said != (one.title, one.active):
                found.append(f"lost update: {one.name} reads {said}, accepted was {(one.title, one.active)}")
        return found

    def _deleted(self, served: Served) -> list[str]:
        found = [(id, served.ask("GET", f"/Users/{id}")[0]) for id in self.gone[-500:]]
        return [f"deleted user {id} is answered {status}" for id, status in found if status != 404]

    def _groups(self, served: Served) -> list[str]:
        found = []
        for group, wanted in self.members.items():
            status, document = served.ask("GET", f"/Groups/{group}")
            there = Counter(member_ids(document))
            if status != 200 or set(there) != wanted or any(times > 1 for times in there.values()):
                lacks, more = len(wanted - set(there)), len(set(there) - wanted)
                found.append(f"lost update: group {group} ({status}) lacks {lacks} of {len(wanted)} members and has {more} too many")
        return found

    def _shared(self, served: Served) -> list[str]:
        found = []
        for id, wanted in self.phones.items():
            _, document = served.ask("GET", f"/Users/{id}")
            there = {element.get("value") for element in document.get("phoneNumbers") or []}
            if there != wanted:
                found.append(f"lost update: a shared person lacks {len(wanted - there)} of {len(wanted)} numbers and has {len(there - wanted)} old ones")
        _, document = served.ask("GET", f"/Users/{self.counter}")
        if document.get("title") != str(self.counted):
            found.append(f"lost update: the counter reads {document.get('title')}, and {self.counted} additions were accepted")
        return found

    def _raced(self, served: Served) -> list[str]:
        return [f"{len(ids)} creates of {name} were accepted" for name, ids in self.races.items() if len(ids) != 1]

    def _all(self, served: Served) -> list[str]:
        _, document = served.ask("GET", "/Users?count=1")
        wanted = len(self.own) + len(self.races) + self.shared
        there = document.get("totalResults")
        return [f"{there} people are counted, and {wanted} were accepted and not deleted"] if there != wanted else []
