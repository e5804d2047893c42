"""G10: revocations that are asked for by somebody who is not that connection's provider, twice, or of nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import responses
from flask import Flask
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access.connection_tables import ConnectionKind
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.journal.tables import Organization
from app.lifecycle.sources import set_setting
from app.revocation.alarms import open_alarms
from app.signals import universal_logout
from tests.company import ADMIN, new_company
from tests.unit.signals.stage import (
    PUBLIC_URL,
    Provider,
    Stage,
    iss_sub,
)

IDP = "https://idp.example/clinic"
MARA = iss_sub(IDP, "u-mara")


@pytest.fixture
def stage(installed: Flask) -> Iterator[Stage]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as outside:
        yield Stage(app=installed, http=installed.test_client(), outside=outside, company=new_company())


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many wrong calls from one address would be answered more slowly, which is a test of its own."""
    monkeypatch.setattr(universal_logout.FAILURES, "rate", 0.0)


def alarms(stage: Stage) -> list[str]:
    with reading() as session:
        return [one.kind for one in open_alarms(session, stage.organization_id)]


@dataclass(kw_only=True)
class Calling:
    """A provider that asks us to sign its people out, and whoever pretends to be it."""

    stage: Stage
    provider: Provider
    connection_id: str

    @property
    def url(self) -> str:
        return f"{PUBLIC_URL}/signals/global-token-revocation/{self.connection_id}"

    def token(self, *, key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        usual = {
            "jti": new_id(), "iss": self.provider.issuer, "sub": "0oa1clientid", "aud": self.url, "iat": timedelta(), "nbf": timedelta(minutes=-5),
            "exp": timedelta(minutes=5),
        }  # fmt: skip
        return self.provider.signs({**usual, **claims}, key=key, **{"typ": "global-token-revocation+jwt", **(header or {})})

    def asks(self, body: Any, token: str | None = None, *, connection_id: str | None = None) -> TestResponse:
        return self.stage.http.post(
            f"/signals/global-token-revocation/{connection_id or self.connection_id}", headers={"Authorization": f"Bearer {token or self.token()}"},
            data=body if isinstance(body, str) else json.dumps(body), content_type="application/json",
        )  # fmt: skip


@pytest.fixture
def calling(stage: Stage) -> Calling:
    provider = Provider(issuer="https://clinic.okta.example", algorithm="RS256", key_name="okta")
    return Calling(stage=stage, provider=provider, connection_id=stage.connects(provider))


BY_MAIL = {"sub_id": {"format": "email", "email": "mara@clinic.example"}}


def test_g10_a_revocation_is_only_for_who_proves_to_be_this_connections_provider(calling: Calling) -> None:
    mara = calling.stage.joins("mara")
    cookie = calling.stage.signs_in(mara.person_id)
    foreign = Provider(issuer=calling.provider.issuer, algorithm="RS256", key_name="foreign")
    id_token = calling.token(header={"typ": "JWT"})
    bad = {
        "a query behind aud": calling.token(aud=f"{calling.url}?x=1"),
        "several aud": calling.token(aud=[calling.url, "https://elsewhere.example"]),
        "aud of another connection": calling.token(aud=calling.url[:-1] + ("1" if calling.url.endswith("0") else "0")),
        "another issuer": calling.token(iss="https://other.okta.example"),
        "over": calling.token(exp=timedelta(seconds=-1)),
        "no end": calling.token(exp=None),
        "an end too far": calling.token(exp=timedelta(minutes=11)),
        "not yet": calling.token(nbf=timedelta(minutes=5)),
        "issued tomorrow": calling.token(iat=timedelta(days=1)),
        "an ID token": id_token,
        "no jti": calling.token(jti=None),
        "another key of that name": calling.token(key=foreign.key),
        "no signature": calling.token().rpartition(".")[0] + ".",
        "nothing": "x",
    }

    answers = {name: calling.asks(BY_MAIL, token).status_code for name, token in bad.items()}
    not_ours = calling.asks(BY_MAIL, calling.token(sub="0oa2another"))

    assert {name: status for name, status in answers.items() if status != 401} == {}
    assert not_ours.status_code == 403
    assert calling.stage.is_in(cookie)


def test_g10_each_call_counts_once(calling: Calling) -> None:
    mara = calling.stage.joins("mara")
    token = calling.token()
    assert calling.asks(BY_MAIL, token).status_code == 204
    cookie = calling.stage.signs_in(mara.person_id)

    again = calling.asks(BY_MAIL, token)

    assert (again.status_code, calling.stage.is_in(cookie)) == (401, True)


def test_g10_both_body_keys_count_and_both_at_once_do_not(calling: Calling) -> None:
    mara = calling.stage.joins("mara", issuer=calling.provider.issuer, subject="00u1")
    subject = {"format": "iss_sub", "iss": calling.provider.issuer, "sub": "00u1"}

    both = calling.asks({"sub_id": subject, "subject": subject})
    bodies: tuple[Any, ...] = ({}, [], "x", {"sub_id": "00u1"}, {"sub_id": {"format": "phone_number", "phone_number": "+1"}})
    neither = [calling.asks(body) for body in bodies]
    before = calling.stage.epoch(mara)
    each = [calling.asks({name: subject}) for name in ("sub_id", "subject")]

    assert [one.status_code for one in (both, *neither)] == [400] * 6
    assert [one.status_code for one in each] == [204, 204]
    assert calling.stage.epoch(mara) == before + 2


def test_g10_who_there_is_can_be_asked_inside_of_ones_own_organisation_alone(calling: Calling) -> None:
    calling.stage.beside().joins("noor")
    calling.stage.joins("mara")

    own, foreign, unknown = (
        calling.asks({"sub_id": {"format": "email", "email": f"{name}@clinic.example"}}) for name in ("mara", "noor", "nobody")
    )
    elsewhere = {calling.asks(BY_MAIL, connection_id=one).data for one in (new_id(), "x")}
    unproved = calling.asks(BY_MAIL, "x")

    assert (own.status_code, foreign.status_code, unknown.status_code) == (204, 404, 404)
    assert foreign.data == unknown.data
    assert elsewhere == {calling.asks(BY_MAIL, connection_id=new_id()).data}
    assert unproved.status_code == 401


def test_g10_a_provider_has_no_say_over_another_connections_people(stage: Stage, calling: Calling) -> None:
    beside = stage.beside()
    other = Calling(stage=beside, provider=calling.provider, connection_id=beside.connects(calling.provider))
    mara, theirs = stage.joins("mara"), beside.joins("mara")
    cookie, their_cookie = stage.signs_in(mara.person_id), beside.signs_in(theirs.person_id)

    crossed = other.asks(BY_MAIL, calling.token())
    straight = calling.asks(BY_MAIL)

    assert (crossed.status_code, straight.status_code) == (401, 204)
    assert (stage.is_in(cookie), beside.is_in(their_cookie)) == (False, True)


def test_g10_an_issuer_that_is_not_the_connections_own_names_nobody(calling: Calling) -> None:
    mara = calling.stage.joins("mara", issuer=IDP)
    # The very subject is somebody else over there.
    noor = calling.stage.joins("noor", issuer=calling.provider.issuer, subject="u-mara")

    answer = calling.asks({"sub_id": MARA})

    assert answer.status_code == 404
    assert (calling.stage.epoch(mara), calling.stage.epoch(noor)) == (1, 1)


def test_g10_a_flood_is_obeyed_and_raises_an_alarm(calling: Calling) -> None:
    def brake(session: Session) -> None:
        organization = session.get_one(Organization, calling.stage.organization_id)
        set_setting(session, organization, "push_brake", "3/60s", actor=ADMIN, at=now())

    in_transaction(brake)
    people = [calling.stage.joins(f"p{number}") for number in range(5)]
    cookies = [calling.stage.signs_in(one.person_id) for one in people]

    answers = [calling.asks({"subject": {"format": "email", "email": f"p{number}@clinic.example"}}).status_code for number in range(5)]

    assert answers == [204] * 5
    assert not any(calling.stage.is_in(cookie) for cookie in cookies)
    assert alarms(calling.stage) == ["revocation_flood"]


def test_g10_a_revocation_is_obeyed_though_the_brake_cannot_be_read(calling: Calling) -> None:
    def spoil(session: Session) -> None:
        session.get_one(Organization, calling.stage.organization_id).settings = {"push_brake": "many"}

    in_transaction(spoil)
    cookie = calling.stage.signs_in(calling.stage.joins("mara").person_id)

    answer = calling.asks(BY_MAIL)

    assert answer.status_code == 204
    assert not calling.stage.is_in(cookie)


def test_g10_a_saml_connection_takes_none_until_it_was_said_who_calls(stage: Stage) -> None:
    provider = Provider(issuer="http://www.okta.com/exk1", algorithm="RS256")
    calling = Calling(stage=stage, provider=provider, connection_id=stage.connects(provider, ConnectionKind.SAML))
    stage.joins("mara")

    assert calling.asks(BY_MAIL, calling.token(sub=None)).status_code == 401
