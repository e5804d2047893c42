"""The organisation that `DOORLIST_ORGANIZATION` names, as `doorlist init` makes and finds it."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.commands.conftest import Desk


def _with(desk: Desk, name: str) -> Desk:
    return replace(desk, environment={**desk.environment, "DOORLIST_ORGANIZATION": name})


def test_the_first_organisation_is_the_one_that_the_environment_names(bare_desk: Desk) -> None:
    at_acme = _with(bare_desk, "Acme")

    made, again = at_acme.asks("init"), at_acme.asks("init")

    assert (made["organization"]["name"], made["made"]) == ("Acme", True)
    assert (again["organization"], again["made"]) == (made["organization"], False)
    assert at_acme.asks("status")["organization"] == "Acme", "what every other verb means"


def test_of_several_it_finds_the_one_that_the_environment_names(desk: Desk) -> None:
    desk.asks("init", "--organization", "Globex")

    found, asked = _with(desk, "Globex").asks("init"), _with(desk, "Globex").asks("init", "--organization", "Acme")

    assert (found["organization"]["name"], found["made"]) == ("Globex", False)
    assert (asked["organization"]["name"], asked["made"]) == ("Acme", False)


def test_a_slip_in_the_environment_makes_no_organisation_beside_the_one_that_is_there(desk: Desk) -> None:
    said = _with(desk, "Ac me").types("init", "--json")

    assert (said.exit, said.json["error"]) == (
        1, "there is no organisation Ac me, which DOORLIST_ORGANIZATION says; to make it: doorlist init --organization 'Ac me'"
    )  # fmt: skip
    assert desk.asks("status")["organization"] == "Acme", "it is still the only one"
