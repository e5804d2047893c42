"""The URLs that alarms are posted to: whoever has one can often post there, so they are encrypted and shown to nobody."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.clock import now
from app.commands.housekeeping import tick
from app.database import in_transaction, reading
from app.delivery.alarm_posts import post_due
from app.journal.tables import Entry
from app.lifecycle.alarm_routes import add_webhook, end_route, find_route, shown
from app.lifecycle.errors import Taken
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarm_tables import AlarmRoute
from app.revocation.alarms import raise_alarm
from tests.company import ADMIN, Company, new_company
from tests.servers.receiver import Receiver, open_receiver

pytestmark = pytest.mark.slow


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with open_receiver() as opened:
        yield opened


def tell(company: Company, url: str, app: Flask) -> None:
    settings = app.config["DOORLIST"]
    in_transaction(
        lambda session: add_webhook(session, company.organization_id, url, escalation=False, private=True, settings=settings, actor=ADMIN, at=now())
    )


def raised(company: Company, about: str) -> None:
    in_transaction(
        lambda session: raise_alarm(session, company.organization_id, kind=AlarmKind.STREAM_SILENT, about=about, sentence="It is silent.", at=now())
    )


def as_before(url: str) -> None:
    """What a version that encrypted no URL would have written."""
    in_transaction(lambda session: session.execute(update(AlarmRoute).where(AlarmRoute.address == shown(url)).values(address=url, sealed_url=None)))


def test_a_url_is_shown_to_nobody_and_called_all_the_same(installed: Flask, receiver: Receiver) -> None:
    company, url = new_company(), f"{receiver.url}/T0/hush?key=hush"
    tell(company, url, installed)
    raised(company, "okta")

    assert post_due(installed) == 1

    assert len(receiver.posted) == 1
    with reading() as session:
        stored = [*session.execute(select(*AlarmRoute.__table__.columns)).one(), *(entry.after for entry in session.scalars(select(Entry)))]
        assert find_route(session, company.organization_id, url).address.startswith("http://127.0.0.1:")
    assert "hush" not in str(stored)


def test_a_url_that_was_kept_as_it_was_is_encrypted_and_called_before_and_afterwards(installed: Flask, receiver: Receiver) -> None:
    company = new_company()
    here, over = f"{receiver.url}/hush", f"{receiver.url}/over"
    for url in (here, over):
        tell(company, url, installed)
        as_before(url)
        with pytest.raises(Taken):
            tell(company, url, installed)
    in_transaction(lambda session: end_route(session, find_route(session, company.organization_id, over), actor=ADMIN, at=now()))
    raised(company, "okta")
    post_due(installed)

    with reading() as session:
        assert [entry.after["address"] for entry in session.scalars(select(Entry).where(Entry.verb == "alarm route ended")) if entry.after] == [shown(over)]
    for _ in "12":
        tick(installed)

    raised(company, "entra")
    post_due(installed)
    assert len(receiver.posted) == 2
    with reading() as session:
        assert {(one.address, one.sealed_url is not None) for one in session.scalars(select(AlarmRoute))} == {(shown(here), True), (shown(over), False)}


@pytest.mark.parametrize(
    ("url", "is_shown"), [("https://hook.example", True), ("https://hook.example/", True), ("https://hook.example/a", False), ("https://hook.example?k=1", False)]
)
def test_of_a_url_the_server_is_shown_and_a_mark_that_stays(url: str, is_shown: bool) -> None:
    assert (shown(url) == url) is is_shown
    assert shown(url).startswith("https://hook.example")
    assert shown(shown(url)) == shown(url)
    assert shown("https://hook.example/b") != shown("https://hook.example/a")
