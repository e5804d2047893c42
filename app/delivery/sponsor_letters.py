"""Asking sponsors by mail whether those for whom they answer stay: each letter is a row that is sent when it is due.

A letter may come twice, where a worker dies in the middle, and never about a day that was changed since. Without a mail server
none is sent, and the alarm alone tells of it.
"""

import logging
import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from flask import Flask
from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.clock import Clock
from app.clock import now as wall_clock
from app.command_lines import to_type
from app.database import in_transaction, reading
from app.delivery.alarm_posts import pause_after
from app.directory.settings import value_of
from app.directory.tables import Person, Standing
from app.journal.tables import Organization
from app.lifecycle.engagement_tables import Engagement, SponsorLetter
from app.settings import Settings
from connectors.contract import ConnectorError, Misconfigured, Refused
from connectors.mail import Mail, Mailer, check_address

log = logging.getLogger(__name__)

LEASE: Final = timedelta(minutes=10)
"""Longer than `AT_A_TIME` mails may take, each half a minute."""
AT_A_TIME: Final = 15
_QUIET: Final = {"synchronize_session": False}


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One letter with all that is needed to send it; `last_day` is as a person there would say it."""

    organization_id: str
    organization: str
    engagement_id: str
    ends_at: datetime
    days: int
    attempts: int
    to: str
    sponsor: Person
    person: Person
    last_day: str

    @property
    def key(self) -> str:
        """The same however often it is tried: the Message-ID."""
        return f"{self.engagement_id}.{self.ends_at:%Y%m%d}.{self.days}"


def post_due(app: Flask, *, clock: Clock = wall_clock) -> int:
    """Send what is due; returns how many letters were taken. May run in several processes at once."""
    settings: Settings = app.config["DOORLIST"]
    if settings.smtp_url is None:
        return 0
    with app.app_context():
        with reading() as session:
            # Only where there is something the database's one pen is asked for.
            if session.scalar(select(SponsorLetter.engagement_id).where(_due(clock())).limit(1)) is None:
                return 0
        letters = in_transaction(lambda session: _claim(session, at=clock()))
        sent = 0
        for letter in letters:
            error = _send(letter, settings)
            in_transaction(lambda session, letter=letter, error=error: _note(session, letter, error, at=clock()))  # type: ignore[misc]  # defaults bind the loop's values
            sent += error is None
        return sent


def _due(at: datetime) -> ColumnElement[bool]:
    free = or_(SponsorLetter.lease_until.is_(None), SponsorLetter.lease_until <= at)
    return and_(SponsorLetter.posted_at.is_(None), SponsorLetter.dropped_at.is_(None), SponsorLetter.due_at <= at, free)


def _claim(session: Session, *, at: datetime) -> list[Letter]:
    due = session.scalars(
        select(SponsorLetter)
        .where(_due(at))
        # The latest of an engagement first: after a time without a worker one letter is enough.
        .order_by(SponsorLetter.organization_id, SponsorLetter.engagement_id, SponsorLetter.days)
        .limit(AT_A_TIME)
        .with_for_update(skip_locked=True)
    ).all()
    letters: dict[tuple[str, str], Letter] = {}
    for row in due:
        key = (row.organization_id, row.engagement_id)
        letter, why = (None, "a later one says it") if key in letters else _written(session, row)
        if letter is None:
            row.dropped_at, row.last_error = at, why
            continue
        row.lease_until = at + LEASE
        letters[key] = letter
    return list(letters.values())


def _written(session: Session, row: SponsorLetter) -> tuple[Letter | None, str]:
    sponsor = aliased(Person)
    found = session.execute(
        select(Engagement, Person, sponsor)
        .join(Person, (Person.organization_id == Engagement.organization_id) & (Person.id == Engagement.person_id))
        .join(sponsor, (sponsor.organization_id == Engagement.organization_id) & (sponsor.id == Engagement.sponsor_id))
        .where(
            Engagement.organization_id == row.organization_id, Engagement.id == row.engagement_id, Engagement.ended_at.is_(None),
            Engagement.ends_at == row.ends_at, Person.standing != Standing.DEPARTED,
        )
    ).one_or_none()  # fmt: skip
    if found is None:
        return None, "there is nothing to be asked any more, or nobody"
    _, person, by = found
    try:
        to = check_address(by.email or "")
    except Misconfigured:
        return None, "the sponsor has no address that mail could be sent to"
    zone = ZoneInfo(value_of(session, row.organization_id, "time_zone"))
    # The day that is over at that instant: midnight belongs to the one before.
    last_day = (row.ends_at - timedelta(microseconds=1)).astimezone(zone).date().isoformat()
    return Letter(
        organization_id=row.organization_id, organization=session.get_one(Organization, row.organization_id).name, engagement_id=row.engagement_id,
        ends_at=row.ends_at, days=row.days, attempts=row.attempts, to=to, sponsor=by, person=person, last_day=last_day,
    ), ""  # fmt: skip


def _send(letter: Letter, settings: Settings) -> Exception | None:
    assert settings.smtp_url is not None
    try:
        mail = Mail(to=letter.to, subject=subject(letter), text=text(letter), key=letter.key)
        Mailer(settings.smtp_url, sender=settings.smtp_from).send(mail)
    except ConnectorError as error:
        log.warning("a letter about engagement %s could not be sent: %s", letter.engagement_id, error)
        return error
    return None


def _note(session: Session, letter: Letter, error: Exception | None, *, at: datetime) -> None:
    mine = update(SponsorLetter).where(
        SponsorLetter.organization_id == letter.organization_id, SponsorLetter.engagement_id == letter.engagement_id,
        SponsorLetter.ends_at == letter.ends_at, SponsorLetter.days == letter.days,
    )  # fmt: skip
    if error is None:
        values: dict[str, Any] = {"posted_at": at, "last_error": None}
    elif isinstance(error, Refused):
        # The mailbox is refused for good; the alarm tells others.
        values = {"dropped_at": at, "last_error": str(error)[:500]}
    else:
        values = {"due_at": at + pause_after(letter.attempts), "last_error": str(error)[:500]}
    session.execute(mine.values(lease_until=None, attempts=SponsorLetter.attempts + 1, **values), execution_options=_QUIET)


def subject(letter: Letter) -> str:
    """Names no person: subjects are shown on locked screens."""
    return f"[Doorlist {letter.organization}] You are asked whether somebody stays"


def text(letter: Letter) -> str:
    """What the sponsor reads: about whom, until when, and how to answer."""
    name, until = _one_line(letter.person.display_name), letter.last_day
    said = (
        f"{name} had access until {until}. You answer for them, and nobody has said that they stay: their access is suspended."
        if letter.days == 0
        else f"{name} has access until {until}, and you answer for them. Without an answer it is suspended then."
    )
    return "\n".join(
        [
            f"Dear {_one_line(letter.sponsor.display_name)},", "", said, "",
            "If they stay, tell an administrator until when. They enter it:", "",
            f"  {to_type('contractor attest', _one_line(letter.person.user_name), f'--until DAY --by {_typed(letter.sponsor)}')}", "",
            "If they do not, nothing is to be done.", "",
        ]
    )  # fmt: skip


def _typed(person: Person) -> str:
    return shlex.quote(_one_line(person.user_name))


def _one_line(words: str) -> str:
    # Names come from outside: none may begin a new line of a mail.
    return "".join(letter if letter.isprintable() else " " for letter in words).strip()
