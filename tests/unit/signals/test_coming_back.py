"""That somebody is back is told once, and never of one who has left again meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm import Session

from app.actors import CLOCK
from app.clock import now
from app.database import in_transaction, reading
from app.delivery.signal_streams import keep_up, note_return
from app.directory.tables import Person, Standing
from app.lifecycle.signing_out import sign_out_everywhere
from app.revocation import streams
from tests.unit.signals.listening import PUSH, deliver, listens
from tests.unit.signals.stage import PUBLIC_URL, Stage, iss_sub

pytestmark = pytest.mark.slow


def test_two_that_look_at_once_say_once_that_somebody_is_back(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up()
    mara = stage.joins("mara")
    off = stage.company.says(mara, active=False, at=now())
    deliver(stage)
    listener.fetches(stream_id, ack=list(listener.fetches(stream_id)))
    stage.company.says(off, active=True, at=now())

    def look(_number: int) -> None:
        with stage.app.app_context():
            in_transaction(lambda session: note_return(session, stage.organization_id, mara.person_id, at=now()))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(look, range(8)))

    assert [event.rpartition("/")[2] for one in listener.fetches(stream_id).values() for event in one["events"]] == ["account-enabled"]


def test_whoever_has_left_again_meanwhile_is_not_said_to_be_back(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up()
    mara = stage.joins("mara")
    off = stage.company.says(mara, active=False, at=now())
    deliver(stage)
    listener.fetches(stream_id, ack=list(listener.fetches(stream_id)))
    back = stage.company.says(off, active=True, at=now())

    def look(session: Session) -> None:
        if session.get_bind().dialect.name == "sqlite":
            pytest.skip("SQLite lets nobody else write meanwhile")
        seen = session.get_one(Person, (stage.organization_id, mara.person_id))
        assert seen.standing == Standing.ACTIVE
        stage.company.says(back, active=False, at=now())
        note_return(session, stage.organization_id, mara.person_id, at=now())
        assert seen in session

    in_transaction(look)

    assert listener.fetches(stream_id) == {}


def test_whoever_is_signed_out_as_soon_as_they_are_back_is_enabled_all_the_same(stage: Stage) -> None:
    listener = listens(stage)
    listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    off = stage.company.says(mara, active=False, at=now())
    deliver(stage)

    stage.company.says(off, active=True, at=now())
    in_transaction(lambda session: sign_out_everywhere(session, stage.organization_id, mara.person_id, actor=CLOCK, at=now(), because="test"))
    deliver(stage)
    keep_up(clock=now)
    deliver(stage)

    assert "account-enabled" in listener.events()


def test_who_came_back_while_they_were_removed_is_enabled_when_they_are_added_again(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    said = {"stream_id": stream_id, "subject": iss_sub(PUBLIC_URL, mara.person_id)}
    off = stage.company.says(mara, active=False, at=now())
    deliver(stage)
    listener.asks("POST", "/remove-subject", said)
    stage.company.says(off, active=True, at=now())
    deliver(stage)
    with reading() as session:
        looked_for = list(streams.returned(session))
    quiet = listener.events()

    listener.asks("POST", "/add-subject", said)
    keep_up(clock=now)
    deliver(stage)

    assert (quiet, looked_for) == (["account-disabled", "session-revoked"], [])
    assert listener.events()[2:] == ["account-enabled"]
