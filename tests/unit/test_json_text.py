"""JSON that others send: what is wrong with it is named, and none of it is repeated. And JSON that we write."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from app.json_text import UnreadableJSON, read_json, write_json
from tests.unit.json_values import VALUES


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (b"NaN", "NaN is not JSON"),
        (b"Infinity", "Infinity is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"1e999", "a number in it is too large"),
        (b"-7.7e999", "a number in it is too large"),
        (b"7" * 5000, "a number in it has too many digits"),
        (b"7" * 5000 + b".7", "a number in it is too large"),
        (b"\"\xe9\"", "it is not in UTF-8"),
        (b"tru", "Expecting value, line 1"),
        (b"[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_is_wrong_is_named(value: bytes, wrong: str, unique: bool) -> None:
    with pytest.raises(UnreadableJSON) as refused:
        read_json(b'{"salary": ' + value + b"}", unique=unique)

    assert str(refused.value) == wrong


def test_numbers_that_can_be_held_are_read() -> None:
    assert read_json(b"[1e308, -0.0, 12345678901234567890, 1e-999]") == [1e308, 0.0, 12345678901234567890, 0.0]


@given(VALUES)
def test_what_is_written_is_read_as_the_same(value: Any) -> None:
    assert json.loads(write_json(value)) == value


def test_nothing_is_escaped_but_what_must_be() -> None:
    assert write_json({"name": "Nguyễn \"O'Neil\"", "half": "\ud83d", "long": 10**30}) == '{"name":"Nguyễn \\"O\'Neil\\"","half":"\ud83d","long":1' + "0" * 30 + "}"


@pytest.mark.parametrize(("value", "written"), [("nan", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity")])
def test_a_number_that_is_none_does_not_become_null(value: str, written: str) -> None:
    assert write_json({"active": float(value), "title": None}) == f'{{"active":{written},"title":null}}'


@dataclass
class _Somebody:
    name: str


@pytest.mark.parametrize("value", [_Somebody("Ada"), datetime.now(UTC), {1, 2}, b"bytes"])
def test_what_is_no_json_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError):
        write_json({"value": value})
