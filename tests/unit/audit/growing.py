"""A tree that grows: entries written as verbs write them, and the sequencer run as the process runs it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import keys
from app.access.keys import Purpose, Signer
from app.actors import Actor, ActorKind
from app.audit import checkpoints, deeds, notes, sequencer
from app.audit.tree_tables import AuditCheckpoint, AuditLeaf
from app.database import transaction
from app.journal import entries
from app.journal.tables import Organization

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
GRACE = Actor(kind=ActorKind.OPERATOR, name="grace")


def origin_of(organization_id: str) -> str:
    return notes.origin_of("https://id.acme.example", organization_id)


def write(session: Session, organization_id: str = "acme", *, verb: str = "joined", subject: str = "p1", at: datetime = AT, **said: Any) -> int:
    return entries.write(
        session, organization_id, at=at, actor=GRACE, verb=verb, because="a test", subject_kind="person", subject_id=subject,
        before=said.get("before"), after=said.get("after", {"userName": "ada@acme.example"}),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The audit of one installation with two organisations, acme and globex."""

    app: Flask

    def writes(self, count: int = 1, organization_id: str = "acme", **said: Any) -> list[int]:
        with transaction() as session:
            return [write(session, organization_id, **said) for _ in range(count)]

    def does(self, did: str, organization_id: str = "acme") -> None:
        with transaction() as session:
            deeds.record(session, organization_id, workspace_id="w1", at=AT, subject="person", subject_id="p1", did=did)

    def passes(self, at: datetime = AT, *, batch: int = sequencer.BATCH) -> int:
        """Run the sequencer until nothing more is found; returns how many leaves came."""
        appended = 0
        while True:
            with transaction() as session:
                passed = sequencer.run_pass(session, at=at, origin_of=origin_of, batch=batch)
            appended += passed.appended
            if not passed.more:
                return appended

    def signs(self, organization_id: str = "acme", *, at: datetime = AT, key_of: datetime = AT) -> AuditCheckpoint:
        with transaction() as session:
            made = checkpoints.sign(session, organization_id, self.signer(session, key_of), at=at)
        assert made is not None
        return made

    def signer(self, session: Session, at: datetime = AT) -> Signer:
        return keys.signer(session, self.app.config["DOORLIST"], Purpose.EVIDENCE, at=at)

    def public(self) -> list[bytes]:
        with transaction() as session:
            return [self.signer(session).public_bytes]

    def sources(self, organization_id: str = "acme", kind: str = "journal") -> list[int]:
        """Which rows became leaves, in the order of the tree."""
        query = select(AuditLeaf.source_id).where(AuditLeaf.organization_id == organization_id, AuditLeaf.kind == kind)
        with transaction() as session:
            return list(session.scalars(query.order_by(AuditLeaf.number)))


def ledger_in(app: Flask) -> Ledger:
    with transaction() as session:
        for name in ("acme", "globex"):
            session.add(Organization(id=name, name=name.title(), settings={}, created_at=AT))
    return Ledger(app=app)


def later(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)
