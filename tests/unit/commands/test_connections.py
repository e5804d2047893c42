"""Verbs on connections and on break-glass accounts, typed as an operator would."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from app.clock import now
from app.database import reading
from app.journal.tables import Entry
from app.sso.refusals import Reason
from app.sso.verified import Verified
from tests.oidc_stand_in import StandIn, stand_in
from tests.saml_provider import SAMLProvider, keys
from tests.unit.commands.conftest import Desk
from tests.vouching import shown, why_refused

pytestmark = pytest.mark.slow


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with stand_in() as found:
        yield found


@pytest.fixture(scope="module")
def saml() -> SAMLProvider:
    key = keys("okta")
    return SAMLProvider(key=key, certificates=(key,))


def adds_oidc(desk: Desk, provider: StandIn, *more: str) -> dict[str, object]:
    secret = desk.file("secret", "s3cret\n")
    return desk.asks("connection", "add", "oidc", "entra", "--issuer", provider.issuer, "--client-id", "doorlist", "--client-secret-file", secret, *more)


def adds_saml(desk: Desk, saml: SAMLProvider, *more: str, name: str = "okta") -> dict[str, object]:
    return desk.asks("connection", "add", "saml", name, "--metadata", desk.file("metadata.xml", saml.metadata()), *more)


def test_a_saml_provider_is_connected_by_its_metadata(desk: Desk, saml: SAMLProvider) -> None:
    said = adds_saml(desk, saml, "--domain", "Acme.example", "--domain", "@acme.test", "--allow-idp-initiated")

    base = f"http://127.0.0.1:8484/saml/{said['id']}"
    assert (said["entity_id"], said["acs_url"], said["metadata_url"]) == (f"{base}/metadata", f"{base}/acs", f"{base}/metadata")
    assert (said["domains"], said["allow_idp_initiated"]) == (["acme.example", "acme.test"], True)


def test_an_openid_provider_is_connected_by_its_issuer(desk: Desk, provider: StandIn) -> None:
    said = adds_oidc(desk, provider)

    assert said["redirect_uri"] == f"http://127.0.0.1:8484/oidc/{said['id']}/callback"
    assert not any(said[choice] for choice in ("allow_idp_initiated", "jit", "require_second_factor"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_leads_into_ones_own_network_is_called_only_where_that_is_meant(
    desk: Desk, provider: StandIn, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    real = socket.getaddrinfo

    def inside(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return real("127.0.0.1" if host == "idp.internal" else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", inside)
    named = provider.issuer.replace("http://127.0.0.1", f"{scheme}://idp.internal")
    provider.metadata["issuer"] = named
    asked = ("connection", "add", "oidc", "entra", "--issuer", named, "--client-id", "doorlist", "--json")
    for_saml = ("connection", "add", "saml", "okta", "--metadata", f"{named}/metadata", "--json")

    assert [desk.types(*one).exit for one in (asked, for_saml)] == [1, 1]
    assert provider.asked == []

    desk.types(*asked, "--allow-private")
    assert bool(provider.asked) is (scheme == "http"), "over https the stand-in has no certificate"


def test_the_secret_is_shown_nowhere(desk: Desk, provider: StandIn) -> None:
    adds_oidc(desk, provider)

    assert not any("s3cret" in desk.types("connection", verb, *name, "--json").out for verb, *name in (("list",), ("show", "entra")))


def test_a_secret_is_not_kept_where_none_is_shown_to_the_provider(desk: Desk, provider: StandIn) -> None:
    desk.asks("connection", "add", "oidc", "entra", "--issuer", provider.issuer, "--client-id", "doorlist")

    said = desk.types("connection", "set", "entra", "--client-secret-file", desk.file("secret", "s3cret\n"), "--json")

    assert said.exit == 2 and "proves itself by our key" in said.json["error"]


def test_choices_are_changed_one_by_one(desk: Desk, saml: SAMLProvider) -> None:
    adds_saml(desk, saml, "--domain", "acme.example", "--require-second-factor", "--strong", "urn:two", "--attribute", "uid", "--matches", "userName")

    said = desk.asks("connection", "set", "okta", "--no-require-second-factor", "--jit")

    assert (said["require_second_factor"], said["jit"], said["strong"]) == (False, True, ["urn:two"])
    assert (said["attribute"], said["matches"], said["domains"]) == ("uid", "userName", ["acme.example"])
    assert desk.types("connection", "set", "okta", "--no-domains", "--domain", "acme.test").exit == 2
    assert desk.asks("connection", "set", "okta", "--no-domains", "--default-match")["domains"] == []
    assert desk.asks("connection", "show", "okta")["attribute"] is None


def test_several_are_listed_and_one_is_ended(desk: Desk, saml: SAMLProvider, provider: StandIn) -> None:
    adds_saml(desk, saml)
    adds_oidc(desk, provider)

    assert [one["name"] for one in desk.asks("connection", "list")["connections"]] == ["entra", "okta"]
    assert desk.asks("connection", "end", "okta")["sessions"] == 0
    assert [one["name"] for one in desk.asks("connection", "list")["connections"]] == ["entra"]
    assert adds_saml(desk, saml)["name"] == "okta"


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        (("add", "saml", "okta", "--metadata", "FILE"), "not XML"),
        (("add", "oidc", "x", "--issuer", "https://login.microsoftonline.com/common/v2.0", "--client-id", "x"), "every tenant"),
        (("add", "oidc", "x", "--issuer", "https://idp.example", "--client-id", ""), "no client id"),
        (("add", "oidc", "x", "--issuer", "https://idp.example", "--client-id", "doorlist\n"), "no client id"),
        (("set", "nothing", "--jit"), "nothing does not exist"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(desk: Desk, arguments: tuple[str, ...], because: str) -> None:
    file = desk.file("broken.xml", "no metadata")

    said = desk.types("connection", *(file if one == "FILE" else one for one in arguments), "--json")

    assert said.exit in (1, 2) and because in said.json["error"]


def test_a_name_and_a_saml_issuer_are_used_once(desk: Desk, saml: SAMLProvider) -> None:
    adds_saml(desk, saml)

    for name in ("okta", "partner"):
        said = desk.types("connection", "add", "saml", name, "--metadata", desk.file("again.xml", saml.metadata()), "--json")
        assert said.exit == 1 and "already" in said.json["error"]


def test_a_domain_that_is_none_connects_nothing(desk: Desk, saml: SAMLProvider) -> None:
    said = desk.types("connection", "add", "saml", "okta", "--metadata", desk.file("m.xml", saml.metadata()), "--domain", "not a domain", "--json")

    assert said.exit == 2
    assert desk.asks("connection", "list")["connections"] == []


def test_a_next_certificate_is_taken_beside_the_present_one(desk: Desk, saml: SAMLProvider) -> None:
    adds_saml(desk, saml)
    rolled = SAMLProvider(key=saml.key, certificates=(*saml.certificates, keys("okta next")))

    said = desk.asks("connection", "refresh", "okta", "--metadata", desk.file("next.xml", rolled.metadata()))

    assert len(said["changes"]) == 1 and "new certificate" in said["changes"][0]


def test_trying_a_connection_says_what_is_wrong_with_it(desk: Desk, provider: StandIn) -> None:
    adds_oidc(desk, provider)
    assert desk.asks("connection", "test", "entra")["problems"] == []

    provider.metadata["token_endpoint"] = f"{provider.issuer}/elsewhere"

    said = desk.types("connection", "test", "entra", "--json")
    assert said.exit == 1 and "token_endpoint has changed" in said.json["problems"][0]
    assert desk.asks("connection", "refresh", "entra")["changes"] == [f"token_endpoint is {provider.issuer}/elsewhere"]
    assert desk.asks("connection", "test", "entra")["problems"] == []


def test_trying_a_connection_says_that_the_provider_stopped_naming_itself(desk: Desk, provider: StandIn) -> None:
    adds_oidc(desk, provider)
    provider.metadata["authorization_response_iss_parameter_supported"] = None

    said = desk.types("connection", "test", "entra", "--json")

    assert said.exit == 1 and "no iss in its answers any more" in said.json["problems"][0]
    desk.asks("connection", "refresh", "entra")
    assert desk.asks("connection", "test", "entra")["problems"] == []


def test_where_an_openid_provider_is_called_from_now_on_is_in_the_journal(desk: Desk, provider: StandIn) -> None:
    adds_oidc(desk, provider)
    provider.metadata["jwks_uri"] = f"{provider.issuer}/elsewhere"

    for _ in range(2):
        desk.asks("connection", "refresh", "entra")

    with desk.app.app_context(), reading() as session:
        (written,) = session.scalars(select(Entry).where(Entry.verb == "connection changed")).all()
    assert [said["oidc"] for said in (written.before or {}, written.after or {})] == [
        {"jwks_uri": f"{provider.issuer}/jwks"}, {"jwks_uri": f"{provider.issuer}/elsewhere"},
    ]  # fmt: skip


def test_only_one_directory_may_be_matched(desk: Desk, saml: SAMLProvider) -> None:
    directory = desk.directory()

    assert adds_saml(desk, saml, "--directory", "okta", "--matches", "userName")["directory"] == directory


def test_what_people_are_matched_by_is_changed_one_by_one(desk: Desk, saml: SAMLProvider) -> None:
    directory = desk.directory()
    adds_saml(desk, saml, "--attribute", "employeeNumber", "--matches", "employeeNumber")

    def key(*options: str) -> tuple[Any, ...]:
        said = desk.asks("connection", "set", "okta", *options)
        return said["attribute"], said["matches"], said["directory"]

    assert key("--directory", "okta") == ("employeeNumber", "employeeNumber", directory)
    assert key("--attribute", "number") == ("number", "employeeNumber", directory)
    assert key("--matches", "userName") == ("number", "userName", directory)
    assert key("--default-match", "--attribute", "uid") == ("uid", "externalId", None)
    assert key("--default-match") == (None, "externalId", None)


def test_helpdesks_may_try_and_unbind_and_no_more(desk: Desk, saml: SAMLProvider) -> None:
    adds_saml(desk, saml)
    desk.hires(desk.directory(), "ada")
    token = str(desk.asks("operator", "add", "Hal", "--role", "helpdesk")["token"])

    assert desk.asks("connection", "unbind", "okta", "ada@acme.example", token=token)["unbound"] == 0
    assert desk.types("connection", "end", "okta", token=token).exit == 4
    assert desk.types("break-glass", "add", "ada@acme.example", token=token).exit == 4


def test_unbinding_whoever_joined_by_signing_in_says_that_a_directory_has_to_name_them(desk: Desk, saml: SAMLProvider) -> None:
    made = adds_saml(desk, saml, "--jit", "--domain", "acme.example")
    said = Verified(
        organization_id=desk.organization_id, connection_id=str(made["id"]), issuer=str(made["issuer"]), subject="eve", email="eve@acme.example",
        issued_at=now(), authenticated_at=now(),
    )  # fmt: skip
    with desk.app.app_context():
        shown(said, at=now())

    unbound = desk.types("connection", "unbind", "okta", "eve@acme.example")

    assert (unbound.exit, "before a directory names them" in unbound.err) == (0, True), unbound
    with desk.app.app_context():
        assert why_refused(said, at=now()) is Reason.NOT_KNOWN


def test_a_break_glass_account_is_added_listed_and_ended(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")

    said = desk.asks("break-glass", "add", "ada@acme.example")

    assert said["set_up_url"] == "http://127.0.0.1:8484/break-glass/set-up"
    assert len(said["set_up_code"]) == 23
    (listed,) = desk.asks("break-glass", "list")["accounts"]
    assert (listed["person"]["userName"], listed["factors"], listed["last_used"]) == ("ada@acme.example", [], None)
    assert desk.types("break-glass", "add", "ada@acme.example").exit == 1
    assert desk.asks("break-glass", "code", "ada@acme.example")["set_up_code"] != said["set_up_code"]
    assert desk.asks("break-glass", "end", "ada@acme.example")["ended"] is True
    assert desk.asks("break-glass", "list")["accounts"] == []
    assert desk.types("break-glass", "end", "ada@acme.example").exit == 1
