"""Sentences about one request that was seen: what happened, and what somebody may do about it. Pure."""

import re
import shlex
from ast import literal_eval
from contextlib import suppress
from dataclasses import dataclass

from app.access.clients import Way, to_renew
from app.audit.request_tables import RequestSeen
from app.scim.bulk import MAX_PAYLOAD
from app.scim.teller import is_search

_DID = {"POST": "create", "PUT": "change", "PATCH": "change", "DELETE": "delete", "GET": "read", "HEAD": "look at"}
_DONE = {
    "create": "created", "change": "changed", "delete": "deleted", "read": "read", "look at": "looked at", "look for": "looked for", "send": "sent",
}  # fmt: skip
_LOOKED_FOR = {"User": "users", "Group": "groups"}
# Our own sentences, in which Python quotes a text.
_TAKEN = re.compile(r"""externalId ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*") belongs""")
_LIMIT = re.compile(r"(?:larger than|maxPayloadSize of) (\d{1,18}) bytes")
_MAPPING = "Mend the attribute mapping in the identity provider; nothing was written here."
_ASKED_FOR = "An access token is good for an hour: let the identity provider ask for another one at the token URL."
_UNKNOWN_MEMBERS = (
    "Let the directory push these people first, and then the group again; groups are no members here. Does it remember ids from before it was "
    "connected anew, clear its cache of ids. Nothing was written here."
)
_ASKED_WRONGLY = frozenset({"invalidPath", "invalidValue", "invalidCount"})
_MEND_WHAT_IS_ASKED = "Mend what the client asks with: the answer names the part that cannot be asked. A look-up writes nothing."
_BY_PROBLEM = {
    "invalidFilter": "Mend the attribute by which the identity provider looks people up (its matching attribute); it must be one that the filter can name.",
    "invalidPath": _MAPPING,
    "invalidValue": "Mend the value in the directory, or its attribute mapping in the identity provider; nothing was written here.",
    "mutability": _MAPPING,
    "noTarget": _MAPPING,
    "invalidSyntax": "The body was no SCIM; that is for whoever makes the client. Nothing was written here.",
    "invalidCursor": "The directory's listing begins again by itself.",
    "expiredCursor": "The directory's listing begins again by itself.",
}
_BY_STATUS = {
    405: "That is no address of a resource: check the base URL in the identity provider.",
    412: "Something else changed it in between. The directory reads it again and sends again.",
    429: "It came faster than DOORLIST_SCIM_RATE allows, and comes again by itself. Raise that setting where it is too slow.",
    500: "This is a fault of Doorlist itself: look for the reference in the log.",
    501: "This is not offered here: turn it off in the identity provider.",
    503: "The database did not answer just then. The directory sends again.",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What stands around a request: the names by which people know its source and whom it is about."""

    source: str
    base_url: str
    subject: str
    standing: str | None
    """`ada is active: the directory says so`, where the person is known."""
    error: str | None
    """What the request was refused with, as far as whoever asks may know it."""
    held: str | None = None
    """The digest of what is held, where this person is in it."""
    is_here: bool = False
    """Whether the person has access today."""
    way: Way = Way.BEARER
    """How the source gets in."""


def what_happened(row: RequestSeen, around: Circumstances) -> str:
    """One sentence, or two with how the person stands today."""
    did, what = _deed(row, around)
    times = f", {row.times} times at once" if row.times > 1 else ""
    if row.status >= 400:
        problem = f" {row.scim_type}" if row.scim_type else ""
        why = f": {around.error}" if around.error else ""
        if not row.known:
            return f"Somebody came to the address of {around.source} and was turned away{times} with {row.status}{problem}{why}."
        return f"{around.source} tried to {did} {what} and was refused{times} with {row.status}{problem}{why}."
    return f"{_of_success(row, around)}{f' Today {around.standing}.' if around.standing else ''}"


def _deed(row: RequestSeen, around: Circumstances) -> tuple[str, str]:
    """What it was to do, and with what: not every POST creates something."""
    if _is_search(row):
        return "look for", row.name or _LOOKED_FOR.get(row.resource_type or "", "users and groups")
    if row.method == "POST" and row.resource_type == "Bulk":
        return "send", "a Bulk"
    return _DID.get(row.method, row.method), around.subject


def _is_search(row: RequestSeen) -> bool:
    return row.method == "POST" and is_search(row.path)


def _of_success(row: RequestSeen, around: Circumstances) -> str:
    if row.resource_type == "Bulk":
        return f"{around.source} sent a Bulk; each of its operations is a request of its own in the list."
    if row.found is not None:
        asked = f"for {row.name}" if row.name else "for a list"
        return f"{around.source} asked {asked} and found {row.found or 'nobody' if row.name else row.found}."
    did, what = _deed(row, around)
    touched = f" ({', '.join(row.attributes)})" if row.attributes and did == "change" else ""
    return f"{around.source} {_DONE.get(did, did)} {what}{touched}."


def what_to_do(row: RequestSeen, around: Circumstances) -> str | None:
    """What helps, for whoever runs the directory; None where nothing is wrong."""
    if row.status < 400:
        if around.held is not None and _takes_access(row):
            return f"That their access is taken waits behind the brake, for an admin: doorlist held show {around.held}"
        if row.found == 0 and row.name:
            return "A directory that finds nobody creates them next: look for its POST. Where none came, they are not assigned to this application there."
        return None
    if row.status == 401 or (row.status == 429 and not row.known):
        return _of_no_token(around)
    if row.status == 404 and (not row.known or row.resource_id is None):
        return f"Enter this base URL in the identity provider: {around.base_url}"
    if row.status == 404 and row.method == "DELETE" and around.is_here:
        return f"{around.source} has no such resource, but the person is here by another directory or voice: look with 'doorlist person show', and take the access there."
    if row.status == 404 and row.method == "DELETE":
        return "It is gone already, as the directory wants it: nothing is left to be done."
    if row.status == 404:
        again = "Unlink and push the group" if row.resource_type == "Group" else "Unassign and assign them"
        return f"The directory remembers an id that is not here, or no longer. {again} there once, so that it looks for it and creates it anew."
    if row.status == 409 and row.scim_type == "invalidValue":
        return "Mend the operation of the Bulk that it refers to, then send what is missing. What the answer calls created is there: it is changed, not created again."
    if row.status == 409 and "stays switched off" not in (row.error or ""):
        return f"Another resource of {around.source} has this name or id, or had it a moment ago. {_find(row, around)}provision again."
    if row.status == 413:
        return _of_too_large(row)
    if row.status == 415:
        return _of_wrong_kind(row)
    if row.status == 409:
        return "Do what the answer says: where the access was taken, it has to be given back first."
    if row.status == 400 and row.scim_type in _ASKED_WRONGLY and (row.method in ("GET", "HEAD") or _is_search(row)):
        return _MEND_WHAT_IS_ASKED
    if row.scim_type == "invalidValue" and (row.error or "").startswith("members: unknown members: "):
        return _UNKNOWN_MEMBERS
    return _BY_PROBLEM.get(row.scim_type or "") or _BY_STATUS.get(row.status) or "Do what the answer says; nothing was written here."


def _of_no_token(around: Circumstances) -> str:
    command = to_renew(around.way, around.source)
    match around.way:
        case Way.BEARER:
            return f"Enter the token of {around.source} anew in the identity provider, or another: {command}"
        case Way.SECRET:
            return f"{_ASKED_FOR} Where it gets none, give it another secret: {command}"
        case Way.SIGNED:
            return f"{_ASKED_FOR} Where it gets none, give its keys anew: {command}"


def _takes_access(row: RequestSeen) -> bool:
    return row.method == "DELETE" or "active" in row.attributes


def _of_too_large(row: RequestSeen) -> str:
    limit = _LIMIT.search(row.error or "")
    # The smaller one of two limits is named, and of a Bulk the other is no setting.
    if limit is not None and (row.resource_type != "Bulk" or int(limit.group(1)) < MAX_PAYLOAD):
        return "Send less at once, or allow larger bodies with DOORLIST_BODY_LIMIT."
    return "Send it in several requests; no setting allows more at once."


def _of_wrong_kind(row: RequestSeen) -> str:
    said = row.error or ""
    if said.startswith("send the body as it is"):
        return "The client must send its bodies as they are: turn off that it packs them."
    if said.startswith("send the body in UTF-8"):
        return "The client must send its bodies in UTF-8, and say so or nothing."
    return "The client must send application/scim+json or application/json."


def _find(row: RequestSeen, around: Circumstances) -> str:
    """How to find the other one, up to what is to be done then."""
    if row.resource_type != "User":
        return "Rename or delete one of the two in the directory, then "
    taken = _TAKEN.search(row.error or "")
    who = row.name or around.subject
    if taken is not None:
        # What was masked in it may have cut an escape in two.
        with suppress(SyntaxError, ValueError):
            who = str(literal_eval(taken.group(1)))
    return f"Find it: doorlist requests list --person {shlex.quote(who)}. Rename or delete one of the two in the directory, then "
