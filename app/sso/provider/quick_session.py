"""GET /session where all goes well, in one statement (two where groups give roles): the same bytes as the ordinary way gives (`app.sso.sign_in`)."""

import json
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, ClauseElement, and_, select

from app.access import quick
from app.bare.connection import Bare
from app.clock import iso, microseconds
from app.directory.heard import is_on
from app.directory.settings import role_groups, setting
from app.directory.tables import Group, Membership, Record
from app.lifecycle.roles import roles_among
from app.statements import param

HEADERS: Final = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]


async def quick_session(bare: Bare, secret: str, *, at: datetime) -> bytes | None:
    """Who is signed in by this cookie, as JSON; None leaves it to the ordinary way. Raises what the driver raises."""
    passing = await quick.by_cookie(bare, secret, client=None, at=at, about=True)
    if passing is None or passing.present is None or passing.about is None:
        return None
    here, about = passing.present, passing.about
    wanted = role_groups(setting(json.loads(about.settings), "role_groups"))
    asked = {"organization": here.organization_id, "person": here.person_id, "at": microseconds(at)}
    groups = [(row[0], row[1]) for row in await bare.rows(_groups(), asked)] if wanted else []
    shown: dict[str, Any] = {
        "person": {"id": here.person_id, "userName": passing.user_name, "displayName": here.display_name, "email": about.email},
        "organization": {"id": here.organization_id, "name": about.organization},
        "session": here.session_id, "connection": here.connection_id, "authenticated_at": iso(here.authenticated_at),
        "acr": here.acr, "amr": list(here.amr), "second_factor": here.strong, "break_glass": here.break_glass,
        "roles": [str(role) for role in roles_among(wanted, groups)],
        "since": iso(here.created_at), "until": iso(here.until), "idle_until": iso(here.idle_until), "expires_at": iso(here.expires_at),
    }  # fmt: skip
    return json.dumps(shown).encode()


@cache
def _groups() -> ClauseElement:
    """The groups of a person, as `roles_of` asks for them."""
    return (
        select(Group.id, Group.display_name_key)
        .join(Membership, and_(Membership.organization_id == Group.organization_id, Membership.group_id == Group.id))
        .join(Record, and_(Record.organization_id == Membership.organization_id, Record.id == Membership.record_id))
        .where(
            Group.organization_id == param("organization"), Record.person_id == param("person"), is_on(param("at", BigInteger())),
            Membership.ended_at.is_(None), Group.ended_at.is_(None),
        )
    )  # fmt: skip
