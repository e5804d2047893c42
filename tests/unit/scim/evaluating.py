"""Filters as RFC 7644 §3.4.2.2 means them, written down and tried in plain Python.

Nothing here is taken from the code under test: neither how a filter is read nor how it is decided. Where the RFC leaves
a choice, the one of this house stands beside it.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"

# Entra names these without their schema (docs/scim/dialects.md).
SHORT = frozenset({"employeeNumber", "costCenter", "organization", "division", "department", "manager"})
# RFC 7643 §3.1: the attributes that every resource has compare with case, and so do ids in references to resources.
EXACT = frozenset(
    {
        ("id",), ("externalId",), ("meta", "resourceType"), ("meta", "location"), ("meta", "version"), ("groups", "value"), ("groups", "$ref"),
        (ENTERPRISE, "manager", "value"), ("profileUrl",),
    }
)  # fmt: skip
INSTANTS = frozenset({("meta", "created"), ("meta", "lastModified")})
# RFC 7643 §4.1.1 leaves the comparison of names to RFC 8265, which cuts outer blanks.
NAMES = frozenset({("userName",), ("groups", "display")})
# RFC 7643 §2.4: what a complex attribute is compared by.
WITH_VALUE = frozenset({("emails",), ("phoneNumbers",), ("roles",), ("groups",), (ENTERPRISE, "manager")})

Scalar = str | bool | int | float


@dataclass(frozen=True)
class Comparison:
    path: tuple[str, ...]
    operator: str
    value: Scalar | None


@dataclass(frozen=True)
class Presence:
    path: tuple[str, ...]


@dataclass(frozen=True)
class Both:
    left: "Asked"
    right: "Asked"


@dataclass(frozen=True)
class Either:
    left: "Asked"
    right: "Asked"


@dataclass(frozen=True)
class Negation:
    asked: "Asked"


@dataclass(frozen=True)
class Element:
    """A value path: one and the same element must fit."""

    path: tuple[str, ...]
    asked: "Asked"


Asked = Comparison | Presence | Both | Either | Negation | Element


def written(asked: Asked) -> str:
    """The filter as text, with no more parentheses than precedence (`not`, `and`, `or`) asks for."""
    match asked:
        case Comparison(path, operator, value):
            return f"{_path(path)} {operator} {_literal(value)}"
        case Presence(path):
            return f"{_path(path)} pr"
        case Both(left, right):
            return f"{_under_and(left)} and {_under_and(right)}"
        case Either(left, right):
            return f"{written(left)} or {written(right)}"
        case Negation(inner):
            return f"not ({written(inner)})"
        case Element(path, inner):
            return f"{_path(path)}[{written(inner)}]"


def _under_and(asked: Asked) -> str:
    return f"({written(asked)})" if isinstance(asked, Either) else written(asked)


def _path(path: tuple[str, ...]) -> str:
    if path[0] in (ENTERPRISE, CORE, GROUP):
        return f"{path[0]}:{'.'.join(path[1:])}"
    return ".".join(path)


def _literal(value: Scalar | None) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)


def fits(asked: Asked, resource: Mapping[str, Any], within: tuple[str, ...] = (), *, short: bool = True) -> bool:
    """Whether the user, as it is shown to clients, fits; `within` is where an element of it stands, `short` whether `SHORT` are known."""
    match asked:
        case Comparison(path, operator, None):
            # RFC 7643 §2.5: null is no value.
            there = fits(Presence(path), resource, within, short=short)
            return there if operator == "ne" else not there
        case Comparison(path, "ne", value):
            # "ne" is read as *equal to none of them*, so that it is the opposite of "eq" on lists and on nothing, too.
            return not fits(Comparison(path, "eq", value), resource, within, short=short)
        case Comparison(path) | Presence(path) | Element(path) if path[0] == CORE:
            # RFC 7644 §3.10: an attribute's whole name begins with its schema. A user's core is no key of it, and a group's never.
            return fits(replace(asked, path=path[1:]), resource, within, short=False)
        case Comparison(path) | Presence(path) | Element(path) if short and not within and path[0] in SHORT:
            # Look-ups by number go by its index, and so mean the enterprise's alone.
            meant = (ENTERPRISE,) if path[0] == "employeeNumber" else (ENTERPRISE, CORE)
            return any(fits(replace(asked, path=(schema, *path)), resource) for schema in meant)
        case Both(left, right):
            return fits(left, resource, within) and fits(right, resource, within)
        case Either(left, right):
            return fits(left, resource, within) or fits(right, resource, within)
        case Negation(inner):
            return not fits(inner, resource, within)
        case Presence(path):
            return any(_says_something(value) for value in _values(resource, path))
        case Element(path, inner):
            return any(isinstance(value, dict) and fits(inner, value, (*within, *path)) for value in _values(resource, path))
        case Comparison(path, operator, value):
            whole = (*within, *path)
            if whole in WITH_VALUE:
                path, whole = (*path, "value"), (*whole, "value")
            return any(_compares(found, operator, value, whole) for found in _values(resource, path))


def _values(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, list):
        # A list of a list is nothing that SCIM knows.
        for element in value:
            if not isinstance(element, list):
                yield from _values(element, path)
    elif value is None:
        return
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _values(value[path[0]], path[1:])


def _says_something(value: Any) -> bool:
    """`pr`: "has a non-empty or non-null value, or if it contains a non-empty node for complex attributes"."""
    if isinstance(value, dict):
        return any(_says_something(part) for part in value.values())
    if isinstance(value, list):
        return any(_says_something(part) for part in value)
    return value is not None and value != ""


def _compares(found: Any, operator: str, value: Scalar | None, path: tuple[str, ...]) -> bool:
    if isinstance(found, bool) or isinstance(value, bool):
        return operator == "eq" and isinstance(found, bool) and isinstance(value, bool) and found is value
    if isinstance(found, str) and isinstance(value, str):
        if path in INSTANTS:
            return _ordered(_instant(found), operator, _instant(value))
        if path not in EXACT:
            found, value = caseless(found), caseless(value)
        if path in NAMES and operator == "eq":
            found, value = found.strip(), value.strip()
        return _texts(found, operator, value)
    if isinstance(found, int | float) and isinstance(value, int | float):
        return operator not in ("co", "sw", "ew") and _ordered(found, operator, value)
    return False


def _texts(found: str, operator: str, value: str) -> bool:
    match operator:
        case "co":
            return value in found
        case "sw":
            return found.startswith(value)
        case "ew":
            return found.endswith(value)
        case _:
            return _ordered(found, operator, value)


def _ordered(found: Any, operator: str, value: Any) -> bool:
    return bool({"eq": found == value, "gt": found > value, "ge": found >= value, "lt": found < value, "le": found <= value}[operator])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def caseless(text: str) -> str:
    """Unicode's compatibility caseless matching (Unicode 3.13, D146): two texts match where these are equal."""
    decomposed = unicodedata.normalize("NFD", text).casefold()
    once = unicodedata.normalize("NFKD", decomposed).casefold()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", once))
