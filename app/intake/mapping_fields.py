"""What an expression can name of a person, so that a slip of the pen is a sentence at once and no attribute that silently stays empty."""

from collections.abc import Mapping
from typing import Any, Final

from app.directory.vocabulary import ENTERPRISE, ENTERPRISE_URN, USER, Attribute, Kind

SUBJECT: Final = "person"
DOCUMENT: Final = "document"
BESIDE: Final = ("key", "userName", "externalId", "state", "active", "startsAt", "endsAt")
"""What stands beside the SCIM document."""
FIELDS: Final = (DOCUMENT, *BESIDE)
# They stand beside the document, or are ours to say.
_NOT_IN_A_DOCUMENT: Final = frozenset({"userName", "active", "groups", "password"})
_IN_A_DOCUMENT: Final = {one.name: one for one in USER.values() if one.name not in _NOT_IN_A_DOCUMENT}
_EXTENSION: Final = {one.name: one for one in ENTERPRISE.values()}


def problem_of(path: tuple[str, ...]) -> str | None:
    """Why nobody has anything at this path; None where somebody may. Of schemas that are not SCIM's own, everything may be there."""
    name, *inner = path
    if name not in FIELDS:
        return f"{SUBJECT} has no {name}; it has {', '.join(FIELDS)}"
    if name != DOCUMENT or not inner or inner[0] == "schemas":
        return None
    top, *rest = inner
    if ":" not in top:
        return _unknown(_IN_A_DOCUMENT, inner, f"{SUBJECT}.{DOCUMENT}", beside=top if top in BESIDE else None)
    if top == ENTERPRISE_URN:
        return _unknown(_EXTENSION, rest, f"the schema {ENTERPRISE_URN}") if rest else None
    return f"this schema is written {ENTERPRISE_URN}" if top.lower() == ENTERPRISE_URN.lower() else None


def _unknown(known: Mapping[str, Attribute], names: list[str], where: str, *, beside: str | None = None) -> str | None:
    name, *inner = names
    attribute = known.get(name)
    if attribute is None:
        if beside is not None:
            return f"it is written {SUBJECT}.{beside}"
        meant = next((one for one in known if one.lower() == name.lower()), None)
        return f"{where} has no {name}; " + (f"it is written {meant}" if meant else f"it has {', '.join(sorted(known))}")
    if not inner or attribute.many:
        return None
    if attribute.kind is not Kind.COMPLEX:
        return f"{name} has no parts"
    return _unknown({one.name: one for one in attribute.subs.values()}, inner, name)


def absent(path: tuple[str, ...]) -> Any:
    """What stands for an attribute that somebody does not have: an empty list for a list, else null."""
    attribute = _IN_A_DOCUMENT.get(path[1]) if len(path) == len((DOCUMENT, "emails")) and path[0] == DOCUMENT else None
    return [] if attribute is not None and attribute.many else None
