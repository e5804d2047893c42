"""/introspect: whether an access token is good at this very moment, and whose it is (RFC 7662)."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError, OAuth2Error
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from flask import Response, current_app, request

from app.access import quick
from app.access.closed import is_closed
from app.bare.connection import Bare
from app.bare.lent import asked_again
from app.clock import now
from app.database import in_transaction, reading
from app.sso.browser import settings_here
from app.sso.provider.clients import Asked, prove_client
from app.sso.provider.gate import CLIENT_ID
from app.sso.provider.server import NOT_KEPT
from app.sso.provider.tokens import refused, unproved


def introspect() -> Response:
    """POST /introspect. Of an access token of the asker's own organisation all is said, of anything else that it is not active."""
    at, url = now(), settings_here().public_url
    try:
        asked = Asked(request, public_url=url, in_form=True)
        with reading() as session:
            proven = prove_client(session, asked, audiences=(url, f"{url}/introspect", f"{url}/token"), endpoint="introspection", at=at)
            closed = is_closed(session)
        if "token" not in asked.form:
            raise InvalidRequestError("token is missing")
        if proven.assertion is not None:
            in_transaction(lambda session: proven.use_up(session, at=at))
    except InvalidClientError as error:
        return unproved(error)
    except OAuth2Error as error:
        return refused(error)
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # werkzeug's proxy has it
    found = None if closed else asked_again(app, lambda bare: quick.introspect(bare, proven.client.party.id, asked.form["token"], at=at))
    return Response(told({} if found is None else found.claims, url), headers=NOT_KEPT, content_type="application/json")


async def quick_introspect(bare: Bare, client_id: str | None, secret: str | None, token: str | None, *, at: datetime) -> Mapping[str, Any] | None:
    """What is said of a token to a client that proved itself with its secret; None leaves it to `introspect`. Raises what the driver raises."""
    if not client_id or not secret or not token or not CLIENT_ID.fullmatch(client_id):
        return None
    found = await quick.introspect(bare, client_id, token, at=at)
    return found.claims if found is not None and found.proves(secret, at=at) else None


def told(claims: Mapping[str, Any], url: str) -> bytes:
    """The answer; of a token that is not good it holds nothing else (RFC 7662 §2.2)."""
    return json.dumps({"active": True, "iss": url, **claims} if claims else {"active": False}).encode()
