"""Paging by cursor (RFC 9865): everyone once, at one cost on every page, and no cursor but one's own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import event, update
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from app.access.sealing import make_key, seal
from app.access.tokens import find_source
from app.clock import now
from app.database import db, in_transaction, reading
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Organization
from app.scim import hot, hot_cursors
from app.scim.cursors import LIFETIME, Place, read_cursor, write_cursor
from app.statements import compiled
from tests.clients.directory import Directory, directory_on
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import group_with

UNRESERVED = re.compile(r"[A-Za-z0-9._~-]+")


@pytest.fixture
def keyed(directory: Directory) -> Directory:
    make_key(directory.app.config["DOORLIST"])
    return directory


def _page(directory: Directory, cursor: str = "", *, at: str = "/Users", more: str = "") -> Answer:
    return directory.send("GET", f"{at}?cursor={cursor}{more}")


def _slowly(directory: Directory, cursor: str = "", *, more: str = "") -> Answer:
    """The same page on the ordinary way: the quick one leaves what says more than the usual."""
    return directory.send("GET", f"/Users?cursor={cursor}{more}", If_None_Match='"nothing"')


def _pages(directory: Directory, *, at: str = "/Users", more: str = "") -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = _page(directory, cursor, at=at, more=more)
        assert answer.status == 200, answer.text
        pages.append(answer.document)
        cursor = answer.document.get("nextCursor")
        assert len(pages) < 50, "this list does not end"
    return pages


def _ids(pages: list[dict[str, Any]]) -> list[str]:
    return [resource["id"] for page in pages for resource in page["Resources"]]


def _refusal(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.document.get("scimType")


@pytest.mark.parametrize("count", [1, 3, 6, 7, 8])
def test_pages_hold_everyone_once_in_the_order_of_ids(keyed: Directory, count: int) -> None:
    ids = [keyed.add_user(f"u{number}") for number in range(7)]

    pages = _pages(keyed, more=f"&count={count}")

    assert _ids(pages) == sorted(ids)
    assert [page["itemsPerPage"] for page in pages] == [len(page["Resources"]) for page in pages]
    assert len(pages) == -(-7 // count)
    assert {page["totalResults"] for page in pages} == {7}
    assert not any("startIndex" in page for page in pages)
    assert all(UNRESERVED.fullmatch(page["nextCursor"]) for page in pages[:-1])


def test_an_empty_list_is_one_page(keyed: Directory) -> None:
    (page,) = _pages(keyed)

    assert (page["totalResults"], page["Resources"]) == (0, [])


def test_without_the_parameter_pages_go_by_index(keyed: Directory) -> None:
    for number in range(3):
        keyed.add_user(f"u{number}")

    page = keyed.send("GET", "/Users?count=2").document

    assert page["startIndex"] == 1
    assert "nextCursor" not in page


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize(
    "sort_by",
    [
        "displayName",
        "userName",
        "emails.value",
        "emails.primary",
        "active",
        "meta.created",
        "meta.version",
        "meta.resourceType",
        "department",
    ],
)
def test_a_sorted_list_is_the_same_by_cursor_as_by_index(keyed: Directory, sort_by: str, order: str) -> None:
    shown = ["b", None, "a", "B", None, "ö", "a" * 900]
    for number, name in enumerate(shown):
        email = [{"value": f"{number % 3}@x", "primary": number % 2 == 0}] if number % 4 else []
        keyed.add_user(
            f"u{number * 5 % 7}", displayName=name, emails=email, **({ENTERPRISE_URN: {"department": "ops"}} if number % 2 else {})
        )
    asked = f"&sortBy={sort_by}&sortOrder={order}"

    by_index = keyed.send("GET", f"/Users?count=100{asked}").document

    assert len(_ids([by_index])) == 7
    assert _ids(_pages(keyed, more=f"&count=2{asked}")) == _ids([by_index])
    assert _ids(_pages(keyed, more=f"&count=1{asked}")) == _ids([by_index])


def test_who_stays_is_met_once_whoever_comes_or_goes_meanwhile(keyed: Directory) -> None:
    ids = sorted(keyed.add_user(f"u{number}") for number in range(6))
    first = _page(keyed, more="&count=3").document

    keyed.send("DELETE", f"/Users/{ids[0]}")
    keyed.send("DELETE", f"/Users/{ids[2]}")
    late = keyed.add_user("late")
    second = _page(keyed, first["nextCursor"], more="&count=3").document
    third = _page(keyed, second["nextCursor"], more="&count=3").document

    # By index, two who had not been read yet would have moved to the page before.
    assert _ids([first, second, third]) == [*ids, late]
    assert "nextCursor" not in third


def test_a_filter_holds_on_every_page(keyed: Directory) -> None:
    for number in range(6):
        keyed.add_user(f"{'ab'[number % 2]}{number}")

    pages = _pages(keyed, more="&count=2&filter=userName%20sw%20%22a%22")

    assert [[resource["userName"] for resource in page["Resources"]] for page in pages] == [["a0", "a2"], ["a4"]]
    assert {page["totalResults"] for page in pages} == {3}


def test_one_search_of_everything_goes_from_users_to_groups(keyed: Directory) -> None:
    users = [keyed.add_user(f"u{number}") for number in range(4)]
    groups = [group_with(keyed, name=f"g{number}") for number in range(3)]

    for count in (1, 2, 3, 4, 5, 7):
        pages = _pages(keyed, at="/", more=f"&count={count}")

        assert _ids(pages) == [*sorted(users), *sorted(groups)]
        assert {page["totalResults"] for page in pages} == {7}
        assert len(pages) == -(-7 // count)


def test_a_cursor_is_good_for_its_own_list_only(keyed: Directory) -> None:
    for number in range(3):
        keyed.add_user(f"u{number}")
        group_with(keyed, name=f"g{number}")
    other = keyed.beside("entra")
    for number in range(3):
        other.add_user(f"u{number}")
    asked = "&count=1&filter=userName%20pr"
    cursor = _page(keyed, more=asked).document["nextCursor"]

    answers = [
        _page(keyed, cursor, more="&count=1"),
        _page(keyed, cursor, more="&count=1&filter=title%20pr"),
        _page(keyed, cursor, more=f"{asked}&sortBy=userName"),
        _page(keyed, cursor, at="/Groups", more=asked),
        _page(keyed, cursor, at="/", more=asked),
        _page(other, cursor, more=asked),
        _page(keyed, cursor[:-1], more=asked),
        _page(keyed, cursor[:40] + ("A" if cursor[40] != "A" else "B") + cursor[41:], more=asked),
        _page(keyed, "x", more=asked),
        _page(keyed, quote("\x00é"), more=asked),
        _page(keyed, "x" * 9000, more=asked),
        _page(keyed, quote(seal(keyed.app.config["DOORLIST"], "a secret").decode()), more=asked),
        _page(keyed, quote(seal(keyed.app.config["DOORLIST"], "[]").decode()), more=asked),
    ]

    assert {_refusal(answer) for answer in answers} == {(400, "invalidCursor")}
    # Nobody learns from the words which of these it was.
    assert len({answer.document["detail"] for answer in answers}) == 1
    assert _page(keyed, cursor, more=asked).status == 200
    # How much of each is shown, and how many, may differ from page to page.
    assert len(_page(keyed, cursor, more="&count=2&filter=userName%20pr&attributes=userName").document["Resources"]) == 2


def test_a_cursor_expires(keyed: Directory) -> None:
    keyed.add_user("ada")
    settings = keyed.app.config["DOORLIST"]
    question = (*_key(keyed), "User", "", "", "False")
    place = Place(kind=0, last=(None, ""), total=1)

    def cursor_made(before: timedelta) -> str:
        return write_cursor(settings, place, question=question, at=now() - before)

    assert _page(keyed, cursor_made(LIFETIME - timedelta(minutes=1))).document["totalResults"] == 1
    answer = _page(keyed, cursor_made(LIFETIME + timedelta(seconds=5)))
    assert _refusal(answer) == (400, "expiredCursor")
    assert "3600" in answer.document["detail"]


def _key(directory: Directory) -> tuple[str, str]:
    with reading() as session:
        client = find_source(session, directory.token)
        assert client is not None
        return client.organization_id, client.source_id


def test_what_a_cursor_says_comes_back_as_it_was(keyed: Directory) -> None:
    settings, at = keyed.app.config["DOORLIST"], now()

    for last in (None, (None, "id"), (7, "id"), ("å\U0001f98a" * 100, "id")):
        place = Place(kind=1, last=last, total=9)

        text = write_cursor(settings, place, question=("a",), at=at)

        assert UNRESERVED.fullmatch(text)
        assert read_cursor(settings, text, question=("a",), at=at) == place


def test_two_ways_of_paging_at_once_are_refused(keyed: Directory) -> None:
    assert _refusal(_page(keyed, more="&startIndex=1")) == (400, "invalidValue")


def test_without_the_installations_key_no_cursor_is_given_or_taken(directory: Directory) -> None:
    for number in range(3):
        directory.add_user(f"u{number}")

    given, taken = _page(directory, more="&count=1"), _page(directory, "x", more="&count=1")

    assert {_refusal(given), _refusal(taken)} == {(503, None)}
    assert "startIndex" in given.document["detail"]
    assert directory.send("GET", "/Users?count=1").status == 200


def test_a_cursor_sealed_with_another_key_is_no_cursor(keyed: Directory) -> None:
    for number in range(2):
        keyed.add_user(f"u{number}")
    cursor = _page(keyed, more="&count=1").document["nextCursor"]
    settings = keyed.app.config["DOORLIST"]
    (settings.home / "encryption.key").unlink()
    make_key(settings)

    assert _refusal(_page(keyed, cursor, more="&count=1")) == (400, "invalidCursor")


def test_discovery_tells_of_both_ways_of_paging(keyed: Directory) -> None:
    config = keyed.send("GET", "/ServiceProviderConfig").document

    assert config["pagination"] == {
        "cursor": True,
        "index": True,
        "defaultPaginationMethod": "index",
        "defaultPageSize": 100,
        "maxPageSize": 200,
        "cursorTimeout": 3600,
    }
    assert config["sort"] == {"supported": True}


@contextmanager
def _statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    seen: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", listen)


def test_a_page_is_reached_by_its_key_and_nothing_is_counted_again(tmp_path: Path) -> None:
    with directory_on(f"sqlite:///{tmp_path / 'doorlist.sqlite'}", tmp_path) as directory, directory.app.app_context():
        make_key(directory.app.config["DOORLIST"])
        for number in range(6):
            directory.add_user(f"u{number}")
        second = _page(directory, more="&count=2").document["nextCursor"]

        with _statements(db.engine) as seen:
            assert _slowly(directory, second, more="&count=2").status == 200

        pages = [(text, parameters) for text, parameters in seen if "record.document" in text]
        assert len(pages) == 1
        assert not any("count(" in text.lower() for text, _ in seen)
        with db.engine.connect() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {pages[0][0]}", pages[0][1])]
        assert any("ix_record_source (organization_id=? AND source_id=? AND id>?)" in step for step in plan), plan
        assert not any("TEMP B-TREE" in step for step in plan), plan


def test_a_quick_page_is_reached_by_its_key(tmp_path: Path) -> None:
    with directory_on(f"sqlite:///{tmp_path / 'doorlist.sqlite'}", tmp_path) as directory, directory.app.app_context():
        for usual in (None, 101):
            statement = compiled(hot_cursors._page("sqlite", usual), "sqlite")
            with db.engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement.text}", dict.fromkeys(statement.names, 1))]
            # What comes after is done for those of the page alone.
            ids = "SEARCH record USING COVERING INDEX ix_record_source (organization_id=? AND source_id=? AND id>?)"
            assert plan[:3] == ["CO-ROUTINE shown", ids, "SCAN shown"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cursors that were answered quickly."""
    answered: list[str] = []

    async def noting(*given: Any, **more: Any) -> Any:
        answer = await hot_cursors.page_by_cursor(*given, **more)
        if answer is not None:
            answered.append(more["cursor"])
        return answer

    monkeypatch.setattr(hot, "page_by_cursor", noting)
    return answered


@pytest.mark.parametrize("more", ["", "&count=1", "&count=2", "&count=5", "&count=20", "&count=999"])
def test_quick_pages_are_as_the_ordinary_ones_and_take_each_others_cursors(keyed: Directory, quick: list[str], more: str) -> None:
    ids = [keyed.add_user(f"u{number}", displayName="é", emails=[{"value": f"u{number}@x"}]) for number in range(5)]
    keyed.send("POST", "/Groups", {"displayName": "some", "members": [{"value": one} for one in ids[:3]]})
    keyed.patch(f"/Users/{ids[1]}", {"op": "replace", "path": "active", "value": False})
    keyed.send("DELETE", f"/Users/{ids[4]}")
    cursor, shown, asked = "", list[str](), list[str]()

    while True:
        here, there = _page(keyed, cursor, more=more), _slowly(keyed, cursor, more=more)
        assert here.status == there.status == 200
        followed, followed_there = (one.document.get("nextCursor") for one in (here, there))
        said, said_there = ({name: value for name, value in one.document.items() if name != "nextCursor"} for one in (here, there))
        assert said == said_there
        asked.append(cursor)
        shown += [one["id"] for one in said["Resources"]]
        assert (followed is None) == (followed_there is None)
        if followed is None or followed_there is None:
            break
        # In turn, so that each way takes what the other gave.
        cursor = followed_there if len(asked) % 2 else followed

    assert shown == sorted(ids[:4])
    assert quick == asked


def test_what_else_is_asked_along_with_a_cursor_takes_the_ordinary_way(keyed: Directory, quick: list[str]) -> None:
    keyed.add_user("ada")

    for more in ("&filter=userName%20pr", "&sortBy=userName", "&attributes=userName"):
        assert _page(keyed, more=more).document["totalResults"] == 1
    assert _page(keyed, at="/Groups").status == 200

    assert quick == []


def test_where_schemas_were_declared_pages_take_the_ordinary_way(keyed: Directory, quick: list[str]) -> None:
    keyed.add_user("ada")
    first = _page(keyed).document

    def declared(session: Session) -> None:
        session.execute(update(Organization).values(schemas_version=1))

    in_transaction(declared)

    assert first == _page(keyed).document
    assert quick == [""]
