"""Trying an Okta source: connect, bind, search, count, each with its own outcome, and what a reading costs."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from connectors.contract import Unauthorised
from connectors.source_contract import SourceCheck
from connectors.sources.okta_reading import EVERYBODY, GROUPS, USERS, Reading
from connectors.sources.source_steps import take


def inspect(reading: Reading, *, with_groups: bool, with_log: bool, at: datetime) -> SourceCheck:
    """Reads, and changes nothing. Stops at the first step that fails."""
    calls, found, cost = reading.calls, dict[str, int](), list[str]()

    def connect() -> str:
        host = urlsplit(calls.url("")).hostname
        said = calls.visit("/.well-known/okta-organization").document()
        return f"{host} answers, organisation {said.text('id')}"

    def bind() -> str:
        got = calls.get(USERS, query={"limit": "1"})
        got.items()
        cost.append(got.headers.get("X-Rate-Limit-Limit", ""))
        return "the credential is accepted and may read users"

    def search() -> str:
        first = calls.get(USERS, query={"filter": EVERYBODY, "limit": "1"}).items()
        if with_groups:
            calls.get(GROUPS, query={"limit": "1"}).items()
        if with_log:
            try:
                list(reading.deleted(since=at - timedelta(minutes=1), until=at))
            except Unauthorised as error:
                advice = "grant okta.logs.read, or set deletions=listing and hear of deletions by full listings only"
                raise Unauthorised(f"{error}; {advice}") from error
        if not first:
            return "nobody is shown to this credential"
        person = reading.people.person(first[0], source=reading.name)
        return f"for example {person.user_name}, {'on' if person.active else 'off'} ({person.state}), with id {person.key}"

    def count() -> str:
        began, states, pages = time.monotonic(), dict[str, int](), 0
        for got in reading.pages(USERS, query={"filter": EVERYBODY}):
            pages += 1
            for user in got.items():
                states[user.text("status")] = states.get(user.text("status"), 0) + 1
        took = time.monotonic() - began
        found["people"] = sum(states.values())
        found["groups"] = sum(1 for _ in reading.groups(query={})) if with_groups else 0
        limit = f" (Okta allows {cost[0]} a minute here)" if cost[0] else ""
        cost[:] = [
            f"a full listing asks {pages + found['groups'] + 1} times or more{limit}, people alone took {took:.1f} s; changes ask 3 times, "
            f"and again for each group that changed; deletions are told {'by the System Log' if with_log else 'by full listings only'}; "
            "Okta's searches are about a second behind"
        ]
        told = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        return f"{found['people']} people ({told or 'none'}), {found['groups']} groups"

    steps = take(connect, bind, search, count)
    done = all(step.good for step in steps)
    return SourceCheck(steps=steps, people=found.get("people"), groups=found.get("groups"), cost=cost[0] if done else "")
