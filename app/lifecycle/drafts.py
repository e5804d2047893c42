"""What a directory says of somebody, before it is a record, and how it is written into one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.directory.names import name_key
from app.directory.tables import Record, RecordEmail, Standing
from app.directory.vocabulary import ENTERPRISE_URN
from app.lifecycle.people import emails_of, enterprise, text_of


@dataclass(frozen=True, kw_only=True)
class RecordDraft:
    """A SCIM user as said: `document` without id, meta, groups, password and active. `active` None leaves it (on create: on).

    `number_said` is False where the employee number only stands because a PATCH did not speak of it. On is meant from
    `starts_at` until `ends_at`, where the source names such dates; they are part of what is said, and gone where they are not.
    `off_means` is for a source that says itself what its *off* means, such as a suspension; else the organisation has chosen.
    """

    external_id: str | None
    user_name: str
    active: bool | None
    document: dict[str, Any]
    number_said: bool = True
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    off_means: Standing | None = None


def columns_of(draft: RecordDraft) -> dict[str, Any]:
    """The columns of a record that its draft decides."""
    document = draft.document
    name = document.get("name") if isinstance(document.get("name"), dict) else {}
    parts = [text_of(name.get(part)) for part in ("givenName", "familyName")] if isinstance(name, dict) else []
    return {
        "external_id": draft.external_id,
        "user_name": draft.user_name,
        "user_name_key": name_key(draft.user_name),
        "display_name": text_of(document.get("displayName")) or " ".join(part for part in parts if part) or None,
        "employee_number": number_of(draft),
        "starts_at": draft.starts_at,
        "ends_at": draft.ends_at,
        "document": document,
    }


def number_of(draft: RecordDraft) -> str | None:
    """The employee number that a draft names."""
    return number_in(draft.document)


def number_in(document: Mapping[str, Any]) -> str | None:
    """The employee number that a document names."""
    return text_of(enterprise(document).get("employeeNumber"))


def addresses_of(draft: RecordDraft) -> set[str]:
    """The comparison keys of the addresses that a draft names; a userName that is one is among them."""
    named = [*emails_of(draft.document), *([draft.user_name] if "@" in draft.user_name else [])]
    return {name_key(address) for address in named}


def without_number(draft: RecordDraft) -> RecordDraft:
    """The same without an employee number."""
    return replace(draft, document=without_enterprise(draft.document, "employeeNumber"))


def without_enterprise(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The document without this attribute of the enterprise extension, and without the extension where nothing else is in it."""
    rest = {key: value for key, value in enterprise(document).items() if key != name}
    if rest:
        return {**document, ENTERPRISE_URN: rest}
    others = {key: value for key, value in document.items() if key != ENTERPRISE_URN}
    return {**others, "schemas": [urn for urn in document["schemas"] if urn != ENTERPRISE_URN]} if "schemas" in document else others


def write_draft(record: Record, draft: RecordDraft) -> None:
    for name, value in columns_of(draft).items():
        setattr(record, name, value)


def write_emails(session: Session, record: Record) -> None:
    """Bring the addresses of a record in line with its document."""
    session.flush()
    wanted = {name_key(address) for address in emails_of(record.document)}
    mine = (RecordEmail.organization_id == record.organization_id, RecordEmail.record_id == record.id)
    there = set(session.scalars(select(RecordEmail.address_key).where(*mine)))
    gone = sorted(there - wanted)
    for start in range(0, len(gone), 10_000):
        session.execute(delete(RecordEmail).where(*mine, RecordEmail.address_key.in_(gone[start : start + 10_000])))
    for key in sorted(wanted - there):
        session.add(RecordEmail(organization_id=record.organization_id, record_id=record.id, address_key=key))
    session.flush()
