"""SAML responses that were made rightly, brought by the wrong browser, at the wrong door, twice, or for somebody who has left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import select

from app.access.session_tables import WebSession
from app.access.spent import forget
from app.clock import now
from app.database import in_transaction, reading
from app.sso.refusals import Reason, Refused
from app.sso.saml_checks import SKEW
from app.sso.verified import Verified
from tests.company import NOW, later, new_company
from tests.saml_arrangement import BROWSER, Arrangement, acme, browser_of, connect
from tests.saml_provider import posted, provider, unpacked

OTHERS = "another browser's secret, just as long"
BY_NUMBER = {"directory_id": {"attribute": "employeeNumber", "matches": "employeeNumber"}}


@pytest.fixture
def here(installed: Flask) -> Iterator[Arrangement]:
    yield acme(installed, new_company(), **BY_NUMBER)


@pytest.fixture
def open_door(installed: Flask) -> Iterator[Arrangement]:
    """A connection that takes what it did not ask for."""
    yield acme(installed, new_company(), allow_idp_initiated=True, **BY_NUMBER)


def _reason(act: object, *args: object, **kwargs: object) -> Reason:
    assert callable(act)
    with pytest.raises(Refused) as refused:
        act(*args, **kwargs)
    return refused.value.reason


def test_s22_one_that_never_ends_is_shown_once_as_well(open_door: Arrangement) -> None:
    """S22: nothing can be added to the end of the year 9999, until which what was used has to be remembered."""
    response = open_door.responds(confirmed_until=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    open_door.comes_back(response)

    in_transaction(lambda session: forget(session, at=later(10 * 365 * 86_400)))
    assert _reason(open_door.comes_back, response) is Reason.USED_BEFORE


def test_s22_an_assertion_is_shown_once(open_door: Arrangement) -> None:
    """S22: the same assertion again, from the provider or from whoever saw it on its way."""
    response = open_door.responds()
    open_door.comes_back(response)

    assert _reason(open_door.comes_back, response) is Reason.USED_BEFORE
    assert _reason(open_door.comes_back, open_door.responds(response_id="_another_envelope")) is Reason.USED_BEFORE
    last = later(5 * 60) + SKEW - timedelta(seconds=1)
    in_transaction(lambda session: forget(session, at=last))
    assert _reason(open_door.comes_back, response, at=last) is Reason.USED_BEFORE
    # Also where whoever forgets has a clock that is an hour ahead.
    in_transaction(lambda session: forget(session, at=last + timedelta(hours=1)))
    assert _reason(open_door.comes_back, response, at=last) is Reason.USED_BEFORE
    assert _reason(open_door.comes_back, response, at=later(5 * 60) + SKEW) is Reason.TOO_LATE


def test_s22_of_many_at_once_one_comes_in(open_door: Arrangement) -> None:
    """S22: the store is the database's, so it is one for all threads and processes."""
    response = open_door.responds()
    together = threading.Barrier(8)

    def show(_: int) -> Verified | Reason:
        with open_door.app.app_context():
            together.wait()
            try:
                return open_door.comes_back(response)
            except Refused as error:
                return error.reason

    with ThreadPoolExecutor(8) as crowd:
        seen = list(crowd.map(show, range(8)))

    assert [one for one in seen if isinstance(one, Verified)] != []
    assert sorted(str(one) for one in seen if isinstance(one, Reason)) == [Reason.USED_BEFORE] * 7


def test_s25_an_answer_belongs_to_the_browser_that_asked(here: Arrangement) -> None:
    """S25: another browser, or none; and once refused there, it still is good in the right one."""
    response = here.responds(in_response_to=here.asks())

    assert _reason(here.comes_back, response, browser=OTHERS) is Reason.OTHER_BROWSER
    assert _reason(here.comes_back, response, browser=None) is Reason.OTHER_BROWSER
    assert here.comes_back(response, browser=BROWSER).subject == "im-ada-1001"


def test_s25_a_request_is_answered_once(here: Arrangement) -> None:
    """S25: two assertions to one request."""
    asked = here.asks()
    here.comes_back(here.responds(in_response_to=asked))

    assert _reason(here.comes_back, here.responds(in_response_to=asked, assertion_id="_second")) is Reason.USED_BEFORE


def test_s25_an_answer_comes_in_time(here: Arrangement) -> None:
    """S25: a request that was left lying."""
    asked = here.asks()

    assert _reason(here.comes_back, here.responds(in_response_to=asked, at=later(15 * 60)), at=later(15 * 60)) is Reason.TOO_LATE


def test_s25_a_request_to_another_connection_is_not_answered_here(here: Arrangement) -> None:
    """S25: both are of one organisation."""
    beside = connect(here.app, here.company, provider("beside", entity_id="https://beside.example/saml"), name="beside")

    assert _reason(here.comes_back, here.responds(in_response_to=beside.asks())) is Reason.NOT_ASKED_FOR


def test_s26_who_was_to_be_asked_anew_was(here: Arrangement) -> None:
    """S26: AuthnInstant from before the request, where ForceAuthn was sent."""
    yesterday = NOW - timedelta(days=1)
    here.comes_back(here.responds(in_response_to=here.asks(), authenticated_at=yesterday))

    for number, earlier in enumerate((yesterday, later(-30)), start=2):
        stale = here.responds(in_response_to=here.asks(force=True), at=later(10), authenticated_at=earlier, assertion_id=f"_{number}")
        assert _reason(here.comes_back, stale, at=later(10)) is Reason.TOO_LATE

    # A clock that is two minutes behind ours makes no old sign-in of it.
    fresh = here.responds(in_response_to=here.asks(force=True), at=later(-110), authenticated_at=later(-115), assertion_id="_fresh")
    assert here.comes_back(fresh, at=later(10)).authenticated_at == later(-115)


def test_s26_a_clock_that_is_behind_is_named(here: Arrangement) -> None:
    """S26: made, it seems, before it was asked for."""
    answer = here.responds(in_response_to=here.asks(), issued_at=later(-181), not_on_or_after=later(600))

    with pytest.raises(Refused, match="behind ours") as refused:
        here.comes_back(answer)
    assert refused.value.reason is Reason.CLOCK_SKEW


def test_s27_what_nobody_asked_for_is_refused(here: Arrangement) -> None:
    """S27: IdP-initiated, which IPSIE SL2 forbids; a stranger's own sign-in could be pushed upon somebody."""
    assert _reason(here.comes_back, here.responds()) is Reason.NOT_ASKED_FOR

    here.set(allow_idp_initiated=True)
    assert here.comes_back(here.responds()).solicited is False


@pytest.mark.parametrize(
    "relay_state",
    ["//evil.example", "https://evil.example", "https:evil.example", "/\\evil.example", "\\/evil.example", "javascript:alert(1)",
     "/devices\r\nSet-Cookie: x=y", "/\t/evil.example", "/" + "x" * 80, " /devices", "/\x00"],
)  # fmt: skip
def test_s28_relay_state_leads_to_our_own_pages_alone(open_door: Arrangement, relay_state: str) -> None:
    """S28: open redirects in every spelling."""
    assert open_door.comes_back(open_door.responds(), relay_state=relay_state).return_to == "/"


def test_s28_relay_state_counts_for_nothing_where_we_asked(here: Arrangement) -> None:
    """S28: where somebody wanted to go is kept here."""
    here.comes_back(here.responds(in_response_to=here.asks(return_to="//evil.example")))
    verified = here.comes_back(here.responds(in_response_to=here.asks(return_to="/devices"), assertion_id="_b"), relay_state="/evil")

    assert verified.return_to == "/devices"
    assert open_path(here, "/devices") == "/devices"


def open_path(here: Arrangement, wanted: str) -> str:
    here.set(allow_idp_initiated=True)
    return here.comes_back(here.responds(assertion_id="_c"), relay_state=wanted).return_to


def test_s30_a_provider_speaks_for_its_own_organisation(here: Arrangement) -> None:
    """S30: the provider of A says it is B's, and sends B's people to B's door."""
    theirs = connect(here.app, new_company(), provider("other", entity_id=here.provider.entity_id), name="the same name by bad luck")
    as_ours = theirs.provider.responds(here.to, at=NOW, in_response_to=here.asks())

    assert _reason(here.comes_back, as_ours) is Reason.KEY_CHANGED
    assert _reason(here.comes_back, theirs.responds(in_response_to=here.asks())) is Reason.OTHER_AUDIENCE
    assert _reason(theirs.comes_back, here.responds(in_response_to=theirs.asks())) is Reason.OTHER_AUDIENCE


def test_s30_whose_somebody_is_comes_from_the_connection(here: Arrangement) -> None:
    """S30: the same name at two organisations is two people, whatever the assertion says of organisations."""
    theirs = connect(here.app, new_company(), provider("other", entity_id="https://idp.other.example/saml"), name="other")
    claims = {"organization_id": [here.company.organization_id], "mail": ["ada@acme.example"]}

    assert theirs.signs_in(attributes=claims).organization_id == theirs.company.organization_id
    assert here.signs_in(attributes=claims).organization_id == here.company.organization_id


def test_s37_somebody_who_has_left_is_not_let_in_by_a_perfect_assertion(here: Arrangement) -> None:
    """S37: the provider has not heard of it yet. It is refused, written down, and there is no session."""
    at = now()
    ada = here.company.joins("ada@acme.example", "1001", at=at)
    with browser_of(here) as http:
        good = here.responds(at=at, in_response_to=here.asks(at=at), attributes={"employeeNumber": ["1001"]})
        assert here.posts(http, good).status_code == 303
    here.company.says(ada, active=False, at=at)

    with browser_of(here) as http:
        perfect = here.responds(at=at, in_response_to=here.asks(at=at), attributes={"employeeNumber": ["1001"]}, assertion_id="_perfect")
        answer = here.posts(http, perfect)
        seen = http.get("/session")

    assert (answer.status_code, seen.status_code) == (403, 401)
    with reading() as session:
        assert len(session.scalars(select(WebSession)).all()) == 1


def test_s29_a_form_has_a_bound(here: Arrangement) -> None:
    """S29: 10 MB at the door, and a field that is there twice."""
    path, at = urlsplit(here.to.acs).path, now()
    here.company.joins("ada@acme.example", "1001", at=at)
    good = posted(here.responds(at=at, in_response_to=here.asks(at=at), attributes={"employeeNumber": ["1001"]}))
    with browser_of(here) as http:
        assert http.post(path, data={"SAMLResponse": "A" * 10_000_000}).status_code in (403, 413)
        assert http.post(path, data={"SAMLResponse": "A" * 1_900_000}).status_code == 403
        assert http.post(path, data={}).status_code == 403
        assert http.post(path, data=b"\xff", content_type="multipart/form-data; boundary=x").status_code == 403
        assert http.post(path, data={"SAMLResponse": [good, "x"]}).status_code == 403
        assert http.post(path, data={"SAMLResponse": good}).status_code == 303


def test_requests_are_not_guessed(here: Arrangement) -> None:
    """Two requests have nothing in common."""
    first, second = (str(unpacked(here.begins()).get("ID")) for _ in range(2))

    assert first != second
    assert len(first) > 32
