"""JSON that others send: what is wrong with it is named, and none of it is repeated."""

import pytest

from app.json_text import UnreadableJSON, read_json


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
