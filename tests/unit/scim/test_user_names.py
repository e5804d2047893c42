"""Any text as a userName: taken or refused in words, alike on both databases, and unique as a reader would have it."""

import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clients.directory import Directory, directory_on
from tests.unit.scim.evaluating import caseless

pytestmark = pytest.mark.slow

BOUNDED = settings(max_examples=150, deadline=None, derandomize=True, database=None)

ODD_SIGNS = st.sampled_from(
    "aAéÉßẞſsKkİiıIﬁＡΣσςŉǰΐᾳЖж" "\u0301\u0307\u200b\u200d\u200e\u202e\ufeff\u00ad\u2028\u0085 \t" "שاé한😀👩\U0010ffff\ue000@.'\"\\%_"
)  # fmt: skip
NAMES = st.one_of(st.text(ODD_SIGNS, min_size=1, max_size=6), st.text(min_size=1, max_size=12))
SPELLINGS = (
    str.upper, str.lower, str.title, str.casefold, lambda text: unicodedata.normalize("NFD", text), lambda text: unicodedata.normalize("NFC", text),
    lambda text: unicodedata.normalize("NFKC", text), lambda text: f" {text}\n", lambda text: f"{text}\u200b", lambda text: f"{text}x",
)  # fmt: skip


def _key(text: str) -> str:
    return caseless(text).strip()


def _can_be_held(text: str) -> bool:
    return bool(text.strip()) and "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def _found(directory: Directory, name: str) -> list[str]:
    literal = name.replace("\\", "\\\\").replace('"', '\\"')
    answer = directory.send("GET", "/Users?attributes=userName&filter=" + quote(f'userName eq "{literal}"', safe=""))
    assert answer.status == 200, answer.text
    return [resource["id"] for resource in answer.document["Resources"]]


def test_two_spellings_of_a_name_are_one_user_and_two_names_are_two(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        there: dict[str, str] = {}

        @BOUNDED
        @given(NAMES, st.sampled_from(SPELLINGS))
        def pushed(name: str, spelling: object) -> None:
            assert callable(spelling)
            for text in (name, spelling(name)):
                answer = directory.send("POST", "/Users", {"userName": text})

                if not _can_be_held(text):
                    assert answer.status == 400, (text, answer.text)
                elif _key(text) in there:
                    assert (answer.status, answer.document["scimType"]) == (409, "uniqueness"), (text, answer.text)
                    assert _found(directory, text) == [there[_key(text)]]
                else:
                    assert answer.status == 201, (text, answer.text)
                    # What was said is shown as it was said; only the comparison folds.
                    assert answer.document["userName"] == text
                    there[_key(text)] = answer.document["id"]

        pushed()


def test_a_rename_is_as_unique_as_a_create(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        ada, _ = directory.add_user("ada"), directory.add_user("Straße")

        @settings(BOUNDED, max_examples=60)
        @given(NAMES, st.booleans())
        def renamed(name: str, whole: bool) -> None:
            if whole:
                answer = directory.send("PUT", f"/Users/{ada}", {"userName": name})
            else:
                answer = directory.patch(f"/Users/{ada}", {"op": "replace", "path": "userName", "value": name})

            assert answer.status == (200 if _can_be_held(name) and _key(name) != "strasse" else 409 if _can_be_held(name) else 400), (
                answer.text
            )
            if answer.status == 200:
                assert _found(directory, name) == [ada]

        renamed()


@pytest.mark.parametrize("one", ["STRASSE", "straße", "ＳＴＲＡＳＳＥ", "Straſse", " straße "])
def test_a_street_is_one_name_however_it_is_written(database_url: str, tmp_path: Path, one: str) -> None:
    with directory_on(database_url, tmp_path) as directory:
        directory.add_user("Straße")

        answer = directory.send("POST", "/Users", {"userName": one})
        group = directory.send("POST", "/Groups", {"displayName": "Straße"})
        again = directory.send("POST", "/Groups", {"displayName": one})

    assert (answer.status, answer.document["scimType"]) == (409, "uniqueness")
    assert (group.status, again.status) == (201, 409)


def _long(length: int) -> str:
    """A text that no database can press into less."""
    return "".join(chr(0x4E00 + (number * 7919 + number * number * 104729) % 20000) for number in range(length))


@pytest.mark.parametrize("length", [200, 1_000, 5_000, 100_000])
@pytest.mark.parametrize("attribute", ["userName", "externalId", "displayName", "employeeNumber", "department", "email", "title"])
def test_a_long_text_is_taken_or_refused_alike(database_url: str, tmp_path: Path, attribute: str, length: int) -> None:
    urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    said = {"employeeNumber": {urn: {"employeeNumber": _long(length)}}, "department": {urn: {"department": _long(length)}}}
    body = said.get(attribute, {"emails": [{"value": _long(length)}]} if attribute == "email" else {attribute: _long(length)})
    with directory_on(database_url, tmp_path) as directory:
        answer = directory.send("POST", "/Users", {"userName": "ada", **body})

        listed = directory.send("GET", "/Users").document["totalResults"]

    # What an index holds has an end; PostgreSQL's indexes take 2,704 bytes of a row.
    short = length <= 200 or attribute in ("displayName", "title")
    assert (answer.status, listed) == ((201, 1) if short else (400, 0)), answer.text[:300]
    assert short or (answer.document["scimType"] == "invalidValue" and attribute.rstrip("s") in answer.document["detail"])


@pytest.mark.parametrize("length", [200, 5_000])
def test_a_long_group_name_is_taken_or_refused_alike(database_url: str, tmp_path: Path, length: int) -> None:
    with directory_on(database_url, tmp_path) as directory:
        named = directory.send("POST", "/Groups", {"displayName": _long(length)})
        keyed = directory.send("POST", "/Groups", {"displayName": "x", "externalId": _long(length)})

    assert (named.status, keyed.status) == ((201, 201) if length == 200 else (400, 400))


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_external_id_is_none(directory: Directory, blank: str) -> None:
    """What is shown is found; nothing finds a blank one."""
    user = directory.send("POST", "/Users", {"userName": "ada", "externalId": blank}).document
    group = directory.send("POST", "/Groups", {"displayName": "Team", "externalId": blank}).document

    assert "externalId" not in user and "externalId" not in group
    assert directory.add_user("bob", externalId=blank)
    assert "externalId" not in directory.patch(f"/Users/{user['id']}", {"op": "replace", "path": "externalId", "value": " "}).document
    assert directory.send("GET", "/Users?filter=externalId pr").document["totalResults"] == 0
