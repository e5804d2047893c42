"""The HTTP door for HR calls. Errors are problem JSON (RFC 9457)."""

import json

from flask import Blueprint, Response, current_app, request
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.sealing import KeyMissing
from app.clock import now
from app.database import in_transaction, reading
from app.directory.settings import value_of
from app.directory.tables import Source
from app.intake.hr import BadCall, BadSignature, read, receive, verify
from app.lifecycle.sources import secrets_of

routes = Blueprint("intake", __name__)


def problem(status: int, title: str, detail: str) -> Response:
    """An error as problem JSON."""
    body = json.dumps({"type": "about:blank", "status": status, "title": title, "detail": detail})
    return Response(body, status=status, content_type="application/problem+json")


@routes.post("/hr/<source_id>")
def hear(source_id: str) -> Response:
    """Take a signed HR call; 2xx once it is stored and, where its person is known, in force here."""
    body = request.get_data(cache=False)
    with reading() as session:
        source = session.scalar(select(Source).where(Source.id == source_id, Source.kind == "hr", Source.ended_at.is_(None)))
        time_zone = value_of(session, source.organization_id, "time_zone") if source is not None else "UTC"
    if source is None:
        return problem(404, "Unknown address", "no HR system is connected at this address")
    try:
        secrets = secrets_of(source, settings=current_app.config["DOORLIST"])
        verify(body, {name.lower(): value for name, value in request.headers.items()}, secrets)
    except KeyMissing:
        return problem(503, "Not ready", "the encryption key is missing; nothing was taken")
    except BadSignature as error:
        return problem(401, "Signature refused", f"{error}; nothing was taken")
    event_id = request.headers.get("webhook-id", "")
    if not event_id:
        return problem(400, "Missing header", "webhook-id is missing; nothing was taken")
    try:
        call = read(body, event_id, time_zone=time_zone)
    except BadCall as error:
        return problem(422, "Not understood", f"{error}; nothing was taken")
    known = source

    def act(session: Session) -> str:
        here = session.get_one(Source, (known.organization_id, known.id))
        return receive(session, here, call, body, at=now()).state

    try:
        state = in_transaction(act)
    except IntegrityError:
        # The same call arrived twice at once; the other one was first.
        state = "applied"
    return Response(json.dumps({"state": state}), status=202 if state == "parked" else 200, content_type="application/json")
