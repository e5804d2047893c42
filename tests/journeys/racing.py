"""A race: clients ask with good sessions and tokens, as fast as they can, while the people whose they are depart.

One clock of one process measures both: when a request began, and when a departure's commit had returned. Whatever began after
that must be let in nowhere, and whatever had ended before a departure began must have been, or nothing was tried.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.parties import PartyDraft, open_party
from app.access.session_tables import Grant
from app.access.sessions import Authenticated, Limits, start
from app.assembly import create_app
from app.clock import now
from app.database import db, in_transaction, reading
from app.directory.tables import Person, StatementKind, Voice
from app.journal.tables import Organization
from app.lifecycle import leaving
from app.lifecycle.records import RecordDraft, add_record
from app.lifecycle.sources import add_scim_source
from app.settings import from_environment
from tests.benchmarks.scim import ours
from tests.benchmarks.scim.served import started
from tests.company import ADMIN, OKTA, document
from tests.ports import free_port
from tests.unit.sso.providing import CALLBACK, VERIFIER, challenge_of

DEPARTERS: Final = 4
REQUESTS_EACH: Final = 50
"""Requests on behalf of one person: about half of them before their departure, and half after."""


@dataclass(kw_only=True)
class Racer:
    """One person with all that they hold. The instants are those of this process's own clock; `given` are all secrets that ever came."""

    id: str
    cookie: str
    access: str = ""
    refresh: str = ""
    given: list[tuple[str, str]] = field(default_factory=list)
    departs_after: int = 0
    leaving: float | None = None
    left: float | None = None
    gone: threading.Event = field(default_factory=threading.Event)


@dataclass(kw_only=True)
class Outcome:
    """What was asked, when in relation to the departure, and what must not have happened."""

    before: Counter[str] = field(default_factory=Counter)
    during: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return sum(sum(one.values()) for one in (self.before, self.during, self.after))


@dataclass(frozen=True, kw_only=True)
class Track:
    """A server that runs on an installation of its own, which this process can also write to."""

    app: Flask
    port: int
    organization_id: str
    source_id: str
    client_id: str
    secret: str


@contextmanager
def track(folder: Path, *, url: str | None, processes: int) -> Iterator[Track]:
    """Doorlist's own `serve` on this database, without a worker: nobody has to be told for a door to be shut."""
    environment = {**ours._environment(folder / "home", port=free_port(), url=url), "DOORLIST_WEB_PROCESSES": str(processes)}
    ours.run(environment, "init", "--organization", "Northwind")
    ours.run(environment, "settings", "set", "push_brake", "off")
    port = int(environment["DOORLIST_PUBLIC_URL"].rpartition(":")[2])
    app = create_app(from_environment(environment))
    with app.app_context():
        found = in_transaction(_client)
        command = [ours._program(), "serve", "--lanes", "none", "--host", "127.0.0.1", "--port", str(port)]
        with started(command, port=port, log=folder / "serve.log", environment=environment, core=None):
            yield Track(app=app, port=port, **found)
        db.engine.dispose()


def _client(session: Session) -> dict[str, str]:
    organization_id = session.scalars(select(Organization.id)).one()
    source, _ = add_scim_source(session, organization_id, "okta", actor=ADMIN, at=now())
    draft = PartyDraft(name="chat", redirect_uris=(CALLBACK,))
    opened = open_party(session, organization_id, draft, actor=ADMIN, at=now())
    return {"organization_id": organization_id, "source_id": source.id, "client_id": opened.client_id, "secret": str(opened.secret)}


def race(on: Track, *, clients: int, requests: int, seed: int = 1) -> Outcome:
    """So many requests by so many clients at once, each of them for a few people, one after the other."""
    chosen = random.Random(seed)
    people = max(1, requests // clients // REQUESTS_EACH)
    field_of = [[_racer(on, f"racer{client}-{number}@northwind.example", chosen) for number in range(people)] for client in range(clients)]
    departing: list[Racer] = []
    changed = threading.Condition()
    outcome, ended = Outcome(), threading.Event()

    def departures() -> None:
        while True:
            with changed:
                while not departing:
                    if ended.is_set():
                        return
                    changed.wait(0.05)
                racer = departing.pop()
            _depart(on, racer)

    def ask(racers: list[Racer]) -> None:
        with _Client(on) as client:
            for racer in racers:
                _run(client, racer, outcome, departing, changed)

    runners = [threading.Thread(target=ask, args=(racers,)) for racers in field_of]
    departers = [threading.Thread(target=departures) for _ in range(DEPARTERS)]
    for thread in (*departers, *runners):
        thread.start()
    for thread in runners:
        thread.join()
    ended.set()
    for thread in departers:
        thread.join()
    _try_all_again(on, [racer for racers in field_of for racer in racers], outcome)
    return outcome


def _racer(on: Track, user_name: str, chosen: random.Random) -> Racer:
    def act(session: Session) -> Racer:
        draft = RecordDraft(external_id=user_name, user_name=user_name, active=True, document=document(user_name, None))
        record = add_record(session, on.organization_id, on.source_id, draft, actor=OKTA, at=now(), because="race")
        person = session.get_one(Person, (on.organization_id, record.person_id))
        how = Authenticated(connection_id=None, at=now())
        _, cookie = start(session, person, how, limits=Limits(idle=timedelta(hours=2)), agent="race", at=now())
        return Racer(id=person.id, cookie=cookie, departs_after=chosen.randint(REQUESTS_EACH // 3, REQUESTS_EACH // 2))

    return in_transaction(act)


def _depart(on: Track, racer: Racer) -> None:
    racer.leaving = time.monotonic()
    try:
        with on.app.app_context():
            in_transaction(lambda session: _departs(session, on, racer))
        racer.left = time.monotonic()
    finally:
        racer.gone.set()


def _departs(session: Session, on: Track, racer: Racer) -> None:
    at = now()
    leaving.say(
        session, on.organization_id, racer.id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana", effective_at=at, actor=ADMIN, at=at,
        because="race",
    )  # fmt: skip


def _run(client: _Client, racer: Racer, outcome: Outcome, departing: list[Racer], changed: threading.Condition) -> None:
    client.enters(racer)
    for number in range(REQUESTS_EACH):
        if number == racer.departs_after:
            with changed:
                departing.append(racer)
                changed.notify()
        # The last are asked for once the departure is through, so that there are enough of them.
        if number == (racer.departs_after + REQUESTS_EACH) // 2:
            assert racer.gone.wait(60) and racer.left is not None, "the departure failed"
        _asked(client, racer, ASKING[number % len(ASKING)], outcome)


def _asked(client: _Client, racer: Racer, what: str, outcome: Outcome) -> None:
    left_then = racer.left
    began = time.monotonic()
    let_in = client.ask(racer, what)
    ended = time.monotonic()
    # `left` was set before `began` was taken, so the commit had returned before the request began.
    if left_then is not None and began >= left_then:
        outcome.after[what] += 1
        if let_in:
            outcome.wrongs.append(f"{what} of {racer.id} was let in {1000 * (began - left_then):.1f} ms after the departure was committed")
    elif racer.leaving is None or ended < racer.leaving:
        outcome.before[what] += 1
        if not let_in:
            outcome.wrongs.append(f"{what} of {racer.id} was refused before they departed: {client.said}")
    else:
        outcome.during[what] += 1


ASKING: Final = ("gate by cookie", "introspect", "refresh", "gate by token", "authorize", "session", "userinfo")


class _Client:
    """One connection to the server, kept open, as one application would ask."""

    def __init__(self, on: Track) -> None:
        self._on = on
        self._http = http.client.HTTPConnection("127.0.0.1", on.port, timeout=60)
        self.said = ""

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def enters(self, racer: Racer) -> None:
        code = self._code(racer)
        assert code is not None, self.said
        assert self._tokens(racer, self._exchange(code)), self.said

    def ask(self, racer: Racer, what: str) -> bool:
        """Whether they were let in, or given anything."""
        match what:
            case "gate by cookie":
                return self._send("GET", "/gate", cookie=racer.cookie)[0] == 200
            case "gate by token":
                return self._send("GET", "/gate", token=racer.access)[0] == 200
            case "session":
                return self._send("GET", "/session", cookie=racer.cookie)[0] == 200
            case "userinfo":
                return self._send("GET", "/userinfo", token=racer.access)[0] == 200
            case "introspect":
                return self.is_active(racer.access)
            case "refresh":
                return self._tokens(racer, self._form("/token", grant_type="refresh_token", refresh_token=racer.refresh))
            case _:
                code = self._code(racer)
                if code is not None:
                    racer.given.append(("code", code))
                return code is not None

    def is_active(self, token: str) -> bool:
        return self._form("/introspect", token=token).get("active") is True

    def is_worth(self, kind: str, secret: str) -> bool:
        """Whether anything is given for it, or said of it."""
        if kind == "access":
            return self.is_active(secret)
        if kind == "refresh":
            return "access_token" in self._form("/token", grant_type="refresh_token", refresh_token=secret)
        return "access_token" in self._exchange(secret)

    def _exchange(self, code: str) -> dict[str, Any]:
        return self._form("/token", grant_type="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER)

    def _tokens(self, racer: Racer, given: Mapping[str, Any]) -> bool:
        if "access_token" not in given:
            return False
        racer.access, racer.refresh = given["access_token"], given["refresh_token"]
        racer.given += [("access", racer.access), ("refresh", racer.refresh)]
        return True

    def _code(self, racer: Racer) -> str | None:
        query = urlencode(
            {
                "response_type": "code", "client_id": self._on.client_id, "redirect_uri": CALLBACK, "scope": "openid", "state": "s",
                "code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256", "prompt": "none",
            }
        )  # fmt: skip
        _, location, _ = self._send("GET", f"/authorize?{query}", cookie=racer.cookie)
        answered = parse_qs(urlsplit(location).query)
        if "code" not in answered:
            self.said += f" {answered}"
        return answered.get("code", [None])[0]

    def _form(self, path: str, **form: str) -> dict[str, Any]:
        sent = urlencode({"client_id": self._on.client_id, "client_secret": self._on.secret, **form})
        _, _, body = self._send("POST", path, form=sent)
        found: dict[str, Any] = json.loads(body)
        return found

    def _send(self, method: str, path: str, *, cookie: str = "", token: str = "", form: str = "") -> tuple[int, str, bytes]:
        headers = {
            **({"Cookie": f"doorlist_session={cookie}"} if cookie else {}), **({"Authorization": f"Bearer {token}"} if token else {}),
            **({"Content-Type": "application/x-www-form-urlencoded"} if form else {}),
        }  # fmt: skip
        self._http.request(method, path, body=form or None, headers=headers)
        answer = self._http.getresponse()
        body = answer.read()
        self.said = f"{method} {path.partition('?')[0]}: {answer.status} {body[:200]!r}"
        if answer.status >= 500:
            raise AssertionError(self.said)
        return answer.status, answer.headers.get("Location", ""), body


def _try_all_again(on: Track, racers: list[Racer], outcome: Outcome) -> None:
    """Nothing that anybody was ever given may be worth anything, also not what was on its way when they departed."""
    with _Client(on) as client:
        for racer in racers:
            for kind, secret in racer.given:
                outcome.after[f"tried again: {kind}"] += 1
                if client.is_worth(kind, secret):
                    outcome.wrongs.append(f"{kind} of {racer.id} is still worth something")
    with reading() as session:
        alive = session.scalars(
            select(Grant.id).join(Person, (Person.organization_id == Grant.organization_id) & (Person.id == Grant.person_id)).where(Grant.epoch == Person.access_epoch)
        ).all()
    outcome.wrongs += [f"grant {one} has its person's present epoch" for one in alive]
