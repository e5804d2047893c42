"""Raising an alarm, and what becomes of it: told, acknowledged or escalated, closed.

Everything is rows, written in the caller's transaction: an alarm is raised if and only if what it is about was committed,
and its messages survive any process. They are sent by `app.delivery.alarm_posts`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.database import new_id
from app.directory.settings import alarm_escalation, value_of
from app.journal import entries
from app.journal.work import insert_for
from app.revocation.alarm_kinds import MEANINGS, AlarmKind
from app.revocation.alarm_tables import OPEN, Alarm, AlarmPost, AlarmRoute, RouteKind, Severity, What

LONGEST_SENTENCE: Final = 500
LONGEST_ABOUT: Final = 200
IT_IS_OVER: Final = str(Actor(kind=ActorKind.CLOCK, name="it is over"))


def raise_alarm(
    session: Session, organization_id: str, *, kind: AlarmKind, about: str, sentence: str, at: datetime, severity: Severity | None = None
) -> str:
    """Raise an alarm, or count it again where one of this kind is open about the same thing; returns its id.

    `about` says what it is the same of: a workspace's id, say, so that a thousand leavers there are one alarm and one mail;
    or the id of a single use, where each is to be told. `sentence` names the instance for a person; no secret and no text
    of a message may stand in it. The newest sentence is kept. An alarm that was acknowledged stays so.
    """
    # A flush here would write rows that a verb has changed only in part.
    with session.no_autoflush:
        return _raise(session, organization_id, kind, about=about, sentence=sentence, at=at, severity=severity or MEANINGS[kind].severity)


def _raise(
    session: Session, organization_id: str, kind: AlarmKind, *, about: str, sentence: str, at: datetime, severity: Severity
) -> str:
    said = as_said(sentence)
    pause = alarm_escalation(value_of(session, organization_id, "alarm_escalation"))
    insert = insert_for(session.get_bind().dialect.name)
    statement = insert(Alarm).values(
        organization_id=organization_id, id=new_id(), kind=kind, about=_one_line(about)[:LONGEST_ABOUT], severity=severity, sentence=said,
        times=1, raised_at=at, last_at=at, escalate_at=None if pause is None else at + pause,
    )  # fmt: skip
    statement = statement.on_conflict_do_update(
        index_elements=["organization_id", "kind", "about"], index_where=OPEN,
        set_={"times": Alarm.times + 1, "last_at": at, "sentence": said},
    ).returning(Alarm.id, Alarm.times)  # fmt: skip
    alarm_id, times = session.execute(statement).one()
    if times == 1:
        _post(session, organization_id, alarm_id, _routes(session, organization_id, escalation=False), What.RAISED, at=at)
    return str(alarm_id)


def keep_raised(session: Session, organization_id: str, *, kind: AlarmKind, standing: Mapping[str, str], at: datetime) -> None:
    """For whoever looks again and again at all there is of a kind: `standing` has a sentence for each thing it is about.

    What is new is raised; what stays is not counted again, only said anew where the sentence has changed; what is over is closed.
    """
    known = {
        alarm.about: alarm
        for alarm in session.scalars(
            select(Alarm).where(Alarm.organization_id == organization_id, Alarm.kind == kind, Alarm.closed_at.is_(None))
        )
    }
    for about, sentence in standing.items():
        if about not in known:
            raise_alarm(session, organization_id, kind=kind, about=about, sentence=sentence, at=at)
        elif known[about].sentence != (said := as_said(sentence)):
            known[about].sentence, known[about].last_at = said, at
    over = known.keys() - standing.keys()
    if over:
        _close(session, organization_id, Alarm.kind == kind, Alarm.about.in_(sorted(over)), by=IT_IS_OVER, at=at)


def settle_alarm(session: Session, organization_id: str, *, kind: AlarmKind, about: str, at: datetime) -> bool:
    """What it was about is over by itself: close it, and tell the webhooks. Returns whether there was one. May be called twice."""
    return bool(_close(session, organization_id, Alarm.kind == kind, Alarm.about == _one_line(about)[:LONGEST_ABOUT], by=IT_IS_OVER, at=at))


def acknowledge(session: Session, alarm: Alarm, *, actor: Actor, at: datetime) -> None:
    """Somebody named has seen it: it does not escalate. Doing so twice keeps the first name."""
    session.refresh(alarm, with_for_update=True)
    if alarm.acknowledged_at is None:
        _journal(session, alarm, "alarm acknowledged", actor=actor, at=at)
        alarm.acknowledged_at, alarm.acknowledged_by = at, str(actor)


def close(session: Session, alarm: Alarm, *, actor: Actor, at: datetime) -> None:
    """Somebody named says that it is over. What is still to be posted of it is not; a next time is a new alarm."""
    session.refresh(alarm, with_for_update=True)
    if alarm.closed_at is None:
        _journal(session, alarm, "alarm closed", actor=actor, at=at)
        _close(session, alarm.organization_id, Alarm.id == alarm.id, by=str(actor), at=at)
        session.refresh(alarm)


def escalate(session: Session, *, at: datetime, most: int = 100) -> int:
    """Tell the second list of what nobody acknowledged in time, once for each alarm; without such a list, the first again."""
    due = session.scalars(
        select(Alarm)
        .where(Alarm.closed_at.is_(None), Alarm.acknowledged_at.is_(None), Alarm.escalated_at.is_(None), Alarm.escalate_at <= at)
        .order_by(Alarm.escalate_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    for alarm in due:
        alarm.escalated_at = at
        second = _routes(session, alarm.organization_id, escalation=True)
        _post(session, alarm.organization_id, alarm.id, second or _routes(session, alarm.organization_id, escalation=False), What.ESCALATED, at=at)
    return len(due)


def open_alarms(session: Session, organization_id: str) -> Sequence[Alarm]:
    """Everything open, the urgent first, then the oldest."""
    return session.scalars(
        select(Alarm)
        .where(Alarm.organization_id == organization_id, Alarm.closed_at.is_(None))
        .order_by(Alarm.severity, Alarm.raised_at, Alarm.id)  # "urgent" sorts before "warning"
    ).all()


def posts_of(session: Session, alarm: Alarm) -> Sequence[tuple[AlarmPost, AlarmRoute]]:
    """Each message of an alarm with where it goes, in the order in which they were due."""
    rows = session.execute(
        select(AlarmPost, AlarmRoute)
        .join(AlarmRoute, (AlarmRoute.organization_id == AlarmPost.organization_id) & (AlarmRoute.id == AlarmPost.route_id))
        .where(AlarmPost.organization_id == alarm.organization_id, AlarmPost.alarm_id == alarm.id)
        .order_by(AlarmPost.due_at, AlarmRoute.address)
    )
    return [(post, route) for post, route in rows]


def not_taken(session: Session, organization_id: str) -> Sequence[tuple[str, int, str]]:
    """Each place that did not take a message when it was last tried: its address, how many wait for it, and why."""
    rows = session.execute(
        select(AlarmRoute.address, func.count(), func.max(AlarmPost.last_error))
        .join(AlarmRoute, (AlarmRoute.organization_id == AlarmPost.organization_id) & (AlarmRoute.id == AlarmPost.route_id))
        .where(
            AlarmPost.organization_id == organization_id, AlarmPost.posted_at.is_(None), AlarmPost.dropped_at.is_(None),
            AlarmPost.last_error.is_not(None), AlarmRoute.ended_at.is_(None),
        )
        .group_by(AlarmRoute.address)
        .order_by(AlarmRoute.address)
    )  # fmt: skip
    return [(address, count, error or "") for address, count, error in rows]


def post_what_is_open(session: Session, route: AlarmRoute, *, at: datetime) -> None:
    """A new route of the first list is told of what is open and that nobody has acknowledged: it may be the first there is."""
    if not route.escalation:
        for alarm in open_alarms(session, route.organization_id):
            if alarm.acknowledged_at is None:
                _post(session, route.organization_id, alarm.id, [route], What.RAISED, at=at)


def as_said(sentence: str) -> str:
    """A sentence as it is kept."""
    return _one_line(sentence)[:LONGEST_SENTENCE]


def _one_line(words: str) -> str:
    # Names come from outside: none may begin a new line of a mail, or of a log.
    return "".join(letter if letter.isprintable() else " " for letter in words).strip()


def _routes(session: Session, organization_id: str, *, escalation: bool) -> Sequence[AlarmRoute]:
    return session.scalars(
        select(AlarmRoute).where(
            AlarmRoute.organization_id == organization_id, AlarmRoute.ended_at.is_(None), AlarmRoute.escalation.is_(escalation)
        )
    ).all()


def _post(session: Session, organization_id: str, alarm_id: str, routes: Sequence[AlarmRoute], what: What, *, at: datetime) -> None:
    if routes:
        rows = [
            {"organization_id": organization_id, "alarm_id": alarm_id, "route_id": route.id, "what": what, "due_at": at, "attempts": 0}
            for route in routes
        ]
        session.execute(insert_for(session.get_bind().dialect.name)(AlarmPost).values(rows).on_conflict_do_nothing())


def _close(session: Session, organization_id: str, *which: object, by: str, at: datetime) -> Sequence[str]:
    statement = update(Alarm).where(Alarm.organization_id == organization_id, Alarm.closed_at.is_(None), *which)  # type: ignore[arg-type]  # conditions
    closed = session.scalars(
        statement.values(closed_at=at, closed_by=by).returning(Alarm.id), execution_options={"synchronize_session": False}
    ).all()
    if not closed:
        return closed
    waiting = (AlarmPost.organization_id == organization_id, AlarmPost.alarm_id.in_(closed))
    session.execute(
        update(AlarmPost).where(*waiting, AlarmPost.posted_at.is_(None), AlarmPost.dropped_at.is_(None)).values(dropped_at=at),
        execution_options={"synchronize_session": False},
    )
    # A machine that keeps its own list wants to hear of the end; a mail that says "nothing to do" is one too many. What was
    # tried may have arrived, though no answer came, and what somebody has in hand is on its way.
    heard = or_(AlarmPost.posted_at.is_not(None), AlarmPost.attempts > 0, AlarmPost.lease_until.is_not(None))
    told = session.execute(
        select(AlarmPost.alarm_id, AlarmPost.lease_until, AlarmRoute)
        .join(AlarmRoute, (AlarmRoute.organization_id == AlarmPost.organization_id) & (AlarmRoute.id == AlarmPost.route_id))
        .where(*waiting, heard, AlarmRoute.kind == RouteKind.WEBHOOK, AlarmRoute.ended_at.is_(None))
    ).all()
    # The end comes after what is on its way. Of several messages over one route, the one that takes longest is waited for.
    for due_at, alarm_id, route in sorted(((max(at, lease or at), alarm_id, route) for alarm_id, lease, route in told), key=itemgetter(0), reverse=True):
        _post(session, organization_id, alarm_id, [route], What.CLOSED, at=due_at)
    return closed


def _journal(session: Session, alarm: Alarm, verb: str, *, actor: Actor, at: datetime) -> None:
    entries.write(
        session, alarm.organization_id, at=at, actor=actor, verb=verb, because="operator", subject_kind="alarm", subject_id=alarm.id,
        after={"kind": alarm.kind, "about": alarm.about},
    )  # fmt: skip
