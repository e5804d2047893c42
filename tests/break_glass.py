"""Somebody with a break-glass account, and the application they come in to."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pyotp
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.access.sealing import make_key
from app.assembly import create_app
from app.clock import now
from app.database import db, in_transaction, reading
from app.directory.tables import Record
from app.revocation.alarms import open_alarms
from app.settings import from_environment
from app.sso import break_glass
from tests.company import ADMIN, Company
from tests.databases import migrated
from tests.security_key import SecurityKey
from tests.vouching import caught_up, joins_as

OURS = {"Origin": "http://localhost:8484"}


@contextmanager
def application(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """As everywhere, but under a name: security keys know no bare addresses."""
    settings = from_environment(
        {"DOORLIST_HOME": str(tmp_path / "home"), "DATABASE_URL": database_url, "DOORLIST_PUBLIC_URL": "http://localhost:8484"}
    )
    make_key(settings)
    app = create_app(settings)
    with app.app_context():
        migrated()
        yield app
        db.engine.dispose()


@dataclass(kw_only=True)
class Holder:
    """Somebody with a break-glass account, and what they keep for it."""

    company: Company
    record: Record
    browser: FlaskClient
    code: str
    envelope: list[str] = field(default_factory=list)
    secret: str = ""
    shown: str = ""

    def sets_up_app(self) -> TestResponse:
        """With the code before the present one, so that the present one is still there to come in with."""
        page = self.browser.post("/break-glass/set-up", data={"code": self.code}, headers=OURS)
        (self.secret,) = re.findall(r"<code>([A-Z2-7]{32})</code>", page.text)
        for _ in range(2):
            # A step may end between the two: then it is too old by one.
            self.shown = self.digits(-1)
            sent = {"code": self.code, "kept": field_of(page, "kept"), "totp": self.shown}
            done = self.browser.post("/break-glass/set-up", data=sent, headers=OURS)
            if done.status_code == 200:
                break
        self.envelope = re.findall(r'<code class="reference">([0-9A-Z-]{23})</code>', done.text)
        return done

    def sets_up(self, key: SecurityKey) -> TestResponse:
        page = self.browser.post("/break-glass/set-up", data={"code": self.code}, headers=OURS)
        return self.browser.post(
            "/break-glass/set-up", data={"code": self.code, "kept": field_of(page, "kept"), "credential": key.makes(options_of(page))}, headers=OURS
        )

    def digits(self, offset: int = 0) -> str:
        """What the app shows now, or in the step before or after."""
        return pyotp.TOTP(self.secret).at(now() + timedelta(seconds=30 * offset))

    def comes_in(self, code: str | None = None, totp: str | None = None) -> TestResponse:
        return self.browser.post(
            "/break-glass", data={"code": self.envelope.pop() if code is None else code, "totp": totp or self.digits()}, headers=OURS
        )

    def comes_in_with(self, key: SecurityKey) -> TestResponse:
        page = self.browser.get("/break-glass?to=/access")
        return self.browser.post(
            "/break-glass", data={"to": "/access", "kept": field_of(page, "kept"), "credential": key.signs(options_of(page))}, headers=OURS
        )

    @property
    def session(self) -> TestResponse:
        return self.browser.get("/session")

    def alarms(self) -> list[str]:
        with reading() as session:
            return [one.sentence for one in open_alarms(session, self.company.organization_id)]


def field_of(page: TestResponse, name: str) -> str:
    return html.unescape(re.findall(rf'name="{name}" value="([^"]*)"', page.text)[0])


def options_of(page: TestResponse) -> str:
    return html.unescape(re.findall(r'data-options="([^"]*)"', page.text)[0])


def holder_of(company: Company, browser: FlaskClient, external_id: str = "00u1", user_name: str = "ada") -> Holder:
    record = joins_as(company, external_id, user_name, at=now())
    _, code = in_transaction(lambda session: break_glass.add(session, company.organization_id, record.person_id, actor=ADMIN, at=now()))
    caught_up(now())
    return Holder(company=company, record=record, browser=browser, code=code)
