"""Rows of requests as the drivers take them: whatever is left out of a statement, each is read back as it was told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from app.audit.request_rows import Seen, Told, write
from app.audit.request_tables import RequestBody, RequestSeen
from app.clock import microseconds
from app.database import db, new_id, reading
from tests.clients.directory import Directory

LOOK_UP: dict[str, Any] = {"query": "a=b", "name": "Ada", "name_key": "ada", "found": 0}
CHANGE: dict[str, Any] = {"attributes": '["title", "é"]', "body": "kept", "body_bytes": 7}
RARE: dict[str, Any] = {"refused": 4, "scim_type": "noTarget", "error": "tab\t, \\N and\nline", "part_of": "x", "part": 0, "times": 3}


@pytest.mark.parametrize("more", [{}, LOOK_UP, CHANGE, RARE, {**LOOK_UP, **CHANGE}, {**LOOK_UP, **CHANGE, **RARE}, {"times": 2}])
def test_a_row_is_read_back_as_it_was_told(directory: Directory, more: dict[str, Any]) -> None:
    seen = Seen(
        organization_id="o", id=new_id(), at=1_790_000_000_000_001, source_id="s", known=0, method="GET", path="/Users", resource_type="User",
        resource_id=None, status=200, took_us=5, **more,
    )  # fmt: skip
    told = [Told(seen, "p", "{}"), Told(seen._replace(id=new_id(), known=1), None, None)]

    with directory.app.app_context(), db.engine.connect() as connection:
        write(connection, told)

    with reading() as session:
        first, second = session.scalars(select(RequestSeen).where(RequestSeen.organization_id == "o").order_by(RequestSeen.id))
        [body] = session.scalars(select(RequestBody).where(RequestBody.organization_id == "o"))
    assert (first.person_id, second.person_id, body.id, body.body) == ("p", None, first.id, "{}")
    assert (first.known, second.known, microseconds(first.at)) == (False, True, seen.at)
    for name, value in seen._asdict().items():
        if name not in ("known", "at"):
            assert getattr(first, name) == (json.loads(value) if name == "attributes" else value), name
