"""Filters: what is read from text and what is none, and what the path of an attribute leads to."""

from typing import Any

import pytest

from app.directory.attributes import value_at
from app.directory.filters import And, FilterError, Not, Or, parse, parse_asked, split_path
from app.directory.vocabulary import ENTERPRISE_URN
from tests.unit.directory.documents import ADA


def test_and_binds_tighter_than_or() -> None:
    assert isinstance(parse("a pr or b pr and c pr"), Or)
    assert isinstance(parse("(a pr or b pr) and c pr"), And)
    assert isinstance(parse("not (a pr) and b pr"), And)
    assert isinstance(parse("not (a pr and b pr)"), Not)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("userName", 9),
        ("externalId eq jyoung", 15),
        ('userName eq "x" and', 20),
        ('userName eq "x', 13),
        ('userName eq "x" "y"', 17),
        ("userName xx 1", 10),
        ("(userName pr", 13),
        ("emails[type pr", 15),
        ("active gt true", 11),
        ("badge co 3", 10),
        ("badge eq 1e999", 10),
        ("badge eq 99999999999999999999", 10),
        ('title eq "\\ud800"', 10),
        ('title eq "\\u0000"', 10),
        ("name eq 1", 9),
        ('meta.created gt "yesterday"', 17),
        ("a.b.c eq 1", 4),
        ("not userName pr", 5),
        ("(" * 500 + "a pr" + ")" * 500, 31),
        ("a pr and " * 500 + "a pr", 4001),
        ("userName eq 'x'", 13),
    ],
)
def test_what_is_no_filter_is_refused_at_its_place(text: str, position: int) -> None:
    with pytest.raises(FilterError) as refused:
        parse(text)

    assert refused.value.position == position


def test_a_rule_that_was_stored_once_can_be_read_for_ever() -> None:
    text = 'not (active gt "a")'

    assert isinstance(parse(text), Not)
    with pytest.raises(FilterError):
        parse_asked(text)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("userName", ["Ada@Example.org"]),
        ("department", ["Éngines"]),
        ("location", ["London"]),
        ("tags", ["red", "Blue"]),
        ("EMAILS.VALUE", ["ada@example.org", "a@home.example"]),
        ('emails[type eq "home"].value', ["a@home.example"]),
        (f"{ENTERPRISE_URN}:manager.value", ["p-2"]),
        ("nickName", []),
        ("nothing", []),
    ],
)
def test_value_at_reads_a_path(path: str, values: list[Any]) -> None:
    assert value_at(ADA, path) == values


def test_a_whole_extension_is_a_path_of_its_own() -> None:
    assert split_path(ENTERPRISE_URN).names == (ENTERPRISE_URN,)
    assert split_path("urn:example:params:2.0:User:tag").names == ("urn:example:params:2.0:User", "tag")
