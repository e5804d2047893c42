"""People enter a real Synapse through Doorlist; when HR says that somebody has left, both of their devices are out at once."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from app.access.session_tables import Grant
from app.access.sessions import Authenticated, Limits, start
from app.access.tables import Account
from app.assembly import create_app
from app.clock import now
from app.database import db, in_transaction, reading
from app.directory.tables import Person
from app.directory.vocabulary import ENTERPRISE_URN
from app.revocation.departures import history
from tests.journeys.chat_clients import ChatClient, LongPollClient, SlidingClient
from tests.journeys.doorlist import end
from tests.journeys.push_gateway import PushGateway
from tests.journeys.typed import Typed
from tests.ports import free_port
from tests.servers.fixtures import running
from tests.servers.synapse import Synapse
from tests.servers.synapse_sign_in import SignInProvider
from tests.waiting import until

pytestmark = [pytest.mark.synapse, pytest.mark.slow]

# Some client's page; nobody has to be there, since nothing is opened.
LANDING: Final = "http://127.0.0.1:9/landed"
PATIENCE: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class House:
    """Doorlist as it is served, a Synapse that signs people in through it, and the database, to look into."""

    doorlist: Typed
    synapse: Synapse
    app: Flask
    scim: str
    scim_token: str
    hr: str
    hr_secret: str

    def hires(self, name: str) -> str:
        """Pushed by the directory and let into Synapse; returns the person's id."""
        body = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": f"{name}@x.example", "externalId": name, "active": True,
            "displayName": name.title(), ENTERPRISE_URN: {"employeeNumber": name},
        }  # fmt: skip
        answer = requests.post(f"{self.scim}/Users", json=body, headers={"Authorization": f"Bearer {self.scim_token}"}, timeout=20)
        assert answer.status_code == 201, answer.text
        with reading() as session:
            person_id = session.scalars(select(Person.id).where(Person.user_name == f"{name}@x.example")).one()
        self.doorlist.settle()
        return person_id

    def account_of(self, person_id: str) -> str:
        with reading() as session:
            return session.scalars(select(Account.account_id).where(Account.person_id == person_id)).one()

    def signs_in(self, person_id: str) -> requests.Session:
        """A browser in which an identity provider has just vouched for them."""

        def act(session: Session) -> str:
            person = session.scalars(select(Person).where(Person.id == person_id)).one()
            how = Authenticated(connection_id=None, at=now())
            return start(session, person, how, limits=Limits(), agent="test", at=now())[1]

        browser = requests.Session()
        browser.cookies.set("doorlist_session", in_transaction(act), domain="127.0.0.1")
        return browser

    def enters_synapse(self, browser: requests.Session) -> str:
        """From Synapse to Doorlist and back; returns the login token that a Matrix client is given at the end."""
        url = self.synapse.sign_in_url(LANDING)
        for _ in range(8):
            answer = browser.get(url, allow_redirects=False, timeout=20)
            assert 300 <= answer.status_code < 400, f"{url} answered {answer.status_code}: {said(answer.text)}"
            for cookie in browser.cookies:
                # Browsers trust this machine without https; requests does not know that.
                cookie.secure = False
            url = urljoin(url, answer.headers["Location"])
            if url.startswith(LANDING):
                return parse_qs(urlsplit(url).query)["loginToken"][0]
        raise AssertionError(f"it goes round in circles: {url}")

    def hr_says_that_they_left(self, name: str) -> None:
        at = datetime.now(UTC)
        event = {
            "type": "employee.terminated", "timestamp": at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "data": {
                "employee_id": name, "work_email": f"{name}@x.example", "employment_status": "terminated",
                "termination_date": at.date().isoformat(), "last_day_of_work": at.date().isoformat(), "time_zone": "UTC",
                "reason": "involuntary", "revoke_access": "immediately",
            },
        }  # fmt: skip
        body, message_id = json.dumps(event), f"msg_{secrets.token_hex(8)}"
        headers = {
            "Content-Type": "application/json", "webhook-id": message_id, "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(self.hr_secret).sign(message_id, at, body),
        }  # fmt: skip
        answer = requests.post(self.hr, data=body, headers=headers, timeout=20)
        assert answer.status_code == 200, answer.text

    def lets_in(self, token: str) -> bool:
        return _whoami(self.synapse, token) == 200

    def proofs(self, person_id: str) -> dict[str, Any]:
        with reading() as session:
            organization_id = session.scalars(select(Person.organization_id).where(Person.id == person_id)).one()
            [(_, found)] = history(session, organization_id, person_id)
            return {name: proof for proof, name in found}


def said(page: str) -> str:
    """What a page of Synapse's says, without how it looks."""
    body = re.sub(r"<(style|script).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())[:400]


def _whoami(synapse: Synapse, token: str) -> int:
    url = f"{synapse.url}/_matrix/client/v3/account/whoami"
    return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("through-doorlist")
    doorlist = Typed(home=folder / "home", port=free_port())
    synapse = Synapse()
    with ExitStack() as leaving:
        doorlist.run("init", "--organization", "Northwind")
        client_id, secret = doorlist.fields(
            "client", "add", "synapse", "--redirect-uri", synapse.redirect_uri, "--backchannel-logout-uri", synapse.logout_uri,
            names=("client_id", "client_secret"),
        )  # fmt: skip
        synapse.sign_in_through(SignInProvider(issuer=doorlist.url, client_id=client_id, client_secret=secret))
        leaving.enter_context(running("SYNAPSE", synapse, folder / "synapse"))
        server = doorlist.serve(folder / "serve.log")
        leaving.callback(lambda: end(server))
        yield _connected(doorlist, synapse, folder, leaving, server)


def _connected(doorlist: Typed, synapse: Synapse, folder: Path, leaving: ExitStack, server: subprocess.Popen[bytes]) -> House:
    assert server.poll() is None
    (folder / "token").write_text(synapse.admin_token)
    (folder / "rules.yaml").write_text("rules:\n  - id: everyone\n    name: all-hands\n")
    scim, scim_token = doorlist.fields("source", "add", "scim", "okta", names=("base_url", "token"))
    hr, hr_secret = doorlist.fields("source", "add", "hr", "workday", names=("url", "secret"))
    doorlist.run(
        "workspace", "add", "matrix", "chat", "--url", synapse.url, "--token-file", str(folder / "token"), "--option", f"server_name={synapse.server_name}"
    )
    doorlist.run("rules", "apply", str(folder / "rules.yaml"))
    app = create_app(doorlist.settings())
    context = app.app_context()
    context.push()
    leaving.callback(context.pop)
    leaving.callback(db.engine.dispose)
    return House(doorlist=doorlist, synapse=synapse, app=app, scim=scim, scim_token=scim_token, hr=hr, hr_secret=hr_secret)


def signed_in_through(kind: type[ChatClient], token: str, **given: Any) -> ChatClient:
    """A Matrix client that has been given a login token instead of a password."""

    class Entering(kind):  # type: ignore[misc, valid-type]  # one of the two that there are
        def _sign_in(self) -> str:
            body = {"type": "m.login.token", "token": token, "initial_device_display_name": self.name}
            answer = self._session.post(f"{self._homeserver}/_matrix/client/v3/login", json=body, timeout=30)
            assert answer.status_code == 200, answer.text
            found = answer.json()
            self.device_id, self.user = found["device_id"], found["user_id"]
            return str(found["access_token"])

    client: ChatClient = Entering(**given)
    return client


def heard(log: Path, body: str) -> list[str]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return sorted(line["client"] for line in lines if line["event"] == "message" and line["body"] == body)


def test_hr_ends_both_devices_and_the_next_message_reaches_neither(house: House, tmp_path: Path) -> None:
    ada, grace = house.hires("ada"), house.hires("grace")
    colleague = house.synapse.sign_in_by_token(house.enters_synapse(house.signs_in(grace)))
    room = _room(house, colleague.token)
    log = tmp_path / "clients.jsonl"
    with ExitStack() as leaving:
        gateway = leaving.enter_context(PushGateway(tmp_path / "pushes.jsonl"))
        given: dict[str, Any] = {"homeserver": house.synapse.url, "user": "", "password": "", "log": log}
        laptop = signed_in_through(LongPollClient, house.enters_synapse(house.signs_in(ada)), name="laptop", **given)
        phone = signed_in_through(SlidingClient, house.enters_synapse(house.signs_in(ada)), name="phone", **given)
        for client in (laptop, phone):
            leaving.callback(client.stop)
        laptop.start()
        phone.start(push_to=gateway.url)
        assert laptop.user == phone.user == house.account_of(ada)
        _say(house, colleague.token, room, "before")
        assert until(lambda: heard(log, "before") == ["laptop", "phone"], within=PATIENCE), "the message before reaches both"

        house.hr_says_that_they_left("ada")
        assert until(lambda: laptop.refused_ns is not None and phone.refused_ns is not None, within=PATIENCE), "both polls end"
        _say(house, colleague.token, room, "after")
        assert until(lambda: _is_proved(house, ada), within=PATIENCE), "every place has proved it or said so"
        time.sleep(1)

    assert heard(log, "after") == []
    assert "after" not in (tmp_path / "pushes.jsonl").read_text()
    proofs = house.proofs(ada)
    assert {name: proof.shut_grade for name, proof in proofs.items()} == {"chat": "re-read", "doorlist": "probed", "synapse": "claimed"}
    assert proofs["synapse"].closed == {"sessions": 2}
    assert house.lets_in(colleague.token)


def _is_proved(house: House, person_id: str) -> bool:
    found = house.proofs(person_id)
    return found.keys() == {"chat", "doorlist", "synapse"} and all(proof.shut_at is not None for proof in found.values())


def test_signing_out_of_doorlist_ends_that_session_in_synapse_and_no_other(house: House) -> None:
    eve = house.hires("eve")
    browser, telephone = house.signs_in(eve), house.signs_in(eve)
    there = house.synapse.sign_in_by_token(house.enters_synapse(browser), device_id="THERE")
    elsewhere = house.synapse.sign_in_by_token(house.enters_synapse(telephone), device_id="ELSEWHERE")
    assert house.lets_in(there.token) and house.lets_in(elsewhere.token)

    answer = browser.post(f"{house.doorlist.url}/logout", data={"answer": "yes"}, headers={"Sec-Fetch-Site": "same-origin"}, timeout=20)

    assert answer.status_code == 200
    assert until(lambda: not house.lets_in(there.token), within=PATIENCE), "Synapse ends the session that it is told of"
    assert house.lets_in(elsewhere.token)
    assert until(lambda: _told_of(eve) == [False, True], within=PATIENCE), "that it was told is written down"


def _told_of(person_id: str) -> list[bool]:
    with reading() as session:
        return sorted(told is not None for told in session.scalars(select(Grant.told_at).where(Grant.person_id == person_id)))


def test_who_has_left_is_not_signed_in_to_synapse(house: House) -> None:
    mallory = house.hires("mallory")
    browser = house.signs_in(mallory)
    house.hr_says_that_they_left("mallory")

    answer = browser.get(house.synapse.sign_in_url(LANDING), timeout=20)

    assert answer.url.startswith(f"{house.doorlist.url}/sign-in") and "loginToken" not in answer.url


def _room(house: House, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    joined = requests.get(f"{house.synapse.url}/_matrix/client/v3/joined_rooms", headers=headers, timeout=10).json()["joined_rooms"]
    names = {room: house.synapse.admin("GET", f"/_synapse/admin/v1/rooms/{room}")["name"] for room in joined}
    return next(str(room) for room, name in names.items() if name == "all-hands")


def _say(house: House, token: str, room: str, text: str) -> None:
    url = f"{house.synapse.url}/_matrix/client/v3/rooms/{room}/send/m.room.message/{secrets.token_hex(8)}"
    headers = {"Authorization": f"Bearer {token}"}
    answer = requests.put(url, json={"msgtype": "m.text", "body": text}, headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
