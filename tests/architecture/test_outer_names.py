"""No comprehension takes over a name of the function around its own: Python 3.12 to 3.14 then lose that one for functions further in.

https://github.com/python/cpython/issues/121377 and 156664. Looked for in the text, since Python 3.11 has no such fault.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = sorted(path for folder in ("app", "connectors", "migrations") for path in (REPOSITORY / folder).rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp


def taken_over(tree: ast.Module) -> list[str]:
    """Line and name of each such comprehension."""
    return sorted(f"{line}: {name}" for name, line in _within(tree, outer=frozenset()))


def _within(node: ast.AST, *, outer: frozenset[str]) -> Iterator[tuple[str, int]]:
    for function in (one for one in _own(node) if isinstance(one, Function)):
        targets = {name.id: one.lineno for one in _own(function) if isinstance(one, Comprehension) for name in _targets(one)}
        # Names of the comprehensions' own are not the function's.
        inner = {id(name) for one in _own(function) if isinstance(one, Comprehension | ast.GeneratorExp) for name in _targets(one)}
        names = {one.id for one in _own(function) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) and id(one) not in inner}
        names |= {one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)}
        yield from ((name, line) for name, line in targets.items() if name in outer - names)
        yield from _within(function, outer=frozenset(names))
    for part in (one for one in _own(node) if isinstance(one, ast.ClassDef)):
        yield from _within(part, outer=outer)


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in it, without what stands in functions and classes in it."""
    for part in ast.iter_child_nodes(node):
        yield part
        if not isinstance(part, Function | ast.Lambda | ast.ClassDef):
            yield from _own(part)


def _targets(comprehension: Comprehension | ast.GeneratorExp) -> Iterator[ast.Name]:
    for generator in comprehension.generators:
        yield from (one for one in ast.walk(generator.target) if isinstance(one, ast.Name))


def test_no_comprehension_takes_over_a_name_of_the_function_around_its_own() -> None:
    found = [f"{path.relative_to(REPOSITORY)}:{one}" for path in MODULES for one in taken_over(ast.parse(path.read_text()))]

    assert found == []


LOST = """
def outer(name):
    def inner():
        numbers = {name: number for name, number in ()}
        def innermost(): return name
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LOST, ["4: name"]),
        (LOST.replace("{name: number for name, number in ()}", "{key: number for key, number in ()}"), []),
        (LOST.replace("numbers =", "name ="), []),
    ],
    ids=["lost", "another name", "its own"],
)
def test_such_a_comprehension_is_found(text: str, expected: list[str]) -> None:
    assert taken_over(ast.parse(text)) == expected
