"""Bad days: a workspace that is down, a workspace and a database that were put back."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.access.closed import LOOK_EVERY
from app.access.closed_tables import Installation
from app.access.sessions import Authenticated, Limits, start
from app.assembly import create_app
from app.clock import now
from app.commands import housekeeping
from app.database import db, in_transaction, reading
from app.delivery.alarm_posts import post_due
from app.directory.tables import Person
from app.lifecycle import conditions
from app.lifecycle.alarm_routes import add_mail
from app.revocation.departures import history
from connectors.contract import Unreachable
from tests.company import ADMIN
from tests.servers.mailbox import Mailbox, open_mailbox
from tests.unit.delivery.crew import crew, employ, settle
from tests.waiting import until
from tests.workspace import Workspace


@pytest.fixture
def mailbox(installed: Flask) -> Iterator[Mailbox]:
    with open_mailbox() as box:
        installed.config["DOORLIST"] = replace(installed.config["DOORLIST"], smtp_url=box.url, smtp_from="doorlist@acme.example")
        yield box


def test_d03_a_workspace_that_is_down_is_never_reported_done_and_people_are_told_after_a_minute(installed: Flask, mailbox: Mailbox) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    in_transaction(lambda session: add_mail(session, company.organization_id, "oncall@acme.example", escalation=False, actor=ADMIN, at=now()))
    ada = company.joins("ada@x.example", "E-1")
    settle(installed, workspace)

    def down(called: str, number: int) -> None:
        raise Unreachable("stand-in: no answer", sent=False)

    workspace.before_call = down
    company.says(ada, active=False, at=now())
    crew(installed, workspace).run_until_idle()
    conditions.look(company.organization_id, at=now() + timedelta(seconds=61), overdue_after=timedelta(seconds=60))
    post_due(installed, clock=lambda: now() + timedelta(seconds=62))

    with reading() as session:
        [(_, proofs)] = history(session, company.organization_id, ada.person_id)
    assert [proof.shut_at for proof, name in proofs if name == "chat"] == [None]
    [mail] = [one for one in mailbox.mails if "is not shut out" in one["Subject"]]
    assert "1 person who has left and could still get into chat: stand-in: no answer." in mail.get_content()


def test_a_cookie_of_before_the_backup_lets_nobody_in_while_it_is_closed(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1")
    housekeeping.move_on(installed)
    housekeeping.move_on(installed)

    def sign_in(session: Session) -> str:
        person = session.get_one(Person, (company.organization_id, ada.person_id))
        return start(session, person, Authenticated(connection_id=None, at=now()), limits=Limits(), agent="", at=now())[1]

    cookie = in_transaction(sign_in)

    def shows(app: Flask) -> int:
        client = app.test_client()
        client.set_cookie("doorlist_session", cookie)
        return client.get("/session").status_code

    assert shows(installed) == 200

    in_transaction(lambda session: session.execute(update(Installation).values(generation=1)))

    started = create_app(installed.config["DOORLIST"])
    try:
        assert shows(started) == 401, "a process that starts lets nobody in, before anything has looked"
    finally:
        with started.app_context():
            db.engine.dispose()
    housekeeping.move_on(installed)
    # One that was running believed for a moment, twice at most, what it had seen.
    assert until(lambda: shows(installed) == 401, within=2 * LOOK_EVERY)
