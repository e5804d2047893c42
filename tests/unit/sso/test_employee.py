"""The employee's own pages: what they show, what can be ended from them, and that nobody else's is touched."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access import parties, sessions
from app.access.tables import RESERVED, Account, Workspace
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.directory.tables import StatementKind, Voice
from app.lifecycle import leaving
from app.lifecycle.signing_out import sign_out_everywhere
from app.rules.file import parse
from app.rules.revisions import apply_rules
from app.sso import employee
from connectors.contract import AccountState
from tests.company import ADMIN, Company, new_company
from tests.possessions import Possessions, possessions_of

RULES = """
rules:
  - {id: everyone, name: all-hands}
  - {id: departments, for_each: department, name: "dept-{{ key | slug }}"}
"""
FROM_HERE = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True, kw_only=True)
class Employee:
    company: Company
    held: Possessions
    browser: FlaskClient

    def sees(self, path: str, **headers: str) -> str:
        answer = self.browser.get(path, headers=headers)
        assert answer.status_code == 200, (path, answer.status_code, answer.location)
        return answer.get_data(as_text=True)

    def ends(self, what: str, headers: dict[str, str] | None = None) -> TestResponse:
        return self.browser.post("/devices-of-mine", data={"end": what}, headers=FROM_HERE if headers is None else headers)


@pytest.fixture
def company(installed: Flask) -> Company:
    company = new_company()
    in_transaction(lambda session: apply_rules(session, company.organization_id, parse(RULES), ADMIN, now()))
    return company


def employ(app: Flask, company: Company, name: str) -> Employee:
    record = company.joins(f"{name}@x.example", department="Research & <Development>")
    held = possessions_of(company.organization_id, record.person_id, at=now())
    browser = app.test_client()
    browser.set_cookie("doorlist_session", held.cookie)
    return Employee(company=company, held=held, browser=browser)


@pytest.fixture
def ada(installed: Flask, company: Company) -> Employee:
    return employ(installed, company, "ada")


@pytest.mark.parametrize("path", ["/", "/devices-of-mine", "/access"])
def test_who_is_not_signed_in_is_asked_to_and_comes_back(installed: Flask, path: str) -> None:
    answer = installed.test_client().get(path)

    assert (answer.status_code, answer.location) == (303, f"/sign-in?to={path}")


def test_the_first_day_names_each_channel_and_why(ada: Employee) -> None:
    page = ada.sees("/")

    assert "You are in 2 channels, because" in page
    assert "<strong>all-hands</strong>" in page
    assert "You are in Research &amp; &lt;Development&gt;." in page


def test_the_first_day_speaks_the_browsers_language(ada: Employee) -> None:
    page = ada.sees("/", **{"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"})

    assert '<html lang="de">' in page
    assert "Willkommen, Ada." in page
    assert "Sie sind in 2 Kanälen" in page


def test_a_language_we_do_not_have_gets_english(ada: Employee) -> None:
    assert "Welcome, Ada." in ada.sees("/", **{"Accept-Language": "tlh"})


def test_all_that_is_signed_in_is_shown_and_this_browser_marked(ada: Employee) -> None:
    another = possessions_of(ada.company.organization_id, ada.held.person_id, at=now())
    page = ada.sees("/devices-of-mine")

    assert page.count("This one") == 1
    # Another browser, two devices, two applications that go on by themselves, and all at once.
    assert page.count('name="end"') == 6
    assert f'value="device {another.device_id}"' in page


def test_one_device_is_ended_and_the_others_stay(ada: Employee) -> None:
    another = possessions_of(ada.company.organization_id, ada.held.person_id, at=now())

    page = ada.ends(f"device {another.device_id}").get_data(as_text=True)

    assert "1 device was signed out." in page
    assert "device" not in another.let_in(at=now())
    assert "device" in ada.held.let_in(at=now())
    assert "cookie" in another.let_in(at=now())


def test_an_application_that_goes_on_by_itself_is_ended(ada: Employee) -> None:
    another = possessions_of(ada.company.organization_id, ada.held.person_id, at=now())
    listed = re.findall(r'value="(grant [^"]+)"', ada.sees("/devices-of-mine"))

    page = ada.ends(listed[0]).get_data(as_text=True)

    assert (len(listed), "1 device was signed out." in page) == (2, True)
    assert another.let_in(at=now()) == {"cookie", "device"}
    assert "refresh token" in ada.held.let_in(at=now())


def test_what_an_application_has_from_an_open_browser_is_shown_by_that_alone(ada: Employee) -> None:
    possessions_of(ada.company.organization_id, ada.held.person_id, at=now(), offline=False)
    assert ada.sees("/devices-of-mine").count('value="grant ') == 1


def test_an_application_that_was_ended_lets_nobody_in_and_is_shown_no_more(ada: Employee) -> None:
    here = ada.company.organization_id
    assert 'value="grant ' in ada.sees("/devices-of-mine")

    def end_all(session: Session) -> None:
        for party in parties.parties_of(session, here):
            parties.end_party(session, party, actor=ADMIN, at=now())

    in_transaction(end_all)

    assert ada.held.let_in(at=now()) & {"access token", "refresh token", "code"} == set()
    assert re.findall(r'value="(grant|device) ', ada.sees("/devices-of-mine")) == []


def test_everything_else_is_ended_and_this_browser_stays(ada: Employee) -> None:
    another = possessions_of(ada.company.organization_id, ada.held.person_id, at=now())

    page = ada.ends("others").get_data(as_text=True)

    assert another.let_in(at=now()) == set()
    assert ada.held.let_in(at=now()) == {"cookie"}
    assert "Everything else is signed out." in page
    assert ada.sees("/devices-of-mine").count('name="end"') == 1


def test_whoever_was_signed_out_meanwhile_does_not_stay_by_signing_out_everywhere_else(ada: Employee) -> None:
    with reading() as session:
        here = sessions.check(session, ada.held.cookie, at=now())
    assert here is not None

    def sign_out(session: Session) -> None:
        sign_out_everywhere(session, ada.company.organization_id, ada.held.person_id, actor=ADMIN, at=now(), because="lost phone")

    in_transaction(sign_out)
    # As one does who was still signed in when they asked.
    in_transaction(lambda session: employee.end_all_else(session, here, at=now()))

    assert ada.held.let_in(at=now()) == set()


def test_nobody_ends_what_is_somebody_elses(installed: Flask, company: Company, ada: Employee) -> None:
    bob = employ(installed, company, "bob")
    with reading() as session:
        his = sessions.check(session, bob.held.cookie, at=now())
    assert his is not None

    for what in (f"device {bob.held.device_id}", f"session {his.session_id}", "device", "", "device ../x", "nonsense"):
        page = ada.ends(what).get_data(as_text=True)
        assert "That one had ended already." in page

    assert {"cookie", "device"} <= bob.held.let_in(at=now())


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}])
def test_a_form_of_another_site_ends_nothing(ada: Employee, headers: dict[str, str]) -> None:
    another = possessions_of(ada.company.organization_id, ada.held.person_id, at=now())

    assert ada.ends("others", headers=headers).status_code == 403
    assert "cookie" in another.let_in(at=now())


def test_whoever_has_left_sees_none_of_their_pages(ada: Employee) -> None:
    def leave(session: Session) -> None:
        leaving.say(
            session, ada.company.organization_id, ada.held.person_id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana",
            effective_at=now(), actor=ADMIN, at=now(), because="test",
        )  # fmt: skip

    in_transaction(leave)

    assert ada.browser.get("/").status_code == 303
    assert ada.ends("others").status_code == 303


def test_access_says_when_it_ends(ada: Employee) -> None:
    assert "Your access has no end date." in ada.sees("/access")


@pytest.mark.parametrize(
    ("state", "to_go_to", "theirs"),
    [(RESERVED, False, False), (AccountState.DEACTIVATED, False, True), (AccountState.ACTIVE, True, True)],
)  # fmt: skip
def test_an_account_is_shown_once_it_is_there_and_its_place_once_it_is_open(ada: Employee, state: str, to_go_to: bool, theirs: bool) -> None:
    here = ada.company.organization_id

    def add(session: Session) -> None:
        workspace = Workspace(organization_id=here, id=new_id(), name="chat", kind="matrix", url="https://chat.example", sealed_token=b"", created_at=now())
        session.add(workspace)
        session.flush()
        session.add(
            Account(organization_id=here, workspace_id=workspace.id, person_id=ada.held.person_id, account_id="@ada:chat.example", state=state)
        )

    in_transaction(add)

    assert ("In chat. Sign in there" in ada.sees("/"), "@ada:chat.example" in ada.sees("/access")) == (to_go_to, theirs)


@pytest.mark.parametrize("path", ["/", "/devices-of-mine", "/access"])
def test_every_page_forbids_what_is_not_ours(ada: Employee, path: str) -> None:
    answer = ada.browser.get(path)

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    page = answer.get_data(as_text=True)
    assert "<script" not in page and " style=" not in page and "onclick" not in page


def test_an_asset_is_kept_for_ever_and_nothing_else_is_given(installed: Flask) -> None:
    from app.sso.pages import asset_url

    good = installed.test_client().get(asset_url("doorlist.css"))
    assert (good.status_code, good.mimetype) == (200, "text/css")
    assert "immutable" in good.headers["Cache-Control"]
    for path in ("/assets/x/pages.py", "/assets/x/..%2fpages.py", "/assets/x/doorlist.css.bak"):
        assert installed.test_client().get(path).status_code == 404
