"""The auditor is only worth asking if it catches what half a departure leaves open."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.chat_clients import LongPollClient, SlidingClient
from tests.journeys.push_gateway import PushGateway
from tests.servers.synapse import PROVISIONER, SERVER_NAME, Synapse

pytestmark = [pytest.mark.synapse, pytest.mark.slow]

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, kw_only=True)
class Someone:
    """A person with a laptop and a phone, and the room where a colleague posts."""

    synapse: Synapse
    user: str
    room: str
    folder: Path

    @property
    def path(self) -> str:
        return f"/_synapse/admin/v2/users/{self.user}"

    def lock(self) -> None:
        self.synapse.admin("PUT", self.path, {"locked": True})

    def deactivate(self) -> None:
        self.synapse.admin("POST", f"/_synapse/admin/v1/deactivate/{self.user}", {"erase": False})

    def delete_devices(self) -> None:
        listed = self.synapse.admin("GET", f"{self.path}/devices")["devices"]
        assert isinstance(listed, list)
        devices = [device["device_id"] for device in listed]
        self.synapse.admin("POST", f"{self.path}/delete_devices", {"devices": devices})

    def let_in_again(self) -> None:
        self.synapse.admin("PUT", self.path, {"deactivated": False, "password": PASSWORD})


@pytest.fixture
def someone(synapse: Synapse, tmp_path: Path) -> Iterator[Someone]:
    name = f"p{time.time_ns()}"
    leaver, colleague = f"@{name}:{SERVER_NAME}", f"@{name}-colleague:{SERVER_NAME}"
    for user in (leaver, colleague):
        synapse.admin("PUT", f"/_synapse/admin/v2/users/{user}", {"password": PASSWORD})
    for user in (PROVISIONER, colleague):
        limits: dict[str, object] = {"messages_per_second": 0, "burst_count": 0}
        synapse.admin("POST", f"/_synapse/admin/v1/users/{user}/override_ratelimit", limits)
    room = str(synapse.admin("POST", "/_matrix/client/v3/createRoom", {"preset": "private_chat"})["room_id"])
    for user in (leaver, colleague):
        synapse.admin("POST", f"/_synapse/admin/v1/join/{room}", {"user_id": user})
    login = synapse.try_sign_in(colleague, device_id="DESK", password=PASSWORD)
    (tmp_path / "poster.token").write_text(login.json()["access_token"])
    (tmp_path / "auditor.token").write_text(synapse.register_admin(f"auditor-{name}"))
    (tmp_path / "password").write_text(PASSWORD)

    clients = tmp_path / "clients.jsonl"
    laptop = LongPollClient("laptop", homeserver=synapse.url, user=leaver, password=PASSWORD, log=clients)
    phone = SlidingClient("phone", homeserver=synapse.url, user=leaver, password=PASSWORD, log=clients)
    with PushGateway(tmp_path / "pushes.jsonl") as gateway:
        laptop.start()
        phone.start(push_to=gateway.url)
        yield Someone(synapse=synapse, user=leaver, room=room, folder=tmp_path)
        laptop.stop()
        phone.stop()


def audited(someone: Someone, departure: Callable[[], None], *, then: Callable[[], None] | None = None) -> dict[str, Any]:
    """The verdict on a departure, and, where `then` is given, on what happened after the person was gone."""
    folder = someone.folder
    options = {
        "--synapse": someone.synapse.url,
        "--user": someone.user,
        "--room": someone.room,
        "--admin-token-file": folder / "auditor.token",
        "--password-file": folder / "password",
        "--poster-token-file": folder / "poster.token",
        "--clients": folder / "clients.jsonl",
        "--gateway-log": folder / "pushes.jsonl",
        "--since-file": folder / "since",
        "--watch-until": folder / "enough",
        "--until-gone": 5,
    }
    arguments = [str(part) for option in options.items() for part in option]
    auditor = subprocess.Popen(
        [sys.executable, "-m", "tests.journeys.auditor", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert auditor.stderr is not None
        assert auditor.stderr.readline() == "ready\n"
        (folder / "since").write_text(str(time.time_ns()))
        departure()
        if then is not None:
            assert auditor.stderr.readline() == "gone\n"
            then()
            time.sleep(1)
        (folder / "enough").touch()
        printed, _ = auditor.communicate(timeout=60)
    finally:
        if auditor.poll() is None:
            auditor.kill()
            auditor.communicate()
    verdict: dict[str, Any] = json.loads(printed)
    assert auditor.returncode == (0 if verdict["good"] else 8)
    return verdict


def test_someone_locked_and_then_deactivated_is_proved_to_be_gone(someone: Someone) -> None:
    def lock_then_deactivate() -> None:
        someone.lock()
        someone.deactivate()

    verdict = audited(someone, lock_then_deactivate)

    assert verdict["findings"] == []
    assert 0 < verdict["ms_shut"] <= verdict["ms_gone"]
    assert verdict["clients"]["phone"]["ms_to_refused"] > 0


def test_a_lock_alone_is_caught_by_what_the_open_polls_and_the_phone_still_hear(someone: Someone) -> None:
    verdict = audited(someone, someone.lock)

    assert verdict["ms_shut"] is None
    assert verdict["leaked_messages"] == 2
    assert verdict["pushes_after"] > 0


def test_a_lock_and_deleted_devices_are_caught_by_the_open_sliding_sync(someone: Someone) -> None:
    def lock_and_delete_devices() -> None:
        someone.lock()
        someone.delete_devices()

    verdict = audited(someone, lock_and_delete_devices)

    assert verdict["clients"]["laptop"]["leaked_messages"] == 0
    assert verdict["clients"]["phone"]["leaked_messages"] == 1
    assert verdict["ms_gone"] is None


def test_someone_let_in_again_after_being_gone_is_caught(someone: Someone) -> None:
    verdict = audited(someone, someone.deactivate, then=someone.let_in_again)

    assert verdict["fresh_sign_in"] == "accepted"
    assert any("open after shut" in finding for finding in verdict["findings"])
