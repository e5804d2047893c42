"""What schemas say of each attribute: its spelling, kind, and how its values compare (RFC 7643 §4, §8.7).

SCIM's own schemas are here; an organisation may declare extensions besides (`extensions`).
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any

USER_URN = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_URN = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE_URN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


class Kind(StrEnum):
    STRING = "string"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    INTEGER = "integer"
    DATETIME = "dateTime"
    REFERENCE = "reference"
    BINARY = "binary"
    COMPLEX = "complex"


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """`exact` means that case tells two values apart; `many` that the value is a list.

    `checked` means that texts are looked into: whether they are base64, for instance. SCIM's own are taken as they come.
    `link` means that it names another resource by its `value`, and is that or nothing.
    """

    name: str
    kind: Kind = Kind.STRING
    many: bool = False
    exact: bool = False
    required: bool = False
    unique: bool = False
    mutability: str = "readWrite"
    returned: str = "default"
    checked: bool = False
    link: bool = False
    subs: Mapping[str, "Attribute"] = field(default_factory=dict)

    @cached_property
    def takes_texts(self) -> bool:
        """Whether it is one text, whichever it is."""
        unchecked = (Kind.STRING, Kind.REFERENCE) if self.checked else (Kind.STRING, Kind.REFERENCE, Kind.DATETIME, Kind.BINARY)
        return not self.many and self.kind in unchecked

    @cached_property
    def bare(self) -> bool:
        """Whether it is a list of what are no objects."""
        return self.many and self.kind is not Kind.COMPLEX


def _by_name(attributes: Iterable[Attribute]) -> Mapping[str, Attribute]:
    return MappingProxyType({attribute.name.lower(): attribute for attribute in attributes})


def _complex(name: str, *subs: Attribute, many: bool = False, mutability: str = "readWrite", link: bool = False) -> Attribute:
    return Attribute(name=name, kind=Kind.COMPLEX, many=many, mutability=mutability, link=link, subs=_by_name(subs))


def _strings(*names: str) -> tuple[Attribute, ...]:
    return tuple(Attribute(name=name) for name in names)


def _plural(name: str, *, value: Kind = Kind.STRING) -> Attribute:
    shape = (
        Attribute(name="value", kind=value, exact=value is not Kind.STRING),
        *_strings("display", "type"),
    )
    return _complex(name, *shape, Attribute(name="primary", kind=Kind.BOOLEAN), many=True)


def _link(name: str, *names: str, many: bool = False, mutability: str = "readWrite") -> Attribute:
    """A reference to another resource; what it holds is our own id, and ids are exact."""
    value = Attribute(name="value", exact=True)
    reference = Attribute(name="$ref", kind=Kind.REFERENCE, exact=True)
    return _complex(name, value, reference, *_strings(*names), many=many, mutability=mutability, link=True)


META = _complex(
    "meta",
    Attribute(name="resourceType", exact=True),
    Attribute(name="created", kind=Kind.DATETIME),
    Attribute(name="lastModified", kind=Kind.DATETIME),
    Attribute(name="location", kind=Kind.REFERENCE, exact=True),
    Attribute(name="version", exact=True),
    mutability="readOnly",
)

# Attributes of every resource; the schemas' own discovery documents leave them out (RFC 7643 §3.1).
COMMON = _by_name(
    (
        Attribute(name="schemas", kind=Kind.REFERENCE, many=True, exact=True),
        Attribute(name="id", exact=True, mutability="readOnly"),
        Attribute(name="externalId", exact=True),
        META,
    )
)

USER = _by_name(
    (
        Attribute(name="userName", required=True, unique=True),
        _complex(
            "name",
            *_strings(
                "formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"
            ),
        ),
        *_strings("displayName", "nickName"),
        Attribute(name="profileUrl", kind=Kind.REFERENCE, exact=True),
        *_strings("title", "userType", "preferredLanguage", "locale", "timezone"),
        Attribute(name="active", kind=Kind.BOOLEAN),
        Attribute(name="password", exact=True, mutability="writeOnly"),
        _plural("emails"),
        _plural("phoneNumbers"),
        _plural("ims"),
        _plural("photos", value=Kind.REFERENCE),
        _complex(
            "addresses",
            *_strings(
                "formatted", "streetAddress", "locality", "region", "postalCode", "country", "type", "display"
            ),
            Attribute(name="primary", kind=Kind.BOOLEAN),
            many=True,
        ),
        _link("groups", "display", "type", many=True, mutability="readOnly"),
        _plural("entitlements"),
        _plural("roles"),
        _plural("x509Certificates", value=Kind.BINARY),
    )
)

ENTERPRISE = _by_name(
    (
        *_strings("employeeNumber", "costCenter", "organization", "division", "department"),
        _link("manager", "displayName"),
    )
)

# Named without its schema, what is kept at the top under such a name is meant too; but look-ups by the number go by its index.
ENTERPRISE_OR_TOP = ENTERPRISE.keys() - {"employeenumber"}

GROUP = _by_name(
    (
        Attribute(name="displayName", required=True, unique=True),
        _link("members", "display", "type", many=True),
    )
)

SCHEMAS: Mapping[str, Mapping[str, Attribute]] = MappingProxyType(
    {USER_URN: USER, GROUP_URN: GROUP, ENTERPRISE_URN: ENTERPRISE}
)
CORES = frozenset({USER_URN, GROUP_URN})
_CORE = {**GROUP, **USER, **COMMON}
Place = tuple[str, str]
"""Where an attribute of an extension stands in a document, in lower case: the URN, and its name."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A schema that an organisation declared for the resources whose main schema is `core`.

    `described` is the schema as `/Schemas` tells it, without its `meta`.
    """

    urn: str
    core: str
    attributes: Mapping[str, Attribute]
    described: Mapping[str, Any]


class Vocabulary:
    """The schemas that one organisation's resources are read by: SCIM's own, and those that it declared.

    `version` is the journal's number of the last declaration, None where there never was one. Attributes in `always` are shown
    whatever is asked for, those in `on_request` only to who names them, those in `never` to nobody.
    """

    def __init__(self, extensions: Iterable[Extension] = (), *, version: int | None = None) -> None:
        self.extensions: Mapping[str, Extension] = MappingProxyType({one.urn: one for one in extensions})
        self.version = version
        self._schemas = {**SCHEMAS, **{urn: one.attributes for urn, one in self.extensions.items()}}
        self._urns = {urn.lower(): urn for urn in self._schemas}
        self.always, self.on_request, self.never = (self._returned(word) for word in ("always", "request", "never"))

    def _returned(self, word: str) -> frozenset[Place]:
        places = ((urn, name, attribute) for urn, one in self.extensions.items() for name, attribute in one.attributes.items())
        return frozenset((urn.lower(), name) for urn, name, attribute in places if attribute.returned == word)

    def of_kind(self, core: str) -> "Vocabulary":
        """The same for resources of this main schema: in the schemas that were declared for the other kind they have no attribute."""
        if all(one.core == core for one in self.extensions.values()):
            return self
        own = copy.copy(self)
        own.extensions = MappingProxyType({urn: one for urn, one in self.extensions.items() if one.core == core})
        own._schemas = {**SCHEMAS, **{urn: one.attributes for urn, one in own.extensions.items()}}
        return own

    @property
    def hides(self) -> bool:
        """Whether there are attributes that an answer usually leaves out."""
        return bool(self.on_request or self.never)

    def schema_named(self, urn: str) -> str:
        """The schema's own spelling where it is known; URNs of attributes compare without case (RFC 7643 §1.1)."""
        return self._urns.get(urn.lower(), urn)

    def attributes_of(self, urn: str) -> Mapping[str, Attribute] | None:
        """The attributes of the schema with this URN, spelled as it spells itself; None where it is not known."""
        return self._schemas.get(urn)

    def extension_named(self, urn: str, core: str | None = None) -> Extension | None:
        """The declared schema of this URN, of resources of this main schema only where one is given."""
        found = self.extensions.get(self.schema_named(urn))
        return found if found is not None and core in (None, found.core) else None

    def extensions_of(self, core: str) -> tuple[Extension, ...]:
        """The schemas that were declared for resources of this main schema."""
        return tuple(one for one in self.extensions.values() if one.core == core)

    def attribute_at(self, names: tuple[str, ...]) -> Attribute | None:
        """What is known of the attribute at these keys of a document, such as `(ENTERPRISE_URN, "manager", "value")`."""
        schema = self._schemas.get(self.schema_named(names[0]))
        rest = names if schema is None else names[1:]
        level: Mapping[str, Attribute] = _CORE if schema is None else schema
        found: Attribute | None = None
        for name in rest:
            found = level.get(name.lower())
            if found is None:
                return None
            level = found.subs
        return found

    def spelled(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The same keys as a stored document spells them. An unknown attribute keeps the spelling it came with."""
        known: list[str] = []
        for name in names:
            if ":" in name:
                known.append(self.schema_named(name))
                continue
            attribute = self.attribute_at((*known, name))
            known.append(name if attribute is None else attribute.name)
        return tuple(known)


STANDARD = Vocabulary()
"""SCIM's own schemas and nothing else."""
schema_named, attribute_at, spelled = STANDARD.schema_named, STANDARD.attribute_at, STANDARD.spelled
