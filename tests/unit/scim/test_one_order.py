"""Sorted lists at the base URL: one order over users and groups (RFC 7644 §3.4.2.3), by index and by cursor."""

from typing import Any
from urllib.parse import quote

import pytest

from app.access.sealing import make_key
from app.directory.vocabulary import ENTERPRISE_URN
from tests.clients.directory import Directory
from tests.unit.scim.choosing import group_with

pytestmark = pytest.mark.slow

USERS: dict[str, dict[str, Any]] = {
    "u1": {"displayName": "beta", "externalId": "x2"},
    "u2": {"displayName": "Delta", "externalId": "X1", "emails": [{"value": "u2@x", "primary": True}]},
    "u3": {},
    "u4": {"displayName": "delta", ENTERPRISE_URN: {"department": "ops"}},
    "u5": {"displayName": "Éa", "active": False, "emails": [{"value": "a@x"}]},
}
GROUPS: dict[str, str | None] = {"alpha": "x3", "DELTA": "X0", "éb": None, "zeta": "x1"}


@pytest.fixture
def everything(directory: Directory) -> Directory:
    make_key(directory.app.config["DOORLIST"])
    users = [directory.add_user(name, **said) for name, said in USERS.items()]
    for number, (name, key) in enumerate(GROUPS.items()):
        group = group_with(directory, *users[:number], name=name)
        if key is not None:
            assert directory.patch(f"/Groups/{group}", {"op": "replace", "path": "externalId", "value": key}).status < 300
    # Another directory's, and who has left, are nobody here.
    directory.beside("entra").add_user("other", displayName="beta")
    directory.send("DELETE", f"/Users/{directory.add_user('gone', displayName='beta')}")
    return directory


def _list(directory: Directory, asked: str) -> dict[str, Any]:
    answer = directory.send("GET", f"/?{asked}")
    assert answer.status == 200, answer.text
    document: dict[str, Any] = answer.document
    return document


def _names(document: dict[str, Any]) -> list[str]:
    return [resource.get("userName") or resource["displayName"] for resource in document["Resources"]]


def _by_index(directory: Directory, asked: str, count: int) -> list[str]:
    found: list[str] = []
    for start in range(1, 12, count):
        page = _list(directory, f"{asked}&startIndex={start}&count={count}")
        assert page["totalResults"] == 9
        assert len(page["Resources"]) == max(0, min(count, 10 - start))
        found += _names(page)
    return found


def _by_cursor(directory: Directory, asked: str, count: int) -> list[str]:
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = _list(directory, f"{asked}&cursor={cursor}&count={count}")
        assert page["totalResults"] == 9
        found += _names(page)
        cursor = page.get("nextCursor")
        assert len(found) < 20, "this list does not end"
    return found


@pytest.mark.parametrize(
    ("sort_by", "order", "names"),
    [
        # Of equals users come first, in the order of their ids.
        ("displayName", "ascending", "alpha u1 u2 u4 DELTA zeta u5 éb u3"),
        ("displayName", "descending", "u3 éb u5 zeta u2 u4 DELTA u1 alpha"),
        ("externalId", "ascending", "DELTA u2 zeta u1 alpha u3 u4 u5 éb"),
        ("externalId", "descending", "u3 u4 u5 éb alpha u1 zeta u2 DELTA"),
        ("meta.created", "descending", "zeta éb DELTA alpha u5 u4 u3 u2 u1"),
        ("userName", "ascending", "u1 u2 u3 u4 u5 alpha DELTA éb zeta"),
        ("userName", "descending", "alpha DELTA éb zeta u5 u4 u3 u2 u1"),
        ("members.display", "ascending", "DELTA éb zeta u1 u2 u3 u4 u5 alpha"),
        ("meta.resourceType", "ascending", "alpha DELTA éb zeta u1 u2 u3 u4 u5"),
        ("meta.resourceType", "descending", "u1 u2 u3 u4 u5 alpha DELTA éb zeta"),
        ("meta.version", "ascending", "u1 u2 u3 u4 u5 éb alpha DELTA zeta"),
    ],
)
def test_everything_is_in_one_order_on_one_page_and_over_many(everything: Directory, sort_by: str, order: str, names: str) -> None:
    asked = f"sortBy={sort_by}&sortOrder={order}"

    assert _names(_list(everything, asked)) == names.split()
    for count in (1, 2, 4, 9, 10):
        assert _by_index(everything, asked, count) == names.split()
        assert _by_cursor(everything, asked, count) == names.split()


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("sort_by", ["id", "schemas", "active", "emails.value", "emails.primary", "department", "groups.display", "groups.type", "members.type", "meta.location", "meta.lastModified", "members.$ref"])  # fmt: skip
def test_pages_hold_everyone_once_whatever_they_are_sorted_by(everything: Directory, sort_by: str, order: str) -> None:
    asked = f"sortBy={quote(sort_by)}&sortOrder={order}"
    names = _names(_list(everything, asked))

    assert sorted(names) == sorted([*USERS, *GROUPS])
    assert _by_index(everything, asked, 2) == names
    assert _by_cursor(everything, asked, 2) == names


def test_a_filter_and_one_order_go_together(everything: Directory) -> None:
    asked = "sortBy=displayName&sortOrder=descending&filter=" + quote('displayName sw "d" or displayName sw "a"')

    assert _names(_list(everything, asked)) == ["u2", "u4", "DELTA", "alpha"]
    first = _list(everything, f"{asked}&cursor=&count=3")
    second = _list(everything, f"{asked}&cursor={first['nextCursor']}&count=3")
    assert [_names(first), _names(second)] == [["u2", "u4", "DELTA"], ["alpha"]]
    assert (first["totalResults"], second["totalResults"], "nextCursor" in second) == (4, 4, False)


def test_nobody_is_shown_of_a_page_of_none_and_all_are_counted(everything: Directory) -> None:
    page = _list(everything, "sortBy=displayName&count=0")

    assert (page["totalResults"], page["Resources"]) == (9, [])


def test_who_stays_is_met_once_in_one_order_whoever_comes_or_goes_meanwhile(everything: Directory) -> None:
    first = _list(everything, "sortBy=displayName&cursor=&count=4")
    last = first["Resources"][-1]["id"]

    everything.send("DELETE", f"/Users/{last}")
    everything.add_user("late", displayName="omega")
    rest = _list(everything, f"sortBy=displayName&cursor={first['nextCursor']}&count=9")

    assert [_names(first), _names(rest)] == [["alpha", "u1", "u2", "u4"], ["DELTA", "late", "zeta", "u5", "éb", "u3"]]
