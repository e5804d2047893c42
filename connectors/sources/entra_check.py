"""Trying an Entra source: connect, bind, search, count, each with its own outcome, and what a reading costs."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

from connectors.client_credentials import ClientCredentials
from connectors.contract import Unauthorised, Unreachable
from connectors.source_contract import SourceCheck
from connectors.sources.entra_changes import links_now
from connectors.sources.entra_reading import EVENTUAL, GROUPS, USERS, VERSION, Reading
from connectors.sources.source_steps import take


def inspect(reading: Reading, token: ClientCredentials, *, with_groups: bool) -> SourceCheck:
    """Reads, and changes nothing. Stops at the first step that fails."""
    calls, found = reading.calls, dict[str, int]()

    def connect() -> str:
        # Graph shows to everybody which resources it has; where it does not, the refusal is an answer too.
        with contextlib.suppress(Unauthorised):
            calls.visit(VERSION + "/")
        return f"{urlsplit(calls.url('')).hostname} answers"

    def bind() -> str:
        token.renew()
        token.header()
        return "the application is known to the tenant, and a token was given"

    def search() -> str:
        query = {"$select": reading.people.select, "$expand": "manager($select=id)", "$top": "1"}
        first = next(calls.get(USERS, query=query).document().parts("value"), None)
        if with_groups:
            group = next(calls.get(GROUPS, query={"$select": "id,displayName", "$top": "1"}).document().parts("value"), None)
            if group is not None:
                # The right to see groups is not the right to see who is in them.
                calls.get(f"{GROUPS}/{group.text('id')}/transitiveMembers", query={"$select": "id,userType", "$top": "1"})
        if first is None:
            return "nobody is shown to this application"
        person = reading.people.person(first, source=reading.name)
        return f"for example {person.user_name}, {'on' if person.active else 'off'} ({person.state}), with id {person.key}"

    def count() -> str:
        everybody, guests = counted(USERS), counted(USERS, "userType eq 'Guest'")
        counting_guests = reading.people.counts_guests
        found["people"] = everybody if counting_guests else everybody - guests
        found["groups"] = counted(GROUPS) if with_groups else 0
        links_now(reading, with_groups=with_groups)
        left_out = "" if counting_guests else f", {guests} guests left out"
        return f"{found['people']} people{left_out}, {found['groups']} groups; changes are told"

    def counted(place: str, only: str | None = None) -> int:
        got = calls.get(place + "/$count", query={"$filter": only} if only else {}, headers={**EVENTUAL, "Accept": "text/plain"})
        try:
            return int(got.content.decode("utf-8-sig"))
        except ValueError:
            raise Unreachable(f"{got.source}: the answer is not a number", sent=True) from None

    steps = take(connect, bind, search, count)
    cost = ""
    if all(step.good for step in steps):
        pages = -(-found["people"] // 999) or 1
        cost = (
            f"a full listing asks about {pages + found['groups'] + 1} times; changes ask twice, once more for each person and two or three "
            "times for each group that changed; Graph is usually seconds behind itself, sometimes minutes"
        )
    return SourceCheck(steps=steps, people=found.get("people"), groups=found.get("groups"), cost=cost)
