"""What is asked of every server: the requests of each operation, and how its effect is looked at afterwards."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Final
from urllib.parse import quote

from tests.benchmarks.scim import people
from tests.benchmarks.scim.answers import finds_only, is_accepted, is_changed_person, is_page, is_person, member_ids
from tests.benchmarks.scim.served import RemoveForm, Served
from tests.benchmarks.scim.wire import Answered, Sent

PAGE: Final = 100
# So many effects of a cell are read again one by one.
LOOKED_AT: Final = 20


class Operation(StrEnum):
    """A line of the table."""

    GET = "GET"
    BY_NAME = "userName eq"
    BY_EXTERNAL_ID = "externalId eq"
    CONTAINS = "userName co"
    PAGE = "page of 100 at the end"
    ACTIVE = "PATCH active"
    ADD = "add a member"
    REMOVE = "remove a member"
    POST = "POST"
    TITLE = "PATCH title"
    WHOLE = "POST with a number and a manager"


@dataclass(kw_only=True)
class Filled:
    """A server with `size` people that it was filled with, and those that were posted since."""

    served: Served
    size: int
    posted: int = 0
    next_number: int = 0

    def __post_init__(self) -> None:
        self.next_number = self.size

    @property
    def known(self) -> frozenset[str]:
        return frozenset(self.served.ids)


Requests = Callable[[Filled, int, int], Iterator[Sent]]
Look = Callable[[Filled, list[Answered]], str | None]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Operations that are driven together. `requests(filled, mine, of)` are those of one of so many connections.

    `look` reads afterwards what the answers promised, and says what is not so.
    """

    name: str
    operations: tuple[Operation, ...]
    requests: Requests
    look: Look


def nothing_to_look_at(filled: Filled, answers: list[Answered]) -> str | None:
    return None


def _drawn(filled: Filled, mine: int) -> Iterator[int]:
    chance = random.Random(mine)
    while True:
        yield chance.randrange(filled.size)


def _get(filled: Filled, mine: int, of: int) -> Iterator[Sent]:
    for number in _drawn(filled, mine):
        id = filled.served.ids[number]
        yield Sent(Operation.GET, filled.served.request("GET", f"/Users/{id}"), is_person(number, id))


def _filtered(operation: Operation, text: Callable[[int], str]) -> Requests:
    def requests(filled: Filled, mine: int, of: int) -> Iterator[Sent]:
        for number in _drawn(filled, mine):
            path = f"/Users?filter={quote(text(number))}"
            yield Sent(operation, filled.served.request("GET", path), finds_only(number, filled.served.ids[number]))

    return requests


def _page(filled: Filled, mine: int, of: int) -> Iterator[Sent]:
    start = filled.size - PAGE + 1
    check = is_page(start=start, count=PAGE, total=filled.size + filled.posted, known=filled.known)
    sent = Sent(Operation.PAGE, filled.served.request("GET", f"/Users?startIndex={start}&count={PAGE}"), check)
    while True:
        yield sent


def patch(*operations: dict[str, object]) -> dict[str, object]:
    return {"schemas": [people.PATCH_URN], "Operations": list(operations)}


def _active(filled: Filled, mine: int, of: int) -> Iterator[Sent]:
    """Off and on again, one person after the other; no two connections touch the same one."""
    while True:
        for number in range(mine, filled.size, of):
            id = filled.served.ids[number]
            for active in (False, True):
                body = patch({"op": "replace", "value": {"active": active}})
                payload = filled.served.request("PATCH", f"/Users/{id}", body)
                yield Sent(Operation.ACTIVE, payload, is_changed_person(number, id, active=active), about=id, says=active)


def _look_at_active(filled: Filled, answers: list[Answered]) -> str | None:
    # The last answer about each person is what must stand.
    said = {answer.sent.about: answer.sent.says for answer in answers}
    for id, active in list(said.items())[-LOOKED_AT:]:
        status, document = filled.served.ask("GET", f"/Users/{id}")
        if status != 200:
            return f"somebody who was changed was answered {status} when read again"
        if document.get("active") is not active:
            return f"read again, active was {document.get('active')!r}, not {active}"
    return None


def _title(filled: Filled, mine: int, of: int) -> Iterator[Sent]:
    """Another title each time, one person after the other; no two connections touch the same one."""
    for time in count():
        for number in range(mine, filled.size, of):
            id = filled.served.ids[number]
            body = patch({"op": "replace", "path": "title", "value": f"Title {time} of {number}"})
            check = is_changed_person(number, id)
            yield Sent(Operation.TITLE, filled.served.request("PATCH", f"/Users/{id}", body), check, about=id, says=f"Title {time} of {number}")


def _look_at_titles(filled: Filled, answers: list[Answered]) -> str | None:
    said = {answer.sent.about: answer.sent.says for answer in answers}
    for id, title in list(said.items())[-LOOKED_AT:]:
        status, document = filled.served.ask("GET", f"/Users/{id}")
        if status != 200 or document.get("title") != title:
            return f"read again, the title of somebody was not {title!r} (answered {status})"
    return None


def one_member(served: Served, id: str, *, add: bool) -> dict[str, object]:
    """The PATCH that adds or removes one member, in the form that this server understands."""
    if add:
        return patch({"op": "add", "path": "members", "value": [{"value": id}]})
    if served.removes_by is RemoveForm.FILTER:
        return patch({"op": "remove", "path": f'members[value eq "{id}"]'})
    return patch({"op": "remove", "path": "members", "value": [{"value": id}]})


def _members(filled: Filled, mine: int, of: int) -> Iterator[Sent]:
    """Out and in again, one member after the other, so that the group keeps its size."""
    served = filled.served
    mine_only = sorted(served.members)[mine::of]
    while mine_only:
        for number in mine_only:
            for operation in (Operation.REMOVE, Operation.ADD):
                body = one_member(served, served.ids[number], add=operation is Operation.ADD)
                payload = served.request("PATCH", f"/Groups/{served.group}", body)
                yield Sent(operation, payload, is_accepted, about=served.ids[number], says=operation is Operation.ADD)


def _look_at_members(filled: Filled, answers: list[Answered]) -> str | None:
    served = filled.served
    inside = {served.ids[number] for number in served.members}
    for answer in answers:
        (inside.add if answer.sent.says else inside.discard)(answer.sent.about)
    status, document = served.ask("GET", f"/Groups/{served.group}")
    if status != 200:
        return f"the group, read again, was answered {status}"
    found = member_ids(document)
    if len(found) != len(set(found)):
        return "the group, read again, has a member twice"
    if set(found) != inside:
        return f"the group, read again, lacks {len(inside - set(found)):,} members and has {len(set(found) - inside):,} too many"
    return put_back(filled, inside)


def put_back(filled: Filled, inside: set[str]) -> str | None:
    """The members that the end of the time left outside go in again, so that every cell begins alike."""
    served = filled.served
    for number in served.members:
        if served.ids[number] not in inside:
            status, _ = served.ask("PATCH", f"/Groups/{served.group}", one_member(served, served.ids[number], add=True))
            if status not in (200, 204):
                return f"adding a member again was answered {status}"
    return None


def _post(filled: Filled, mine: int, of: int) -> Iterator[Sent]:
    for number in count(filled.next_number + mine, of):
        yield _posted(filled, Operation.POST, number, people.document(number))


def _post_whole(filled: Filled, mine: int, of: int) -> Iterator[Sent]:
    """As companies push people: with a number that nobody has, and somebody to report to."""
    for number in count(filled.next_number + mine, of):
        yield _posted(filled, Operation.WHOLE, number, people.whole(number, manager=filled.served.ids[number % 100]))


def _posted(filled: Filled, operation: Operation, number: int, document: dict[str, object]) -> Sent:
    return Sent(operation, filled.served.request("POST", "/Users", document), is_person(number, None, status=201, active=True), about=str(number))


def _look_at_posted(filled: Filled, answers: list[Answered]) -> str | None:
    filled.posted += len(answers)
    filled.next_number = max((int(answer.sent.about) for answer in answers), default=filled.next_number) + 1
    for answer in answers[-LOOKED_AT:]:
        id = json.loads(answer.body)["id"]
        status, document = filled.served.ask("GET", f"/Users/{id}")
        if status != 200 or document.get("userName") != people.user_name(int(answer.sent.about)):
            return f"somebody who was created was answered {status} when read again"
    return None


def _quoted(attribute: str, operator: str, value: Callable[[int], str]) -> Callable[[int], str]:
    return lambda number: f'{attribute} {operator} "{value(number)}"'


# In this order: what only reads comes first, and POST, which makes the directory larger, last.
CELLS: Final = (
    Cell(name="get", operations=(Operation.GET,), requests=_get, look=nothing_to_look_at),
    Cell(
        name="name", operations=(Operation.BY_NAME,), look=nothing_to_look_at,
        requests=_filtered(Operation.BY_NAME, _quoted("userName", "eq", people.user_name)),
    ),
    Cell(
        name="external", operations=(Operation.BY_EXTERNAL_ID,), look=nothing_to_look_at,
        requests=_filtered(Operation.BY_EXTERNAL_ID, _quoted("externalId", "eq", people.external_id)),
    ),
    Cell(
        name="contains", operations=(Operation.CONTAINS,), look=nothing_to_look_at,
        requests=_filtered(Operation.CONTAINS, _quoted("userName", "co", people.part_of_name)),
    ),
    Cell(name="page", operations=(Operation.PAGE,), requests=_page, look=nothing_to_look_at),
    Cell(name="active", operations=(Operation.ACTIVE,), requests=_active, look=_look_at_active),
    Cell(name="members", operations=(Operation.ADD, Operation.REMOVE), requests=_members, look=_look_at_members),
    Cell(name="post", operations=(Operation.POST,), requests=_post, look=_look_at_posted),
)  # fmt: skip
MORE: Final = (
    Cell(name="title", operations=(Operation.TITLE,), requests=_title, look=_look_at_titles),
    Cell(name="whole", operations=(Operation.WHOLE,), requests=_post_whole, look=_look_at_posted),
)
"""What directories send as often, and the table is not made of: measured where it is named."""
