"""Receivers that say in several requests at once what they have taken."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from app.clock import now
from app.revocation import streams
from app.revocation.stream_tables import Stream
from tests.two_at_once import meanwhile
from tests.unit.signals.listening import deliver, listens, proof_of
from tests.unit.signals.stage import Stage

pytestmark = pytest.mark.slow


def test_a_departure_whose_events_are_acknowledged_at_once_is_proved(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up()
    mara = stage.joins("mara")
    stage.company.says(mara, active=False, at=now())
    deliver(stage)
    one, other = listener.fetches(stream_id)

    def acknowledge(session: Session) -> None:
        streams.settle(session, session.get_one(Stream, (stage.organization_id, stream_id)), [one], at=now())

    meanwhile(stage.app, acknowledge, lambda: listener.fetches(stream_id, ack=[other]))

    proof = proof_of(stage, stream_id)
    assert proof is not None and proof.shut_at is not None
    assert proof.attempts == 2
