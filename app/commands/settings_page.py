"""`docs/settings.md`, made from the docstrings of the settings, so that the page cannot say something else than the code.

`python -m app.commands.settings_page > docs/settings.md` writes it anew; a test compares.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from itertools import pairwise

from app import settings
from app.directory.settings import DEFAULTS

HEAD = """# Settings

This page is made from the code by `python -m app.commands.settings_page > docs/settings.md`.

## Of the process

Read from the environment when a process starts. A value that cannot be used ends it at once, naming the setting.

"""

ORGANIZATION = """
## Of an organisation

Kept in the database; `doorlist settings list` shows them, `doorlist settings set KEY VALUE` changes one, and the
change is in the journal.

"""

MEANINGS = {
    "hr_key": "the attribute that `employee_id` of an HR call is matched to: `employeeNumber`, or `none` (every call is then parked)",
    "leaving_voice": "whose *off* means *departed*: `hr`, `directory`, or `auto` (HR once an HR source exists, else the directory); "
    "the others' *off* means *paused*. Frozen with each statement when it is made",
    "matching": "the attribute by which records of several directories are joined to one person: `employeeNumber` or `none`",
    "push_brake": "how many deactivations of one source take effect within how many seconds, such as `50/60s`; or `off`",
    "time_zone": "where the last day of work ends, for HR calls that name no zone, such as `Europe/Berlin`",
}


def page() -> str:
    """The whole page."""
    process = "".join(f"* {text}\n" for text in _docstrings())
    organization = "".join(f"* `{key}` (default `{DEFAULTS[key]}`): {MEANINGS[key]}.\n" for key in sorted(DEFAULTS))
    return HEAD + process + ORGANIZATION + organization


def _docstrings() -> Iterator[str]:
    """The string below each field: Python keeps none of them, so they are read from the source."""
    tree = ast.parse(inspect.getsource(settings.Settings))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef)).body
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield str(below.value.value)


if __name__ == "__main__":
    sys.stdout.write(page())
