"""Events that a receiver fetches (RFC 8936): each comes again until it is acknowledged, or refused with a reason."""

from http import HTTPStatus
from typing import Any, Final

from flask import Blueprint, Response, current_app
from sqlalchemy.orm import Session

from app.access.event_tokens import Told, signed_event
from app.access.keys import NoSigningKey
from app.access.sealing import KeyMissing
from app.clock import now
from app.database import in_transaction
from app.revocation import streams
from app.revocation.stream_tables import Delivery, Receiver, StreamStatus
from app.signals.receivers import Scope
from app.signals.stream_requests import StreamError, answer, body_here, invalid, own_stream, receiver_here, refuse
from app.signals.stream_routes import PATH

poll_routes = Blueprint("signals_poll", __name__)
poll_routes.register_error_handler(StreamError, refuse)

MOST: Final = 100
MOST_ANSWERED: Final = 1000
"""Acknowledgements and refusals in one request."""


@poll_routes.post(f"{PATH}/<stream_id>/events")
def fetch(stream_id: str) -> Response:
    """What waits, oldest first. The answer comes at once, also where nothing waits: `returnImmediately` is always taken for true."""
    receiver, body = receiver_here(Scope.READ), body_here()
    most, acknowledged, faults = _asked(body)
    try:
        return answer(in_transaction(lambda session: _fetched(session, receiver, stream_id, most=most, acknowledged=acknowledged, faults=faults)))
    except (KeyMissing, NoSigningKey) as error:
        raise StreamError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "nothing can be signed just now; nothing was lost") from error


def _fetched(
    session: Session, receiver: Receiver, stream_id: str, *, most: int, acknowledged: list[str], faults: dict[str, str]
) -> dict[str, Any]:
    at = now()
    stream = own_stream(session, receiver, stream_id)
    if stream.delivery != Delivery.POLL:
        raise invalid("the events of this stream are pushed")
    if acknowledged or faults:
        streams.settle(session, stream, acknowledged, refused=faults, at=at)
    # A stream that was stopped says that it was, and nothing of anybody.
    about = None if stream.status == StreamStatus.ENABLED else stream.id
    found = streams.waiting(session, stream, about=about, most=most + 1)
    sets: dict[str, str] = {}
    for event in found[:most]:
        told = Told(
            jti=event.id, audience=receiver.audience, issued_at=event.made_at, txn=event.txn, subject=event.subject, event=event.event, said=event.said
        )
        sets[event.id] = signed_event(session, current_app.config["DOORLIST"], told, algorithm=receiver.algorithm, at=at)
        event.sent_at = event.sent_at or at
    session.flush()
    return {"sets": sets, "moreAvailable": len(found) > most}


def _asked(body: dict[str, Any]) -> tuple[int, list[str], dict[str, str]]:
    most = body.get("maxEvents", MOST)
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        raise invalid("maxEvents must be a whole number from 0 on")
    acknowledged, faults = body.get("ack") or [], body.get("setErrs") or {}
    if not isinstance(acknowledged, list) or not all(_is_id(one) for one in acknowledged):
        raise invalid("ack must be a list of jti")
    if not isinstance(faults, dict) or not all(_is_id(jti) and isinstance(said, dict) for jti, said in faults.items()):
        raise invalid("setErrs must hold an object for each jti")
    if len(acknowledged) + len(faults) > MOST_ANSWERED:
        raise invalid(f"at most {MOST_ANSWERED} events are answered at a time")
    return min(most, MOST), acknowledged, {jti: _reason(said.get("err")) for jti, said in faults.items()}


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()


def _reason(said: object) -> str:
    # Words from outside, shown to an operator: kept short, and on one line.
    return said[:60] if isinstance(said, str) and said.isprintable() else "no reason given"
