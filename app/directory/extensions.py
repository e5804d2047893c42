"""Schemas that an organisation declares (RFC 7643 §3.3, §7): read from a SCIM Schema resource, where nothing is promised that is not kept.

Whatever an attribute says of itself here is honoured at the door, or the file is refused with a sentence that says so.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn

from app.directory.filters import FilterError, parse
from app.directory.vocabulary import COMMON, GROUP_URN, SCHEMAS, USER_URN, Attribute, Extension, Kind
from app.json_text import is_storable

CORES: Final[Mapping[str, str]] = MappingProxyType({"User": USER_URN, "Group": GROUP_URN})
MOST_SCHEMAS = 20
"""Declared by one organisation."""
MOST_ATTRIBUTES = 200
"""In one schema, those within others counted too."""
LARGEST_FILE = 262_144
LONGEST_URN = 200
_LONGEST_NAME = 64
_LONGEST_SENTENCE = 1_000
_MOST_CHOICES = 200

# RFC 8141 §2, without what makes a URN end in a query or a fragment: such are names of places within.
_URN: Final = re.compile(r"urn:[a-z0-9][a-z0-9-]{0,31}:[a-z0-9._~!$&'()*+,;=@/:%-]+", re.IGNORECASE)
# RFC 7643 §2.1; `$ref` alone begins otherwise.
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9$_-]*|\$ref")
_RESERVED: Final = ("urn:ietf:params:scim:schemas:core:", "urn:ietf:params:scim:api:")
_OF_A_SCHEMA: Final = frozenset({"schemas", "id", "name", "description", "attributes", "meta"})
_OF_AN_ATTRIBUTE: Final = {
    word.lower(): word
    for word in (
        "name", "type", "multiValued", "description", "required", "canonicalValues", "caseExact", "mutability", "returned", "uniqueness",
        "referenceTypes", "subAttributes",
    )
}  # fmt: skip
_KINDS: Final = {kind.value.lower(): kind for kind in Kind}
_RETURNED: Final = ("default", "always", "request", "never")
# What is asked for, why it is refused, and what can be done.
_NOT_KEPT: Final[Mapping[tuple[str, str], str]] = {
    ("mutability", "readonly"): "nobody but the directory writes here, so that it would stay empty",
    ("mutability", "writeonly"): "what nobody may read is better not kept here; what no answer should show is readWrite with returned never",
    ("mutability", "immutable"): "that a value never changes once it is set is not looked after here",
    ("uniqueness", "server"): "that no two resources have the same value is looked after only for userName, externalId and a group's name",
    ("uniqueness", "global"): "that no two resources have the same value is looked after only for userName, externalId and a group's name",
}


class UnusableSchema(ValueError):
    """The message names what is wrong, and the attribute where it is one's."""


def read_schema(text: str, core: str) -> Extension:
    """A schema for resources of this main schema. Raises UnusableSchema."""
    if len(text.encode()) > LARGEST_FILE:
        raise UnusableSchema(f"the schema is larger than {LARGEST_FILE} bytes")
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f": {error.msg}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UnusableSchema(f"the schema is not JSON{where}") from None
    if not isinstance(said, dict):
        raise UnusableSchema("the schema must be one JSON object, a SCIM Schema resource (RFC 7643 §7)")
    given = {key.lower(): value for key, value in said.items()}
    if unknown := sorted(given.keys() - _OF_A_SCHEMA):
        raise UnusableSchema(f"a schema has no {unknown[0]!r}; it has id, name, description and attributes")
    urn = _checked_urn(given.get("id"))
    described = {
        "id": urn,
        "name": _text(given, "name", "the schema", default=urn.rpartition(":")[2]),
        "description": _text(given, "description", "the schema", default=urn),
        "attributes": _Reader().attributes(given.get("attributes"), urn),
    }
    found = declared(described, core)
    for attribute in found.attributes.values():
        _refuse_unreadable(urn, attribute)
    return found


def declared(described: Mapping[str, Any], core: str) -> Extension:
    """The schema as it was described once it had been read; nothing is checked again."""
    return Extension(urn=described["id"], core=core, attributes=_known(described["attributes"]), described=described)


def refuse_beside(extension: Extension, others: Iterable[Extension]) -> None:
    """Refuse what cannot stand beside what the organisation has declared already. Raises UnusableSchema."""
    beside = [one for one in others if one.urn.lower() != extension.urn.lower()]
    if len(beside) >= MOST_SCHEMAS:
        raise UnusableSchema(f"there are {MOST_SCHEMAS} schemas, and no more can be declared: remove one of them first")
    for one in beside:
        for longer, shorter in ((extension, one), (one, extension)):
            urn, _, name = longer.urn.lower().rpartition(":")
            if urn == shorter.urn.lower() and name in shorter.attributes:
                raise UnusableSchema(f"{longer.urn} is also how the attribute {shorter.attributes[name].name} of {shorter.urn} is named")


def _known(attributes: Sequence[Mapping[str, Any]]) -> Mapping[str, Attribute]:
    return MappingProxyType({one["name"].lower(): _attribute(one) for one in attributes})


def _attribute(said: Mapping[str, Any]) -> Attribute:
    return Attribute(
        name=said["name"],
        kind=Kind(said["type"]),
        many=said["multiValued"],
        # Instants are kept in one form only, and base64 has two letters of each.
        exact=said.get("caseExact", False) or said["type"] in (Kind.DATETIME, Kind.BINARY),
        required=said["required"],
        returned=said["returned"],
        checked=True,
        subs=_known(said.get("subAttributes", ())),
    )


def _checked_urn(said: Any) -> str:
    if not isinstance(said, str) or not said:
        raise UnusableSchema("the schema needs an id: the URN by which resources name it")
    if len(said) > LONGEST_URN:
        raise UnusableSchema(f"id is longer than {LONGEST_URN} characters")
    if not _URN.fullmatch(said) or not said.startswith("urn:"):
        raise UnusableSchema(f"id must be a URN such as urn:example:params:scim:hr:2.0:User (RFC 8141), not {said!r}")
    folded = said.lower()
    for urn in SCHEMAS:
        if folded == urn.lower() or folded.startswith(f"{urn.lower()}:"):
            raise UnusableSchema(f"{said} is RFC 7643's own; choose a URN of yours")
    if folded.startswith(_RESERVED):
        raise UnusableSchema(f"{said} is in a namespace that belongs to the RFCs; choose a URN of yours")
    return said


def _refuse_unreadable(urn: str, attribute: Attribute) -> None:
    # A word of the filter language, say: it could be stored, and nobody could ask for it.
    top = f"{urn}:{attribute.name}"
    for name, text in ((top, f"{top} pr"), *((f"{top}.{part.name}", f"{part.name} pr") for part in attribute.subs.values())):
        try:
            found: Any = parse(text)
        except FilterError:
            found = None
        if found is None or (name == top and found.path.names != (urn, attribute.name)):
            raise UnusableSchema(f"{name} could not be named in a filter; give the attribute another name, or the schema another URN")


def _text(said: Mapping[str, Any], name: str, label: str, *, default: str) -> str:
    value = said.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise UnusableSchema(f"{label}: {name} must be a text")
    if len(value) > _LONGEST_SENTENCE:
        raise UnusableSchema(f"{label}: {name} is longer than {_LONGEST_SENTENCE} characters")
    if not is_storable(value):
        raise UnusableSchema(f"{label}: {name} holds a character that no text can hold")
    return value


class _Reader:
    """Reads attributes, and counts them."""

    def __init__(self) -> None:
        self._count = 0

    def attributes(self, said: Any, within: str) -> list[dict[str, Any]]:
        if not isinstance(said, list) or not said:
            raise UnusableSchema(f"{within} needs a list of attributes, with one at least")
        found: dict[str, dict[str, Any]] = {}
        for number, one in enumerate(said, start=1):
            self._count += 1
            if self._count > MOST_ATTRIBUTES:
                raise UnusableSchema(f"the schema has more than {MOST_ATTRIBUTES} attributes, those within others counted too")
            if not isinstance(one, dict):
                raise UnusableSchema(f"attribute {number} of {within} must be an object")
            told = self._attribute({key.lower(): value for key, value in one.items()}, within, number)
            if told["name"].lower() in found:
                raise UnusableSchema(f"{within} has two attributes named {told['name']}; case does not tell names apart")
            found[told["name"].lower()] = told
        return list(found.values())

    def _attribute(self, said: Mapping[str, Any], within: str, number: int) -> dict[str, Any]:
        name = said.get("name")
        top = ":" in within
        if not isinstance(name, str) or not _NAME.fullmatch(name) or (top and name == "$ref"):
            raise UnusableSchema(
                f"attribute {number} of {within} needs a name: a letter, then letters, digits, $, - or _ (RFC 7643 §2.1), not {name!r}"
            )
        label = name if top else f"{within}.{name}"
        if len(name) > _LONGEST_NAME:
            raise UnusableSchema(f"{label}: the name is longer than {_LONGEST_NAME} characters")
        if top and name.lower() in COMMON:
            raise UnusableSchema(f"{label}: RFC 7643 §3.1 gives this name to every resource; choose another")
        if unknown := sorted(said.keys() - _OF_AN_ATTRIBUTE.keys()):
            raise UnusableSchema(f"{label}: an attribute has no {unknown[0]!r}; it has {', '.join(_OF_AN_ATTRIBUTE.values())}")
        kind = self._kind(said, label)
        self._refuse_unkept(said, label)
        told = {
            "name": name,
            "type": kind.value,
            "multiValued": _flag(said, "multiValued", label),
            "description": _text(said, "description", label, default=name),
            "required": _flag(said, "required", label),
            "mutability": "readWrite",
            "returned": _word(said, "returned", label, _RETURNED),
            "uniqueness": "none",
        }
        if not top and told["returned"] != "default":
            _refuse(label, f"returned is said of the whole {within}, not of a part of it")
        return told | self._of_kind(said, kind, label, top=top)

    def _of_kind(self, said: Mapping[str, Any], kind: Kind, label: str, *, top: bool) -> dict[str, Any]:
        """What is said of attributes of some types only; elsewhere it means nothing, and may be left out or null."""
        if kind is not Kind.COMPLEX and said.get("subattributes"):
            _refuse(label, f"only type complex has subAttributes, and this is {kind.value}")
        if kind is not Kind.REFERENCE and said.get("referencetypes"):
            _refuse(label, f"only type reference has referenceTypes, and this is {kind.value}")
        if kind is Kind.COMPLEX:
            if not top:
                _refuse(label, "type complex cannot be within another complex attribute (RFC 7643 §2.3.8)")
            return {"subAttributes": self.attributes(said.get("subattributes"), label)}
        told: dict[str, Any] = {}
        if choices := _texts(said, "canonicalValues", label):
            if kind not in (Kind.STRING, Kind.REFERENCE):
                _refuse(label, f"canonicalValues are texts, and this is {kind.value}")
            told["canonicalValues"] = choices
        if kind is Kind.REFERENCE:
            told["referenceTypes"] = _texts(said, "referenceTypes", label) or ["external"]
        exact = kind in (Kind.DATETIME, Kind.BINARY) or _flag(said, "caseExact", label, default=kind is Kind.REFERENCE)
        return {**told, "caseExact": exact}

    def _kind(self, said: Mapping[str, Any], label: str) -> Kind:
        word = said.get("type", "string")
        kind = _KINDS.get(word.lower()) if isinstance(word, str) else None
        return kind or _refuse(label, f"type must be one of {', '.join(Kind)}, not {word!r}")

    def _refuse_unkept(self, said: Mapping[str, Any], label: str) -> None:
        for name, only in (("mutability", "readWrite"), ("uniqueness", "none")):
            word = said.get(name)
            if word is None or (isinstance(word, str) and word.lower() == only.lower()):
                continue
            why = _NOT_KEPT.get((name, word.lower() if isinstance(word, str) else ""))
            _refuse(label, f"{name} can only be {only}, not {word!r}" + (f": {why}" if why else ""))


def _refuse(label: str, sentence: str) -> NoReturn:
    raise UnusableSchema(f"{label}: {sentence}")


def _flag(said: Mapping[str, Any], name: str, label: str, *, default: bool = False) -> bool:
    value = said.get(name.lower())
    if value is None:
        return default
    return value if isinstance(value, bool) else _refuse(label, f"{name} must be true or false, not {value!r}")


def _word(said: Mapping[str, Any], name: str, label: str, words: Sequence[str]) -> str:
    value = said.get(name.lower())
    if value is None:
        return words[0]
    found = next((word for word in words if isinstance(value, str) and word == value.lower()), None)
    return found or _refuse(label, f"{name} must be one of {', '.join(words)}, not {value!r}")


def _texts(said: Mapping[str, Any], name: str, label: str) -> list[str]:
    value = said.get(name.lower())
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value) or len(value) > _MOST_CHOICES:
        _refuse(label, f"{name} must be a list of texts, {_MOST_CHOICES} at most")
    return [_text({name: one}, name, label, default="") for one in value]
