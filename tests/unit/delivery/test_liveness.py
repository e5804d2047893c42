"""What a killed process had in hand is free at once; what a living or unknown one has is not touched."""

import subprocess
import sys

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction
from app.delivery.liveness import IN_FLIGHT, free_claims_of_the_dead, is_surely_dead, own_name
from app.journal import work
from app.journal.tables import Lane, Subject

pytestmark = pytest.mark.slow


def name_of_a_dead_process() -> str:
    program = "from app.delivery.liveness import own_name; print(own_name())"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_only_a_neighbour_whose_process_is_gone_is_surely_dead() -> None:
    assert is_surely_dead(name_of_a_dead_process())
    assert not is_surely_dead(own_name())
    assert not is_surely_dead("another-host|boot|1|2")
    assert not is_surely_dead("somebody")


def test_work_of_the_dead_is_claimed_by_the_next_and_that_of_the_living_is_not(installed: Flask) -> None:
    at = now()
    for subject_id, owner in (("a", f"{name_of_a_dead_process()}#sync-0"), ("b", f"{own_name()}#sync-0")):

        def take(session: Session, subject_id: str = subject_id, owner: str = owner) -> None:
            work.want(session, "o", subject=Subject.PERSON, subject_ids=[subject_id], because=None, due_at=at)
            work.claim(session, lanes=[Lane.SYNC], worker=owner, at=at, most=1)

        in_transaction(take)

    in_transaction(lambda session: free_claims_of_the_dead(session, at=at))

    claims = in_transaction(lambda session: work.claim(session, lanes=[Lane.SYNC], worker="next", at=at, most=9))
    assert [taken.subject_id for taken in claims] == ["a"]


def test_an_account_that_a_killed_delivery_may_still_be_giving_something_is_not_free_before_that_request_has_ended(
    installed: Flask,
) -> None:
    at = now()

    def take(session: Session) -> None:
        work.want(session, "o", subject=Subject.ACCOUNT, subject_ids=["a"], because=None, due_at=at, workspace_id="w")
        work.claim(session, lanes=[Lane.SYNC], worker=f"{name_of_a_dead_process()}#sync-0", at=at, most=1)

    in_transaction(take)

    in_transaction(lambda session: free_claims_of_the_dead(session, at=at))

    until = in_transaction(lambda session: work.open_claims(session, "o", workspace_id="w", subject_id="a", at=at))
    assert until == at + IN_FLIGHT
