"""The public conformance suite `scim2-tester`, every tag of it, against this server."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from scim2_client.engines.wsgi import WSGISCIMClient
from scim2_tester import CheckResult, Status, check_server

from tests.clients.directory import directory_on

MET = {Status.SUCCESS, Status.COMPLIANT, Status.ACCEPTABLE}

# What the suite takes for an error, and is none.
CHOSEN = ("User", "check_remove_attribute", "PATCH modify() did not remove attribute 'active'")
"""Here `active` is always answered: removing it is *off* (false). The suite wants it to be answered no more."""
COMPARED_WITH_WHAT_IS_READ_ONLY = {
    ("Group", "check_add_attribute", "Attribute 'members' was not added or has unexpected value"),
    ("Group", "check_replace_attribute", "Attribute 'members' was not replaced or has unexpected value"),
}
"""The suite compares what it sent with all that is answered, also with `display`, which `/Schemas` says is read-only."""


def _name(result: CheckResult) -> tuple[str, str, str]:
    return str(result.resource_type), str(result.title), str(result.reason).partition("\n")[0]


def _without_display(members: Any) -> list[dict[str, Any]]:
    return [{name: value for name, value in member.model_dump().items() if name != "display"} for member in members]


def test_every_check_of_the_public_suite_is_met(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        # The suite sends faster than any directory.
        settings = replace(directory.app.config["DOORLIST"], scim_rate=0)
        directory.app.config["DOORLIST"] = settings
        base = settings.public_url + directory.base
        client = WSGISCIMClient(directory.app, base_url=base, headers={"Authorization": f"Bearer {directory.token}"})

        results = check_server(client)

    unmet = {_name(result): result for result in results if result.status not in MET}
    assert set(unmet) == {CHOSEN, *COMPARED_WITH_WHAT_IS_READ_ONLY}
    for name in COMPARED_WITH_WHAT_IS_READ_ONLY:
        compared: Any = unmet[name].data
        assert _without_display(compared["actual"]) == _without_display(compared["expected"])
    assert len(results) > 100
