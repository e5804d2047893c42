"""Names: how they are written from keys, and that no template can do more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.templates import LONGEST_NAME, BadTemplate, check, fit_name, is_numbered, render, slug, with_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Research & Development", "research-development"),
        ("  Straße Łódź Ørsted  ", "strasse-lodz-orsted"),
        ("ada.lovelace@example.com", "ada-lovelace-example-com"),
        ("研究開発部", "研究開発部"),
        ("서울", "서울"),
        ("a_b--c", "a-b-c"),
        ("!!!", ""),
    ],
)  # fmt: skip
def test_a_slug_is_plain(text: str, expected: str) -> None:
    assert slug(text) == expected


@given(st.text())
def test_a_slug_of_a_slug_is_itself(text: str) -> None:
    assert slug(slug(text)) == slug(text)


@given(st.text(min_size=1), st.integers(min_value=1, max_value=99_999))
def test_every_name_fits(text: str, number: int) -> None:
    name = with_number(fit_name(text, key="k"), number)

    assert 0 < len(name) <= LONGEST_NAME
    assert is_numbered(name, fit_name(text, key="k"))


def test_what_is_missing_renders_to_nothing() -> None:
    assert render("team-{{ manager.userName }}", {"key": "x", "manager": {}}) == ""


def test_a_template_reads_nothing_but_its_scope() -> None:
    assert render("{{ key.__class__.__mro__ }}", {"key": "x"}) == ""


def test_a_name_is_one_line() -> None:
    assert render("{{ key }}", {"key": " a\n b "}) == "a b"


def test_no_filter_makes_a_text_grow_without_bound() -> None:
    assert render("{{ key" + " | replace('a', 'aaaa')" * 9 + " | last }}", {"key": "a"}) == ""


@pytest.mark.parametrize("template", ["{% set a = key ~ key %}{{ a }}", "{% set a %}{{ key }}{% endset %}{{ a }}", "{% with a = key ~ key %}{{ a }}{% endwith %}"])
def test_no_template_has_words_of_its_own_to_double(template: str) -> None:
    with pytest.raises(BadTemplate, match="words of its own"):
        check(template)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [("replace('a', 'ee')", "beenee"), ("replace('a', 'e', 1)", "bena"), ("replace('a', 'e', -1)", "bene"), ("replace('', '.')", ".b.a.n.a."), ("replace(1, 2)", "bana")],
)  # fmt: skip
def test_what_is_replaced(filters: str, expected: str) -> None:
    assert render(f"{{{{ key | {filters} }}}}", {"key": "bana"}) == expected


@pytest.mark.parametrize(
    "template",
    ["{{ key + 1 }}", "{{ 1 / 0 }}", "{{ key | truncate(2) }}", "{{ key | replace }}", "{{ key[5:1:0] }}", "{{ 1 | first }}", "{{ {group: 1} }}"],
)  # fmt: skip
def test_a_template_that_could_never_be_written_is_refused(template: str) -> None:
    with pytest.raises(BadTemplate, match="cannot be written"):
        check(template)


@pytest.mark.parametrize("template", ["{{ " + "(" * 450 + "key" + ")" * 450 + " }}", "{{ key" + "[0]" * 205 + " }}"])
def test_a_template_too_deep_to_be_read_is_refused(template: str) -> None:
    with pytest.raises(BadTemplate, match="nested too deeply"):
        check(template)


def test_a_value_of_another_kind_is_written_as_nothing() -> None:
    check("team-{{ manager.title | first }}{{ manager.floor + 1 }}")

    assert render("team-{{ manager.title | first }}{{ manager.floor + 1 }}", {"manager": {"title": 7, "floor": "3"}}) == ""


@pytest.mark.parametrize(
    "template",
    ["team{% if manager.title %}-{{ manager.title }}{% endif %}", "{{ manager.title or 'team' }}", "{{ manager.title | default('team') }}", "{% if not manager.name %}team{% endif %}"],
)  # fmt: skip
def test_a_template_can_ask_whether_something_is_there(template: str) -> None:
    assert render(template, {"manager": {}}) == "team"


def test_what_no_text_can_hold_is_left_out() -> None:
    assert render(r"{{ 'a\0b\ud800c' }}", {}) == "abc"
