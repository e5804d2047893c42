"""The API of devices: people's clients enrol, rotate, list and end them; push gateways ask whether and where they may push.

A person comes with an access token, a gateway with its secret, both as a bearer token (RFC 6750). Errors are problem JSON.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any, Final

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from app.access import devices
from app.access.callers import address_of_caller
from app.access.devices import NotEnrolled, PushTarget, TooManyDevices, UnusableDevice
from app.access.issued import Holder, find_access_token
from app.access.parties import find_gateway
from app.access.rates import Buckets
from app.access.sealing import KeyMissing
from app.access.session_tables import Device, RelyingParty
from app.clock import iso, now
from app.database import in_transaction, reading
from app.journal.tables import Lane
from app.revocation.telling import tell_parties
from app.sso.browser import settings_here
from app.sso.entering import refuse_while_closed
from app.sso.refusals import Refused

log = logging.getLogger(__name__)

devices_blueprint: Final = Blueprint("devices", __name__)
LARGEST: Final = 16 * 1024
_NOT_KEPT: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_wrong: Final = Buckets(rate=5, burst=100)
_writes: Final = Buckets(rate=1, burst=60)
_lists: Final = Buckets(rate=200, burst=2000)


class _Problem(Exception):
    """What is answered instead (RFC 9457)."""

    def __init__(self, status: int, title: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.title, self.headers = status, title, headers


def _answered(act: Callable[..., Response]) -> Callable[..., Response]:
    @wraps(act)
    def answer(**given: str) -> Response:
        try:
            return act(**given)
        except _Problem as error:
            return _problem(error.status, error.title, str(error), headers=error.headers)
        except UnusableDevice as error:
            return _problem(400, "Not understood", str(error))
        except TooManyDevices as error:
            return _problem(409, "Too many devices", str(error))
        except NotEnrolled:
            return _problem(404, "Unknown device", "you have no such device")
        except Refused as error:
            log.warning("no device is enrolled: %s", error)
            return _problem(503, "Not just now", "no device is enrolled just now; what is enrolled stays", headers={"Retry-After": "60"})
        except KeyMissing:
            return _problem(503, "Not ready", "the encryption key is missing; nothing was changed", headers={"Retry-After": "30"})

    return answer


@devices_blueprint.post("/devices")
@_answered
def enrol() -> Response:
    """Enrol the device that holds this token's grant. Twice is once: the second call describes it anew."""
    holder, settings = _person(), settings_here()
    _slow_down(_writes, holder.grant_id)
    draft = devices.draft_of(_body())

    def act(session: Session) -> tuple[dict[str, Any], bool]:
        if holder.device_id is None:
            refuse_while_closed(session, connection_id=None, at=now())
        try:
            device, is_new = devices.enrol(session, settings, holder, draft, at=now())
        except NotEnrolled:
            raise _unauthorised() from None
        return _shown(device, replace(holder, device_id=device.id)), is_new

    shown, is_new = in_transaction(act)
    return _said(201 if is_new else 200, shown, headers={"Location": f"/devices/{shown['id']}"})


@devices_blueprint.get("/devices")
@_answered
def list_own() -> Response:
    """A person's devices; push tokens are told to nobody but gateways."""
    holder = _person()
    with reading() as session:
        found = [_shown(one, holder) for one in devices.devices_of(session, holder.organization_id, holder.person_id, at=now())]
    return _said(200, {"devices": found})


@devices_blueprint.get("/devices/<device_id>")
@_answered
def show(device_id: str) -> Response:
    holder = _person()
    with reading() as session:
        found = devices.find(session, holder.organization_id, holder.person_id, _id(device_id), at=now())
        return _said(200, _shown(found, holder))


@devices_blueprint.patch("/devices/<device_id>")
@_answered
def change(device_id: str) -> Response:
    """Change what is given, the push token above all, and leave the rest; `push: null` takes it away."""
    body = _body()
    name, platform = (None if key not in body else devices.draft_of({"name": "-", key: body[key]}) for key in ("name", "platform"))
    push = devices.push_of(body.get("push"))
    return _change(device_id, name=name and name.name, platform=platform and platform.platform, push=push, keeps_push="push" not in body)


@devices_blueprint.put("/devices/<device_id>")
@_answered
def describe_anew(device_id: str) -> Response:
    """Describe a device anew, as `POST` does; what is left out is gone."""
    draft = devices.draft_of(_body())
    return _change(device_id, name=draft.name, platform=draft.platform, push=draft.push, keeps_push=False)


def _change(device_id: str, **changes: Any) -> Response:
    holder, settings = _person(), settings_here()
    _slow_down(_writes, holder.grant_id)
    shown = in_transaction(
        lambda session: _shown(devices.change(session, settings, holder, _id(device_id), at=now(), **changes), holder)
    )
    return _said(200, shown)


@devices_blueprint.delete("/devices/<device_id>")
@_answered
def end(device_id: str) -> Response:
    """End a device of one's own: its pushes first, then what it was granted."""
    holder = _person()

    def act(session: Session) -> None:
        at = now()
        # The token is looked at again in this transaction: it may have been ended since.
        if find_access_token(session, _bearer(), at=at) is None:
            raise _unauthorised()
        entry = devices.end_own(session, holder.organization_id, holder.person_id, _id(device_id), why="ended by its owner", at=at)
        tell_parties(session, holder.organization_id, holder.person_id, because=entry, at=at, lane=Lane.SYNC)

    in_transaction(act)
    return Response("", status=204, headers=_NOT_KEPT)


@devices_blueprint.post("/push/check")
@_answered
def check_push() -> Response:
    """May this gateway still send to this token? With `person`, to that person's registration of it alone."""
    body = _body()
    token, person = _text(body, "push_token", longest=devices.LONGEST_TOKEN), body.get("person")
    if person is not None:
        person = _text(body, "person", longest=400)
    settings, at = settings_here(), now()
    with reading() as session:
        gateway = _gateway(session)
        allowed = devices.may_push(session, settings, gateway, token, person=person, at=at)
    return _said(200, {"allowed": allowed})


@devices_blueprint.get("/push/people/<path:person>")
@_answered
def show_targets(person: str) -> Response:
    """Where a person may be pushed to now, by id or userName. Whoever is not there, or has left, has nothing: one answer for both."""
    settings, at = settings_here(), now()
    with reading() as session:
        gateway = _gateway(session)
        _slow_down(_lists, gateway.id)
        found = devices.targets_of(session, settings, gateway, person[:400], at=at)
    return _said(200, {"push": [_target(one) for one in found]})


@devices_blueprint.post("/push/gone")
@_answered
def gone() -> Response:
    """A push service says that a token is gone: APNs answered 410, FCM UNREGISTERED, a Web Push endpoint 404 or 410."""
    settings = settings_here()
    token = _text(_body(), "push_token", longest=devices.LONGEST_TOKEN)

    def act(session: Session) -> int:
        return devices.prune(session, settings, _gateway(session), token, at=now())

    return _said(200, {"pruned": in_transaction(act)})


def _bearer() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or len(token) > 500 or not token.isascii():
        raise _unauthorised()
    return token.strip()


def _person() -> Holder:
    token = _bearer()
    with reading() as session:
        holder = find_access_token(session, token, at=now())
    if holder is None:
        raise _unauthorised()
    return holder


def _gateway(session: Session) -> RelyingParty:
    gateway = find_gateway(session, _bearer(), at=now())
    if gateway is None:
        raise _unauthorised()
    return gateway


def _unauthorised() -> _Problem:
    # Counted by address, whoever it says it is: tokens are not guessed, but asking costs us a look-up.
    if wait := _wrong.take(address_of_caller()):
        return _Problem(429, "Too fast", "too many wrong tokens from this address", **{"Retry-After": str(int(wait) + 1)})
    challenge = {"WWW-Authenticate": 'Bearer realm="doorlist", error="invalid_token"'}
    return _Problem(401, "Not let in", "the token is missing, unknown, or no longer good", **challenge)


def _slow_down(buckets: Buckets, key: str) -> None:
    if wait := buckets.take(key):
        raise _Problem(429, "Too fast", "too many requests; try again a little later", **{"Retry-After": str(int(wait) + 1)})


def _id(said: str) -> str:
    # PostgreSQL cannot even be asked for a text with a NUL in it.
    if len(said) > 40 or not said.isprintable():
        raise NotEnrolled
    return said


def _body() -> Mapping[str, Any]:
    content = request.get_data(cache=True)
    if len(content) > LARGEST:
        raise _Problem(413, "Too large", f"send at most {LARGEST} bytes")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise _Problem(400, "Not understood", "the body is not JSON") from None
    if not isinstance(found, dict):
        raise _Problem(400, "Not understood", "the body is not a JSON object")
    return found


def _text(body: Mapping[str, Any], name: str, *, longest: int) -> str:
    said = body.get(name)
    if not isinstance(said, str) or not 0 < len(said) <= longest or not said.isprintable():
        raise _Problem(400, "Not understood", f"{name} is a text of 1 to {longest} characters")
    return said


def _shown(device: Device, holder: Holder) -> dict[str, Any]:
    return {
        "id": device.id, "name": device.name, "platform": device.platform, "push": device.push_kind, "client_id": device.client_id,
        "enrolled_at": iso(device.enrolled_at), "seen_at": iso(device.seen_at), "this": device.id == holder.device_id,
    }  # fmt: skip


def _target(target: PushTarget) -> dict[str, Any]:
    keys = {} if target.push.keys is None else {"keys": dict(target.push.keys)}
    return {
        "device_id": target.device_id, "person_id": target.person_id, "client_id": target.client_id, "kind": target.push.kind,
        "token": target.push.token, **keys,
    }  # fmt: skip


def _said(status: int, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status=status, headers={**_NOT_KEPT, **(headers or {})}, content_type="application/json")


def _problem(status: int, title: str, detail: str, *, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps({"type": "about:blank", "status": status, "title": title, "detail": detail})
    return Response(body, status=status, headers={**_NOT_KEPT, **(headers or {})}, content_type="application/problem+json")
