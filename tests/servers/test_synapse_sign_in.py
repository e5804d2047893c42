"""A real Synapse lets people in through an OpenID provider, and ends what it gave when that provider says so."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.servers.chromium import Chromium
from tests.servers.identities import ADA, GRACE, Client, Employee
from tests.servers.oidc_provider import NodeOIDCProvider
from tests.servers.saml_sp import SmallSP
from tests.servers.synapse import SERVER_NAME, Synapse
from tests.servers.synapse_sign_in import SignInProvider
from tests.waiting import until

pytestmark = [pytest.mark.idp, pytest.mark.browser, pytest.mark.synapse]
SECRET = "synapse-secret-of-tests"


@pytest.fixture(scope="module")
def workspace(oidc_provider: NodeOIDCProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    server = Synapse(sign_in=SignInProvider(issuer=oidc_provider.issuer, client_secret=SECRET))
    server.start(tmp_path_factory.mktemp("synapse-sign-in"))
    oidc_provider.register(
        Client(
            client_id="synapse",
            client_secret=SECRET,
            redirect_uris=(server.redirect_uri,),
            logout_uri=server.logout_uri,
            id_token_alg="ES256",
        )
    )
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def landing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page of some client's for a browser to come to."""
    party = SmallSP.at(tmp_path_factory.mktemp("landing"))
    yield f"{party.url}/who"
    party.stop()


def provision(workspace: Synapse, employee: Employee) -> str:
    user_id = f"@{employee.uid}:{SERVER_NAME}"
    external = [{"auth_provider": "oidc-doorlist", "external_id": employee.immutable_id}]
    workspace.admin("PUT", f"/_synapse/admin/v2/users/{user_id}", {"external_ids": external})
    return user_id


def answer_to(workspace: Synapse, token: str) -> int:
    return requests.get(
        f"{workspace.url}/_matrix/client/v3/account/whoami", headers={"Authorization": f"Bearer {token}"}, timeout=10
    ).status_code


def test_who_was_provisioned_signs_in_and_a_logout_token_ends_it(
    workspace: Synapse, oidc_provider: NodeOIDCProvider, chromium: Chromium, landing: str
) -> None:
    user_id = provision(workspace, ADA)

    with chromium.window() as window:
        window.page.goto(workspace.sign_in_url(landing))
        window.sign_in(ADA)
        window.page.wait_for_url(f"{landing}?loginToken=*")
        token = parse_qs(urlsplit(window.page.url).query)["loginToken"][0]
        entered = workspace.sign_in_by_token(token)
        before = answer_to(workspace, entered.token)
        window.page.goto(oidc_provider.end_session_url())
        window.leave()
        until(lambda: answer_to(workspace, entered.token) == 401)

    assert entered.user_id == user_id
    assert before == 200
    assert answer_to(workspace, entered.token) == 401


def test_who_was_not_provisioned_does_not_get_in(workspace: Synapse, chromium: Chromium, landing: str) -> None:
    with chromium.window() as window:
        window.page.goto(workspace.sign_in_url(landing))
        window.sign_in(GRACE)
        window.page.wait_for_url(f"{workspace.url}/**")
        window.page.wait_for_load_state()

        assert "loginToken" not in window.page.url
        assert window.page.url.startswith(workspace.redirect_uri)
