"""A transmitter that keeps its events until they are fetched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from app.clock import now
from app.database import in_transaction, reading
from app.revocation.alarms import open_alarms
from app.revocation.stream_tables import Transmitter
from app.signals import polling
from tests.unit.signals.stage import SESSION_REVOKED, STREAM_UPDATED, Hearing, Provider, Stage, iss_sub
from tests.unit.signals.waiting import POLL, Queue

IDP = "https://idp.example/clinic"


@pytest.fixture
def hearing(stage: Stage, queue: Queue) -> Iterator[Hearing]:
    yield stage.hears(Provider(issuer=IDP), poll_url=POLL, authorization="Bearer ours", audience="doorlist", silent_after=timedelta(minutes=10))


def test_everything_that_waits_is_fetched_and_acknowledged_once_it_is_kept(stage: Stage, queue: Queue, hearing: Hearing) -> None:
    people = [stage.joins(f"p{number}", issuer=IDP) for number in range(5)]
    queue.sets = {f"j{number}": hearing.says(SESSION_REVOKED, iss_sub(IDP, f"u-p{number}"), jti=f"j{number}") for number in range(5)}

    polling.tick(stage.settings)

    assert queue.sets == {}
    assert [stage.epoch(one) for one in people] == [2] * 5
    assert queue.asked[0]["ack"] == []
    assert set(queue.shown) == {"Bearer ours"}


def test_what_is_wrong_is_reported_and_not_acknowledged(stage: Stage, queue: Queue, hearing: Hearing) -> None:
    stage.joins("mara", issuer=IDP)
    queue.sets = {
        "bad": hearing.says(SESSION_REVOKED, iss_sub(IDP, "u-mara"), jti="bad", aud="another"),
        "good": hearing.says(SESSION_REVOKED, iss_sub(IDP, "u-mara"), jti="good"),
    }

    polling.tick(stage.settings)

    assert queue.sets == {}
    assert {jti: said["err"] for jti, said in queue.faults.items()} == {"bad": "invalid_audience"}
    assert [one.jti for one in hearing.kept()] == ["good"]


def test_an_answer_that_was_lost_comes_again_and_does_nothing_twice(stage: Stage, queue: Queue, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    token = hearing.says(SESSION_REVOKED, iss_sub(IDP, "u-mara"), jti="j1")
    queue.sets = {"j1": token}
    polling.tick(stage.settings)
    queue.sets = {"j1": token}

    polling.tick(stage.settings, clock=lambda: now() + timedelta(minutes=1))

    assert (queue.sets, stage.epoch(mara)) == ({}, 2)


def test_a_transmitter_that_does_not_answer_is_tried_again_and_at_last_an_alarm(stage: Stage, queue: Queue, hearing: Hearing) -> None:
    queue.down = True
    begun = now()

    polling.tick(stage.settings, clock=lambda: begun + timedelta(seconds=1))
    with reading() as session:
        early = [one.kind for one in open_alarms(session, stage.organization_id)]
        error = session.get_one(Transmitter, (stage.organization_id, hearing.row.id)).last_error
    polling.tick(stage.settings, clock=lambda: begun + timedelta(minutes=11))

    assert early == []
    assert error is not None and "503" in error and "ours" not in error
    with reading() as session:
        assert [one.kind for one in open_alarms(session, stage.organization_id)] == ["stream_silent"]


def test_an_alarm_of_silence_is_settled_once_a_transmitter_answers_again(stage: Stage, queue: Queue, hearing: Hearing) -> None:
    queue.down = True
    begun = now()
    polling.tick(stage.settings, clock=lambda: begun + timedelta(minutes=11))
    with reading() as session:
        raised = [one.kind for one in open_alarms(session, stage.organization_id)]

    queue.down = False
    polling.tick(stage.settings, clock=lambda: begun + timedelta(minutes=12))

    assert raised == ["stream_silent"]
    with reading() as session:
        assert list(open_alarms(session, stage.organization_id)) == []


def test_a_stream_that_was_paused_over_there_stays_an_alarm_though_its_transmitter_answers(stage: Stage, queue: Queue, hearing: Hearing) -> None:
    queue.sets = {"j1": hearing.says(STREAM_UPDATED, {"format": "opaque", "id": "theirs"}, said={"status": "paused"}, jti="j1")}
    begun = now()

    polling.tick(stage.settings, clock=lambda: begun + timedelta(seconds=1))
    polling.tick(stage.settings, clock=lambda: begun + timedelta(minutes=1))

    with reading() as session:
        assert [one.kind for one in open_alarms(session, stage.organization_id)] == ["stream_silent"]


def test_one_process_looks_and_the_others_leave_it_alone(stage: Stage, queue: Queue, hearing: Hearing) -> None:
    at = now() + timedelta(seconds=1)
    with reading() as session:
        row = session.get_one(Transmitter, (stage.organization_id, hearing.row.id))

    claims = [in_transaction(lambda session: polling._claim(session, row, at=at)) for _ in range(2)]

    assert claims == [True, False]


def test_a_transmitter_that_was_ended_is_asked_nothing(stage: Stage, queue: Queue, hearing: Hearing) -> None:
    stage.hears_no_more(hearing)

    polling.tick(stage.settings, clock=lambda: now() + timedelta(minutes=5))

    assert queue.asked == []
