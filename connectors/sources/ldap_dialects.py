"""In what the servers differ: the id that never changes, names of attributes, and what *off* looks like."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from connectors.source_contract import SourceKey
from connectors.sources.ldap_filters import equals, escaped_bytes
from connectors.sources.ldap_wire import Entry

LOCKED_FOR_GOOD = "000001010000Z"
NEVER = {0, 0x7FFFFFFFFFFFFFFF}
ACCOUNT_DISABLED = 0x2
_WINDOWS_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """May they come in, as the directory says; in its word for it. `ended` where only their end is in the way."""

    active: bool = True
    state: str = ""
    ends_at: datetime | None = None
    ended: bool = False


class Unreadable(Exception):
    """What decides over somebody's access is not shown to us: not knowing is neither on nor off."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    kind: str
    key_attribute: str
    key_of: Callable[[bytes], SourceKey]
    key_filter: Callable[[SourceKey], str]
    attributes: Mapping[str, tuple[str, ...]]
    people_filter: str
    group_filter: str
    member_attributes: tuple[str, ...]
    standing_attributes: tuple[str, ...]
    standing: Callable[[Entry, datetime], Standing]
    primary_groups: bool = False
    on_by_absence: Mapping[str, str] = field(default_factory=dict)
    """Attributes of those alone who are off, or end: one that is not shown looks like one that is not there. With a value that may be compared."""


def _openldap_standing(entry: Entry, at: datetime) -> Standing:
    # A lock by the password policy passes, or ends with the next reset: whoever mistyped has not left. Only the value that
    # the policy's draft gives to an administrator's lock is for good (draft-behera-ldap-password-policy-10 §5.3.3).
    if entry.text("pwdaccountlockedtime") == LOCKED_FOR_GOOD:
        return Standing(active=False, state="locked by an administrator")
    return _shadow(entry, at)


def _389ds_standing(entry: Entry, at: datetime) -> Standing:
    # Also where a role locks whole groups of people: the server computes the attribute.
    if entry.text("nsaccountlock").lower() == "true":
        return Standing(active=False, state="nsAccountLock")
    return _shadow(entry, at)


def _shadow(entry: Entry, at: datetime) -> Standing:
    """shadowExpire: the day since 1970 from which on the account is closed; a negative one, or 0, means never (shadow(5))."""
    day = entry.number("shadowexpire")
    if day is None or not 0 < day < 2_900_000:
        return Standing()
    return _until(_UNIX_EPOCH + timedelta(days=day), at, state="shadowExpire")


def _ad_standing(entry: Entry, at: datetime) -> Standing:
    # lockoutTime (too many wrong passwords) and pwdLastSet 0 (must be changed first) say nothing about employment.
    control = entry.number("useraccountcontrol")
    if control is None:
        raise Unreadable("userAccountControl")
    if control & ACCOUNT_DISABLED:
        return Standing(active=False, state="disabled")
    if "accountexpires" not in entry.values:
        # Every account has it, be it for *never* (MS-SAMR §3.1.1.8.1): without it somebody whose end has come would be on.
        raise Unreadable("accountExpires")
    ticks = entry.number("accountexpires") or 0
    if ticks in NEVER or ticks < 0:
        return Standing()
    try:
        return _until(_WINDOWS_EPOCH + timedelta(microseconds=ticks // 10), at, state="accountExpires")
    except OverflowError:
        return Standing()  # after the year 9999


def _until(end: datetime, at: datetime, *, state: str) -> Standing:
    # It passes without any change in the directory, so it is told beforehand, and is *off* whenever it is read afterwards.
    if at < end:
        return Standing(ends_at=end)
    return Standing(active=False, state=f"{state} has passed", ends_at=end, ended=True)


def _text_key(value: bytes) -> SourceKey:
    return SourceKey(value.decode("ascii", errors="replace").lower())


def _guid(value: bytes) -> SourceKey:
    """The first three parts are little-endian (MS-DTYP §2.3.4.2); this is how Windows writes it."""
    return SourceKey(str(uuid.UUID(bytes_le=bytes(value))))


def _guid_filter(key: SourceKey) -> str:
    try:
        return f"(objectGUID={escaped_bytes(uuid.UUID(key).bytes_le)})"
    except ValueError:
        return "(!(objectClass=*))"


_UNIX_NAMES = {
    "user_name": ("uid",),
    "display_name": ("displayname", "cn"),
    "given_name": ("givenname",),
    "family_name": ("sn",),
    "mail": ("mail",),
    "title": ("title",),
    "department": ("departmentnumber",),
    "employee_number": ("employeenumber",),
    "employee_type": ("employeetype",),
    "phone": ("telephonenumber",),
    "manager": ("manager",),
}
_UNIX_GROUPS = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))"
_UNIX_MEMBERS = ("member", "uniquemember", "memberuid")

OPENLDAP = Dialect(
    kind="openldap",
    key_attribute="entryuuid",
    key_of=_text_key,
    key_filter=lambda key: equals("entryUUID", key),
    attributes=_UNIX_NAMES,
    people_filter="(objectClass=inetOrgPerson)",
    group_filter=_UNIX_GROUPS,
    member_attributes=_UNIX_MEMBERS,
    standing_attributes=("pwdaccountlockedtime", "shadowexpire"),
    standing=_openldap_standing,
    on_by_absence={"pwdAccountLockedTime": LOCKED_FOR_GOOD, "shadowExpire": "0"},
)
DS389 = Dialect(
    kind="389ds",
    key_attribute="nsuniqueid",
    key_of=_text_key,
    key_filter=lambda key: equals("nsUniqueId", key),
    attributes=_UNIX_NAMES,
    people_filter="(objectClass=inetOrgPerson)",
    group_filter=_UNIX_GROUPS,
    member_attributes=_UNIX_MEMBERS,
    standing_attributes=("nsaccountlock", "shadowexpire"),
    standing=_389ds_standing,
    on_by_absence={"nsAccountLock": "true", "shadowExpire": "0"},
)
AD = Dialect(
    kind="ad",
    key_attribute="objectguid",
    key_of=_guid,
    key_filter=_guid_filter,
    attributes={
        **_UNIX_NAMES,
        "user_name": ("userprincipalname", "samaccountname"),
        "department": ("department",),
        "employee_number": ("employeeid", "employeenumber"),
    },
    # Administrator, Guest and krbtgt are the directory's own.
    people_filter="(&(objectCategory=person)(objectClass=user)(!(isCriticalSystemObject=TRUE)))",
    group_filter="(objectClass=group)",
    member_attributes=("member",),
    standing_attributes=("useraccountcontrol", "accountexpires"),
    standing=_ad_standing,
    primary_groups=True,
)
DIALECTS = {dialect.kind: dialect for dialect in (OPENLDAP, DS389, AD)}


def dialect_of(root: Entry) -> Dialect:
    """By what the server says about itself (RFC 4512 §5.1); OpenLDAP's where it says nothing that is known."""
    # https://learn.microsoft.com/openspecs/windows_protocols/ms-adts/ (LDAP_CAP_ACTIVE_DIRECTORY_OID)
    if "1.2.840.113556.1.4.800" in root.texts("supportedcapabilities"):
        return AD
    if "389" in root.text("vendorname") or "Directory Server" in root.text("vendorversion"):
        return DS389
    return OPENLDAP


ROOT_ATTRIBUTES = ("supportedCapabilities", "vendorName", "vendorVersion", "namingContexts", "supportedControl", "supportedLDAPVersion")
