"""An export on disk, and the public keys that it is checked with: all that an auditor has."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from app.access import keys
from app.audit.exports import Exported, write_export
from app.audit.public_keys import EvidenceKey, read_keys
from app.audit.verifying import Verdict, verify_export
from app.database import transaction
from tests.unit.audit.growing import AT, Ledger, later

KEPT = timedelta(0)
"""Of these tests nothing is too young to lose its content, unless they are about that."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A file that was exported."""

    path: Path
    keys: dict[str, EvidenceKey]
    exported: Exported

    def verdict(self, *, elsewhere: Sequence[str] = ()) -> Verdict:
        return verify_export(self.path, self.keys, elsewhere=elsewhere)

    @property
    def lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True)

    def with_lines(self, change: Callable[[list[bytes]], list[bytes]]) -> Evidence:
        """The file after somebody has had it."""
        path = self.path.with_suffix(".altered")
        path.write_bytes(b"".join(change(self.lines)))
        return Evidence(path=path, keys=self.keys, exported=self.exported)

    def line_of_leaf(self, leaf: int) -> int:
        """Which line, counted from one, holds a leaf."""
        return next(number for number, line in enumerate(self.lines, start=1) if json.loads(line).get("leaf") == leaf)


def exported_from(
    ledger: Ledger, folder: Path, *, organization_id: str = "acme", at: datetime | None = None, kept: timedelta = KEPT, since: datetime | None = None,
    until: datetime | None = None,
) -> Evidence:  # fmt: skip
    path = folder / f"{organization_id}.jsonl"
    with transaction() as session, path.open("wb") as file:
        signer = ledger.signer(session)
        done = write_export(session, organization_id, organization_id.title(), file, signer, at=at or later(3600), kept=kept, since=since, until=until)
        public = json.dumps({"keys": keys.all_public(session)})
    return Evidence(path=path, keys=read_keys(public), exported=done)


def history(ledger: Ledger, organization_id: str = "acme") -> None:
    """Four times five leaves, each signed, a minute apart."""
    for minute in range(4):
        at = later(60 * minute)
        ledger.writes(5, organization_id, at=at)
        ledger.passes(at)
        ledger.signs(organization_id, at=at)


__all__ = ["AT", "Evidence", "exported_from", "history"]
