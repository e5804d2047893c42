"""What ends with a way in: with a connection all that rests on its word, with a break-glass account all that came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from flask import Flask
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.access import issued, sessions
from app.access.parties import PartyDraft, find_party, open_party
from app.access.session_tables import Device, Grant, TokenKind, WebSession
from app.access.sessions import Present
from app.assembly import create_app
from app.clock import now
from app.database import db, in_transaction, reading
from app.journal.tables import Entry, Subject, Work
from app.schema import upgrade
from app.settings import from_environment
from app.sso import break_glass, connections
from app.sso.entering import remembered
from app.sso.provider.entering_there import let_into
from app.sso.refusals import Reason
from tests.break_glass import Holder, application, holder_of
from tests.company import ADMIN, NOW, Company, new_company
from tests.handsets import PUSH, Gateway, Handset, new_gateway
from tests.vouching import Provider, entries_of, joins_as, new_provider

pytestmark = pytest.mark.slow


@pytest.fixture
def company(installed: Flask) -> Company:
    company = new_company()
    joins_as(company, "00u1", "ada@northwind.example", at=now())
    return company


@pytest.fixture
def okta(company: Company) -> Provider:
    return new_provider(company)


def comes_in(provider: Provider, **said: Any) -> Present:
    return provider.lets_in("00u1", at=now(), **said).present


def new_chat(company: Company, name: str = "chat") -> str:
    draft = PartyDraft(
        name=name, redirect_uris=("com.example.chat:/back",), public=True, device_flow=True, backchannel_logout_uri="https://chat.example/out"
    )
    return in_transaction(lambda session: open_party(session, company.organization_id, draft, actor=ADMIN, at=now())).client_id


def gives(session: Session, here: Present, client_id: str, *, own: bool, scope: str = "openid offline_access") -> str:
    """The access token that an application is given on behalf of who is there."""
    party = find_party(session, client_id)
    assert party is not None
    grant = let_into(session, here, party, scope=scope, own=own, at=now())
    assert grant is not None
    return issued.issue(session, grant, TokenKind.ACCESS, at=now())


def handset_in(app: Flask, here: Present, client_id: str, *, own: bool = True) -> Handset:
    token = in_transaction(lambda session: gives(session, here, client_id, own=own))
    return Handset(
        http=app.test_client(), organization_id=here.organization_id, person_id=here.person_id, client_id=client_id, token=token, cookie=""
    )


def is_good(token: str) -> bool:
    with reading() as session:
        return issued.find_access_token(session, token, at=now()) is not None


def ends(provider: Provider) -> int:
    return in_transaction(lambda session: connections.end(session, provider.row(session), actor=ADMIN, at=now()))


@pytest.fixture
def gateway(installed: Flask, company: Company) -> Gateway:
    return new_gateway(installed, company)


def test_devices_and_applications_without_a_browser_end_with_their_connection(
    installed: Flask, company: Company, okta: Provider, gateway: Gateway
) -> None:
    entra = new_provider(company, name="Entra", issuer="https://entra.example", settings={"directory_id": {"matches": "externalId"}})
    chat, here = new_chat(company), comes_in(okta)
    phone = handset_in(installed, here, chat)
    phone.enrols()
    mail = in_transaction(lambda session: gives(session, here, chat, own=False))
    tablet = handset_in(installed, comes_in(entra), chat)
    tablet.enrols(name="Tablet", push={**PUSH, "token": "another"})

    assert ends(okta) == 1

    assert (is_good(phone.token), is_good(mail), is_good(tablet.token)) == (False, False, True)
    assert (gateway.may_push(), gateway.may_push("another")) == (False, True)
    with reading() as session:
        sealed = {one.name: one.sealed_push_token is not None for one in session.scalars(select(Device))}
    assert sealed == {"Ada's phone": False, "Tablet": True}


def test_applications_hear_of_a_device_whose_connection_ended_though_no_browser_was_open(
    installed: Flask, company: Company, okta: Provider
) -> None:
    chat, here = new_chat(company), comes_in(okta)
    handset_in(installed, here, chat)
    in_transaction(lambda session: sessions.end(session, here.organization_id, here.session_id, why="signed out", at=now()))

    assert ends(okta) == 0

    with reading() as session:
        assert session.scalars(select(Work.workspace_id).where(Work.subject == Subject.ACCESS, Work.subject_id == here.person_id)).all() == [chat]


def test_what_an_application_was_given_under_one_connection_ends_with_the_one_that_it_goes_on_from(company: Company, okta: Provider) -> None:
    entra = new_provider(company, name="Entra", issuer="https://entra.example")
    chat, here = new_chat(company), comes_in(okta)
    token = in_transaction(lambda session: gives(session, here, chat, own=False))
    comes_in(entra, asked={"replaces": remembered(organization_id=here.organization_id, session_id=here.session_id)})
    assert is_good(token)

    ends(entra)

    assert not is_good(token)


def test_what_is_being_given_while_its_connection_ends_ends_as_well(installed: Flask, company: Company, okta: Provider) -> None:
    chat, here, given = new_chat(company), comes_in(okta), Event()

    def end() -> int:
        given.wait(30)
        with installed.app_context():
            return ends(okta)

    def give(session: Session) -> str:
        token = gives(session, here, chat, own=True)
        given.set()
        # Long enough for the other one to have begun; where it has not, it comes later and finds this anyway.
        time.sleep(0.3)
        return token

    with ThreadPoolExecutor(1) as threads:
        ending = threads.submit(end)
        token = in_transaction(give)
        assert ending.result(60) == 1

    assert not is_good(token)


@pytest.fixture
def ada(database_url: str, tmp_path: Path) -> Iterator[Holder]:
    with application(database_url, tmp_path) as app, app.test_client() as browser:
        yield holder_of(new_company(), browser)


def breaks_the_glass(ada: Holder) -> Present:
    ada.sets_up_app()
    ada.comes_in()
    cookie = ada.browser.get_cookie("doorlist_session")
    assert cookie is not None
    with reading() as session:
        here = sessions.check(session, cookie.value, at=now())
    assert here is not None and here.break_glass
    return here


def account_ends(ada: Holder) -> None:
    def act(session: Session) -> None:
        account = break_glass.find(session, ada.company.organization_id, ada.record.person_id)
        break_glass.end(session, account, actor=ADMIN, at=now())

    in_transaction(act)


def test_a_device_that_was_let_in_by_break_glass_ends_with_the_account(ada: Holder) -> None:
    here = breaks_the_glass(ada)
    phone = handset_in(ada.browser.application, here, new_chat(ada.company), own=False)
    phone.enrols()

    account_ends(ada)

    assert not is_good(phone.token)
    with reading() as session:
        assert [one.sealed_push_token for one in session.scalars(select(Device))] == [None]


def test_what_break_glass_gave_ends_with_the_account_also_from_an_ordinary_session(ada: Holder) -> None:
    here, chat = breaks_the_glass(ada), new_chat(ada.company)
    token = in_transaction(lambda session: gives(session, here, chat, own=False, scope="openid"))
    ordinary = comes_in(new_provider(ada.company), asked={"replaces": remembered(organization_id=here.organization_id, session_id=here.session_id)})
    theirs = in_transaction(lambda session: gives(session, ordinary, chat, own=False, scope="openid"))
    assert is_good(token)

    account_ends(ada)

    assert (is_good(token), is_good(theirs)) == (False, True)


@pytest.mark.empty
def test_what_was_given_before_says_since_what_it_rests_on(database_url: str, tmp_path: Path) -> None:
    app = create_app(from_environment({"DOORLIST_HOME": str(tmp_path / "home"), "DATABASE_URL": database_url}))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[3] / "migrations"))
    config.set_main_option("path_separator", "os")
    shared = {"organization_id": "o", "person_id": "ada", "epoch": 1, "authenticated_at": NOW, "amr": [], "created_at": NOW, "expires_at": NOW}
    grant = {**shared, "client_id": "chat", "scope": "openid", "sid": "s"}
    with app.app_context():
        with db.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0016")
            session = {
                **shared, "id": "browser", "digest": "d", "connection_id": "okta", "strong": False, "break_glass": False, "agent": "", "seen_at": NOW,
                "idle_until": NOW,
            }  # fmt: skip
            connection.execute(insert(WebSession), [session, {**session, "id": "glass", "digest": "e", "connection_id": None, "break_glass": True}])
            grants, devices = Grant.metadata.tables["oauth_grant"], Grant.metadata.tables["device"]
            rows = [("of-browser", "browser", None), ("of-glass", "glass", None), ("own", None, "phone"), ("lost", None, None)]
            connection.execute(insert(grants), [{**grant, "id": one, "session_id": browser, "device_id": device} for one, browser, device in rows])
            phone = {"organization_id": "o", "id": "phone", "person_id": "ada", "epoch": 1, "name": "Phone", "platform": "", "enrolled_at": NOW, "seen_at": NOW}
            connection.execute(insert(devices), [phone])
            entered = {
                "organization_id": "o", "at": NOW, "actor": "person:ada", "verb": "entered an application", "because": "chat", "subject_kind": "person",
                "subject_id": "ada",
            }  # fmt: skip
            after = {"client": "chat", "grant": "own", "session": "browser", "device": True}
            connection.execute(insert(Entry), [{**entered, "after": after}, {**entered, "after": {**after, "grant": "other", "session": "glass"}}])

        upgrade()

        with reading() as read:
            said = {row.id: row.connection_id for row in read.execute(select(Grant.id, Grant.connection_id))}
            assert said == {"of-browser": "okta", "of-glass": None, "own": "okta", "lost": None}
            assert read.scalars(select(Device.connection_id)).all() == ["okta"]
        db.engine.dispose()


@pytest.mark.parametrize("path", ["/sign-in?connection={}", "/oidc/{}/callback?state=a&code=b", "/oidc/{}/login", "/saml/{}/acs"])
def test_whoever_comes_back_by_a_connection_that_ended_is_found_by_their_number(
    installed: Flask, company: Company, okta: Provider, path: str
) -> None:
    in_transaction(lambda session: connections.end(session, okta.row(session), actor=ADMIN, at=now()))

    page = installed.test_client().get(path.format(okta.connection_id))

    (written,) = [entry.after or {} for entry in entries_of(company.organization_id, "sign-in refused")]
    assert page.status_code == 403 and str(written["reference"]) in page.text
    assert written["reason"] == Reason.UNKNOWN_CONNECTION and "ended" in str(written["said"])
