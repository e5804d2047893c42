"""A source that is given up, by whose records people are known when they sign in: nobody is left outside by it."""

from __future__ import annotations

from typing import Any

import pytest

from app.clock import now
from app.directory.vocabulary import ENTERPRISE_URN
from app.lifecycle.records import RecordDraft, add_record
from app.sso.verified import DirectoryIds, Verified
from tests.saml_provider import SAMLProvider, keys
from tests.unit.commands.conftest import OKTA, Desk, Said
from tests.vouching import shown

pytestmark = pytest.mark.slow


class Firm:
    """Two directories that call Ada by the same number, and one connection through which she signs in."""

    def __init__(self, desk: Desk, *choices: str) -> None:
        self.desk = desk
        self.ids = {name: str(desk.asks("source", "add", "scim", name)["id"]) for name in ("old", "new")}
        key = keys("okta")
        metadata = desk.file("metadata.xml", SAMLProvider(key=key, certificates=(key,)).metadata())
        self.connection = desk.asks("connection", "add", "saml", "okta", "--metadata", metadata, *choices)

    def names(self, directory: str, external_id: str) -> None:
        document = {"displayName": "Ada", ENTERPRISE_URN: {"employeeNumber": "E-1"}}
        draft = RecordDraft(external_id=external_id, user_name="ada@acme.example", active=True, document=document)
        organization_id, source_id = self.desk.organization_id, self.ids[directory]
        self.desk.acts(lambda session: add_record(session, organization_id, source_id, draft, actor=OKTA, at=now(), because="push"))

    def signs_in(self, subject: str, **said: Any) -> None:
        with self.desk.app.app_context():
            message = Verified(
                organization_id=self.desk.organization_id, connection_id=str(self.connection["id"]), issuer=str(self.connection["issuer"]),
                subject=subject, issued_at=now(), authenticated_at=now(), **said,
            )  # fmt: skip
            shown(message, at=now())

    def ends(self) -> Said:
        return self.desk.types("source", "end", "old", "--reason", "moved")


def test_the_one_directory_that_a_connection_goes_by_is_not_given_up(desk: Desk) -> None:
    firm = Firm(desk, "--attribute", "number", "--matches", "employeeNumber")
    firm.names("old", "o-1")
    firm.names("new", "n-1")
    desk.asks("connection", "set", "okta", "--directory", "old")

    refused = firm.ends()

    assert (refused.exit, "doorlist connection set okta --directory NEW" in refused.err) == (1, True), refused
    desk.asks("connection", "set", "okta", "--directory", "new")
    assert firm.ends().exit == 0
    firm.signs_in("00u", directory_ids=DirectoryIds(employee_number="E-1"))


def test_whoever_signs_in_by_an_id_that_it_alone_says_is_named(desk: Desk) -> None:
    firm = Firm(desk)
    firm.names("old", "o-1")
    firm.names("new", "n-1")
    firm.signs_in("o-1")

    refused = firm.ends()

    assert (refused.exit, "by the externalId that it alone says, okta knows ada@acme.example, who" in refused.err) == (1, True), refused
    firm.signs_in("o-1")
    desk.asks("connection", "end", "okta")
    assert firm.ends().exit == 0


def test_an_id_that_the_other_one_says_as_well_holds_nobody_up(desk: Desk) -> None:
    firm = Firm(desk)
    firm.names("old", "o-1")
    firm.names("new", "o-1")
    firm.signs_in("o-1")

    assert firm.ends().exit == 0
    firm.signs_in("o-1")


def test_a_value_that_is_not_kept_may_be_what_the_old_one_says(desk: Desk) -> None:
    firm = Firm(desk, "--attribute", "oid")
    firm.names("old", "o-1")
    firm.names("new", "n-1")
    firm.signs_in("00u", directory_ids=DirectoryIds(external_id="n-1"))
    assert firm.ends().exit == 1

    desk.asks("connection", "set", "okta", "--directory", "new")

    assert firm.ends().exit == 0
    firm.signs_in("00u", directory_ids=DirectoryIds(external_id="n-1"))
