"""/userinfo: whom a good access token speaks for (OpenID Connect Core §5.3)."""

import json

from flask import Response, request

from app.access.issued import find_access_token
from app.clock import now
from app.database import reading
from app.directory.tables import Person
from app.sso.provider.id_tokens import claims_of
from app.sso.provider.server import NOT_KEPT


def bearer_of(header: str) -> str | None:
    """The token of an Authorization header (RFC 6750 §2.1). Nowhere else is one looked for: addresses are written down."""
    scheme, _, token = header.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def userinfo() -> Response:
    """GET or POST /userinfo."""
    at, token = now(), bearer_of(request.headers.get("Authorization", ""))
    with reading() as session:
        holder = None if token is None else find_access_token(session, token, at=at)
        person = None if holder is None else session.get(Person, (holder.organization_id, holder.person_id))
        if holder is None or person is None:
            # What is wrong is said only to those who showed something (RFC 6750 §3).
            more = "" if token is None else ', error="invalid_token", error_description="the token is unknown, over, or its holder may not enter"'
            return Response(status=401, headers={**NOT_KEPT, "WWW-Authenticate": f'Bearer realm="doorlist"{more}'})
        return Response(json.dumps(claims_of(person, " ".join(holder.scope))), headers=NOT_KEPT, content_type="application/json")
