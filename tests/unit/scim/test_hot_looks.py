"""A quick look-up finds what the ordinary way finds, and refuses what it refuses."""

from urllib.parse import quote

import pytest

from tests.clients.directory import Directory
from tests.unit.scim.choosing import set_brake
from tests.unit.scim.hot_views import without_views

SEARCH_URN = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"


@pytest.fixture
def people(directory: Directory) -> Directory:
    set_brake("off")
    directory.add_user("ada", externalId="bob")
    directory.add_user("bob", externalId="x1")
    directory.add_user("%FF")
    assert directory.send("GET", "/ServiceProviderConfig").status == 200
    return directory


def _asked(directory: Directory, query: str) -> tuple[int, object, list[str]]:
    answer = directory.send("GET", f"/Users?filter={query}")
    names = [one["userName"] for one in answer.document.get("Resources", [])]
    return answer.status, answer.document.get("scimType"), names


@pytest.mark.parametrize(
    "text",
    [
        'userName \u017fw "b"', 'u\u017ferName eq "bob"', 'external\u0131d eq "x1"', 'external\u0130d eq "x1"', 'userName\u00a0eq "bob"',
        '\u2003userName eq "bob"', 'userName\u0085eq "bob"', 'userName\x1feq "bob"', 'userName eq "bob"\n', f'userName eq "{"a" * 4_000}"',
    ],
)  # fmt: skip
def test_what_is_no_filter_is_none_for_a_quick_look_either(people: Directory, text: str) -> None:
    assert _asked(people, quote(text)) == (400, "invalidFilter", [])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (quote('USERNAME EQ "ada"'), ["ada"]), (quote(' externalId\t eq  "x1"\t'), ["bob"]), ("userName+eq+%22%FF%22", ["%FF"]),
        ("userName+eq+%22%EF%BF%BD%22", []), (quote(f'userName eq "{"a" * 3_984}"'), []),
    ],
)  # fmt: skip
def test_a_quick_look_finds_what_the_ordinary_way_finds(
    people: Directory, monkeypatch: pytest.MonkeyPatch, query: str, found: list[str]
) -> None:
    assert _asked(people, query) == (200, None, found)
    without_views(monkeypatch)
    assert _asked(people, query) == (200, None, found)


def test_a_body_beyond_the_limit_is_refused_by_the_quick_way_too(people: Directory) -> None:
    people.app.config["MAX_CONTENT_LENGTH"] = 1_024

    assert people.send("POST", "/Users", {"userName": "cyd", "title": "x" * 1_100}).status == 413
    assert people.send("POST", "/Users", {"userName": "cyd", "title": "x" * 100}).status == 201


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 400, "1e400", "9223372036854775808"])
def test_a_number_too_large_to_compare_with_is_refused_in_words(people: Directory, number: str) -> None:
    asked = quote(f"title eq {number}")
    ada = people.send("GET", "/Users?filter=userName%20eq%20%22ada%22").document["Resources"][0]["id"]

    answers = [people.send("GET", f"{at}?filter={asked}") for at in ("/Users", "/Groups", "/")]
    answers.append(people.send("POST", "/Users/.search", {"schemas": [SEARCH_URN], "filter": f"title eq {number}"}))
    answers.append(people.patch(f"/Users/{ada}", {"op": "remove", "path": f"emails[value eq {number}]"}))

    for answer in answers:
        assert (answer.status, answer.document["scimType"][:7]) == (400, "invalid")
        assert "this number is too large" in answer.document["detail"]


def test_a_kept_number_larger_than_the_machines_is_compared_with_fractions(people: Directory) -> None:
    for name, value in {"one": 1, "two": 2.5, "many": 10**400}.items():
        people.send("POST", "/Users", {"userName": name, "x-a": value})

    for asked, names in {"gt 1.5": ["two", "many"], "lt 1.5": ["one"], "eq 2.5": ["two"], "ge 1": ["one", "two", "many"]}.items():
        assert _asked(people, quote(f"x-a {asked}")) == (200, None, names)
