"""People who are no employees by their last day, streamed: who answers for them, and how many days are left."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.directory.settings import value_of
from app.directory.tables import Person, Record, Standing
from app.lifecycle import days
from app.lifecycle.engagement_tables import Engagement
from app.lifecycle.engagements import kinds_said

AT_A_TIME = 500


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Somebody who is no employee. `last_day` is the day at whose end, or in which, their engagement ends, where the organisation is.

    `state` is *incomplete* where nobody answers for them or no day is named, *lapsed* where that day passed without an answer, else
    *open*. `sponsor_standing` shows a sponsor who cannot answer any more.
    """

    person_id: str
    user_name: str
    display_name: str
    standing: str
    kind: str | None
    state: str
    sponsor: str | None
    sponsor_standing: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    last_day: str | None
    days_left: int | None
    attested_at: datetime | None
    attested_by: str | None


def endings(session: Session, organization_id: str, *, at: datetime) -> Iterator[Ending]:
    """Everybody with an engagement, or whom a directory calls no employee, who has not departed; those first who end first."""
    zone = days.zone_of(value_of(session, organization_id, "time_zone"))
    kinds = kinds_said(session, organization_id)
    sponsor = aliased(Person)
    ends_at = func.coalesce(Engagement.ends_at, case((Engagement.id.is_(None), _end_by_records())))
    query = (
        select(
            Person.id, Person.user_name, Person.display_name, Person.standing, Person.user_type, Engagement.id.label("engagement"), Engagement.kind,
            Engagement.lapsed_at, Engagement.starts_at, Engagement.attested_at, Engagement.attested_by, sponsor.user_name.label("sponsor"),
            sponsor.standing.label("sponsor_standing"), ends_at.label("ends_at"),
        )
        .outerjoin(
            Engagement,
            (Engagement.organization_id == Person.organization_id) & (Engagement.person_id == Person.id) & Engagement.ended_at.is_(None),
        )
        .outerjoin(sponsor, (sponsor.organization_id == Engagement.organization_id) & (sponsor.id == Engagement.sponsor_id))
        .where(
            Person.organization_id == organization_id, Person.standing != Standing.DEPARTED,
            or_(Engagement.id.is_not(None), Person.user_type.in_(kinds)),
        )
        .order_by(ends_at.is_(None), ends_at, Person.user_name_key, Person.id)
    )  # fmt: skip
    for row in session.execute(query, execution_options={"yield_per": AT_A_TIME}):
        yield Ending(
            person_id=row.id, user_name=row.user_name, display_name=row.display_name, standing=row.standing, kind=row.kind or row.user_type,
            state=_state(row.lapsed_at, sponsor=row.sponsor, ends_at=row.ends_at), sponsor=row.sponsor, sponsor_standing=row.sponsor_standing,
            starts_at=row.starts_at, ends_at=row.ends_at, last_day=None if row.ends_at is None else last_day(row.ends_at, zone).isoformat(),
            days_left=None if row.ends_at is None else (last_day(row.ends_at, zone) - at.astimezone(zone).date()).days,
            attested_at=row.attested_at, attested_by=row.attested_by,
        )  # fmt: skip


def last_day(ends_at: datetime, zone: ZoneInfo) -> date:
    """The last day of which any part is theirs: what ends at midnight ends the day before."""
    return (ends_at - timedelta(microseconds=1)).astimezone(zone).date()


def _end_by_records() -> Any:
    """When directories themselves end somebody: the last of their dates, where every record that is on has one."""
    every_one_has = func.count() == func.count(Record.ends_at)
    return (
        select(case((every_one_has, func.max(Record.ends_at))))
        .where(
            Record.organization_id == Person.organization_id, Record.person_id == Person.id, Record.active.is_(True), Record.ended_at.is_(None)
        )
        .correlate(Person)
        .scalar_subquery()
    )  # fmt: skip


def _state(lapsed_at: datetime | None, *, sponsor: str | None, ends_at: datetime | None) -> str:
    if lapsed_at is not None:
        return "lapsed"
    return "incomplete" if sponsor is None or ends_at is None else "open"
