"""A stream that we disabled and its receiver has started again: what it hears from then on."""

from __future__ import annotations

import pytest

from app.clock import now
from app.delivery.signal_streams import keep_up
from app.revocation import streams
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
