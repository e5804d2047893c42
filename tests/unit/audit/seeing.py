"""Reading back what was seen, for the tests of it."""

from sqlalchemy import select, text

from app.audit.request_tables import RequestBody, RequestSeen
from app.database import reading
from app.scim.seen import flush_requests
from tests.clients.directory import Directory


def seen(directory: Directory) -> list[RequestSeen]:
    """Everything that was seen so far, in the order in which it came."""
    flush_requests(directory.app)
    with reading() as session:
        return list(session.scalars(select(RequestSeen).order_by(RequestSeen.id)))


def body_of(row: RequestSeen) -> str | None:
    with reading() as session:
        kept = session.get(RequestBody, (row.organization_id, row.id))
        return kept.body if kept is not None else None


def everything_stored(directory: Directory) -> str:
    """All texts of the two tables."""
    flush_requests(directory.app)
    with reading() as session:
        return repr([tuple(row) for table in ("request_seen", "request_body") for row in session.execute(text(f"SELECT * FROM {table}"))])
