"""A person in a real browser, two real OpenID providers, and Doorlist between: in, out here, out there, and what happens on bad days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.access.connection_tables import ConnectionKind
from app.access.sealing import seal
from app.clock import now, parse_instant
from app.database import in_transaction
from app.directory.tables import Record
from app.sso import connections
from app.sso.oidc_setup import discover
from tests.company import ADMIN, Company, new_company
from tests.handsets import leaves
from tests.oidc_arrangement import forget_keys
from tests.served import Served, served
from tests.servers.chromium import Chromium, Window
from tests.servers.identities import ADA, GRACE, Client, Employee, OIDCManners, OpenIDProvider
from tests.servers.oidc_provider import NodeOIDCProvider
from tests.vouching import caught_up, joins_as
from tests.waiting import until

pytestmark = [pytest.mark.idp, pytest.mark.browser, pytest.mark.slow]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Doorlist behind an address, a company, and its connection to a provider."""

    served: Served
    company: Company
    ada: Record
    connection_id: str
    provider: OpenIDProvider

    @property
    def url(self) -> str:
        return self.served.url

    def opens(self, window: Window, *, to: str = "/access", fresh: bool = False) -> None:
        """The person chooses this provider on the sign-in page."""
        caught_up(now())
        window.page.goto(f"{self.url}/sign-in?connection={self.connection_id}&to={to}{'&fresh=1' if fresh else ''}")

    def signs_in(self, window: Window, employee: Employee = ADA) -> dict[str, Any]:
        self.opens(window)
        window.sign_in(employee)
        window.page.wait_for_url(f"{self.url}/access")
        found = self.session(window)
        assert found is not None
        return found

    def session(self, window: Window) -> dict[str, Any] | None:
        """Who is signed in at this browser, as Doorlist says."""
        answer = window.context.request.get(f"{self.url}/session")
        assert answer.status in (200, 401)
        shown: dict[str, Any] = json.loads(answer.text())
        return shown if answer.status == 200 else None


def connected(one: Served, company: Company, provider: OpenIDProvider, *, name: str, id_token_alg: str = "RS256") -> str:
    """What an operator does at both ends."""
    client = Client(client_id=f"doorlist-{name}", redirect_uris=(f"{one.url}/to-be-said",))

    def act(session: Session) -> str:
        found = {**discover(provider.issuer, allow_private=True), "client_id": client.client_id}
        made = connections.add(
            session, company.organization_id, kind=ConnectionKind.OIDC, name=name, issuer=provider.issuer, settings={"oidc": found},
            sealed_secret=seal(one.app.config["DOORLIST"], client.client_secret), actor=ADMIN, at=now(),
        )  # fmt: skip
        return made.id

    connection_id = in_transaction(act)
    here = f"{one.url}/oidc/{connection_id}"
    provider.register(
        Client(
            client_id=client.client_id, redirect_uris=(f"{here}/callback",), post_logout_redirect_uris=(f"{here}/signed-out",),
            logout_uri=f"{here}/logout", id_token_alg=id_token_alg,
        )
    )  # fmt: skip
    return connection_id


@pytest.fixture(params=["oidc_provider", "lemonldap"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    provider: OpenIDProvider = request.getfixturevalue(request.param)
    yield from _staged(provider, tmp_path)


@pytest.fixture
def node_stage(oidc_provider: NodeOIDCProvider, tmp_path: Path) -> Iterator[Stage]:
    yield from _staged(oidc_provider, tmp_path)


def _staged(provider: OpenIDProvider, folder: Path) -> Iterator[Stage]:
    forget_keys()
    with served(f"sqlite:///{folder / 'doorlist.sqlite'}", folder) as one:
        company = new_company()
        ada = joins_as(company, ADA.immutable_id, "ada", ADA.number, at=now() - timedelta(minutes=5))
        connection_id = connected(one, company, provider, name="corporate")
        yield Stage(served=one, company=company, ada=ada, connection_id=connection_id, provider=provider)


@pytest.fixture
def window(chromium: Chromium) -> Iterator[Window]:
    with chromium.window() as opened:
        yield opened


def test_somebody_signs_in_and_lands_where_they_wanted(stage: Stage, window: Window) -> None:
    session = stage.signs_in(window)

    assert session["person"]["id"] == stage.ada.person_id
    assert session["amr"] == ["pwd"] and session["second_factor"] is False
    assert window.errors == []


def test_somebody_whom_no_directory_knows_is_not_let_in(stage: Stage, window: Window) -> None:
    stage.opens(window)
    window.sign_in(GRACE)
    window.page.wait_for_url(f"{stage.url}/oidc/**")

    assert stage.session(window) is None
    assert window.page.locator(".reference").is_visible()
    assert GRACE.mail not in window.page.content()


def test_signing_out_here_signs_out_there(stage: Stage, window: Window) -> None:
    stage.signs_in(window)

    window.page.goto(f"{stage.url}/sign-out")
    window.page.locator("main button").click()
    # On the way the provider may ask, and sends back when it is done.
    window.page.wait_for_url(lambda url: not url.startswith(f"{stage.url}/sign-out"))
    window.leave()
    window.page.wait_for_url(f"{stage.url}/sign-in*")

    assert stage.session(window) is None
    stage.opens(window)
    # Had the provider still known them, it would have sent them straight back.
    window.page.locator("input[name=password]").wait_for()


def test_signing_out_there_ends_the_session_here_without_the_browser(stage: Stage, window: Window) -> None:
    stage.signs_in(window)
    cookies = window.context.cookies(stage.url)

    window.page.goto(stage.provider.end_session_url())
    window.leave()

    assert until(lambda: stage.session(window) is None), "the provider's word did not end the session"
    assert [one for one in cookies if one["name"] == "doorlist_session"] == [
        one for one in window.context.cookies(stage.url) if one["name"] == "doorlist_session"
    ]


def test_a_fresh_proof_is_asked_for_though_the_provider_still_knows_them(stage: Stage, window: Window) -> None:
    before = stage.signs_in(window)
    # LemonLDAP takes a sign-in for a fresh one until more than two seconds have passed, and counts whole ones.
    signed_in = datetime.fromisoformat(before["authenticated_at"]).replace(microsecond=0)
    assert until(lambda: now() >= signed_in + timedelta(seconds=3))

    stage.opens(window, fresh=True)
    window.page.locator("input[name=password]").wait_for()
    window.sign_in(ADA)
    window.page.wait_for_url(f"{stage.url}/access")

    after = stage.session(window)
    assert after is not None and after["authenticated_at"] > before["authenticated_at"]


def test_a_leaver_is_out_and_stays_out_though_the_provider_lets_them_in(stage: Stage, window: Window) -> None:
    stage.signs_in(window)

    leaves(stage.company, stage.ada.person_id)

    assert stage.session(window) is None
    stage.opens(window)
    window.page.wait_for_url(f"{stage.url}/oidc/**")
    assert stage.session(window) is None


def test_a_provider_that_vouches_for_a_while_is_taken_at_its_word(node_stage: Stage, oidc_provider: NodeOIDCProvider, window: Window) -> None:
    with oidc_provider.answering(OIDCManners(acr="phr", amr=("pwd", "hwk"), session_lasts=timedelta(minutes=30))):
        session = node_stage.signs_in(window)

    assert (session["acr"], session["amr"], session["second_factor"]) == ("phr", ["pwd", "hwk"], True)
    assert parse_instant(session["expires_at"]) < now() + timedelta(minutes=31)


def test_keys_that_roll_overnight_and_a_provider_that_is_away(node_stage: Stage, oidc_provider: NodeOIDCProvider, window: Window) -> None:
    node_stage.signs_in(window)
    oidc_provider.roll_keys(keep_old=False)
    forget_keys()
    node_stage.opens(window)
    window.page.wait_for_url(f"{node_stage.url}/access")
    assert node_stage.session(window) is not None

    with oidc_provider.down():
        assert node_stage.session(window) is not None, "who is in stays in"


@pytest.mark.parametrize("algorithm", ["PS256", "ES256", "Ed25519"])
def test_what_ipsie_allows_is_read(node_stage: Stage, oidc_provider: NodeOIDCProvider, window: Window, algorithm: str) -> None:
    connection_id = connected(node_stage.served, node_stage.company, oidc_provider, name=algorithm, id_token_alg=algorithm)
    caught_up(now())
    window.page.goto(f"{node_stage.url}/sign-in?connection={connection_id}&to=/access")
    window.sign_in(ADA)
    window.page.wait_for_url(f"{node_stage.url}/access")

    assert node_stage.session(window) is not None
