"""What an administrator may set for an LDAP source. Everything is text; an option that nobody knows is an error, not a silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from connectors.contract import Misconfigured
from connectors.source_contract import SourceSettings
from connectors.sources.ldap_wire import Place

KINDS = ("openldap", "ad", "389ds")
CHANGES = ("auto", "none", "dirsync", "usn")

ATTRIBUTES = (
    "user_name", "display_name", "given_name", "family_name", "mail", "title", "department", "employee_number",
    "employee_type", "phone", "manager", "external_id",
)  # fmt: skip
"""Options that name the attribute to read, or several with commas between them, of which the first that is filled counts."""

_OPTIONS = {
    "kind", "base", "bind_dn", "ca_file", "start_tls", "plain", "timeout", "page_size", "people_base", "group_base",
    "people_filter", "group_filter", "active_attribute", "active_values", "changes", "groups", *ATTRIBUTES,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`kind` None: asked of the server. Filters None: those of the kind."""

    place: Place
    kind: str | None
    people_base: str
    group_base: str
    people_filter: str | None
    group_filter: str | None
    attributes: Mapping[str, tuple[str, ...]]
    active_attribute: str | None
    active_values: frozenset[str]
    changes: str
    with_groups: bool


def read_settings(given: SourceSettings) -> Settings:
    """Raises Misconfigured, naming the option. Speaks to nobody."""
    options = given.options
    if unknown := sorted(set(options) - _OPTIONS):
        raise Misconfigured(f"{given.name}: no option {', '.join(unknown)}; known are {', '.join(sorted(_OPTIONS))}")
    kind = _one_of(given, "kind", KINDS) if options.get("kind") else None
    base = options.get("base", "").strip()
    people_base, group_base = options.get("people_base", "").strip() or base, options.get("group_base", "").strip() or base
    if not people_base or not group_base:
        raise Misconfigured(f"{given.name}: the option base is needed: where people and groups are, such as dc=example,dc=com")
    active_attribute = options.get("active_attribute", "").strip().lower() or None
    active_values = frozenset(value.strip().lower() for value in options.get("active_values", "").split(",") if value.strip())
    if bool(active_attribute) != bool(active_values):
        raise Misconfigured(f"{given.name}: active_attribute and active_values are only good together")
    return Settings(
        place=_place(given),
        kind=kind,
        people_base=people_base,
        group_base=group_base,
        people_filter=_filter(given, "people_filter"),
        group_filter=_filter(given, "group_filter"),
        attributes={name: _names(options[name]) for name in ATTRIBUTES if options.get(name)},
        active_attribute=active_attribute,
        active_values=active_values,
        changes=_one_of(given, "changes", CHANGES) if options.get("changes") else "auto",
        with_groups=_flag(given, "groups", otherwise=True),
    )


def _place(given: SourceSettings) -> Place:
    try:
        url = urlsplit(given.url)
        host, port = url.hostname, url.port
    except ValueError:
        raise Misconfigured(f"{given.name}: {given.url} is not an address") from None
    if url.scheme not in ("ldap", "ldaps") or not host or url.username or url.path.strip("/") or url.query:
        raise Misconfigured(f"{given.name}: the address is ldaps://HOST[:PORT] or ldap://HOST[:PORT], and nothing more")
    tls, start_tls, plain = url.scheme == "ldaps", _flag(given, "start_tls"), _flag(given, "plain")
    if tls and start_tls:
        raise Misconfigured(f"{given.name}: ldaps:// is encrypted already; start_tls goes with ldap://")
    if not tls and not start_tls and not plain:
        raise Misconfigured(f"{given.name}: over ldap:// the password would be sent in the clear; use ldaps:// or start_tls=true")
    return Place(
        name=given.name,
        host=host,
        port=port or (636 if tls else 389),
        tls=tls,
        start_tls=start_tls,
        ca_file=given.options.get("ca_file") or None,
        bind_dn=given.options.get("bind_dn", "").strip(),
        password=given.secret,
        timeout=_number(given, "timeout", otherwise=30, most=600),
        page_size=_number(given, "page_size", otherwise=500, most=10_000),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip().lower()))


def _filter(given: SourceSettings, name: str) -> str | None:
    text = given.options.get(name, "").strip()
    if text and not (text.startswith("(") and text.endswith(")")):
        raise Misconfigured(f"{given.name}: {name} stands in parentheses, such as (objectClass=inetOrgPerson)")
    return text or None


def _one_of(given: SourceSettings, name: str, known: tuple[str, ...]) -> str:
    value = given.options[name].strip().lower()
    if value not in known:
        raise Misconfigured(f"{given.name}: {name} is one of {', '.join(known)}")
    return value


def _flag(given: SourceSettings, name: str, *, otherwise: bool = False) -> bool:
    value = given.options.get(name, "").strip().lower()
    if value not in ("", "true", "false"):
        raise Misconfigured(f"{given.name}: {name} is true or false")
    return value == "true" if value else otherwise


def _number(given: SourceSettings, name: str, *, otherwise: int, most: int) -> int:
    text = given.options.get(name, "").strip()
    if text and not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise Misconfigured(f"{given.name}: {name} is a whole number from 1 to {most}")
    return int(text) if text else otherwise
