"""Attacks on pulling: answers that would lock everybody out, that would let leavers in again, or that reach where they should not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, current_app
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Person, StatementKind, Voice
from app.intake import approving
from app.lifecycle import brake
from app.lifecycle.errors import WorldMoved
from app.lifecycle.leaving import say
from connectors.contract import Misconfigured, RateLimited, Unauthorised, Unreachable
from connectors.source_contract import Gone, Incomplete, Kind, SourceKey
from tests.company import ADMIN
from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company
from tests.unit.intake.scripted_directory import Directory, group, person

KEYS = [f"p{number:02}" for number in range(30)]
GROUPS = {"Staff": {f"{key}@x.example" for key in KEYS}, "Few": {f"{key}@x.example" for key in KEYS[:3]}}


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    corp = pulled_company()
    corp.directory.put(*(person(key, number=key) for key in KEYS), group("staff", *KEYS), group("few", *KEYS[:3]))
    corp.pull()
    return corp


def all_are_in(corp: Pulled) -> bool:
    return set(corp.standing().values()) == {"active"} and len(corp.records()) == len(KEYS) and corp.groups() == GROUPS


def breaks_off(error: Any) -> Callable[[Directory], None]:
    def act(directory: Directory) -> None:
        directory.raises, directory.after = error, 17

    return act


def is_empty(directory: Directory) -> None:
    directory.people, directory.groups = {}, {}


def lost_a_subtree(directory: Directory) -> None:
    directory.unseen.update(KEYS[:18])
    directory.groups["staff"] = group("staff", *KEYS[18:])


def says_that_all_are_gone(directory: Directory) -> None:
    directory.unseen.update(KEYS)
    directory.people["other"] = person("other")
    directory.tell(*(Gone(kind=Kind.PERSON, key=SourceKey(key)) for key in KEYS))


def says_that_all_are_off(directory: Directory) -> None:
    for key in KEYS:
        directory.alter(key, active=False)


def has_other_people_by_now(directory: Directory) -> None:
    """Another directory answers at that address, or the filter has a slip."""
    directory.people = {f"q{number}": person(f"q{number}") for number in range(30)}
    directory.groups = {"g": group("g", "q1")}


BAD_ANSWERS = [
    breaks_off(Unreachable("corp: timed out in page 2", sent=True)), breaks_off(Incomplete("corp: size limit exceeded")),
    breaks_off(Unauthorised("corp: the credential is not accepted")), breaks_off(Misconfigured("corp: no such base")),
    breaks_off(RateLimited("corp: too fast", wait=1)), is_empty, lost_a_subtree, says_that_all_are_gone, says_that_all_are_off,
]  # fmt: skip


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("answer", BAD_ANSWERS, ids=range(len(BAD_ANSWERS)))
def test_l05_no_answer_of_a_source_locks_everybody_out(corp: Pulled, answer: Callable[[Directory], None], whole: bool) -> None:
    answer(corp.directory)

    for _ in range(3):
        try:
            corp.pull(whole=whole)
        except (Unreachable, Unauthorised, Misconfigured, RateLimited):
            assert corp.directory.raises is not None
        corp.wait(2 * MINUTE)
        corp.ask_again()

    for key in KEYS:
        assert corp.standing()[f"{key}@x.example"] == "active"
    assert corp.groups()["Staff"] >= GROUPS["Staff"]


def test_l05_another_directory_at_that_address_locks_nobody_out(corp: Pulled) -> None:
    has_other_people_by_now(corp.directory)

    for _ in range(3):
        outcome = corp.pull(whole=True)
        corp.wait(2 * MINUTE)
        corp.ask_again()

    assert outcome.held is not None
    assert {corp.standing()[f"{key}@x.example"] for key in KEYS} == {"active"}
    assert corp.groups()["Staff"] == GROUPS["Staff"]


def test_l05_as_soon_as_all_is_as_it_was_nothing_waits(corp: Pulled) -> None:
    people, groups = dict(corp.directory.people), dict(corp.directory.groups)
    for answer in (is_empty, lost_a_subtree, says_that_all_are_gone, says_that_all_are_off):
        answer(corp.directory)
        corp.pull(whole=True)
        corp.directory.people, corp.directory.groups = dict(people), dict(groups)
        corp.directory.unseen.clear()
        corp.pull(whole=True)
        corp.wait(2 * MINUTE)
        corp.ask_again()

    with reading() as session:
        assert brake.waiting(session, corp.organization_id) == []
    assert {corp.standing()[f"{key}@x.example"] for key in KEYS} == {"active"}


def test_l06_a_source_takes_nobody_who_is_not_its_own(corp: Pulled) -> None:
    corp.sets("gone_after", "0s")
    pushed = corp.company.joins("local@x.example", "999")
    both = corp.company.joins("p05@x.example", "p05")
    corp.directory.drop("p05")
    corp.directory.tell(Gone(kind=Kind.PERSON, key=SourceKey(pushed.id)), Gone(kind=Kind.PERSON, key=SourceKey(pushed.external_id or "")))

    for whole in (False, False, True, True):
        corp.pull(whole=whole)

    assert corp.company.person(pushed).standing == "active"
    assert corp.company.person(both).standing == "active"
    assert "p05@x.example" not in corp.records()


@pytest.mark.parametrize("whole", [False, True])
def test_l11_a_late_pull_lets_no_leaver_in_again(corp: Pulled, whole: bool) -> None:
    """HR said it; the directory has not heard of it yet, and goes on saying *on*, then *off*, and *on* again."""
    who = corp.person("p01@x.example").id
    in_transaction(
        lambda session: say(
            session, corp.organization_id, who, voice=Voice.HR, kind=StatementKind.LEAVES, said_by="hr", effective_at=corp.at, actor=ADMIN,
            at=corp.at, because="test",
        )
    )  # fmt: skip
    epoch = corp.person("p01@x.example").access_epoch

    corp.directory.alter("p01", document={"displayName": "Still here"})
    corp.pull(whole=whole)
    corp.directory.alter("p01", active=False)
    corp.pull(whole=whole)
    corp.directory.alter("p01", active=True)
    corp.pull(whole=whole)
    corp.directory.drop("p01")
    corp.pull(whole=whole)
    corp.directory.put(person("p01", number="p01"))
    corp.pull(whole=whole)

    found = corp.person("Still here") if "Still here" in corp.standing() else corp.person("p01@x.example")
    assert found.standing == "departed"
    assert found.access_epoch >= epoch


def test_l11_an_entry_under_another_key_does_not_bring_a_leaver_back(corp: Pulled) -> None:
    def leaves(session: Session) -> None:
        who = session.get_one(Person, (corp.organization_id, corp.person("p01@x.example").id)).id
        say(session, corp.organization_id, who, voice=Voice.OPERATOR, kind=StatementKind.BARS, said_by="ana", effective_at=corp.at, actor=ADMIN, at=corp.at, because="test")

    in_transaction(leaves)
    corp.sets("gone_after", "0s")
    corp.directory.drop("p01")
    corp.directory.put(person("p01-again", "p01@x.example", number="p01"))

    for _ in range(3):
        corp.pull()

    assert corp.standing()["p01@x.example"] == "departed"


def test_d07_a_mass_departure_is_let_through_only_as_it_was_seen(corp: Pulled) -> None:
    says_that_all_are_off(corp.directory)
    corp.pull()
    with reading() as session:
        [(held, lines)] = brake.waiting(session, corp.organization_id)
        digest = brake.digest_of(held, lines)
    corp.directory.alter(KEYS[0], active=True)
    corp.pull()

    with pytest.raises(WorldMoved):
        approving.approve(
            current_app.config["DOORLIST"], corp.organization_id, digest, actor=ADMIN, clock=corp.clock, opening=lambda _, __: corp.directory
        )

    assert all_are_in(corp)


def test_d07_another_organisations_digest_is_nothing(corp: Pulled) -> None:
    says_that_all_are_off(corp.directory)
    held = corp.pull().held
    assert held is not None
    foreign = pulled_company()

    with pytest.raises(WorldMoved):
        approving.approve(
            current_app.config["DOORLIST"], foreign.organization_id, held.digest or "", actor=ADMIN, clock=corp.clock,
            opening=lambda _, __: corp.directory,
        )  # fmt: skip

    assert all_are_in(corp)
