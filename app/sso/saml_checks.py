"""A SAML response, checked: what it has to prove without anybody being looked up. Pure but for the key that opens it.

python3-saml's own validation stays out of this. It takes an address that begins like ours, a recipient that contains ours, an
audience among others, a clock five minutes off; it knows only its own clock, and does not ask what a message answers. Its
schema, its decryption and its metadata are used; signatures are checked by the library below it, xmlsec.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import onelogin.saml2
from lxml import etree

from app.sso.refusals import Reason
from app.sso.saml_sealed import is_sealed, opened
from app.sso.saml_settings import Provider
from app.sso.saml_signatures import check_places, check_signature, signature_of
from app.sso.saml_xml import SAML, SAMLP, Element, bad, children, elements, from_post, only, read, text_of

SKEW: Final = timedelta(minutes=3)
"""How far a provider's clock may be from ours, either way."""
LONGEST_NAME: Final = 256
"""Characters of a NameID (Core §8.3.7)."""
_RESPONSE: Final = f"{{{SAMLP}}}Response"
_SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
_BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_ENTITY: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
_TRANSIENT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
_CONDITIONS: Final = frozenset(f"{{{SAML}}}{name}" for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction"))
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_SCHEMA: Final = Path(onelogin.saml2.__file__).parent / "schemas" / "saml-schema-protocol-2.0.xsd"
_kept = threading.local()


@dataclass(frozen=True, kw_only=True)
class NameID:
    """How the provider names somebody, as it is to be named back to it."""

    value: str
    format: str | None = None
    name_qualifier: str | None = None
    sp_name_qualifier: str | None = None

    def stored(self) -> dict[str, str | None]:
        return {
            "value": self.value,
            "format": self.format,
            "name_qualifier": self.name_qualifier,
            "sp_name_qualifier": self.sp_name_qualifier,
        }


@dataclass(frozen=True, kw_only=True)
class Assertion:
    """What a response says, all of it from the one assertion whose signature was checked. `good_until` is when it is too old to be shown."""

    id: str
    in_response_to: str | None
    name_id: NameID
    session_index: str | None
    issued_at: datetime
    good_until: datetime
    authenticated_at: datetime
    until: datetime | None
    acr: str | None
    attributes: Mapping[str, tuple[str, ...]] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Proved:
    """A response whose assertion is signed by the provider. What it says has not been looked at yet, times and addressees least of all."""

    root: Element = field(repr=False)
    assertion: Element = field(repr=False)

    @property
    def in_response_to(self) -> str | None:
        """Which request it answers, as the response says; `read_assertion` holds the assertion against it."""
        return self.root.get("InResponseTo")


def check(provider: Provider, message: str, *, at: datetime) -> Assertion:
    """Everything that a response of the POST binding has to prove by itself. Raises Refused.

    Not looked at here: whether we asked for it and which browser did, and whether it was shown before.
    """
    return read_assertion(provider, prove(provider, message, at=at), asked_at=None, at=at)


def prove(provider: Provider, message: str, *, at: datetime) -> Proved:
    """Who says it. Raises Refused."""
    root = read(from_post(message), root=_RESPONSE)
    check_message(provider, root, at=at, address=provider.ours.acs)
    _check_status(root)
    response_is_signed = signature_of(root) is not None
    if response_is_signed:
        check_places(root, next(iter(children(root, "saml:Assertion")), None))
        check_signature(root, provider.certificates, at=at)
    if is_sealed(root):
        root = opened(provider, root, response_is_signed=response_is_signed)
    assertion = only(root, "saml:Assertion")
    check_places(root, assertion)
    _check_issuer(provider, assertion, required=True)
    check_signature(assertion, provider.certificates, at=at)
    check_schema(root)
    return Proved(root=root, assertion=assertion)


def check_message(provider: Provider, root: Element, *, at: datetime, address: str) -> None:
    """What holds for every message: version, issuer, the very address it came to, and a clock that is not ahead of ours."""
    if root.get("Version") != "2.0" or not root.get("ID"):
        raise bad("the message is not of SAML 2.0, or has no ID")
    _check_issuer(provider, root, required=False)
    destination = root.get("Destination")
    # Bindings §3.4.5.2 and §3.5.5.2: a signed message says where it goes.
    if destination != address and (destination is not None or signature_of(root) is not None):
        raise bad(f"the message is for {(destination or 'nowhere')[:200]!r} and came to {address}", Reason.OTHER_AUDIENCE)
    _not_ahead("the message", "was made", instant(root, "IssueInstant"), at=at)


def _check_issuer(provider: Provider, element: Element, *, required: bool) -> None:
    found = children(element, "saml:Issuer")
    if not found and not required:
        return
    issuer = only(element, "saml:Issuer")
    name = text_of(issuer)
    if name != provider.entity_id or issuer.get("Format", _ENTITY) != _ENTITY:
        raise bad(f"the message is from {name[:200]!r}; this connection is to {provider.entity_id}", Reason.OTHER_ISSUER)


def _check_status(root: Element) -> None:
    code = only(only(root, "samlp:Status"), "samlp:StatusCode")
    if code.get("Value") != _SUCCESS:
        # The provider's own words may be anything and are not signed; its codes are a closed list.
        within = [one.get("Value", "") for one in children(code, "samlp:StatusCode")]
        said = " ".join(one.rpartition(":")[2][:60] for one in [code.get("Value", ""), *within])
        raise bad(f"the provider refused: {said}", Reason.PROVIDER_SAID_NO)


def check_schema(root: Element) -> None:
    """The message is as the schema of SAML says. Raises Refused."""
    if not hasattr(_kept, "schema"):
        _kept.schema = etree.XMLSchema(etree.parse(_SCHEMA))
    if not _kept.schema.validate(root):
        fault = _kept.schema.error_log.last_error
        raise bad(f"the message does not follow the schema of SAML: {fault.message[:200] if fault is not None else ''}")


def read_assertion(provider: Provider, proved: Proved, *, asked_at: datetime | None, at: datetime) -> Assertion:
    """What is said: to us, at this time, and of whom. Raises Refused. `asked_at` is when we asked, where we did: it tells whose clock is behind."""
    root, assertion = proved.root, proved.assertion
    if assertion.get("Version") != "2.0":
        raise bad("the assertion is not of SAML 2.0")
    issued_at = instant(assertion, "IssueInstant")
    _not_ahead("the assertion", "was made", issued_at, at=at)
    if asked_at is not None and issued_at < asked_at - SKEW:
        raise bad(
            f"the assertion was made at {issued_at:%Y-%m-%d %H:%M:%S} UTC, {_minutes(asked_at - issued_at)} before it was asked for: the provider's "
            f"clock is more than {SKEW.seconds // 60} minutes behind ours", Reason.CLOCK_SKEW,
        )  # fmt: skip
    _check_conditions(provider, only(assertion, "saml:Conditions"), at=at)
    subject = only(assertion, "saml:Subject")
    if root.get("InResponseTo") == "":
        raise bad("the response has an empty InResponseTo")
    good_until = _check_confirmation(provider, subject, in_response_to=root.get("InResponseTo"), at=at)
    statement = only(assertion, "saml:AuthnStatement")
    authenticated_at = instant(statement, "AuthnInstant")
    _not_ahead("the sign-in", "took place", authenticated_at, at=at)
    until = instant(statement, "SessionNotOnOrAfter") if statement.get("SessionNotOnOrAfter") is not None else None
    if until is not None and until <= at:
        raise bad(f"the session at the provider ended at {until:%Y-%m-%d %H:%M:%S} UTC", Reason.TOO_LATE)
    classes = elements(statement, "./saml:AuthnContext/saml:AuthnContextClassRef")
    return Assertion(
        id=assertion.get("ID", ""), in_response_to=root.get("InResponseTo"), name_id=read_name_id(provider, subject),
        session_index=statement.get("SessionIndex") or None, issued_at=issued_at, good_until=good_until, authenticated_at=authenticated_at,
        until=until, acr=text_of(classes[0]) if classes else None, attributes=_attributes(assertion),
    )  # fmt: skip


def _check_conditions(provider: Provider, conditions: Element, *, at: datetime) -> None:
    _check_window("the assertion", conditions, at=at)
    if any(child.tag not in _CONDITIONS for child in conditions):
        # Core §2.5.1.1: a condition that is not understood makes the assertion one that cannot be relied on.
        raise bad("the assertion has a condition that is not known")
    restrictions = children(conditions, "saml:AudienceRestriction")
    if not restrictions:
        raise bad("the assertion does not say for whom it is", Reason.OTHER_AUDIENCE)
    for restriction in restrictions:
        audiences = [text_of(one) for one in children(restriction, "saml:Audience")]
        # Said to somebody else as well, it could be shown to us by them.
        if audiences != [provider.ours.entity_id]:
            raise bad(
                f"the assertion is for {', '.join(audiences)[:300]!r}, not for {provider.ours.entity_id} alone", Reason.OTHER_AUDIENCE
            )


def _check_confirmation(provider: Provider, subject: Element, *, in_response_to: str | None, at: datetime) -> datetime:
    """Whoever shows the assertion may: until when. Every bearer confirmation has to hold, since we cannot know which one is meant."""
    bearers = [one for one in children(subject, "saml:SubjectConfirmation") if one.get("Method") == _BEARER]
    if not bearers:
        raise bad("the assertion is not one that its bearer may show")
    ends = []
    for bearer in bearers:
        # Addresses are not compared: behind proxies and mobile networks they say nothing. The browser is bound by InResponseTo.
        said = only(bearer, "saml:SubjectConfirmationData")
        if said.get("Recipient") != provider.ours.acs:
            raise bad(
                f"the assertion is to be shown at {(said.get('Recipient') or 'nowhere')[:200]!r}, not at {provider.ours.acs}",
                Reason.OTHER_AUDIENCE,
            )
        if said.get("InResponseTo") != in_response_to:
            raise bad("the assertion answers another request than the response it came in", Reason.NOT_ASKED_FOR)
        if said.get("NotOnOrAfter") is None:
            raise bad("the assertion does not say until when it may be shown")
        _check_window("the right to show the assertion", said, at=at)
        ends.append(instant(said, "NotOnOrAfter"))
    return min(ends)


def _check_window(what: str, element: Element, *, at: datetime) -> None:
    if element.get("NotBefore") is not None:
        _not_ahead(what, "begins", instant(element, "NotBefore"), at=at)
    # Some write the last second of the year 9999 for *never*, and nothing can be added to that.
    if element.get("NotOnOrAfter") is not None and (end := instant(element, "NotOnOrAfter")) <= at - SKEW:
        raise bad(
            f"{what} ended at {end:%Y-%m-%d %H:%M:%S} UTC, {_minutes(at - end)} ago by our clock", Reason.TOO_LATE,
        )  # fmt: skip


def _not_ahead(what: str, does: str, moment: datetime, *, at: datetime) -> None:
    if moment > at + SKEW:
        raise bad(
            f"{what} {does} at {moment:%Y-%m-%d %H:%M:%S} UTC, {_minutes(moment - at)} from now by our clock: the provider's clock and ours "
            f"differ by more than {SKEW.seconds // 60} minutes", Reason.CLOCK_SKEW,
        )  # fmt: skip


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.1f} minutes"


def instant(element: Element, name: str) -> datetime:
    """An attribute that is an instant with its zone (Core §1.3.3). Raises Refused."""
    text = element.get(name, "")
    try:
        if not _INSTANT.fullmatch(text):
            raise ValueError(text)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise bad(f"the message has a {name} that is no instant in UTC: {text[:60]!r}") from error


def read_name_id(provider: Provider, parent: Element) -> NameID:
    """Whom the message is about. Raises Refused: no name, one that will be another next time, or one that could be mistaken."""
    if children(parent, "saml:EncryptedID"):
        raise bad("the NameID is encrypted; have the provider encrypt the whole assertion")
    found = only(parent, "saml:NameID")
    value = text_of(found)
    if not value or len(value) > LONGEST_NAME or value != value.strip() or not value.isprintable():
        raise bad(
            f"the NameID is empty, longer than {LONGEST_NAME} characters, or has spaces or control characters that do not belong there"
        )
    if found.get("Format") == _TRANSIENT:
        raise bad("the NameID is transient, another one each time; have the provider send a persistent one")
    ours = found.get("SPNameQualifier")
    if ours not in (None, "", provider.ours.entity_id):
        raise bad(f"the NameID is one for {(ours or '')[:200]!r}, not for {provider.ours.entity_id}", Reason.OTHER_AUDIENCE)
    qualified = partial(found.get, default=None)
    return NameID(
        value=value, format=qualified("Format"), name_qualifier=qualified("NameQualifier"), sp_name_qualifier=qualified("SPNameQualifier")
    )


def _attributes(assertion: Element) -> dict[str, tuple[str, ...]]:
    said: dict[str, tuple[str, ...]] = {}
    if elements(assertion, ".//saml:EncryptedAttribute"):
        raise bad("an attribute is encrypted; have the provider encrypt the whole assertion")
    for attribute in elements(assertion, "./saml:AttributeStatement/saml:Attribute"):
        # A value with more than text in it, such as a NameID, is none of those that are asked for here.
        values = tuple(
            one.text.strip() for one in children(attribute, "saml:AttributeValue") if not len(one) and one.text and one.text.strip()
        )
        name = attribute.get("Name", "")
        # Repeated, it is one attribute with all the values: what must be single is then refused for being several.
        said[name] = said.get(name, ()) + values
    return said
