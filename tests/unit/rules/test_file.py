"""The rule file: what it may say, and what is said of a mistake in it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.file import Joining, Rule, RuleError, as_data, from_data, parse, read_span, say_span

WHOLE = """
rules:
  - id: everyone
    name: all-hands
  - id: departments
    where: 'userType eq "Employee"'
    for_each: department
    name: "dept-{{ key | slug }}"
    topic: "{{ key }}: everyone in the department"
    parent: company
    keep_for: 14 days
    archive_after: 2 weeks
  - id: teams
    for_each: manager
    name: "team-{{ manager.userName | slug }}"
    owners: [manager]
  - id: groups
    for_each: group
    name: "grp-{{ group.displayName | slug }}"
    membership: added
"""


def test_a_file_is_read_whole() -> None:
    everyone, departments, teams, groups = parse(WHOLE)

    assert everyone == Rule(id="everyone", name="all-hands")
    assert (departments.keep_for, departments.archive_after) == (timedelta(days=14), timedelta(days=14))
    assert (departments.parent, departments.topic) == ("company", "{{ key }}: everyone in the department")
    assert teams.owners == ("manager",)
    assert groups.membership is Joining.ADDED


def test_a_stored_revision_says_the_same_rules() -> None:
    rules = parse(WHOLE)

    assert from_data(json.loads(json.dumps(as_data(rules)))) == rules
    assert from_data(as_data(rules)["rules"]) == rules


def test_no_rules_are_rules_too() -> None:
    assert parse("rules: []") == ()


@given(st.integers(min_value=0, max_value=60 * 24 * 365))
def test_a_span_is_read_as_it_is_said(minutes: int) -> None:
    span = timedelta(minutes=minutes)

    if len(say_span(span).split()[0]) <= 5:
        assert read_span(say_span(span)) == span


def one(**fields: object) -> str:
    """A file of one rule, each field on a line of its own; `id` and `name` stand on lines 2 and 3."""
    said = {"id": "x", "name": "x", **fields}
    return "rules:\n- " + "\n  ".join(f"{name}: {value}" for name, value in said.items())


@pytest.mark.parametrize(
    ("text", "line", "field", "hint"),
    [
        ("", 1, None, "empty"),
        ("rulez: []", 1, "rulez", "did you mean 'rules'"),
        ("rules: {}", 1, "rules", "must be a list"),
        ("rules:\n- everyone", 2, None, "starts with '- id:'"),
        ("rules: [", 1, None, "not YAML"),
        ("rules:\n- name: x", 2, "id", "needs this field"),
        ("rules:\n- id: x", 2, "name", "needs this field"),
        (one(foreach="department"), 4, "foreach", "did you mean 'for_each'"),
        (one(wehre="x"), 4, "wehre", "did you mean 'where'"),
        (one(keep="x"), 4, "keep", "did you mean 'keep_for'"),
        (one(where="userType equals x"), 4, "where", "userType equals x"),
        (one(where="''"), 4, "where", "leave the field out"),
        (one(where=""), 4, "where", "leave the field out"),
        (one(for_each="'a b'"), 4, "for_each", "a b"),
        (one(for_each="""'addresses[type co "w"].locality'""", topic="'{{ key }}'"), 4, "for_each", "eq"),
        (one(for_each="department"), 3, "name", "tell them apart"),
        (one(name="'{{ key }}'"), 3, "name", "needs a 'for_each'"),
        (one(name="'{{ kye }}'", for_each="department"), 3, "name", "did you mean 'key'"),
        (one(name="'{{ manager.x }}'", for_each="department"), 3, "name", "'manager' is not known"),
        (one(name="'{{ key | slugg }}'", for_each="department"), 3, "name", "no filter 'slugg'"),
        (one(name="'{{ key'", for_each="department"), 3, "name", "not a template"),
        (one(topic="'{% for a in key %}a{% endfor %}'", name="'{{ key }}'", for_each="department"), 4, "topic", "loops"),
        (one(topic="""'{{ "a" * 1000000000 }}'"""), 4, "topic", "multiplication"),
        (one(topic="""'{{ key.ljust(1000000000) }}'""", name="'{{ key }}'", for_each="department"), 4, "topic", "calls"),
        (one(membership="enforce"), 4, "membership", "did you mean 'enforced'"),
        (one(private="maybe"), 4, "private", "true or false"),
        (one(keep_for="14"), 4, "keep_for", "14 days"),
        (one(keep_for="two weeks"), 4, "keep_for", "14 days"),
        (one(archive_after="-1 days"), 4, "archive_after", "14 days"),
        (one(owners="manager"), 4, "owners", "must be a list"),
        (one(owners="[manager]"), 4, "owners", "for_each: manager"),
        (one(name="42"), 3, "name", "put it in quotes"),
        (one(name="2026-13-45T99:00:00Z"), 3, "name", "cannot be read"),
        ("rules:\n- {id: x, name: a}\n- {id: x, name: b}", 3, "id", "already"),
        ("rules:\n- id: x\n  name: a\n  name: b", 4, "name", "twice"),
        ("rules:\n- id: 'a b'\n  name: a", 2, "id", "letters, digits"),
        ("rules: !!python/object/apply:os.system [x]", 1, None, "id"),
        ("rules:\n- id: x\n  name: !!python/object/apply:os.system [x]", 3, "name", "cannot be read"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(text: str, line: int, field: str | None, hint: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse(text)

    assert hint in str(caught.value)
    assert (caught.value.line, caught.value.field) == (line, field)


def test_a_mistake_names_its_rule() -> None:
    with pytest.raises(RuleError, match=r"line 4, rule 'x', field 'wehre': there is no such field; did you mean 'where'\?"):
        parse(one(wehre="x"))


def test_deep_nesting_is_refused_in_words() -> None:
    with pytest.raises(RuleError):
        parse("rules: " + "[" * 5000)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        parse("rules:\n- id: x\n  name: " + text)
    except RuleError as error:
        assert str(error)


def test_defaults_are_the_careful_ones() -> None:
    (rule,) = parse("rules:\n- {id: x, name: x}")

    assert rule == replace(rule, private=True, encrypted=False, federated=False, membership=Joining.ENFORCED, keep_for=timedelta(0))


@pytest.mark.parametrize("sign", [r"\0", r"\ud800"])
@pytest.mark.parametrize("field", ["name", "topic", "parent", "owners"])
def test_what_no_database_can_keep_is_refused(field: str, sign: str) -> None:
    text = f'"x{sign}y"'
    said = {"id": "a", "name": "b", field: f"[{text}]" if field == "owners" else text}

    with pytest.raises(RuleError, match=f"line 2, rule 'a', field '{field}': it holds a character that no text can hold"):
        parse("rules:\n- {" + ", ".join(f"{name}: {value}" for name, value in said.items()) + "}")


@pytest.mark.parametrize("field", ["name", "private", "keep_for", "membership", "owners"])
def test_a_mistake_is_named_briefly(field: str) -> None:
    """Of aliases that hold aliases: written out, the last one has a hundred million words."""
    lists = ["&l0 [x, x, x, x, x, x, x, x, x, x]", *(f"&l{level} [{', '.join([f'*l{level - 1}'] * 10)}]" for level in range(1, 8))]
    topic, value = ", ".join(lists), "*l7"

    with pytest.raises(RuleError) as found:
        parse(f"rules:\n- topic: [{topic}]\n  {field}: {value}\n  id: a\n" + ("" if field == "name" else "  name: b\n"))

    assert len(str(found.value)) < 500
