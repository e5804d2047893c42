"""The certified oidc-provider of Node as an OpenID provider, on a free loopback port; its pages are in `oidc_provider.mjs`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.servers.identities import PASSWORD, Client, OIDCManners, described, write_settings
from tests.servers.identity_server import IdentityServer
from tests.servers.idp_keys import signing_keys
from tests.servers.node import placed
from tests.servers.processes import ServerProcess, answers

SCRIPT = "oidc_provider.mjs"


class NodeOIDCProvider(IdentityServer[OIDCManners]):
    """Demands PKCE, asks nobody for consent, answers with `iss` (RFC 9207), rotates refresh tokens, tells relying
    parties of a sign-out over the back channel; its log has what it refused and whether its logout tokens were taken. What it is
    told counts at once; `acr` and `amr` are those of sign-ins from then on. When it stops it forgets who was signed in."""

    name = "oidc-provider"

    def __init__(self, *, port: int | None = None) -> None:
        super().__init__(OIDCManners(), port=port)
        self._clients: dict[str, Client] = {}
        self._keys: list[dict[str, Any]] = []
        self._generation = 0

    @property
    def issuer(self) -> str:
        return self.url

    def register(self, client: Client) -> None:
        self._clients[client.client_id] = client
        self._tell()

    def roll_keys(self, *, keep_old: bool) -> None:
        """Signs with new keys; with `keep_old` the old ones are still published, after them."""
        self._generation += 1
        self._keys = [*signing_keys(self._generation), *(self._keys if keep_old else [])]
        self._tell()

    def end_session_url(self) -> str:
        return f"{self.issuer}/session/end"

    def _prepare(self, folder: Path) -> None:
        placed(folder, SCRIPT)
        if not self._keys:
            self.roll_keys(keep_old=False)
        self._write(folder)

    def _launched(self, folder: Path) -> ServerProcess:
        command = ["node", "--no-deprecation", str(folder / SCRIPT), str(folder / "settings.json")]
        process = ServerProcess(self.name, command, folder=folder, environment=self._by_the_clock())
        process.wait_until(lambda: answers(f"{self.issuer}/.well-known/openid-configuration"))
        return process

    def _tell(self) -> None:
        # Before `start` there is no file yet, and `start` writes it.
        if self._folder is not None:
            self._write(self._folder)

    def _write(self, folder: Path) -> None:
        lasts = self.manners.session_lasts
        write_settings(
            folder / "settings.json",
            {
                "port": self.port,
                "issuer": self.issuer,
                "password": PASSWORD,
                "people": described(self.employees),
                "clients": [asdict(client) for client in self._clients.values()],
                "keys": self._keys,
                "acr": self.manners.acr,
                "amr": self.manners.amr,
                "session_lasts": lasts.total_seconds() if lasts is not None else None,
            },
        )
