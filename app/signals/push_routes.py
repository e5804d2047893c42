"""The door for security event tokens that transmitters push (RFC 8935)."""

import hmac
import json
import logging
from typing import Final

from flask import Blueprint, Response, current_app, request
from sqlalchemy import select

from app.access.callers import address_of_caller
from app.access.rates import Buckets
from app.access.tokens import digest_of
from app.clock import now
from app.database import reading
from app.revocation.stream_tables import Delivery, Transmitter
from app.signals.events import BadEvent, Fault
from app.signals.receiving import take
from connectors.contract import ConnectorError

log = logging.getLogger(__name__)
push_routes = Blueprint("signals_push", __name__)

MEDIA_TYPE: Final = "application/secevent+jwt"
FAILURES: Final = Buckets(rate=1.0, burst=20.0)
"""For those who prove nothing. A transmitter that does is never slowed down: what it says takes access away."""


@push_routes.post("/signals/push/<stream_id>")
def hear(stream_id: str) -> Response:
    """Take one event; 202 once it is kept and, where its person is known, in force here."""
    with reading() as session:
        transmitter = session.scalar(
            select(Transmitter).where(Transmitter.id == stream_id, Transmitter.ended_at.is_(None), Transmitter.delivery == Delivery.PUSH)
        )
    # Who may not push here learns nothing of what streams there are.
    if transmitter is None or not _authorised(transmitter):
        wait = FAILURES.take(address_of_caller())
        if wait:
            return Response(status=429, headers={"Retry-After": str(int(wait) + 1)})
        return _refused(Fault.AUTHENTICATION_FAILED, "the Authorization header is not the one of this stream", status=401)
    if request.mimetype != MEDIA_TYPE:
        return _refused(Fault.INVALID_REQUEST, f"the body has to be sent as {MEDIA_TYPE}")
    try:
        token = request.get_data(cache=False).decode("ascii").strip()
        take(current_app.config["DOORLIST"], transmitter, token, clock=now)
    except UnicodeDecodeError:
        return _refused(Fault.INVALID_REQUEST, "the body is no security event token")
    except BadEvent as error:
        log.warning("transmitter %s: refused a token: %s", transmitter.id, error)
        return _refused(error.fault, str(error))
    except ConnectorError as error:
        # Its keys are not to be had just now, or this one may be newer than they are: nothing was taken, so it has to come again.
        log.error("transmitter %s: %s", transmitter.id, error)
        return Response(status=503, headers={"Retry-After": "30"})
    return Response(status=202)


def _authorised(transmitter: Transmitter) -> bool:
    if transmitter.authorization_digest is None:
        # It was added as one that sends none: its signature is all there is.
        return True
    return hmac.compare_digest(digest_of(request.headers.get("Authorization", "")), transmitter.authorization_digest)


def _refused(fault: Fault, description: str, *, status: int = 400) -> Response:
    body = json.dumps({"err": fault, "description": description})
    return Response(body, status=status, content_type="application/json", headers={"Content-Language": "en", "Cache-Control": "no-store"})
