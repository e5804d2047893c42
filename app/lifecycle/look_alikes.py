"""People who have just joined under an address that resembles that of somebody who has left: with a tag, or at another domain.

Nobody is stopped by it, since two people may well have one name. Somebody is told, and looks.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Row, Select, literal, select, union, union_all
from sqlalchemy.orm import Session

from app.clock import microseconds
from app.database import in_transaction, reading
from app.directory.names import name_key
from app.directory.tables import Person, Record, RecordEmail, Standing
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarm_tables import Alarm
from app.revocation.alarms import raise_alarm
from app.statements import each_of

NEWCOMERS: Final = timedelta(minutes=15)
"""How far back a look goes; looks come every few seconds, and more seldom where there are many organisations."""
AT_A_TIME: Final = 500
EACH: Final = 5
"""Leavers that are named of one newcomer."""


_Somebody: TypeAlias = Row[str, str, str | None]


@dataclass(frozen=True, kw_only=True)
class _Likeness:
    about: str
    sentence: str


def flag_look_alikes(organization_id: str, *, at: datetime, since: datetime | None = None) -> int:
    """Raise an alarm, once, for each newcomer whose address resembles a leaver's. Returns how many. Costs what has joined, not what is there.

    Newcomers are who joined in the last `NEWCOMERS`, or `since` then, if that is later.

    In transactions of its own: it looks in ones that only read, and writes where there is something to be told.
    """
    flagged = 0
    after: str | None = _id_before(at - NEWCOMERS if since is None else max(since, at - NEWCOMERS))
    while after is not None:
        told, after = flag_some(organization_id, after=after, at=at)
        flagged += told
    return flagged


def flag_some(organization_id: str, *, after: str, at: datetime) -> tuple[int, str | None]:
    """The same of those `AT_A_TIME` who joined first behind an id. Returns how many alarms, and behind whom to go on; None where there is nobody else."""
    with reading() as session:
        newcomers = _newcomers(session, organization_id, after=after)
        found = _untold(session, organization_id, _likenesses(session, organization_id, newcomers))
    flagged = in_transaction(lambda session: _tell(session, organization_id, found, at=at)) if found else 0
    return flagged, newcomers[-1].id if len(newcomers) == AT_A_TIME else None


def id_before_newcomers(at: datetime) -> str:
    """What comes before the id of whoever is a newcomer then."""
    return _id_before(at - NEWCOMERS)


def _id_before(since: datetime) -> str:
    """What comes before the id of whoever joined since then: ids are made of the instant (RFC 9562 §5.7)."""
    stamp = f"{microseconds(since) // 1000:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000"


def _newcomers(session: Session, organization_id: str, *, after: str) -> Sequence[_Somebody]:
    return session.execute(
        select(Person.id, Person.user_name, Person.email)
        .where(Person.organization_id == organization_id, Person.id > after, Person.standing != Standing.DEPARTED)
        .order_by(Person.id)
        .limit(AT_A_TIME)
    ).all()


def _likenesses(session: Session, organization_id: str, newcomers: Iterable[_Somebody]) -> list[_Likeness]:
    named: dict[str, list[_Somebody]] = defaultdict(list)
    for newcomer in newcomers:
        if mailbox := _mailbox(newcomer.email):
            named[mailbox].append(newcomer)
    return [
        _Likeness(
            about=f"{newcomer.id} {leaver.id}",
            sentence=f"{newcomer.user_name} has joined, whose address resembles that of {leaver.user_name}, who has left.",
        )
        for mailbox in _had_by_leavers(session, organization_id, list(named))
        for leaver in _leavers(session, organization_id, mailbox)
        for newcomer in named[mailbox]
    ]


def _had_by_leavers(session: Session, organization_id: str, mailboxes: Sequence[str]) -> Sequence[str]:
    """Those of these mailboxes that somebody had who has left. Asked of all at once, since there it ends for nearly everybody."""
    sought = select(each_of("mailboxes", session.get_bind().dialect.name).label("mailbox")).subquery("sought")
    # As a value that depends on the row: so both databases look into the index for each mailbox, and read nobody else.
    left = union_all(*(one.correlate(sought) for one in _who_left(organization_id, sought.c.mailbox))).subquery()
    somebody = select(left.c.id).limit(1).scalar_subquery()
    return session.scalars(select(sought.c.mailbox).where(somebody.is_not(None)), {"mailboxes": json.dumps(mailboxes)}).all()


def _leavers(session: Session, organization_id: str, mailbox: str) -> Sequence[Row[Any, Any, Any]]:
    left = union(*_who_left(organization_id, literal(mailbox))).subquery()
    return session.execute(select(left.c.id, left.c.user_name, left.c.email).order_by(left.c.id).limit(EACH)).all()


def _who_left(organization_id: str, mailbox: ColumnElement[str]) -> list[Select[str, str, str | None]]:
    """Those who have left and had this mailbox at whatever domain: as it is, and with whatever tag.

    Each is a range of the index of addresses: the sign behind a mark ends what begins with it. They are two queries, since
    SQLite takes no range for one *or* the other. The standing is put together, or PostgreSQL would look through all who have left for
    each mailbox.
    """
    address = RecordEmail.address_key
    return [
        select(Person.id, Person.user_name, Person.email)
        .join(Record, (Record.organization_id == Person.organization_id) & (Record.person_id == Person.id))
        .join(RecordEmail, (RecordEmail.organization_id == Record.organization_id) & (RecordEmail.record_id == Record.id))
        .where(
            RecordEmail.organization_id == organization_id, address >= mailbox + mark, address < mailbox + behind,
            Person.standing.concat("") == Standing.DEPARTED,
        )
        for mark, behind in (("@", "A"), ("+", ","))
    ]  # fmt: skip


def _mailbox(address: str | None) -> str:
    """Whose mailbox it is, whatever tag and domain follow; empty where it is no address."""
    mailbox, mark, _ = name_key(address or "").partition("@")
    return mailbox.partition("+")[0] if mark else ""


def _untold(session: Session, organization_id: str, found: Sequence[_Likeness]) -> list[_Likeness]:
    told = set(
        session.scalars(
            select(Alarm.about).where(
                Alarm.organization_id == organization_id, Alarm.kind == AlarmKind.LEAVER_SEEN_AGAIN, Alarm.about.in_([one.about for one in found])
            )
        )
    )
    return [one for one in found if one.about not in told]


def _tell(session: Session, organization_id: str, found: Sequence[_Likeness], *, at: datetime) -> int:
    # Asked again: another process may have told it since it was looked for.
    untold = _untold(session, organization_id, found)
    for one in untold:
        raise_alarm(session, organization_id, kind=AlarmKind.LEAVER_SEEN_AGAIN, about=one.about, sentence=one.sentence, at=at)
    return len(untold)
