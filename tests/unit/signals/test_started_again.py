"""A stream that we disabled: what its receiver hears once it has started it again, and what becomes of the alarm."""

from __future__ import annotations

import pytest

from app.clock import now
from app.database import in_transaction, reading
from app.delivery.signal_streams import keep_up
from app.revocation import streams
from app.revocation.alarms import open_alarms
from app.signals import receivers
from tests.company import ADMIN
from tests.unit.signals.listening import PUSH, deliver, let_time_pass, listens
from tests.unit.signals.stage import Stage

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("pushed", [True, False])
def test_a_stream_that_was_started_again_is_not_told_that_it_was_stopped(stage: Stage, pushed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_WAITING", 1)
    listener = listens(stage)
    stream_id = listener.sets_up(**({"delivery": PUSH} if pushed else {}))
    listener.answers = (503, "")
    for name in ("mara", "omar"):
        stage.company.says(stage.joins(name), active=False, at=now())
    deliver(stage)
    keep_up(clock=now)
    stopped = listener.asks("GET", "/status", stream_id=stream_id).get_json()["status"]

    listener.answers = (202, "")
    started = listener.asks("POST", "/status", {"stream_id": stream_id, "status": "enabled"}).get_json()["status"]
    monkeypatch.undo()
    stage.company.says(stage.joins("zoe"), active=False, at=now())
    let_time_pass(stage)
    deliver(stage)

    assert (stopped, started) == ("disabled", "enabled")
    heard = listener.taken if pushed else list(listener.fetches(stream_id).values())
    assert [event.rpartition("/")[2] for one in heard for event in one["events"]] == ["account-disabled", "session-revoked"]


@pytest.mark.parametrize("ended", ["stream", "receiver"])
def test_a_stream_that_was_ended_is_no_alarm_any_more(stage: Stage, ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_WAITING", 1)
    listener = listens(stage)
    stream_id = listener.sets_up()
    stage.company.says(stage.joins("mara"), active=False, at=now())
    deliver(stage)
    keep_up(clock=now)
    assert _alarms(stage) == ["stream_silent"]

    if ended == "stream":
        listener.asks("DELETE", "", stream_id=stream_id)
    else:
        in_transaction(lambda session: receivers.end(session, stage.organization_id, "chat", actor=ADMIN, at=now()))

    assert _alarms(stage) == []


def _alarms(stage: Stage) -> list[str]:
    with reading() as session:
        return [one.kind for one in open_alarms(session, stage.organization_id)]
