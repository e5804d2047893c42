"""A session is revoked by its provider's name while another one of that name is just beginning: both end."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.access.sessions import Authenticated, Limits, start
from app.clock import now
from app.lifecycle.people import lock_person
from app.revocation.stream_tables import Outcome
from tests.two_at_once import meanwhile
from tests.unit.signals.stage import SESSION_REVOKED, Provider, Stage, iss_sub, opaque, user

pytestmark = pytest.mark.slow

IDP = "https://idp.example"


@pytest.mark.parametrize("subject", [opaque("s-1"), user(iss_sub(IDP, "u-mara"), session=opaque("s-1"))])
def test_whoever_comes_in_by_a_session_that_is_revoked_at_that_moment_is_out(stage: Stage, subject: dict[str, Any]) -> None:
    mara, hearing = stage.joins("mara", issuer=IDP), stage.hears(Provider(issuer=IDP))
    connection_id = stage.connects(Provider(issuer=IDP))
    before, other = (stage.signs_in(mara.person_id, upstream_session=one, connection_id=connection_id) for one in ("s-1", "s-2"))

    def comes_in(session: Session) -> str:
        how = Authenticated(connection_id=connection_id, at=now(), upstream_session="s-1")
        return start(session, lock_person(session, stage.organization_id, mara.person_id), how, limits=Limits(), agent="test", at=now())[1]

    cookie, kept = meanwhile(stage.app, comes_in, lambda: hearing.pushes(SESSION_REVOKED, subject))

    assert (kept.outcome, kept.why) == (Outcome.APPLIED, "2 sessions were ended")
    assert [stage.is_in(one) for one in (before, cookie, other)] == [False, False, True]
