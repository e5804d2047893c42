"""A directory that pushes over HTTP, for tests of what is said of it at a desk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask.testing import FlaskClient

from app.scim.seen import flush_requests

if TYPE_CHECKING:
    from tests.unit.commands.conftest import Desk

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass(kw_only=True)
class Pusher:
    """A directory that pushes over HTTP, at a desk."""

    desk: Desk
    http: FlaskClient
    source_id: str
    token: str

    def sends(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, kind: str = "application/scim+json", coding: str | None = None
    ) -> Any:
        said = self.http.open(
            f"/scim/v2/{self.source_id}{path.partition('?')[0]}", method=method, query_string=path.partition("?")[2],
            data=body if isinstance(body, str) else None if body is None else json.dumps(body), content_type=kind,
            headers={"Authorization": f"Bearer {token or self.token}", **({} if coding is None else {"Content-Encoding": coding})},
        )  # fmt: skip
        flush_requests(self.desk.app)
        return said.get_json(force=True, silent=True) or {}

    def patches(self, address: str, **operation: Any) -> Any:
        return self.sends("PATCH", address, {"schemas": [PATCH], "Operations": [operation]})

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        found = self.desk.asks("requests", "list", *arguments)["requests"]
        assert isinstance(found, list)
        return found

    def latest(self) -> str:
        return str(self.listed("--limit", "1")[0]["id"])

    def replays(self) -> dict[str, Any]:
        return self.desk.asks("requests", "replay", self.latest(), "--dry-run")

    def cannot_replay(self) -> str:
        said = self.desk.types("requests", "replay", self.latest(), "--dry-run", "--json")
        assert said.exit == 1, said
        return str(said.json["error"])
