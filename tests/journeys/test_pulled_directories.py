"""A day in a directory, on OpenLDAP, on a Samba domain controller and on 389 Directory Server: after each event Doorlist's people and
groups are those of the directory, by what changed and by a whole listing."""

from __future__ import annotations

import pytest
from flask import Flask

from connectors.sources.ldap import LDAP
from tests.connectors.test_ldap_servers import EVENTS, furnish
from tests.servers.directories import DirectoryServer, Held
from tests.unit.intake.pulled_company import Pulled, pulled_company

pytestmark = [pytest.mark.ldap, pytest.mark.slow]


def holds(corp: Pulled) -> Held:
    """Who is here, by the part of the userName before any `@`, and in which groups."""
    people = {name.partition("@")[0]: record.active for name, record in corp.records().items()}
    groups = {name: frozenset(member.partition("@")[0] for member in members) for name, members in corp.groups().items()}
    return Held(people=people, groups=groups)


def test_doorlist_holds_what_the_directory_holds_after_each_event(installed: Flask, ldap_server: DirectoryServer) -> None:
    furnish(ldap_server)
    following, listing = pulled_company(), pulled_company()
    for corp in (following, listing):
        corp.opened = LDAP(ldap_server.settings())
        corp.sets("gone_after", "0s")
        assert corp.pull().notes == ()
        assert holds(corp) == ldap_server.holds()

    for what, happen in EVENTS.items():
        happen(ldap_server)
        for corp, whole in ((following, False), (listing, True)):
            # Twice, since nobody is gone who was not missing before; until then their name is theirs.
            for _ in range(2):
                outcome = corp.pull(whole=whole)
            assert (outcome.notes, outcome.held) == ((), None), what
            assert holds(corp) == ldap_server.holds(), f"{'by a listing' if whole else 'by changes'}, after {what}"
