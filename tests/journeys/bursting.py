"""A burst and those it is about: a company that was pushed and is in a chat server, its callers, and a watch over who is out since when.

The callers try again where no answer came, as identity providers and HR systems do; each answer is checked as it comes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import requests
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from app.access.sessions import Authenticated, Limits, start
from app.access.tables import Account
from app.assembly import create_app
from app.clock import now
from app.database import db, in_transaction, reading
from app.directory.tables import Person, Standing
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Subject, Work, WorkState
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarm_tables import Alarm
from app.revocation.tables import Departure, Proof
from tests.hr_system import leaving
from tests.journeys.doorlist import StepFailed, end
from tests.journeys.typed import Typed
from tests.ports import free_port
from tests.servers.synapse import Synapse
from tests.waiting import until

OKTA, HR, OPERATOR = "okta", "workday", "operator"
WAYS: Final = ("PATCH", "PUT", "DELETE")
CORE_URN: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH_URN: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
CLIENTS: Final = {OKTA: 6, HR: 3}
# As long as nobody has to have given up yet.
PATIENCE: Final = 120.0
RETRY_EVERY: Final = 0.1
# A few of the company share a channel, so that somebody is in one.
RULES: Final = 'rules:\n  - {id: desk, name: "desk-TAG", where: \'department eq "Desk"\'}\n'


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many the directory switches off and HR revokes, spread over how many seconds, and how many of each may pass.

    So many of the first and of the last of each are signed in, on a phone and to Doorlist.
    """

    pushed: int
    called: int
    seconds: float
    most: int
    signed_in: int


@dataclass(kw_only=True)
class Leaver:
    """Somebody whom a source, or an operator, is to have leave. Instants are those of this process's own clock."""

    name: str
    source: str
    number: int
    comes_back: bool = False
    record_id: str = ""
    person_id: str = ""
    account: str = ""
    phone: str = ""
    cookie: str = ""
    answered: float | None = None

    @property
    def way(self) -> str:
        return WAYS[self.number % len(WAYS)]


def leavers_of(size: Size, tag: str) -> list[Leaver]:
    """In the order in which they leave. Some of the second half are called back: by then the brake holds."""
    people = []
    for source, count in ((OKTA, size.pushed), (HR, size.called)):
        for number in range(count):
            # Who was deleted is nobody whom a directory could switch on again.
            back = number >= count // 2 and number % 6 in (3, 4)
            people.append(Leaver(name=f"{tag}-{source}-{number}", source=source, number=number, comes_back=back))
    return people


@dataclass(kw_only=True)
class House:
    """Doorlist as it is served, its database to look into, and those who call it."""

    doorlist: Typed
    folder: Path
    synapse: Synapse
    scim: str
    token: str
    hr: str
    secret: str
    server: subprocess.Popen[bytes]
    unanswered: int = 0
    _own: threading.local = field(default_factory=threading.local)

    # Calling

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/scim+json"}
        return self._send(lambda session: session.request(method, self.scim + path, json=body, headers=headers, timeout=60))

    def call(self, event: dict[str, Any], event_id: str) -> requests.Response:
        """One signed call, with a stamp of its own at each attempt."""
        body = json.dumps(event)

        def post(session: requests.Session) -> requests.Response:
            at = datetime.now(UTC)
            headers = {
                "Content-Type": "application/json", "webhook-id": event_id, "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": Webhook(self.secret).sign(event_id, at, body),
            }  # fmt: skip
            return session.post(self.hr, data=body.encode(), headers=headers, timeout=60)

        return self._send(post)

    def _send(self, request: Callable[[requests.Session], requests.Response]) -> requests.Response:
        """Tries again where no answer came, as identity providers and HR systems do."""
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = requests.Session()
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                return request(session)
            except requests.RequestException:
                self.unanswered += 1
                if time.monotonic() > give_up:
                    raise
                time.sleep(RETRY_EVERY)

    # Running

    def serve(self) -> None:
        self.server = self.doorlist.serve(self.folder / f"serve-{len(list(self.folder.glob('serve-*.log')))}.log")

    def kill(self) -> None:
        """All of it at once, in the middle of whatever it is doing. The group is its own."""
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def depart(self, leaver: Leaver) -> None:
        told = self.doorlist.json("depart", leaver.name)
        leaver.answered = time.monotonic()
        assert told["standing"] == Standing.DEPARTED

    # Looking

    def waits(self) -> int:
        with reading() as session:
            return session.scalar(select(func.count()).select_from(Work).where(Work.subject != Subject.DUE, Work.state == WorkState.WAITING)) or 0

    def settle(self) -> None:
        """Until no work is left. Who is at it for long is not given up as long as some of it is done."""
        before = self.waits()
        while not until(lambda: self.waits() == 0, within=PATIENCE):
            if (left := self.waits()) >= before:
                raise StepFailed(f"{left} deliveries wait, and none was done")
            before = left

    def standings(self) -> dict[str, str]:
        with reading() as session:
            return {row.id: row.standing for row in session.execute(select(Person.id, Person.standing))}

    def unproved(self) -> int:
        """Places that somebody who is out was not proved to be shut out of and gone from."""
        standing = select(Departure.id).where(Departure.ended_at.is_(None))
        with reading() as session:
            return session.scalar(
                select(func.count()).select_from(Proof).where(Proof.departure_id.in_(standing), Proof.shut_at.is_(None) | Proof.gone_at.is_(None))
            ) or 0  # fmt: skip

    def alarmed(self) -> list[str]:
        """What the open alarms on the brake say."""
        with reading() as session:
            return sorted(session.scalars(select(Alarm.sentence).where(Alarm.kind == AlarmKind.PUSH_HELD, Alarm.closed_at.is_(None))))


# Leaving


def leaves(house: House, leaver: Leaver) -> None:
    if leaver.source == HR:
        event = leaving(leaver.name, work_email=f"{leaver.name}@x.example", revoke_access="immediately")
        _called(house.call(event, f"msg-{leaver.name}"))
        leaver.answered = time.monotonic()
        if leaver.number % 5 == 0:
            _called(house.call(event, f"msg-{leaver.name}"))
        if leaver.comes_back:
            _called(house.call({**event, "type": "employee.termination_cancelled"}, f"msg-{leaver.name}-back"))
        return
    path, lost = f"/Users/{leaver.record_id}", house.unanswered
    if leaver.way == "DELETE":
        answer = house.ask("DELETE", path)
        # Where an answer was lost, it may have been done already.
        assert answer.status_code == 204 or (answer.status_code == 404 and house.unanswered > lost), answer.text
    elif leaver.way == "PUT":
        _shows(house.ask("PUT", path, {**house.ask("GET", path).json(), "active": False}), active=False)
    else:
        _shows(house.ask("PATCH", path, _active(False)), active=False)
    leaver.answered = time.monotonic()
    # Whether its effect is held is no business of the directory's: it reads what it said.
    there = house.ask("GET", path)
    if leaver.way == "DELETE":
        assert there.status_code == 404, there.text
    else:
        _shows(there, active=False)
    if leaver.comes_back:
        _shows(house.ask("PATCH", path, _active(True)), active=True)


def _active(active: bool) -> dict[str, Any]:
    return {"schemas": [PATCH_URN], "Operations": [{"op": "replace", "value": {"active": active}}]}


def _shows(answer: requests.Response, *, active: bool) -> None:
    assert (answer.status_code, answer.json().get("active")) == (200, active), answer.text


def _called(answer: requests.Response) -> None:
    assert (answer.status_code, answer.json()) == (200, {"state": "applied"}), answer.text


def answered(leavers: list[Leaver]) -> int:
    return sum(one.answered is not None for one in leavers)


@contextmanager
def burst(house: House, leavers: list[Leaver], *, seconds: float) -> Iterator[None]:
    """Inside it they leave, each source's by several clients, evenly over the time; at its end every call was answered as it should be."""
    began, ended = time.monotonic(), threading.Event()

    def client(theirs: Iterator[tuple[float, Leaver]]) -> None:
        for due, leaver in theirs:
            if ended.wait(max(0.0, due - time.monotonic())):
                return
            leaves(house, leaver)

    with ThreadPoolExecutor(sum(CLIENTS.values())) as pool:
        clients: list[Future[None]] = []
        for source, number in CLIENTS.items():
            mine = [one for one in leavers if one.source == source]
            # One iterator for all clients of a source: each takes whoever is next.
            theirs = iter([(began + seconds * one.number / len(mine), one) for one in mine])
            clients += [pool.submit(client, theirs) for _ in range(number)]
        try:
            yield
        except BaseException:
            ended.set()
            raise
        finally:
            for one in clients:
                one.result()


# The company


@contextmanager
def company(folder: Path, synapse: Synapse, database_url: str, leavers: list[Leaver], *, size: Size, tag: str) -> Iterator[House]:
    """Doorlist is served, everybody was pushed and has an account, and some are signed in. Inside it is the application's context."""
    served = Typed(home=folder / "home", port=free_port(), database_url=database_url)
    served.json("init", "--organization", "Northwind")
    served.json("settings", "set", "push_brake", f"{size.most}/3600s")
    scim = served.json("source", "add", "scim", OKTA)
    hr = served.json("source", "add", "hr", HR)
    (folder / "token").write_text(synapse.admin_token)
    (folder / "rules.yaml").write_text(RULES.replace("TAG", tag))
    chat = ("--url", synapse.url, "--token-file", str(folder / "token"), "--option", f"server_name={synapse.server_name}")
    served.json("workspace", "add", "matrix", "chat", *chat)
    served.json("rules", "apply", str(folder / "rules.yaml"))
    app = create_app(served.settings())
    with ExitStack() as leaving_it, app.app_context():
        server = served.serve(folder / "serve-0.log")
        house = House(
            doorlist=served, folder=folder, synapse=synapse, scim=scim["base_url"], token=scim["token"], hr=hr["url"], secret=hr["secret"],
            server=server,
        )  # fmt: skip
        leaving_it.callback(lambda: end(house.server))
        leaving_it.callback(db.engine.dispose)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda one: joins(house, one), leavers))
        house.settle()
        with reading() as session:
            known = {row.user_name: row for row in session.execute(select(Person.user_name, Person.id, Account.account_id).join(Account, Account.person_id == Person.id))}
        for one in leavers:
            _, one.person_id, one.account = known[f"{one.name}@x.example"]
        sign_in(house, leavers, size)
        yield house


def joins(house: House, leaver: Leaver) -> None:
    body = {
        "schemas": [CORE_URN, ENTERPRISE_URN], "userName": f"{leaver.name}@x.example", "externalId": leaver.name, "active": True,
        "displayName": leaver.name, "emails": [{"value": f"{leaver.name}@x.example", "type": "work", "primary": True}],
        ENTERPRISE_URN: {"employeeNumber": leaver.name, "department": "Desk" if leaver.number % 50 == 1 else "Elsewhere"},
    }  # fmt: skip
    answer = house.ask("POST", "/Users", body)
    assert answer.status_code == 201, answer.text
    leaver.record_id = answer.json()["id"]


def sign_in(house: House, leavers: list[Leaver], size: Size) -> None:
    for source in (OKTA, HR, OPERATOR):
        mine = [one for one in leavers if one.source == source]
        for leaver in {one.name: one for one in (*mine[: size.signed_in], *mine[-size.signed_in :])}.values():
            leaver.phone = house.synapse.user_token(leaver.account)
            leaver.cookie = in_transaction(lambda session, one=leaver: _cookie(session, one))  # type: ignore[misc]  # a default binds the loop's value


def _cookie(session: Session, leaver: Leaver) -> str:
    person = session.scalars(select(Person).where(Person.id == leaver.person_id)).one()
    return start(session, person, Authenticated(connection_id=None, at=now()), limits=Limits(), agent="test", at=now())[1]
