"""Verbs on operators: named people who act, each with a role and a token of their own."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import tokens
from app.access.tables import Operator
from app.actors import Actor, ActorKind
from app.database import new_id
from app.journal import entries
from app.lifecycle import seconding
from app.lifecycle.errors import NotFound, Taken


class Role(StrEnum):
    """What an operator may do; the most comes first."""

    OWNER = "owner"
    ADMIN = "admin"
    HELPDESK = "helpdesk"
    AUDITOR = "auditor"


def add_operator(session: Session, organization_id: str, name: str, role: Role, *, actor: Actor, at: datetime) -> tuple[Operator, str]:
    """A new operator and their token, which is shown this once. Raises Taken, also for somebody who was one before.

    The journal names operators, so a name stays with the person who had it.
    """
    there = session.scalar(select(Operator).where(Operator.organization_id == organization_id, Operator.name == name))
    if there is not None:
        was = "is" if there.ended_at is None else "was"
        raise Taken("name", name, f"there {was} an operator named {name!r}; the journal must not mean two people by one name")
    operator = Operator(organization_id=organization_id, id=new_id(), name=name, role=role, created_at=at)
    entries.write(
        session, organization_id, at=at, actor=actor, verb="operator added", because="operator", subject_kind="operator",
        subject_id=operator.id, after={"name": name, "role": role},
    )  # fmt: skip
    session.add(operator)
    session.flush()
    return operator, tokens.issue(session, organization_id, holder_kind="operator", holder_id=operator.id, at=at)


def operators_of(session: Session, organization_id: str) -> Sequence[Operator]:
    """Everybody who is or was an operator, by name."""
    return session.scalars(select(Operator).where(Operator.organization_id == organization_id).order_by(Operator.name)).all()


def end_operator(session: Session, organization_id: str, name: str, *, actor: Actor, at: datetime) -> Operator:
    """This operator acts no more: the token is no longer good, nor is what they have approved as the first of two. Ending twice is once.

    Raises NotFound.
    """
    operator = session.scalar(select(Operator).where(Operator.organization_id == organization_id, Operator.name == name).with_for_update())
    if operator is None:
        raise NotFound("operator", name)
    if operator.ended_at is None:
        taken_back = seconding.take_back(session, organization_id, Actor(kind=ActorKind.OPERATOR, name=name))
        entries.write(
            session, organization_id, at=at, actor=actor, verb="operator ended", because="operator", subject_kind="operator",
            subject_id=operator.id, before={"name": name, "role": operator.role},
            after={"approvals_taken_back": taken_back} if taken_back else None,
        )  # fmt: skip
        operator.ended_at = at
        tokens.revoke_all(session, organization_id, holder_id=operator.id, at=at)
    return operator
