"""The transmitter's own doors (Shared Signals Framework 1.0 §8): a receiver sets up its stream, reads it, pauses it and ends it.

Whatever a receiver names, it is looked for among its own: ids of another's streams, and of people, are answered like none.
"""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from flask import Blueprint, Response, current_app, request
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.sealing import KeyMissing, seal
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.directory.tables import Person, Standing
from app.journal import entries
from app.journal.tables import Lane
from app.revocation import streams
from app.revocation.stream_tables import Delivery, Receiver, Stream, StreamStatus, StreamSubject
from app.settings import Settings
from app.signals.receivers import Scope, stream_of
from app.signals.stream_requests import (
    LONGEST,
    URNS,
    Place,
    StreamError,
    Wish,
    answer,
    body_here,
    check_ours,
    invalid,
    own_stream,
    receiver_here,
    refuse,
    wish_of,
)
from app.signals.subjects import BadSubject, read_subject
from app.signals.whom import One, find
from app.signals.whom import Scope as Whose

stream_routes = Blueprint("signals_streams", __name__)
stream_routes.register_error_handler(StreamError, refuse)

PATH: Final = "/signals/streams"
STATUS_PATH: Final = f"{PATH}/status"
ADD_PATH: Final = f"{PATH}/add-subject"
REMOVE_PATH: Final = f"{PATH}/remove-subject"
VERIFY_PATH: Final = f"{PATH}/verify"
VERIFY_EVERY: Final = timedelta(seconds=30)


def _settings() -> Settings:
    settings = current_app.config["DOORLIST"]
    assert isinstance(settings, Settings)
    return settings


@stream_routes.post(PATH)
def create() -> Response:
    """A new stream; 409 where the receiver has one, since each has one at a time."""
    receiver, body, at = receiver_here(Scope.MANAGE), body_here(), now()
    wish = wish_of(body, receiver, issuer=_settings().public_url)
    taken = StreamError(HTTPStatus.CONFLICT, "already_exists", "this receiver has a stream; change it, or end it first")

    def act(session: Session) -> dict[str, Any]:
        if stream_of(session, receiver) is not None:
            raise taken
        stream = Stream(
            organization_id=receiver.organization_id, id=new_id(), receiver_id=receiver.id, status=StreamStatus.ENABLED, delivery=Delivery.POLL,
            events_requested=list(wish.events or ()), description=wish.description, created_at=at, changed_at=at,
        )  # fmt: skip
        _move(stream, wish.place or Place(delivery=Delivery.POLL))
        session.add(stream)
        _journal(session, receiver, stream, "signal stream created", at=at)
        session.flush()
        return shown(stream, receiver)

    try:
        return answer(in_transaction(act), HTTPStatus.CREATED)
    except IntegrityError:
        # Two of its requests came at once; the other one was first.
        raise taken from None


@stream_routes.get(PATH)
def read() -> Response:
    """The stream of that id; without an id, all that the receiver has, which is one or none."""
    receiver = receiver_here(Scope.READ)
    with reading() as session:
        if "stream_id" in request.args:
            return answer(shown(own_stream(session, receiver, request.args["stream_id"]), receiver))
        stream = stream_of(session, receiver)
        return answer([] if stream is None else [shown(stream, receiver)])


@stream_routes.patch(PATH)
def change() -> Response:
    """Change what the body names, and nothing else."""
    return _changed(whole=False)


@stream_routes.put(PATH)
def replace() -> Response:
    """Make the stream what the body says; what it leaves out is as if it had never been said."""
    return _changed(whole=True)


def _changed(*, whole: bool) -> Response:
    receiver, body, at = receiver_here(Scope.MANAGE), body_here(), now()
    wish = wish_of(body, receiver, issuer=_settings().public_url)
    if whole:
        wish = Wish(place=wish.place or Place(delivery=Delivery.POLL), events=wish.events or (), description=wish.description)

    def act(session: Session) -> dict[str, Any]:
        stream = own_stream(session, receiver, body.get("stream_id"))
        check_ours(body, shown(stream, receiver))
        if wish.place is not None and (whole or not _is_there(stream, wish.place)):
            _move(stream, wish.place)
        if wish.events is not None:
            stream.events_requested = list(wish.events)
        if wish.description is not None or whole:
            stream.description = wish.description
        stream.changed_at, stream.failures, stream.retry_at = at, 0, None
        _journal(session, receiver, stream, "signal stream changed", at=at)
        session.flush()
        if stream.status == StreamStatus.ENABLED:
            streams.resume(session, stream, at=at)
        return shown(stream, receiver)

    return answer(in_transaction(act))


@stream_routes.delete(PATH)
def remove() -> Response:
    """End the stream; what waits is dropped."""
    receiver, at = receiver_here(Scope.MANAGE), now()

    def act(session: Session) -> None:
        stream = own_stream(session, receiver, request.args.get("stream_id"))
        dropped = streams.end_stream(session, stream, at=at)
        _journal(session, receiver, stream, "signal stream ended", dropped=dropped, at=at)

    in_transaction(act)
    return Response(status=HTTPStatus.NO_CONTENT)


@stream_routes.get(STATUS_PATH)
def read_status() -> Response:
    """Whether the stream is enabled, paused or disabled, and why."""
    receiver = receiver_here(Scope.READ)
    with reading() as session:
        return answer(_status(own_stream(session, receiver, request.args.get("stream_id"))))


@stream_routes.post(STATUS_PATH)
def set_status() -> Response:
    """Enable, pause or disable the stream."""
    receiver, body, at = receiver_here(Scope.MANAGE), body_here(), now()
    if "subject" in body:
        # Drafts had it. Left unread, what was meant for one person would stop the stream for everybody.
        raise invalid("a status is the whole stream's; single people are added and removed")
    reason = body.get("reason")
    if reason is not None and (not isinstance(reason, str) or len(reason) > LONGEST or not reason.isprintable()):
        raise invalid(f"reason must be a text of at most {LONGEST} characters")
    try:
        status = StreamStatus(str(body.get("status")))
    except ValueError:
        raise invalid(f"status is {', '.join(StreamStatus)}") from None

    def act(session: Session) -> dict[str, Any]:
        stream = own_stream(session, receiver, body.get("stream_id"))
        dropped = streams.change_status(session, stream, status, reason, at=at)
        _journal(session, receiver, stream, "signal stream changed", dropped=dropped, at=at)
        return _status(stream)

    return answer(in_transaction(act))


@stream_routes.post(ADD_PATH)
def add_subject() -> Response:
    """Hear of this subject, as of everybody from the beginning; 200 whether or not there is such a person."""
    _set_subject(removed=False)
    return Response(status=HTTPStatus.OK, headers={"Cache-Control": "no-store"})


@stream_routes.post(REMOVE_PATH)
def remove_subject() -> Response:
    """Hear no more of this subject; 204 whether or not there is such a person."""
    _set_subject(removed=True)
    return Response(status=HTTPStatus.NO_CONTENT)


def _set_subject(*, removed: bool) -> None:
    receiver, body, at = receiver_here(Scope.MANAGE), body_here(), now()
    issuer = _settings().public_url
    try:
        subject = read_subject(body.get("subject"))
    except BadSubject as error:
        raise invalid(str(error)) from error

    def act(session: Session) -> None:
        stream = own_stream(session, receiver, body.get("stream_id"))
        whom = find(session, subject, Whose(organization_id=receiver.organization_id, issuer=issuer, issuers=frozenset({issuer}), ours=issuer))
        if not isinstance(whom, One):
            return
        key = (stream.organization_id, stream.id, whom.person_id)
        known = session.get(StreamSubject, key)
        if known is None:
            known = StreamSubject(organization_id=stream.organization_id, stream_id=stream.id, person_id=whom.person_id, told_disabled=False)
            session.add(known)
        was, known.removed = bool(known.removed), removed
        session.flush()
        person = session.get(Person, (receiver.organization_id, whom.person_id))
        if was and not removed and person is not None and person.standing != Standing.ACTIVE:
            # What happened while it did not want to hear of them still stands.
            streams.tell(session, receiver.organization_id, whom.person_id, issuer=issuer, lane=Lane.SYNC, at=at)

    in_transaction(act)


@stream_routes.post(VERIFY_PATH)
def verify() -> Response:
    """Put a verification event on the stream, with the state that the receiver said (SSF 1.0 §8.1.4.2)."""
    receiver, body, at = receiver_here(Scope.READ), body_here(), now()
    state = body.get("state")
    if state is not None and (not isinstance(state, str) or len(state) > LONGEST or not state.isprintable()):
        raise invalid(f"state must be a text of at most {LONGEST} characters")

    def act(session: Session) -> None:
        stream = own_stream(session, receiver, body.get("stream_id"))
        if stream.status == StreamStatus.DISABLED:
            raise invalid("the stream is disabled")
        if not _may_verify(session, stream, at=at):
            raise StreamError(
                HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", f"once in {VERIFY_EVERY.seconds} seconds is enough",
                headers={"Retry-After": str(VERIFY_EVERY.seconds)},
            )  # fmt: skip
        streams.say_of_stream(session, stream, streams.VERIFICATION, {} if state is None else {"state": state}, at=at)

    in_transaction(act)
    return Response(status=HTTPStatus.NO_CONTENT)


def _may_verify(session: Session, stream: Stream, *, at: datetime) -> bool:
    free = Stream.verified_at.is_(None) | (Stream.verified_at <= at - VERIFY_EVERY)
    done = session.execute(
        update(Stream)
        .where(Stream.organization_id == stream.organization_id, Stream.id == stream.id, free)
        .values(verified_at=at)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class


def _is_there(stream: Stream, place: Place) -> bool:
    """Whether this is where the stream is, and says nothing new of it. The header is not shown, so who sends back what they read cannot say it."""
    return place.authorization is None and (place.delivery, place.endpoint_url) == (stream.delivery, stream.endpoint_url)


def _move(stream: Stream, place: Place) -> None:
    stream.delivery, stream.endpoint_url = place.delivery, place.endpoint_url
    try:
        stream.sealed_authorization = None if place.authorization is None else seal(_settings(), place.authorization)
    except KeyMissing as error:
        raise StreamError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "the header cannot be sealed just now; nothing was changed") from error


def shown(stream: Stream, receiver: Receiver) -> dict[str, Any]:
    """A stream as its receiver reads it. The header that events are pushed with is not shown again."""
    url = _settings().public_url
    endpoint = stream.endpoint_url if stream.delivery == Delivery.PUSH else f"{url}{PATH}/{stream.id}/events"
    return {
        "stream_id": stream.id, "iss": url, "aud": receiver.audience, "events_supported": list(streams.SUPPORTED),
        "events_requested": stream.events_requested,
        "events_delivered": [one for one in streams.SUPPORTED if not stream.events_requested or one in stream.events_requested],
        "delivery": {"method": URNS[Delivery(stream.delivery)], "endpoint_url": endpoint},
        "min_verification_interval": VERIFY_EVERY.seconds,
        **({} if stream.description is None else {"description": stream.description}),
    }  # fmt: skip


def _status(stream: Stream) -> dict[str, Any]:
    return {"stream_id": stream.id, "status": stream.status, **({} if stream.status_reason is None else {"reason": stream.status_reason})}


def _journal(session: Session, receiver: Receiver, stream: Stream, verb: str, *, dropped: int = 0, at: datetime) -> None:
    entries.write(
        session, receiver.organization_id, at=at, actor=Actor(kind=ActorKind.SOURCE, name=receiver.name), verb=verb, because="its receiver asked",
        subject_kind="signal stream", subject_id=stream.id,
        after={"status": stream.status, "delivery": stream.delivery, "events": stream.events_requested, "dropped": dropped},
    )  # fmt: skip
