"""One spelling for each value: what was hashed years ago is hashed alike today, whichever writer is the quicker one."""

import json
from typing import Any

import pytest
from hypothesis import given

from app.audit.spelling import canonical
from tests.unit.json_values import VALUES


@given(VALUES)
def test_it_is_what_pythons_own_writer_makes_of_it(value: Any) -> None:
    expected = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")

    assert canonical(value) == expected


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        ({"b": 1, "a": [True, None]}, b'{"a":[true,null],"b":1}'),
        ({"\U0001f600": 1, "\uffff": 2, "Z": 3, "a": 4}, b'{"Z":3,"a":4,"\xef\xbf\xbf":2,"\xf0\x9f\x98\x80":1}'),
        ("\x00\x1f\b\t\n\f\r\x7f\u2028/\"\\", b'"\\u0000\\u001f\\b\\t\\n\\f\\r\x7f\xe2\x80\xa8/\\"\\\\"'),
        ([1e16, 1e-5, 1.0, -0.0], b"[1e+16,1e-05,1.0,-0.0]"),
        (2**64, b"18446744073709551616"),
        ("\ud800", b'"\xed\xa0\x80"'),
        ({1: "one"}, b'{"1":"one"}'),
    ],
)
def test_what_two_writers_could_spell_in_two_ways(value: Any, spelled: bytes) -> None:
    assert canonical(value) == spelled
