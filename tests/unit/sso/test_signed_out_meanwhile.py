"""A provider ends what somebody has here while they are just coming in by it once more: that ends as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.clock import now
from app.settings import Settings
from app.sso import entering, saml_logout
from app.sso.entering import Entered
from app.sso.saml_logout import by_query
from app.sso.verified import Verified
from tests import oidc_arrangement, saml_arrangement
from tests.company import NOW, new_company
from tests.saml_provider import logout_request, query
from tests.two_at_once import meanwhile
from tests.vouching import caught_up, is_in, joins_as

pytestmark = pytest.mark.slow


def entering_as(settings: Settings, verified: Verified, *, at: datetime) -> Callable[[Session], Entered]:
    """For a transaction of the caller's own, as another process would have it open."""
    return lambda session: entering._enter(session, settings, verified, agent="", at=at)


@pytest.fixture
def oidc(installed: Flask) -> Iterator[oidc_arrangement.Arrangement]:
    oidc_arrangement.forget_keys()
    with oidc_arrangement.arranged(installed, new_company()) as made:
        made.provider.subject = "00u1"
        made.provider.claims = {"sid": "first"}
        yield made
    oidc_arrangement.forget_keys()


def test_an_openid_provider_ends_who_is_coming_in_by_the_session_that_it_names(oidc: oidc_arrangement.Arrangement) -> None:
    joins_as(oidc.company, "00u1", at=now() - timedelta(minutes=5))
    verified, token = oidc.signs_in(), oidc.provider.logout_token(sid="first")

    def told() -> int:
        return oidc.app.test_client().post(f"/oidc/{oidc.connection_id}/logout", data={"logout_token": token}).status_code

    entered, status = meanwhile(oidc.app, entering_as(oidc.settings, verified, at=now()), told)

    assert status == 200
    assert not is_in(entered.cookie, at=now())


def test_a_saml_provider_ends_who_is_coming_in_by_the_session_that_it_names(installed: Flask) -> None:
    saml = saml_arrangement.acme(installed, new_company())
    joins_as(saml.company, "im-ada-1001")
    caught_up(NOW)
    verified = saml.signs_in()
    text = query("SAMLRequest", logout_request(saml.provider.entity_id, saml.to, at=NOW, indexes=()), saml.provider.key)

    entered, done = meanwhile(
        installed, entering_as(saml.settings, verified, at=NOW), lambda: saml_logout.take_request(saml.settings, saml.connection(), by_query(text), at=NOW)
    )

    assert done.session_ids == (entered.present.session_id,)
    assert not is_in(entered.cookie)
