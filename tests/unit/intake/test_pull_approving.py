"""What a pull would have taken is let through as it was seen, in part, or not at all; and a run is undone."""

from __future__ import annotations

import pytest
from flask import Flask

from app.actors import Actor, ActorKind
from app.database import in_transaction, reading
from app.directory.settings import UnusableSetting
from app.directory.tables import StatementKind, Voice
from app.intake.approving import NothingToApprove
from app.lifecycle import brake
from app.lifecycle.errors import WorldMoved
from app.lifecycle.leaving import say
from app.lifecycle.putting_back import NotUndoable
from connectors.contract import Unreachable
from tests.company import ADMIN
from tests.unit.intake.deciding import approves, digest_of, passes, rejects, undoes
from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company
from tests.unit.intake.scripted_directory import group, person

pytestmark = pytest.mark.slow

BEN = Actor(kind=ActorKind.OPERATOR, name="ben")
KEYS = [f"p{number:02}" for number in range(40)]


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    """Forty people in two groups, pulled."""
    corp = pulled_company()
    corp.directory.put(*(person(key) for key in KEYS), group("staff", *KEYS), group("some", *KEYS[:5]))
    corp.pull()
    return corp


def waiting(corp: Pulled) -> int:
    with reading() as session:
        return sum(len(lines) for _, lines in brake.waiting(session, corp.organization_id))


def active(corp: Pulled) -> set[str]:
    return {name for name, standing in corp.standing().items() if standing == "active"}


def thirty_leave(corp: Pulled) -> None:
    """Ten are off, ten are not there any more, ten are in no group."""
    for key in KEYS[:10]:
        corp.directory.alter(key, active=False)
    corp.directory.drop(*KEYS[10:20])
    corp.directory.put(group("staff", *KEYS[:10], *KEYS[30:]))
    corp.directory.drop("some")


@pytest.mark.parametrize("whole", [False, True])
def test_what_was_seen_is_let_through_and_undone(corp: Pulled, whole: bool) -> None:
    before = corp.groups()
    thirty_leave(corp)
    pulled = corp.pull(whole=whole)
    assert pulled.held is not None

    approved = approves(corp, pulled.held.digest or "")

    assert (len(approved.people), approved.left) == (20, None)
    assert active(corp) == {f"{key}@x.example" for key in KEYS[20:]}
    assert corp.groups() == {"Staff": {f"{key}@x.example" for key in (*KEYS[:10], *KEYS[30:])}}
    assert corp.run(approved.run or 0).kind == "approval"
    assert corp.pull(whole=whole).held is None
    assert corp.pull(whole=True).held is None

    undone = undoes(corp, approved.run or 0)

    assert (len(undone.people), undone.moved_on) == (30, ())
    assert active(corp) == {f"{key}@x.example" for key in KEYS}
    assert corp.groups() == before
    assert corp.run(approved.run or 0).state == "undone"


@pytest.mark.parametrize("whole", [False, True])
def test_what_was_undone_is_not_taken_again_while_the_source_says_the_same(corp: Pulled, whole: bool) -> None:
    thirty_leave(corp)
    corp.pull()
    approved = approves(corp, digest_of(corp))
    before = corp.groups()
    undoes(corp, approved.run or 0)
    all_in = corp.groups()

    for _ in range(3):
        outcome = corp.pull(whole=whole)
        corp.wait(2 * MINUTE)
        corp.ask_again()
        assert (outcome.left, outcome.missing, outcome.held) == (0, 0, None)
    assert (len(active(corp)), corp.groups()) == (40, all_in)

    # The source changes its mind, and then says it again: that is said anew.
    for key in KEYS[:10]:
        corp.directory.alter(key, active=True)
    corp.directory.put(*(person(key) for key in KEYS[10:20]), group("staff", *KEYS), group("some", *KEYS[:5]))
    corp.pull(whole=whole)
    thirty_leave(corp)
    corp.pull(whole=whole)
    approves(corp, digest_of(corp))

    assert len(active(corp)) == 20
    assert corp.groups() == before


def test_whoever_is_put_back_is_in_their_groups_though_these_can_name_nobody_who_is_not_there(corp: Pulled) -> None:
    before = corp.groups()
    corp.directory.drop(*KEYS[:20])
    corp.pull()
    approved = approves(corp, digest_of(corp))
    # As OpenLDAP does it: whoever is deleted is struck from every group, and none of them tells of a change.
    corp.directory.groups |= {"staff": group("staff", *KEYS[20:]), "some": group("some")}
    undoes(corp, approved.run or 0)

    for whole in (True, False, True):
        assert corp.pull(whole=whole).held is None
        assert corp.groups() == before


def test_whoever_was_put_back_and_is_there_again_is_in_groups_by_their_word_alone(corp: Pulled) -> None:
    corp.sets("gone_after", "0s")
    corp.directory.drop(KEYS[0])
    corp.pull()
    undoes(corp, corp.pull().run or 0)
    corp.directory.put(person(KEYS[0]))
    corp.pull(whole=True)

    corp.directory.put(group("some", *KEYS[1:5]))
    corp.pull()

    assert corp.groups()["Some"] == {f"{key}@x.example" for key in KEYS[1:5]}


def test_what_changed_since_is_left_alone_and_listed(corp: Pulled) -> None:
    for key in KEYS[:3]:
        corp.directory.alter(key, active=False)
    corp.directory.put(group("some", *KEYS[2:5]))
    number = corp.pull().run or 0
    corp.directory.alter(KEYS[0], document={"displayName": "Somebody else"})
    corp.directory.put(group("some", *KEYS[:1], *KEYS[2:5]))
    corp.pull()

    undone = undoes(corp, number)

    assert undone.moved_on == (f"whether {KEYS[0]}@x.example is in Some has changed since", f"{KEYS[0]}@x.example has changed since")
    assert corp.standing()[f"{KEYS[0]}@x.example"] == "departed"
    assert corp.standing()[f"{KEYS[1]}@x.example"] == corp.standing()[f"{KEYS[2]}@x.example"] == "active"
    assert corp.groups()["Some"] == {f"{key}@x.example" for key in KEYS[:5]}


def test_a_name_that_is_somebody_elses_by_now_is_not_given_back(corp: Pulled) -> None:
    corp.sets("gone_after", "0s")
    corp.directory.drop(KEYS[0])
    corp.pull()
    number = corp.pull().run or 0
    corp.directory.put(person("other", f"{KEYS[0]}@x.example"))
    corp.pull()

    undone = undoes(corp, number)

    assert undone.moved_on == (f"the userName or externalId of {KEYS[0]}@x.example belongs to somebody else by now",)
    assert undone.lines == 0


def test_a_run_is_undone_once_and_only_where_it_took_something(corp: Pulled) -> None:
    with pytest.raises(NotUndoable, match="run 1 took nothing"):
        undoes(corp, 1)
    corp.directory.alter(KEYS[0], active=False)
    number = corp.pull().run or 0
    undone = undoes(corp, number)

    with pytest.raises(NotUndoable, match="undone already"):
        undoes(corp, number)
    with pytest.raises(NotUndoable, match="put something back itself"):
        undoes(corp, undone.run)


def test_undoing_gives_nobody_back_what_another_voice_took(corp: Pulled) -> None:
    corp.directory.alter(KEYS[0], active=False)
    number = corp.pull().run or 0
    person_id = corp.person(f"{KEYS[0]}@x.example").id
    in_transaction(
        lambda session: say(
            session, corp.organization_id, person_id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana", effective_at=corp.at,
            actor=ADMIN, at=corp.at, because="test",
        )
    )  # fmt: skip

    undoes(corp, number)

    assert corp.records()[f"{KEYS[0]}@x.example"].active
    assert corp.standing()[f"{KEYS[0]}@x.example"] == "departed"


# What was seen is what is approved


def test_whoever_is_there_again_is_not_let_through_by_an_old_digest(corp: Pulled) -> None:
    thirty_leave(corp)
    corp.pull()
    digest = digest_of(corp)
    corp.directory.put(person(KEYS[15]))

    with pytest.raises(WorldMoved, match=r"p15@x\.example is there again"):
        approves(corp, digest)

    assert len(active(corp)) == 40
    assert waiting(corp) > 0


def test_whoever_is_on_again_is_not_let_through_by_an_old_digest(corp: Pulled) -> None:
    thirty_leave(corp)
    corp.pull()
    digest = digest_of(corp)
    corp.directory.alter(KEYS[5], active=True)

    with pytest.raises(WorldMoved, match=r"p05@x\.example is on again"):
        approves(corp, digest)

    assert len(active(corp)) == 40
    assert waiting(corp) > 0


def test_a_source_that_cannot_be_asked_lets_nothing_through(corp: Pulled) -> None:
    thirty_leave(corp)
    corp.pull()
    corp.directory.answers = {KEYS[12]: Unreachable("corp: timed out", sent=True)}

    with pytest.raises(Unreachable):
        approves(corp, digest_of(corp))

    assert len(active(corp)) == 40


def test_what_changed_here_since_is_not_let_through(corp: Pulled) -> None:
    for key in KEYS[:20]:
        corp.directory.alter(key, active=False)
    corp.pull()
    digest = digest_of(corp)
    record = corp.records()[f"{KEYS[3]}@x.example"]
    corp.company.says(record, active=False, at=corp.at)

    with pytest.raises(WorldMoved, match=r"p03@x\.example has changed"):
        approves(corp, digest)
    assert len(active(corp)) == 39

    corp.pull()
    assert len(approves(corp, digest_of(corp)).people) == 19


def test_a_digest_is_good_once(corp: Pulled) -> None:
    thirty_leave(corp)
    corp.pull()
    digest = digest_of(corp)
    approves(corp, digest)

    with pytest.raises(WorldMoved):
        approves(corp, digest)


def test_part_of_it_is_let_through_and_the_rest_waits(corp: Pulled) -> None:
    for key in KEYS[:20]:
        corp.directory.alter(key, active=False)
    corp.pull()
    two = [corp.person(f"{key}@x.example").id for key in KEYS[:2]]

    passed = passes(corp, digest_of(corp), two)

    assert (passed.people, passed.still, passed.left) == (tuple(sorted(two)), 18, digest_of(corp))
    assert len(active(corp)) == 38
    corp.pull()
    assert (waiting(corp), passed.left) == (18, digest_of(corp))
    with pytest.raises(NothingToApprove, match="1 of these people are not held"):
        passes(corp, digest_of(corp), [*two[:1], corp.person(f"{KEYS[5]}@x.example").id])
    undoes(corp, passed.run or 0)
    assert len(active(corp)) == 40


def test_what_could_not_be_read_cannot_be_approved(corp: Pulled) -> None:
    corp.directory.people = {}
    corp.pull(whole=True)

    with pytest.raises(NothingToApprove, match="make the source readable, then pull again"):
        approves(corp, digest_of(corp))

    assert rejects(corp) == []
    assert len(active(corp)) == 40


@pytest.mark.parametrize("whole", [False, True])
def test_what_was_rejected_is_not_taken_while_the_source_says_the_same(corp: Pulled, whole: bool) -> None:
    before = corp.groups()
    thirty_leave(corp)
    corp.pull()

    assert len(rejects(corp)) == 30

    for _ in range(3):
        outcome = corp.pull(whole=whole)
        corp.wait(2 * MINUTE)
        corp.ask_again()
        assert (outcome.left, outcome.held) == (0, None)
    assert (len(active(corp)), corp.groups()) == (40, before)
    corp.directory.alter(KEYS[0], document={"displayName": "Ada", "title": "Lead"})
    assert corp.pull(whole=whole).moved == 1
    assert corp.records()[f"{KEYS[0]}@x.example"].display_name == "Ada"
    assert len(active(corp)) == 40

    corp.directory.alter(KEYS[0], active=True)
    corp.pull(whole=whole)
    corp.directory.alter(KEYS[0], active=False)
    corp.pull(whole=whole)
    assert len(active(corp)) == 39


def test_one_who_was_rejected_and_is_then_not_there_is_asked_for_as_ever(corp: Pulled) -> None:
    for key in KEYS[:20]:
        corp.directory.alter(key, active=False)
    corp.pull()
    rejects(corp)
    corp.pull()

    corp.directory.drop(KEYS[0])
    assert corp.pull().missing == 1
    corp.wait()
    assert corp.pull().left == 1

    assert len(active(corp)) == 39


# Two administrators


def test_where_two_are_asked_for_the_second_lets_it_through(corp: Pulled) -> None:
    corp.sets("approvals", "2")
    for key in KEYS[:20]:
        corp.directory.alter(key, active=False)
    corp.pull()
    digest = digest_of(corp)

    first = approves(corp, digest)
    again = approves(corp, digest)
    assert (first.run, again.run, len(active(corp))) == (None, None, 40)
    assert "another administrator" in (first.waits_for or "")

    assert len(approves(corp, digest, actor=BEN).people) == 20
    assert len(active(corp)) == 20


def test_the_word_of_the_first_is_for_what_they_saw(corp: Pulled) -> None:
    corp.sets("approvals", "2")
    for key in KEYS[:20]:
        corp.directory.alter(key, active=False)
    corp.pull()
    approves(corp, digest_of(corp))
    corp.directory.alter(KEYS[20], active=False)
    corp.pull()

    assert approves(corp, digest_of(corp), actor=BEN).run is None
    assert len(active(corp)) == 40

    two = [corp.person(f"{key}@x.example").id for key in KEYS[:2]]
    assert passes(corp, digest_of(corp), two).run is None
    assert passes(corp, digest_of(corp), two[:1], actor=BEN).run is None
    assert passes(corp, digest_of(corp), two[:1]).run is not None
    assert len(active(corp)) == 39
    with pytest.raises(UnusableSetting):
        corp.sets("approvals", "3")


def test_the_lines_of_an_approval_say_who_lost_what(corp: Pulled) -> None:
    thirty_leave(corp)
    corp.pull()

    approved = approves(corp, digest_of(corp))

    took = [took for took, _ in corp.lines(approved.run or 0)]
    assert (took.count("off"), took.count("gone"), took.count("group gone"), took.count("out")) == (10, 10, 1, 20)
    with reading() as session:
        assert brake.waiting(session, corp.organization_id) == []
