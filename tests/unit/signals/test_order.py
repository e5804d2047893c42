"""What happened last counts, in whatever order it is heard; and only a tenant that was agreed on is everybody."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from app.clock import now
from app.database import in_transaction
from app.directory.tables import Standing, StatementKind, Voice
from app.lifecycle.leaving import say
from app.revocation.stream_tables import Outcome
from tests.company import ADMIN
from tests.unit.signals.stage import DISABLED, ENABLED, SESSION_REVOKED, Hearing, Provider, Stage, iss_sub

IDP = "https://idp.example/clinic"
MARA = iss_sub(IDP, "u-mara")
EVERYBODY = {"format": "complex", "tenant": {"format": "opaque", "id": "clinic"}}


@pytest.fixture
def hearing(stage: Stage) -> Hearing:
    return stage.hears(Provider(issuer=IDP))


def ago(minutes: float) -> datetime:
    return now() - timedelta(minutes=minutes)


def test_what_happened_after_a_return_counts_though_it_was_heard_at_the_same_time(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    # A stream that was down delivers at once what happened within ten minutes.
    hearing.pushes(DISABLED, MARA, iat=ago(10))
    hearing.pushes(ENABLED, MARA, iat=ago(5))
    cookie = stage.signs_in(mara.person_id)

    kept = hearing.pushes(SESSION_REVOKED, MARA, iat=ago(3))

    assert (kept.outcome, stage.is_in(cookie)) == (Outcome.APPLIED, False)


def test_what_happened_before_a_return_that_was_told_takes_nothing(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    hearing.pushes(DISABLED, MARA, iat=ago(10))
    hearing.pushes(ENABLED, MARA, iat=ago(5))
    cookie = stage.signs_in(mara.person_id)

    kept = hearing.pushes(SESSION_REVOKED, MARA, iat=ago(7))

    assert (kept.outcome, stage.is_in(cookie)) == (Outcome.IGNORED, True)


def test_nothing_is_too_old_by_a_return_of_a_clock_that_was_ahead(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)
    for kind, at in ((StatementKind.LEAVES, now()), (StatementKind.RETURNS, now() + timedelta(hours=1))):
        in_transaction(
            lambda s, kind=kind, at=at: say(  # type: ignore[misc]  # defaults bind the loop's values
                s, stage.organization_id, mara.person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=at, actor=ADMIN, at=at,
                because="test",
            )
        )  # fmt: skip
    cookie = stage.signs_in(mara.person_id)

    revoked = hearing.pushes(SESSION_REVOKED, MARA)
    out_by_then = stage.is_in(cookie)
    disabled = hearing.pushes(DISABLED, MARA)

    assert (revoked.outcome, out_by_then) == (Outcome.APPLIED, False)
    assert (disabled.outcome, stage.standing(mara)) == (Outcome.APPLIED, Standing.PAUSED)


def test_a_return_that_is_heard_before_the_leaving_it_ends_keeps_them_in(stage: Stage, hearing: Hearing) -> None:
    mara = stage.joins("mara", issuer=IDP)

    back = hearing.pushes(ENABLED, MARA, iat=ago(5))
    off = hearing.pushes(DISABLED, MARA, iat=ago(10))

    assert (back.outcome, off.outcome, stage.standing(mara)) == (Outcome.IGNORED, Outcome.IGNORED, Standing.ACTIVE)


def test_what_could_not_be_acted_on_outranks_nothing(stage: Stage, hearing: Hearing) -> None:
    other = stage.hears(Provider(issuer="https://mdm.example"), name="mdm")
    mara = stage.joins("mara", issuer=IDP)
    other.pushes(DISABLED, MARA, iat=ago(20))
    # Parked, since another stream has disabled them too.
    parked = hearing.pushes(ENABLED, MARA, iat=ago(5))

    late = hearing.pushes(DISABLED, MARA, iat=ago(10))

    assert (parked.outcome, late.outcome, stage.standing(mara)) == (Outcome.PARKED, Outcome.APPLIED, Standing.PAUSED)


def test_a_wildcard_is_nobody_where_it_was_not_said_which_tenant_is_ours(stage: Stage) -> None:
    hearing = stage.hears(Provider(issuer=IDP), policy={"wildcards": True})
    cookie = stage.signs_in(stage.joins("mara", issuer=IDP).person_id)

    kept = hearing.pushes(SESSION_REVOKED, EVERYBODY)

    assert (kept.outcome, stage.is_in(cookie)) == (Outcome.PARKED, True)
