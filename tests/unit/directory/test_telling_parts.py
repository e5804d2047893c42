"""Which part of a text the index of names is asked for."""

import pytest

from app.directory.name_parts import most_telling, told, trigrams_of

NAMES_OF_A_SAMPLE = "{" + ",".join(f"user{number:07d}@northwind.example" for number in range(0, 1_000_000, 9_901)) + "}"


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([1000, 1000, 7, 5, 9, 1000], "01234"), ([3, 1000, 1000, 1000, 1000, 1000], "r00"), ([1000, 1000, 1000, 1000, 1000, 2], "34@"),
        ([0, 0, 0, 0, 0, 0], "r001234@"), ([1000] * 6, "r001234@"),
    ],
)  # fmt: skip
def test_the_index_is_asked_for_the_rare_part_of_a_text(numbers: list[int], told: str) -> None:
    trigrams = ["r00", "001", "012", "123", "234", "34@"]

    asked = most_telling(trigrams, numbers)

    assert asked == told
    assert asked in "r001234@"


def test_a_text_has_the_trigrams_up_to_its_domain() -> None:
    assert trigrams_of("a.kim@northwind.example") == ["a.k", ".ki", "kim", "im@"]
    assert trigrams_of("x@northwind") == ["x@n", "@no", "nor", "ort", "rth", "thw", "hwi", "win", "ind"]
    assert trigrams_of("ab") == []
    assert most_telling(["abc"], [4]) == "abc"


@pytest.mark.parametrize(
    ("wanted", "sample", "asked"),
    [
        # Without a sample, and of those that are alike: the first, the last and the one between.
        ("r0543210@", "", ["r05", "432", "10@"]), ("user0543210@north", "", ["use", "543", "10@"]), ("lovelacea", "", ["lov", "ela", "cea"]),
        # Everybody has the beginning, and a tenth the first figure.
        ("user0543210@north", NAMES_OF_A_SAMPLE, ["054", "321", "10@"]), ("r0543210@", NAMES_OF_A_SAMPLE, ["054", "321", "10@"]),
        # All are in many: the rarest.
        ("user0", NAMES_OF_A_SAMPLE, ["use", "ser", "er0"]), ("user05", NAMES_OF_A_SAMPLE, ["r05"]),
        ("ada", "", ["ada"]), ("lace", "", ["lac", "ace"]), ("adadada", "", ["ada", "dad"]),
        # pg_trgm makes no trigram of what has another sign in its middle, and which signs are letters depends on the locale.
        ("a.kim", "", [".ki", "kim"]), ("a.b.c", "", ["a.b.c"]), ("x%_y", "", [r"x\%\_y"]), ("a_kim", "", [r"\_ki", "kim"]),
        ("jürgen", "", ["rge", "gen"]), ("日本語", "", ["日本語"]), ("ab", "", ["ab"]), ("%", "", [r"\%"]), ("\\", "", [r"\\"]), ("", "", [""]),
    ],
)  # fmt: skip
def test_postgresql_is_asked_for_a_few_trigrams_far_from_each_other(wanted: str, sample: str, asked: list[str]) -> None:
    assert told(wanted, "postgresql", sample=sample) == tuple(f"%{one}%" for one in asked)
