"""Whether a Synapse can be provisioned, and what it leaks or limits by its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from connectors.contract import AccountId, Check, Misconfigured, Missing, Refused
from connectors.http import path
from connectors.targets.matrix_homeserver import ADMIN, CLIENT, Homeserver

SAMPLE = 50
ROOMS = 5
"""Rooms of ours that are looked at, of at most SAMPLE that we are in."""
OLDEST, NEWEST = (1, 160), (1, 179)  # What the connector's tests were run against, and its neighbours.


def inspect(server: Homeserver, *, provider: str) -> Check:
    """Also lifts the rate limits of our own account, once for all: Synapse keeps that."""
    # Started from a git checkout, Synapse adds that checkout's branch and commit.
    version = server.caller.get(f"{ADMIN}/v1/server_version").document.text("server_version").partition(" ")[0]
    _require_admin(server)
    problems = (
        *_version(version),
        *_rate_limits(server),
        *_background_updates(server),
        *_sign_in(server, provider),
        *_talkative_pushers(server),
        *_statistics(server),
    )
    return Check(version=version, problems=problems)


def _require_admin(server: Homeserver) -> None:
    own = server.own_id
    # Not an administrator answers 403 here, which is translated to Unauthorised.
    server.caller.get(path(f"{ADMIN}/v2/users/{{}}", own))
    if own.partition(":")[2] != server.server_name:
        raise Misconfigured(f"{server.name}: the token is for {own}, which is not on {server.server_name}")
    try:
        server.caller.get("/_matrix/client/v1/auth_metadata")
    except (Missing, Misconfigured):
        return
    raise Misconfigured(
        f"{server.name}: signs in through Matrix Authentication Service; this connector cannot provision that"
    )


def _version(version: str) -> Iterator[str]:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or not OLDEST <= (int(numbers[1]), int(numbers[2])) <= NEWEST:
        yield f"Synapse {version} is outside the tested versions, 1.160 to 1.179."


def _rate_limits(server: Homeserver) -> Iterator[str]:
    limits = path(f"{ADMIN}/v1/users/{{}}/override_ratelimit", server.own_id)
    try:
        server.caller.post(limits, {"messages_per_second": 0, "burst_count": 0})
        seen = server.caller.get(limits).document
    except Refused:
        seen = None
    if seen is None or not seen.has("messages_per_second") or seen.number("messages_per_second") != 0:
        yield (
            f"The provisioner {server.own_id} is rate limited: Synapse's default allows about ten rooms and "
            "then one a minute. Give it override_ratelimit 0/0."
        )


def _background_updates(server: Homeserver) -> Iterator[str]:
    # Until a new database's indexes are built, reactivating an account fails with 500.
    status = server.caller.get(f"{ADMIN}/v1/background_updates/status").document
    if not status.flag("enabled"):
        yield "Background updates are switched off; until they ran, returning people cannot be reactivated."
    for name in sorted(status.part("current_updates").keys()):
        yield f"The background update of database {name} still runs; until it ends, reactivating may fail."


def _sign_in(server: Homeserver, provider: str) -> Iterator[str]:
    offered = {
        option.text("id")
        for flow in server.caller.get(f"{CLIENT}/login").document.parts("flows")
        for option in flow.parts("identity_providers")
    }
    if provider not in offered:
        yield f"No sign-in through {provider} is configured (oidc_providers, idp_id doorlist)."


def _talkative_pushers(server: Homeserver) -> Iterator[str]:
    """Samples those seen last: they are the ones whose phones ring."""
    query = {"order_by": "last_seen_ts", "dir": "b", "limit": str(SAMPLE), "guests": "false"}
    accounts = [
        AccountId(row.text("name"))
        for row in server.caller.get(f"{ADMIN}/v3/users", query=query).document.parts("users")
    ]
    talkative = [id for id in accounts if _carries_text(server, id)]
    if talkative:
        yield (
            f"{len(talkative)} of {len(accounts)} accounts looked at have push registrations that carry "
            f"message text through a push gateway (not event_id_only), such as {talkative[0]}."
        )


def _statistics(server: Homeserver) -> Iterator[str]:
    """Samples rooms that we made, which all have names: Synapse lists rooms, and tells their names, by its statistics of them."""
    joined = server.caller.get(f"{CLIENT}/joined_rooms").document.texts("joined_rooms")[-SAMPLE:]
    found = (server.caller.find(path(f"{ADMIN}/v1/rooms/{{}}", room)) for room in joined)
    # Others' rooms, of which some become ours to look after, need no name.
    ours = list(islice((room for room in found if room is not None and room.text("creator") == server.own_id), ROOMS))
    if ours and not any(room.text("name") for room in ours):
        yield "Synapse keeps no statistics of rooms (stats, enabled: false); without them it lists no rooms and tells no names. Switch them on."


def _carries_text(server: Homeserver, id: AccountId) -> bool:
    found = server.caller.find(path(f"{ADMIN}/v1/users/{{}}/pushers", id))
    return found is not None and any(
        pusher.part("data").text("format") != "event_id_only" for pusher in found.parts("pushers")
    )
