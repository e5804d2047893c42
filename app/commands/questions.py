"""Verbs on questions: is this the same person?"""

import click
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, NUMBERED, Acting, person_fields, verb
from app.commands.exits import Unclear
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Person, Record, Source
from app.lifecycle.answering import answer as say
from app.lifecycle.errors import NotFound
from app.lifecycle.people import find_people
from app.lifecycle.pulled_tables import Question
from app.lifecycle.questions import candidates_of, find, said_of, waiting


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(questions)


@click.group()
def questions() -> None:
    """Is this the same person? What is in doubt waits for somebody who knows."""


_NUMBER = click.argument("number", type=NUMBERED)


@verb(questions, "list", may=ANYONE)
def list_questions(acting: Acting) -> Answer:
    """Every question that waits for an answer, oldest first."""
    with reading() as session:
        shown = [_fields(session, question) for question in waiting(session, acting.organization_id)]
    columns = ("number", "source", "userName", "reason", "since")
    return Answer(
        schema="questions", fields={"questions": shown}, tables=[Table(columns=columns, rows=[[one[name] for name in columns] for one in shown])]
    )


def _fields(session: Session, question: Question) -> dict[str, object]:
    source = session.get(Source, (question.organization_id, question.source_id))
    said = said_of(session, question)
    candidates: list[dict[str, object]] = []
    for one in candidates_of(question):
        person = session.get(Person, (question.organization_id, one.person_id))
        if person is not None:
            candidates.append({**person_fields(person), "because": one.because})
    return {
        "number": question.number, "state": question.state, "source": source.name if source is not None else None, "userName": said.user_name,
        "externalId": said.external_id, "record": question.record_id, "reason": question.reason, "candidates": candidates,
        "since": iso(question.asked_at), "answer": question.answer, "answered": iso(question.answered_at), "answered_by": question.answered_by,
    }  # fmt: skip


@verb(questions, "show", may=ANYONE)
@_NUMBER
def show(acting: Acting, number: int) -> Answer:
    """One question: what the source says of them, and who may be meant."""
    with reading() as session:
        question = find(session, acting.organization_id, number)
        fields = _fields(session, question)
        said = said_of(session, question)
        person = _person_now(session, question)
    columns = ("userName", "displayName", "employeeNumber", "standing", "because", "id")
    candidates = fields["candidates"]
    assert isinstance(candidates, list)
    notes = [f"{question.reason}. The source says {said.user_name}, {'off' if said.active is False else 'on'}."]
    return Answer(
        schema="questions.show",
        fields={
            **fields, "person": person_fields(person) if person is not None else None,
            "said": {"active": said.active is not False, "document": said.document},
        },
        tables=[Table(columns=columns, rows=[[one[name] for name in columns] for one in candidates])], notes=notes,
    )  # fmt: skip


def _person_now(session: Session, question: Question) -> Person | None:
    """Whose the record is until somebody answers; nobody's where it waits outside."""
    if question.record_id is None:
        return None
    record = session.get_one(Record, (question.organization_id, question.record_id))
    return session.get_one(Person, (question.organization_id, record.person_id))


@verb(questions, "answer", may=ADMINS)
@_NUMBER
@click.option("--same", metavar="PERSON", help="It is this person, one of those who may be meant.")
@click.option("--new", "is_new", is_flag=True, help="It is none of them, but a person of their own.")
def answer(acting: Acting, number: int, same: str | None, is_new: bool) -> Answer:
    """Say whose it is. Nobody gets access by it: their standing follows from what all voices say."""
    if (same is None) != is_new:
        raise click.UsageError("say either --same PERSON or --new")

    def act(session: Session) -> dict[str, object]:
        question = find(session, acting.organization_id, number)
        same_as = None if same is None else _candidate(session, question, same).id
        person = say(session, acting.organization_id, number, same_as=same_as, actor=acting.actor, at=now())
        return {"number": number, "answer": "new" if same_as is None else "same", "person": person_fields(person)}

    fields = in_transaction(act)
    return Answer(schema="questions.answered", fields=fields, notes=[f"question {number}: {'a person of their own' if is_new else same}."])


def _candidate(session: Session, question: Question, text: str) -> Person:
    """Whom PERSON means among those who may be meant: a name that others bear as well is clear here."""
    named = find_people(session, question.organization_id, text)
    if not named:
        raise NotFound("person", text)
    candidates = {one.person_id for one in candidates_of(question)}
    meant = [one for one in named if one.id in candidates]
    if len(meant) != 1:
        what = f"{text} fits {len(meant)} of those who may be meant" if meant else f"question {question.number} does not ask about {text}"
        raise Unclear(f"{what}; nothing was done", more={"people": [person_fields(one) for one in meant or named]})
    return meant[0]
