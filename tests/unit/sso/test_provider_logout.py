"""Relying parties are told that somebody's session is over: each once, by one token for each session, and it is written down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.parties import end_party, party_named
from app.access.session_tables import Grant
from app.clock import now
from app.database import in_transaction, reading
from app.delivery.worker import Worker
from app.journal import work
from app.journal.tables import Lane, Subject, Work
from app.lifecycle.figures import overdue_by_place
from app.lifecycle.signing_out import sign_out_everywhere
from app.revocation.departures import history
from app.revocation.tables import Departure, Grade, Proof
from tests.company import ADMIN
from tests.unit.sso.listening import Listener, listening
from tests.unit.sso.providing import Application, House, application_in, house_of

pytestmark = pytest.mark.slow


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.fixture
def house(installed: Flask) -> House:
    return house_of(installed)


@pytest.fixture
def chat(house: House, listener: Listener) -> Application:
    return application_in(house.app, house.company, name="chat", backchannel_logout_uri=listener.url)


def deliver(house: House) -> None:
    """Until nothing is due, letting pauses pass."""
    worker = Worker(house.app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1})
    for _ in range(5):
        worker.run_until_idle()
        in_transaction(_make_due)


def _make_due(session: Session) -> None:
    for row in session.scalars(select(Work)):
        row.due_at = min(row.due_at, now())


def heard(house: House, listener: Listener, chat: Application) -> list[dict[str, object]]:
    return listener.claims(house.app.test_client().get("/jwks").json, chat.client_id)


def proofs(house: House) -> dict[str, Proof]:
    with reading() as session:
        [(_, found)] = history(session, house.company.organization_id, house.ada.id)
    return {name: proof for proof, name in found}


def test_a_departure_is_told_with_one_token_for_each_session(house: House, chat: Application, listener: Listener) -> None:
    browser, telephone = house.ada, house.ada.signs_in_again()
    names = {chat.reads(one.tokens_for(chat)["id_token"])["sid"] for one in (browser, telephone)}
    browser.tokens_for(chat)

    house.ada.departs()
    deliver(house)

    said = heard(house, listener, chat)
    assert {one["sid"] for one in said} == names and len(said) == 2
    assert {one["sub"] for one in said} == {house.ada.id}


def test_the_proof_says_that_it_is_only_the_partys_word(house: House, chat: Application) -> None:
    house.ada.tokens_for(chat)

    house.ada.departs()
    deliver(house)

    found = proofs(house)
    assert found.keys() == {"doorlist", "chat"}
    proof = found["chat"]
    assert proof.sent_at is not None and proof.acknowledged_at is not None and proof.shut_at is not None
    assert proof.sent_at <= proof.acknowledged_at <= proof.shut_at
    assert (proof.shut_grade, proof.closed) == (Grade.CLAIMED, {"sessions": 1})
    assert found["doorlist"].shut_grade == Grade.PROBED


def test_a_proof_whose_teller_died_right_after_the_last_answer_is_finished(house: House, chat: Application, listener: Listener) -> None:
    house.ada.tokens_for(chat)
    house.ada.departs()
    deliver(house)

    def die_before_it_was_written_down(session: Session) -> None:
        proof = session.scalars(select(Proof).where(Proof.workspace_id.not_in(["doorlist"]))).one()
        proof.acknowledged_at = proof.shut_at = proof.gone_at = proof.shut_grade = proof.gone_grade = proof.closed = None
        departure = session.scalars(select(Departure)).one()
        work.want(
            session, proof.organization_id, subject=Subject.ACCESS, subject_ids=[departure.person_id], because=None, due_at=now(),
            lane=Lane.DEPARTURES, workspace_id=proof.workspace_id,
        )  # fmt: skip

    in_transaction(die_before_it_was_written_down)
    deliver(house)

    assert proofs(house)["chat"].shut_grade == Grade.CLAIMED
    assert len(listener.heard) == 1


def test_nobody_is_told_twice(house: House, chat: Application, listener: Listener) -> None:
    house.ada.tokens_for(chat)
    house.ada.departs()
    deliver(house)

    house.ada.returns()
    house.ada.departs()
    deliver(house)

    assert len(listener.heard) == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_party_that_does_not_answer_is_told_again_and_open_until_then(house: House, chat: Application, listener: Listener, status: int) -> None:
    house.ada.tokens_for(chat)
    listener.answers += [status]
    house.ada.departs()

    # By a clock that stands still it is not time to tell them again, however long the first turn takes.
    once = now()
    Worker(house.app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1}, clock=lambda: once).run_until_idle()
    assert proofs(house)["chat"].shut_at is None
    assert proofs(house)["chat"].last_error is not None or status == 429
    in_transaction(_make_due)
    Worker(house.app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1}).run_until_idle()

    assert len(listener.heard) == 2 and proofs(house)["chat"].shut_at is not None


def test_a_party_that_was_ended_before_it_answered_is_waited_for_no_more(house: House, chat: Application, listener: Listener) -> None:
    house.ada.tokens_for(chat)
    listener.answers += [500]
    house.ada.departs()
    once = now()
    Worker(house.app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1}, clock=lambda: once).run_until_idle()

    def overdue() -> dict[str, object]:
        with reading() as session:
            return dict(overdue_by_place(session, house.company.organization_id, now()))

    assert list(overdue()) == [chat.client_id]
    in_transaction(
        lambda session: end_party(session, party_named(session, house.company.organization_id, chat.client_id), actor=ADMIN, at=now())
    )
    deliver(house)

    assert overdue() == {}
    assert proofs(house)["chat"].shut_at is None, "nor is it said that it was told"


def test_one_session_that_a_party_refuses_keeps_no_other_back(house: House, chat: Application, listener: Listener) -> None:
    for one in (house.ada, house.ada.signs_in_again()):
        one.tokens_for(chat)
    listener.answers += [400]

    house.ada.departs()
    Worker(house.app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1}).run_until_idle()

    assert len(listener.heard) == 2
    with reading() as session:
        assert sum(told is None for told in session.scalars(select(Grant.told_at))) == 1
    assert proofs(house)["chat"].shut_at is None
    assert "answered 400 to a logout token" in str(proofs(house)["chat"].last_error)


def test_signing_out_everywhere_is_told_and_who_comes_back_is_left_alone(house: House, chat: Application, listener: Listener) -> None:
    house.ada.tokens_for(chat)
    in_transaction(
        lambda session: sign_out_everywhere(session, house.company.organization_id, house.ada.id, actor=ADMIN, at=now(), because="test")
    )
    again = house.ada.signs_in_again()
    alive = chat.reads(again.tokens_for(chat)["id_token"])["sid"]

    deliver(house)

    assert [one["sid"] != alive for one in heard(house, listener, chat)] == [True]


def test_a_session_that_lives_by_another_grant_is_not_over(house: House, chat: Application, listener: Listener) -> None:
    first = house.ada.tokens_for(chat)
    house.ada.tokens_for(chat)
    chat.asks("/revoke", token=first["refresh_token"])

    in_transaction(lambda session: sessions.end(session, house.company.organization_id, "another", why="test", at=now()))
    _tell(house)
    deliver(house)
    assert listener.heard == []

    house.ada.browses("/logout", method="POST", answer="yes")
    deliver(house)
    assert len(listener.heard) == 1


def _tell(house: House) -> None:
    from app.revocation.telling import tell_parties

    in_transaction(
        lambda session: tell_parties(session, house.company.organization_id, house.ada.id, because=None, at=now(), lane=Lane.DEPARTURES)
    )


def test_a_party_of_the_open_internet_is_not_called_at_home(house: House, listener: Listener) -> None:
    chat = application_in(house.app, house.company, name="chat", backchannel_logout_uri="https://localtest.invalid/out")
    house.ada.tokens_for(chat)

    house.ada.departs()
    Worker(house.app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1}).run_until_idle()

    assert proofs(house)["chat"].shut_at is None
