"""A list that lost a column: nobody who was off is let in, and nobody loses what the column said."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask, current_app
from sqlalchemy.orm import Session

from app.lifecycle import brake
from app.lifecycle.sources import change_pulled_source, find_source
from connectors.contract import Secret
from connectors.source_contract import Incomplete, SourceSettings
from connectors.sources.files import Files
from tests.company import ADMIN
from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company

pytestmark = pytest.mark.slow

HEADING = "id,userName,active,department"
ROWS = [f"{number},p{number},{'no' if number < 10 else 'yes'},Lab {number % 3}" for number in range(30)]


class List:
    """A file, and the source that reads it as its options say."""

    def __init__(self, file: Path, corp: Pulled) -> None:
        self.file, self.corp = file, corp
        self.reads()

    def reads(self, **options: str) -> None:
        self.corp.opened = Files(SourceSettings(name="corp", url=self.file.as_uri(), secret=Secret(""), options=options))

    def sets(self, **options: str) -> None:
        """As `source set` does."""
        self._set(options=options)
        self.reads(**options)

    def moves(self, name: str) -> None:
        """As `source set` does with another address."""
        self.file = self.file.with_name(name)
        self._set(url=self.file.as_uri())
        self.reads()

    def _set(self, **said: object) -> None:
        def act(session: Session) -> None:
            source = find_source(session, self.corp.organization_id, self.corp.name)
            reached = {**(source.settings or {}), **said}
            change_pulled_source(
                session, source, reached=reached, rank=source.rank, secret=None, settings=current_app.config["DOORLIST"], actor=ADMIN, at=self.corp.at
            )

        self.corp.act(act)

    def says(self, heading: str, rows: list[str] = ROWS) -> None:
        self.file.write_text("\n".join([heading, *rows, ""]))

    def active(self) -> int:
        return sum(standing == "active" for standing in self.corp.standing().values())

    def held(self) -> list[str]:
        return [held.reason for held, _ in self.corp.act(lambda session: brake.waiting(session, self.corp.organization_id))]


@pytest.fixture
def staff(installed: Flask, tmp_path: Path) -> List:
    """Thirty people, of whom ten are off."""
    staff = List(tmp_path / "people.csv", pulled_company())
    staff.says(HEADING)
    assert staff.corp.pull().joined == 30
    assert staff.active() == 20
    return staff


def test_other_capitals_change_nothing(staff: List) -> None:
    staff.says("ID,UserName,Active,Department")

    outcome = staff.corp.pull()

    assert (outcome.unchanged, outcome.held, staff.active()) == (30, None, 20)


@pytest.mark.parametrize("whole", [False, True])
def test_a_lost_column_lets_nobody_in(staff: List, whole: bool) -> None:
    staff.says(HEADING.replace("active", "enabled"))

    for _ in range(3):
        assert staff.corp.pull(whole=whole).held is not None
        staff.corp.wait(MINUTE)

    assert staff.active() == 20
    [reason] = staff.held()
    assert "there is no column active any more" in reason
    assert "set active=NAME, with - for a name" in reason
    with pytest.raises(Incomplete):
        staff.corp.pull(dry_run=True)
    staff.says(HEADING)
    assert (staff.corp.pull().held, staff.held(), staff.active()) == (None, [], 20)


def test_whoever_is_asked_for_by_key_is_not_let_in_either(staff: List) -> None:
    staff.says(HEADING, ROWS[1:])
    assert staff.corp.pull().missing == 1
    staff.corp.wait(2 * MINUTE)
    staff.says(HEADING.replace("active", "enabled"))

    with pytest.raises(Incomplete):
        staff.corp.ask_again()

    assert staff.active() == 20


def test_a_list_at_another_address_has_to_have_the_columns_too(staff: List) -> None:
    staff.moves("people-12.csv")
    staff.says(HEADING.replace("active", "enabled"))

    for _ in range(2):
        assert (staff.corp.pull().held is not None, staff.active()) == (True, 20)
    staff.sets(active="enabled")
    assert (staff.corp.pull().held, staff.active()) == (None, 20)


def test_an_option_says_what_the_column_is_called_now_or_that_there_is_none(staff: List) -> None:
    staff.says(HEADING.replace("active", "enabled").replace("department", "unit"))
    assert staff.corp.pull().held is not None

    # Another setting, or one of both, says nothing of the other.
    for options in ({"zone": "Europe/Berlin"}, {"active": "enabled"}, {"department": "-"}):
        staff.sets(**options)
        assert (staff.corp.pull().held is not None, staff.active()) == (True, 20)
    staff.sets(active="enabled", department="-")

    assert (staff.corp.pull().held, staff.active()) == (None, 20)
    assert "Lab" not in str(staff.corp.records()["p1"].document)
