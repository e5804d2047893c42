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
change is in the journal. What cannot be used is not taken. Where another hand or another version stored it all the same, the
default counts, and `doorlist status` and `doorlist doctor` name it. With `approvals` that cannot be read nothing is let through.

"""

MEANINGS = {
    "alarm_escalation": "after how long an alarm that nobody acknowledged goes to the second list, such as `90s`, `15m` or `2h`; or `off`",
    "attribute_precedence": "which sources, by name, count first for single attributes where several speak of one person, as JSON such as "
    "`{\"department\": [\"workday\", \"okta\"]}`; else the one of the lowest rank",
    "approvals": "how many administrators it takes to let through what is held: `1` or `2`",
    "contractor_longest": "for how long ahead a sponsor may vouch for somebody who is no employee, such as `90d`",
    "contractor_types": "which values of `userType` say that somebody is no employee, parted by commas such as `Contractor,Intern`; or `none`",
    "erase_after": "how long after a departure what somebody wrote is erased in the workspaces, such as `90d`; or `off`. "
    "Never earlier, and never while a legal hold stands",
    "gone_after": "how long after a pulled source first answered that somebody is not there a second such answer counts, such as `60s`, `5m` or `0s`",
    "handover": "who takes over the channels that would lose their owner with a leaver: `manager` (the first above who has access), userNames, "
    "or several of these in the order in which they are asked, parted by commas; or `none`",
    "hr_key": "the attribute that `employee_id` of an HR call is matched to: `employeeNumber`, or `none` (every call is then parked)",
    "leaving_voice": "whose *off* means *departed*: `hr`, `directory`, or `auto` (HR once an HR source exists, else the directory); "
    "the others' *off* means *paused*. Frozen with each statement when it is made",
    "matching": "by what records of several directories are joined to one person: `none`, or some of `employeeNumber`, `email` and `userName` in the "
    "order in which they count, such as `employeeNumber,email` ([whose a record is](matching.md))",
    "pull_brake": "what the pulls of a source may take before it is held, from people within 24 hours and of memberships by one pull: a share of "
    "what the source has, up to how many the share means nothing, and how many they never take, such as `20%,10,500`; or `off`",
    "push_brake": "how many deactivations of one source take effect within how many seconds, such as `50/60s`; or `off`",
    "role_groups": "which groups, by name or id, give which role here, as JSON such as `{\"admin\": [\"IT\"], \"owner\": [\"Founders\"]}`; "
    "roles are `owner`, `admin`, `auditor` and `helpdesk`, and whoever has one needs a second factor to sign in",
    "session_absolute": "how long a sign-in lasts at most, such as `12h`; a provider may vouch for less",
    "session_idle": "after how long without use a sign-in ends, such as `30m`",
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
