"""Okta as a source on bad days: throttled, cut off, garbled, misconfigured; and how it proves who asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import responses
from joserfc.jwk import ECKey, RSAKey

from connectors.contract import Misconfigured, RateLimited, Secret, Unauthorised, Unreachable
from connectors.source_contract import (
    Incomplete,
    SourceKey,
    SourceSettings,
)
from connectors.sources.okta import Okta
from tests.sources.okta_arrangement import company, people, source
from tests.sources.okta_stand_in import TOKEN, OktaOrganisation, okta

ORGANISATION = "https://acme.okta.example"


@pytest.fixture
def organisation() -> Iterator[OktaOrganisation]:
    with okta(largest_page=3) as made:
        yield made


def outside(**options: str) -> Okta:
    def never(seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s")

    return Okta(SourceSettings(name="okta", url=ORGANISATION, secret=Secret(TOKEN), options=options), pause=never)


def test_a_listing_of_nobody_at_all_is_incomplete(organisation: OktaOrganisation) -> None:
    with pytest.raises(Incomplete, match="nobody at all"):
        people(source(organisation))


def test_throttling_is_waited_out_until_the_second_that_okta_names(organisation: OktaOrganisation) -> None:
    for number in range(20):
        organisation.hire(f"p{number}@acme.example")
    organisation.later(seconds=5)
    organisation.allowance = 2
    began = organisation.now

    assert len(people(source(organisation))) == 20
    assert (organisation.now - began).total_seconds() == 3 * 37


def test_throttling_that_outlasts_the_patience_is_told(organisation: OktaOrganisation) -> None:
    company(organisation)
    organisation.allowance = 0

    with pytest.raises(RateLimited) as caught:
        people(source(organisation, patience="30"))

    assert caught.value.wait == 37


def test_a_page_that_takes_okta_too_long_is_asked_for_in_smaller_ones(organisation: OktaOrganisation) -> None:
    company(organisation)
    organisation.slow_above = 25

    assert len(people(source(organisation))) == 3


def first_page(**headers: str) -> None:
    link = f'<{ORGANISATION}/api/v1/users?after=x>; rel="next"'
    users = [{"id": "00u00000000000000001", "status": "ACTIVE", "profile": {"login": "ada"}}]
    responses.get(f"{ORGANISATION}/api/v1/users", json=users, headers={"Link": link, **headers})


BROKEN: list[Any] = [
    ({"status": 500, "body": "oops"}, Unreachable),
    ({"status": 502, "body": "<html>Bad Gateway</html>"}, Unreachable),
    ({"status": 200, "body": "<html>Sign in</html>"}, Unreachable),
    ({"status": 200, "json": {"users": []}}, Unreachable),
    ({"status": 200, "json": [{"status": "ACTIVE"}]}, Unreachable),
    ({"status": 200, "json": [{"id": "00u1", "profile": {}}]}, Unreachable),
    ({"status": 400, "json": {"errorCode": "E0000001", "errorSummary": "after"}}, Incomplete),
    ({"status": 404, "json": {"errorCode": "E0000007", "errorSummary": "Not found"}}, Incomplete),
    ({"status": 404, "body": "<html>no such page</html>"}, Incomplete),
    ({"status": 302, "headers": {"Location": "https://elsewhere.example"}}, Incomplete),
    ({"status": 429, "json": {}, "headers": {"X-Rate-Limit-Reset": "1", "Date": "Mon, 30 Nov 99999999999 11:00:00 GMT"}}, RateLimited),
    ({"status": 401, "json": {"errorCode": "E0000011", "errorSummary": "Invalid token provided"}}, Unauthorised),
]


@responses.activate
@pytest.mark.parametrize(("answer", "error"), BROKEN)
def test_a_listing_that_breaks_off_at_a_page_is_never_everybody(answer: dict[str, Any], error: type[Exception]) -> None:
    first_page()
    responses.get(f"{ORGANISATION}/api/v1/users?after=x", match=[responses.matchers.query_param_matcher({"after": "x"})], **answer)

    with pytest.raises(error):
        list(outside(patience="0").list_people())


@responses.activate
@pytest.mark.parametrize("reset", ["inf", "1e300", "99999999999999", "nan", "-inf"])
def test_a_second_that_never_comes_is_not_waited_for(reset: str) -> None:
    responses.get(
        f"{ORGANISATION}/api/v1/users", status=429, json={}, headers={"X-Rate-Limit-Reset": reset, "Date": "Mon, 30 Nov 2026 11:00:00 GMT"}
    )

    with pytest.raises(RateLimited) as caught:
        list(outside(patience="0").list_people())

    assert 0 <= caught.value.wait <= 3600


@responses.activate
def test_pages_that_lead_in_a_circle_are_incomplete() -> None:
    first_page()

    with pytest.raises(Incomplete, match="read already"):
        list(outside().list_people())


@responses.activate
def test_the_token_does_not_follow_a_link_to_another_server() -> None:
    responses.get(f"{ORGANISATION}/api/v1/users", json=[], headers={"Link": '<https://evil.example/api/v1/users?after=x>; rel="next"'})

    with pytest.raises(Incomplete, match="another server"):
        list(outside().list_people())

    assert len(responses.calls) == 1


@responses.activate
@pytest.mark.parametrize("link", ["https://[", "https://[::1/api", "http://[x]/"])
def test_a_link_that_is_no_address_is_followed_nowhere(link: str) -> None:
    responses.get(f"{ORGANISATION}/api/v1/users", json=[], headers={"Link": f'<{link}>; rel="next"'})

    with pytest.raises(Incomplete, match="no address"):
        list(outside().list_people())


@responses.activate
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "<html>not here</html>"),
        (404, '{"errorCode": "E0000008", "errorSummary": "no such path"}'),
        (404, "{}"),
        (403, "{}"),
        (503, ""),
    ],
)
def test_only_oktas_own_words_mean_that_somebody_is_not_there(status: int, body: str) -> None:
    responses.get(f"{ORGANISATION}/api/v1/users/00u1", status=status, body=body)

    with pytest.raises((Misconfigured, Unauthorised, Unreachable)):
        outside().find_person(SourceKey("00u1"))


@responses.activate
def test_the_token_is_in_no_message_even_where_the_answer_repeats_it() -> None:
    responses.get(f"{ORGANISATION}/api/v1/users", status=403, json={"errorCode": "E0000006", "errorSummary": f"SSWS {TOKEN} may not"})

    with pytest.raises(Unauthorised) as caught:
        list(outside().list_people())

    assert "E0000006" in str(caught.value) and TOKEN not in str(caught.value)
    assert responses.calls[0].request.headers["Authorization"] == f"SSWS {TOKEN}"
    assert TOKEN not in str(responses.calls[0].request.url)


@pytest.mark.parametrize(
    ("url", "options", "what"),
    [
        ("http://acme.okta.example", {}, "https"),
        ("https://acme-admin.okta.com", {}, "without -admin"),
        ("https://user:word@acme.okta.example", {}, "user name"),
        ("https://acme.okta.example?x=1", {}, "query"),
        (ORGANISATION, {"colour": "red"}, "no option colour"),
        (ORGANISATION, {"page_size": "500"}, "page_size"),
        (ORGANISATION, {"groups": "perhaps"}, "groups is true or false"),
        (ORGANISATION, {"manager_by": "e-mail"}, "manager_by"),
        (ORGANISATION, {"auth": "key"}, "client_id is needed"),
        (ORGANISATION, {"auth": "key", "client_id": "0oa1"}, "key is neither"),
    ],
)
def test_settings_that_cannot_be_right_are_refused_at_once(url: str, options: dict[str, str], what: str) -> None:
    with pytest.raises(Misconfigured, match=what):
        Okta(SourceSettings(name="okta", url=url, secret=Secret(TOKEN), options=options))


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "tökén"])
def test_a_token_that_is_none_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Okta(SourceSettings(name="okta", url=ORGANISATION, secret=Secret(token)))

    assert not token or token not in str(caught.value)


def test_a_private_address_is_not_called_unless_that_is_allowed(organisation: OktaOrganisation) -> None:
    settings = SourceSettings(name="okta", url=organisation.url.replace("http:", "https:"), secret=Secret(TOKEN))

    with pytest.raises(Misconfigured, match="open internet"):
        list(Okta(settings).list_people())


# The service application, by private_key_jwt.


def private_keys() -> list[Any]:
    rsa, elliptic = RSAKey.generate_key(2048), ECKey.generate_key("P-256")
    return [
        pytest.param(rsa, "pem", id="RSA in PEM"),
        pytest.param(rsa, "jwk", id="RSA as JWK"),
        pytest.param(elliptic, "pem", id="EC in PEM"),
    ]


@pytest.mark.parametrize(("key", "form"), private_keys())
def test_a_service_application_signs_its_assertion(organisation: OktaOrganisation, key: RSAKey | ECKey, form: str) -> None:
    ada, *_ = company(organisation)
    organisation.client = ("0oa1", key, "key-7")
    secret = key.as_pem(private=True).decode() if form == "pem" else json.dumps(key.as_dict(private=True))

    found = people(source(organisation, secret=secret, client_id="0oa1", kid="key-7"))

    assert ada in found
    assert organisation.scopes == ["okta.users.read", "okta.groups.read", "okta.logs.read"]


def test_an_access_token_that_ends_in_the_middle_of_a_listing_is_fetched_anew(organisation: OktaOrganisation) -> None:
    company(organisation)
    organisation.hire("last@acme.example")
    organisation.later(seconds=5)
    key = RSAKey.generate_key(2048)
    organisation.client = ("0oa1", key, "key-7")
    listing = source(organisation, secret=key.as_pem(private=True).decode(), client_id="0oa1", kid="key-7", manager_by="id").list_people()

    next(listing)
    organisation.end_token()

    assert len(list(listing)) == 3


def test_a_secret_that_both_sides_know_is_no_private_key() -> None:
    shared = '{"kty": "oct", "k": "c2hhcmVkIHNlY3JldA"}'

    with pytest.raises(Misconfigured, match="neither") as caught:
        Okta(SourceSettings(name="okta", url=ORGANISATION, secret=Secret(shared), options={"client_id": "0oa1"}))

    assert "c2hh" not in str(caught.value)


def test_a_key_that_okta_does_not_know_is_unauthorised_and_not_shown(organisation: OktaOrganisation) -> None:
    key = RSAKey.generate_key(2048)
    pem = key.as_pem(private=True).decode()
    organisation.client = ("0oa1", key, "another")

    with pytest.raises(Unauthorised) as caught:
        people(source(organisation, secret=pem, client_id="0oa1", kid="key-7"))

    assert "invalid_client" in str(caught.value) and "PRIVATE" not in str(caught.value)


# Trying it.


def test_a_check_goes_through_every_step_and_tells_the_cost(organisation: OktaOrganisation) -> None:
    ada, *_ = company(organisation)
    organisation.group("Research", ada)
    organisation.change(ada, status="SUSPENDED")
    organisation.later(seconds=5)
    organisation.allowance = 600

    check = source(organisation).check()

    assert [step.name for step in check.steps] == ["connect", "bind", "search", "count"] and check.good
    assert (check.people, check.groups) == (3, 1)
    assert "2 ACTIVE, 1 SUSPENDED" in check.steps[-1].detail
    assert "600 a minute" in check.cost


@pytest.mark.parametrize(
    ("path", "failing"),
    [("/.well-known/okta-organization", "connect"), ("/api/v1/users", "bind"), ("/api/v1/groups", "search"), ("/api/v1/logs", "search")],
)
def test_a_check_stops_at_the_step_that_fails(organisation: OktaOrganisation, path: str, failing: str) -> None:
    company(organisation)
    organisation.forbidden.add(path)
    found = source(organisation)
    if failing == "connect":
        found = Okta(SourceSettings(name="okta", url="http://127.0.0.1:9", secret=Secret(TOKEN), options={"allow_private": "true"}))

    check = found.check()

    assert check.steps[-1].name == failing and not check.steps[-1].good
    assert check.people is None and check.cost == ""
    if path.endswith("logs"):
        assert "okta.logs.read" in check.steps[-1].detail


def test_a_wrong_token_fails_at_bind_and_is_not_shown(organisation: OktaOrganisation) -> None:
    check = source(organisation, secret="00WrongToken").check()

    assert [step.good for step in check.steps] == [True, False]
    assert "00WrongToken" not in check.steps[-1].detail
