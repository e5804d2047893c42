"""What most requests look like is recognised first: what comes of it is what would have come of it without."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.audit.masking import MASK, Masking
from app.scim import teller


class Never:
    """An expression that nothing looks like."""

    def fullmatch(self, text: str) -> None:
        return None


@pytest.mark.parametrize(
    "query",
    [
        "filter=userName%20eq%20%22ada%40acme.example%22", "filter=userName+eq+%22ada@acme.example%22&startIndex=1&count=100",
        "filter=displayName%20eq%20%22Sea+and%20sky~._-%22", "filter=externalId%20eq%20%2200u1%22", "filter=userName%20eq%20%22%20a%20%22",
        "filter=userName%20eq%20%22dl_abcdefghijklmnopqrstuv%22", "filter=title%20eq%20%22Captain%22", "filter=userName%20eq%20%22%22",
        "filter=userName%20eq%20%22a%C3%A9%22", "filter=userName%20eq%20%22a%22&token=b", "filter=userName%20eq%20%22a%22&filter=title%20eq%20%22b%22",
    ],
)  # fmt: skip
def test_a_usual_look_up_is_kept_like_any_other(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = teller._asked(query, None, Masking())

    monkeypatch.setattr(teller, "_USUAL_QUERY", Never())

    assert usual == teller._asked(query, None, Masking())


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b'{"id":"0190ab00-0000-7000-8000-000000000001","name":{"id":"x"}}', "0190ab00-0000-7000-8000-000000000001"),
        (b'{"schemas":["urn:a:User"],"id":"0190ab00-0000-7000-8000-000000000001"}', "0190ab00-0000-7000-8000-000000000001"),
        (b'{"name":{"id":"0190ab00-0000-7000-8000-000000000001"},"id":"other"}', "other"),
        (b"{", None),
        (None, None),
    ],
)
def test_the_id_of_what_was_made_is_read_from_its_answer(answer: bytes | None, found: str | None) -> None:
    assert teller._new_id(answer) == found


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"userName": "a", "urn:x:User": {"y": 1}}, ["userName", "y"]),
        ({'a"b': 1, "c\\d": 2, "é": 3, "\ud800": 4, "f\0": 5}, [MASK, MASK, "é", MASK, MASK]),
        ({}, []),
        (None, []),
    ],
)
def test_attributes_are_a_json_list_of_names(body: Any, names: list[str]) -> None:
    assert json.loads(teller._attributes(body)) == names
