"""Any filter finds, on both databases, just those whom plain Python finds among the resources that are shown."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.directory.filters import FilterError, parse
from tests.clients.directory import Directory, directory_on
from tests.unit.scim.evaluating import (
    CORE,
    ENTERPRISE,
    GROUP,
    Asked,
    Both,
    Comparison,
    Either,
    Element,
    Negation,
    Presence,
    fits,
    written,
)

pytestmark = pytest.mark.slow

# The same examples each time, so that a run in continuous integration says something of the change and not of chance.
BOUNDED = settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])

WORDS = (
    "ada", "ADA", "Ada ", "é", "e\u0301", "É", "%", "_", "a b", 'q"', "\\", "\\u0041", "7", "true", "null", "ﬁn", "FIN", "work", "ＡＤＡ",
    "Å", "\u212b", "\u212a", "ſ", "ñ", "ж", "Ж", "שלום", "\u200b", "😀", "'", "x' or '1'='1", "[", ")", "a.b", "\t", "\u202etxt", "1", "z", "straße", "STRASSE", "SS", "ΟΔΟΣ", "οδοσ", "Σ", "ı", "I", "İ",
)  # fmt: skip


def _population() -> list[dict[str, Any]]:
    """People who differ in everything that a filter can ask: missing, empty, of another kind, one and many."""
    employed = {ENTERPRISE: {"department": "É", "employeeNumber": "e7", "manager": {"value": "M-1", "displayName": "Em"}}}
    return [
        {"userName": "ada", "externalId": "Ada", "title": "ADA", "displayName": 'q"', "active": True, **employed},
        {"userName": "É", "externalId": "ada", "title": "é", "displayName": "\\", "active": False, "nickName": "a b"},
        {"userName": "ＢＯＢ", "title": "", "displayName": "%", "badge": 7, "ready": True, "tags": ["ada", 7, True, 1.5]},
        {"userName": "ﬁn", "title": "_", "badge": "7", "ready": "true", "tags": [], "site": {"floor": 3, "wing": "é"}},
        {"userName": "ж", "badge": 7.5, "location": "É", "manager": "M-1", "ready": False, "tags": "ada", "site": {"wing": ""}, "profileUrl": "Https://A"},
        {"userName": "שלום", "badge": -1, "department": "É", "manager": {"value": "m-1"}, "tags": {"value": "ADA"}, "site": [{"wing": "a b"}, {"floor": 7}], "nickName": "null"},
        {"userName": "x1", "name": {"familyName": "Ж", "givenName": ""}, "emails": [{"value": "ada@x", "type": "work", "primary": True}]},
        {"userName": "x2", "name": {"familyName": ""}, "emails": [{"value": "ADA@X", "type": "home"}, {"value": "é@x", "type": "Work"}, {"value": " "}, {"value": " Ada@x"}]},
        {"userName": "x3", "name": {"formatted": "\t"}, "emails": [{"type": "work"}], "roles": [{"value": "ada"}, {"value": "é", "primary": True}]},
        {"userName": "x4", "emails": [], "roles": [{"value": "ADA", "type": "work"}], "phoneNumbers": [{"value": "1", "type": "work"}]},
        {"userName": "x5", ENTERPRISE: {"department": "a b", "manager": {"displayName": "ada"}}, "badge": 9007199254740991, "nickName": "\u200b"},
        {"userName": "x6", "addresses": [{"type": "work", "locality": "É"}], ENTERPRISE: {"department": "é", "costCenter": "7"}, "badge": [7, "7", None], "title": "\u202etxt", "nickName": "😀"},
        {"userName": "x7", "badge": None, "ready": None, "displayName": "Å", "title": "K", "nickName": "s", "tags": [{}, {"value": ""}, ""]},
        {"userName": "x8", "badge": {"value": 7}, "ready": ["true", True], "title": "x' or '1'='1", "locale": "a.b", "tags": [["ada"], "z"]},
        {"userName": "x9", "title": "Straße", "displayName": "οδος", "department": "ﬁn", "division": 7, "tags": ["ß", "ıİ"], "nickName": "İ", "roles": [{"value": "ẞ"}]},
    ]  # fmt: skip


TEXTS = (
    ("userName",), ("externalId",), ("displayName",), ("title",), ("nickName",), ("locale",), ("profileUrl",), ("name", "familyName"), ("name", "givenName"),
    ("name", "formatted"), (ENTERPRISE, "department"), (ENTERPRISE, "employeeNumber"), (ENTERPRISE, "costCenter"), (ENTERPRISE, "manager"),
    (ENTERPRISE, "manager", "value"), (ENTERPRISE, "manager", "displayName"), ("emails",), ("emails", "value"), ("emails", "type"), ("roles",),
    ("roles", "value"), ("roles", "type"), ("phoneNumbers", "value"), ("groups",), ("groups", "value"), ("groups", "display"), ("groups", "type"),
    ("groups", "$ref"), ("meta", "resourceType"), ("meta", "location"), ("meta", "version"), ("id",), (CORE, "userName"), (CORE, "emails", "value"),
    (CORE, "id"), (GROUP, "displayName"), (GROUP, "id"), ("department",), ("division",), ("manager",), ("manager", "value"), ("location",),
)  # fmt: skip
UNKNOWN = (("badge",), ("ready",), ("tags",), ("tags", "value"), ("site", "wing"), ("site", "floor"), ("nowhere",), ("nowhere", "at"))
FLAGS = (("active",), ("emails", "primary"), ("roles", "primary"))
ORDERED = ("eq", "ne", "gt", "ge", "lt", "le")
OPERATORS = (*ORDERED, "co", "sw", "ew")


def _recased(draw: st.DrawFn, text: str) -> str:
    """Attribute names and operators mean the same in any case (RFC 7643 §2.1, RFC 7644 §3.4.2.2)."""
    return draw(st.sampled_from((text, text.upper(), text.title(), text.swapcase())))


def _filters(seen: list[dict[str, Any]]) -> st.SearchStrategy[Asked]:
    """Filters over what is there and what is not, with values that stand in `seen` and values that stand nowhere."""
    ids = [resource["id"] for resource in seen] + [group["value"] for resource in seen for group in resource["groups"]]
    addresses = ("ada@x", "ADA@x", " ada@x", "é@X", "@", "x", " ")
    places = [resource["meta"]["location"] for resource in seen[:2]] + [group["$ref"] for resource in seen for group in resource["groups"][-1:]]
    said = (*places, places[0][:-1], places[-1].upper(), "/Users/", "http", 'W/"1"', 'W/"2"', 'w/"1"')
    texts = st.sampled_from((*WORDS, *addresses, *said, *ids[:4], ids[-1], "User", "direct", "M-1", "m-1", "Engineers", " ENGINEERS ", "A"))
    numbers = st.sampled_from((7, -1, 0, 7.0, 7.5, 1.5, 9007199254740991, -0.5))
    moments = st.sampled_from(
        [resource["meta"][name] for resource in seen for name in ("created", "lastModified")]
        + ["2000-01-01T00:00:00+14:00", "2999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59Z"]
    )
    whole = st.sampled_from((*TEXTS, *UNKNOWN, *FLAGS, ("name",), ("meta",), ("schemas",), ("site",), (ENTERPRISE, "division")))
    atoms = st.one_of(
        st.builds(Comparison, st.sampled_from(TEXTS), st.sampled_from(OPERATORS), texts),
        st.builds(Comparison, st.sampled_from(UNKNOWN), st.sampled_from(OPERATORS), texts),
        st.builds(Comparison, st.sampled_from(UNKNOWN), st.sampled_from(ORDERED), numbers),
        st.builds(Comparison, st.sampled_from((*FLAGS, *UNKNOWN)), st.sampled_from(("eq", "ne")), st.booleans()),
        st.builds(Comparison, st.sampled_from((("meta", "created"), ("meta", "lastModified"))), st.sampled_from(ORDERED), moments),
        st.builds(Comparison, st.just(("schemas",)), st.sampled_from(("eq", "ne", "co")), st.sampled_from((CORE, ENTERPRISE, "urn"))),
        st.builds(Comparison, st.sampled_from((*TEXTS, *UNKNOWN, *FLAGS)), st.sampled_from(("eq", "ne")), st.none()),
        st.builds(Presence, whole),
    )
    inner = st.one_of(
        st.builds(Comparison, st.sampled_from((("value",), ("type",), ("display",), ("$ref",))), st.sampled_from(OPERATORS), texts),
        st.builds(Comparison, st.just(("primary",)), st.sampled_from(("eq", "ne")), st.booleans()),
        st.builds(Presence, st.sampled_from((("value",), ("type",), ("primary",), ("$ref",), ("location",), ("nowhere",)))),
    )
    elements = st.builds(Element, st.sampled_from((("emails",), ("roles",), ("phoneNumbers",), ("groups",), ("tags",), ("meta",), ("manager",), (CORE, "emails"), (GROUP, "emails"))), _joined(inner, 3))
    return _joined(st.one_of(atoms, elements), 5)


def _joined(atoms: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[Any]:
    return st.recursive(
        atoms,
        lambda each: st.one_of(st.builds(Both, each, each), st.builds(Either, each, each), st.builds(Negation, each)),
        max_leaves=most,
    )


@st.composite
def _spelled(draw: st.DrawFn, asked: st.SearchStrategy[Asked]) -> tuple[Asked, str]:
    """A filter, and one way to write it."""
    chosen = draw(asked)
    text = written(chosen)
    for word in (" eq ", " ne ", " and ", " or ", " pr", "userName", "emails", "groups"):
        if word in text and draw(st.booleans()):
            text = _outside_quotes(text, word, _recased(draw, word))
    return chosen, text


def _outside_quotes(text: str, word: str, spelling: str) -> str:
    parts: list[str] = []
    rest = text
    while rest:
        before, quotation, rest = rest.partition('"')
        parts.append(before.replace(word, spelling))
        if quotation:
            end = next(index for index, sign in enumerate(rest) if sign == '"' and (index - len(rest[:index].rstrip("\\"))) % 2 == 0)
            parts.append('"' + rest[: end + 1])
            rest = rest[end + 1 :]
    return "".join(parts)


def _filled(directory: Directory) -> list[dict[str, Any]]:
    ids = [directory.add_user(**person) for person in map(_as_arguments, _population())]
    for name, members in (("Engineers", ids[:3]), ("É", ids[2:5]), ("Nobody", [])):
        answer = directory.send("POST", "/Groups", {"displayName": name, "members": [{"value": one} for one in members]})
        assert answer.status == 201
    directory.patch(f"/Users/{ids[5]}", {"op": "replace", "path": "title", "value": "later"})
    return list(directory.send("GET", "/Users?count=100").document["Resources"])


def _as_arguments(person: dict[str, Any]) -> dict[str, Any]:
    return {"user_name": person["userName"], **{name: value for name, value in person.items() if name != "userName"}}


def test_a_filter_finds_whom_plain_python_finds(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        seen = _filled(directory)

        @BOUNDED
        @given(_spelled(_filters(seen)))
        def compared(example: tuple[Asked, str]) -> None:
            asked, text = example

            answer = directory.send("GET", f"/Users?count=100&attributes=userName&filter={quote(text, safe='')}")

            assert answer.status == 200, f"{text}: {answer.text}"
            found = [resource["userName"] for resource in answer.document["Resources"]]
            assert found == [resource["userName"] for resource in seen if fits(asked, resource)], text
            assert answer.document["totalResults"] == len(found)

        compared()


NO_FILTERS = (
    "active gt true", 'active gt "a"', 'emails[primary le "x"]', 'x509Certificates.value ge "A"',
    "badge co 7", 'meta.created co "2"', 'meta.created gt "yesterday"', 'name eq "Ada"', "title gt null",
    "emails[type eq", 'emails[type eq "work"', "title eq", "title", "eq", 'title eq "a" title eq "b"', "not title pr", '"ada" eq title',
    'a.b.c eq "x"', 'title == "x"', "title eq 'x'", "title eq x", "title eq 0x1f", "title eq 1e999", "title eq NaN", "()", "", " ",
    'meta.created gt "0001-01-01T00:00:00+14:00"', 'meta.created lt "9999-12-31T23:59:59-14:00"', 'meta.created le "9999-12-31T23:59:59.999999Z"',
    'meta.created gt "2026-01-01T00:00:00"', 'meta.created gt "2026-13-01T00:00:00Z"', "meta.created gt 5",
)  # fmt: skip


def test_what_the_rfc_does_not_know_is_no_filter(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        directory.add_user("ada")

        for text in NO_FILTERS:
            answer = directory.send("GET", f"/Users?filter={quote(text, safe='')}")

            assert (answer.status, answer.document.get("scimType")) == (400, "invalidFilter"), text


PIECES = st.sampled_from(
    [*' ()[]."\\:', "a", "eq", " and ", " or ", "not ", "pr", "title", "emails", "\0", "é", "1", "null", "😀", "\ud800"]
)


@settings(BOUNDED, max_examples=300)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_a_filter_or_is_refused_in_words(text: str) -> None:
    try:
        parse(text)
    except FilterError as error:
        assert str(error)
        assert 1 <= error.position <= len(text) + 1
