"""What is granted to somebody who came in by break-glass ends with that."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.access import issued, sessions
from app.access.session_tables import RelyingParty
from app.access.sessions import Authenticated, Limits
from app.database import in_transaction, new_id
from app.directory.tables import Person
from app.sso.provider.entering_there import let_into
from tests.company import NOW, new_company


@pytest.mark.parametrize("break_glass", [True, False])
def test_a_grant_outlives_the_browser_only_where_nobody_broke_the_glass(installed: Flask, break_glass: bool) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "1")

    def act(session: Session) -> tuple[bool, bool]:
        person = session.get_one(Person, (company.organization_id, ada.person_id))
        how = Authenticated(connection_id=None, at=NOW, break_glass=break_glass)
        _, cookie = sessions.start(session, person, how, limits=Limits(), agent="Firefox", at=NOW)
        here = sessions.check(session, cookie, at=NOW)
        assert here is not None
        party = RelyingParty(organization_id=company.organization_id, id=new_id(), name="chat", created_at=NOW)
        session.add(party)
        session.flush()
        offline = issued.open_grant(session, here, party, scope="openid offline_access", own=False, at=NOW)
        device = let_into(session, here, party, scope="openid", own=True, at=NOW)
        return offline.expires_at > here.expires_at, device is not None

    assert in_transaction(act) == (not break_glass, not break_glass)
