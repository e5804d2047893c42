"""A token that is revoked while its request is under way: what was done stands, and nothing more is said with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access import tokens
from app.access.tables import BearerToken
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Group, Record, Source
from app.lifecycle import ended_sources
from app.scim import bulk as door_of_bulk
from tests.clients.directory import Directory
from tests.unit.scim.bulking import bulk, group, patch, statuses, user
from tests.unit.scim.choosing import OFF

ADMIN = Actor(kind=ActorKind.OPERATOR, name="ana")


def _revoke(directory: Directory) -> None:
    def act(session: Session) -> None:
        source = session.scalars(select(Source).where(Source.id == directory.source_id)).one()
        tokens.revoke_all(session, source.organization_id, holder_id=source.id, at=now())

    in_transaction(act)


def _end(directory: Directory) -> None:
    def act(session: Session) -> None:
        source = session.scalars(select(Source).where(Source.id == directory.source_id)).one()
        ended_sources.end(session, source, reason="moved", actor=ADMIN, at=now())

    in_transaction(act)


def _run_out(directory: Directory) -> None:
    digest = tokens.digest_of(directory.token)
    values = {"expires_at": now() - timedelta(seconds=1)}
    in_transaction(lambda session: session.execute(update(BearerToken).where(BearerToken.digest == digest).values(**values)))


def _before(monkeypatch: pytest.MonkeyPatch, number: int, happens: Callable[[], None]) -> None:
    """Have something happen before that operation of a Bulk."""
    performed, begun = door_of_bulk._performed, 0

    def perform(*given: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun == number:
            happens()
        return performed(*given)

    monkeypatch.setattr(door_of_bulk, "_performed", perform)


@pytest.mark.parametrize("happens", [_revoke, _end])
def test_nothing_more_is_taken_of_a_bulk_whose_token_is_good_no_more(
    directory: Directory, happens: Callable[[Directory], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = directory.add_user("ada")
    _before(monkeypatch, 2, lambda: happens(directory))

    told = bulk(directory, user("bob"), user("eve"), group("staff"), patch(f"/Users/{ada}", OFF), {"method": "DELETE", "path": f"/Users/{ada}"})

    assert statuses(told) == ["201", "401", "401", "401", "401"]
    with reading() as session:
        standing = session.execute(select(Record.user_name, Record.active).where(Record.ended_at.is_(None)).order_by(Record.user_name)).all()
        assert [tuple(one) for one in standing] == [("ada", True), ("bob", True)]
        assert session.scalars(select(Group.id)).all() == []


def test_a_bulk_that_came_in_time_is_taken_to_its_end(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    _before(monkeypatch, 2, lambda: _run_out(directory))

    assert statuses(bulk(directory, user("bob"), user("eve"))) == ["201", "201"]
