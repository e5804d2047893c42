"""In which order things are said of one person. Standing goes by instants, and clocks are not always right: an instant here never runs back.

Whoever speaks with the person's row locked speaks after everything that is written already, whatever their clock shows. Else a
clock that is behind (another host's, or this one's once it was set back) could say that somebody leaves *before* they last came back.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app.directory.tables import Person, Record, Statement, StatementKind
from app.journal.tables import Entry
from app.lifecycle.standing import COMEBACKS
from app.statements import param

_JUST: Final = timedelta(microseconds=1)
# Asked whenever anything is said, so they are built once.
_POSITION: Final = select(func.max(Entry.id))
_RECORDS: Final = (Record.organization_id == param("organization"), Record.person_id == param("person"))
_IS_OFF: Final = or_(Record.active.is_(False), Record.ended_at.is_not(None))
_LAST_OF_STATEMENTS: Final = select(func.max(Statement.said_at)).where(
    Statement.organization_id == param("organization"), Statement.person_id == param("person"), Statement.withdrawn_at.is_(None)
)
_LAST_OF_BOTH: Final = select(
    _LAST_OF_STATEMENTS.scalar_subquery(), select(func.max(Record.active_said_at)).where(*_RECORDS, _IS_OFF).scalar_subquery()
)


def position(session: Session) -> int:
    """How far the journal has come. What is received now comes after all of that, whenever it is acted on."""
    return session.scalar(_POSITION) or 0


def behind(said: Iterable[datetime], *, at: datetime) -> datetime:
    """This instant; where something was said at a later one, the first after that."""
    last: datetime = max(said, default=at)
    return at if at >= last else last + _JUST


def behind_all(session: Session, person: Person, *, at: datetime) -> datetime:
    """An instant after everything that was said of somebody, by records that are on too. They are locked."""
    said: list[datetime] = [at, *_statements(session, person.organization_id, person.id)]
    said += session.scalars(select(Record.active_said_at).where(*_RECORDS), _named(person)).all()
    return max(said) + _JUST


def said_now(session: Session, person: Person, *, at: datetime) -> datetime:
    """When what somebody says now of a person counts as said; the person is locked."""
    return behind((said for said in session.execute(_LAST_OF_BOTH, _named(person)).one() if said is not None), at=at)


def said_by_record(session: Session, organization_id: str, person_id: str, *, at: datetime) -> datetime:
    """When *on* or *off* counts as said that a directory says now of a person; the person is locked."""
    return behind(_statements(session, organization_id, person_id), at=at)


def said_then(session: Session, person: Person, *, kind: StatementKind, received_at: datetime, heard_after: int) -> datetime:
    """When a call counts as said that has waited for its person, or to be confirmed: they are locked now, and were not when it came.

    `heard_after` is the `position` at which it came. It is behind what was said before that. A comeback undoes nothing that was said since.
    """
    mine = Statement.organization_id == person.organization_id, Statement.person_id == person.id, Statement.withdrawn_at.is_(None)
    statements = session.scalars(select(Statement).where(*mine)).all()
    came = (heard_after, True, received_at)
    said_at = behind((one.said_at for one in statements if _came(one) < came), at=received_at)
    if kind not in COMEBACKS:
        return said_at
    since = [one.said_at for one in statements if _came(one) > came and one.kind not in COMEBACKS]
    since += _switched_off_since(session, person, heard_after=heard_after, by=said_at)
    return min([said_at, *(one - _JUST for one in since)])


def _came(one: Statement) -> tuple[int, bool, datetime]:
    """Where the journal was when it was heard: what has waited, behind the entry that was the last one then; and only among such by instants."""
    if one.heard_after is not None:
        return one.heard_after, True, one.heard_at or one.said_at
    return one.said_in or one.journal_id, False, one.said_at


def _switched_off_since(session: Session, person: Person, *, heard_after: int, by: datetime) -> list[datetime]:
    """When records counted as switched off or ended that were not when the journal was there, and that earlier instants were given."""
    records = session.execute(
        select(Record.id, Record.active_said_at).where(
            *_RECORDS, _IS_OFF, Record.active_said_at <= by, Record.journal_id > heard_after
        ),
        _named(person),
    ).all()  # fmt: skip
    return [said_at for record_id, said_at in records if _went_off(session, person.organization_id, record_id, heard_after=heard_after)]


def _went_off(session: Session, organization_id: str, record_id: str, *, heard_after: int) -> bool:
    entries = session.execute(
        select(Entry.verb, Entry.before, Entry.after).where(
            Entry.organization_id == organization_id, Entry.subject_id == record_id, Entry.id > heard_after
        )
    )
    return any((before or {}).get("active", True) and (verb == "ended" or (after or {}).get("active") is False) for verb, before, after in entries)


def _statements(session: Session, organization_id: str, person_id: str) -> list[datetime]:
    last = session.scalar(_LAST_OF_STATEMENTS, {"organization": organization_id, "person": person_id})
    return [] if last is None else [last]


def _named(person: Person) -> dict[str, str]:
    return {"organization": person.organization_id, "person": person.id}
