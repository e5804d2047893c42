"""What SCIM's own schemas say of each attribute: its spelling, kind, and how its values compare (RFC 7643 §4, §8.7)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

USER_URN = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_URN = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE_URN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


class Kind(StrEnum):
    STRING = "string"
    BOOLEAN = "boolean"
    DATETIME = "dateTime"
    REFERENCE = "reference"
    BINARY = "binary"
    COMPLEX = "complex"


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """`exact` means that case tells two values apart; `many` that the value is a list."""

    name: str
    kind: Kind = Kind.STRING
    many: bool = False
    exact: bool = False
    required: bool = False
    unique: bool = False
    mutability: str = "readWrite"
    subs: Mapping[str, "Attribute"] = field(default_factory=dict)


def _by_name(attributes: Iterable[Attribute]) -> Mapping[str, Attribute]:
    return MappingProxyType({attribute.name.lower(): attribute for attribute in attributes})


def _complex(name: str, *subs: Attribute, many: bool = False, mutability: str = "readWrite") -> Attribute:
    return Attribute(name=name, kind=Kind.COMPLEX, many=many, mutability=mutability, subs=_by_name(subs))


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
    return _complex(name, value, reference, *_strings(*names), many=many, mutability=mutability)


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

GROUP = _by_name(
    (
        Attribute(name="displayName", required=True, unique=True),
        _link("members", "display", "type", many=True),
    )
)

SCHEMAS: Mapping[str, Mapping[str, Attribute]] = MappingProxyType(
    {USER_URN: USER, GROUP_URN: GROUP, ENTERPRISE_URN: ENTERPRISE}
)
_URNS = {urn.lower(): urn for urn in SCHEMAS}
_CORE = {**GROUP, **USER, **COMMON}


def schema_named(urn: str) -> str:
    """The schema's own spelling where we know it; URNs of attributes compare without case (RFC 7643 §1.1)."""
    return _URNS.get(urn.lower(), urn)


def attribute_at(names: tuple[str, ...]) -> Attribute | None:
    """What is known of the attribute at these keys of a document, such as `(ENTERPRISE_URN, "manager", "value")`."""
    schema = SCHEMAS.get(schema_named(names[0]))
    rest = names if schema is None else names[1:]
    level: Mapping[str, Attribute] = _CORE if schema is None else schema
    found: Attribute | None = None
    for name in rest:
        found = level.get(name.lower())
        if found is None:
            return None
        level = found.subs
    return found


def spelled(names: tuple[str, ...]) -> tuple[str, ...]:
    """The same keys as a stored document spells them. An unknown attribute keeps the spelling it came with."""
    known: list[str] = []
    for name in names:
        if ":" in name:
            known.append(schema_named(name))
            continue
        attribute = attribute_at((*known, name))
        known.append(name if attribute is None else attribute.name)
    return tuple(known)
