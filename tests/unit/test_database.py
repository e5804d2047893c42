"""Reading rows past SQLAlchemy's own, on both databases."""

import pytest
from flask import Flask
from sqlalchemy import insert, select

from app.access.tables import Operator
from app.clock import now
from app.database import ROWS_AT_A_TIME, in_transaction, plain_rows, reading


@pytest.mark.parametrize("count", [0, 1, 2, ROWS_AT_A_TIME, ROWS_AT_A_TIME + 1, 2 * ROWS_AT_A_TIME + 2])
def test_plain_rows_are_all_rows_once_in_order_as_tuples(installed: Flask, count: int) -> None:
    rows = [
        {"organization_id": "o", "id": f"{number}", "name": f"{number:06}", "role": "auditor", "created_at": now()} for number in range(count)
    ]
    if rows:
        in_transaction(lambda session: session.execute(insert(Operator), rows))
    with reading() as session:
        found = list(plain_rows(session, select(Operator.name, Operator.role).order_by(Operator.name)))
    assert found == [(f"{number:06}", "auditor") for number in range(count)]
    assert all(type(row) is tuple for row in found)
