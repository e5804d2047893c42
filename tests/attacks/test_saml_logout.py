"""Messages of logout: only the provider itself, once, in time, ends the sessions it vouched for, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from sqlalchemy import select

from app.access.session_tables import WebSession
from app.access.sessions import Authenticated, Limits, start
from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Person, Standing
from app.sso import saml_logout
from app.sso.refusals import Reason, Refused
from app.sso.saml_certificates import read_certificate
from app.sso.saml_logout import SignedOut, by_form, by_query
from app.sso.saml_signatures import check_query
from tests.company import NOW, later, new_company
from tests.saml_arrangement import BROWSER, Arrangement, acme, browser_of, connect
from tests.saml_provider import (
    RESPONDER,
    RSA_SHA1,
    SAML,
    SAMLP,
    Element,
    keys,
    logout_request,
    logout_response,
    posted,
    provider,
    query,
    sign,
    stamp,
    unpacked,
)
from tests.servers.idp_keys import Certified


@pytest.fixture
def here(installed: Flask) -> Iterator[Arrangement]:
    yield acme(installed, new_company())


def _signed_in(here: Arrangement, *, name: str = "im-ada-1001", index: str | None = "session-1", who: str = "ada@acme.example") -> str:
    """A session that came of this connection; returns its id."""
    with reading() as session:
        person = session.scalar(select(Person).where(Person.organization_id == here.company.organization_id, Person.user_name == who))
    known = person or here.company.person(here.company.joins(who))
    how = Authenticated(
        connection_id=here.connection_id, at=NOW, subject=name, upstream_session=index,
        name_id={"value": name, "format": None, "name_qualifier": None, "sp_name_qualifier": None},
    )  # fmt: skip
    return in_transaction(lambda session: start(session, known, how, limits=Limits(), agent="test", at=NOW)[0].id)


def _open(here: Arrangement) -> set[str]:
    with reading() as session:
        return set(session.scalars(select(WebSession.id).where(WebSession.ended_at.is_(None))))


def _request(here: Arrangement, **changes: Any) -> Element:
    return logout_request(here.provider.entity_id, here.to, at=changes.pop("at", NOW), **changes)


def _asks(here: Arrangement, request: Element, by: Certified | None, *, at: Any = NOW, **how: Any) -> SignedOut:
    text = query("SAMLRequest", request, by, **how)
    return saml_logout.take_request(here.settings, here.connection(), by_query(text), at=at)


def _refused(here: Arrangement, request: Element, by: Certified | None, **how: Any) -> Reason:
    with pytest.raises(Refused) as refused:
        _asks(here, request, by, **how)
    return refused.value.reason


def test_the_provider_ends_the_session_that_it_names(here: Arrangement) -> None:
    mine, other_index, other_person = (
        _signed_in(here),
        _signed_in(here, index="session-2"),
        _signed_in(here, name="im-eve", who="eve@acme.example"),
    )

    done = _asks(here, _request(here), here.provider.key, relay_state="theirs & ours")

    assert done.session_ids == (mine,)
    assert _open(here) == {other_index, other_person}
    assert done.answer_url is not None
    assert parse_qs(urlsplit(done.answer_url).query)["RelayState"] == ["theirs & ours"]
    answer = unpacked(done.answer_url, "SAMLResponse")
    assert (answer.get("InResponseTo"), answer.get("Destination")) == ("_logout", "https://idp.acme.example/slo")
    ours = read_certificate(here.to.certificate)
    assert check_query(urlsplit(done.answer_url).query, "SAMLResponse", [ours], at=NOW) == ours


def test_without_an_index_every_session_of_that_name_ends(here: Arrangement) -> None:
    mine = {_signed_in(here), _signed_in(here, index="session-2")}

    assert set(_asks(here, _request(here, indexes=()), here.provider.key).session_ids) == mine


def test_a_sign_out_at_the_provider_is_no_departure(here: Arrangement) -> None:
    _signed_in(here)
    with reading() as session:
        before = session.scalars(select(Person)).one()

    _asks(here, _request(here), here.provider.key)

    with reading() as session:
        after = session.scalars(select(Person)).one()
    assert (after.standing, after.access_epoch) == (Standing.ACTIVE, before.access_epoch)


def test_whoever_is_not_here_is_signed_out_already(here: Arrangement) -> None:
    assert _asks(here, _request(here, name_id="nobody"), here.provider.key).session_ids == ()


def test_s35_an_unsigned_request_ends_nothing(here: Arrangement) -> None:
    """S35: the library takes one unless it is told otherwise."""
    mine = _signed_in(here)

    assert _refused(here, _request(here), None) is Reason.BAD_SIGNATURE
    assert _open(here) == {mine}


def test_s35_a_forged_request_ends_nothing(here: Arrangement) -> None:
    """S35: signed by somebody else, by SHA-1, or altered after it was signed."""
    mine = _signed_in(here)

    assert _refused(here, _request(here), keys("stranger")) is Reason.BAD_SIGNATURE
    assert _refused(here, _request(here), here.provider.key, algorithm=RSA_SHA1, transform="RSA_SHA1") is Reason.WEAK_ALGORITHM
    good = query("SAMLRequest", _request(here, name_id="im-eve"), here.provider.key)
    other = query("SAMLRequest", _request(here), here.provider.key)
    mixed = other.split("&")[0] + "&" + "&".join(good.split("&")[1:])
    with pytest.raises(Refused) as refused:
        saml_logout.take_request(here.settings, here.connection(), by_query(mixed), at=NOW)
    assert refused.value.reason is Reason.BAD_SIGNATURE
    assert _open(here) == {mine}


def test_s35_a_parameter_stands_once(here: Arrangement) -> None:
    """S35: what is verified and what is read could be two."""
    mine, at = _signed_in(here), now()
    good = query("SAMLRequest", _request(here, name_id="nobody", at=at), here.provider.key)
    evil = query("SAMLRequest", _request(here, at=at), None)
    path = urlsplit(here.to.slo).path

    with browser_of(here) as http:
        assert http.get(f"{path}?{evil}&{good}").status_code == 403
        assert http.get(f"{path}?{good}&{evil}").status_code == 403
        assert http.get(f"{path}?{good}&SAMLResponse=x").status_code == 403
        # A name that is escaped is another text to sign and the same parameter to read.
        http.get(f"{path}?SAML%52equest={evil.partition('=')[2]}&{good}")
        assert _open(here) == {mine}

        mine_too = query("SAMLRequest", _request(here, at=at, message_id="_b"), here.provider.key)
        assert http.get(f"{path}?{mine_too}").status_code == 303
    assert _open(here) == set()


def test_s35_a_request_is_heard_once(here: Arrangement) -> None:
    """S35: replayed after the person has signed in again."""
    _signed_in(here)
    request = _request(here)
    _asks(here, request, here.provider.key)
    again = _signed_in(here)

    assert _refused(here, request, here.provider.key) is Reason.USED_BEFORE
    assert _open(here) == {again}


def test_s35_a_request_has_its_time(here: Arrangement) -> None:
    """S35: kept for later, or from a clock that is ahead."""
    old, ahead = _request(here, at=later(-480)), _request(here, at=later(200))

    assert _refused(here, old, here.provider.key) is Reason.TOO_LATE
    assert _refused(here, ahead, here.provider.key) is Reason.CLOCK_SKEW
    for sent, until, refused in ((-480, 86_400, True), (-240, -200, True), (-240, 100, False)):
        request = _request(here, at=later(sent), message_id=f"_until_{until}")
        request.set("NotOnOrAfter", stamp(later(until)))
        if refused:
            assert _refused(here, request, here.provider.key) is Reason.TOO_LATE, (sent, until)
        else:
            assert _asks(here, request, here.provider.key).session_ids == ()


def test_s35_a_request_for_another_service_is_refused(here: Arrangement) -> None:
    """S35: another service's, or another connection's."""
    assert _refused(here, _request(here, destination="https://other.example/slo"), here.provider.key) is Reason.OTHER_AUDIENCE
    elsewhere = _request(here)
    del elsewhere.attrib["Destination"]
    assert _refused(here, elsewhere, here.provider.key) is Reason.OTHER_AUDIENCE


def test_s35_another_connection_does_not_end_sessions_of_this_one(here: Arrangement) -> None:
    """S35: a second provider of the same organisation, and one of another, naming our person."""
    mine = _signed_in(here)
    beside = connect(here.app, here.company, provider("beside", entity_id="https://beside.example/saml"), name="beside")
    foreign = connect(here.app, new_company(), provider("other", entity_id="https://other.example/saml"), name="acme")

    for one in (beside, foreign):
        assert _asks(one, _request(one), one.provider.key).session_ids == ()
    assert _refused(here, logout_request(beside.provider.entity_id, here.to, at=NOW), beside.provider.key) is Reason.OTHER_ISSUER
    assert _open(here) == {mine}


def test_s35_a_name_within_another_qualifier_is_somebody_else(here: Arrangement) -> None:
    """S35: the same value, qualified otherwise."""
    mine = _signed_in(here)

    assert _asks(here, _request(here, name_qualifier="branch"), here.provider.key).session_ids == ()
    assert _asks(here, _request(here, name_qualifier=here.provider.entity_id, message_id="_b"), here.provider.key).session_ids == (mine,)


def test_a_request_by_form_is_taken_when_it_is_signed_inside(here: Arrangement) -> None:
    mine = _signed_in(here)
    request = _request(here, at=now())
    path = urlsplit(here.to.slo).path

    with browser_of(here) as http:
        assert http.post(path, data={"SAMLRequest": posted(request)}).status_code == 403
        assert _open(here) == {mine}
        sign(request, here.provider.key)
        assert http.post(path, data={"SAMLRequest": posted(request)}).status_code == 303
    assert _open(here) == set()


def test_s35_a_signed_request_is_not_wrapped(here: Arrangement) -> None:
    """S35: the signed one inside a forged one."""
    signed = _request(here, name_id="nobody", message_id="_signed")
    sign(signed, here.provider.key)
    forged = _request(here, message_id="_forged")
    forged.insert(1, signed)

    with pytest.raises(Refused, match=r"more than one message|place where it could pass"):
        saml_logout.take_request(here.settings, here.connection(), by_form({"SAMLRequest": posted(forged)}), at=NOW)


def _begins(here: Arrangement, session_id: str) -> Element:
    def act(session: Any) -> str | None:
        held = session.get_one(WebSession, (here.company.organization_id, session_id))
        return saml_logout.begin(session, here.settings, here.connection(), held, browser=BROWSER, return_to="/sign-out", at=NOW)

    url = in_transaction(act)
    assert url is not None
    ours = read_certificate(here.to.certificate)
    assert check_query(urlsplit(url).query, "SAMLRequest", [ours], at=NOW) == ours
    return unpacked(url)


def _answers(here: Arrangement, response: Element, by: Certified | None, *, browser: str | None = BROWSER) -> str:
    text = query("SAMLResponse", response, by)
    return saml_logout.take_response(here.settings, here.connection(), by_query(text), browser=browser, at=NOW)


def test_we_ask_the_provider_to_sign_out_the_one_it_signed_in(here: Arrangement) -> None:
    request = _begins(here, _signed_in(here, name="a <name> & more", index='"1" & <2>'))

    assert request.findtext(f"{{{SAML}}}NameID") == "a <name> & more"
    assert request.findtext(f"{{{SAMLP}}}SessionIndex") == '"1" & <2>'
    answer = logout_response(here.provider.entity_id, here.to, at=NOW, in_response_to=str(request.get("ID")))
    assert _answers(here, answer, here.provider.key) == "/sign-out"


def test_s35_an_answer_to_a_sign_out_is_checked_too(here: Arrangement) -> None:
    """S35: unsigned, of no request, of another browser's, of a sign-in, or a no."""
    asked = str(_begins(here, _signed_in(here)).get("ID"))
    good = logout_response(here.provider.entity_id, here.to, at=NOW, in_response_to=asked)
    never = logout_response(here.provider.entity_id, here.to, at=NOW, in_response_to="_never")
    sign_in = logout_response(here.provider.entity_id, here.to, at=NOW, in_response_to=here.asks())
    no = logout_response(here.provider.entity_id, here.to, at=NOW, in_response_to=asked, status=RESPONDER)

    def reason(response: Element, by: Certified | None, browser: str = BROWSER) -> Reason:
        with pytest.raises(Refused) as refused:
            _answers(here, response, by, browser=browser)
        return refused.value.reason

    assert reason(good, None) is Reason.BAD_SIGNATURE
    assert reason(never, here.provider.key) is Reason.NOT_ASKED_FOR
    assert reason(good, here.provider.key, "another browser's secret") is Reason.OTHER_BROWSER
    assert reason(sign_in, here.provider.key) is Reason.NOT_ASKED_FOR
    assert reason(no, here.provider.key) is Reason.PROVIDER_SAID_NO


def test_s35_the_answer_to_a_sign_out_is_no_sign_in(here: Arrangement) -> None:
    """S35: a response of sign-in that answers a request of sign-out."""
    asked = str(_begins(here, _signed_in(here)).get("ID"))

    with pytest.raises(Refused, match="no sign-in"):
        here.comes_back(here.responds(in_response_to=asked))
