"""People who have just joined under an address that resembles that of somebody who has left: with a tag, or at another domain.

Nobody is stopped by it, since two people may well have one name. Somebody is told, and looks.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Row, Select, literal, select, tuple_, union, union_all
from sqlalchemy.orm import Session

from app.clock import microseconds
from app.database import in_transaction, reading
from app.directory.names import name_key
from app.directory.tables import Person, Record, RecordEmail, Standing
from app.lifecycle.plain_sql import one_of
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarm_tables import Alarm
from app.revocation.alarms import raise_alarm
from app.revocation.tables import Departure
from app.statements import each_of, param

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


def flag_who_left(organization_id: str, *, at: datetime, since: datetime) -> int:
    """The same for newcomers whom somebody resembles who left only `since` then. Costs what has left, not what is there."""
    newest = id_before_newcomers(at)
    with reading() as session:
        # On most days nobody has joined within minutes.
        if session.scalar(select(Person.id).where(Person.organization_id == organization_id, Person.id > newest).limit(1)) is None:
            return 0
    flagged = 0
    after: _Left | None = _Left(since, "")
    while after is not None:
        with reading() as session:
            leavers, after = _left_after(session, organization_id, after)
            newcomers = [one for one in _sharing(session, organization_id, leavers) if one.id > newest]
            found = _untold(session, organization_id, _likenesses(session, organization_id, newcomers)) if newcomers else []
        flagged += in_transaction(lambda session, found=found: _tell(session, organization_id, found, at=at)) if found else 0  # type: ignore[misc]  # defaults bind the loop's values
    return flagged


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
        for mailbox in _had(session, organization_id, list(named), by_leavers=True)
        for leaver in _leavers(session, organization_id, mailbox)
        for newcomer in named[mailbox]
    ]


class _Left(NamedTuple):
    """Where a departure comes in their order."""

    decided_at: datetime
    id: str


def _left_after(session: Session, organization_id: str, after: _Left) -> tuple[list[str], _Left | None]:
    """`AT_A_TIME` people who left first behind that departure and are not back, and behind which one to go on; None where nobody else has."""
    upto = tuple_(literal(after.decided_at, Departure.decided_at.type), literal(after.id))
    departures = session.execute(
        select(Departure.person_id, Departure.decided_at, Departure.id)
        .where(Departure.organization_id == organization_id, Departure.ended_at.is_(None))
        .where(tuple_(Departure.decided_at, Departure.id) > upto)
        .order_by(Departure.decided_at, Departure.id)
        .limit(AT_A_TIME)
    ).all()
    last = departures[-1] if len(departures) == AT_A_TIME else None
    return [one.person_id for one in departures], None if last is None else _Left(last.decided_at, last.id)


def _sharing(session: Session, organization_id: str, leavers: Sequence[str]) -> Sequence[_Somebody]:
    """Those who are here and have a mailbox that one of these people had."""
    dialect = session.get_bind().dialect.name
    # One question after the other: asked at once, SQLite reads everybody's addresses.
    of_leavers = select(Record.id).where(Record.organization_id == organization_id, one_of(Record.person_id, "people", dialect))
    records = session.scalars(of_leavers, {"people": json.dumps(leavers)}).all()
    theirs = select(RecordEmail.address_key).where(RecordEmail.organization_id == organization_id, one_of(RecordEmail.record_id, "records", dialect))
    addresses = session.scalars(theirs, {"records": json.dumps(records)})
    mailboxes = sorted({mailbox for address in addresses if (mailbox := _mailbox(address))})
    return [one for mailbox in _had(session, organization_id, mailboxes, by_leavers=False) for one in _here(session, organization_id, mailbox)]


def _here(session: Session, organization_id: str, mailbox: str) -> Sequence[Row[Any, Any, Any]]:
    return session.execute(union(*_who_had(organization_id, literal(mailbox), left=False))).all()


def _had(session: Session, organization_id: str, mailboxes: Sequence[str], *, by_leavers: bool) -> Sequence[str]:
    """Those of these mailboxes that somebody had who has left, or has not. Asked of all at once, since there it ends for nearly everybody."""
    query = _sought(session.get_bind().dialect.name, by_leavers=by_leavers)
    return session.scalars(query, {"organization": organization_id, "mailboxes": json.dumps(mailboxes)}).all()


@cache
def _sought(dialect: str, *, by_leavers: bool) -> Select[str]:
    sought = select(each_of("mailboxes", dialect).label("mailbox")).subquery("sought")
    # As a value that depends on the row: so both databases look into the index for each mailbox, and read nobody else.
    left = union_all(*(one.correlate(sought) for one in _who_had(param("organization"), sought.c.mailbox, left=by_leavers))).subquery()
    somebody = select(left.c.id).limit(1).scalar_subquery()
    return select(sought.c.mailbox).where(somebody.is_not(None))


def _leavers(session: Session, organization_id: str, mailbox: str) -> Sequence[Row[Any, Any, Any]]:
    left = union(*_who_had(organization_id, literal(mailbox), left=True)).subquery()
    return session.execute(select(left.c.id, left.c.user_name, left.c.email).order_by(left.c.id).limit(EACH)).all()


def _who_had(organization_id: str | ColumnElement[str], mailbox: ColumnElement[str], *, left: bool) -> list[Select[str, str, str | None]]:
    """Those who have left, or have not, and had this mailbox at whatever domain: as it is, and with whatever tag.

    Each is a range of the index of addresses: the sign behind a mark ends what begins with it. They are two queries, since
    SQLite takes no range for one *or* the other. The standing is put together, or PostgreSQL would look through all who have left for
    each mailbox.
    """
    address, standing = RecordEmail.address_key, Person.standing.concat("")
    return [
        select(Person.id, Person.user_name, Person.email)
        .join(Record, (Record.organization_id == Person.organization_id) & (Record.person_id == Person.id))
        .join(RecordEmail, (RecordEmail.organization_id == Record.organization_id) & (RecordEmail.record_id == Record.id))
        .where(
            RecordEmail.organization_id == organization_id, address >= mailbox + mark, address < mailbox + behind,
            standing == Standing.DEPARTED if left else standing != Standing.DEPARTED,
        )
        for mark, behind in (("@", "A"), ("+", ","))
    ]  # fmt: skip


def _mailbox(address: str | None) -> str:
    """Whose mailbox it is, whatever tag and domain follow; empty where it is no address."""
    mailbox, mark, _ = name_key(address or "").partition("@")
    return mailbox.partition("+")[0] if mark else ""


def _untold(session: Session, organization_id: str, found: Sequence[_Likeness]) -> list[_Likeness]:
    if not found:
        # As at nearly every beat: asked of none, a database would look through every alarm of this kind that there ever was.
        return []
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
