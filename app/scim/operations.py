"""The operations of a PATCH (RFC 7644 §3.5.2), read from its body in the dialects that Okta and Entra speak."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.directory.filters import AttributePath, FilterError, split_asked_path
from app.directory.vocabulary import CORES, ENTERPRISE_URN, STANDARD, Place, Vocabulary, attribute_at
from app.json_text import UnreadableJSON, read_json
from app.scim.answers import Problem, refused
from app.scim.bodies import is_echo, message
from app.scim.bounds import refuse_too_many
from app.scim.elements import NOTHING


class Verb(StrEnum):
    ADD = "add"
    REPLACE = "replace"
    REMOVE = "remove"


_VERBS = frozenset(Verb)
_OF_A_PATCH = ("schemas", "Operations")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One change at one place; a request without a path has become one of these, not `named`, for each of its keys.

    `urn` is the path where it can also be read as a whole, as the URN of an extension that no schema here tells of; `short`
    means that it leads into the enterprise extension without naming it.
    """

    verb: Verb
    path: AttributePath
    value: Any
    named: bool = True
    urn: str | None = None
    short: bool = False


def read_operations(body: Mapping[str, Any], vocabulary: Vocabulary = STANDARD) -> list[Operation]:
    """The operations of a PATCH body, in order. Raises SCIMError."""
    listed = message(body, *_OF_A_PATCH).get("Operations")
    if not isinstance(listed, list):
        raise refused("Operations must be a list", Problem.INVALID_SYNTAX)
    operations: list[Operation] = []
    for number, said in enumerate(listed, start=1):
        if not isinstance(said, dict):
            raise refused(f"operation {number} must be an object", Problem.INVALID_SYNTAX)
        operations += _read_operation(said, number, vocabulary)
        refuse_too_many(len(operations))
    return operations


def refuse_said_twice(body: Mapping[str, Any]) -> None:
    """Refuse a PATCH body that says a name of the message twice, whatever else is wrong with it. Raises SCIMError."""
    listed = message(body, *_OF_A_PATCH).get("Operations")
    for number, said in enumerate(listed if isinstance(listed, list) else (), start=1):
        if isinstance(said, dict):
            _one(said, number)


def _one(said: Mapping[str, Any], number: int) -> dict[str, Any]:
    return message(said, "op", "path", "value", within=f"operation {number}: ")


def _read_operation(said: Mapping[str, Any], number: int, vocabulary: Vocabulary) -> list[Operation]:
    said = _one(said, number)
    verb = verb_in(said.get("op"))
    if verb is None:
        raise refused(f"operation {number}: op must be add, replace or remove", Problem.INVALID_SYNTAX)
    path, value = said.get("path"), said.get("value", NOTHING)
    if value is NOTHING and verb is not Verb.REMOVE:
        cleared = "; null takes the attribute away" if verb is Verb.REPLACE else ""
        raise refused(f"operation {number}: {verb} needs a value{cleared}", Problem.INVALID_VALUE)
    value = None if value is NOTHING else value
    if path is None:
        if verb is Verb.REMOVE:
            raise refused(f"operation {number}: remove needs a path", Problem.NO_TARGET)
        return _without_path(verb, value, number, vocabulary)
    if not isinstance(path, str):
        raise refused(f"operation {number}: path must be a text", Problem.INVALID_PATH)
    return _at(path, verb, value, number, vocabulary, named=True)


def _without_path(verb: Verb, value: Any, number: int, vocabulary: Vocabulary) -> list[Operation]:
    value = resource_in(value)
    if not isinstance(value, dict):
        raise refused(f"operation {number}: without a path, value must be an object", Problem.INVALID_VALUE)
    refuse_too_many(len(value))
    operations: list[Operation] = []
    for key, part in value.items():
        if is_echo(key):
            continue
        # Entra's keys are paths themselves, such as `name.givenName`.
        operations += _at(key, verb, part, number, vocabulary, named=False)
    return operations


def _at(text: str, verb: Verb, value: Any, number: int, vocabulary: Vocabulary, *, named: bool) -> list[Operation]:
    """The operation at this path; where it says an extension that is known, one for each attribute of it."""
    place = _place(text, vocabulary)
    _refuse_read_only(place.names, number)
    urn = place.names[0]
    whole = len(place.names) == 1 and urn not in CORES and vocabulary.attributes_of(urn) is not None
    if named and verb is not Verb.REMOVE and _is_single(place, vocabulary):
        value = one_in(value)
    if not whole or not isinstance(value, dict) or verb is Verb.REMOVE:
        short = urn == ENTERPRISE_URN and ":" not in text.partition("[")[0]
        return [Operation(verb=verb, path=place, value=value, named=named, urn=_urn_in(text, place, vocabulary), short=short)]
    refuse_too_many(len(value))
    paths = ((AttributePath(names=vocabulary.spelled((urn, key))), part) for key, part in value.items())
    return [Operation(verb=verb, path=path, value=part, named=False) for path, part in paths]


def _place(text: str, vocabulary: Vocabulary) -> AttributePath:
    try:
        path = split_asked_path(text.strip(), vocabulary)
    except FilterError as error:
        raise refused(f"path {text!r}, {error}", Problem.INVALID_PATH) from None
    if path.names[0] == "$":
        # RFC 7643 §2.1: no name. JSONPath's `$.active` must not be taken for what keeps nobody out.
        raise refused(f"path {text!r}: $ is the name of no attribute; begin with the attribute's own", Problem.INVALID_PATH)
    known = vocabulary.attribute_at(path.names)
    if path.where is not None and known is not None and not (known.many or known.link):
        raise refused(f"path {text!r}: {known.name} has one value, so that none is picked by a filter", Problem.INVALID_PATH)
    return path


def _is_single(place: AttributePath, vocabulary: Vocabulary) -> bool:
    """Whether SCIM's own schemas have one value there. Behind a filter stands one element, whatever the attribute."""
    known = vocabulary.attribute_at(place.names if place.sub is None else (*place.names, place.sub))
    if known is None or known.checked:
        return place.names == (ENTERPRISE_URN,)
    return not known.many or (place.where is not None and place.sub is None)


def _urn_in(text: str, path: AttributePath, vocabulary: Vocabulary) -> str | None:
    # A whole extension whose schema is unknown here looks like an attribute of a shorter URN; which of them it is, the document tells.
    if ":" not in text or path.where is not None or vocabulary.attribute_at(path.names) is not None:
        return None
    declared = vocabulary.extension_named(path.names[0]) is not None
    return None if declared or vocabulary.attributes_of(path.names[-1]) is not None else text.strip()


def _refuse_read_only(names: tuple[str, ...], number: int) -> None:
    known = attribute_at(names[:1])
    if known is not None and known.mutability == "readOnly":
        raise refused(f"operation {number}: {known.name} is read-only", Problem.MUTABILITY)


def places_said(operations: Sequence[Operation]) -> set[Place]:
    """The attributes of extensions that these operations say."""
    said: set[Place] = set()
    for operation in operations:
        urn, *rest = (name.lower() for name in operation.path.names)
        if ":" in urn:
            parts = operation.value if isinstance(operation.value, dict) else ()
            said |= {(urn, rest[0])} if rest else {(urn, name.lower()) for name in parts}
    return said


# Forms that are no SCIM, each listed in `dialects` with who sends it.


def one_in(value: Any) -> Any:
    """A list of one is that one, where there can be no list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def resource_in(value: Any) -> Any:
    """What an operation without a path says, also as the text of its JSON. What is no JSON stays a text."""
    if not isinstance(value, str):
        return value
    try:
        return read_json(value.encode("utf-8", "surrogatepass"))
    except UnreadableJSON:
        return value


def resources_in(body: Any) -> Any:
    """A PATCH, or a Bulk, in which each such text stands as the resource that it is, for whoever looks at what was said in it."""
    if not isinstance(body, dict):
        return body
    return {key: [_read_text(one) for one in part] if key.lower() == "operations" and isinstance(part, list) else part for key, part in body.items()}


def _read_text(said: Any) -> Any:
    if not isinstance(said, dict):
        return said
    placed = any(key.lower() == "path" and value is not None for key, value in said.items())
    read = {"data": resources_in} if placed else {"value": resource_in}
    return {key: read[key.lower()](part) if key.lower() in read else part for key, part in said.items()}


def verb_in(word: Any) -> Verb | None:
    """The verb in any case: Add, Replace, Remove."""
    folded = word.lower() if isinstance(word, str) else ""
    return Verb(folded) if folded in _VERBS else None
