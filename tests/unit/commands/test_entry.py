"""A verb loads what it needs, and finds all that it needs."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from app import commands
from app.commands.entry import FAMILIES, SUMMARIES, doorlist

pytestmark = pytest.mark.slow

HOUSE = Path(__file__).parents[3]
FOLDS = """
import sys, tempfile
from sqlalchemy import text
from app.assembly import without_doors
from app.database import db
from app.settings import from_environment

app = without_doors(from_environment({"DOORLIST_HOME": tempfile.mkdtemp(dir=sys.argv[1])}))
with app.app_context():
    print(db.session.scalar(text("SELECT doorlist_fold('ÅSA')")))
"""
EACH = """
import os, sys
import click
import app.assembly
from app.commands.entry import FAMILIES, doorlist

for word in FAMILIES:
    child = os.fork()
    if child == 0:
        doorlist.get_command(click.Context(doorlist), word)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        print(word)
"""

COLLECTING = """
import gc, sys
from app.commands import entry
from app.program import main

def run(_made):
    print(gc.isenabled(), gc.get_freeze_count() > 10_000)

entry.run = run
main()
"""


def alone(script: str, *arguments: str) -> str:
    """What it prints in a process that has loaded nothing yet."""
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, cwd=HOUSE).stdout.strip()


@pytest.mark.parametrize("word", FAMILIES)
def test_the_modules_of_a_word_know_it_and_no_word_that_is_not_theirs(word: str) -> None:
    group = click.Group()
    for family in FAMILIES[word]:
        import_module(f"app.commands.{family}").add_to(group)

    assert word in group.commands
    assert all(set(FAMILIES[one]) == set(FAMILIES[word]) for one in group.commands)


@pytest.mark.slow
def test_no_word_needs_what_another_has_loaded() -> None:
    assert alone(EACH) == ""


def test_no_module_with_verbs_is_left_out() -> None:
    modules = {one.name: import_module(f"app.commands.{one.name}") for one in pkgutil.iter_modules(commands.__path__)}

    assert {name for name, module in modules.items() if hasattr(module, "add_to")} == {family for families in FAMILIES.values() for family in families}


def test_a_word_that_there_is_not_is_no_command() -> None:
    assert doorlist.get_command(click.Context(doorlist), "stauts") is None


def test_a_verb_loads_no_other() -> None:
    script = "from app.commands.entry import doorlist; import sys; doorlist.main(['status', '--help'], standalone_mode=False); print(sorted(sys.modules))"

    loaded = alone(script)
    assert "'app.commands.watching'" in loaded
    assert "'app.commands.doctor'" not in loaded and "'app.commands.serving'" not in loaded


def test_the_list_of_verbs_says_what_each_is_about_and_loads_none() -> None:
    script = "from app.commands.entry import doorlist; import sys; doorlist.main(['--help'], standalone_mode=False); print(sorted(sys.modules))"

    said, _, loaded = alone(script).rpartition("\n")
    listed = dict(line.split(maxsplit=1) for line in said.partition("Commands:\n")[2].splitlines())
    assert listed == SUMMARIES
    assert SUMMARIES.keys() == FAMILIES.keys()
    assert not any(f"'app.commands.{family}'" in loaded for families in FAMILIES.values() for family in families)


def test_a_verb_loads_no_migrations(tmp_path: Path) -> None:
    run = "doorlist.main([*sys.argv[2:]], standalone_mode=False, obj=lambda: without_doors(from_environment({'DOORLIST_HOME': sys.argv[1]})))"
    script = f"import sys; from app.assembly import without_doors; from app.commands.entry import doorlist; from app.settings import from_environment; {run}; print([one for one in sys.modules if one.startswith('alembic')])"

    assert "alembic.script" in alone(script, str(tmp_path), "init", "--organization", "Acme").splitlines()[-1]
    assert alone(script, str(tmp_path), "status").splitlines()[-1] == "[]"


def test_a_connection_can_fold_from_the_first(tmp_path: Path) -> None:
    """What compares names may be loaded by a verb that is connected already."""
    assert alone(FOLDS, str(tmp_path)) == "åsa"


def test_what_the_program_is_made_of_is_never_looked_through_and_what_it_makes_is() -> None:
    assert alone(COLLECTING) == "True True"
