"""A source that reads the stand-in for Entra ID, and two people in it."""

from __future__ import annotations

from connectors.contract import Secret
from connectors.source_contract import Change, Cursor, SourceKey, SourcePerson, SourceSettings
from connectors.sources.entra import Entra
from tests.sources.entra_stand_in import CLIENT, SECRET, TENANT, EntraTenant


def source(tenant: EntraTenant, *, secret: str = SECRET, **options: str) -> Entra:
    given = {"allow_private": "true", "tenant": TENANT, "client_id": CLIENT, "login_url": tenant.url, **options}
    settings = SourceSettings(name="entra", url=tenant.url, secret=Secret(secret), options=given)
    return Entra(settings, clock=lambda: tenant.now, pause=tenant.wait)


def company(tenant: EntraTenant) -> tuple[str, str]:
    """Grace, and Ada whose manager she is."""
    grace = tenant.hire("grace@acme.example", displayName="Grace Hopper")
    ada = tenant.hire(
        "ada@acme.example",
        manager=grace,
        givenName="Ada",
        surname="Lovelace",
        employeeId="7",
        department="Research",
        businessPhones=["+44 1"],
        employeeOrgData={"costCenter": "C1", "division": "East"},
    )
    return grace, ada


def people(found: Entra) -> dict[str, SourcePerson]:
    return {person.key: person for person in found.list_people()}


def news(found: Entra, cursor: Cursor) -> tuple[list[Change], Cursor]:
    told = list(found.changes_since(cursor))
    return told, found.cursor_reached()


def persons(told: list[Change]) -> dict[str, SourcePerson]:
    return {change.key: change for change in told if isinstance(change, SourcePerson)}


def keys(*texts: str) -> frozenset[SourceKey]:
    return frozenset(SourceKey(text) for text in texts)
