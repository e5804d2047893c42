"""Expressions of a mapping, written by whoever may set one: nothing of Python is reached, and nothing takes long or grows large."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import pytest
from cel import cel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.intake.mapping import Unmappable, UnusableMapping, apply, compile_mapping
from app.intake.mapping_example import EXAMPLE
from app.intake.mapping_expressions import LONGEST, MOST_BRACKETS, NoValue, UnusableExpression, compile_expression
from app.intake.mapping_functions import FUNCTIONS, LONGEST_LIST, LONGEST_TEXT

PERSON: dict[str, Any] = {
    "key": EXAMPLE.key, "userName": EXAMPLE.user_name, "externalId": EXAMPLE.external_id, "state": "ACTIVE", "active": True, "startsAt": None, "endsAt": None,
    "document": EXAMPLE.document,
}  # fmt: skip


def refused(expression: str) -> str:
    with pytest.raises(UnusableExpression) as error:
        compile_expression(expression)
    return str(error.value)


def fails(expression: str, person: dict[str, Any] = PERSON) -> str:
    with pytest.raises(NoValue) as error:
        compile_expression(expression).value(person)
    return str(error.value)


# Nothing of Python


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('id')", "eval('1')", "getattr(person, 'x')", "person.__class__", "person.document.__class__", "person.document.title.__class__",
        "person.userName.format(person)", "person.userName.join(['a'])[0].__class__", "lower.__globals__", "cel.bind(x, 1, x)", "optional.none()", "type(person)",
        "open('/etc/passwd')", "person['userName'].encode()", "globals()", "bytes('a')", "duration('1h')", "now()",
    ],
)  # fmt: skip
def test_no_name_of_python_or_of_the_library_leads_anywhere(expression: str) -> None:
    with pytest.raises((UnusableExpression, NoValue)):
        compile_expression(expression).value(PERSON)


@pytest.mark.parametrize(
    "expression",
    ["person['__cl' + 'ass__']", "person.document['__dict__' + '']", "('a' + 'b')['upper' + '']", "person.document['keys' + '']"],
)
def test_no_key_is_an_attribute_of_an_object(expression: str) -> None:
    fails(expression)


def test_functions_take_plain_values_and_give_plain_values() -> None:
    class Sly(str):
        __slots__ = ()

        def lower(self) -> Any:
            return object()

    assert type(compile_expression("lower(person.userName) + ''").value({**PERSON, "userName": Sly("ADA")})) is str
    assert sorted(FUNCTIONS) == sorted(
        (
            "after",
            "ascii",
            "before",
            "coalesce",
            "each",
            "first",
            "join",
            "lower",
            "ofType",
            "replace",
            "split",
            "substring",
            "trim",
            "upper",
        )
    )


# Length and depth


def test_an_expression_is_short() -> None:
    assert "1001 characters long; at most 1000" in refused("'" + "a" * (LONGEST - 1) + "'")


@pytest.mark.parametrize(("opening", "closing"), [("(", ")"), ("[", "]"), ("{'a': ", "}"), ("lower(", ")"), ("string(-(", "))")])
def test_brackets_are_few_so_that_none_are_deep(opening: str, closing: str) -> None:
    deep = MOST_BRACKETS + 1

    assert "opening brackets; at most 50" in refused(opening * deep + "1" + closing * deep)


def test_brackets_in_a_text_count_as_well_since_only_the_library_knows_where_a_text_ends() -> None:
    assert "51 opening brackets" in refused("'" + "(" * 51 + "'")


DEEPEST = """
import threading
from app.intake.mapping_expressions import NoValue, UnusableExpression, compile_expression
written = ["(" * 50 + "1" + ")" * 50, "[" * 50 + "]" * 50, "{'a':" * 50 + "1" + "}" * 50, "lower(" * 50 + "'a'" + ")" * 50, "!" * 990 + "true", "- " * 490 + "1",
           "+".join(["1"] * 500), "true?1:" * 140 + "1", "true?" * 140 + "1" + ":1" * 140, "person" + ".a" * 490, "'a'" + ".lower()" * 49, "1" + "<1" * 490]
def go():
    for text in written:
        try:
            compile_expression(text).value({"document": {}})
        except (NoValue, UnusableExpression):
            pass
    print("alive")
threading.stack_size(512 * 1024)
thread = threading.Thread(target=go)
thread.start()
thread.join()
"""


def test_the_deepest_that_is_let_through_ends_no_process_on_a_small_stack() -> None:
    # The library's parser dies of a hundred brackets there, and takes the whole process along.
    ended = subprocess.run([sys.executable, "-c", DEEPEST], capture_output=True, text=True, timeout=120, check=False)

    assert (ended.returncode, ended.stdout.strip()) == (0, "alive"), ended.stderr[-500:]


# Loops


@pytest.mark.parametrize(
    "expression",
    [
        "person.document.emails.map(a, person.document.emails.map(b, 1))",
        "['a'].map(x, x + x).map(x, x + x)",
        "[1].filter(x, true).exists(x, true)",
        "[1] . map ( x , [2] . map ( y , 1 ) )",
        "[1].all(x, [1].exists_one(y, true))",
        "[1].existsOne(x, [1].all(y, true))",
    ],
)
def test_there_is_one_loop_at_most(expression: str) -> None:
    assert "more than one loop" in refused(expression)


@pytest.mark.parametrize("between", ["\n", "\r\n", "//\n", "\t", "\x0c", "\u2028"])
def test_no_second_loop_hides_behind_a_comment_or_an_odd_blank(between: str) -> None:
    assert "one line" in refused(f"[1].map(x, [2].{between}map(y, 1))")


@pytest.mark.parametrize(
    "macro",
    [
        "transformList(i, v, v)",
        "transformMap(i, v, v)",
        "fold(a, b, a)",
        "reduce(a, b, a)",
        "sortBy(x, x)",
        "exists(i, v, true)",
        "all(i, v, true)",
    ],
)
def test_no_other_loop_is_known(macro: str) -> None:
    assert "there is no function" in refused(f"[1].{macro}")


# Time and memory


WORST = [
    # One loop over the longest list there can be, with the longest body.
    "split(person.document.title, '-').map(x, " + "+".join(["x"] * 470) + ")",
    "split(person.document.title, '-').map(x, " + "+".join(["person.key"] * 85) + ")",
    "[" + ",".join(["0"] * 210) + "].filter(x, " + " || ".join(["person.key.contains('ab')"] * 19) + ")",
    "split(person.document.title, '-').map(x, split(person.key, 'a'))",
    "split(person.document.title, '-').map(x, ascii(upper(lower(trim(person.key)))))",
    "split(person.document.title, '-').map(x, replace(person.key, 'a', 'bb'))",
    "+".join(["person.key"] * 90),
    "[" + "+".join(["split(person.key,'a')"] * 45) + "]",
]


@pytest.mark.parametrize("expression", WORST)
def test_the_worst_that_is_let_through_is_over_soon(expression: str) -> None:
    person = {**PERSON, "key": "a" * LONGEST_TEXT, "document": {"title": "-".join(["b" * 19] * (LONGEST_LIST - 1))}}
    asked = compile_expression(expression)
    before = time.thread_time()

    with suppress(NoValue):
        asked.value(person)

    assert time.thread_time() - before < 1


BOUNDED = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from tests.attacks.test_mapping import PERSON, WORST
from app.intake.mapping_expressions import NoValue, compile_expression
person = {**PERSON, "key": "a" * 2000, "document": {"title": "-".join(["b" * 19] * 99)}}
for text in WORST:
    try:
        compile_expression(text).value(person)
    except NoValue:
        pass
# Not `ru_maxrss`, which begins with what the process had that started this one.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_the_worst_that_is_let_through_needs_little_memory() -> None:
    ended = subprocess.run([sys.executable, "-c", BOUNDED], capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode == 0, ended.stderr[-500:]
    assert int(ended.stdout) < 300


def test_no_pattern_takes_long_since_there_are_none() -> None:
    assert "there is no function matches" in refused("person.userName.matches('((((a{0,100}){0,100}){0,100}){0,100}){0,100}')")


# What it is given


def test_it_is_given_no_long_text() -> None:
    assert f"longer than {LONGEST_TEXT} characters" in fails("person.userName", {**PERSON, "userName": "a" * (LONGEST_TEXT + 1)})


def test_it_is_given_no_long_list() -> None:
    many = [{"value": str(number), "type": "work"} for number in range(LONGEST_LIST + 1)]

    assert f"more than {LONGEST_LIST} values" in fails("person.document.emails", {**PERSON, "document": {"emails": many}})


def test_it_is_given_not_much_altogether() -> None:
    long = {name: "a" * LONGEST_TEXT for name in "abcdef"}

    assert "10000 characters together" in fails("person.document['urn:x:y']", {**PERSON, "document": {"urn:x:y": long}})


def test_it_is_given_nothing_deep() -> None:
    deep: Any = "a"
    for _ in range(5_000):
        deep = [deep]

    assert "nested deeper than 8" in fails("person.document['urn:x:y'].z", {**PERSON, "document": {"urn:x:y": {"z": deep}}})


@pytest.mark.parametrize("odd", ["\ud800", object(), {"a": {1, 2}}, {None: "a"}])
def test_what_no_expression_can_read_sets_one_person_aside(odd: Any) -> None:
    fails("person.document['urn:x:y'].z", {**PERSON, "document": {"urn:x:y": {"z": odd}}})


# What it gives


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("replace(person.key, 'a', person.key)", "replace() would make a text of more than 2000 characters"),
        ("join(split(person.key, 'a'), person.key)", "join() would make a text of more than 2000 characters"),
        ("upper(person.document.title)", "upper() would make a text of more than 2000 characters"),
        ("split(person.key, 'a')", "split() would make more than 100 parts"),
    ],
)
def test_no_function_makes_much_of_little(expression: str, sentence: str) -> None:
    person = {**PERSON, "key": "a" * 300 if "join" not in expression else "ab" * 90, "document": {"title": "ß" * 1_500}}

    assert sentence in fails(expression, person)


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ({"title": "+".join(["person.document.displayName"] * 30) + " + '" + "a" * 150 + "'"}, None),
        ({"title": "'a' + replace('" + "a" * 200 + "', 'a', 'aaaaaaaaaa')"}, "longer than 2000 characters"),
        ({"emails": "[" + ",".join(["'a'"] * 101) + "]"}, "it has 101 values; at most 100"),
        ({"userName": "'\\u0000'"}, "a character that no database keeps"),
    ],
)
def test_no_attribute_becomes_large_or_unstorable(mapping: dict[str, str], sentence: str | None) -> None:
    compiled = compile_mapping(mapping)
    if sentence is None:
        assert len(apply(compiled, EXAMPLE).document["title"]) < 2_000
        return

    with pytest.raises(Unmappable) as aside:
        apply(compiled, EXAMPLE)

    assert sentence in str(aside.value)


# Whatever is written


WORDS = [
    *("person", ".", "document", "userName", "emails", "name", "[", "]", "(", ")", "{", "}", "'a'", '"', "'", "0", "1", "-1", "1.5", "null", "true", "==", "+", "-", "*", "/", "%"),
    *("?", ":", ",", " ", "&&", "||", "!", "<", "in", "has", "size", "map", "filter", "exists", "x", "e", "lower", "split", "join", "first", "coalesce", "ofType", "string", "int"),
    *("//", "\\", "`", "r'", "b'", "'''", "\n", "urn:x", "é", "\U0001f600", "__class__", "9223372036854775807", "1e999", "0x", "1u", ".?", "[?"),
]  # fmt: skip


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(WORDS), max_size=25).map("".join))
def test_whatever_is_written_ends_in_a_value_or_a_sentence(text: str) -> None:
    try:
        compile_expression(text).value(PERSON)
    except (UnusableExpression, NoValue) as error:
        assert str(error)


NAMES = [
    *("person.userName", "person.document.title", "person.document.nickName", "person.document.name", "person.document.name.givenName", "person.document.emails"),
    *("person.document.name.middleName", "person['userName']", "person.document['ti' + 'tle']", "person.document.emails[0].value", "has(person.document.nickName)"),
    *("has(person.document.title)", "has(person.document.name)", "has(person.document.name.middleName)", "'nickName' in person.document", "'a person'", "null", "true"),
    *("size(person.document.name) == 1", "person.document.exists(k, k == 'nickName')", "coalesce(person.document.nickName, 'x')", "'person.document.name'"),
]  # fmt: skip


def joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner, inner).map(lambda parts: "({} ? {} : {})".format(*parts)),
        st.tuples(inner, st.sampled_from(("&&", "||", "==", "+", ",")), inner).map(lambda parts: "[{} {} {}][0]".format(*parts)),
    )


@settings(max_examples=800, deadline=None)
@given(st.recursive(st.sampled_from(NAMES), joined, max_leaves=8))
def test_what_a_whole_person_would_give_a_part_of_them_gives_as_well(text: str) -> None:
    person = {
        **PERSON,
        "document": {name: value for name, value in EXAMPLE.document.items() if name != "nickName"} | {"name": {"givenName": "Ada"}},
    }
    try:
        whole = cel.compile(text).execute(cel.Context({"person": person}, dict(FUNCTIONS)))
        asked = compile_expression(text)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        return

    assert asked.value(person) == whole


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30), max_size=3))
def test_whatever_is_mapped_ends_in_a_person_or_a_sentence(mapping: dict[str, str]) -> None:
    try:
        apply(compile_mapping(mapping), EXAMPLE)
    except (UnusableMapping, Unmappable) as error:
        assert str(error)
