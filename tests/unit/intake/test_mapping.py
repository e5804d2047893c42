"""Mappings: what becomes of a person, who is set aside, and what is refused before anybody is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.directory.extensions import read_schema
from app.directory.vocabulary import ENTERPRISE_URN, USER_URN, Vocabulary
from app.intake.mapping import Unmappable, UnusableMapping, apply, check, compile_mapping
from connectors.source_contract import SourceKey, SourcePerson

BADGE_URN = "urn:acme:params:scim:schemas:badge:2.0:User"
ADA = SourcePerson(
    key=SourceKey("k-17"),
    user_name="Ada",
    active=True,
    external_id="17",
    manager=SourceKey("k-4"),
    state="ACTIVE",
    document={
        "schemas": [USER_URN, ENTERPRISE_URN],
        "displayName": "Ada Lovelace",
        "name": {"givenName": "Ada", "familyName": "Lovelace"},
        "emails": [
            {"value": "ada@acme.example", "type": "work", "primary": True},
            {"value": "ada.l@acme.example", "type": "work", "primary": False},
        ],
        ENTERPRISE_URN: {"department": "Research", "employeeNumber": "17"},
    },
)


def words() -> Vocabulary:
    attributes = (
        '[{"name": "floor", "type": "integer"}, {"name": "since", "type": "dateTime"}, {"name": "guest", "type": "boolean"},'
        ' {"name": "doors", "type": "string", "multiValued": true}, {"name": "photo", "type": "binary"},'
        ' {"name": "seat", "type": "complex", "subAttributes": [{"name": "row", "type": "string"}]}]'
    )
    return Vocabulary([read_schema(f'{{"id": "{BADGE_URN}", "attributes": {attributes}}}', USER_URN)])


def mapped(mapping: dict[str, str], person: SourcePerson = ADA) -> SourcePerson:
    return apply(compile_mapping(mapping, words()), person)


def test_a_person_becomes_what_the_mapping_says_and_keeps_the_rest() -> None:
    made = mapped(
        {
            "userName": 'lower(person.userName) + "@acme.example"',
            "displayName": 'person.document.name.familyName + ", " + person.document.name.givenName',
            f"{ENTERPRISE_URN}:department": f'upper(person.document["{ENTERPRISE_URN}"].department)',
        }
    )

    document = {**ADA.document, "displayName": "Lovelace, Ada", ENTERPRISE_URN: {"department": "RESEARCH", "employeeNumber": "17"}}
    assert made == replace(ADA, user_name="ada@acme.example", document=document)


def test_who_is_given_is_left_as_they_are() -> None:
    before = repr(ADA)

    mapped(
        {
            "emails.work": "'x@acme.example'",
            "name.givenName": "null",
            f"{ENTERPRISE_URN}:department": "'x'",
            "title": "'x'",
            "displayName": "null",
        }
    )

    assert repr(ADA) == before


def test_every_expression_sees_the_person_as_the_source_has_them() -> None:
    made = mapped({"userName": "person.document.displayName", "displayName": "person.userName"})

    assert (made.user_name, made.document["displayName"]) == ("Ada Lovelace", "Ada")


def test_an_empty_mapping_changes_nothing() -> None:
    assert mapped({}) == ADA


@pytest.mark.parametrize("nothing", ["null", "''", "'  '", "person.document.nickName"])
def test_what_comes_out_empty_is_not_there(nothing: str) -> None:
    made = mapped({"displayName": nothing, "name.givenName": nothing, "externalId": nothing, f"{ENTERPRISE_URN}:department": nothing})

    assert "displayName" not in made.document
    assert made.document["name"] == {"familyName": "Lovelace"}
    assert made.document[ENTERPRISE_URN] == {"employeeNumber": "17"}
    assert made.external_id is None


def test_an_object_that_lost_its_last_part_is_not_there() -> None:
    made = mapped({"name.givenName": "null", "name.familyName": "null"})

    assert "name" not in made.document


def test_active_becomes_true_or_false() -> None:
    by_state = compile_mapping({"active": "person.active && person.state == 'ACTIVE'"})

    assert apply(by_state, ADA).active is True
    assert apply(by_state, replace(ADA, state="PARENTAL_LEAVE")).active is False


# Lists


def test_the_address_of_a_type_is_replaced_and_others_stay() -> None:
    made = mapped({"emails.work": "'new@acme.example'"})

    assert made.document["emails"] == [
        {"value": "new@acme.example", "type": "work", "primary": True},
        {"value": "ada.l@acme.example", "type": "work", "primary": False},
    ]


def test_an_address_of_a_type_that_is_not_there_is_added() -> None:
    made = mapped({"emails.home": "'ada@home.example'", "phoneNumbers.mobile": "'+44 7700 900001'"})

    assert made.document["emails"][2] == {"value": "ada@home.example", "type": "home"}
    assert made.document["phoneNumbers"] == [{"value": "+44 7700 900001", "type": "mobile"}]


def test_the_first_address_of_somebody_is_their_primary_one() -> None:
    made = mapped({"emails.work": "'ada@acme.example'"}, replace(ADA, document={}))

    assert made.document["emails"] == [{"value": "ada@acme.example", "type": "work", "primary": True}]


def test_a_type_that_comes_out_empty_takes_its_addresses_away() -> None:
    made = mapped({"emails.work": "null"})

    assert "emails" not in made.document


def test_where_the_primary_address_went_the_next_is_it() -> None:
    both = {"emails": [{"value": "a@x", "type": "work", "primary": True}, {"value": "b@x", "type": "home", "primary": False}]}

    made = mapped({"emails.work": "null"}, replace(ADA, document=both))

    assert made.document["emails"] == [{"value": "b@x", "type": "home", "primary": True}]


def test_parts_of_an_address_of_a_type() -> None:
    made = mapped({"addresses.work.locality": "'London'", "addresses.work.country": "'GB'"})
    bare = mapped({"addresses.work.locality": "null"}, replace(ADA, document={"addresses": [{"type": "work", "locality": "London"}]}))

    assert made.document["addresses"] == [{"locality": "London", "type": "work", "country": "GB"}]
    assert "addresses" not in bare.document


def test_a_whole_list_is_replaced_by_texts_or_objects() -> None:
    texts = mapped({"emails": "each(person.document.emails, 'value').filter(a, a.contains('.l'))"})
    objects = mapped({"roles": "[{'value': 'staff', 'primary': true}, {'value': ''}]"})
    one = mapped({"roles": "'staff'"})
    none = mapped({"emails": "[]"})

    assert texts.document["emails"] == [{"value": "ada.l@acme.example", "type": "work", "primary": True}]
    assert objects.document["roles"] == [{"value": "staff", "primary": True}]
    assert one.document["roles"] == [{"value": "staff"}]
    assert "emails" not in none.document


# Schemas of an organisation's own


def test_attributes_of_a_declared_schema_are_mapped_by_their_types() -> None:
    made = mapped(
        {
            f"{BADGE_URN}:floor": "4", f"{BADGE_URN}:since": "'2026-01-31T01:00:00+01:00'", f"{BADGE_URN}:guest": "person.active",
            f"{BADGE_URN}:doors": "['A', 'B']", f"{BADGE_URN.upper()}:Seat.row": "'C'",
        }
    )  # fmt: skip

    assert made.document[BADGE_URN] == {
        "floor": 4,
        "since": "2026-01-31T00:00:00.000Z",
        "guest": True,
        "doors": ["A", "B"],
        "seat": {"row": "C"},
    }
    assert made.document["schemas"] == [USER_URN, ENTERPRISE_URN, BADGE_URN]


def test_a_schema_that_is_emptied_is_not_named() -> None:
    there = replace(ADA, document={"schemas": [USER_URN, BADGE_URN], BADGE_URN: {"floor": 4}})

    made = mapped({f"{BADGE_URN}:floor": "null"}, there)

    assert made.document == {"schemas": [USER_URN]}


# Who is set aside


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ({"userName": "person.document.nickName"}, "userName cannot be mapped: it comes out empty, and nobody can be without it"),
        ({"active": "person.document.nickName"}, "active cannot be mapped: it must be true or false, not a text"),
        ({"active": "null"}, "active cannot be mapped: it comes out empty"),
        ({"title": "1"}, "title cannot be mapped: it must be a text, not a number; string(…) makes a text of a number"),
        ({"title": "true"}, "title cannot be mapped: it must be a text, not true or false"),
        ({"title": "person.document.name"}, "title cannot be mapped: it must be a text, not an object"),
        ({"title": "'\\u0000'"}, "title cannot be mapped: it holds a character that no database keeps"),
        ({"emails": "[{'value': 'a', 'primary': true}, {'value': 'b', 'primary': true}]"}, "emails cannot be mapped: more than one of its values is primary"),
        ({"emails": "[{'address': 'a'}]"}, "emails cannot be mapped: an element of emails has a part that is none; it has value, display"),
        ({"emails": "[1]"}, "emails cannot be mapped: it must be a text, not a number"),
        ({"addresses": "'London'"}, "addresses cannot be mapped: addresses takes objects, not a text"),
        ({f"{BADGE_URN}:floor": "1.5"}, "must be a whole number"),
        ({f"{BADGE_URN}:floor": "true"}, "must be a whole number"),
        ({f"{BADGE_URN}:since": "'yesterday'"}, "must be an instant with its time zone"),
        ({"emails.work": "person.document.emails[9].value"}, "emails.work cannot be mapped: a list is shorter than it takes"),
    ],
)  # fmt: skip
def test_who_cannot_be_mapped_is_set_aside_with_attribute_and_reason(mapping: dict[str, str], sentence: str) -> None:
    person = replace(ADA, document={**ADA.document, "nickName": "Ada"}) if "active" in mapping and "null" not in mapping["active"] else ADA

    with pytest.raises(Unmappable) as aside:
        mapped(mapping, person)

    assert sentence in str(aside.value)


@pytest.mark.parametrize("on", [True, False])
def test_whether_somebody_is_on_is_known_even_where_the_rest_is_not(on: bool) -> None:
    with pytest.raises(Unmappable) as aside:
        mapped({"userName": "person.document.emails[9].value"}, replace(ADA, active=on))

    assert aside.value.active is on


def test_off_by_the_mapping_is_known_even_where_the_rest_is_not() -> None:
    with pytest.raises(Unmappable) as aside:
        mapped({"userName": "person.document.emails[9].value", "active": "person.state != 'ACTIVE'"})

    assert aside.value.active is False


# What is refused at once


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ({"usrName": "'a'"}, "usrName: a user has no attribute 'usrName'"),
        ({"": "'a'"}, "it is no path of an attribute"),
        ({"name..givenName": "'a'"}, "it is no path of an attribute"),
        ({"name": "'a'"}, "name: name has parts: name.formatted, name.familyName"),
        ({"name.first": "'a'"}, "name.first: name has no part first; it has formatted"),
        ({"title.x": "'a'"}, "title.x: title has no parts"),
        ({"emails.value": "'a'"}, "emails.value: emails is a list; name the type of one, such as emails.work"),
        ({"emails.work.primary": "true"}, "primary of an element follows from the rest"),
        ({"emails.work.value.x": "true"}, "emails has no part value.x"),
        ({"addresses.work": "'a'"}, "an element of addresses has parts: name one, such as addresses.work.formatted"),
        ({"id": "'a'"}, "id is given by Doorlist"),
        ({"meta.version": "'a'"}, "meta is given by Doorlist"),
        ({"schemas": "'a'"}, "schemas follows from the attributes that are there"),
        ({"groups": "'a'"}, "groups follows from the groups of the source"),
        ({"password": "'a'"}, "password is asked of nobody"),
        ({f"{ENTERPRISE_URN}:manager.value": "'a'"}, "manager is whom the source names, by its own key"),
        ({f"{ENTERPRISE_URN}:dept": "'a'"}, f"a user has no attribute 'dept' by {ENTERPRISE_URN}"),
        ({"urn:nobody:2.0:User:x": "'a'"}, "no schema urn:nobody:2.0:User is known for users; 'doorlist schemas import' declares one"),
        ({f"{BADGE_URN}:photo": "'a'"}, "no expression makes a binary value"),
        ({f"{BADGE_URN}:doors.x": "'a'"}, "doors is a list; map it as a whole"),
        ({"userName": "'a'", "username": "'b'"}, "username: userName says the same"),
        ({"emails": "'a'", "emails.work": "'b'"}, "emails.work: emails says the same"),
        ({"emails.work": "'a'", "emails.WORK": "'b'"}, "emails.WORK: emails.work says the same"),
        ({"displayName": "lowr(person.userName)"}, "displayName, character 1: there is no function lowr"),
        ({"displayName": "'a' + person.nam"}, "displayName, character 7: person has no nam"),
        ({"displayName": 7}, "displayName: what it becomes must be written as a text"),
        ({"displayName": "person.userName + 1"}, "displayName: tried on an example, it puts values together that do not go together"),
        ({"displayName": "lower()"}, "displayName: tried on an example, a function is given too few or too many values"),
        ({"active": "person.state"}, "active: tried on an example, it must be true or false, not a text"),
        ({"title": "Point{x: 1}"}, "title: tried on an example, it uses something of CEL that there is not here"),
    ],
)
def test_a_mapping_that_can_be_right_for_nobody_is_refused_with_the_attribute(mapping: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UnusableMapping) as refused:
        check(mapping, words())

    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "mapping",
    [
        {"title": "person.document['urn:acme:hr'].grade + '!'"},
        {"userName": "person.document['urn:acme:hr'].login"},
        {"title": "person.document.emails[5].value"},
        {"title": "split(person.document.title, '-')[3]"},
        {"urn:ietf:params:scim:schemas:core:2.0:User:userName": "person.userName"},
        {"USERNAME": "person.userName", "Name.GivenName": "person.document.name.givenName"},
        {"x509certificates": "[]"},
    ],
)
def test_what_the_example_lacks_is_no_reason_to_refuse(mapping: dict[str, str]) -> None:
    check(mapping)


def test_a_mapping_names_so_many_attributes_at_most() -> None:
    many = {f"emails.t{number}": "'a'" for number in range(51)}

    with pytest.raises(UnusableMapping, match="it names 51 attributes; at most 50"):
        check(many)
