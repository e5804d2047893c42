"""Who or what a signal is about: subject identifiers (RFC 9493, and those that the Shared Signals Framework adds). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

MEMBERS: Final = ("user", "device", "session", "application", "tenant", "org_unit", "group")
"""What a complex subject may narrow down (SSF 1.0 §3)."""
LONGEST: Final = 1000
MOST_ALIASES: Final = 20


class BadSubject(ValueError):
    """The identifier cannot be read; the message names the member and what it should be."""


@dataclass(frozen=True, kw_only=True)
class Email:
    email: str


@dataclass(frozen=True, kw_only=True)
class IssSub:
    iss: str
    sub: str


@dataclass(frozen=True, kw_only=True)
class Opaque:
    id: str


@dataclass(frozen=True, kw_only=True)
class Named:
    """A format that we read and by which we know nobody: a telephone number, a URI, a DID, an account, the id of a token."""

    format: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Aliases:
    """Several names of one subject (RFC 9493 §3.2.8)."""

    names: tuple["Simple", ...]


@dataclass(frozen=True, kw_only=True)
class Complex:
    """Everything that all of its members describe; a member that is absent is a wildcard. There is at least one."""

    members: Mapping[str, "Simple | Aliases"]


Simple: TypeAlias = Email | IssSub | Opaque | Named
Subject: TypeAlias = Simple | Aliases | Complex

_NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "account": ("uri",),
    "phone_number": ("phone_number",),
    "did": ("url",),
    "uri": ("uri",),
    "jwt_id": ("iss", "jti"),
    "saml_assertion_id": ("issuer", "assertion_id"),
}


def read_subject(said: object, *, subject_type: bool = False) -> Subject:
    """A subject identifier as it came. Raises BadSubject.

    With `subject_type` the format may also stand under its name of before RFC 9493, spelled with hyphens, as Google has it.
    """
    fields = _object(said)
    format = _format(fields, subject_type=subject_type)
    if format == "complex" or (format is None and any(name in MEMBERS for name in fields)):
        # Okta leaves "format" out of a complex subject.
        return _complex(fields, subject_type=subject_type)
    if format == "aliases":
        return _aliases(fields, subject_type=subject_type)
    return _simple(fields, format)


def _object(said: object) -> Mapping[str, Any]:
    if not isinstance(said, dict):
        raise BadSubject("a subject identifier is an object with a format")
    return said


def _format(fields: Mapping[str, Any], *, subject_type: bool) -> str | None:
    value = fields.get("format")
    if value is None and subject_type:
        value = fields.get("subject_type")
        value = value.replace("-", "_") if isinstance(value, str) else value
        value = {"id_token_claims": "iss_sub"}.get(value, value) if isinstance(value, str) else value
    if value is not None and not isinstance(value, str):
        raise BadSubject("format must be a text")
    return value


def _complex(fields: Mapping[str, Any], *, subject_type: bool) -> Complex:
    members: dict[str, Simple | Aliases] = {}
    for name, value in fields.items():
        if name in ("format", "subject_type"):
            continue
        if name not in MEMBERS:
            # Left out it would be a wildcard, and the subject would become larger than it was meant.
            raise BadSubject(f"a complex subject has no member {name[:40]!r}")
        inner = _object(value)
        format = _format(inner, subject_type=subject_type)
        members[name] = _aliases(inner, subject_type=subject_type) if format == "aliases" else _simple(inner, format)
    if not members:
        raise BadSubject("a complex subject needs at least one member")
    return Complex(members=members)


def _aliases(fields: Mapping[str, Any], *, subject_type: bool) -> Aliases:
    listed = fields.get("identifiers")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_ALIASES:
        raise BadSubject(f"identifiers must be a list of 1 to {MOST_ALIASES}")
    names = []
    for one in listed:
        inner = _object(one)
        names.append(_simple(inner, _format(inner, subject_type=subject_type)))
    return Aliases(names=tuple(names))


def _simple(fields: Mapping[str, Any], format: str | None) -> Simple:
    match format:
        case "email":
            return Email(email=_text(fields, "email"))
        case "iss_sub":
            return IssSub(iss=_text(fields, "iss"), sub=_text(fields, "sub"))
        case "opaque":
            return Opaque(id=_text(fields, "id"))
        case "ip-addresses":
            listed = fields.get("ip-addresses")
            known = listed if isinstance(listed, list) else []
            return Named(format=format, values=tuple(one for one in known[:MOST_ALIASES] if isinstance(one, str) and one.isprintable()))
        case str() if format in _NAMED:
            return Named(format=format, values=tuple(_text(fields, name) for name in _NAMED[format]))
        case None:
            raise BadSubject("a subject identifier must say its format")
        case _:
            # Formats may be added, or be somebody's own: nobody is known by them, and that is no fault of the message.
            return Named(format=format[:40] if format.isprintable() else "unknown", values=())


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    # Not printable is what no identifier needs, and no database can be asked for: NUL, half a surrogate pair.
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST or not value.isprintable():
        raise BadSubject(f"{name} must be a text of 1 to {LONGEST} characters")
    return value


def as_document(subject: Subject) -> dict[str, Any]:
    """The identifier as RFC 9493 writes it, of what was understood and of nothing else."""
    match subject:
        case Email():
            return {"format": "email", "email": subject.email}
        case IssSub():
            return {"format": "iss_sub", "iss": subject.iss, "sub": subject.sub}
        case Opaque():
            return {"format": "opaque", "id": subject.id}
        case Named(format="ip-addresses"):
            return {"format": subject.format, "ip-addresses": list(subject.values)}
        case Named():
            return {"format": subject.format, **dict(zip(_NAMED.get(subject.format, ()), subject.values, strict=True))}
        case Aliases():
            return {"format": "aliases", "identifiers": [as_document(one) for one in subject.names]}
        case Complex():
            return {"format": "complex", **{name: as_document(one) for name, one in subject.members.items()}}
        case _:
            assert_never(subject)
