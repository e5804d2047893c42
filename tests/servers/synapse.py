"""A real Matrix Synapse on a free loopback port, in a throwaway folder, with its own environment.

Synapse is AGPL and is never imported here: it runs as a separate process in its own environment, whose Python
is `DOORLIST_TEST_SYNAPSE` (default `.synapse/bin/python`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import requests

from connectors.http import path
from tests.ports import free_port
from tests.servers.cores import steady
from tests.servers.synapse_sign_in import IDP, SignInProvider, as_settings

SERVER_NAME = "chat.test"
PROVISIONER = f"@provisioner:{SERVER_NAME}"
REPOSITORY = Path(__file__).resolve().parents[2]
STARTS_WITHIN = 60.0
STOPS_WITHIN = 10.0


class SynapseMissing(Exception):
    """There is no environment to run Synapse in; `make synapse` makes it."""


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """A client of a person, signed in for real with a password, as a phone would be."""

    user_id: str
    device_id: str
    token: str


def python() -> Path:
    found = Path(os.environ.get("DOORLIST_TEST_SYNAPSE") or REPOSITORY / ".synapse" / "bin" / "python")
    if not found.exists():
        raise SynapseMissing(f"no Synapse at {found}: run `make synapse`, or set DOORLIST_TEST_SYNAPSE")
    return found


class Synapse:
    """`start(folder)` may be called again after `stop()`, with the same folder and the same port."""

    server_name = SERVER_NAME
    admin_id = PROVISIONER

    def __init__(
        self,
        *,
        port: int | None = None,
        overrides: dict[str, object] | None = None,
        sign_in: SignInProvider | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_token = ""
        self._overrides = overrides or {}
        self._sign_in = sign_in
        self._secret = secrets.token_hex(16)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._passwords: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        if self._folder is None:
            raise RuntimeError("Synapse was not started yet")
        return self._folder

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("Synapse is not running")
        return self._process.pid

    def start(self, folder: Path, *, wait_for_indexes: bool = True) -> None:
        """Returns when it answers, has its administrator, and has built the indexes of a new database."""
        interpreter = python()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "homeserver.yaml"
        if not config.exists():
            (folder / "signing.key").write_text(_signing_key())
            (folder / "log.json").write_text(json.dumps(_log_config(folder)))
        # YAML holds JSON, so nothing is needed to write it.
        config.write_text(json.dumps(self._config(folder), indent=1))
        # It ends requests with an error once it has measured a time below zero.
        with (folder / "output.log").open("ab") as output, steady():
            self._process = subprocess.Popen(
                [str(interpreter), "-m", "synapse.app.homeserver", "-c", str(config)],
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYNAPSE_CACHE_FACTOR": "0.5"},
            )
        try:
            self._wait_for_health()
            if not self.admin_token:
                self.admin_token = self.register_admin("provisioner")
            if wait_for_indexes:
                self._wait_for_indexes()
        except BaseException:
            self.stop()
            raise

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It does nothing at all meanwhile: not even what it puts off for quieter times."""
        if self._process is None:
            yield
            return
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if self._process is not None:
                self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """By its own process id, and for good after ten seconds. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Without a chance to finish anything."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        self.stop()
        self.start(self.folder)

    def sign_in_through(self, provider: SignInProvider) -> None:
        """From now on; starts it anew where it runs, which ends nobody's session."""
        self._sign_in = provider
        if self._process is not None:
            self.restart()

    @property
    def redirect_uri(self) -> str:
        """Where an OpenID provider sends people back to."""
        return f"{self.url}/_synapse/client/oidc/callback"

    @property
    def logout_uri(self) -> str:
        """Where an OpenID provider sends its logout tokens; each must have a `sid`."""
        return f"{self.url}/_synapse/client/oidc/backchannel_logout"

    def sign_in_url(self, then: str) -> str:
        """Where a browser begins; at the end it comes to `then` with a `loginToken` for `sign_in_by_token`."""
        return f"{self.url}/_matrix/client/v3/login/sso/redirect/oidc-{IDP}?{urlencode({'redirectUrl': then})}"

    def sign_in_by_token(self, login_token: str, *, device_id: str = "BROWSER") -> SignIn:
        answer = requests.post(
            f"{self.url}/_matrix/client/v3/login",
            json={"type": "m.login.token", "token": login_token, "device_id": device_id},
            timeout=10,
        )
        answer.raise_for_status()
        document = answer.json()
        return SignIn(user_id=str(document["user_id"]), device_id=device_id, token=str(document["access_token"]))

    def register_admin(self, localpart: str) -> str:
        """A new administrator's token, by the registration secret: one for us, one for an auditor."""
        nonce = self._request("GET", "/_synapse/admin/v1/register", token=None)["nonce"]
        password = secrets.token_hex(16)
        signed = "\0".join((str(nonce), localpart, password, "admin")).encode()
        answer = self._request(
            "POST",
            "/_synapse/admin/v1/register",
            token=None,
            body={
                "nonce": nonce,
                "username": localpart,
                "password": password,
                "admin": True,
                "mac": hmac.new(self._secret.encode(), signed, hashlib.sha1).hexdigest(),
            },
        )
        return str(answer["access_token"])

    def admin(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        """One call as the administrator; raises requests.HTTPError for an error answer."""
        return self._request(method, path, token=self.admin_token, body=body)

    def held_syncs(self) -> int:
        """How many requests wait here for news."""
        answer = requests.get(f"{self.url}/_synapse/metrics", timeout=10)
        answer.raise_for_status()
        counts = [line.rpartition(" ")[2] for line in answer.text.splitlines() if line.startswith("synapse_notifier_listeners{")]
        return sum(int(float(count)) for count in counts)

    def set_password(self, user_id: str, password: str) -> None:
        self.admin(
            "POST",
            path("/_synapse/admin/v1/reset_password/{}", user_id),
            {"new_password": password, "logout_devices": False},
        )
        self._passwords[user_id] = password

    def try_sign_in(self, user_id: str, *, device_id: str, password: str) -> requests.Response:
        """What a client's sign-in with this password answers, whatever it is."""
        return requests.post(
            f"{self.url}/_matrix/client/v3/login",
            json={
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": user_id},
                "password": password,
                "device_id": device_id,
            },
            timeout=10,
        )

    def sign_in(self, user_id: str, *, device_id: str = "PHONE") -> SignIn:
        """A real sign-in. No "login as" token, which would not die with the account."""
        if user_id not in self._passwords:
            self.set_password(user_id, secrets.token_hex(12))
        answer = self.try_sign_in(user_id, device_id=device_id, password=self._passwords[user_id])
        answer.raise_for_status()
        return SignIn(user_id=user_id, device_id=device_id, token=str(answer.json()["access_token"]))

    def user_token(self, user_id: str, *, device_id: str = "PHONE") -> str:
        return self.sign_in(user_id, device_id=device_id).token

    def password_of(self, user_id: str) -> str:
        """The one that `sign_in` set; still right, should the account ever be let in again."""
        return self._passwords[user_id]

    def _request(
        self, method: str, path: str, *, token: str | None, body: dict[str, object] | None = None
    ) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=20)
        answer.raise_for_status()
        document = answer.json()
        assert isinstance(document, dict)
        return document

    def _wait_for_health(self) -> None:
        until = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                if requests.get(f"{self.url}/health", timeout=1).ok:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.05)
        said = (self.folder / "output.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"Synapse did not start on port {self.port}:\n{said}")

    def _wait_for_indexes(self) -> None:
        """Until they are built, reactivating an account answers 500."""
        until = time.monotonic() + STARTS_WITHIN
        while self._waiting_indexes():
            if time.monotonic() > until:
                raise RuntimeError("Synapse is still building its indexes")
            time.sleep(0.05)

    def _waiting_indexes(self) -> int:
        """From the database itself: the status call says "none" in the gaps between two of them."""
        with closing(sqlite3.connect(f"file:{self.folder / 'homeserver.db'}?mode=ro", uri=True)) as database:
            waiting: int = database.execute("SELECT count(*) FROM background_updates").fetchone()[0]
            return waiting

    def _config(self, folder: Path) -> dict[str, object]:
        generous = {"per_second": 1000, "burst_count": 1000}
        return {
            "server_name": SERVER_NAME,
            "public_baseurl": f"{self.url}/",
            "pid_file": str(folder / "homeserver.pid"),
            "signing_key_path": str(folder / "signing.key"),
            "media_store_path": str(folder / "media"),
            "log_config": str(folder / "log.json"),
            "report_stats": False,
            "enable_metrics": True,
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "federation_domain_whitelist": [],
            "send_federation": False,
            "enable_registration": False,
            "registration_shared_secret": self._secret,
            "macaroon_secret_key": self._secret,
            "form_secret": self._secret,
            "presence": {"enabled": False},
            "url_preview_enabled": False,
            "encryption_enabled_by_default_for_room_type": "off",
            "bcrypt_rounds": 4,
            "listeners": [
                {
                    "port": self.port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "tls": False,
                    "resources": [{"names": ["client", "health", "metrics"], "compress": False}],
                }
            ],
            "background_updates": {"sleep_enabled": False},
            "database": {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}},
            # Lets a push registration reach a gateway on this machine.
            "ip_range_whitelist": ["127.0.0.0/8"],
            # Only the limits on clients' sign-in are raised; those that a provisioner meets are the defaults.
            "rc_login": {"address": generous, "account": generous, "failed_attempts": generous},
            "password_config": {"enabled": True},
            # A browser is sent back to a client of ours without a page in between.
            "sso": {"client_whitelist": ["http://127.0.0.1:"]},
            "oidc_providers": [as_settings(self._sign_in, otherwise=self._secret)],
            **self._overrides,
        }


def _log_config(folder: Path) -> dict[str, object]:
    return {
        "version": 1,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "formatter": "plain",
                "filename": str(folder / "homeserver.log"),
            }
        },
        "root": {"level": "WARNING", "handlers": ["file"]},
        "disable_existing_loggers": False,
    }


def _signing_key() -> str:
    """In the form that Synapse keeps: algorithm, version, unpadded base64 of the seed."""
    return f"ed25519 a_test {base64.b64encode(secrets.token_bytes(32)).decode().rstrip('=')}\n"
