"""A small company for unit tests: an organisation, its directory, and people joined through the real verbs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.database import in_transaction, new_id
from app.directory.tables import Person, Record
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Organization
from app.lifecycle import brake
from app.lifecycle.records import RecordDraft, add_record, change_record
from app.lifecycle.sources import add_organization, add_scim_source, set_setting

NOW = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
OKTA = Actor(kind=ActorKind.SOURCE, name="okta")
ADMIN = Actor(kind=ActorKind.OPERATOR, name="ana")


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def document(user_name: str, number: str | None, **enterprise: Any) -> dict[str, Any]:
    extension = {**({"employeeNumber": number} if number else {}), **enterprise}
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": user_name,
        "displayName": user_name.split("@", maxsplit=1)[0].title(),
        "userType": "Employee",
        "emails": [{"value": user_name, "type": "work", "primary": True}],
        ENTERPRISE_URN: extension,
    }


@dataclass(frozen=True, kw_only=True)
class Company:
    organization_id: str
    source_id: str

    def joins(
        self, user_name: str, number: str | None = None, *, source_id: str | None = None, at: datetime = NOW, **enterprise: Any
    ) -> Record:
        draft = RecordDraft(
            external_id=f"00u-{user_name}", user_name=user_name, active=True, document=document(user_name, number, **enterprise)
        )
        return in_transaction(
            lambda session: add_record(session, self.organization_id, source_id or self.source_id, draft, actor=OKTA, at=at, because="test")
        )

    def says(self, record: Record, *, active: bool, at: datetime = NOW) -> Record:
        draft = RecordDraft(external_id=record.external_id, user_name=record.user_name, active=active, document=record.document)
        return in_transaction(
            lambda session: change_record(
                session, self.organization_id, record.source_id, record.id, draft, actor=OKTA, at=at, because="test"
            )
        )

    def person(self, record: Record) -> Person:
        return in_transaction(lambda session: session.get_one(Person, (self.organization_id, record.person_id)))


def new_company() -> Company:
    def act(session: Session) -> Company:
        organization = add_organization(session, f"Northwind {new_id()}", at=NOW)
        source, _ = add_scim_source(session, organization.id, "okta", actor=ADMIN, at=NOW)
        return Company(organization_id=organization.id, source_id=source.id)

    return in_transaction(act)


def another_source(company: Company, name: str) -> str:
    return in_transaction(lambda session: add_scim_source(session, company.organization_id, name, actor=ADMIN, at=NOW)[0].id)


def company_that_holds_all() -> Company:
    """One whose sources may take nobody's access by themselves."""
    made = new_company()
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, made.organization_id), "push_brake", "0/60s", actor=ADMIN, at=later(0)))
    return made


def decides(company: Company, how: Callable[..., Any], *, at: float) -> None:
    """An operator lets through (`leaving.release`) or rejects (`leaving.reject`) everything that is held."""

    def act(session: Session) -> None:
        for held, lines in brake.waiting(session, company.organization_id):
            how(session, held, lines, actor=ADMIN, at=later(at))

    in_transaction(act)
