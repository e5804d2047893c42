"""What tests about questions do: people who are pushed and pulled, in doubt and answered for."""

from typing import Any

from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Person, Record, StatementKind, Voice
from app.lifecycle import leaving, matching, questions
from app.lifecycle.answering import answer
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.matching import Doubt
from app.lifecycle.pulled_tables import Question
from app.lifecycle.records import add_record
from tests.company import ADMIN, OKTA, Company, document, later

ANA = ADMIN


def draft(user_name: str, number: str | None = None, *, external_id: str | None = None, active: bool = True, **enterprise: Any) -> RecordDraft:
    return RecordDraft(
        external_id=external_id or f"id-{user_name}", user_name=user_name, active=active, document=document(user_name, number, **enterprise)
    )


def pushes(company: Company, source_id: str, said: RecordDraft, *, at: float = 0) -> Record:
    return in_transaction(lambda session: add_record(session, company.organization_id, source_id, said, actor=OKTA, at=later(at), because="push"))


def pulls(company: Company, source_id: str, said: RecordDraft, *, key: str = "uuid", at: float = 0) -> Question | None:
    """As a pull does it: whoever is in doubt waits outside."""

    def act(session: Session) -> Question | None:
        found = matching.whom(session, company.organization_id, source_id, said, key=key)
        if isinstance(found, Doubt):
            return questions.ask(session, company.organization_id, source_id, found, key=key, draft=said, actor=OKTA, at=later(at))
        questions.withdraw(session, company.organization_id, source_id, key=key, actor=OKTA, at=later(at), because="it is clear now")
        add_record(session, company.organization_id, source_id, said, match=found, actor=OKTA, at=later(at), because="run 1")
        return None

    return in_transaction(act)


def answers(company: Company, number: int, same_as: str | None = None, *, at: float = 10) -> Person:
    return in_transaction(lambda session: answer(session, company.organization_id, number, same_as=same_as, actor=ANA, at=later(at)))


def asked(company: Company) -> list[Question]:
    with reading() as session:
        return list(questions.waiting(session, company.organization_id))


def question(company: Company, number: int) -> Question:
    with reading() as session:
        return questions.find(session, company.organization_id, number)


def person(company: Company, person_id: str) -> Person:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id))


def record(company: Company, record_id: str) -> Record:
    with reading() as session:
        return session.get_one(Record, (company.organization_id, record_id))


def says(
    company: Company, person_id: str, kind: StatementKind, *, voice: Voice = Voice.HR, at: float = 1, effective: float | None = None
) -> None:
    in_transaction(
        lambda session: leaving.say(
            session, company.organization_id, person_id, voice=voice, kind=kind, said_by="x", effective_at=later(at if effective is None else effective),
            actor=ADMIN, at=later(at), because="test",
        )
    )  # fmt: skip
