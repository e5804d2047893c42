"""What receivers may ask of their stream: who they are, and what their bodies say (Shared Signals Framework 1.0 §8)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeGuard

from flask import Response, request
from sqlalchemy.orm import Session

from app.clock import now
from app.database import reading
from app.revocation.stream_tables import Delivery, Receiver, Stream
from app.signals.receivers import Scope, find_by_token, may, stream_of
from connectors.contract import Misconfigured
from connectors.visits import Visitor

METHODS: Final[Mapping[str, Delivery]] = {"urn:ietf:rfc:8935": Delivery.PUSH, "urn:ietf:rfc:8936": Delivery.POLL}
URNS: Final = {delivery: urn for urn, delivery in METHODS.items()}
LONGEST: Final = 1000
LONGEST_HEADER: Final = 4096
MOST_EVENTS: Final = 100


class StreamError(Exception):
    """What was asked is not done. The message is for the receiver, and repeats nothing that it sent."""

    def __init__(self, status: HTTPStatus, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code
        self.headers = dict(headers or {})


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a receiver wants its events: pushed to a URL, with the header that it asks for, or kept until it polls."""

    delivery: Delivery
    endpoint_url: str | None = None
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a body says of a stream. None is what it does not say."""

    place: Place | None = None
    events: tuple[str, ...] | None = None
    description: str | None = None


def answer(body: Any, status: int = HTTPStatus.OK) -> Response:
    """A JSON answer that nobody keeps."""
    return Response(json.dumps(body), status=status, content_type="application/json", headers={"Cache-Control": "no-store"})


def refuse(error: StreamError) -> Response:
    """The error as JSON."""
    refused = answer({"err": error.code, "description": str(error)}, error.status)
    refused.headers.update(error.headers)
    return refused


def receiver_here(scope: Scope) -> Receiver:
    """Who asks, by the token in the header; one in the query counts for nothing, since URLs are written down. Raises StreamError."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    receiver = None
    if scheme.lower() == "bearer" and token.strip():
        with reading() as session:
            receiver = find_by_token(session, token.strip(), at=now())
    if receiver is None:
        raise StreamError(
            HTTPStatus.UNAUTHORIZED, "authentication_failed", "a bearer token of a receiver is needed", headers={"WWW-Authenticate": "Bearer"}
        )
    if not may(receiver, scope):
        challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
        raise StreamError(HTTPStatus.FORBIDDEN, "access_denied", f"this needs the scope {scope}", headers=challenge)
    return receiver


def body_here() -> dict[str, Any]:
    """The JSON object that was sent. Raises StreamError."""
    if request.mimetype != "application/json":
        raise StreamError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "invalid_request", "send the body as application/json")
    try:
        said = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise invalid("the body is not JSON") from None
    if not isinstance(said, dict):
        raise invalid("the body must be an object")
    return said


def invalid(message: str) -> StreamError:
    """Something is wrong with what was sent."""
    return StreamError(HTTPStatus.BAD_REQUEST, "invalid_request", message)


def own_stream(session: Session, receiver: Receiver, stream_id: object) -> Stream:
    """The receiver's stream, where that is its id. Another's is as unknown as one that never was. Raises StreamError."""
    if not isinstance(stream_id, str) or not stream_id:
        raise invalid("stream_id must say which stream is meant")
    stream = stream_of(session, receiver)
    if stream is None or stream.id != stream_id:
        raise StreamError(HTTPStatus.NOT_FOUND, "not_found", "this receiver has no such stream")
    return stream


def wish_of(body: Mapping[str, Any], receiver: Receiver, *, issuer: str) -> Wish:
    """What a body says of a stream, checked. Raises StreamError."""
    for name, ours in (("iss", issuer), ("aud", receiver.audience)):
        # SSF 1.0 §8.1.1.3: what only the transmitter decides may be sent back, but not changed.
        if body.get(name, ours) not in (ours, [ours]):
            raise invalid(f"{name} is the transmitter's to say")
    events = body.get("events_requested")
    if events is not None and (not isinstance(events, list) or len(events) > MOST_EVENTS or not all(_is_text(one) for one in events)):
        raise invalid(f"events_requested must be a list of at most {MOST_EVENTS} URIs")
    description = body.get("description")
    if description is not None and not _is_text(description):
        raise invalid(f"description must be a text of 1 to {LONGEST} characters")
    place = None if body.get("delivery") is None else _place(body["delivery"], receiver)
    return Wish(place=place, events=None if events is None else tuple(dict.fromkeys(events)), description=description)


def check_ours(body: Mapping[str, Any], stands: Mapping[str, Any]) -> None:
    """What only the transmitter decides about a stream is as it stands, where it is sent back. Raises StreamError."""
    for name in ("events_supported", "events_delivered", "min_verification_interval"):
        if body.get(name) is not None and _unordered(body[name]) != _unordered(stands[name]):
            raise invalid(f"{name} is the transmitter's to say")


def _unordered(value: object) -> object:
    return set(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else value


def _place(said: object, receiver: Receiver) -> Place:
    method = said.get("method") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(method, str) or method not in METHODS:
        raise invalid(f"delivery.method is {' or '.join(METHODS)}")
    delivery = METHODS[method]
    if delivery is Delivery.POLL:
        return Place(delivery=delivery)
    url, header = said.get("endpoint_url"), said.get("authorization_header")
    if not _is_text(url):
        raise invalid("delivery.endpoint_url must be there for events to be pushed")
    if header is not None and (not isinstance(header, str) or not 0 < len(header) <= LONGEST_HEADER or not header.isascii() or not header.isprintable()):
        raise invalid("delivery.authorization_header must be the value of a header")
    try:
        Visitor(name="delivery.endpoint_url", allow_private=receiver.private_network).check(url)
    except Misconfigured as error:
        raise invalid(str(error)) from error
    return Place(delivery=delivery, endpoint_url=url, authorization=header)


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable()
