"""G01 to G09 and G11: signals that are forged, repeated, late, too wide, or from somebody who may not speak of these people."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
import responses
from flask import Flask
from joserfc.jwk import ECKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.published_keys import ASKED_AGAIN_AFTER, KEYS
from app.access.rates import Buckets
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.directory.tables import Standing, StatementKind, Voice
from app.lifecycle import leaving
from app.revocation.alarms import open_alarms
from app.revocation.stream_tables import Outcome, Received
from app.signals import polling, push_routes
from app.signals.events import Tolerance
from tests.company import ADMIN, another_source, new_company
from tests.unit.signals.stage import (
    DISABLED,
    ENABLED,
    PUBLIC_URL,
    SESSION_REVOKED,
    VERIFICATION,
    Hearing,
    Provider,
    Stage,
    email,
    iss_sub,
    key_of,
    user,
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
    monkeypatch.setattr(push_routes.FAILURES, "rate", 0.0)


@pytest.fixture
def hearing(stage: Stage) -> Hearing:
    return stage.hears(Provider(issuer=IDP))


def says(stage: Stage, person_id: str, kind: StatementKind, *, voice: Voice = Voice.HR) -> None:
    def act(session: Session) -> None:
        leaving.say(
            session, stage.organization_id, person_id, voice=voice, kind=kind, said_by="hr", effective_at=now(), actor=ADMIN, at=now(), because="test"
        )

    in_transaction(act)


def alarms(stage: Stage) -> list[str]:
    with reading() as session:
        return [one.kind for one in open_alarms(session, stage.organization_id)]


def test_g01_a_token_that_is_not_exactly_one_event_is_refused(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    cookie = stage.signs_in(mara.person_id)
    event: dict[str, Any] = {SESSION_REVOKED: {}}
    bad = {
        "exp": hearing.says(SESSION_REVOKED, MARA, exp=timedelta(minutes=5)),
        "sub": hearing.says(SESSION_REVOKED, MARA, sub="u-mara"),
        "typ of an ID token": hearing.says(SESSION_REVOKED, MARA, header={"typ": "JWT"}),
        "no typ": hearing.says(SESSION_REVOKED, MARA, header={"typ": None}),
        "no jti": hearing.says(SESSION_REVOKED, MARA, jti=None),
        "a jti that is no text": hearing.says(SESSION_REVOKED, MARA, jti=7),
        "a jti with a line end": hearing.says(SESSION_REVOKED, MARA, jti="a\nb"),
        "no iat": hearing.says(SESSION_REVOKED, MARA, iat=None),
        "an iat of tomorrow": hearing.says(SESSION_REVOKED, MARA, iat=timedelta(days=1)),
        "an iat that is none": hearing.says(SESSION_REVOKED, MARA, iat=float("nan")),
        "two events": hearing.says(SESSION_REVOKED, MARA, events={**event, DISABLED: {}}),
        "no event": hearing.says(SESSION_REVOKED, MARA, events={}),
        "events in a list": hearing.says(SESSION_REVOKED, MARA, events=[SESSION_REVOKED]),
        "an event that is no object": hearing.says(SESSION_REVOKED, MARA, events={SESSION_REVOKED: "now"}),
        "no subject": hearing.says(SESSION_REVOKED, None),
        "a subject that is a text": hearing.says(SESSION_REVOKED, None, sub_id="u-mara"),
        "a subject of no format": hearing.says(SESSION_REVOKED, {"iss": IDP, "sub": "u-mara"}),
        "a subject with a NUL": hearing.says(SESSION_REVOKED, iss_sub(IDP, "u-\x00mara")),
        "no JWT": "u-mara",
        "nothing": "",
    }

    got_in = [name for name, token in bad.items() if hearing.push(token).status_code != 400]

    assert got_in == []
    assert hearing.kept() == []
    assert stage.is_in(cookie)


def test_g01_an_event_that_nobody_knows_is_taken_and_does_nothing(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    cookie = stage.signs_in(mara.person_id)

    kept = hearing.pushes("https://attacker.example/delete-everybody", MARA)

    assert (kept.outcome, stage.is_in(cookie)) == (Outcome.IGNORED, True)


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_g01_what_is_not_signed_or_signed_with_what_everybody_has_is_refused(stage: Stage, hearing: Hearing) -> None:
    stage.joins("mara", issuer=IDP)
    good = hearing.says(SESSION_REVOKED, MARA)
    body, public = good.split(".")[1], cast(ECKey, hearing.provider.key).as_pem(private=False)
    none = encoded({"alg": "none", "typ": "secevent+jwt"})
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    start = f"{encoded({'alg': 'HS256', 'typ': 'secevent+jwt'})}.{encoded(claims)}"
    shared = f"{start}.{base64.urlsafe_b64encode(hmac.digest(public, start.encode(), 'sha256')).rstrip(b'=').decode()}"

    refused = [hearing.refused(token) for token in (f"{none}.{body}.", shared, good[:-4] + "AAAA")]

    assert refused == ["invalid_request", "invalid_request", "invalid_key"]


def test_g02_another_issuer_audience_or_key_is_refused(stage: Stage, hearing: Hearing, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.joins("mara", issuer=IDP)

    assert hearing.refused(hearing.says(SESSION_REVOKED, MARA, iss="https://idp.example/other")) == "invalid_issuer"
    assert hearing.refused(hearing.says(SESSION_REVOKED, MARA, iss=f"{IDP}/")) == "invalid_issuer"
    assert hearing.refused(hearing.says(SESSION_REVOKED, MARA, aud="https://elsewhere.example")) == "invalid_audience"
    assert hearing.refused(hearing.says(SESSION_REVOKED, MARA, aud=None)) == "invalid_audience"
    # By the name of the right one, so that nothing but the key itself gives it away.
    assert hearing.refused(hearing.says(SESSION_REVOKED, MARA, key=key_of("ES256", "another"), header={"kid": "k1"})) == "invalid_key"
    # Half a minute later, since until then a key that is not known might be a new one.
    monkeypatch.setattr(KEYS, "clock", lambda: time.monotonic() + ASKED_AGAIN_AFTER)
    assert hearing.refused(hearing.says(SESSION_REVOKED, MARA, header={"kid": "k2"})) == "invalid_key"


def test_g02_a_stream_hears_only_who_shows_its_own_header(stage: Stage, hearing: Hearing) -> None:
    other = stage.beside().hears(Provider(issuer=IDP))
    token = hearing.says(SESSION_REVOKED, MARA)

    refused = {hearing.refused(token, authorization=header) for header in ("", "Bearer wrong", other.header, hearing.header.lower())}
    nowhere = stage.http.post(f"/signals/push/{new_id()}", data=token, content_type="application/secevent+jwt")
    known = hearing.push(token, authorization="Bearer wrong")

    assert refused == {"authentication_failed"}
    # A stream that there is and one that there is not are told apart by nothing.
    assert (nowhere.status_code, nowhere.data) == (known.status_code, known.data)


def test_g02_guessing_a_header_gets_slower_and_the_right_one_does_not(
    stage: Stage, hearing: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_routes, "FAILURES", Buckets(rate=0.01, burst=3))
    mara = stage.joins("mara", issuer=IDP)
    token = hearing.says(SESSION_REVOKED, MARA)

    guesses = [hearing.push(token, authorization=f"Bearer {number}").status_code for number in range(5)]
    right = hearing.push(token)

    assert guesses == [401, 401, 401, 429, 429]
    assert (right.status_code, stage.epoch(mara)) == (202, 2)


def test_g03_a_repetition_is_taken_and_does_nothing_a_second_time(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    token = hearing.says(SESSION_REVOKED, MARA)
    assert hearing.push(token).status_code == 202
    cookie = stage.signs_in(mara.person_id)

    again = hearing.push(token)

    assert (again.status_code, stage.is_in(cookie), len(hearing.kept())) == (202, True, 1)


def test_g03_repetitions_at_once_have_one_effect(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    before = stage.epoch(mara)
    token = hearing.says(SESSION_REVOKED, MARA)

    def push(_number: int) -> int:
        with stage.app.app_context():
            beside = replace(hearing, stage=replace(stage, http=stage.app.test_client()))
            return beside.push(token).status_code

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(push, range(6)))

    assert answers == [202] * 6
    assert stage.epoch(mara) == before + 1


def test_g04_what_happened_before_somebody_came_back_takes_nothing_from_them(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    happened = now() - timedelta(minutes=10)
    says(stage, mara.person_id, StatementKind.LEAVES)
    says(stage, mara.person_id, StatementKind.REHIRES)
    cookie = stage.signs_in(mara.person_id)

    backlog = [
        hearing.pushes(SESSION_REVOKED, MARA, said={"event_timestamp": int(happened.timestamp())}),
        hearing.pushes(DISABLED, MARA, iat=happened),
    ]

    assert [one.outcome for one in backlog] == [Outcome.IGNORED] * 2
    assert (stage.standing(mara), stage.is_in(cookie)) == (Standing.ACTIVE, True)


def test_g04_what_says_it_happens_tomorrow_outranks_nothing(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    tomorrow = int((now() + timedelta(days=1)).timestamp())
    hearing.pushes(DISABLED, MARA, said={"event_timestamp": tomorrow})
    hearing.pushes(ENABLED, MARA)
    between = stage.standing(mara)

    hearing.pushes(DISABLED, MARA)

    assert (between, stage.standing(mara)) == (Standing.ACTIVE, Standing.PAUSED)


def test_g05_a_stream_speaks_of_the_people_of_its_own_organisation_alone(stage: Stage, hearing: Hearing) -> None:
    beside = stage.beside()
    here, there = stage.joins("mara", issuer=IDP), beside.joins("mara", issuer=IDP)
    only_there = beside.joins("noor", issuer=IDP)
    in_here, in_there = stage.signs_in(here.person_id), beside.signs_in(there.person_id)

    by_mail = hearing.pushes(SESSION_REVOKED, email("mara@clinic.example"))
    foreign = [hearing.pushes(SESSION_REVOKED, one) for one in (email("noor@clinic.example"), iss_sub(IDP, "u-noor"), iss_sub(PUBLIC_URL, only_there.person_id))]

    assert by_mail.person_id == here.person_id
    assert (stage.is_in(in_here), beside.is_in(in_there)) == (False, True)
    assert [one.outcome for one in foreign] == [Outcome.PARKED] * 3


def test_g05_an_address_that_two_people_share_names_neither(stage: Stage, hearing: Hearing) -> None:
    first = stage.joins("shared", "E-1")
    second = stage.company.joins("other@clinic.example", "E-2", source_id=another_source(stage.company, "entra"))
    stage.shares(second, "shared@clinic.example")
    cookies = [stage.signs_in(one.person_id) for one in (first, second)]

    kept = hearing.pushes(SESSION_REVOKED, email("shared@clinic.example"))

    assert kept.outcome == Outcome.PARKED
    assert [stage.is_in(cookie) for cookie in cookies] == [True, True]


def test_g05_a_narrowed_transmitter_may_not_name_another_issuers_subjects(stage: Stage) -> None:
    narrow = stage.hears(Provider(issuer="https://other.example"), policy={"own_subjects": True})
    mara = stage.joins("mara", issuer=IDP)
    cookie = stage.signs_in(mara.person_id)

    kept = narrow.pushes(SESSION_REVOKED, MARA)

    assert (kept.outcome, stage.is_in(cookie)) == (Outcome.PARKED, True)


def test_g06_a_tenant_alone_ends_nobodys_session_unless_policy_says_so(stage: Stage, hearing: Hearing) -> None:
    daring = stage.hears(Provider(issuer="https://daring.example"), name="daring", policy={"wildcards": True, "tenant": "clinic"})
    cookies = [stage.signs_in(stage.joins(name, issuer=IDP).person_id) for name in ("mara", "noor")]
    elsewhere = stage.beside()
    foreign = elsewhere.signs_in(elsewhere.joins("ida").person_id)
    everybody = {"format": "complex", "tenant": {"format": "opaque", "id": "clinic"}}

    kept = hearing.pushes(SESSION_REVOKED, everybody)
    wrong_tenant = daring.pushes(SESSION_REVOKED, {**everybody, "tenant": {"format": "opaque", "id": "bank"}})
    disabled = daring.pushes(DISABLED, everybody)
    before = [stage.is_in(cookie) for cookie in cookies]
    daring.pushes(SESSION_REVOKED, everybody)

    assert [one.outcome for one in (kept, wrong_tenant, disabled)] == [Outcome.PARKED] * 3
    assert before == [True, True]
    assert [stage.is_in(cookie) for cookie in cookies] == [False, False]
    assert elsewhere.is_in(foreign)


def test_g06_a_member_that_we_do_not_know_is_refused_and_not_read_as_a_wildcard(stage: Stage, hearing: Hearing) -> None:
    stage.joins("mara", issuer=IDP)

    assert hearing.refused(hearing.says(SESSION_REVOKED, user(MARA, floor={"format": "opaque", "id": "3"}))) == "invalid_request"
    assert hearing.refused(hearing.says(SESSION_REVOKED, {"format": "complex"})) == "invalid_request"
    assert hearing.pushes(SESSION_REVOKED, {"format": "complex", "group": {"format": "opaque", "id": "all"}}).outcome == Outcome.PARKED


def test_g07_what_is_not_the_standard_is_taken_from_that_transmitter_alone(stage: Stage, hearing: Hearing) -> None:
    tolerated = frozenset({Tolerance.MILLISECONDS, Tolerance.SUBJECT_IN_EVENT, Tolerance.SUBJECT_TYPE})
    okta = stage.hears(Provider(issuer="https://clinic.okta.example"), name="okta", policy={"tolerated": tolerated})
    mara = stage.joins("mara", issuer=IDP)
    stamp = int(now().timestamp() * 1000)

    def of(one: Hearing) -> dict[str, str]:
        typed = {"subject_type": "iss-sub", "iss": IDP, "sub": "u-mara"}
        return {
            "subject in the event": one.says(SESSION_REVOKED, None, said={"subject": {"user": MARA}, "reason_admin": {"en": "Policy violation"}}),
            "subject_type": one.says(SESSION_REVOKED, typed),
            "milliseconds": one.says(SESSION_REVOKED, MARA, said={"event_timestamp": stamp}),
            # As Okta and Google send theirs.
            "Okta": one.says(SESSION_REVOKED, None, said={"subject": {"user": MARA}, "event_timestamp": stamp}),
            "Google": one.says(DISABLED, None, said={"subject": typed, "reason": "hijacking"}),
        }

    strict = {name: hearing.push(token).status_code for name, token in of(hearing).items()}
    untouched = (stage.epoch(mara), hearing.kept())
    tolerant = {name: okta.push(token).status_code for name, token in of(okta).items()}

    assert set(strict.values()) == {400}
    assert untouched == (1, [])
    assert set(tolerant.values()) == {202}
    assert stage.standing(mara) == Standing.PAUSED


def test_g07_a_subject_outside_of_the_event_is_the_one_that_counts(stage: Stage) -> None:
    okta = stage.hears(Provider(issuer=IDP), policy={"tolerated": frozenset({Tolerance.SUBJECT_IN_EVENT})})
    mara, noor = stage.joins("mara", issuer=IDP), stage.joins("noor", issuer=IDP)

    okta.pushes(DISABLED, MARA, said={"subject": iss_sub(IDP, "u-noor")})

    assert (stage.standing(mara), stage.standing(noor)) == (Standing.PAUSED, Standing.ACTIVE)


@pytest.mark.parametrize(("agreed", "other"), [("RS256", "PS256"), ("PS256", "RS256"), ("ES256", "EdDSA"), ("EdDSA", "ES256")])
def test_g08_a_transmitter_signs_as_was_agreed_with_it(stage: Stage, agreed: str, other: str) -> None:
    provider = Provider(issuer=IDP, algorithm=agreed, key_name=f"{agreed}-of-theirs")
    hearing = stage.hears(provider, policy={"algorithms": (agreed,)})
    stage.joins("mara", issuer=IDP)
    # Of RSA the very same key can do both.
    key = provider.key if "256" in other and other.endswith("S256") and agreed.endswith("S256") and "E" not in agreed else key_of(other, "else")

    taken = hearing.push(hearing.says(SESSION_REVOKED, MARA))

    assert taken.status_code == 202
    assert hearing.refused(hearing.says(SESSION_REVOKED, MARA, key=key, header={"alg": other})) == "invalid_request"


def test_g09_an_account_that_is_enabled_again_does_not_undo_hr(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    hearing.pushes(DISABLED, MARA)
    says(stage, mara.person_id, StatementKind.LEAVES)

    hearing.pushes(ENABLED, MARA)

    assert stage.standing(mara) == Standing.DEPARTED


def test_g05_what_was_received_of_one_organisation_is_not_anothers(stage: Stage, hearing: Hearing) -> None:
    stage.joins("mara", issuer=IDP)
    jti = new_id()
    other = stage.beside().hears(Provider(issuer=IDP))

    hearing.pushes(SESSION_REVOKED, MARA, jti=jti)
    other.pushes(SESSION_REVOKED, MARA, jti=jti)

    with reading() as session:
        kept = session.scalars(select(Received).where(Received.jti == jti)).all()
    assert len({one.organization_id for one in kept}) == 2


def test_g11_a_stream_that_falls_silent_raises_an_alarm_until_it_is_heard(stage: Stage) -> None:
    asked: list[dict[str, Any]] = []

    def verification(request: Any) -> tuple[int, dict[str, str], str]:
        asked.append(json.loads(request.body))
        return 204, {}, ""

    stage.outside.add_callback("POST", "https://idp.example/verify", callback=verification)
    hearing = stage.hears(Provider(issuer=IDP), verification_url="https://idp.example/verify", stream_id="s-1", verify_every=timedelta(minutes=15))
    begun = now()
    stream = {"format": "opaque", "id": "s-1"}

    polling.tick(stage.settings, clock=lambda: begun + timedelta(minutes=1))
    wrong = hearing.push(hearing.says(VERIFICATION, stream, said={"state": "guessed"}))
    polling.tick(stage.settings, clock=lambda: begun + timedelta(minutes=40))
    quiet = alarms(stage)
    polling.tick(stage.settings, clock=lambda: begun + timedelta(minutes=46))
    silent = alarms(stage)
    hearing.pushes(VERIFICATION, stream, said={"state": asked[-1]["state"]})

    assert (wrong.status_code, wrong.get_json()["err"]) == (400, "invalid_state")
    assert [one["stream_id"] for one in asked] == ["s-1", "s-1"]
    assert (quiet, silent, alarms(stage)) == ([], ["stream_silent"], [])
