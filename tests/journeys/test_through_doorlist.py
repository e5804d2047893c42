"""From a SAML provider through Doorlist into a real Synapse: an employee signs in there twice, HR says that they left, and both are out.

Everything is done from outside: by the command line, the browser, SCIM, the HR webhook and Synapse's own client API.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from standardwebhooks import Webhook

from tests.journeys.chat_clients import LongPollClient
from tests.journeys.doorlist import end
from tests.journeys.push_gateway import PushGateway
from tests.journeys.stage import keep_secret
from tests.journeys.typed import Typed
from tests.ports import free_port
from tests.servers.chromium import Chromium, Window
from tests.servers.fixtures import running
from tests.servers.identities import ADA, GRACE, Employee
from tests.servers.samlp_idp import SamlpIdP
from tests.servers.synapse import Synapse
from tests.servers.synapse_sign_in import SignInProvider
from tests.waiting import until

pytestmark = [pytest.mark.idp, pytest.mark.browser, pytest.mark.synapse, pytest.mark.slow]

RULES = """
rules:
  - {id: everyone, name: all-hands}
"""
ALTERED = 8


@dataclass(kw_only=True)
class Place:
    """Doorlist, the chat server that signs people in through it, and the company's own provider behind it."""

    doorlist: Typed
    synapse: Synapse
    connection: str
    hr_url: str
    hr_secret: str
    folder: Path

    def hr_says_left(self, employee: Employee) -> requests.Response:
        body = json.dumps(
            {"type": "employee.terminated", "timestamp": datetime.now(UTC).isoformat(), "data": {"employee_id": employee.number, "revoke_access": "immediately"}}
        )
        at = datetime.now(UTC)
        event_id = f"msg_{at.timestamp():.0f}"
        headers = {"webhook-id": event_id, "webhook-timestamp": str(int(at.timestamp()))}
        headers["webhook-signature"] = Webhook(self.hr_secret).sign(event_id, at, body)
        return requests.post(self.hr_url, data=body.encode(), headers=headers, timeout=30)


class ByToken(LongPollClient):
    """A chat client that was let in by its login token and no password."""

    def _sign_in(self) -> str:
        answer = self._session.post(
            f"{self._homeserver}/_matrix/client/v3/login",
            json={"type": "m.login.token", "token": self._password, "initial_device_display_name": self.name},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        signed_in = answer.json()
        self.device_id = signed_in["device_id"]
        token: str = signed_in["access_token"]
        return token


@pytest.fixture(scope="module")
def place(samlp_idp: SamlpIdP, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("through-doorlist")
    with ExitStack() as leaving:
        doorlist = Typed(home=folder / "doorlist", port=free_port())
        doorlist.run("init", "--organization", "Corp")
        server = doorlist.serve(folder / "doorlist.log")
        leaving.callback(end, server)
        synapse = Synapse(sign_in=SignInProvider(issuer=doorlist.url, client_secret="not yet"))
        leaving.enter_context(running("SYNAPSE", synapse, (folder / "synapse").absolute()))
        base_url, token = doorlist.fields("source", "add", "scim", "okta", names=("base_url", "token"))
        token_file = keep_secret(folder / "provisioner.token", synapse.admin_token)
        doorlist.fields("workspace", "add", "matrix", "chat", "--url", synapse.url, "--token-file", str(token_file), names=("id",))
        rules = folder / "rules.yaml"
        rules.write_text(RULES)
        doorlist.json("rules", "apply", str(rules))
        hr_url, hr_secret = doorlist.fields("source", "add", "hr", "hr", names=("url", "secret"))
        for employee in (ADA, GRACE):
            push(base_url, token, employee)
        doorlist.settle()

        metadata = folder / "idp.xml"
        metadata.write_text(samlp_idp.metadata())
        connection, _, acs_url, metadata_url = doorlist.fields(
            "connection", "add", "saml", "corp", "--metadata", str(metadata), names=("id", "entity_id", "acs_url", "metadata_url")
        )
        assert acs_url.startswith(doorlist.url)
        samlp_idp.trust(requests.get(metadata_url, timeout=10).text)
        client_id, client_secret = doorlist.fields(
            "client", "add", "chat", "--redirect-uri", synapse.redirect_uri, "--backchannel-logout-uri", synapse.logout_uri,
            names=("client_id", "client_secret"),
        )  # fmt: skip
        synapse.sign_in_through(SignInProvider(issuer=doorlist.url, client_id=client_id, client_secret=client_secret))
        yield Place(doorlist=doorlist, synapse=synapse, connection=connection, hr_url=hr_url, hr_secret=hr_secret, folder=folder)


def push(base_url: str, token: str, employee: Employee) -> None:
    body = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "userName": employee.mail, "externalId": employee.immutable_id, "displayName": employee.name, "active": True,
        "emails": [{"value": employee.mail, "primary": True}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"employeeNumber": employee.number},
    }  # fmt: skip
    answer = requests.post(f"{base_url}/Users", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert answer.status_code == 201, answer.text


def login_token(place: Place, window: Window, employee: Employee | None) -> str:
    """Sign in to the chat server in a browser; who is signed in at Doorlist already is asked nothing."""
    landing = f"{place.doorlist.url}/healthz"
    window.page.goto(place.synapse.sign_in_url(landing))
    if employee is not None:
        window.page.get_by_label("Work e-mail").fill(employee.mail)
        window.page.get_by_role("button", name="Continue").click()
        window.sign_in(employee)
    window.page.wait_for_url(f"{landing}?loginToken=*")
    return parse_qs(urlsplit(window.page.url).query)["loginToken"][0]


def said(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_hr_ends_a_browser_session_and_a_second_device_and_it_can_be_proved(place: Place, chromium: Chromium, tmp_path: Path) -> None:
    log = tmp_path / "clients.jsonl"
    user = f"@{ADA.mail.split('@')[0]}:{place.synapse.server_name}"
    with ExitStack() as leaving:
        gateway = leaving.enter_context(PushGateway(tmp_path / "pushes.jsonl"))
        window = leaving.enter_context(chromium.window())
        clients = {"homeserver": place.synapse.url, "user": user, "log": log}
        laptop = ByToken("laptop", password=login_token(place, window, ADA), **clients)  # type: ignore[arg-type]  # a mapping of both kinds
        phone = ByToken("phone", password=login_token(place, window, None), **clients)  # type: ignore[arg-type]  # the same
        for client in (laptop, phone):
            leaving.callback(client.stop)
        laptop.start()
        phone.start(push_to=gateway.url)
        assert window.page.request.get(f"{place.doorlist.url}/session").status == 200

        answer = place.hr_says_left(ADA)
        said_at = time.time_ns()

        # From here on: not a message more, wherever it would come from.
        assert answer.status_code == 200
        assert window.page.request.get(f"{place.doorlist.url}/session").status == 401
        assert until(lambda: {line["client"] for line in said(log) if line["event"] == "refused"} == {"laptop", "phone"}, within=15)
        pushes_before = len(said(tmp_path / "pushes.jsonl"))
        write_to_all_hands(place, chromium, "after they left")
        window.page.goto(place.synapse.sign_in_url(f"{place.doorlist.url}/healthz"))
        assert "loginToken" not in window.page.url
        assert not [line for line in said(log) if line["event"] in ("message", "let_in_again") and int(str(line["ns"])) > said_at]
        # By now a push that the message had caused would have come.
        place.doorlist.settle()
        assert len(said(tmp_path / "pushes.jsonl")) == pushes_before

    prove(place, tmp_path)


def write_to_all_hands(place: Place, chromium: Chromium, text: str) -> None:
    """A colleague, who stays, signs in and writes where both of them were."""
    with chromium.window() as window:
        entered = place.synapse.sign_in_by_token(login_token(place, window, GRACE), device_id="COLLEAGUE")
    asks = {"headers": {"Authorization": f"Bearer {entered.token}"}, "timeout": 30}
    rooms = requests.get(f"{place.synapse.url}/_matrix/client/v3/joined_rooms", **asks).json()["joined_rooms"]  # type: ignore[arg-type]  # a mapping of both kinds
    for number, room in enumerate(rooms):
        address = f"{place.synapse.url}/_matrix/client/v3/rooms/{room}/send/m.room.message/{number}"
        answer = requests.put(address, json={"msgtype": "m.text", "body": text}, **asks)  # type: ignore[arg-type]  # the same
        assert answer.status_code == 200, answer.text
    assert rooms


def prove(place: Place, folder: Path) -> None:
    """The receipt and the log are good by themselves, and one flipped byte in either is found and named."""
    keys, receipt, export = folder / "keys.json", folder / "receipt.json", folder / "audit.jsonl"
    keys.write_text(json.dumps(place.doorlist.json("keys", "export")))
    place.doorlist.run("receipt", ADA.mail, "--out", str(receipt))
    place.doorlist.run("audit", "export", "--out", str(export))
    elsewhere = Typed(home=folder / "nothing is installed here", port=free_port())

    elsewhere.program.run("receipt", "--verify", str(receipt), "--keys", str(keys))
    elsewhere.program.run("audit", "verify", str(export), "--keys", str(keys))

    for path, verify in ((receipt, ("receipt", "--verify")), (export, ("audit", "verify"))):
        whole = path.read_bytes()
        for place_in_file in (len(whole) // 7, len(whole) // 2):
            spoiled = bytearray(whole)
            spoiled[place_in_file] ^= 0x01
            path.write_bytes(spoiled)
            found = elsewhere.json(*verify, str(path), "--keys", str(keys), good=(ALTERED,))
            assert found, (verify, place_in_file)
        path.write_bytes(whole)


def test_who_stays_is_not_disturbed(place: Place, chromium: Chromium, tmp_path: Path) -> None:
    with chromium.window() as window:
        token = login_token(place, window, GRACE)
        entered = place.synapse.sign_in_by_token(token)

        assert window.page.request.get(f"{place.doorlist.url}/session").status == 200
        assert entered.user_id.startswith("@grace")


def test_a_workspace_that_was_ended_is_itself_again_once_it_is_added_anew(place: Place) -> None:
    synapse, doorlist = place.synapse, place.doorlist
    before = _members(synapse)
    token = ("--token-file", str(place.folder / "provisioner.token"))
    doorlist.json("workspace", "set", "chat", "--url", synapse.url.replace("127.0.0.1", "localhost"), *token)
    doorlist.json("workspace", "set", "chat", "--url", synapse.url, *token)

    ended = doorlist.json("workspace", "end", "chat", "--reason", "added by mistake")
    assert ended["ended"] and not ended["not_shut"], ended
    assert _members(synapse) == before
    doorlist.json("workspace", "add", "matrix", "chat", "--url", synapse.url, *token)
    doorlist.settle()

    assert _members(synapse) == before
    [drift] = doorlist.json("report", "drift")["workspaces"]
    assert [drift[what] for what in ("error", "add", "remove", "new_channels")] == [None, 0, 0, 0]


def _members(synapse: Synapse) -> dict[str, list[str]]:
    """Everybody in each room, by the room's id."""
    asks = {"headers": {"Authorization": f"Bearer {synapse.admin_token}"}, "timeout": 30}
    rooms = requests.get(f"{synapse.url}/_synapse/admin/v1/rooms", **asks).json()["rooms"]  # type: ignore[arg-type]  # a mapping of both kinds
    found = {}
    for room in rooms:
        members = requests.get(f"{synapse.url}/_synapse/admin/v1/rooms/{room['room_id']}/members", **asks)  # type: ignore[arg-type]  # the same
        found[room["room_id"]] = sorted(members.json()["members"])
    return found
