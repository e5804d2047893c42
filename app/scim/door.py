"""Who knocks at the SCIM door and what the request says besides its body: directory, address, selection, version."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import current_app, g, request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.tokens import SourceClient, find_source
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import in_transaction, reading
from app.scim.answers import Problem, SCIMError
from app.scim.bodies import read_object
from app.scim.resources import Selection

_JSON = ("application/scim+json", "application/json")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A directory's client: whose records it may see, at which base URL, and how its acts are journaled."""

    client: SourceClient
    base: str
    because: str

    @property
    def key(self) -> tuple[str, str]:
        """(organization_id, source_id)."""
        return self.client.organization_id, self.client.source_id

    def saying(self) -> dict[str, Any]:
        """`actor`, `at` and `because` of one act, for the verbs of lifecycle."""
        return {"actor": Actor(kind=ActorKind.SOURCE, name=self.client.source_name), "at": now(), "because": self.because}


def authenticate() -> None:
    """Let in who shows this directory's token. Raises SCIMError."""
    g.scim_client = _client_of(request.headers.get("Authorization", ""), g.scim_source_id)
    # PostgreSQL cannot even be asked for an id with a NUL in it.
    if "\0" in request.path:
        raise SCIMError(404, f"nothing is at {request.path[:200]!r}")


def _client_of(header: str, source_id: str) -> SourceClient:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise SCIMError(401, "send this directory's token as Authorization: Bearer TOKEN")
    with reading() as session:
        client = find_source(session, token.strip())
    # Another directory's token is answered as a wrong one: neither learns that the other exists.
    if client is None or client.source_id != source_id:
        raise SCIMError(401, "this token is not valid here: it is wrong, revoked or another directory's")
    return client


def caller() -> Caller:
    """Whose request this is; `authenticate` came first."""
    client: SourceClient = g.scim_client
    base = f"{current_app.config['DOORLIST'].public_url}/scim/v2/{client.source_id}"
    return Caller(client=client, base=base, because=f"SCIM {request.method}")


def body() -> dict[str, Any]:
    """The body as one JSON object. Raises SCIMError."""
    if request.mimetype and request.mimetype not in _JSON:
        raise SCIMError(415, f"send the body as {_JSON[0]} or {_JSON[1]}, not {request.mimetype}")
    return read_object(request.get_data(cache=False))


def selection() -> Selection:
    """What of a resource the query string asks for."""
    return Selection(request.args.get("attributes"), request.args.get("excludedAttributes"))


def expected_version() -> int | None:
    """The version that If-Match asks for (RFC 7644 §3.14). Raises SCIMError for one that never was ours."""
    return version_in(request.headers.get("If-Match", ""))


def version_in(text: str) -> int | None:
    """The number in an ETag of ours; None for any. Raises SCIMError for one that never was ours."""
    text = text.strip()
    if text in ("", "*"):
        return None
    number = text.removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise SCIMError(412, f"If-Match: {text[:40]} is no version of this resource")
    return int(number)


def written(act: Callable[[Session], Result]) -> Result:
    """One transaction. Where another one took the same name meanwhile, the second look says so in words."""
    try:
        return in_transaction(act)
    except IntegrityError:
        pass
    try:
        return in_transaction(act)
    except IntegrityError:
        raise SCIMError(409, "another request just took this name or id", problem=Problem.UNIQUENESS) from None
