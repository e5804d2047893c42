"""Every leaf on its way to whoever watches: a syslog server, an address that takes lines of JSON. At least once, and in order.

A receiver's place in the tree moves on only once it has what came before. What goes out is the leaf, with who did it and
why in the open; what stood in a row before and after stays here, since a SIEM has another circle of readers.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.audit.leaves import EVIDENCE, read_leaf
from app.audit.tree_tables import AuditDelivery, AuditLeaf, AuditTree
from connectors.contract import Refused
from connectors.syslog import Message, SyslogServer
from connectors.visits import Visitor, bearer

AT_A_TIME: Final = 200
SHOWN: Final = frozenset({"actor", "because", "did", "ended"})
"""Hidden columns that a SIEM is shown. `before` and `after` may hold anything that a directory knows of somebody."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One leaf, as a receiver is told of it."""

    number: int
    at: datetime
    kind: str
    said: dict[str, Any]

    def line(self) -> str:
        return json.dumps(self.said, ensure_ascii=False, separators=(",", ":"))


class Receiver(Protocol):
    """Somebody who takes leaves. `name` is what its place in the tree is kept under."""

    @property
    def name(self) -> str: ...

    def take(self, events: Sequence[Event]) -> None:
        """Returns once it has them all. May be given some twice. Raises ConnectorError."""


class Syslog:
    """RFC 5424 messages of facility *log audit*, with the event as JSON."""

    name: Final = "syslog"

    def __init__(self, url: str, *, host: str, ca_file: str | None = None) -> None:
        self._server = SyslogServer(url, host=host, ca_file=ca_file)

    def take(self, events: Sequence[Event]) -> None:
        self._server.send(Message(at=one.at, kind=one.kind, text=one.line()) for one in events)


class Lines:
    """POSTs of JSON lines (`application/x-ndjson`), with a bearer token where there is one."""

    name: Final = "http"

    def __init__(self, url: str, *, token: str | None = None) -> None:
        # Whoever sets this has the machine; a collector mostly stands in the same network.
        self._visitor = Visitor(name="siem", allow_private=True)
        self._url = self._visitor.check(url)
        self._headers = {"Content-Type": "application/x-ndjson"} | bearer(token, name="siem")

    def take(self, events: Sequence[Event]) -> None:
        content = "".join(one.line() + "\n" for one in events).encode("utf-8", "replace")
        reply = self._visitor.post(self._url, content, headers=self._headers)
        if reply.status >= 300:
            raise Refused(f"{reply.source}: answered {reply.status}")


def waiting(session: Session, organization_id: str, receiver: str, *, most: int = AT_A_TIME) -> list[Event]:
    """The next leaves that this receiver has not had."""
    place = session.get(AuditDelivery, (organization_id, receiver))
    start = 0 if place is None else place.next
    leaves = session.execute(
        select(AuditLeaf.number, AuditLeaf.kind, AuditLeaf.source_id, AuditLeaf.sequenced_at, AuditLeaf.hash, AuditLeaf.leaf)
        .where(AuditLeaf.organization_id == organization_id, AuditLeaf.number >= start, AuditLeaf.number < start + most)
        .order_by(AuditLeaf.number)
    ).all()
    if not leaves:
        return []
    hidden: dict[tuple[str, int], dict[str, Any]] = {}
    for evidence in EVIDENCE:
        ids = [leaf.source_id for leaf in leaves if leaf.kind == evidence.kind]
        if ids:
            shown = [name for name in evidence.hidden if name in SHOWN]
            columns = [getattr(evidence.table, name) for name in ("id", *shown)]
            for row in session.execute(select(*columns).where(evidence.table.id.in_(ids))).mappings():
                hidden[evidence.kind, row["id"]] = {name: row[name] for name in shown if row[name]}
    origin = session.get_one(AuditTree, organization_id).origin
    return [
        Event(
            number=leaf.number, at=leaf.sequenced_at, kind=leaf.kind,
            said={
                **read_leaf(leaf.leaf), **hidden.get((leaf.kind, leaf.source_id), {}),
                "organization": organization_id, "log": origin, "leaf": leaf.number, "leaf_hash": leaf.hash.hex(),
            },
        )
        for leaf in leaves
    ]  # fmt: skip


def behind(session: Session, receiver: str) -> list[str]:
    """Organisations with leaves that this receiver has not had."""
    rows = session.execute(
        select(AuditTree.organization_id, AuditTree.size, AuditDelivery.next)
        .outerjoin(AuditDelivery, (AuditDelivery.organization_id == AuditTree.organization_id) & (AuditDelivery.receiver == receiver))
        .order_by(AuditTree.organization_id)
    ).all()
    return [row.organization_id for row in rows if row.size > (row.next or 0)]


def note_taken(session: Session, organization_id: str, receiver: str, events: Sequence[Event], *, at: datetime) -> None:
    """Move the receiver's place on. One that somebody else has moved further stays there."""
    place = _place(session, organization_id, receiver)
    place.next = max(place.next, events[-1].number + 1)
    place.delivered_at, place.last_error = at, None


def note_failed(session: Session, organization_id: str, receiver: str, error: str) -> None:
    _place(session, organization_id, receiver).last_error = error


def _place(session: Session, organization_id: str, receiver: str) -> AuditDelivery:
    place = session.get(AuditDelivery, (organization_id, receiver), with_for_update=True, populate_existing=True)
    if place is None:
        place = AuditDelivery(organization_id=organization_id, receiver=receiver, next=0)
        session.add(place)
    return place
