"""Which day a termination belongs to, and what becomes of one that was moved, called off, held, or undone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.database import reading
from app.directory.tables import Record, Statement, StatementKind
from app.intake.termination_words import Departed, Leaver, Outcome, terminations_of
from app.lifecycle import brake
from app.lifecycle import leaving as verbs
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.people import reconsider
from app.lifecycle.records import change_record
from app.lifecycle.reinstating import reinstate
from app.lifecycle.tables import Held, HeldLine
from tests.company import ADMIN, OKTA
from tests.unit.intake.terminating import Firm, date, days, midnight, new_firm


@pytest.fixture
def firm(installed: Flask) -> Firm:
    return new_firm(installed)


# Days


def test_a_last_day_belongs_to_the_day_that_it_ends_and_not_to_the_next(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1", last_day_of_work=date(-1))
    firm.delivers()

    assert firm.report((-1, -1)).outcomes == {"removed": 1}
    assert firm.report((0, 0)).lines == []


def test_what_hr_tells_late_was_due_on_its_own_day(firm: Firm) -> None:
    firm.joins("ada", "E-1", at=midnight(-9))
    firm.calls("E-1", last_day_of_work=date(-6))
    firm.delivers()

    (line, *_) = firm.report((-6, -6)).of("ada")

    assert (line["due"], line["hr_date"], line["hr_last_day"]) == (iso(midnight(-5)), iso(midnight(-5)), date(-6))
    assert line["s_from_due_to_shut"] > 5 * 86400 > 60 > line["s_from_received_to_shut"]
    assert line["s_to_gone"] == line["s_from_received_to_gone"]


def test_who_was_out_before_the_day_that_hr_names_is_in_the_report_of_either(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1", "msg_1")
    firm.calls("E-1", "msg_2", last_day_of_work=date(20))
    firm.delivers()

    now_ = firm.report()
    then = firm.report((20, 20), at=midnight(30))

    assert (now_.outcomes, then.outcomes) == ({"removed": 1}, {"removed": 1})
    assert (now_.totals.matched, then.totals.matched) == (1, 1)


def test_a_date_that_hr_moved_counts_on_the_new_day_only(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1", "msg_1", last_day_of_work=date(5))
    firm.calls("E-1", "msg_2", last_day_of_work=date(9))
    later = midnight(20)
    firm.acts(lambda session: reconsider(session, firm.company.organization_id, firm.person_id("ada"), at=later))

    old, new = firm.report((5, 5), at=later), firm.report((9, 9), at=later)

    assert (old.lines, old.totals.superseded) == ([], 1)
    assert {line["hr_event"] for line in new.of("ada")} == {"msg_2"}
    assert new.totals.matched == 1


def test_to_have_access_end_at_once_moves_no_date(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1", "msg_1", last_day_of_work=date(20))
    firm.calls("E-1", "msg_2")
    firm.delivers()

    told = firm.report((20, 20), at=midnight(30))

    assert (told.outcomes, told.totals.matched) == ({"removed": 1}, 1)


def test_what_is_for_later_stands_beside_the_population(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1", last_day_of_work=date(3))

    told = firm.report((0, 9))

    assert (told.outcomes, told.totals.population) == ({"announced": 1}, 0)


def test_what_was_called_off_is_no_termination(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1", last_day_of_work=date(3))
    firm.says("termination_cancelled", "E-1", "msg_2")

    told = firm.report((0, 9), at=midnight(20))

    assert (told.lines, told.totals.called_off) == ([], 1)


def test_another_time_is_not_in_it(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1")
    firm.delivers()

    assert firm.report((-9, -1)).lines == [] and firm.report((1, 9)).lines == []


def ends(firm: Firm, record: Record, day: int) -> None:
    """The directory names a last day."""
    draft = RecordDraft(external_id=record.external_id, user_name=record.user_name, active=True, document=record.document, ends_at=midnight(day + 1))
    firm.acts(
        lambda session: change_record(
            session, record.organization_id, record.source_id, record.id, draft, actor=OKTA, at=now(), because="pull"
        )
    )  # fmt: skip


def test_a_last_day_that_a_directory_names_is_announced_and_open_from_then_until_somebody_acts(firm: Firm) -> None:
    firm.sets("leaving_voice", "directory")
    ada = firm.joins("ada", "E-1")
    ends(firm, ada, 10)

    announced, due = firm.report((10, 10)), firm.report((10, 10), at=midnight(12))

    assert (announced.outcomes, due.outcomes) == ({"announced": 1}, {"open": 1})
    assert (firm.report((9, 9)).lines, firm.report((11, 11)).lines) == ([], [])
    ((said,), (line,)) = announced.lines, due.lines
    assert (said["voice"], said["said_by"], said["due"], said["why"]) == ("directory", "okta", iso(midnight(11)), f"for {iso(midnight(11))}")
    assert (line["voice"], line["said_by"], line["why"]) == ("directory", "okta", "due, and nobody has acted on it yet: does a worker run?")
    firm.acts(lambda session: reconsider(session, ada.organization_id, ada.person_id, at=midnight(12)))
    assert firm.report((10, 10), at=midnight(12)).outcomes == {"open": 1}


def test_a_last_day_that_an_operator_and_a_directory_name_is_one_leaving(firm: Firm) -> None:
    firm.sets("leaving_voice", "directory")
    ada = firm.joins("ada", "E-1")
    ends(firm, ada, 10)
    firm.operator_says(ada, StatementKind.LEAVES, effective_at=midnight(11))

    assert (firm.report((10, 10)).outcomes, firm.report((10, 10), at=midnight(12)).outcomes) == ({"announced": 1}, {"open": 1})


def test_a_last_day_of_a_directory_is_none_where_off_means_an_absence(firm: Firm) -> None:
    # As it is where there is an HR system.
    ends(firm, firm.joins("ada", "E-1"), 10)

    assert firm.report((10, 10)).lines == []


# What keeps somebody in


def test_a_call_that_the_brake_holds_is_open(firm: Firm) -> None:
    firm.sets("push_brake", "0/60s")
    firm.joins("ada", "E-1")
    firm.calls("E-1")

    told = firm.report()

    (line,) = told.of("ada")
    with reading() as session:
        said = session.scalars(select(Statement.journal_id)).one()
    assert (line["outcome"], line["journal"], line["departure"]) == ("open", said, None)
    assert "held by the brake" in line["why"]


def test_what_the_brake_held_and_somebody_rejected_stays(firm: Firm) -> None:
    firm.sets("push_brake", "0/60s")
    firm.joins("ada", "E-1")
    firm.calls("E-1")

    def reject(session: Session) -> None:
        [(held, lines)] = brake.waiting(session, firm.company.organization_id)
        verbs.reject(session, held, lines, actor=ADMIN, at=now())

    firm.acts(reject)
    told = firm.report()

    assert told.outcomes == {"stays": 1}
    assert "rejected by operator:ana" in told.of("ada")[0]["why"]


def test_what_the_brake_held_and_somebody_released_goes_back_to_the_call(firm: Firm) -> None:
    firm.sets("push_brake", "0/60s")
    firm.joins("ada", "E-1")
    firm.calls("E-1")

    def release(session: Session) -> None:
        [(held, lines)] = brake.waiting(session, firm.company.organization_id)
        verbs.release(session, held, lines, actor=ADMIN, at=now())

    firm.acts(release)
    firm.delivers()
    (line, *_) = firm.report().of("ada")

    assert (line["outcome"], line["hr_event"], line["actor"]) == ("removed", "msg_1", "operator:ana")


@pytest.mark.parametrize(("voice", "outcomes"), [("directory", {"open": 1}), ("hr", {})])
def test_an_off_of_a_directory_that_is_held_is_open_where_off_means_leaving(firm: Firm, voice: str, outcomes: dict[str, int]) -> None:
    firm.sets("leaving_voice", voice)
    firm.sets("push_brake", "0/60s")
    ada = firm.joins("ada", "E-1")
    firm.company.says(ada, active=False, at=now())

    assert firm.report().outcomes == outcomes


def test_a_pull_that_is_held_leaves_its_leavers_open(firm: Firm) -> None:
    firm.sets("leaving_voice", "directory")
    ada = firm.joins("ada", "E-1")
    mine = {"organization_id": firm.company.organization_id, "created_at": now()}
    firm.stored(Held(**mine, id="held", kind="pull", source_id=firm.company.source_id, reason="too many"))
    firm.stored(HeldLine(**mine, held_id="held", subject_kind="record", subject_id=ada.id, version="1", becomes="gone", person_id=ada.person_id))

    (line,) = firm.report().of("ada")

    assert (line["outcome"], line["voice"], line["said_by"]) == ("open", "directory", "okta")


def test_one_of_two_engagements_takes_nothing_and_the_person_stays(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.says("rehired", "E-1", "msg_0", engagement_id="2")
    firm.calls("E-1", "msg_1", engagement_id="1", revoke_access="immediately")

    told = firm.report()

    assert told.outcomes == {"stays": 1}
    assert told.of("ada")[0]["why"] == "another engagement goes on"


def test_an_engagement_that_hr_names_when_they_are_out_ends_what_an_operator_gave_back(firm: Firm) -> None:
    ada = firm.joins("ada", "E-1")
    firm.calls("E-1", "msg_1", engagement_id="1", revoke_access="immediately")
    firm.calls("E-1", "msg_2", engagement_id="2", last_day_of_work=date(9))
    firm.acts(lambda s: reinstate(s, firm.company.organization_id, ada.person_id, said_by="ana", reason="not yet", actor=ADMIN, at=now()))
    later = midnight(20)
    firm.acts(lambda session: reconsider(session, firm.company.organization_id, ada.person_id, at=later))

    told = firm.report((9, 9), at=later)

    assert {line["hr_event"] for line in told.of("ada")} == {"msg_2"}
    assert (told.totals.population, told.totals.matched) == (1, 1)


def test_an_operator_who_kept_somebody_before_their_day_is_named(firm: Firm) -> None:
    ada = firm.joins("ada", "E-1")
    firm.calls("E-1", last_day_of_work=date(3))
    firm.operator_says(ada, StatementKind.RETURNS)

    told = firm.report((0, 9), at=midnight(20))

    assert told.outcomes == {"stays": 1}
    assert told.of("ada")[0]["why"].startswith("operator ana says returns since ")


def test_what_came_due_without_anybody_acting_is_open(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1", last_day_of_work=date(3))

    told = firm.report((0, 9), at=midnight(20))

    assert told.outcomes == {"open": 1}
    assert "nobody has acted on it yet" in told.of("ada")[0]["why"]


def test_who_came_back_before_every_place_was_shut_returned(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1")
    firm.says("rehired", "E-1", "msg_2")

    told = firm.report()

    assert told.outcomes == {"returned": 1}
    assert all(line["returned"] for line in told.of("ada"))


def test_who_was_shut_out_and_came_back_was_removed_all_the_same(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1")
    firm.delivers()
    firm.says("rehired", "E-1", "msg_2")
    firm.delivers()

    told = firm.report()

    assert told.outcomes == {"removed": 1}
    assert {line["account"] for line in told.of("ada") if line["place"] == "chat"} == {"ada"}


def test_an_account_that_was_made_since_was_not_there_to_be_shut(firm: Firm) -> None:
    firm.joins("ada", "E-1", delivered=False)
    firm.calls("E-1")
    firm.delivers()
    firm.says("rehired", "E-1", "msg_2")
    firm.delivers()

    told = firm.report()

    assert told.outcomes == {"no account": 1}
    assert len(firm.workspace.accounts) == 1


@pytest.mark.parametrize(("reason", "outcomes"), [("paused by directory: test", []), ("found alive by the sweep in chat: test", [Outcome.FOUND_ALIVE])])
def test_what_goes_on_from_a_leaving_is_none_anew(reason: str, outcomes: list[Outcome]) -> None:
    left, turned = midnight(-9), midnight(-1)
    first = Departed(
        id="1", person_id="ada", means="departed", reason="departed by hr: test", actor="source:hr", due_at=left, received_at=left, decided_at=left,
        ended_at=turned, journal_id=1,
    )  # fmt: skip
    second = replace(first, id="2", means="paused", reason=reason, due_at=turned, received_at=turned, decided_at=turned, ended_at=None)
    leaver = Leaver(person_id="ada", standing="paused", standing_reason="", departures=[first, second], statements=[])

    told = terminations_of(leaver, days(-2, 0), at=midnight(1))

    assert [one.outcome for one in told.terminations] == outcomes


def test_leaving_twice_is_two_terminations_of_one_person(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1", "msg_1")
    firm.delivers()
    firm.says("rehired", "E-1", "msg_2")
    firm.delivers()
    firm.calls("E-1", "msg_3")
    firm.delivers()

    told = firm.report()

    assert (told.outcomes, told.totals.people) == ({"removed": 2}, 1)
    assert {line["hr_event"] for line in told.of("ada")} == {"msg_1", "msg_3"}
