"""How many a page by cursor holds (RFC 9865 §2, §2.1), on the quick way and on the ordinary one."""

from typing import Any

import pytest

from app.access.sealing import make_key
from app.scim import hot, hot_cursors
from tests.clients.directory import Directory
from tests.clients.transcript import Answer
from tests.unit.scim.bulking import send, user
from tests.unit.scim.choosing import group_with
from tests.unit.scim.test_search import SEARCH_URN

pytestmark = pytest.mark.slow

LARGEST_PAGE = 200


@pytest.fixture
def keyed(directory: Directory) -> Directory:
    make_key(directory.app.config["DOORLIST"])
    # A token that has just been good is the usual one.
    assert directory.send("GET", "/ServiceProviderConfig").status == 200
    return directory


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The counts that the quick way answered, or refused."""
    asked: list[str | None] = []

    async def noting(*given: Any, **more: Any) -> Any:
        asked.append(more["count"])
        return await hot_cursors.page_by_cursor(*given, **more)

    monkeypatch.setattr(hot, "page_by_cursor", noting)
    return asked


def _answers(directory: Directory, count: str, cursor: str = "") -> list[Answer]:
    """The same page on the quick way and on the ordinary one, which takes what says more than the usual."""
    path = f"/Users?cursor={cursor}&count={count}"
    return [directory.send("GET", path), directory.send("GET", path, If_None_Match='"nothing"')]


@pytest.mark.parametrize("count", ["x", "1.5", "-x", "1e2"])
def test_a_count_that_is_no_whole_number_is_refused(keyed: Directory, quick: list[str | None], count: str) -> None:
    for answer in _answers(keyed, count):
        assert (answer.status, answer.document["scimType"]) == (400, "invalidCount")
        assert "count" in answer.document["detail"]
    assert quick == [count]


@pytest.mark.parametrize("count", ["0", "-1", "-200"])
def test_a_page_of_none_tells_how_many_there_are_and_none_follows(keyed: Directory, quick: list[str | None], count: str) -> None:
    for answer in _answers(keyed, count):
        assert (answer.status, answer.document["totalResults"]) == (200, 0)
    for number in range(3):
        keyed.add_user(f"u{number}")
    cursor = keyed.send("GET", "/Users?cursor=&count=1").document["nextCursor"]

    for answer in (*_answers(keyed, count), *_answers(keyed, count, cursor)):
        assert answer.status == 200, answer.text
        assert (answer.document["totalResults"], answer.document["itemsPerPage"], answer.document["Resources"]) == (3, 0, [])
        assert "nextCursor" not in answer.document
    assert quick == [count, "1", count, count]


@pytest.mark.parametrize("asked", [{}, {"sortBy": "displayName"}, {"filter": 'userName eq "u1" or displayName eq "g"'}])
def test_a_page_of_none_counts_all_kinds(keyed: Directory, asked: dict[str, str]) -> None:
    for number in range(3):
        keyed.add_user(f"u{number}")
    group_with(keyed, name="g")

    answer = keyed.send("POST", "/.search", {"schemas": [SEARCH_URN], "cursor": "", "count": 0, **asked})

    assert answer.status == 200, answer.text
    assert (answer.document["totalResults"], answer.document["Resources"]) == (2 if "filter" in asked else 4, [])
    assert "nextCursor" not in answer.document


def test_a_count_above_the_largest_page_gets_the_largest_page(keyed: Directory, quick: list[str | None]) -> None:
    assert send(keyed, *(user(f"u{number}") for number in range(LARGEST_PAGE + 2))).status == 200

    for count in ("201", "100000", "99999999999"):
        pages = [answer.document for answer in _answers(keyed, count)]
        assert [len(page["Resources"]) for page in pages] == [LARGEST_PAGE, LARGEST_PAGE]
        rest = [answer.document for page in pages for answer in _answers(keyed, count, page["nextCursor"])]
        assert [len(page["Resources"]) for page in rest] == [2, 2, 2, 2]
        assert not any("nextCursor" in page for page in rest)
    assert len(quick) == 9
