"""Okta: people and groups by its management API, changes by its timestamps and its System Log.

A user whom Okta suspends is never told of by SCIM; here the state says so. Okta's searches are a little behind its writes, so every
reading of changes begins somewhat before the last one ended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from connectors.client_credentials import ClientCredentials, FixedToken, proof_by_key
from connectors.contract import Misconfigured
from connectors.http import Wire
from connectors.source_contract import (
    Change,
    Cursor,
    CursorLost,
    Incomplete,
    SourceCheck,
    SourceGroup,
    SourceKey,
    SourcePerson,
    SourceSettings,
)
from connectors.sources.okta_check import inspect
from connectors.sources.okta_people import FROM, OFF, People, Waiting
from connectors.sources.okta_reading import DIALECT, EVERYBODY, USERS, Reading, stamp
from connectors.sources.vendor_calls import Calls, Credential, Pause, checked_url
from connectors.sources.vendor_options import Options

LOG_KEPT: Final = timedelta(days=90)
SCOPES: Final = "okta.users.read okta.groups.read okta.logs.read"

_TECHNICAL: Final = ("timeout", "patience", "page_size", "kid", "algorithm", "auth", "scope", "ca_file", "client_id", "overlap")
_OPTIONS: Final = (*_TECHNICAL, "allow_private", "manager_by", "off_states", "group_types", "groups", "deletions", *FROM)
_CONSOLES: Final = ("-admin.okta.com", "-admin.oktapreview.com", "-admin.okta-emea.com")


def _now() -> datetime:
    return datetime.now(UTC)


class Okta:
    """A Source that tells changes. Opened without speaking to anybody. Raises Misconfigured for settings that cannot be right."""

    def __init__(self, settings: SourceSettings, *, clock: Callable[[], datetime] = _now, pause: Pause = time.sleep) -> None:
        self._name = settings.name
        self._clock = clock
        options = Options(settings, _OPTIONS)
        private = options.flag("allow_private")
        url = checked_url(settings.name, settings.url, allow_private=private)
        if (urlsplit(url).hostname or "").endswith(_CONSOLES):
            raise Misconfigured(f"{settings.name}: that is the address of the admin console; take the one without -admin")
        self._overlap = timedelta(seconds=options.number("overlap", otherwise=300, least=5, most=86_400))
        self._with_groups = options.flag("groups", otherwise=True)
        self._with_log = options.one_of("deletions", ("log", "listing"), otherwise="log") == "log"
        self._fingerprint = options.fingerprint(without=_TECHNICAL)
        seconds = float(options.number("timeout", otherwise=30, most=600))
        wire = Wire(verify=options.text("ca_file") or True, outside=True, allow_private=private)
        calls = Calls(
            name=settings.name,
            url=url,
            credential=self._credential(settings, options, url=url, wire=wire, seconds=seconds),
            dialect=DIALECT,
            wire=wire,
            seconds=seconds,
            patience=float(options.number("patience", otherwise=300, least=0, most=3600)),
            pause=pause,
        )
        people = People(
            fields={field: options.text(field, name) for field, name in FROM.items()},
            off=options.words("off_states", otherwise=OFF),
            manager_by=options.one_of("manager_by", ("id", "login"), otherwise="login"),
        )
        self._reading = Reading(
            calls,
            people,
            types=options.words("group_types", otherwise="OKTA_GROUP,APP_GROUP"),
            size=options.number("page_size", otherwise=200, most=200),
            clock=clock,
        )
        self._reached: Cursor | None = None

    @property
    def name(self) -> str:
        return self._name

    def check(self) -> SourceCheck:
        return inspect(self._reading, with_groups=self._with_groups, with_log=self._with_log, at=self._clock())

    def list_people(self) -> Iterator[SourcePerson]:
        reading, waiting, told = self._reading, Waiting(), set[SourceKey]()
        for got in reading.pages(USERS, query={"filter": EVERYBODY}):
            for user in got.items():
                person = reading.people.person(user, source=self.name)
                # Somebody who changes while pages are read may come twice; the list of changes tells what they are now.
                if person.key not in told:
                    told.add(person.key)
                    login, manager = reading.people.login(user), reading.people.login_of_manager(user)
                    yield from waiting.tell(person, login=login, manager=manager)
        yield from waiting.rest()
        if not told:
            # Whoever made the credential is somebody: a right was lost, and nobody has left.
            raise Incomplete(f"{self.name}: nobody at all is shown to this credential")

    def list_groups(self) -> Iterator[SourceGroup]:
        if self._with_groups:
            for group in self._reading.groups(query={}):
                if (whole := self._reading.whole(group)) is not None:
                    yield whole

    def find_person(self, key: SourceKey) -> SourcePerson | None:
        user = self._reading.user(key)
        return None if user is None else self._reading.resolved(user, {})

    def cursor_now(self) -> Cursor:
        return self._cursor(self._reading.time_of(self._reading.calls.get(USERS, query={"limit": "1"})))

    def changes_since(self, cursor: Cursor) -> Iterator[Change]:
        self._reached = None
        at = reached = self._read(cursor)
        since, known = at - self._overlap, dict[str, SourceKey | None]()
        for number, got in enumerate(self._reading.pages(USERS, query={"filter": f'lastUpdated gt "{stamp(since)}"'})):
            if number == 0:
                reached = max(at, self._reading.time_of(got))
            for user in got.items():
                yield self._reading.resolved(user, known)
        if self._with_groups:
            # A member more or less moves only the second of these clocks.
            changed = f'lastUpdated gt "{stamp(since)}" or lastMembershipUpdated gt "{stamp(since)}"'
            for group in self._reading.groups(query={"filter": changed}):
                if (whole := self._reading.whole(group)) is not None:
                    yield whole
        if self._with_log:
            yield from self._reading.deleted(since=since, until=reached)
        self._reached = self._cursor(reached)

    def cursor_reached(self) -> Cursor:
        if self._reached is None:
            raise CursorLost(f"{self.name}: no list of changes was read to its end")
        return self._reached

    def _credential(self, settings: SourceSettings, options: Options, *, url: str, wire: Wire, seconds: float) -> Credential:
        if options.one_of("auth", ("token", "key"), otherwise="key" if options.text("client_id") else "token") == "token":
            return FixedToken(settings.secret, name=settings.name, scheme="SSWS")
        return ClientCredentials(
            name=settings.name,
            endpoint=url + "/oauth2/v1/token",
            client_id=options.needed("client_id", "the id of the API service application in Okta"),
            scope=options.text("scope", SCOPES),
            proof=proof_by_key(
                settings.secret,
                name=settings.name,
                clock=self._clock,
                algorithm=options.text("algorithm"),
                kid=options.text("kid"),
                certificate=False,
            ),
            wire=wire,
            seconds=seconds,
        )

    def _cursor(self, at: datetime) -> Cursor:
        return Cursor(json.dumps({"at": at.isoformat(), "settings": self._fingerprint}))

    def _read(self, cursor: Cursor) -> datetime:
        try:
            said = json.loads(cursor)
            at, settings = datetime.fromisoformat(said["at"]), said["settings"]
            age = self._clock() - at
        except (ValueError, TypeError, KeyError):
            raise CursorLost(f"{self.name}: that cursor is not one of this source") from None
        if settings != self._fingerprint:
            raise CursorLost(f"{self.name}: the cursor was made under other settings")
        if self._with_log and age > LOG_KEPT - timedelta(days=1):
            raise CursorLost(f"{self.name}: the System Log reaches back {LOG_KEPT.days} days, the cursor {age.days}")
        return at
