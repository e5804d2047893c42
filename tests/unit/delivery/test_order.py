"""Which work is taken up first."""

from datetime import datetime, timedelta

from flask import Flask

from app.database import in_transaction
from app.journal import work
from app.journal.tables import Lane, Subject
from app.journal.work import Claim
from tests.company import NOW, later


def want(subject: Subject, subject_id: str, *, at: datetime) -> None:
    in_transaction(lambda session: work.want(session, "o", subject=subject, subject_ids=[subject_id], because=None, due_at=at, workspace_id="w"))


def take(at: datetime) -> Claim:
    (claim,) = in_transaction(lambda session: work.claim(session, lanes=[Lane.SYNC], worker="w", at=at, most=1))
    return claim


def finish(claim: Claim) -> None:
    in_transaction(lambda session: work.finish(session, claim))


def put_off(claim: Claim, *, until: datetime) -> None:
    in_transaction(lambda session: work.postpone(session, claim, until=until, error="not yet"))


def test_what_was_begun_is_finished_before_more_is_begun(installed: Flask) -> None:
    want(Subject.PERSON, "early", at=NOW)
    want(Subject.ACCOUNT, "ada", at=later(1))
    want(Subject.CHANNEL, "sales", at=later(2))

    taken = []
    for _ in range(3):
        claim = take(later(3))
        taken.append(claim.subject)
        finish(claim)
    assert taken == [Subject.CHANNEL, Subject.ACCOUNT, Subject.PERSON]


def test_accounts_that_wait_for_something_do_not_keep_changes_waiting(installed: Flask) -> None:
    want(Subject.ACCOUNT, "ada", at=NOW)
    put_off(take(NOW), until=later(2))
    want(Subject.PERSON, "ben", at=later(1))

    first = take(later(3))
    assert (first.subject, first.subject_id) == (Subject.PERSON, "ben")


def test_an_account_that_is_wanted_anew_goes_first_again(installed: Flask) -> None:
    want(Subject.ACCOUNT, "ada", at=NOW)
    put_off(take(NOW), until=later(2))
    want(Subject.PERSON, "ben", at=later(1))
    want(Subject.ACCOUNT, "ada", at=later(2))

    assert take(later(2) + timedelta(seconds=1)).subject is Subject.ACCOUNT
