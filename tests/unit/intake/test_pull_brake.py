"""The brake on listings: what would take access from too many is held, what came empty or broke off changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.settings import DEFAULTS, UnusableSetting
from app.intake.pull_weighing import KIND
from app.journal.tables import Organization
from app.lifecycle import brake, conditions
from app.lifecycle.tables import Held, HeldLine, HeldState
from app.revocation.alarm_kinds import AlarmKind
from connectors.contract import Unreachable
from connectors.source_contract import Gone, Incomplete, Kind, NothingThere, SourceKey
from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company
from tests.unit.intake.scripted_directory import group, person

pytestmark = pytest.mark.slow

KEYS = [f"p{number:02}" for number in range(50)]


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    """Fifty people, pulled."""
    corp = pulled_company()
    corp.directory.put(*(person(key) for key in KEYS), group("staff", *KEYS))
    assert corp.pull().joined == 50
    return corp


def held_of(corp: Pulled) -> list[Held]:
    with reading() as session:
        return list(session.scalars(select(Held).where(Held.organization_id == corp.organization_id, Held.kind == KIND).order_by(Held.created_at)))


def lines_of(corp: Pulled) -> list[tuple[str, str]]:
    """What waits: which kind of thing, and what it would become."""
    with reading() as session:
        query = select(HeldLine.subject_kind, HeldLine.becomes).where(HeldLine.organization_id == corp.organization_id, HeldLine.state == HeldState.OPEN)
        return sorted((kind, becomes) for kind, becomes in session.execute(query))


def active(corp: Pulled) -> int:
    return sum(standing == "active" for standing in corp.standing().values())


def offs(corp: Pulled, *keys: str) -> None:
    for key in keys:
        corp.directory.alter(key, active=False)


@pytest.mark.parametrize("whole", [False, True])
def test_as_many_as_the_brake_allows_are_out_at_once(corp: Pulled, whole: bool) -> None:
    offs(corp, *KEYS[:10])

    outcome = corp.pull(whole=whole)

    assert (outcome.left, outcome.held, active(corp)) == (10, None, 40)


def test_settings_that_cannot_be_read_count_as_their_defaults(corp: Pulled) -> None:
    def spoil(session: Session) -> None:
        session.get_one(Organization, corp.organization_id).settings = dict.fromkeys(DEFAULTS, ",")

    in_transaction(spoil)
    offs(corp, *KEYS[:11])
    corp.directory.put(person("new"))

    outcome = corp.pull()

    assert (outcome.left, outcome.joined, active(corp)) == (0, 1, 51)
    assert outcome.held is not None and f"pull_brake = {DEFAULTS['pull_brake']} allows 10" in outcome.held.reason


@pytest.mark.parametrize("whole", [False, True])
def test_one_more_and_nobody_is_out_while_all_else_passes(corp: Pulled, whole: bool) -> None:
    offs(corp, *KEYS[:11])
    corp.directory.put(person("new"), person(KEYS[49], "renamed@x.example"), group("team", KEYS[48], "new"))

    outcome = corp.pull(whole=whole)

    assert (outcome.left, outcome.joined, outcome.moved) == (0, 1, 1)
    assert outcome.held is not None
    assert outcome.held.would_lose_access == 11
    assert outcome.held.reason == "corp: 11 of 50 people would lose access (22%); pull_brake = 20%,10,500 allows 10"
    assert active(corp) == 51
    assert corp.groups()["Team"] == {"p48@x.example", "new@x.example"}
    assert lines_of(corp) == [("record", "off")] * 11
    assert corp.run(outcome.run or 0).state == "held"


@pytest.mark.parametrize("whole", [False, True])
def test_a_later_pull_of_the_same_holds_the_same(corp: Pulled, whole: bool) -> None:
    offs(corp, *KEYS[:20])
    first = corp.pull(whole=whole)

    again, listed = corp.pull(whole=whole), corp.pull(whole=True)

    assert first.held is not None
    assert again.held == listed.held == first.held
    assert (again.left, active(corp), len(held_of(corp))) == (0, 50, 1)


def test_what_waits_is_brought_up_to_date_and_taken_back_with_the_last_line(corp: Pulled) -> None:
    offs(corp, *KEYS[:20])
    first = corp.pull()
    corp.directory.alter(KEYS[0], active=True)
    fewer = corp.pull()
    assert first.held is not None
    assert fewer.held is not None
    assert fewer.held.would_lose_access == 19
    assert fewer.held.digest != first.held.digest

    for key in KEYS[1:20]:
        corp.directory.alter(key, active=True)
    outcome = corp.pull()

    assert outcome.held is None
    assert [held.state for held in held_of(corp)] == ["withdrawn"]
    assert active(corp) == 50


def test_what_waits_is_not_taken_when_less_is_to_be_taken_by_then(corp: Pulled) -> None:
    """Somebody is about to decide on these: that others came back does not decide it."""
    offs(corp, *KEYS[:20])
    corp.pull()
    for key in KEYS[5:20]:
        corp.directory.alter(key, active=True)
    offs(corp, KEYS[40])

    outcome = corp.pull()

    assert outcome.held is not None
    assert (outcome.left, outcome.held.would_lose_access) == (1, 5)
    assert corp.standing()["p40@x.example"] == "departed"
    assert active(corp) == 49


@pytest.mark.parametrize("whole", [False, True])
def test_those_who_are_missing_for_the_first_time_count_as_well(corp: Pulled, whole: bool) -> None:
    offs(corp, *KEYS[:6])
    corp.directory.drop(*KEYS[6:12])

    outcome = corp.pull(whole=whole)

    assert outcome.held is not None
    assert outcome.held.would_lose_access == 12
    assert lines_of(corp) == [("record", "gone")] * 6 + [("record", "off")] * 6
    corp.wait(2 * MINUTE)
    assert corp.ask_again() is None
    assert corp.pull(whole=whole).left == 0
    assert active(corp) == 50


def test_the_greater_part_unreadable_loses_nobody_anything(corp: Pulled) -> None:
    """Sixty per cent of the entries are neither listed nor answered for: a right was lost, or thirty people were dismissed."""
    corp.directory.unseen.update(KEYS[:30])

    for _ in range(3):
        outcome = corp.pull(whole=True)
        corp.wait(2 * MINUTE)
        corp.ask_again()

    assert outcome.held is not None
    assert "30 of 50 people would lose access (60%)" in outcome.held.reason
    assert (outcome.left, active(corp)) == (0, 50)
    # More than the brake allows need not be asked for: nothing is taken without somebody's word, and then each is.
    assert len(set(corp.directory.asked)) == 11

    corp.directory.unseen.clear()
    assert corp.pull().held is None
    assert [held.state for held in held_of(corp)] == ["withdrawn"]


def test_an_empty_listing_changes_nothing_at_all(corp: Pulled) -> None:
    people, groups = corp.directory.people, corp.directory.groups
    corp.directory.people, corp.directory.groups = {}, {}

    outcome = corp.pull(whole=True)

    assert outcome.held is not None
    assert outcome.held.reason == "corp listed nobody at all, but 50 people here are its own; that cannot be right"
    assert (outcome.held.would_lose_access, outcome.left, active(corp)) == (50, 0, 50)
    assert len(corp.groups()["Staff"]) == 50
    assert lines_of(corp) == []
    again = corp.pull()
    assert again.held is not None
    assert again.held.digest == outcome.held.digest
    assert all(entry.missing_since is None for entry in [corp.entry(key) for key in KEYS] if entry is not None)

    corp.directory.people, corp.directory.groups = people, groups
    assert corp.pull().held is None
    assert [held.state for held in held_of(corp)] == ["withdrawn"]


def test_an_empty_directory_that_was_never_anything_else_is_no_alarm(installed: Flask) -> None:
    corp = pulled_company()

    assert (corp.pull().held, corp.pull(whole=True).seen) == (None, 0)


def test_where_others_are_hidden_too_nobody_is_gone_by_what_changed(corp: Pulled) -> None:
    corp.directory.unseen |= {*KEYS[:30]}
    corp.directory.tell(Gone(kind=Kind.PERSON, key=SourceKey(KEYS[0])))

    for _ in range(2):
        outcome = corp.pull()
        corp.wait()
        assert outcome.held is not None
        assert outcome.held.reason == "corp: 30 of 50 people would lose access (60%); pull_brake = 20%,10,500 allows 10"

    assert active(corp) == 50
    corp.directory.unseen.clear()
    assert (corp.pull().held, corp.pull().held, active(corp)) == (None, None, 50)


def test_where_others_are_hidden_too_nobody_is_gone_by_a_second_answer(corp: Pulled) -> None:
    corp.directory.drop(KEYS[0])
    corp.pull()
    corp.wait()
    corp.directory.unseen |= {*KEYS[1:31]}

    with pytest.raises(Incomplete, match="does not know others either"):
        corp.ask_again()

    assert active(corp) == 50
    outcome = corp.pull()
    assert outcome.held is not None
    assert outcome.held.would_lose_access == 31


@pytest.mark.parametrize("whole", [False, True])
def test_where_the_place_itself_is_gone_that_people_came_from_it_is_held(corp: Pulled, whole: bool) -> None:
    corp.directory.raises = NothingThere("corp: ou=staff is not there")

    outcome = corp.pull(whole=whole)

    assert outcome.held is not None
    assert (outcome.held.reason, outcome.held.would_lose_access) == ("corp: ou=staff is not there", 50)
    assert (active(corp), corp.run(2).state) == (50, "held")
    corp.directory.raises = None
    assert corp.pull().held is None
    assert [held.state for held in held_of(corp)] == ["withdrawn"]


def test_a_place_that_nobody_ever_came_from_is_a_wrong_setting(installed: Flask) -> None:
    corp = pulled_company()
    corp.directory.raises = NothingThere("corp: ou=staf is not there")

    with pytest.raises(NothingThere):
        corp.pull()

    assert (corp.run(1).state, held_of(corp)) == ("failed", [])


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("error", [Incomplete("corp: page 3 did not come"), Unreachable("corp: timed out", sent=True)])
def test_a_listing_that_breaks_off_changes_nothing(corp: Pulled, error: Incomplete | Unreachable, whole: bool) -> None:
    offs(corp, KEYS[0])
    corp.directory.put(person("new"))
    corp.directory.raises, corp.directory.after = error, 30

    if isinstance(error, Incomplete):
        outcome = corp.pull(whole=whole)
        assert outcome.held is not None
        assert outcome.held.reason == str(error)
        assert held_of(corp)[0].payload == {"unreadable": True, "people": 50}
    else:
        with pytest.raises(Unreachable):
            corp.pull(whole=whole)
        assert corp.run(2).state == "failed"

    assert (active(corp), len(corp.records())) == (50, 50)
    corp.directory.raises = None
    outcome = corp.pull()
    assert (outcome.left, outcome.joined, outcome.held) == (1, 1, None)


@pytest.mark.parametrize("whole", [False, True])
def test_memberships_are_braked_as_well(corp: Pulled, whole: bool) -> None:
    corp.directory.put(group("staff", *KEYS[:30], "new"), person("new"))

    outcome = corp.pull(whole=whole)

    assert outcome.held is not None
    assert outcome.held.reason == "corp: 20 of 50 memberships would end (40%); pull_brake = 20%,10,500 allows 10"
    assert outcome.held.would_lose_access == 0
    assert len(corp.groups()["Staff"]) == 51
    assert lines_of(corp) == [("member", "out")] * 20
    again = corp.pull(whole=whole)
    assert again.held is not None
    assert again.held.digest == outcome.held.digest

    corp.directory.put(group("staff", *KEYS, "new"))
    assert corp.pull(whole=whole).held is None


def test_all_groups_gone_at_once_are_held_however_small_they_are(installed: Flask) -> None:
    corp = pulled_company()
    corp.directory.put(person("a"), group("one", "a"), group("two", "a"))
    corp.pull()
    corp.directory.groups = {}

    for _ in range(3):
        outcome = corp.pull(whole=True)
        corp.wait(2 * MINUTE)

    assert outcome.held is not None
    assert outcome.held.reason == "corp listed no group at all, and 2 memberships would end with the groups that it had"
    assert corp.groups() == {"One": {"a@x.example"}, "Two": {"a@x.example"}}


def test_whoever_has_no_access_to_lose_does_not_count(corp: Pulled) -> None:
    offs(corp, *KEYS[:10])
    corp.pull()
    corp.wait(timedelta(days=1))

    corp.directory.drop(*KEYS[:10])
    offs(corp, *KEYS[10:18])

    assert corp.pull().left == 8


def test_the_brake_can_be_set_and_taken_off(corp: Pulled) -> None:
    corp.sets("pull_brake", "2%,1,500")
    offs(corp, *KEYS[:2])
    assert corp.pull().held is not None

    corp.sets("pull_brake", "off")
    for key in KEYS[:2]:
        corp.directory.alter(key, active=True)
    corp.pull()
    offs(corp, *KEYS)

    assert corp.pull().left == 50
    for text in ("", "20", "20%", "120%,1,2", "20%,-1,5", "20%,10,500,1", "a%,1,2"):
        with pytest.raises(UnusableSetting):
            corp.sets("pull_brake", text)


def test_what_is_held_is_an_alarm_while_it_waits(corp: Pulled) -> None:
    offs(corp, *KEYS[:20])
    corp.pull()

    with reading() as session:
        standing = conditions.what_stands(session, corp.organization_id, at=corp.at, overdue_after=MINUTE)

    assert ["20 of 50 people would lose access" in said for said in standing[AlarmKind.PUSH_HELD].values()] == [True]


def test_a_push_brake_does_not_stand_in_the_way_of_a_pull(corp: Pulled) -> None:
    corp.sets("push_brake", "0/60s")
    offs(corp, *KEYS[:5])

    assert (corp.pull().left, active(corp)) == (5, 45)
    with reading() as session:
        assert brake.waiting(session, corp.organization_id) == []


def test_nothing_of_a_held_pull_is_forgotten_when_the_source_forgets_its_changes(corp: Pulled) -> None:
    offs(corp, *KEYS[:20])
    first = corp.pull()
    corp.directory.knows_since = len(corp.directory.told)

    assert corp.pull().held == first.held


def test_two_helds_of_two_sources_do_not_meet(corp: Pulled) -> None:
    other = pulled_company(corp.company, name="other")
    other.directory.put(*(person(f"o{number}") for number in range(50)))
    other.pull()
    offs(corp, *KEYS[:20])
    corp.pull()
    for number in range(20):
        other.directory.alter(f"o{number}", active=False)
    other.pull()

    for key in KEYS[:20]:
        corp.directory.alter(key, active=True)
    assert corp.pull().held is None

    with reading() as session:
        waiting = brake.waiting(session, corp.organization_id)
        assert [(held.source_id, len(lines)) for held, lines in waiting] == [(other.source_id, 20)]
