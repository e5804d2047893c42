"""The names of a query's parameters: in any letters, as in a search by POST, and each but once."""

from urllib.parse import quote

import pytest

from app.access.sealing import make_key
from tests.clients.directory import Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import get, group_with
from tests.unit.scim.extending import says

ADA = quote('userName eq "ada"')
BOB = quote('userName eq "bob"')


@pytest.fixture
def company(directory: Directory) -> Directory:
    for name in ("ada", "bob", "cyd"):
        directory.add_user(name, title=name.upper())
    # A token that has just been good may be answered before the ordinary way.
    get(directory, "/ServiceProviderConfig")
    return directory


def _names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.text
    return [one["userName"] for one in answer.document["Resources"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"FILTER={ADA}", ["ada"]),
        (f"Filter={BOB}&Count=1", ["bob"]),
        ("sortby=userName&SORTORDER=descending", ["cyd", "bob", "ada"]),
        ("STARTINDEX=2&COUNT=1", ["bob"]),
    ],
)
def test_a_parameter_is_read_in_any_letters(company: Directory, query: str, found: list[str]) -> None:
    assert _names(company.send("GET", f"/Users?{query}")) == found


def test_a_cursor_is_read_in_any_letters(company: Directory) -> None:
    make_key(company.app.config["DOORLIST"])

    first = company.send("GET", "/Users?CURSOR=&count=2")
    second = company.send("GET", f"/Users?Cursor={first.document['nextCursor']}&COUNT=2")

    assert (_names(first), _names(second)) == (["ada", "bob"], ["cyd"])


def test_what_is_to_be_shown_is_read_in_any_letters(company: Directory) -> None:
    ada = get(company, f"/Users?filter={ADA}")["Resources"][0]["id"]
    ants = group_with(company, ada, name="ants")
    title = {"op": "add", "path": "title", "value": "x"}

    assert get(company, f"/Users/{ada}?ATTRIBUTES=title&attributes=userName").keys() == {"id", "schemas", "title", "userName"}
    assert "title" not in get(company, f"/Users/{ada}?excludedattributes=title")
    assert company.patch(f"/Users/{ada}?Attributes=title", title).document.keys() == {"id", "schemas", "title"}
    assert company.patch(f"/Groups/{ants}?ATTRIBUTES=displayName", {"op": "remove", "path": "members"}).document["displayName"] == "ants"
    assert says(company.send("GET", f"/Users/{ada}?Attributes=title&EXCLUDEDATTRIBUTES=id"), "invalidValue")


@pytest.mark.parametrize("at", ["/Users", "/Groups", "/"])
@pytest.mark.parametrize(
    ("query", "name"),
    [
        (f"filter={ADA}&filter={BOB}", "filter"),
        (f"filter={ADA}&FILTER={ADA}", "filter"),
        ("filter=&filter=", "filter"),
        ("count=1&count=2", "count"),
        ("startIndex=1&StartIndex=1", "startIndex"),
        ("sortBy=userName&sortBy=title", "sortBy"),
        ("sortBy=id&sortOrder=ascending&sortOrder=descending", "sortOrder"),
        ("cursor=&cursor=x", "cursor"),
    ],
)
def test_a_parameter_that_is_said_twice_is_refused(company: Directory, at: str, query: str, name: str) -> None:
    assert says(company.send("GET", f"{at}?{query}"), "invalidValue", f"{name} is said twice")


def test_discovery_takes_no_filter_in_any_letters(company: Directory) -> None:
    assert company.send("GET", "/Schemas?FILTER=id%20pr").status == 403
