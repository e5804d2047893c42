"""A real browser with a security key of its own (WebAuthn, over its debugging protocol) at the break-glass door."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.serving import make_server

from app.access.sealing import make_key
from app.assembly import create_app
from app.clock import now
from app.database import db, in_transaction
from app.directory.tables import Record
from app.settings import from_environment
from app.sso import break_glass
from tests.company import ADMIN, Company, new_company
from tests.databases import migrated
from tests.ports import free_port
from tests.servers.chromium import Chromium, Window
from tests.unit.sso.providing import application_in, wished
from tests.vouching import access_ends, caught_up, joins_as

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@dataclass(frozen=True, kw_only=True)
class Site:
    app: Flask
    url: str


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Doorlist under a name, to which a security key can be bound."""
    port = free_port()
    url = f"http://localhost:{port}"
    settings = from_environment(
        {"DOORLIST_HOME": str(tmp_path / "home"), "DATABASE_URL": f"sqlite:///{tmp_path / 'doorlist.sqlite'}", "DOORLIST_PUBLIC_URL": url}
    )
    make_key(settings)
    app = create_app(settings)
    server = make_server("localhost", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    with app.app_context():
        migrated()
        thread.start()
        try:
            yield Site(app=app, url=url)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            db.engine.dispose()


def with_security_key(window: Window) -> None:
    """Plug in a key that keeps credentials and asks for a PIN, which is typed right."""
    client = window.context.new_cdp_session(window.page)
    client.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "usb", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }  # fmt: skip
    client.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def adds_ada(company: Company) -> tuple[str, Record]:
    record = joins_as(company, "00u1", "ada@northwind.example", at=now())
    _, code = in_transaction(lambda session: break_glass.add(session, company.organization_id, record.person_id, actor=ADMIN, at=now()))
    caught_up(now())
    return code, record


def sets_a_key_up(site: Site, window: Window, code: str) -> None:
    """With the code of the envelope, from the first page to the last."""
    with_security_key(window)
    page = window.page
    page.goto(f"{site.url}/break-glass/set-up")
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Continue").click()
    assert window.faults() == []
    page.get_by_role("button", name="Use a security key").click()
    page.get_by_role("heading", name="Break-glass sign-in is set up").wait_for()
    caught_up(now())


def test_a_real_browser_sets_a_security_key_up_and_comes_in_with_it(site: Site, chromium: Chromium) -> None:
    company = new_company()
    code, record = adds_ada(company)

    with chromium.window() as window:
        sets_a_key_up(site, window, code)
        page = window.page

        page.goto(f"{site.url}/break-glass?to=/session")
        assert window.faults() == []
        page.get_by_role("button", name="Use a security key").click()
        page.wait_for_url(f"{site.url}/session")
        assert '"break_glass": true' in page.content()

        # The end of the chain: whoever departs is out, and the same key opens nothing.
        access_ends(company, record, at=now(), said_at=now())
        page.reload()
        assert '"status": 401' in page.content()
        page.goto(f"{site.url}/break-glass")
        page.get_by_role("button", name="Use a security key").click()
        page.get_by_text("That was not accepted.").wait_for()
        assert window.errors == []


def test_who_comes_in_by_break_glass_is_sent_on_to_the_application_that_they_wanted(site: Site, chromium: Chromium) -> None:
    company = new_company()
    code, _ = adds_ada(company)
    # Another origin than Doorlist's own, to which no redirect of its forms may lead.
    callback = site.url.replace("localhost", "127.0.0.1") + "/callback"
    wiki = application_in(site.app, company, redirect_uris=(callback,))

    with chromium.window() as window:
        sets_a_key_up(site, window, code)
        page = window.page

        page.goto(f"{site.url}/break-glass?{urlencode({'to': f'/authorize?{urlencode(wished(wiki, redirect_uri=callback))}'})}")
        page.get_by_role("button", name="Use a security key").click()
        page.wait_for_url(f"{callback}?code=*")


def test_the_picture_for_an_app_fits_a_narrow_telephone_with_large_letters(site: Site, chromium: Chromium) -> None:
    code, _ = adds_ada(new_company())

    with chromium.window(width=320) as window:
        window.with_larger_text()
        window.page.goto(f"{site.url}/break-glass/set-up")
        window.page.get_by_label("Code").fill(code)
        window.page.get_by_role("button", name="Continue").click()
        picture = window.page.get_by_role("img", name="The secret below, as a QR code").locator("svg").bounding_box()

        assert not window.too_wide()
        assert picture is not None and 150 < picture["width"] == pytest.approx(picture["height"], abs=1)
        assert window.faults() == []


def test_the_page_works_without_a_script_and_without_a_key(site: Site, chromium: Chromium) -> None:
    adds_ada(new_company())

    for dark in (False, True):
        with chromium.window(width=360, dark=dark, scripts=False) as window:
            window.page.goto(f"{site.url}/break-glass")
            assert window.page.get_by_role("button", name="Use a security key").count() == 0
            window.page.get_by_label("A one-time code from your envelope").fill("WRONG")
            window.page.get_by_label("The six digits that your authenticator app shows").fill("123456")
            window.page.get_by_role("button", name="Sign in").click()
            window.page.get_by_text("That was not accepted.").wait_for()
            assert not window.errors
