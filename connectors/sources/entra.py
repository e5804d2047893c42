"""Microsoft Entra ID: people and groups by Microsoft Graph, changes by its delta links.

Entra's own provisioning comes every 40 minutes; this asks whenever it is told to, and hears of a closed account in its next round.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from connectors.client_credentials import BySecret, ClientCredentials, Proof, proof_by_key
from connectors.contract import Secret
from connectors.http import Wire, path
from connectors.source_contract import (
    Change,
    Cursor,
    CursorLost,
    SourceCheck,
    SourceGroup,
    SourceKey,
    SourcePerson,
    SourceSettings,
)
from connectors.sources.entra_changes import Changes, links_now
from connectors.sources.entra_check import inspect
from connectors.sources.entra_people import DATES, FROM, People
from connectors.sources.entra_reading import DIALECT, VERSION, Reading
from connectors.sources.vendor_calls import Calls, Pause, checked_url
from connectors.sources.vendor_options import Options

GRAPH: Final = "https://graph.microsoft.com"
LOGIN: Final = "https://login.microsoftonline.com"
SUBSCRIPTIONS: Final = VERSION + "/subscriptions"

_TECHNICAL: Final = ("timeout", "patience", "page_size", "algorithm", "auth", "ca_file", "client_id", "login_url")
_OPTIONS: Final = (*_TECHNICAL, "tenant", "allow_private", "guests", "groups", "dates", *FROM)


def _now() -> datetime:
    return datetime.now(UTC)


class Entra:
    """A Source that tells changes. Opened without speaking to anybody. Raises Misconfigured for settings that cannot be right."""

    def __init__(self, settings: SourceSettings, *, clock: Callable[[], datetime] = _now, pause: Pause = time.sleep) -> None:
        self._name = settings.name
        self._clock = clock
        options = Options(settings, _OPTIONS)
        private = options.flag("allow_private")
        url = checked_url(settings.name, settings.url or GRAPH, allow_private=private)
        login = checked_url(settings.name, options.text("login_url", LOGIN), allow_private=private)
        # Not "common" and not "organizations": an application has a home, and so have the people who are read.
        self._tenant = options.needed("tenant", "the directory (tenant) id")
        self._with_groups = options.flag("groups", otherwise=True)
        self._fingerprint = options.fingerprint(without=_TECHNICAL)
        seconds = float(options.number("timeout", otherwise=30, most=600))
        wire = Wire(verify=options.text("ca_file") or True, outside=True, allow_private=private)
        address = urlsplit(url)
        self._token = ClientCredentials(
            name=settings.name,
            endpoint=login + path("/{}/oauth2/v2.0/token", self._tenant),
            client_id=options.needed("client_id", "the application (client) id"),
            scope=f"{address.scheme}://{address.netloc}/.default",
            proof=self._proof(settings, options),
            wire=wire,
            seconds=seconds,
        )
        calls = Calls(
            name=settings.name,
            url=url,
            credential=self._token,
            dialect=DIALECT,
            wire=wire,
            seconds=seconds,
            patience=float(options.number("patience", otherwise=300, least=0, most=3600)),
            pause=pause,
        )
        people = People(
            fields={field: options.text(field, name) for field, name in FROM.items()},
            guests=options.flag("guests"),
            dates=options.one_of("dates", DATES, otherwise="none"),
        )
        self._reading = Reading(calls, people, size=options.number("page_size", otherwise=999, most=999))
        self._reached: Cursor | None = None

    @property
    def name(self) -> str:
        return self._name

    def check(self) -> SourceCheck:
        return inspect(self._reading, self._token, with_groups=self._with_groups)

    def list_people(self) -> Iterator[SourcePerson]:
        told = set[SourceKey]()
        for user in self._reading.users():
            person = self._reading.people.person(user, source=self.name)
            # Pages that are read while people change may tell one of them twice.
            if person.key not in told:
                told.add(person.key)
                yield person

    def list_groups(self) -> Iterator[SourceGroup]:
        if self._with_groups:
            for group in self._reading.groups():
                if (whole := self._reading.whole(group)) is not None:
                    yield whole

    def find_person(self, key: SourceKey) -> SourcePerson | None:
        user = self._reading.user(key)
        return None if user is None else self._reading.people.person(user, source=self.name)

    def cursor_now(self) -> Cursor:
        return self._cursor(*links_now(self._reading, with_groups=self._with_groups))

    def changes_since(self, cursor: Cursor) -> Iterator[Change]:
        self._reached = None
        users, groups = self._read(cursor)
        changes = Changes(self._reading, users=users, groups=groups)
        yield from changes.tell()
        self._reached = self._cursor(changes.users, changes.groups)

    def cursor_reached(self) -> Cursor:
        if self._reached is None:
            raise CursorLost(f"{self.name}: no list of changes was read to its end")
        return self._reached

    def subscribe(self, *, resource: str, to: str, client_state: Secret, until: datetime) -> str:
        """The id of a subscription to `users` or `groups`. Graph calls `to` before it answers, which must then say the token back."""
        body = {
            "changeType": "updated,deleted",
            "notificationUrl": to,
            "lifecycleNotificationUrl": to,
            "resource": resource,
            "clientState": client_state.reveal(),
            "expirationDateTime": _instant(until),
            "latestSupportedTlsVersion": "v1_2",
        }
        return self._reading.calls.send("POST", SUBSCRIPTIONS, body).document().text("id")

    def renew(self, subscription: str, *, until: datetime) -> None:
        """Raises Missing where it ran out already, and has to be made anew."""
        self._reading.calls.send("PATCH", path(SUBSCRIPTIONS + "/{}", subscription), {"expirationDateTime": _instant(until)})

    def _proof(self, settings: SourceSettings, options: Options) -> Proof:
        if (
            options.one_of("auth", ("secret", "key"), otherwise="key" if "PRIVATE KEY" in settings.secret.reveal() else "secret")
            == "secret"
        ):
            return BySecret(secret=settings.secret, name=settings.name)
        algorithm = options.text("algorithm")
        return proof_by_key(settings.secret, name=settings.name, clock=self._clock, algorithm=algorithm, kid="", certificate=True)

    def _cursor(self, users: str, groups: str) -> Cursor:
        return Cursor(json.dumps({"users": users, "groups": groups, "settings": self._fingerprint}))

    def _read(self, cursor: Cursor) -> tuple[str, str]:
        try:
            said = json.loads(cursor)
            users, groups, settings = str(said["users"]), str(said["groups"]), said["settings"]
        except (ValueError, TypeError, KeyError):
            raise CursorLost(f"{self.name}: that cursor is not one of this source") from None
        if settings != self._fingerprint:
            raise CursorLost(f"{self.name}: the cursor was made under other settings")
        return users, groups


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
