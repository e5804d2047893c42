"""Every page for people in a real browser: light and dark, at three widths, without a script, in two languages, and clean for axe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection, ConnectionDomain
from app.access.tables import Account, Workspace
from app.clock import now
from app.database import in_transaction, new_id
from app.rules.file import parse
from app.rules.revisions import apply_rules
from tests.company import ADMIN, Company, new_company
from tests.possessions import Possessions, possessions_of
from tests.served import Served, served
from tests.servers.chromium import PLAIN_NAME, WIDTHS, Chromium, Window

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RULES = """
rules:
  - {id: everyone, name: all-hands}
  - {id: departments, for_each: department, name: "dept-{{ key | slug }}"}
  - {id: teams, for_each: manager, name: "team-{{ manager.displayName | slug }}"}
"""
SIGNED_IN = {
    "first day": "/",
    "devices": "/devices-of-mine",
    "access": "/access",
    "let a device in": "/device",
    "sign out, asked by an application": "/logout",
    "sign out": "/sign-out",
}
SIGNED_OUT = {
    "sign in": "/sign-in",
    "closed account": "/sign-in?connection=nobody-has-this-one",
    "signed out": "/sign-out",
    "no such page": "/an/old/bookmark",
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    served: Served
    company: Company
    held: Possessions

    def open(self, window: Window, path: str, *, signed_in: bool) -> None:
        if signed_in:
            window.context.add_cookies([{"name": "doorlist_session", "value": self.held.cookie, "url": self.served.url}])
        window.page.goto(self.served.url + path)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("pages")
    with served(f"sqlite:///{folder / 'doorlist.sqlite'}", folder) as one:
        company = new_company()
        in_transaction(lambda session: apply_rules(session, company.organization_id, parse(RULES), ADMIN, now()))
        boss = company.joins("bo.with.a.rather.long.name.indeed@northwind.example", "1", department="Finance")
        ada = company.joins("ada@northwind.example", "2", department="Finance & Control", manager={"value": boss.id})
        in_transaction(lambda session: _connect(session, company, ada.person_id))
        possessions_of(company.organization_id, ada.person_id, at=now())
        yield Stage(served=one, company=company, held=possessions_of(company.organization_id, ada.person_id, at=now()))


def _connect(session: Session, company: Company, person_id: str) -> None:
    workspace = Workspace(
        organization_id=company.organization_id, id=new_id(), name="chat.northwind.example", kind="matrix", url="http://nowhere.invalid",
        sealed_token=b"", options={}, created_at=now(),
    )  # fmt: skip
    session.add(workspace)
    session.flush()
    session.add(
        Account(
            organization_id=company.organization_id, workspace_id=workspace.id, person_id=person_id, account_id="@ada:chat.northwind.example",
            state="active",
        )
    )  # fmt: skip
    for name in ("Okta", "Entra ID"):
        connection = Connection(
            organization_id=company.organization_id, id=new_id(), kind="oidc", name=name, issuer=f"https://{name}.example", settings={}, created_at=now()
        )
        session.add(connection)
        session.flush()
        session.add(ConnectionDomain(organization_id=company.organization_id, connection_id=connection.id, domain="northwind.example"))


def look_at(window: Window, name: str, tmp_path: Path) -> None:
    window.picture(Path(os.environ.get("DOORLIST_TEST_PICTURES") or tmp_path), name)
    assert window.faults() == []
    assert not window.too_wide()
    assert window.errors == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_clean_at_every_width(chromium: Chromium, stage: Stage, tmp_path: Path, width: int, dark: bool) -> None:
    for pages, signed_in in ((SIGNED_IN, True), (SIGNED_OUT, False)):
        with chromium.window(width=width, dark=dark) as window:
            for name, path in pages.items():
                stage.open(window, path, signed_in=signed_in)
                look_at(window, f"{name}, {width}, {'dark' if dark else 'light'}", tmp_path)
            if not signed_in:
                stage.open(window, "/sign-in", signed_in=False)
                window.page.get_by_label("Work e-mail").fill("ada@northwind.example")
                window.page.get_by_role("button", name="Continue").click()
                look_at(window, f"choose, {width}, {'dark' if dark else 'light'}", tmp_path)


def test_every_page_reads_in_german(chromium: Chromium, stage: Stage, tmp_path: Path) -> None:
    with chromium.window(width=360, language="de-DE") as window:
        for name, path in SIGNED_IN.items():
            stage.open(window, path, signed_in=True)
            assert window.page.locator("html").get_attribute("lang") == "de"
            look_at(window, f"{name}, 360, German", tmp_path)


@pytest.mark.parametrize("language", ["en-GB", "de-DE"])
def test_no_page_is_wider_than_a_narrow_telephone_with_large_letters_and_a_long_name(chromium: Chromium, stage: Stage, language: str) -> None:
    at, department = now(), "Rechtsschutzversicherungsgesellschaften"
    long = stage.company.joins(f"{'wolfeschlegelsteinhausenbergerdorff' * 2}.{language}@northwind.example", at=at, department=department)
    long_named = replace(stage, held=possessions_of(stage.company.organization_id, long.person_id, at=at))
    for pages, signed_in in ((SIGNED_IN, True), (SIGNED_OUT, False)):
        with chromium.window(width=320, language=language) as window:
            window.with_larger_text()
            for name, path in pages.items():
                long_named.open(window, path, signed_in=signed_in)
                assert not window.too_wide(), name


def test_a_device_is_ended_without_a_script_and_by_keyboard_alone(chromium: Chromium, stage: Stage) -> None:
    another = possessions_of(stage.company.organization_id, stage.held.person_id, at=now())
    with chromium.window(scripts=False) as window:
        stage.open(window, "/devices-of-mine", signed_in=True)
        button = window.page.locator(f'button[value="device {another.device_id}"]')
        for _ in range(60):
            window.page.keyboard.press("Tab")
            if button.evaluate("element => element === document.activeElement"):
                break
        window.page.keyboard.press("Enter")
        window.page.get_by_text("1 device was signed out.").wait_for()

    assert "device" not in another.let_in(at=now())
    assert "cookie" in another.let_in(at=now())


def test_who_signs_out_is_out_and_told_so(chromium: Chromium, stage: Stage) -> None:
    held = possessions_of(stage.company.organization_id, stage.held.person_id, at=now())
    with chromium.window(scripts=False) as window:
        window.context.add_cookies([{"name": "doorlist_session", "value": held.cookie, "url": stage.served.url}])
        window.page.goto(stage.served.url + "/")
        window.page.get_by_role("button", name="Sign out").click()
        window.page.wait_for_load_state()
        window.page.goto(stage.served.url + "/")

        assert urlsplit(window.page.url).path == "/sign-in"
    assert "cookie" not in held.let_in(at=now())


def test_forms_are_taken_from_a_browser_that_says_only_by_their_origin_whose_they_are(stage: Stage, chromium: Chromium) -> None:
    # As Safari before 16.4 everywhere, and every browser where there is no https.
    with chromium.window() as window:
        window.page.goto(stage.served.url.replace("127.0.0.1", PLAIN_NAME) + "/sign-in")
        window.page.get_by_label("Work e-mail").fill("ada@elsewhere.example")
        with window.page.expect_request("**/sign-in") as sent:
            window.page.get_by_role("button", name="Continue").click()

        window.page.get_by_text("We do not know where people of that address sign in.").wait_for()
        assert "sec-fetch-site" not in sent.value.all_headers()
