"""Verbs on alarms: seeing them, answering them, and saying whom they are sent to."""

from datetime import datetime

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, DESK, Acting, verb
from app.commands.exits import Exit
from app.commands.output import Answer, Table
from app.database import in_transaction, new_id, reading
from app.delivery.alarm_posts import post_due
from app.lifecycle.alarm_routes import add_mail, add_webhook, end_route, find_alarm, find_route, routes_of, shown
from app.revocation import alarms as raised
from app.revocation.alarm_kinds import MEANINGS, AlarmKind
from app.revocation.alarm_tables import Alarm, AlarmPost, AlarmRoute

CLOSED_SHOWN = 50


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(alarms)


@click.group()
def alarms() -> None:
    """What a person has to look at, and who is told."""


@alarms.group()
def route() -> None:
    """Where alarms are sent."""


@route.group(name="add")
def add_route() -> None:
    """Send alarms to another place."""


_ALARM = click.argument("alarm", metavar="ID")
_ESCALATION = click.option("--escalation", is_flag=True, help="Only what nobody acknowledged in time (the setting alarm_escalation).")


@verb(alarms, "list", may=ANYONE)
@click.option("--all", "closed_too", is_flag=True, help=f"The latest {CLOSED_SHOWN} that are closed as well.")
def list_alarms(acting: Acting, closed_too: bool) -> Answer:
    """Open alarms, the urgent first."""
    with reading() as session:
        found = list(raised.open_alarms(session, acting.organization_id))
        routes = routes_of(session, acting.organization_id)
        if closed_too:
            closed = select(Alarm).where(Alarm.organization_id == acting.organization_id, Alarm.closed_at.is_not(None))
            found += session.scalars(closed.order_by(Alarm.closed_at.desc()).limit(CLOSED_SHOWN)).all()
    columns = ("id", "severity", "state", "since", "times", "sentence")
    rows = [fields_of(one) for one in found]
    return Answer(
        schema="alarms", fields={"alarms": rows}, tables=[Table(columns=columns, rows=[[row[name] for name in columns] for row in rows])],
        notes=[] if routes else ["Nobody is told of alarms: doorlist alarms route add mail ADDRESS"],
    )  # fmt: skip


@verb(alarms, "show", may=ANYONE)
@_ALARM
def show(acting: Acting, alarm: str) -> Answer:
    """One alarm: what to do about it, and who was told when."""
    with reading() as session:
        found = find_alarm(session, acting.organization_id, alarm)
        posts = raised.posts_of(session, found)
    told = [_post_fields(post, where) for post, where in posts]
    advice = MEANINGS[AlarmKind(found.kind)].advice
    columns = ("what", "to", "state", "at", "attempts", "last_error")
    return Answer(
        schema="alarms.show", fields={**fields_of(found), "advice": advice, "told": told},
        tables=[Table(columns=columns, rows=[[one[name] for name in columns] for one in told])],
        notes=[f"{found.severity}: {found.sentence}", advice, *_answers(found)],
    )  # fmt: skip


@verb(alarms, "acknowledge", may=DESK)
@_ALARM
def acknowledge(acting: Acting, alarm: str) -> Answer:
    """Say that you have seen it: it does not escalate any more."""

    def act(session: Session) -> Alarm:
        found = find_alarm(session, acting.organization_id, alarm)
        raised.acknowledge(session, found, actor=acting.actor, at=now())
        return found

    return _answered(in_transaction(act))


@verb(alarms, "close", may=ADMINS)
@_ALARM
def close(acting: Acting, alarm: str) -> Answer:
    """Say that it is over. The next time is a new alarm."""

    def act(session: Session) -> Alarm:
        found = find_alarm(session, acting.organization_id, alarm)
        raised.close(session, found, actor=acting.actor, at=now())
        return found

    return _answered(in_transaction(act))


@verb(alarms, "test", may=ADMINS)
def test(acting: Acting) -> Answer:
    """Raise an alarm that means nothing, and send it now. Exit 7 where it did not reach every place of the first list."""

    def act(session: Session) -> str:
        sentence = f"{acting.actor.name} tries whether alarms arrive."
        return raised.raise_alarm(session, acting.organization_id, kind=AlarmKind.TEST, about=new_id(), sentence=sentence, at=now())

    alarm_id = in_transaction(act)
    post_due(acting.app)
    with reading() as session:
        found = find_alarm(session, acting.organization_id, alarm_id)
        told = [_post_fields(post, where) for post, where in raised.posts_of(session, found)]
    columns = ("to", "state", "last_error")
    arrived = bool(told) and all(one["state"] == "sent" for one in told)
    return Answer(
        schema="alarms.test", fields={**fields_of(found), "told": told, "arrived": arrived},
        tables=[Table(columns=columns, rows=[[one[name] for name in columns] for one in told])],
        notes=[] if told else ["Nobody is told of alarms: doorlist alarms route add mail ADDRESS"], exit=Exit.DONE if arrived else Exit.UNREACHABLE,
    )  # fmt: skip


@verb(add_route, "mail", may=ADMINS)
@click.argument("address")
@_ESCALATION
def mail(acting: Acting, address: str, escalation: bool) -> Answer:
    """Send alarms to a mailbox, over the server in DOORLIST_SMTP_URL."""
    made = in_transaction(
        lambda session: add_mail(session, acting.organization_id, address, escalation=escalation, actor=acting.actor, at=now())
    )
    unset = "No mail leaves until DOORLIST_SMTP_URL is set where Doorlist serves."
    return Answer(
        schema="alarms.route", fields=_route_fields(made),
        notes=[f"Alarms go to {address}. Try it: doorlist alarms test", *([] if acting.settings.smtp_url else [unset])],
    )  # fmt: skip


@verb(add_route, "webhook", may=ADMINS)
@click.argument("url")
@_ESCALATION
@click.option("--private", is_flag=True, help="The URL leads into one's own network.")
def webhook(acting: Acting, url: str, escalation: bool, private: bool) -> Answer:
    """Post alarms to a URL, signed by Standard Webhooks; the secret is shown this once."""
    made, secret = in_transaction(
        lambda session: add_webhook(
            session, acting.organization_id, url, escalation=escalation, private=private, settings=acting.settings, actor=acting.actor, at=now()
        )
    )
    return Answer(
        schema="alarms.route", fields={**_route_fields(made), "secret": secret},
        tables=[Table(columns=("id", "url", "secret"), rows=[(made.id, made.address, secret)])],
        notes=["The secret is shown this once: calls are signed with it."],
    )  # fmt: skip


@verb(route, "list", may=ANYONE)
def list_routes(acting: Acting) -> Answer:
    """Every place that alarms are sent to."""
    with reading() as session:
        rows = [_route_fields(one) for one in routes_of(session, acting.organization_id)]
    columns = ("id", "kind", "address", "escalation", "since")
    return Answer(
        schema="alarms.routes", fields={"routes": rows}, tables=[Table(columns=columns, rows=[[row[name] for name in columns] for row in rows])]
    )


@verb(route, "end", may=ADMINS)
@click.argument("route_", metavar="ID")
def end(acting: Acting, route_: str) -> Answer:
    """Send no more alarms there; ID may be the address."""

    def act(session: Session) -> AlarmRoute:
        found = find_route(session, acting.organization_id, route_)
        end_route(session, found, actor=acting.actor, at=now())
        return found

    ended = in_transaction(act)
    return Answer(schema="alarms.route", fields=_route_fields(ended), notes=[f"Alarms go to {shown(ended.address)} no more."])


def fields_of(alarm: Alarm) -> dict[str, object]:
    """An alarm as every `--json` shows one."""
    state = "closed" if alarm.closed_at else "acknowledged" if alarm.acknowledged_at else "escalated" if alarm.escalated_at else "open"
    return {
        "id": alarm.id, "kind": alarm.kind, "about": alarm.about, "severity": alarm.severity, "state": state, "sentence": alarm.sentence,
        "times": alarm.times, "since": iso(alarm.raised_at), "last": iso(alarm.last_at), "escalates": iso(alarm.escalate_at),
        "escalated": iso(alarm.escalated_at), "acknowledged": iso(alarm.acknowledged_at), "acknowledged_by": alarm.acknowledged_by,
        "closed": iso(alarm.closed_at), "closed_by": alarm.closed_by,
    }  # fmt: skip


def _answers(alarm: Alarm) -> list[str]:
    said: list[tuple[str, datetime | None, str | None]] = [
        ("Acknowledged", alarm.acknowledged_at, alarm.acknowledged_by), ("Closed", alarm.closed_at, alarm.closed_by)
    ]  # fmt: skip
    return [f"{what} at {iso(at)} by {by}." for what, at, by in said if at is not None]


def _answered(alarm: Alarm) -> Answer:
    return Answer(schema="alarms.answered", fields=fields_of(alarm), notes=_answers(alarm))


def _post_fields(post: AlarmPost, where: AlarmRoute) -> dict[str, object]:
    state = "sent" if post.posted_at else "dropped" if post.dropped_at else "waiting"
    at = post.posted_at or post.dropped_at or post.due_at
    return {
        "what": post.what, "to": shown(where.address), "kind": where.kind, "state": state, "at": iso(at), "attempts": post.attempts,
        "last_error": post.last_error,
    }  # fmt: skip


def _route_fields(one: AlarmRoute) -> dict[str, object]:
    return {"id": one.id, "kind": one.kind, "address": shown(one.address), "escalation": one.escalation, "since": iso(one.created_at)}
