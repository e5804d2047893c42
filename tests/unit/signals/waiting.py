"""A transmitter whose events wait until they are fetched: a stand-in for tests of polling."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

POLL = "https://idp.example/poll"


@dataclass(kw_only=True)
class Queue:
    """Hands out what it holds, and drops what was answered (RFC 8936)."""

    sets: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    shown: list[str | None] = field(default_factory=list)
    faults: dict[str, Any] = field(default_factory=dict)
    down: bool = False

    def __call__(self, request: Any) -> tuple[int, dict[str, str], str]:
        if self.down:
            return 503, {}, ""
        body = json.loads(request.body)
        self.asked.append(body)
        self.shown.append(request.headers.get("Authorization"))
        self.faults |= body.get("setErrs", {})
        for jti in (*body.get("ack", []), *body.get("setErrs", {})):
            self.sets.pop(jti, None)
        handed = dict(list(self.sets.items())[: min(body["maxEvents"], 2)])
        return 200, {}, json.dumps({"sets": handed, "moreAvailable": len(self.sets) > len(handed)})
