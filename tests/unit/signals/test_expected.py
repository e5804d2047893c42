"""Somebody who was in and has yet to start is disabled for whoever follows us, and enabled on their day; why and until when is told nobody."""

from __future__ import annotations

import json
from datetime import timedelta

from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction
from app.delivery.signal_streams import keep_up
from app.directory.tables import Person, StatementKind, Voice
from app.lifecycle import leaving, starting
from tests.company import ADMIN
from tests.unit.signals.listening import PUSH, deliver, listens
from tests.unit.signals.stage import Stage


def expect(stage: Stage, person_id: str, *, days: int) -> None:
    def act(session: Session) -> None:
        person = session.get_one(Person, (stage.organization_id, person_id))
        starting.expect(session, person, starts_at=now() + timedelta(days=days), said_by="ana", actor=ADMIN, at=now(), because="parental leave")

    in_transaction(act)


def test_whoever_has_yet_to_start_is_disabled_and_enabled_on_their_day(stage: Stage) -> None:
    listener = listens(stage)
    listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")

    expect(stage, mara.person_id, days=5)
    deliver(stage)
    disabled = listener.events()
    expect(stage, mara.person_id, days=0)
    keep_up(clock=now)
    deliver(stage)

    assert disabled == ["account-disabled", "session-revoked"]
    assert listener.events()[2:] == ["account-enabled"]


def test_neither_a_reason_nor_a_kind_of_leave_nor_a_day_is_in_what_others_are_told(stage: Stage) -> None:
    listener = listens(stage)
    listener.sets_up(delivery=PUSH)
    mara, finn = stage.joins("mara"), stage.joins("finn")
    day = (now() + timedelta(days=77)).date().isoformat()

    expect(stage, mara.person_id, days=77)
    in_transaction(
        lambda s: leaving.say(
            s, stage.organization_id, finn.person_id, voice=Voice.HR, kind=StatementKind.PAUSES, said_by="workday", effective_at=now(),
            actor=ADMIN, at=now(), because="parental leave",
        )
    )  # fmt: skip
    deliver(stage)

    told = json.dumps(listener.taken).lower()
    assert listener.taken
    assert not [word for word in ("parental", "paused", "leave", "workday", day) if word in told]
