"""A PostgreSQL that answers and takes no changes, as a standby does, is said to be one: reading goes on, nothing looks well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.commands.conftest import Desk


@pytest.fixture
def standby(desk: Desk) -> Desk:
    url = desk.environment["DATABASE_URL"]
    if url.startswith("sqlite"):
        pytest.skip("a file has no standby")
    refusing = f"{url}{'&' if '?' in url else '?'}options=-c%20default_transaction_read_only%3Don"
    return replace(desk, environment={**desk.environment, "DATABASE_URL": refusing})


def test_doctor_and_status_say_it(standby: Desk) -> None:
    said = standby.types("doctor", "--json")

    [found] = [one for one in said.json["findings"] if one["about"] == "database"]
    assert (said.exit, found["level"]) == (1, "fault") and "takes no changes" in found["sentence"]
    assert ["takes no changes" in alarm for alarm in standby.asks("status")["alarms"]] == [True]


def test_a_change_is_refused_in_words_that_say_what_to_do(standby: Desk) -> None:
    said = standby.types("settings", "set", "leaving_voice", "directory", "--json")

    assert said.exit == 1 and "takes no changes just now, see doorlist doctor" in said.json["error"]


def test_where_changes_are_taken_nothing_of_it_is_said(desk: Desk) -> None:
    assert "takes no changes" not in desk.types("doctor").out and desk.asks("status")["alarms"] == []
