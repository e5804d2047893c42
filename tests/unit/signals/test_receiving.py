"""What others tell us of people's sessions and accounts, pushed, and what becomes of it."""

import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.published_keys import KEYS, SILENT_FOR
from app.access.session_tables import Device
from app.clock import now
from app.commands import housekeeping
from app.database import in_transaction, new_id, reading
from app.directory.tables import Standing, StatementKind, Voice
from app.lifecycle import leaving
from app.revocation.alarms import open_alarms
from app.revocation.stream_tables import Outcome, Received
from app.signals.events import Tolerance
from tests.company import ADMIN
from tests.unit.signals.stage import (
    CHANGED,
    CREDENTIAL_CHANGE,
    DEVICE_COMPLIANCE_CHANGE,
    DISABLED,
    ENABLED,
    PURGED,
    RECYCLED,
    SESSION_REVOKED,
    STREAM_UPDATED,
    TOKEN_CLAIMS_CHANGE,
    VERIFICATION,
    Hearing,
    Provider,
    Stage,
    email,
    iss_sub,
    opaque,
    user,
)

IDP = "https://idp.example/clinic"


@pytest.fixture
def hearing(stage: Stage) -> Hearing:
    return stage.hears(Provider(issuer=IDP))


@pytest.mark.parametrize("event", [SESSION_REVOKED, CREDENTIAL_CHANGE, TOKEN_CLAIMS_CHANGE])
def test_a_revoked_session_signs_out_everywhere(stage: Stage, hearing: Hearing, event: str) -> None:
    mara = stage.joins("mara", issuer=IDP)
    cookie = stage.signs_in(mara.person_id)

    kept = hearing.pushes(event, user(iss_sub(IDP, "u-mara"), tenant={"format": "opaque", "id": "clinic"}), txn="txn-1")

    assert not stage.is_in(cookie)
    assert (kept.outcome, kept.person_id, kept.txn) == (Outcome.APPLIED, mara.person_id, "txn-1")
    assert stage.standing(mara) == Standing.ACTIVE
    assert stage.is_in(stage.signs_in(mara.person_id))


def test_one_named_session_ends_alone(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    named, other = (stage.signs_in(mara.person_id, upstream_session=one) for one in ("s-1", "s-2"))

    hearing.pushes(SESSION_REVOKED, user(iss_sub(IDP, "u-mara"), session={"format": "opaque", "id": "s-1"}))

    assert (stage.is_in(named), stage.is_in(other)) == (False, True)


@pytest.mark.parametrize("subject", [opaque("s-1"), {"format": "complex", "session": opaque("s-1")}, {"format": "complex", "session": opaque("s-1"), "tenant": opaque("clinic")}])
def test_a_session_that_is_named_alone_ends(stage: Stage, hearing: Hearing, subject: dict[str, Any]) -> None:
    mara, connection_id = stage.joins("mara"), stage.connects(Provider(issuer=IDP))
    named, other = (stage.signs_in(mara.person_id, upstream_session=one, connection_id=connection_id) for one in ("s-1", "s-2"))

    kept = hearing.pushes(SESSION_REVOKED, subject)

    assert (kept.outcome, kept.person_id) == (Outcome.APPLIED, mara.person_id)
    assert (stage.is_in(named), stage.is_in(other)) == (False, True)


def test_nor_does_a_session_of_another_tenant_end(stage: Stage) -> None:
    mara, hearing = stage.joins("mara"), stage.hears(Provider(issuer=IDP), policy={"tenant": "clinic"})
    cookie = stage.signs_in(mara.person_id, upstream_session="s-1", connection_id=stage.connects(Provider(issuer=IDP)))

    kept = hearing.pushes(SESSION_REVOKED, {"format": "complex", "session": opaque("s-1"), "tenant": opaque("elsewhere")})

    assert (kept.outcome, stage.is_in(cookie)) == (Outcome.PARKED, True)
    assert hearing.pushes(SESSION_REVOKED, {"format": "complex", "session": opaque("s-1"), "tenant": opaque("clinic")}).outcome == Outcome.APPLIED


def test_what_is_said_of_people_touches_none_by_the_name_of_a_session(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara")
    cookie = stage.signs_in(mara.person_id, upstream_session="s-1", connection_id=stage.connects(Provider(issuer=IDP)))

    assert hearing.pushes(DISABLED, opaque("s-1")).outcome == Outcome.PARKED
    assert hearing.pushes(CREDENTIAL_CHANGE, opaque("s-1")).outcome == Outcome.PARKED
    assert stage.is_in(cookie)


def test_sessions_of_another_provider_or_of_several_people_are_nobodys(stage: Stage, hearing: Hearing) -> None:
    mara, ines = stage.joins("mara"), stage.joins("ines")
    elsewhere, here = stage.connects(Provider(issuer="https://other.example")), stage.connects(Provider(issuer=IDP))
    cookies = [
        stage.signs_in(mara.person_id, upstream_session="s-1", connection_id=elsewhere),
        *(stage.signs_in(one.person_id, upstream_session="s-2", connection_id=here) for one in (mara, ines)),
    ]

    assert [hearing.pushes(SESSION_REVOKED, opaque(one)).outcome for one in ("s-1", "s-2")] == [Outcome.PARKED, Outcome.PARKED]
    assert all(stage.is_in(one) for one in cookies)


def test_a_session_that_nobody_knows_here_ends_them_all(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    cookie = stage.signs_in(mara.person_id, upstream_session="s-1")

    hearing.pushes(SESSION_REVOKED, user(iss_sub(IDP, "u-mara"), session={"format": "opaque", "id": "s-9"}))

    assert not stage.is_in(cookie)


def test_a_disabled_account_pauses_until_it_is_enabled_again(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    cookie = stage.signs_in(mara.person_id)

    hearing.pushes(DISABLED, iss_sub(IDP, "u-mara"))
    paused = stage.standing(mara)
    hearing.pushes(ENABLED, iss_sub(IDP, "u-mara"))

    assert (paused, stage.standing(mara)) == (Standing.PAUSED, Standing.ACTIVE)
    assert not stage.is_in(cookie)


def test_a_disabled_account_leaves_where_that_is_what_it_means(stage: Stage) -> None:
    hearing = stage.hears(Provider(issuer=IDP), policy={"disabled_means": StatementKind.LEAVES})
    mara = stage.joins("mara", issuer=IDP)

    hearing.pushes(DISABLED, iss_sub(IDP, "u-mara"))

    assert stage.standing(mara) == Standing.DEPARTED


def test_a_purged_account_leaves(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)

    hearing.pushes(PURGED, iss_sub(IDP, "u-mara"))

    assert stage.standing(mara) == Standing.DEPARTED


def test_saying_disabled_again_says_nothing_new(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    hearing.pushes(DISABLED, iss_sub(IDP, "u-mara"))
    epoch = stage.epoch(mara)

    again = hearing.pushes(DISABLED, iss_sub(IDP, "u-mara"))

    assert (again.outcome, stage.epoch(mara)) == (Outcome.IGNORED, epoch)


def test_what_another_stream_took_is_not_given_back(stage: Stage, hearing: Hearing) -> None:
    other = stage.hears(Provider(issuer="https://mdm.example"), name="mdm")
    mara = stage.joins("mara", issuer=IDP)
    other.pushes(DISABLED, iss_sub(IDP, "u-mara"))

    kept = hearing.pushes(ENABLED, iss_sub(IDP, "u-mara"))

    assert (kept.outcome, stage.standing(mara)) == (Outcome.PARKED, Standing.PAUSED)


def test_enabling_what_was_never_disabled_is_nothing(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    epoch = stage.epoch(mara)

    kept = hearing.pushes(ENABLED, iss_sub(IDP, "u-mara"))

    assert (kept.outcome, stage.epoch(mara)) == (Outcome.IGNORED, epoch)


def test_an_event_that_was_overtaken_does_not_count(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    hearing.pushes(DISABLED, iss_sub(IDP, "u-mara"), iat=timedelta(minutes=-1))

    late = hearing.pushes(ENABLED, iss_sub(IDP, "u-mara"), iat=timedelta(minutes=-5))

    assert (late.outcome, stage.standing(mara)) == (Outcome.IGNORED, Standing.PAUSED)


def test_a_device_that_is_not_compliant_is_ended(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    device_id, cookie = new_id(), stage.signs_in(mara.person_id)
    in_transaction(
        lambda session: session.add(
            Device(organization_id=stage.organization_id, id=device_id, person_id=mara.person_id, epoch=1, name="phone", enrolled_at=now(), seen_at=now())
        )
    )
    subject = user(iss_sub(IDP, "u-mara"), device={"format": "opaque", "id": device_id})

    hearing.pushes(DEVICE_COMPLIANCE_CHANGE, subject, said={"previous_status": "compliant", "current_status": "not-compliant"})

    with reading() as session:
        assert session.get_one(Device, (stage.organization_id, device_id)).ended_at is not None
    assert stage.is_in(cookie)


def test_a_device_that_nobody_knows_here_ends_the_sessions(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    cookie = stage.signs_in(mara.person_id)
    subject = user(iss_sub(IDP, "u-mara"), device={"format": "opaque", "id": "jamf-17"})

    hearing.pushes(DEVICE_COMPLIANCE_CHANGE, subject, said={"current_status": "compliant"})
    before = stage.is_in(cookie)
    hearing.pushes(DEVICE_COMPLIANCE_CHANGE, subject, said={"current_status": "not-compliant"})

    assert (before, stage.is_in(cookie)) == (True, False)


def test_a_recycled_identifier_is_nobodys_any_more_and_somebody_is_told(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    cookie = stage.signs_in(mara.person_id)

    hearing.pushes(RECYCLED, iss_sub(IDP, "u-mara"))
    after = hearing.pushes(SESSION_REVOKED, iss_sub(IDP, "u-mara"))

    assert not stage.is_in(cookie)
    assert after.outcome == Outcome.PARKED
    with reading() as session:
        assert [one.kind for one in open_alarms(session, stage.organization_id)] == ["identifier_recycled"]


def test_a_changed_identifier_moves_nobody(stage: Stage, hearing: Hearing) -> None:
    mara, noor = stage.joins("mara", issuer=IDP), stage.joins("noor")

    kept = hearing.pushes(CHANGED, email("mara@clinic.example"), said={"new-value": "noor@clinic.example"})
    hearing.pushes(DISABLED, email("noor@clinic.example"))

    assert kept.outcome == Outcome.IGNORED
    assert (stage.standing(mara), stage.standing(noor)) == (Standing.ACTIVE, Standing.PAUSED)


def test_whom_nobody_knows_is_taken_and_parked(hearing: Hearing) -> None:
    kept = hearing.pushes(SESSION_REVOKED, iss_sub(IDP, "u-nobody"))

    assert (kept.outcome, kept.person_id) == (Outcome.PARKED, None)


def test_an_event_that_asks_for_nothing_here_is_taken(hearing: Hearing) -> None:
    kept = hearing.pushes("https://schemas.openid.net/secevent/caep/event-type/risk-level-change", iss_sub(IDP, "u-nobody"))

    assert kept.outcome == Outcome.IGNORED


def test_an_opaque_subject_is_the_issuers_own(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    cookie = stage.signs_in(mara.person_id)

    hearing.pushes(SESSION_REVOKED, {"format": "opaque", "id": "u-mara"})

    assert not stage.is_in(cookie)


def test_the_directorys_own_id_counts_only_where_it_was_chosen(stage: Stage, hearing: Hearing) -> None:
    by_id = stage.hears(Provider(issuer="https://okta.example"), name="okta", policy={"external_ids": True})
    mara = stage.joins("mara")
    cookie = stage.signs_in(mara.person_id)

    kept = hearing.pushes(SESSION_REVOKED, iss_sub(IDP, "00u-mara@clinic.example"))
    before = stage.is_in(cookie)
    by_id.pushes(SESSION_REVOKED, iss_sub("https://okta.example", "00u-mara@clinic.example"))

    assert (kept.outcome, before, stage.is_in(cookie)) == (Outcome.PARKED, True, False)


def test_aliases_that_contradict_each_other_mean_nobody(stage: Stage, hearing: Hearing) -> None:
    stage.joins("mara", issuer=IDP)
    stage.joins("noor")
    subject = {"format": "aliases", "identifiers": [iss_sub(IDP, "u-mara"), email("noor@clinic.example")]}

    kept = hearing.pushes(SESSION_REVOKED, subject)

    assert kept.outcome == Outcome.PARKED


def test_nobody_is_touched_who_has_no_access_anyway(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    in_transaction(
        lambda session: leaving.say(
            session, stage.organization_id, mara.person_id, voice=Voice.HR, kind=StatementKind.LEAVES, said_by="hr", effective_at=now(), actor=ADMIN,
            at=now(), because="test",
        )
    )  # fmt: skip
    epoch = stage.epoch(mara)

    kept = hearing.pushes(SESSION_REVOKED, iss_sub(IDP, "u-mara"))

    assert (kept.outcome, stage.epoch(mara)) == (Outcome.IGNORED, epoch)


def test_a_verification_that_nobody_asked_for_is_a_sign_of_life(stage: Stage, hearing: Hearing) -> None:
    kept = hearing.pushes(VERIFICATION, {"format": "opaque", "id": "stream-1"})

    assert kept.why == "the stream is alive"


def test_a_verification_without_a_subject_is_taken_where_that_was_said(stage: Stage, hearing: Hearing) -> None:
    okta = stage.hears(Provider(issuer="https://okta.example"), name="okta", policy={"tolerated": frozenset({Tolerance.SUBJECT_IN_EVENT})})

    strict = hearing.refused(hearing.says(VERIFICATION, None))
    tolerant = okta.pushes(VERIFICATION, None)

    assert (strict, tolerant.why) == ("invalid_request", "the stream is alive")


def test_a_format_of_somebodys_own_names_nobody(stage: Stage, hearing: Hearing) -> None:
    kept = hearing.pushes(SESSION_REVOKED, {"format": "catalog_item", "catalog_id": "c0384"})

    assert kept.outcome == Outcome.PARKED


def test_a_stream_that_is_paused_over_there_raises_an_alarm(stage: Stage, hearing: Hearing) -> None:
    hearing.pushes(STREAM_UPDATED, {"format": "opaque", "id": "stream-1"}, said={"status": "paused"})

    with reading() as session:
        assert [one.kind for one in open_alarms(session, stage.organization_id)] == ["stream_silent"]


def test_the_keys_of_a_transmitter_that_are_away_lose_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(issuer=IDP)
    hearing = stage.hears(provider)
    mara = stage.joins("mara", issuer=IDP)
    token = hearing.says(SESSION_REVOKED, iss_sub(IDP, "u-mara"))
    stage.outside.replace("GET", provider.jwks_uri, status=503)

    away = hearing.push(token)
    provider.publishes(stage.outside)
    stage.outside.replace("GET", provider.jwks_uri, json={"keys": [provider.key.as_dict(private=False)]})
    # Those without keys do not all wait for a place that is silent: it is asked again a moment later.
    later = time.monotonic() + SILENT_FOR
    monkeypatch.setattr(KEYS, "clock", lambda: later)
    back = hearing.push(token)

    assert (away.status_code, back.status_code) == (503, 202)
    assert stage.epoch(mara) == 2


def test_signals_are_forgotten_when_their_time_has_come(stage: Stage, hearing: Hearing) -> None:
    provider = Provider(issuer=IDP)
    connection_id = stage.connects(provider)
    jtis = {days: hearing.pushes(VERIFICATION, {"format": "opaque", "id": "stream-1"}).jti for days in (0, 399, 401, 3000)}

    def dated(session: Session) -> None:
        for days, jti in jtis.items():
            row = session.get_one(Received, (stage.organization_id, hearing.row.id, jti))
            row.received_at = now() - timedelta(days=days)
            if days == 3000:
                row.sender_id = connection_id

    in_transaction(dated)
    stage.hears_no_more(hearing)

    housekeeping.tick(stage.app)

    with reading() as session:
        left = session.scalars(select(Received.jti).where(Received.organization_id == stage.organization_id)).all()
    assert set(left) == {jtis[0], jtis[399]}
