"""Telling people of alarms: each message is a row that is sent when it is due, and tried again until it was taken.

Nothing is kept in memory. A worker that dies in the middle leaves a lease behind, after which another sends the message
once more under the same id; so a message may come twice, and never not at all.
"""

import json
import logging
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

from flask import Flask
from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session
from standardwebhooks.webhooks import Webhook

from app.access.sealing import KeyMissing, unseal
from app.clock import Clock, iso
from app.clock import now as wall_clock
from app.database import in_transaction, reading
from app.journal.tables import Organization
from app.revocation.alarm_kinds import MEANINGS, AlarmKind
from app.revocation.alarm_tables import Alarm, AlarmPost, AlarmRoute, RouteKind, What
from app.settings import Settings
from connectors.contract import ConnectorError, Misconfigured, RateLimited, Refused
from connectors.mail import Mail, Mailer
from connectors.visits import Visitor

log = logging.getLogger(__name__)

LEASE: Final = timedelta(minutes=2)
"""Longer than the messages of one route in one run may take."""
AT_A_TIME: Final = 40
OF_ONE_ROUTE: Final = 4
LONGEST_PAUSE: Final = 3600.0
_ROUTES_AT_ONCE: Final = 4
_QUIET: Final = {"synchronize_session": False}
_KEY: Final = (AlarmPost.organization_id, AlarmPost.alarm_id, AlarmPost.route_id, AlarmPost.what)


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One message with all that is needed to send it."""

    organization_id: str
    organization: str
    alarm: Alarm
    route: AlarmRoute
    what: What
    attempts: int

    @property
    def key(self) -> str:
        """The same however often it is tried: `webhook-id`, and the Message-ID of a mail."""
        return f"{self.alarm.id}.{self.what}"


def post_due(app: Flask, *, clock: Clock = wall_clock) -> int:
    """Send what is due, several routes side by side; returns how many messages were taken. May run in several processes at once."""
    with app.app_context():
        with reading() as session:
            # Only where there is something the database's one pen is asked for.
            if session.scalar(select(AlarmPost.alarm_id).where(_due(clock())).limit(1)) is None:
                return 0
        letters = in_transaction(lambda session: _claim(session, at=clock()))
    by_route = [list(group) for _, group in groupby(letters, key=lambda one: (one.organization_id, one.route.id))]
    if not by_route:
        return 0
    with ThreadPoolExecutor(max_workers=_ROUTES_AT_ONCE, thread_name_prefix="alarms") as pool:
        return sum(pool.map(lambda letters: _post_all(app, letters, clock=clock), by_route))


def _due(at: datetime) -> ColumnElement[bool]:
    return and_(
        AlarmPost.posted_at.is_(None), AlarmPost.dropped_at.is_(None), AlarmPost.due_at <= at,
        or_(AlarmPost.lease_until.is_(None), AlarmPost.lease_until <= at),
    )  # fmt: skip


def _claim(session: Session, *, at: datetime) -> list[Letter]:
    # A few of each route, and not the oldest of all: a thousand for one that is slow must not keep the others from their first.
    turn = func.row_number().over(partition_by=(AlarmPost.organization_id, AlarmPost.route_id), order_by=(AlarmPost.due_at, AlarmPost.alarm_id))
    ranked = select(*_KEY, turn.label("turn")).where(_due(at)).subquery()
    due = session.scalars(
        select(AlarmPost)
        .join(ranked, and_(*(column == ranked.c[column.key] for column in _KEY)))
        .where(_due(at), ranked.c.turn <= OF_ONE_ROUTE)
        .order_by(ranked.c.turn, AlarmPost.due_at)
        .limit(AT_A_TIME)
        .with_for_update(of=AlarmPost, skip_locked=True)
    ).all()
    letters: list[Letter] = []
    for post in due:
        route = session.get_one(AlarmRoute, (post.organization_id, post.route_id))
        if route.ended_at is not None:
            post.dropped_at = at
            continue
        post.lease_until = at + LEASE
        letters.append(
            Letter(
                organization_id=post.organization_id, organization=session.get_one(Organization, post.organization_id).name,
                alarm=session.get_one(Alarm, (post.organization_id, post.alarm_id)), route=route, what=What(post.what), attempts=post.attempts,
            )
        )  # fmt: skip
    return sorted(letters, key=lambda one: (one.organization_id, one.route.id))


def _post_all(app: Flask, letters: Sequence[Letter], *, clock: Clock) -> int:
    """The messages of one route, one after the other. Once it does not answer, the rest waits as well."""
    settings: Settings = app.config["DOORLIST"]
    posted = 0
    with app.app_context():
        error: Exception | None = None
        for letter in letters:
            if error is None:
                try:
                    send(letter, settings, at=clock())
                except (ConnectorError, KeyMissing) as reason:
                    error = reason
                    log.warning("an alarm could not be sent over route %s: %s", letter.route.id, reason)
            in_transaction(lambda session, letter=letter, error=error: _note(session, letter, error, at=clock()))  # type: ignore[misc]  # defaults bind the loop's values
            posted += error is None
    return posted


def pause_after(attempts: int) -> timedelta:
    """Doubling from 15 seconds to an hour, with jitter; it never ends, since an alarm that nobody hears is none."""
    longest = min(15.0 * 2 ** min(attempts, 10), LONGEST_PAUSE)
    return timedelta(seconds=random.uniform(longest / 2, longest))


def _note(session: Session, letter: Letter, error: Exception | None, *, at: datetime) -> None:
    mine = update(AlarmPost).where(
        AlarmPost.organization_id == letter.organization_id, AlarmPost.alarm_id == letter.alarm.id, AlarmPost.route_id == letter.route.id,
        AlarmPost.what == letter.what,
    )  # fmt: skip
    if error is None:
        values: dict[str, Any] = {"posted_at": at, "last_error": None}
    else:
        pause = timedelta(seconds=error.wait) if isinstance(error, RateLimited) else pause_after(letter.attempts)
        values = {"due_at": at + pause, "last_error": str(error)[:500]}
    session.execute(mine.values(lease_until=None, attempts=AlarmPost.attempts + 1, **values), execution_options=_QUIET)


def send(letter: Letter, settings: Settings, *, at: datetime) -> None:
    """Send one message now. Raises ConnectorError, KeyMissing."""
    if letter.route.kind == RouteKind.MAIL:
        if settings.smtp_url is None:
            raise Misconfigured("mail: no mail server is set: DOORLIST_SMTP_URL")
        mail = Mail(to=letter.route.address, subject=subject(letter), text=text(letter), key=letter.key)
        Mailer(settings.smtp_url, sender=settings.smtp_from).send(mail)
        return
    body = json.dumps(payload(letter, at=at), ensure_ascii=False, separators=(",", ":"))
    secret = unseal(settings, letter.route.sealed_secret or b"")
    headers = {
        "webhook-id": letter.key, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": Webhook(secret).sign(letter.key, at, body),
    }  # fmt: skip
    route = letter.route
    url = route.address if route.sealed_url is None else unseal(settings, route.sealed_url)
    _call(url, body.encode(), {"Content-Type": "application/json", **headers}, private=route.private)


def _call(url: str, body: bytes, headers: Mapping[str, str], *, private: bool) -> None:
    """Any 2xx means taken, whatever stands in the answer."""
    reply = Visitor(name="alarms", allow_private=private, largest=64 * 1024).post(url, body, headers=headers)
    if reply.status >= 300:
        raise Refused(f"{reply.source}: answered {reply.status}")


def subject(letter: Letter) -> str:
    """Names no person: subjects are shown on locked screens."""
    meaning = MEANINGS[AlarmKind(letter.alarm.kind)].says
    nobody = "nobody has answered: " if letter.what is What.ESCALATED else ""
    return f"[Doorlist {letter.organization}] {letter.alarm.severity}: {nobody}{meaning}"


def text(letter: Letter) -> str:
    """What a person reads: what is wrong, since when, what to do, how to answer."""
    alarm = letter.alarm
    lines = [
        f"{alarm.sentence}", "", f"Since {iso(alarm.raised_at)}" + (f", {alarm.times} times, last {iso(alarm.last_at)}" if alarm.times > 1 else "") + ".",
        "", MEANINGS[AlarmKind(alarm.kind)].advice, "",
    ]  # fmt: skip
    if letter.what is What.ESCALATED:
        lines += ["Nobody has acknowledged this alarm in time, so you are told.", ""]
    lines += [f"I have seen it:  doorlist alarms acknowledge {alarm.id}", f"It is over:      doorlist alarms close {alarm.id}", ""]
    return "\n".join(lines)


def payload(letter: Letter, *, at: datetime) -> dict[str, object]:
    """A Standard Webhooks payload: type, timestamp, data."""
    alarm = letter.alarm
    return {
        "type": f"alarm.{letter.what}",
        "timestamp": iso(at),
        "data": {
            "id": alarm.id, "organization": letter.organization, "kind": alarm.kind, "about": alarm.about, "severity": alarm.severity,
            "sentence": alarm.sentence, "advice": MEANINGS[AlarmKind(alarm.kind)].advice, "times": alarm.times, "raised_at": iso(alarm.raised_at),
            "last_at": iso(alarm.last_at), "closed_at": iso(alarm.closed_at),
        },
    }  # fmt: skip
