"""A source that reads the stand-in for Okta, and a small company in it."""

from __future__ import annotations

from connectors.contract import Secret
from connectors.source_contract import Change, Cursor, SourcePerson, SourceSettings
from connectors.sources.okta import Okta
from tests.sources.okta_stand_in import TOKEN, OktaOrganisation


def source(organisation: OktaOrganisation, *, secret: str = TOKEN, **options: str) -> Okta:
    settings = SourceSettings(name="okta", url=organisation.url, secret=Secret(secret), options={"allow_private": "true", **options})
    return Okta(settings, clock=lambda: organisation.now, pause=organisation.wait)


def company(organisation: OktaOrganisation) -> tuple[str, str, str]:
    """Grace, who leads; Ada and Alan below her, who are told before and after her."""
    ada = organisation.hire("ada.lovelace@acme.example", managerId="grace.hopper@acme.example", department="Research", employeeNumber="7")
    grace = organisation.hire("grace.hopper@acme.example")
    alan = organisation.hire("alan.turing@acme.example", managerId=grace)
    organisation.later(seconds=5)
    return ada, grace, alan


def people(found: Okta) -> dict[str, SourcePerson]:
    return {person.key: person for person in found.list_people()}


def news(found: Okta, cursor: Cursor) -> tuple[list[Change], Cursor]:
    told = list(found.changes_since(cursor))
    return told, found.cursor_reached()


def quiet(organisation: OktaOrganisation, found: Okta) -> Cursor:
    """A cursor behind which nothing of what was done so far is told again."""
    organisation.later(hours=1)
    return found.cursor_now()
