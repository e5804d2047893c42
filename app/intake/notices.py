"""The HTTP door for sources that say *something changed*: Okta's event hooks and Microsoft Graph's change notifications.

What they say is never acted on, only that they speak: the source is pulled at once, and what counts is read there. What proves
them is a secret made from the installation's key, so that none has to be kept.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from flask import Blueprint, Response, current_app, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.sealing import KeyMissing, derived_key
from app.clock import iso, now, parse_instant
from app.database import in_transaction, reading
from app.directory.tables import Source
from app.intake import pull_state
from app.intake.pulling import Opening, open_source_of
from app.intake.routes import problem
from app.lifecycle.pulled_tables import SourceState
from app.lifecycle.sources import find_source
from app.settings import Settings
from connectors.contract import Missing, Refused, Secret, Unauthorised
from connectors.sources.entra import Entra
from connectors.sources.entra_notices import Notices, answer_validation, read_notices
from connectors.sources.okta_hooks import CHALLENGE, answer_challenge, read_events

routes = Blueprint("notices", __name__)

NOTIFYING: Final = ("okta", "entra")
RESOURCES: Final = ("users", "groups")
LASTS: Final = timedelta(days=20)
"""Graph lets a subscription to people last 29 days at most."""


@dataclass(frozen=True, kw_only=True)
class Hook:
    """Where a source is to call, and with what. `ends_at` is when its subscriptions end that are not renewed."""

    url: str
    secret: str
    ends_at: datetime | None = None


def address_of(settings: Settings, source: Source) -> str:
    return f"{settings.public_url}/sources/{source.id}/events"


def secret_of(settings: Settings, source: Source) -> Secret:
    """What this source proves itself with. Raises KeyMissing."""
    said = f"{source.organization_id} {source.id}".encode()
    digest = hmac.new(derived_key(settings, "notices of sources"), said, hashlib.sha256).digest()
    return Secret(base64.urlsafe_b64encode(digest).decode().rstrip("="))


class _Anyone(Mapping[str, Secret]):
    """The same client state for every subscription: each was made with it, and only Graph was told."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    def __getitem__(self, subscription: str) -> Secret:
        return self._secret

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _found(source_id: str) -> Source | None:
    with reading() as session:
        return session.scalar(select(Source).where(Source.id == source_id, Source.kind.in_(NOTIFYING), Source.ended_at.is_(None)))


@routes.get("/sources/<source_id>/events")
def prove(source_id: str) -> Response:
    """Okta asks once whether the address is ours."""
    source = _found(source_id)
    if source is None or source.kind != "okta":
        return problem(404, "Not found", "there is no event hook at this address")
    try:
        answer = answer_challenge(request.headers.get(CHALLENGE, ""))
    except Refused as error:
        return problem(400, "No challenge", str(error))
    return Response(json.dumps(answer), content_type="application/json")


@routes.post("/sources/<source_id>/events")
def hear(source_id: str) -> Response:
    """Something changed there: the source is pulled at once. 2xx as soon as that is written down."""
    source = _found(source_id)
    if source is None:
        return problem(404, "Not found", "there is no source at this address")
    if source.kind == "entra" and "validationToken" in request.args:
        try:
            said = answer_validation(request.args["validationToken"])
        except Refused as error:
            return problem(400, "No validation token", str(error))
        return Response(said, content_type="text/plain; charset=utf-8", headers={"X-Content-Type-Options": "nosniff"})
    body = request.get_data(cache=False)
    try:
        secret = secret_of(current_app.config["DOORLIST"], source)
    except KeyMissing:
        return problem(503, "Not ready", "the encryption key is missing; nothing was taken")
    told = Notices(changed=frozenset(), missed=False, expiring=frozenset(), ended=frozenset())
    try:
        if source.kind == "okta":
            read_events(body, authorization=request.headers.get("Authorization"), secret=secret)
        else:
            told = read_notices(body, client_states=_Anyone(secret))
    except Unauthorised as error:
        return problem(401, "Not from this source", str(error))
    except Refused as error:
        return problem(400, "Cannot be read", str(error))
    in_transaction(lambda session: _wake(session, source, told, at=now()))
    return Response(status=202)


def _wake(session: Session, source: Source, told: Notices, *, at: datetime) -> None:
    """Its turn is now (`pull_state.due`). Where notices were lost, the whole listing's is."""
    state = _state(session, source)
    state.woken_at = at
    if told.missed:
        state.full_at = None
    if state.subscriptions:
        # One that Graph wants to be renewed at once ends for us now: the pull that follows renews it.
        kept = {key: until for key, until in state.subscriptions.items() if key not in told.ended}
        state.subscriptions = {key: iso(at) or "" if key in told.expiring else until for key, until in kept.items()}


def _state(session: Session, source: Source) -> SourceState:
    state = session.get(SourceState, (source.organization_id, source.id), with_for_update=True)
    if state is None:
        state = SourceState(organization_id=source.organization_id, source_id=source.id, failures=0)
        session.add(state)
    return state


def begin(settings: Settings, organization_id: str, name: str, *, at: datetime, opening: Opening = open_source_of) -> Hook:
    """Have a source call us. With Okta somebody enters address and secret there; Graph is asked for subscriptions here.

    Raises NotFound, Refused where the kind of source calls nobody, KeyMissing, ConnectorError.
    """
    with reading() as session:
        source = find_source(session, organization_id, name)
    if source.kind not in NOTIFYING:
        how = "it is pulled as scheduled" if source.kind in pull_state.PULLED else "it is not pulled, and speaks by itself"
        raise Refused(f"{name}: a source of kind {source.kind} tells nobody when something changed; {how}")
    url, secret = address_of(settings, source), secret_of(settings, source)
    if source.kind == "okta":
        return Hook(url=url, secret=secret.reveal())
    until = at + LASTS
    entra = cast(Entra, opening(settings, source))
    made = {entra.subscribe(resource=resource, to=url, client_state=secret, until=until): (iso(until) or "") for resource in RESOURCES}
    in_transaction(lambda session: _subscribed(session, source, made, at=at))
    return Hook(url=url, secret="", ends_at=until)


def renew(settings: Settings, organization_id: str, name: str, *, at: datetime, opening: Opening = open_source_of) -> bool:
    """Make subscriptions last longer that would end soon; one that has ended is made anew. Returns whether anything was asked for."""
    with reading() as session:
        source = find_source(session, organization_id, name)
        state = session.get(SourceState, (organization_id, source.id))
    kept = state.subscriptions if state is not None else None
    if source.kind != "entra" or kept is None:
        return False
    if len(kept) == len(RESOURCES) and all(parse_instant(until) > at + pull_state.RENEWED for until in kept.values()):
        return False
    until = at + LASTS
    entra = cast(Entra, opening(settings, source))
    try:
        if len(kept) < len(RESOURCES):
            raise Missing("one has ended")
        for subscription in kept:
            entra.renew(subscription, until=until)
    except Missing:
        begin(settings, organization_id, name, at=at, opening=opening)
        return True
    renewed = {subscription: iso(until) or "" for subscription in kept}
    in_transaction(lambda session: _subscribed(session, source, renewed, at=at))
    return True


def _subscribed(session: Session, source: Source, until: dict[str, str], *, at: datetime) -> None:
    state = _state(session, source)
    state.subscriptions = until
    if pull_state.schedule_of(source).every is None and state.woken_at is None:
        state.next_at = pull_state.turn_of_hook(state, at=at)
