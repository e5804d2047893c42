"""What stands of a group after an act that gives nothing of it."""

from contextlib import suppress

from sqlalchemy.exc import DBAPIError

from app.database import reading
from app.lifecycle.errors import NotFound
from app.lifecycle.groups import read_group
from app.scim import acts
from app.scim.door import Caller
from app.scim.resources import Resource
from app.scim.selection import Selection


def group_now(who: Caller, group_id: str, selection: Selection) -> Resource | None:
    """The group as it is answered, in its *current* version, whoever made that. None where it cannot be read: what was done is done."""
    with suppress(NotFound, DBAPIError), reading() as session:
        return acts.groups_shown(session, who, [read_group(session, *who.key, group_id)], selection)[0]
    return None
