"""Attacks on who is meant: other tenants of the same provider, and addresses that anybody may write (nOAuth)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.access.connection_tables import Connection, Identity
from app.clock import now
from app.database import in_transaction, reading
from app.sso.connections import UnusableConnection
from app.sso.oidc_setup import discover
from app.sso.refusals import Reason, Refused
from tests.company import new_company
from tests.oidc_arrangement import Arrangement, arranged, forget_keys, is_in, tries
from tests.oidc_attempts import reason_for, reason_of_answer

TENANT = "11111111-2222-3333-4444-555555555555"
ENTRA = f"https://login.microsoftonline.com/{TENANT}/v2.0"


@pytest.fixture
def arrangement(installed: Flask) -> Iterator[Arrangement]:
    forget_keys()
    with arranged(installed, new_company()) as made:
        yield made
    forget_keys()


def test_o06_an_address_that_answers_for_every_tenant_is_no_issuer(arrangement: Arrangement) -> None:
    for issuer in (
        "https://login.microsoftonline.com/common/v2.0", "https://login.microsoftonline.com/organizations/v2.0",
        "https://login.microsoftonline.com/consumers/v2.0", "https://login.microsoftonline.com/{tenantid}/v2.0",
        "https://login.microsoftonline.com/northwind.example/v2.0", "https://sts.windows.net/common/",
    ):  # fmt: skip
        with pytest.raises(UnusableConnection, match="tenant"):
            discover(issuer, allow_private=False)
    # Nor where somebody wrote it into the database.
    _as_entra(arrangement, issuer="https://login.microsoftonline.com/common/v2.0")
    with pytest.raises(Refused, match="tenant"):
        arrangement.begins()


@pytest.mark.parametrize("mark", ["\0", "\ud800"])
def test_a_character_that_no_text_can_hold_names_nobody_and_breaks_nothing(arrangement: Arrangement, mark: str) -> None:
    arrangement.set_directory_key("number", "employeeNumber")

    for claims, userinfo in (({"number": f"10{mark}01"}, {}), ({}, {"number": f"10{mark}01"}), ({"at_hash": mark}, {})):
        arrangement.provider.claims, arrangement.provider.userinfo = claims, userinfo
        came = tries(arrangement, arrangement.app.test_client())
        assert (came.status_code, came.mimetype) == (403, "text/html"), (claims, userinfo)


def test_o06_another_tenant_of_the_same_provider_is_refused(arrangement: Arrangement) -> None:
    _as_entra(arrangement)
    good = {"iss": ENTRA, "tid": TENANT, "oid": "oid-ada"}
    assert reason_for_entra(arrangement, **good) is None

    for claims in ({**good, "tid": "99999999-2222-3333-4444-555555555555"}, {**good, "tid": None}, {**good, "tid": [TENANT]}):
        assert reason_for_entra(arrangement, **claims) is Reason.OTHER_ISSUER, claims
    assert reason_for_entra(arrangement, **{**good, "oid": None}) is Reason.BAD_MESSAGE


def test_o14_a_person_of_microsofts_is_the_directorys_object_in_its_tenant(arrangement: Arrangement) -> None:
    _as_entra(arrangement)
    arrangement.provider.claims = {"iss": ENTRA, "tid": TENANT.upper(), "oid": "oid-ada", "sub": "pairwise", "acrs": ["c1"]}

    verified = arrangement.comes_back(arrangement.provider.answers(arrangement.begins(), iss=ENTRA))

    assert (verified.issuer, verified.tenant, verified.subject) == (ENTRA, TENANT, "oid-ada")
    assert verified.amr == ("pwd", "c1")


def test_o14_an_account_of_nobodys_at_google_is_refused(arrangement: Arrangement) -> None:
    in_transaction(
        lambda session: session.execute(
            update(Connection).where(Connection.id == arrangement.connection_id).values(issuer="https://accounts.google.com")
        )
    )
    google = {"iss": "https://accounts.google.com"}
    answers = [
        reason_of_google(arrangement, {**google, **claims}, tenant)
        for claims, tenant in (
            ({"hd": None}, None), ({"hd": "northwind.example"}, None), ({"hd": "elsewhere.example"}, "northwind.example"),
            ({"hd": None}, "northwind.example"), ({"hd": "northwind.example"}, "northwind.example"),
        )
    ]  # fmt: skip

    assert answers == [Reason.OTHER_ISSUER, None, Reason.OTHER_ISSUER, Reason.OTHER_ISSUER, None]


def reason_of_google(arrangement: Arrangement, claims: dict[str, Any], tenant: str | None) -> Reason | None:
    arrangement.set(tenant=tenant)
    arrangement.provider.claims = claims
    return reason_of_answer(arrangement, arrangement.provider.answers(arrangement.begins(), iss=claims["iss"]))


def reason_for_entra(arrangement: Arrangement, **claims: Any) -> Reason | None:
    arrangement.provider.claims = claims
    return reason_of_answer(arrangement, arrangement.provider.answers(arrangement.begins(), iss=ENTRA))


@pytest.mark.parametrize("verified", [True, False, "true", None])
def test_o14_o15_nobody_is_taken_for_somebody_because_of_an_address(arrangement: Arrangement, verified: object) -> None:
    """nOAuth: whoever runs a tenant writes any address into it. The key is issuer and subject, whatever `email_verified` says."""
    record = arrangement.company.joins("ada@northwind.example", "1001", at=now() - timedelta(minutes=5))
    arrangement.provider.subject = "attacker"
    arrangement.provider.claims = {
        "email": "ada@northwind.example", "email_verified": verified, "xms_edov": True, "preferred_username": "ada@northwind.example",
        "upn": "ada@northwind.example",
    }  # fmt: skip
    http = arrangement.app.test_client()

    came = tries(arrangement, http)

    assert came.status_code == 403 and not is_in(http)
    with reading() as session:
        assert session.scalars(select(Identity).where(Identity.person_id == record.person_id)).all() == []


def test_o14_a_subject_that_is_an_address_binds_nobody(arrangement: Arrangement) -> None:
    arrangement.company.joins("ada@northwind.example", at=now() - timedelta(minutes=5))
    arrangement.provider.subject = "00u-ada@northwind.example"
    http = arrangement.app.test_client()

    assert tries(arrangement, http).status_code == 403


def test_a_subject_that_no_database_should_hold_is_refused(arrangement: Arrangement) -> None:
    for subject in (None, "", 7, ["im-ada"], "x" * 256, "im-ada\0", "im-ada\n", "\ud800"):
        assert reason_for(arrangement, sub=subject) is Reason.BAD_MESSAGE, repr(subject)


def _as_entra(arrangement: Arrangement, *, issuer: str = ENTRA) -> None:
    in_transaction(
        lambda session: session.execute(update(Connection).where(Connection.id == arrangement.connection_id).values(issuer=issuer))
    )
