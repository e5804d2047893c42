"""From an e-mail address to a session in a real browser, and back again: the pages under their own strict policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.access.connection_tables import ConnectionKind
from app.access.session_tables import WebSession
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.sso import connections, saml
from app.sso.saml_setup import new_connection
from tests.company import ADMIN, Company, new_company
from tests.served import Served, served
from tests.servers.chromium import Chromium, Window
from tests.servers.identities import ADA, SAMLIdentityProvider
from tests.vouching import caught_up, joins_as

pytestmark = [pytest.mark.idp, pytest.mark.browser, pytest.mark.slow]


@dataclass(frozen=True, kw_only=True)
class Stage:
    served: Served
    company: Company
    connection_id: str

    def open_sessions(self) -> int:
        with reading() as session:
            return len(session.scalars(select(WebSession.id).where(WebSession.ended_at.is_(None))).all())


@pytest.fixture
def stage(pysaml2_idp: SAMLIdentityProvider, tmp_path: Path) -> Iterator[Stage]:
    with served(f"sqlite:///{tmp_path / 'doorlist.sqlite'}", tmp_path) as house:
        company, connection_id, at = new_company(), new_id(), now()
        joins_as(company, ADA.immutable_id, "ada", at=at)
        settings = house.app.config["DOORLIST"]
        new = new_connection(settings, pysaml2_idp.metadata(), connection_id=connection_id, at=at)
        made = in_transaction(
            lambda session: connections.add(
                session, company.organization_id, kind=ConnectionKind.SAML, name="Northwind’s own", issuer=new.issuer, settings={"saml": new.saml},
                domains=["corp.example"], sealed_secret=new.sealed_secret, connection_id=connection_id, actor=ADMIN, at=at,
            )
        )  # fmt: skip
        pysaml2_idp.trust(saml.metadata(settings, made).decode())
        caught_up(now())
        yield Stage(served=house, company=company, connection_id=connection_id)


@pytest.fixture
def window(chromium: Chromium) -> Iterator[Window]:
    with chromium.window() as one:
        yield one


def who(window: Window) -> dict[str, Any]:
    """What `/session` says at this browser."""
    said = json.loads(window.page.inner_text("body"))
    assert isinstance(said, dict)
    return said


def test_an_address_is_enough_and_the_device_remembers_where(stage: Stage, window: Window) -> None:
    page, url = window.page, stage.served.url
    page.goto(f"{url}/sign-in?to=/session")
    page.get_by_label("Work e-mail").fill(ADA.mail)
    page.get_by_role("button", name="Continue").click()
    window.sign_in(ADA)
    page.wait_for_url(f"{url}/session")
    assert who(window)["person"]["userName"] == "ada"
    caught_up(now())

    # Signing in anew ends the session before, though the answer comes by a form of the provider's.
    page.goto(f"{url}/sign-in?fresh=1&to=/session")
    window.sign_in(ADA)
    page.wait_for_url(f"{url}/session")
    assert stage.open_sessions() == 1
    caught_up(now())

    page.goto(f"{url}/sign-out")
    page.get_by_role("button", name="Sign out").click()
    window.leave()
    page.wait_for_url(f"{url}/sign-out")
    page.get_by_text("You are signed out").wait_for()
    assert stage.open_sessions() == 0

    page.goto(f"{url}/sign-in?to=/session")
    page.get_by_role("link", name="Continue with Northwind’s own").wait_for()
    page.get_by_role("link", name="Not you?").click()
    page.get_by_label("Work e-mail").wait_for()
    page.goto(f"{url}/sign-in")
    page.get_by_label("Work e-mail").wait_for()
    assert window.errors == []


def test_it_all_works_without_a_script_but_the_providers_own(stage: Stage, chromium: Chromium) -> None:
    with chromium.window(scripts=False) as window:
        window.page.goto(f"{stage.served.url}/sign-in?to=/access")
        window.page.get_by_label("Work e-mail").fill(ADA.mail)
        window.page.get_by_role("button", name="Continue").click()
        window.page.locator("input[name=user]").wait_for()
        assert window.errors == []
