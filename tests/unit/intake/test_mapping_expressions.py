"""Expressions: what they can say of a person, and the sentence for whoever wrote one that cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from app.directory.vocabulary import ENTERPRISE_URN
from app.intake.mapping_expressions import Misused, NoValue, UnusableExpression, compile_expression

ADA: dict[str, Any] = {
    "key": "k-17", "userName": "Ada", "externalId": None, "state": "ACTIVE", "active": True, "startsAt": None, "endsAt": "2026-12-31T00:00:00+00:00",
    "document": {
        "displayName": "Ada Lovelace", "name": {"givenName": "Ada", "familyName": "Lovelace"},
        "emails": [{"value": "ada@acme.example", "type": "work", "primary": True}, {"value": "ada@home.example", "type": "home"}],
        ENTERPRISE_URN: {"department": "Research", "employeeNumber": "0017"},
    },
}  # fmt: skip
DEPARTMENT = f'person.document["{ENTERPRISE_URN}"].department'


def value_of(expression: str, person: dict[str, Any] = ADA) -> Any:
    return compile_expression(expression).value(person)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('lower(person.userName) + "@acme.example"', "ada@acme.example"),
        ("person.userName.lower()", "ada"),
        ('person.document.name.givenName + " " + person.document.name.familyName', "Ada Lovelace"),
        (f"{DEPARTMENT} == 'Research' ? 'R&D' : {DEPARTMENT}", "R&D"),
        ("person.active && person.state != 'SUSPENDED'", True),
        ("person.document.emails.filter(e, e.type == 'home')[0].value", "ada@home.example"),
        ("person.document.emails.exists(e, e.type == 'other')", False),
        ("ofType(person.document.emails, 'Home')", "ada@home.example"),
        ("each(person.document.emails, 'value')", ["ada@acme.example", "ada@home.example"]),
        ("first(person.document.emails).value", "ada@acme.example"),
        ("coalesce(person.document.nickName, '', person.userName)", "Ada"),
        ("coalesce(person.document.nickName, '').startsWith('A')", False),
        ("join([person.document.name.givenName, person.document.name.middleName, person.document.name.familyName], ' ')", "Ada Lovelace"),
        ("split('a,b,c', ',')[2]", "c"),
        ("before('ada@acme.example', '@') + after('ada@acme.example', '@')", "adaacme.example"),
        ("before('ada', '@')", "ada"),
        ("after('ada', '@')", None),
        ("substring(person.userName, 0, 1)", "A"),
        ("substring('ab', 1, 9)", "b"),
        ("trim('  x ')", "x"),
        ("upper('straße')", "STRASSE"),
        ("replace('a-b-c', '-', '')", "abc"),
        ("ascii('Žluťoučký Þórr Ørsted Straße')", "Zlutoucky Thorr Orsted Strasse"),
        ("ascii('李 Li', '?')", "? Li"),
        ("string(int(person.document['" + ENTERPRISE_URN + "'].employeeNumber) + 1)", "18"),
        ("size(person.document.emails)", 2),
        ("person.endsAt.startsWith('2026') && 'a' in ['a', 'b']", True),
        ("{'value': person.userName}", {"value": "Ada"}),
        ("'a' // what it is", "a"),
    ],
)
def test_an_expression_gives(expression: str, value: Any) -> None:
    assert value_of(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["person.document.nickName", "lower(person.document.nickName)", "person.externalId", "person.document.name.middleName", "first([])"],
)
def test_what_somebody_does_not_have_is_null(expression: str) -> None:
    assert value_of(expression) is None


def test_a_list_that_somebody_does_not_have_is_empty() -> None:
    assert value_of("size(person.document.phoneNumbers)") == 0
    assert value_of("person.document.phoneNumbers.exists(p, p.type == 'work')") is False


def test_what_a_whole_schema_lacks_is_null_as_well() -> None:
    assert value_of(DEPARTMENT, {**ADA, "document": {}}) is None
    assert value_of("person.document['urn:acme:2.0:User'].badge") is None


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("has(person.document.nickName) ? person.document.nickName : 'none'", "none"),
        ("has(person.document.displayName) ? person.document.displayName : 'none'", "Ada Lovelace"),
        ("has(person.document.name.middleName) ? 'yes' : 'no'", "no"),
    ],
)
def test_has_asks_whether_it_is_there(expression: str, value: str) -> None:
    assert value_of(expression) == value


def test_has_of_an_outer_part_keeps_the_inner_one_from_being_made_up() -> None:
    asked = "has(person.document.name) ? coalesce(person.document.name.givenName, '?') : person.userName"

    assert value_of(asked) == "Ada"
    assert value_of(asked, {**ADA, "document": {}}) == "Ada"
    assert value_of(asked, {**ADA, "document": {"name": {}}}) == "?"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'nickName' in person.document ? person.document.nickName : 'none'", "none"),
        ("size(person.document.name) == 2 ? 'two' : person.document.name.middleName", "two"),
        ("person.document.exists(k, k == 'title') ? person.document.title : 'none'", "none"),
        ("has(person.document.name) && size(person.document.name) == 2 ? 'two' : person.document.name.middleName", "two"),
        ("'a person' + coalesce(person.document.nickName, '')", "a person"),
    ],
)
def test_whoever_looks_at_a_whole_object_finds_no_null_in_it_that_was_not_there(expression: str, value: str) -> None:
    assert value_of(expression) == value


def test_a_person_is_given_only_so_far_as_they_are_named() -> None:
    asked = compile_expression(f"person.userName + {DEPARTMENT}")

    assert asked.given(ADA) == {"userName": "Ada", "document": {ENTERPRISE_URN: {"department": "Research"}}}


@pytest.mark.parametrize("expression", ["person.document['display' + 'Name']", "[person][0].document.displayName"])
def test_whatever_is_not_named_plainly_is_found_all_the_same(expression: str) -> None:
    assert value_of(expression) == "Ada Lovelace"


def test_nothing_of_the_person_is_changed() -> None:
    before = repr(ADA)

    value_of("coalesce(person.document.name.middleName, person.document.nickName, person.document['urn:x'].y, has(person.document.name))")

    assert repr(ADA) == before


@pytest.mark.parametrize(
    ("expression", "sentence", "character"),
    [
        ("", "there is no expression", None),
        ("person.userName +", "it cannot be read", 18),
        ("'open", "it cannot be read", 1),
        ("lowr(person.userName)", "there is no function lowr; there are after, ascii,", 1),
        ("'x' + user.name", "there is nothing called user; everything there is stands in person", 7),
        ("person.usrName", "person has no usrName; it has document, key, userName", 1),
        ("'a' + person.document.dispalyName", "person.document has no dispalyName; it has addresses,", 7),
        ("person.document.displayname", "person.document has no displayname; it is written displayName", 1),
        ("person.document.userName", "it is written person.userName", 1),
        ("person.document.name.given", "name has no given; it has", 1),
        ("person.document.title.x", "title has no parts", 1),
        (f"person.document['{ENTERPRISE_URN}'].dept", "has no dept; it has costCenter, department,", 1),
        (f"person.document['{ENTERPRISE_URN.lower()}'].department", f"this schema is written {ENTERPRISE_URN}", 1),
        ("person.userName.matches('^a')", "there is no function matches", 17),
        ("timestamp('2026-01-01T00:00:00Z')", "there is no function timestamp", 1),
        (".person.userName", "there is nothing called .person", 1),
        ("'a'\n+ 'b'", "one line", 4),
    ],
)
def test_an_expression_that_cannot_be_used_says_what_and_where(expression: str, sentence: str, character: int | None) -> None:
    with pytest.raises(UnusableExpression, match=None) as refused:
        compile_expression(expression)

    assert sentence in str(refused.value)
    assert refused.value.character == character


def test_what_stands_in_a_text_is_no_attribute() -> None:
    assert value_of("'person.usrName'") == "person.usrName"
    assert value_of("'it\\'s person.usrName'") == "it's person.usrName"


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("person.document.emails[7].value", "a list is shorter than it takes"),
        ("person.document['display' + 'nam']", "there is no displaynam"),
        ("int(person.userName)", "int() cannot make anything of what it is given"),
        ("ascii('李')", "ascii() found a letter without a plain form"),
        ("1 / (size(person.userName) - 3)", "a number comes out that cannot be computed with"),
        ("person.document.nickName + 'x'", "values together that do not go together"),
        ("lower(person.active)", "lower() is given true or false; it takes a text"),
        ("person.document.nickName.startsWith('A')", "startsWith() is given what it does not take, such as null"),
        ("size(person.document.nickName)", "size() is given what it does not take, such as null"),
        ("lower()", "too few or too many values"),
        ("join('a', 'b')", "join() is given a text; it takes a list of texts"),
        ("replace('a', '', 'b')", "replace() is given an empty text to look for"),
        ("substring('a', -1)", "it counts letters from 0"),
        ("Point{x: 1}", "there is not here"),
    ],
)
def test_one_that_has_no_value_for_somebody_says_why(expression: str, sentence: str) -> None:
    with pytest.raises(NoValue) as failed:
        value_of(expression)

    assert sentence in str(failed.value)


@pytest.mark.parametrize(
    "expression",
    [
        "person.userName + 1",
        "lower(1)",
        "person.document.displayName.contains(7)",
        "int(person.userName)",
        "lower(person.document.displayName)[0]",
    ],
)
def test_no_sentence_and_no_log_holds_anything_of_the_person(
    expression: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secret = {**ADA, "userName": "s3cret-name", "document": {"displayName": "s3cret-name"}}

    with pytest.raises(NoValue) as failed:
        value_of(expression, secret)

    assert "s3cret" not in str(failed.value)
    assert "".join(capfd.readouterr()) == ""
    # The library would tell each failed call of a function; so would ten thousand people.
    assert caplog.records == []


def test_a_wrong_use_is_told_from_a_value_that_is_missing() -> None:
    with pytest.raises(Misused):
        value_of("person.userName + 1")
    with pytest.raises(NoValue) as missing:
        value_of("person.document.emails[7].value")

    assert not isinstance(missing.value, Misused)
