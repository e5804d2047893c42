"""The house keeps its shape: names of rooms, what stands at the top, how long a module may get."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
WINGS = ("app", "connectors", "migrations", "tests")

# Names under which anything could be put, so that nothing can be found.
NAMES_THAT_SAY_NOTHING = frozenset(
    {"base", "common", "core", "helpers", "lib", "manager", "misc", "service", "shared", "utils"}
)

TOP_LEVEL = frozenset(
    {"app", "connectors", "docs", "migrations", "tests", "wsgi.py", "pyproject.toml", "requirements.lock", "image.lock"}
    | {"CONTRIBUTING.md", "LICENSE", "README.md", "Dockerfile", "Makefile"}
    | {".ci", ".dockerignore", ".gitignore"}
)

LONGEST_MODULE = 400
# Module, and why it is one subject all the same.
LONGER_FOR_A_REASON: dict[str, str] = {
    "migrations/versions/0001_the_first_schema.py": "the first schema is made whole or not at all",
}


def modules() -> list[Path]:
    return [HOUSE / "wsgi.py", *(path for wing in WINGS for path in sorted((HOUSE / wing).rglob("*.py")))]


def name_of(path: Path) -> str:
    return path.relative_to(HOUSE).as_posix()


def length_of(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_every_room_is_named_after_its_subject() -> None:
    nameless = [
        name_of(path)
        for path in modules()
        if NAMES_THAT_SAY_NOTHING & {path.stem, *path.relative_to(HOUSE).parent.parts}
    ]

    assert nameless == []


def test_nothing_else_stands_at_the_top() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")

    at_the_top = {line.partition("/")[0].strip('"') for line in listed.stdout.splitlines()}

    assert at_the_top - TOP_LEVEL == set()


def test_no_module_is_long_without_a_reason() -> None:
    long = {name_of(path): length_of(path) for path in modules() if length_of(path) > LONGEST_MODULE}

    assert {name: length for name, length in long.items() if name not in LONGER_FOR_A_REASON} == {}
    assert set(LONGER_FOR_A_REASON) <= set(long), "a reason is kept for a module that is short again"


def test_every_module_says_what_lives_there() -> None:
    silent = [name_of(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_bytes()))]

    assert silent == []


def test_every_folder_of_modules_is_a_package() -> None:
    # mypy and pytest tell modules of the same name apart by their packages; Alembic's are run by path.
    folders = {path.parent for path in modules()} - {HOUSE}
    loose = [
        name_of(folder)
        for folder in sorted(folders)
        if not (folder / "__init__.py").exists() and "migrations" not in folder.relative_to(HOUSE).parts
    ]

    assert loose == []


def test_the_contract_of_connectors_needs_only_the_standard_library() -> None:
    tree = ast.parse((HOUSE / "connectors" / "contract.py").read_bytes())
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]

    foreign = [name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names]

    assert foreign == []


def locked(name: str) -> dict[str, str]:
    """What a lock names, and at which version."""
    lines = (HOUSE / name).read_text().splitlines()
    return dict(line.partition(" ")[0].split("==") for line in lines if line[:1].isalnum())


def wanted(names: list[str]) -> set[str]:
    """The packages of a list in `pyproject.toml`."""
    return {re.split(r"[^A-Za-z0-9-]", name)[0].lower() for name in names}


def test_the_image_has_what_runs_as_it_was_tested_and_no_tools_of_tests() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    image, everything = locked("image.lock"), locked("requirements.lock")

    assert image.items() <= everything.items()
    assert wanted(project["dependencies"]) | wanted(extras["build"]) <= image.keys()
    # What security keys speak is needed by who checks them as well.
    assert wanted(extras["dev"]) & image.keys() == {"cbor2"}
    assert wanted(extras["dev"]) <= everything.keys()
