"""A small company with a sponsor, for tests of people who are no employees; days are counted from the company's beginning."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Person, Record
from app.lifecycle import contractors, engagements, sponsors
from app.lifecycle.engagement_tables import Engagement, SponsorLetter
from app.lifecycle.people import reconsider
from app.lifecycle.records import RecordDraft, add_record, change_record
from app.revocation.alarm_tables import Alarm
from tests.company import ADMIN, NOW, OKTA, Company, document, new_company


def on(day: float) -> datetime:
    return NOW + timedelta(days=day)


@dataclass(frozen=True, kw_only=True)
class Firm:
    """Kim is an employee, and answers for whoever is taken on."""

    company: Company
    kim: Record

    def joins(
        self, name: str, *, kind: str = "Employee", manager: Record | None = None, until: float | None = None, at: float = 0
    ) -> Record:
        user_name = f"{name}@x.example"
        said = document(user_name, None, **({} if manager is None else {"manager": {"value": manager.id}}))
        draft = RecordDraft(
            external_id=f"00u-{name}", user_name=user_name, active=True, document={**said, "userType": kind},
            ends_at=None if until is None else on(until),
        )  # fmt: skip
        return in_transaction(
            lambda s: add_record(s, self.company.organization_id, self.company.source_id, draft, actor=OKTA, at=on(at), because="test")
        )

    def says(self, record: Record, *, kind: str | None = None, active: bool | None = None, until: float | None = None, at: float = 0) -> Record:
        """The directory says something else of somebody: their userType, on or off, another end."""
        draft = RecordDraft(
            external_id=record.external_id, user_name=record.user_name, active=active, ends_at=record.ends_at if until is None else on(until),
            document=record.document if kind is None else {**record.document, "userType": kind},
        )  # fmt: skip
        return in_transaction(
            lambda s: change_record(
                s, self.company.organization_id, self.company.source_id, record.id, draft, actor=OKTA, at=on(at), because="test"
            )
        )

    def takes_on(self, record: Record, *, until: float, since: float | None = None, sponsor: Record | None = None, at: float = 0) -> Engagement:
        def act(session: Session) -> Engagement:
            return engagements.take_on(
                session, self._person(session, record), sponsor=self._person(session, sponsor or self.kim),
                starts_at=None if since is None else on(since), ends_at=on(until), kind="Contractor", actor=ADMIN, at=on(at),
            )  # fmt: skip

        return in_transaction(act)

    def attests(self, record: Record, *, until: float, by: Record | None = None, at: float) -> Person:
        def act(session: Session) -> Person:
            person = self._person(session, record)
            row = contractors.engagement_of(session, person, at=on(at))
            return engagements.attest(session, row, until=on(until), by=self._person(session, by or self.kim), actor=ADMIN, at=on(at))

        return in_transaction(act)

    def ends(self, record: Record, *, stays: bool = False, at: float) -> Person:
        def act(session: Session) -> Person:
            row = contractors.engagement_of(session, self._person(session, record), at=on(at))
            return (contractors.keep_on if stays else engagements.end)(session, row, actor=ADMIN, at=on(at))

        return in_transaction(act)

    def adopts(self, *, at: float) -> None:
        in_transaction(lambda s: contractors.adopt_some(s, self.company.organization_id, after="", most=1000, at=on(at)))

    def time_passes(self, *, to: float) -> None:
        """What ticks every minute, once, at that moment; and whatever is due of each person."""
        with reading() as session:
            people = session.scalars(select(Person.id).where(Person.organization_id == self.company.organization_id)).all()
        for person_id in people:
            in_transaction(lambda s, one=person_id: reconsider(s, self.company.organization_id, one, at=on(to)))  # type: ignore[misc]  # defaults bind the loop's values
        sponsors.look(self.company.organization_id, at=on(to))

    def person(self, record: Record) -> Person:
        return self.company.person(record)

    def engagement(self, record: Record) -> Engagement | None:
        with reading() as session:
            return engagements.open_engagement(session, self.company.organization_id, record.person_id)

    def letters(self) -> list[tuple[int, datetime]]:
        """Those that are still to be sent: how many days before, and when."""
        with reading() as session:
            rows = select(SponsorLetter).where(SponsorLetter.dropped_at.is_(None), SponsorLetter.posted_at.is_(None))
            return [(one.days, one.due_at) for one in session.scalars(rows.order_by(SponsorLetter.due_at))]

    def alarms(self) -> dict[str, str]:
        """Each open alarm's sentence by its kind."""
        with reading() as session:
            rows = select(Alarm).where(Alarm.organization_id == self.company.organization_id, Alarm.closed_at.is_(None))
            return {one.kind: one.sentence for one in session.scalars(rows)}

    def _person(self, session: Session, record: Record) -> Person:
        return session.get_one(Person, (self.company.organization_id, record.person_id))


def new_firm() -> Firm:
    company = new_company()
    firm = Firm(company=company, kim=company.joins("kim@x.example"))
    return firm
