"""Entra ID as a source on bad days: throttled, cut off, garbled, misconfigured; and how it proves who asks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import responses
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.contract import Misconfigured, RateLimited, Secret, Unauthorised, Unreachable
from connectors.source_contract import (
    Incomplete,
    SourceKey,
    SourceSettings,
)
from connectors.sources.entra import Entra
from tests.sources.entra_arrangement import company, people, source
from tests.sources.entra_stand_in import BEGINNING, CLIENT, SECRET, TENANT, EntraTenant, entra

GRAPH = "https://graph.example"
LOGIN = "https://login.example"


@pytest.fixture
def tenant() -> Iterator[EntraTenant]:
    with entra(page=3) as made:
        yield made


def outside(**options: str) -> Entra:
    given = {"tenant": TENANT, "client_id": CLIENT, "login_url": LOGIN, **options}
    responses.post(
        f"{LOGIN}/{TENANT}/oauth2/v2.0/token", json={"token_type": "Bearer", "expires_in": 3599, "access_token": "token-of-graph"}
    )
    return Entra(SourceSettings(name="entra", url=GRAPH, secret=Secret(SECRET), options=given), pause=_never)


def _never(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s")


def test_a_listing_of_nobody_at_all_is_incomplete(tenant: EntraTenant) -> None:
    with pytest.raises(Incomplete, match="nobody at all"):
        people(source(tenant))


def test_throttling_is_waited_out_for_as_long_as_graph_says(tenant: EntraTenant) -> None:
    for number in range(12):
        tenant.hire(f"p{number}@acme.example")
    tenant.allowance = 2

    assert len(people(source(tenant))) == 12
    assert tenant.now - BEGINNING == timedelta(seconds=17)


def test_throttling_that_outlasts_the_patience_is_told(tenant: EntraTenant) -> None:
    tenant.allowance = 0

    with pytest.raises(RateLimited) as caught:
        people(source(tenant, patience="10"))

    assert caught.value.wait == 17


def test_a_token_that_ends_in_the_middle_of_a_listing_is_fetched_anew(tenant: EntraTenant) -> None:
    for number in range(5):
        tenant.hire(f"p{number}@acme.example")
    listing = source(tenant).list_people()

    next(listing)
    tenant.end_token()

    assert len(list(listing)) == 4
    assert tenant.tokens == 2


def first_page() -> None:
    users = [{"id": "1", "accountEnabled": True, "userPrincipalName": "ada"}]
    responses.get(f"{GRAPH}/v1.0/users", json={"value": users, "@odata.nextLink": f"{GRAPH}/v1.0/users?$skiptoken=x"})


BROKEN: list[Any] = [
    ({"status": 500, "body": "oops"}, Unreachable),
    ({"status": 200, "body": "<html>Sign in</html>"}, Unreachable),
    ({"status": 200, "json": {"error": {}}}, Unreachable),
    ({"status": 200, "json": {"value": {}}}, Unreachable),
    ({"status": 200, "json": {"value": [{"accountEnabled": True}]}}, Unreachable),
    ({"status": 200, "json": {"value": [{"id": "2", "accountEnabled": "True"}]}}, Unreachable),
    ({"status": 400, "json": {"error": {"code": "Directory_ExpiredPageToken", "message": "expired"}}}, Incomplete),
    ({"status": 404, "body": "<html>no such page</html>"}, Incomplete),
    ({"status": 302, "headers": {"Location": "https://elsewhere.example"}}, Incomplete),
    ({"status": 403, "json": {"error": {"code": "Authorization_RequestDenied", "message": "Insufficient privileges"}}}, Unauthorised),
    ({"status": 429, "headers": {"Retry-After": "9999"}}, RateLimited),
    ({"status": 503, "headers": {"Retry-After": "9999"}}, RateLimited),
]


@responses.activate
@pytest.mark.parametrize(("answer", "error"), BROKEN)
def test_a_listing_that_breaks_off_at_a_page_is_never_everybody(answer: dict[str, Any], error: type[Exception]) -> None:
    first_page()
    responses.get(f"{GRAPH}/v1.0/users", match=[responses.matchers.query_param_matcher({"$skiptoken": "x"})], **answer)

    with pytest.raises(error):
        list(outside().list_people())


@responses.activate
def test_pages_that_lead_in_a_circle_are_incomplete() -> None:
    first_page()

    with pytest.raises(Incomplete, match="read already"):
        list(outside().list_people())


@responses.activate
@pytest.mark.parametrize(
    ("status", "body"),
    [(404, "<html>not here</html>"), (404, "{}"), (400, '{"error": {"code": "BadRequest", "message": "segment"}}'), (403, "{}"), (503, "")],
)
def test_only_graphs_own_words_mean_that_somebody_is_not_there(status: int, body: str) -> None:
    responses.get(f"{GRAPH}/v1.0/users/1", status=status, body=body)

    with pytest.raises((Misconfigured, Unauthorised, Unreachable)):
        outside().find_person(SourceKey("1"))


@responses.activate
def test_a_round_without_a_link_behind_it_reaches_nowhere() -> None:
    responses.get(f"{GRAPH}/v1.0/users/delta", json={"value": []})

    with pytest.raises(Incomplete):
        outside().cursor_now()


@responses.activate
def test_secret_and_token_are_in_no_message_and_no_address() -> None:
    responses.get(f"{GRAPH}/v1.0/users", status=403, json={"error": {"code": "No", "message": f"Bearer token-of-graph by {SECRET}"}})

    with pytest.raises(Unauthorised) as caught:
        list(outside().list_people())

    assert SECRET not in str(caught.value) and "token-of-graph" not in str(caught.value)
    assert all(SECRET not in str(call.request.url) for call in responses.calls)


def test_a_wrong_secret_is_told_in_entras_words_without_the_secret(tenant: EntraTenant) -> None:
    with pytest.raises(Unauthorised) as caught:
        people(source(tenant, secret="WrongSecretOfMine"))

    assert "AADSTS7000215" in str(caught.value) and "WrongSecretOfMine" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "what"),
    [
        ("http://graph.example", {}, "https"),
        (GRAPH, {"tenant": ""}, "tenant is needed"),
        (GRAPH, {"client_id": ""}, "client_id is needed"),
        (GRAPH, {"login_url": "http://login.example"}, "https"),
        (GRAPH, {"dates": "maybe"}, "dates is one of"),
        (GRAPH, {"auth": "key"}, "key is neither"),
        (GRAPH, {"page_size": "1000"}, "page_size"),
        (GRAPH, {"colour": "red"}, "no option colour"),
    ],
)
def test_settings_that_cannot_be_right_are_refused_at_once(url: str, options: dict[str, str], what: str) -> None:
    given = {"tenant": TENANT, "client_id": CLIENT, **options}

    with pytest.raises(Misconfigured, match=what):
        Entra(SourceSettings(name="entra", url=url, secret=Secret(SECRET), options=given))


def certified() -> tuple[str, x509.Certificate]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "doorlist")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    certificate = builder.not_valid_before(BEGINNING).not_valid_after(BEGINNING + timedelta(days=365)).sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return pem, certificate


def test_a_certificate_proves_the_application_instead_of_a_secret(tenant: EntraTenant) -> None:
    # The stand-in looks at the times of the assertion by the clock of this machine.
    tenant.now = datetime.now(UTC)
    _, ada = company(tenant)
    pem, tenant.certificate = certified()

    found = people(source(tenant, secret=pem + tenant.certificate.public_bytes(Encoding.PEM).decode()))

    assert ada in found


def test_a_key_without_its_certificate_or_with_anothers_is_refused(tenant: EntraTenant) -> None:
    (pem, _), (_, another) = certified(), certified()

    with pytest.raises(Misconfigured, match="no certificate") as first:
        source(tenant, secret=pem)
    with pytest.raises(Misconfigured, match="not that of the key") as second:
        source(tenant, secret=pem + another.public_bytes(Encoding.PEM).decode())

    assert "BEGIN" not in str(first.value) + str(second.value)


# Trying it.


def test_a_check_goes_through_every_step_and_tells_the_cost(tenant: EntraTenant) -> None:
    _, ada = company(tenant)
    tenant.hire("guest@other.example", userType="Guest")
    tenant.group("Research", ada)

    check = source(tenant).check()

    assert [(step.name, step.good) for step in check.steps] == [(name, True) for name in ("connect", "bind", "search", "count")]
    assert (check.people, check.groups) == (2, 1)
    assert "1 guests left out" in check.steps[-1].detail and "full listing" in check.cost


@pytest.mark.parametrize(
    ("path", "failing"),
    [("/v1.0/users", "search"), ("/v1.0/groups", "search"), ("/v1.0/users/$count", "count"), ("/v1.0/groups/delta", "count")],
)
def test_a_check_stops_at_the_step_that_fails(tenant: EntraTenant, path: str, failing: str) -> None:
    company(tenant)
    tenant.fails[path] = (403, "Authorization_RequestDenied")

    check = source(tenant).check()

    assert check.steps[-1].name == failing and not check.steps[-1].good
    assert "Authorization_RequestDenied" in check.steps[-1].detail and check.cost == ""


def test_a_wrong_secret_fails_at_bind_and_an_address_where_nobody_is_at_connect(tenant: EntraTenant) -> None:
    assert [step.good for step in source(tenant, secret="wrong").check().steps] == [True, False]
    given = {"allow_private": "true", "tenant": TENANT, "client_id": CLIENT, "login_url": tenant.url}
    nobody = Entra(SourceSettings(name="entra", url="http://127.0.0.1:9", secret=Secret(SECRET), options=given))
    assert [step.good for step in nobody.check().steps] == [False]
