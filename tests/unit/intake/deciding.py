"""What an administrator decides on a pull that is held, or that took something: each a second after what came before."""

from __future__ import annotations

from collections.abc import Collection

from flask import current_app
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import in_transaction, reading
from app.intake import approving
from app.intake.approving import Approved
from app.lifecycle import brake, putting_back
from app.lifecycle.putting_back import Undone
from tests.company import ADMIN
from tests.unit.intake.pulled_company import MINUTE, Pulled


def digest_of(corp: Pulled) -> str:
    with reading() as session:
        [(held, lines)] = brake.waiting(session, corp.organization_id)
        return brake.digest_of(held, lines)


def approves(corp: Pulled, digest: str, *, actor: Actor = ADMIN) -> Approved:
    corp.wait(MINUTE / 60)
    return approving.approve(
        current_app.config["DOORLIST"], corp.organization_id, digest, actor=actor, clock=corp.clock, opening=lambda _, __: corp.directory
    )


def passes(corp: Pulled, digest: str, people: Collection[str], *, actor: Actor = ADMIN) -> Approved:
    corp.wait(MINUTE / 60)
    return approving.let_pass(
        current_app.config["DOORLIST"], corp.organization_id, digest, people, actor=actor, clock=corp.clock, opening=lambda _, __: corp.directory
    )


def rejects(corp: Pulled) -> list[str]:
    corp.wait(MINUTE / 60)

    def act(session: Session) -> list[str]:
        [(held, lines)] = brake.waiting(session, corp.organization_id)
        return approving.reject(session, held, lines, actor=ADMIN, at=corp.at)

    return in_transaction(act)


def undoes(corp: Pulled, number: int) -> Undone:
    corp.wait(MINUTE / 60)
    return in_transaction(lambda session: putting_back.undo(session, corp.organization_id, number, actor=ADMIN, at=corp.at))
