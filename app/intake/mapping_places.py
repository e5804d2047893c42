"""The left side of a mapping: attributes of a SCIM user by their paths, and how a value gets there.

`userName`, `name.givenName`, `emails.work` (the value of the element of that type), `addresses.home.locality`,
`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, assert_never

from app.clock import iso
from app.directory.values import instant_or_none
from app.directory.vocabulary import COMMON, ENTERPRISE_URN, STANDARD, USER, USER_URN, Attribute, Kind, Vocabulary
from app.intake.mapping_functions import LONGEST_LIST, LONGEST_TEXT, word_for
from app.json_text import is_storable

LONGEST_VALUE: Final = LONGEST_TEXT
"""Characters of a text that an attribute may become."""
_LARGEST_NUMBER: Final = 2**53 - 1
# Who is whose manager the source says by its own keys, which are no attribute of a document.
_NOT_HERE: Final[Mapping[str, str]] = {
    "id": "is given by Doorlist", "meta": "is given by Doorlist", "schemas": "follows from the attributes that are there",
    "groups": "follows from the groups of the source", "password": "is asked of nobody",
}  # fmt: skip
_MANAGER: Final = "is whom the source names, by its own key"


class UnusableMapping(ValueError):
    """It can be used for nobody; the sentence names the attribute, and the place in its expression where there is one."""

    def __init__(self, attribute: str, problem: str, *, character: int | None = None) -> None:
        where = attribute if character is None else f"{attribute}, character {character}"
        super().__init__(f"{where}: {problem}")
        self.attribute, self.problem, self.character = attribute, problem, character


class Misfit(ValueError):
    """A value that an attribute cannot become. The sentence holds nothing of the value."""


class Way(StrEnum):
    """How a value gets to its place."""

    USER_NAME = "user name"
    EXTERNAL_ID = "external id"
    ACTIVE = "active"
    PLAIN = "plain"
    LIST = "list"
    ELEMENT = "element"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One attribute. `keys` is where it stands in a document; of an ELEMENT, the list, and then `type` and `part` within it."""

    path: str
    way: Way
    attribute: Attribute
    keys: tuple[str, ...]
    type: str = ""
    part: str = ""

    @property
    def spelled(self) -> tuple[str, ...]:
        """The same for two paths that mean one place."""
        return (*self.keys, self.type.lower(), self.part)


def read_place(path: str, vocabulary: Vocabulary = STANDARD) -> Place:
    """Raises UnusableMapping."""
    urn, names = _parted(path, vocabulary)
    if not all(names):
        raise UnusableMapping(path, "it is no path of an attribute, such as userName, name.givenName or emails.work")
    level: Mapping[str, Attribute] | None = {**USER, **COMMON} if urn == USER_URN else _extension(path, urn, vocabulary)
    assert level is not None
    top = level.get(names[0].lower())
    if top is None:
        raise UnusableMapping(path, f"a user has no attribute {names[0]!r}" + ("" if urn == USER_URN else f" by {urn}"))
    if urn == USER_URN and (why := _NOT_HERE.get(top.name)):
        raise UnusableMapping(path, f"{top.name} {why}")
    if urn == ENTERPRISE_URN and top.name == "manager":
        raise UnusableMapping(path, f"manager {_MANAGER}")
    if urn == USER_URN and len(names) == 1 and (way := _OF_THEIR_OWN.get(top.name)):
        return Place(path=path, way=way, attribute=top, keys=(top.name,))
    return _within(path, top, (() if urn == USER_URN else (urn,)), names[1:])


_OF_THEIR_OWN: Final = {"userName": Way.USER_NAME, "externalId": Way.EXTERNAL_ID, "active": Way.ACTIVE}


def _parted(path: str, vocabulary: Vocabulary) -> tuple[str, tuple[str, ...]]:
    # A URN holds dots of its own, so it is cut off first.
    urn, colon, rest = path.rpartition(":")
    return (vocabulary.schema_named(urn) if colon else USER_URN), tuple(rest.split("."))


def _extension(path: str, urn: str, vocabulary: Vocabulary) -> Mapping[str, Attribute]:
    if urn != ENTERPRISE_URN and vocabulary.extension_named(urn, USER_URN) is None:
        raise UnusableMapping(path, f"no schema {urn} is known for users; 'doorlist schemas import' declares one")
    found = vocabulary.attributes_of(urn)
    return found if found is not None else {}


def _within(path: str, top: Attribute, before: tuple[str, ...], rest: tuple[str, ...]) -> Place:
    keys = (*before, top.name)
    if top.many:
        return _in_a_list(path, top, keys, rest)
    if top.kind is not Kind.COMPLEX:
        if rest:
            raise UnusableMapping(path, f"{top.name} has no parts")
        return _checked(Place(path=path, way=Way.PLAIN, attribute=top, keys=keys))
    if not rest:
        raise UnusableMapping(path, f"{top.name} has parts: {', '.join(f'{top.name}.{one.name}' for one in top.subs.values())}")
    part = _part(path, top, rest)
    return _checked(Place(path=path, way=Way.PLAIN, attribute=part, keys=(*keys, part.name)))


def _in_a_list(path: str, top: Attribute, keys: tuple[str, ...], rest: tuple[str, ...]) -> Place:
    if not rest:
        return _checked(Place(path=path, way=Way.LIST, attribute=top, keys=keys))
    kind, *parts = rest
    if "type" not in top.subs or kind.lower() in top.subs:
        instead = f"name the type of one, such as {top.name}.work" if "type" in top.subs else "map it as a whole"
        raise UnusableMapping(path, f"{top.name} is a list; {instead}")
    if not parts and "value" not in top.subs:
        raise UnusableMapping(path, f"an element of {top.name} has parts: name one, such as {path}.{next(iter(top.subs.values())).name}")
    part = _part(path, top, tuple(parts) or ("value",))
    if part.name in ("type", "primary"):
        raise UnusableMapping(path, f"{part.name} of an element follows from the rest")
    return _checked(Place(path=path, way=Way.ELEMENT, attribute=part, keys=keys, type=kind, part=part.name))


def _part(path: str, top: Attribute, rest: tuple[str, ...]) -> Attribute:
    part = top.subs.get(rest[0].lower())
    if part is None or len(rest) > 1:
        raise UnusableMapping(path, f"{top.name} has no part {'.'.join(rest)}; it has {', '.join(one.name for one in top.subs.values())}")
    return part


def _checked(place: Place) -> Place:
    if place.attribute.kind is Kind.BINARY:
        raise UnusableMapping(place.path, "no expression makes a binary value")
    return place


def read(place: Place, document: Mapping[str, Any]) -> Any:
    """What stands there; None where nothing does. Not of USER_NAME, EXTERNAL_ID and ACTIVE."""
    value: Any = document
    for key in place.keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if place.way is not Way.ELEMENT:
        return value
    found = _of_type(_elements(value), place.type)
    return found.get(place.part) if found else None


def fitted(place: Place, value: Any) -> Any:
    """A value in the shape that its attribute has; None for null and for a text without letters. Raises Misfit."""
    if place.way is Way.LIST:
        return _fitted_list(place.attribute, value)
    return _fitted_one(place.attribute, value)


def write(place: Place, document: dict[str, Any], value: Any) -> None:
    """Put a fitted value into a document of the caller's own; what lies within it is copied before it is changed."""
    match place.way:
        case Way.PLAIN | Way.LIST:
            _put(document, place.keys, value)
        case Way.ELEMENT:
            parent: Any = document
            for key in place.keys:
                parent = parent.get(key) if isinstance(parent, Mapping) else None
            _put(document, place.keys, _with_element(place, _elements(parent), value) or None)
        case Way.USER_NAME | Way.EXTERNAL_ID | Way.ACTIVE:
            raise ValueError(f"{place.path} stands beside the document")
        case _:
            assert_never(place.way)


def _put(document: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    name, *inner = keys
    if inner:
        there = document.get(name)
        part = dict(there) if isinstance(there, Mapping) else {}
        _put(part, tuple(inner), value)
        value = part or None
    if value is None:
        document.pop(name, None)
    else:
        document[name] = value


def _elements(value: Any) -> list[dict[str, Any]]:
    return [dict(one) for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _is_of(element: Mapping[str, Any], kind: str) -> bool:
    return str(element.get("type", "")).lower() == kind.lower()


def _of_type(elements: list[dict[str, Any]], kind: str) -> dict[str, Any] | None:
    """The primary one of that type, else the first."""
    of_kind = [one for one in elements if _is_of(one, kind)]
    return next((one for one in of_kind if one.get("primary") is True), of_kind[0] if of_kind else None)


def _with_element(place: Place, elements: list[dict[str, Any]], value: Any) -> list[dict[str, Any]]:
    found = _of_type(elements, place.type)
    if value is None and place.part == "value":
        # Without a value no element of that type is anything.
        elements = [one for one in elements if not _is_of(one, place.type)]
    elif value is None:
        if found is not None:
            found.pop(place.part, None)
            if not found.keys() - {"type", "primary"}:
                elements.remove(found)
    elif found is not None:
        found[place.part] = value
    else:
        elements.append({place.part: value, "type": place.type})
    if place.keys == ("emails",) and elements and not any(one.get("primary") is True for one in elements):
        # One address is the one that people are known by.
        elements[0]["primary"] = True
        for one in elements[1:]:
            one.setdefault("primary", False)
    return elements


def _fitted_list(attribute: Attribute, value: Any) -> list[Any] | None:
    if value is None or value == "":
        return None
    listed = value if isinstance(value, list) else [value]
    if len(listed) > LONGEST_LIST:
        raise Misfit(f"it has {len(listed)} values; at most {LONGEST_LIST}")
    if attribute.kind is not Kind.COMPLEX:
        return [one for one in (_fitted_one(attribute, element) for element in listed) if one is not None] or None
    found = [one for one in (_fitted_element(attribute, element, at) for at, element in enumerate(listed)) if one]
    if sum(one.get("primary") is True for one in found) > 1:
        # RFC 7643 §2.4: true as a value of `primary` occurs once at most.
        raise Misfit("more than one of its values is primary")
    return found or None


def _fitted_element(attribute: Attribute, element: Any, at: int) -> dict[str, Any] | None:
    if element is None:
        return None
    if isinstance(element, dict):
        return _fitted_object(attribute, element)
    if "value" not in attribute.subs:
        raise Misfit(f"{attribute.name} takes objects, not {word_for(element)}")
    value = _fitted_one(attribute.subs["value"], element)
    if value is None:
        return None
    # As the sources themselves write addresses.
    return {"value": value, "type": "work", "primary": at == 0} if attribute.name == "emails" else {"value": value}


def _fitted_object(attribute: Attribute, element: Mapping[Any, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name, said in element.items():
        part = attribute.subs.get(name.lower()) if isinstance(name, str) else None
        if part is None:
            known = ", ".join(one.name for one in attribute.subs.values())
            raise Misfit(f"an element of {attribute.name} has a part that is none; it has {known}")
        if (value := _fitted_one(part, said)) is not None:
            parts[part.name] = value
    return parts


def _fitted_one(attribute: Attribute, value: Any) -> Any:
    if value is None:
        return None
    match attribute.kind:
        case Kind.BOOLEAN:
            if not isinstance(value, bool):
                raise Misfit(f"it must be true or false, not {word_for(value)}")
            return value
        case Kind.INTEGER | Kind.DECIMAL:
            return _number(attribute, value)
        case Kind.COMPLEX | Kind.BINARY:
            raise Misfit(f"it cannot become {attribute.name}")
        case Kind.STRING | Kind.REFERENCE | Kind.DATETIME:
            return _text(attribute, value)
        case _:
            assert_never(attribute.kind)


def _number(attribute: Attribute, value: Any) -> int | float:
    whole = attribute.kind is Kind.INTEGER
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not abs(value) <= _LARGEST_NUMBER:
        raise Misfit(f"it must be a {'whole ' if whole else ''}number that JSON can hold, not {word_for(value)}")
    return value


def _text(attribute: Attribute, value: Any) -> str | None:
    if not isinstance(value, str):
        hint = "; string(…) makes a text of a number" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        raise Misfit(f"it must be a text, not {word_for(value)}{hint}")
    if not value.strip():
        return None
    if len(value) > LONGEST_VALUE:
        raise Misfit(f"it is longer than {LONGEST_VALUE} characters")
    if not is_storable(value):
        raise Misfit("it holds a character that no database keeps")
    if attribute.kind is Kind.DATETIME:
        kept = iso(instant_or_none(value))
        if kept is None:
            raise Misfit("it must be an instant with its time zone, such as 2026-11-30T17:00:00Z")
        return kept
    return value
