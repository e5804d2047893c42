"""Request bodies: read as JSON that every database can hold, and brought into the shape in which documents are kept."""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from app.directory.vocabulary import (
    COMMON,
    ENTERPRISE_URN,
    SCHEMAS,
    Attribute,
    Kind,
    schema_named,
)
from app.scim.answers import Problem, refused

DEEPEST = 32
_WORDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}
_EXPECTED = {Kind.BOOLEAN: "true or false", Kind.COMPLEX: "an object"}


def read_object(raw: bytes) -> dict[str, Any]:
    """A JSON object. Raises SCIMError."""
    try:
        body: Any = json.loads(raw, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise refused("the body is nested too deeply", Problem.INVALID_SYNTAX) from None
    except ValueError as error:
        what = (
            f"{error.msg}, line {error.lineno}"
            if isinstance(error, json.JSONDecodeError)
            else "unreadable text"
        )
        raise refused(f"the body is not JSON: {what}", Problem.INVALID_SYNTAX) from None
    if not isinstance(body, dict):
        raise refused(f"the body must be a JSON object, not {_word(body)}", Problem.INVALID_SYNTAX)
    _refuse_unstorable(body, "", 0)
    return body


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _refuse_unstorable(value: Any, label: str, depth: int) -> None:
    if depth > DEEPEST:
        raise refused(f"{label or 'the body'} is nested more than {DEEPEST} deep", Problem.INVALID_SYNTAX)
    if isinstance(value, str):
        # PostgreSQL holds no NUL, and half a surrogate pair is no character in any encoding.
        if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
            raise refused(
                f"{label or 'a name'} holds a character that no text can hold", Problem.INVALID_VALUE
            )
    elif isinstance(value, list):
        for element in value:
            _refuse_unstorable(element, label, depth + 1)
    elif isinstance(value, dict):
        for key, element in value.items():
            _refuse_unstorable(key, "", depth)
            _refuse_unstorable(element, f"{label}.{key}" if label else key, depth + 1)


def tidied(body: Mapping[str, Any], core: str) -> dict[str, Any]:
    """The resource in the shape in which it is kept, `core` being its main schema.

    Attributes get their own spelling, null is dropped, what only we may write and passwords are dropped, forms that
    clients are known to send are put right, unknown attributes stay. Raises SCIMError for a value of a wrong kind.
    """
    known = {**COMMON, **SCHEMAS[core]}
    kept: dict[str, Any] = {}
    for key, value in body.items():
        if value is None:
            continue
        if ":" in key:
            _put(kept, schema_named(key), _extension(schema_named(key), value))
            continue
        attribute = known.get(key.lower())
        if attribute is None:
            kept[key] = value
        elif attribute.mutability == "readWrite" and attribute.name != "schemas":
            _put(kept, attribute.name, _fitted(attribute, value, attribute.name))
    extensions = [key for key, value in kept.items() if ":" in key and isinstance(value, dict)]
    return {"schemas": [core, *extensions], **kept}


def _put(kept: dict[str, Any], name: str, value: Any) -> None:
    if value is not None:
        kept[name] = value


def _extension(urn: str, value: Any) -> Any:
    known = SCHEMAS.get(urn)
    if known is None:
        return value
    if not isinstance(value, dict):
        raise refused(f"{urn} must be an object, not {_word(value)}", Problem.INVALID_VALUE)
    # The core schema's URN as a key would hide the attributes proper; nobody is known to send it.
    kept = _members(known, value, "") if urn == ENTERPRISE_URN else dict(value)
    return kept or None


def _members(known: Mapping[str, Attribute], value: Mapping[str, Any], label: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, part in value.items():
        if part is None:
            continue
        attribute = known.get(key.lower())
        if attribute is None:
            kept[key] = part
        else:
            named = f"{label}.{attribute.name}" if label else attribute.name
            _put(kept, attribute.name, _fitted(attribute, part, named))
    return kept


def _fitted(attribute: Attribute, value: Any, label: str) -> Any:
    if not attribute.many:
        # Entra's documentation gives the manager as a list of one.
        if attribute.kind is Kind.COMPLEX and isinstance(value, list) and len(value) <= 1:
            value = value[0] if value else None
        return None if value is None else _fitted_one(attribute, value, label)
    # OneLogin sends one e-mail address as an object of its own.
    elements = [value] if isinstance(value, dict) else value
    if not isinstance(elements, list):
        _refuse(label, "a list", value)
    fitted = (_fitted_one(attribute, element, label) for element in elements if element is not None)
    return [element for element in fitted if element is not None]


def _fitted_one(attribute: Attribute, value: Any, label: str) -> Any:
    match attribute.kind:
        case Kind.BOOLEAN:
            # Entra sends "True" and "False": https://learn.microsoft.com/entra/identity/app-provisioning/application-provisioning-config-problem-scim-compatibility
            if isinstance(value, str) and value.strip().lower() in ("true", "false"):
                return value.strip().lower() == "true"
            return value if isinstance(value, bool) else _refuse(label, _EXPECTED[Kind.BOOLEAN], value)
        case Kind.COMPLEX:
            if isinstance(value, str) and "value" in attribute.subs:
                value = {"value": value}
            if not isinstance(value, dict):
                _refuse(label, _EXPECTED[Kind.COMPLEX], value)
            kept = _members(attribute.subs, value, label)
            # An empty manager is how Entra takes a manager away.
            return None if not kept or (not attribute.many and kept.get("value") == "") else kept
        case _:
            return value if isinstance(value, str) else _refuse(label, "a text", value)


def _refuse(label: str, expected: str, value: Any) -> NoReturn:
    raise refused(f"{label} must be {expected}, not {_word(value)}", Problem.INVALID_VALUE)


def _word(value: Any) -> str:
    return _WORDS.get(type(value), "null")


def member_ids(value: Any) -> tuple[str, ...]:
    """Ids of members in any of the forms that clients send: a list, one object, bare ids. Raises SCIMError."""
    elements = value if isinstance(value, list) else [] if value in (None, "") else [value]
    ids: dict[str, None] = {}
    for element in elements:
        named = element
        if isinstance(element, dict):
            named = next((part for key, part in element.items() if key.lower() == "value"), None)
        if not isinstance(named, str) or not named:
            raise refused(
                "members must be a list of objects, each with the id of a user as its value",
                Problem.INVALID_VALUE,
            )
        ids[named] = None
    return tuple(ids)


def text_in(document: Mapping[str, Any], name: str) -> str | None:
    """A non-blank text of a tidied document."""
    value = document.get(name)
    return value if isinstance(value, str) and value.strip() else None
