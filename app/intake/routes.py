"""The HTTP door for HR calls. Errors are problem JSON (RFC 9457)."""

import json
import logging

from flask import Blueprint, Response, current_app, request
from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.rates import Buckets
from app.access.sealing import KeyMissing
from app.clock import now
from app.database import in_transaction, reading
from app.directory.settings import setting
from app.directory.tables import Source
from app.intake.call_parts import challenge_of
from app.intake.described import TooMany, description_of
from app.intake.described import hear as hear_described
from app.intake.description_types import SHIPPED, Description
from app.intake.hr import BadCall, BadSignature, read, receive, verify
from app.intake.hr_tables import HRSystem
from app.intake.schemes import Request
from app.intake.yaml_nodes import DescriptionError
from app.journal.tables import Organization
from app.lifecycle.sources import secrets_of
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from app.settings import Settings

log = logging.getLogger(__name__)
routes = Blueprint("intake", __name__)

# Asked for with every call, whoever sends it: in one statement, and built once.
_CALLERS = (
    select(Source, HRSystem, Organization.settings)
    .join(Organization, Organization.id == Source.organization_id)
    .outerjoin(HRSystem, (HRSystem.organization_id == Source.organization_id) & (HRSystem.source_id == Source.id))
    .where(Source.id == bindparam("id"), Source.kind == "hr", Source.ended_at.is_(None))
)


def problem(status: int, title: str, detail: str) -> Response:
    """An error as problem JSON."""
    body = json.dumps({"type": "about:blank", "status": status, "title": title, "detail": detail})
    return Response(body, status=status, content_type="application/problem+json")


# Whoever knows the address can cause this: people are told once, and the database is written to once a minute at most.
_told = Buckets(rate=1 / 60, burst=1)


def _tell(source: Source, why: str) -> None:
    if _told.take(source.id) == 0:
        in_transaction(
            lambda session: raise_alarm(
                session, source.organization_id, kind=AlarmKind.WEBHOOKS_REFUSED, about=source.id, sentence=f"Calls of {source.name} are refused: {why}.",
                at=now(),
            )
        )  # fmt: skip


@routes.get("/hr/<source_id>")
def prove(source_id: str) -> Response:
    """Some vendors try the address with a text in the query before they call it. Nothing else is told here."""
    source, system, _ = _found(source_id)
    if source is None:
        return problem(404, "Unknown address", "no HR system is connected at this address")
    try:
        description = None if system is None else description_of(system.description)
    except DescriptionError:
        description = None
    echo = None if description is None else challenge_of(description, _request(b""))
    if echo is None or description is None:
        answer = problem(405, "Method not allowed", "calls are sent with POST")
        answer.headers["Allow"] = "POST"
        return answer
    return _echo(description, echo)


@routes.post("/hr/<source_id>")
def hear(source_id: str) -> Response:
    """Take a signed HR call; 2xx once it is stored and, where its person is known, in force here."""
    body = request.get_data(cache=False)
    source, system, time_zone = _found(source_id)
    if source is None:
        return problem(404, "Unknown address", "no HR system is connected at this address")
    if system is not None:
        return _hear_described(source, system, _request(body), time_zone=time_zone)
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        secrets = secrets_of(source, settings=current_app.config["DOORLIST"])
        verify(body, headers, secrets)
    except KeyMissing:
        return problem(503, "Not ready", "the encryption key is missing; nothing was taken")
    except BadSignature as error:
        _tell(source, str(error))
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
        # The same call arrived twice at once, and the other one was first: now it is there, and its state is the answer.
        state = in_transaction(act)
    return _state(state)


def _found(source_id: str) -> tuple[Source | None, HRSystem | None, str]:
    with reading() as session:
        found = session.execute(_CALLERS, {"id": source_id}).first()
    if found is None:
        return None, None, "UTC"
    source, system, settings = found
    return source, system, setting(settings, "time_zone")


def _request(body: bytes) -> Request:
    """The call as descriptions read it. A name that stands in the query twice says nothing."""
    settings: Settings = current_app.config["DOORLIST"]
    return Request(
        method=request.method, headers={name.lower(): value for name, value in request.headers.items()}, body=body,
        query={name: values[0] for name, values in request.args.lists() if len(values) == 1},
        url=f"{settings.public_url}{request.full_path.removesuffix('?')}",
    )  # fmt: skip


def _hear_described(source: Source, system: HRSystem, call: Request, *, time_zone: str) -> Response:
    settings = current_app.config["DOORLIST"]
    try:
        description = description_of(system.description)
        heard = hear_described(settings, source, system, call, secrets_of(source, settings=settings), time_zone=time_zone, at=now())
    except KeyMissing:
        return problem(503, "Not ready", "the encryption key is missing; nothing was taken")
    except DescriptionError as error:
        log.error("source %s: its description cannot be read any more: %s", source.id, error)
        return problem(503, "Not ready", "how this is read has to be described anew here; nothing was taken")
    except BadSignature as error:
        _tell(source, str(error))
        return problem(401, "Signature refused", f"{error}; nothing was taken")
    except TooMany as error:
        answer = problem(429, "Too many calls", str(error))
        answer.headers["Retry-After"] = "60"
        return answer
    except BadCall as error:
        return problem(422, "Not understood", f"{error}; nothing was taken")
    except IntegrityError:
        # The same came at once so often that it was never seen to be there.
        return problem(503, "Busy", "the same call is being taken already; nothing was taken of this one")
    return _echo(description, heard.echo) if heard.echo is not None else _state(heard.state, description.answer)


def _echo(description: Description, text: str) -> Response:
    """The text by which a vendor tries our address, given back as it wants it; never as a page that a browser would show."""
    challenge = description.challenge
    assert challenge is not None
    guard = {"X-Content-Type-Options": "nosniff"}
    if challenge.place.startswith("header:"):
        safe = text if text.isascii() and text.isprintable() else ""
        return Response(status=200, headers={**guard, challenge.place.removeprefix("header:"): safe})
    if challenge.as_json:
        name = challenge.place.removeprefix("call:").rpartition(".")[2]
        return Response(json.dumps({name: text}), content_type="application/json", headers=guard)
    return Response(text, content_type="text/plain; charset=utf-8", headers=guard)


def _state(state: str, answer: int | None = None) -> Response:
    """What became of a call. `answer` is the status that a vendor takes for good, where it takes only one."""
    status = answer or (202 if state in ("parked", "received", "waiting", "awaited") else 200)
    return Response(None if status == 204 else json.dumps({"state": state}), status=status, content_type="application/json")


@routes.get("/hr/schemas/<name>")
def schema(name: str) -> Response:
    """The JSON Schema of our own format, for whoever writes a sender."""
    path = SHIPPED / name
    if not name.endswith(".schema.json") or path not in SHIPPED.glob("*.schema.json"):
        return problem(404, "Unknown address", "there is no such schema")
    return Response(path.read_text(), content_type="application/schema+json")
