"""What is done because time passes: empty channels are archived, old requests deleted, new names taken into their index."""

import itertools
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.access import closed, devices, forgetting, spent
from app.access.sealing import KeyMissing
from app.audit import requests
from app.clock import iso, now
from app.commands import evidence
from app.database import clocks_apart, db, in_transaction, look_at_what_is_new, reading
from app.delivery import alarm_posts, ended_workspaces, erasing, ruled_handovers, signal_streams, sponsor_letters, sweeping
from app.delivery.expansion import want_channels
from app.delivery.workspaces import Targets
from app.directory import name_parts
from app.intake import confirming, hr_systems
from app.intake import polling as hr_polling
from app.intake.tables import HREvent
from app.journal.tables import Organization
from app.lifecycle import conditions, contractors, ended_sources, questions, restoring, retention, sponsors
from app.lifecycle.alarm_routes import seal_what_was_open
from app.lifecycle.look_alikes import flag_look_alikes, flag_some, flag_who_left, id_before_newcomers
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import escalate
from app.rules import stays
from app.rules.channels import settle
from app.rules.tables import Channel, ChannelState
from app.signals import polling, receiving
from app.sso.saml_refreshing import expiring, refresh_all

log = logging.getLogger(__name__)

PRUNINGS = 20
"""Small transactions of pruning at a tick, for each organisation: what is left over waits for the next."""
BEAT = 5
"""Seconds between two beats."""
# Counted and not taken from the clock: where a beat takes longer than it should, the same would else have their turn each time.
_beats = itertools.count()
LOOKED_AT = 50
"""Organisations at a beat whose conditions are looked at."""
ENGAGED_AT_ONCE = 2_000
ENGAGED_AT_A_TICK = 5
"""Pages of so many people that a tick looks through for those whom a directory calls no employees: 100,000 people in ten minutes."""
NEWCOMERS_EVERY = timedelta(minutes=10)
NEWCOMERS_OVERLAP = timedelta(seconds=2)
"""Ids bear the instant at which they were made, on whichever machine, and are seen when their transaction has ended; who is late, the next look at all finds."""
NEWCOMERS_PAGES = 20
"""So many times 500 newcomers at a beat are looked at again: a million in ten minutes."""


@dataclass(frozen=True, kw_only=True)
class _NewcomersSeen:
    """When newcomers were last looked at, when the pass through all of them began, and behind whom it goes on; None where it is through."""

    last: datetime
    began: datetime
    after: str | None


_newcomers_seen: dict[str, _NewcomersSeen] = {}
# How far it has come in each organisation. A process that starts anew begins anew.
_engaged_upto: dict[str, str] = {}
# The last device that was looked at; none where the next tick begins with the first one.
_devices_upto: list[devices.Place] = []
NAMINGS = 400
"""Small transactions at a tick that take names into the index: 200,000 names, or 2 seconds of a processor."""


def tick(app: Flask) -> None:
    """Look at every empty channel once, delete old requests, take in new names. May run in several processes at once: twice does it once."""
    with app.app_context():
        try:
            with reading() as session:
                empty = session.execute(select(Channel.organization_id, Channel.id).where(Channel.state == ChannelState.EMPTY)).all()
            for organization_id, channel_id in empty:
                in_transaction(lambda session, o=organization_id, c=channel_id: _settle(session, o, c))  # type: ignore[misc]  # defaults bind the loop's values
            _warn_of_certificates()
            _follow_engagements()
            _follow_leavers()
            _prune(app)
            _forget()
            _forget_sign_ins(app)
            ended_workspaces.forget()
            while in_transaction(lambda session: ended_sources.end_late(session, at=now())):
                pass
            evidence.prune(app.config["DOORLIST"])
            evidence.look_again(app)
            for _ in range(NAMINGS):
                if not in_transaction(name_parts.catch_up):
                    break
            # Last: a version before that runs beside this one may add again what is encrypted already, and none of the rest is to wait for that.
            with suppress(KeyMissing):
                in_transaction(lambda session: seal_what_was_open(session, app.config["DOORLIST"]))
        except DBAPIError as error:
            # The next tick comes soon; the database may have been away for a moment.
            log.error("housekeeping could not be done: %s", error.__class__.__name__)


def beat(app: Flask) -> None:
    """What cannot wait for the minute: is the database the newest, what stands wrong, which alarm has nobody answered? Twice does it once.

    PostgreSQL is shown what a directory has just filled: by itself it would look a minute later.
    """
    move_on(app)
    with app.app_context():
        try:
            _look_at_conditions(timedelta(seconds=app.config["DOORLIST"].overdue_after))
            in_transaction(lambda session: escalate(session, at=now()))
            if db.engine.dialect.name == "postgresql":
                in_transaction(look_at_what_is_new)
        except DBAPIError as error:
            log.error("what is wrong could not be looked for: %s", error.__class__.__name__)


def _look_at_conditions(overdue_after: timedelta) -> None:
    at = now()
    with reading() as session:
        organizations = session.scalars(select(Organization.id).order_by(Organization.id)).all()
    # Where there are many, they take turns.
    turns = len(organizations) // LOOKED_AT + 1
    for organization_id in organizations[next(_beats) % turns :: turns]:
        conditions.look(organization_id, at=at, overdue_after=overdue_after)
        _look_for_look_alikes(organization_id, at)
        with reading() as session:
            parked = session.scalar(
                select(func.count()).select_from(HREvent).where(HREvent.organization_id == organization_id, HREvent.state == "parked")
            )
        calls = "1 HR call means" if parked == 1 else f"{parked} HR calls mean"
        conditions.keep(organization_id, {AlarmKind.HR_CALL_PARKED: {"": f"{calls} nobody, or more than one."} if parked else {}}, at=at)
        conditions.keep(organization_id, {AlarmKind.QUESTIONS_WAIT: _asked(organization_id)}, at=at)


def _look_for_look_alikes(organization_id: str, at: datetime) -> None:
    """At a beat, those who joined since the last one, and those whom somebody resembles who left since; in passes, all newcomers.

    Two looks at each, then: looked at once a minute, they took a fifth of what the database did while many came in. On the day a
    company comes in there are very many: looked at in one go, all of them kept a processor busy for a second.
    """
    seen = _newcomers_seen.get(organization_id)
    if seen is not None:
        since = seen.last - NEWCOMERS_OVERLAP
        flag_look_alikes(organization_id, at=at, since=since)
        flag_who_left(organization_id, at=at, since=since)
    if seen is None or at < seen.began or (seen.after is None and at - seen.began >= NEWCOMERS_EVERY):
        seen = _NewcomersSeen(last=at, began=at, after=id_before_newcomers(at))
    after = seen.after
    for _ in range(NEWCOMERS_PAGES):
        if after is not None:
            _, after = flag_some(organization_id, after=after, at=at)
    _newcomers_seen[organization_id] = _NewcomersSeen(last=at, began=seen.began, after=after)


def _asked(organization_id: str) -> dict[str, str]:
    with reading() as session:
        count = questions.count(session, organization_id)
    return {"": "It is asked of 1 person who they are." if count == 1 else f"It is asked of {count} people who they are."} if count else {}


def _follow_engagements() -> None:
    """People who are no employees: whom a directory has named, whose day has come, whose sponsor has left."""
    with reading() as session:
        organizations = session.scalars(select(Organization.id)).all()
    for organization_id in organizations:
        for _ in range(ENGAGED_AT_A_TICK):
            after = _engaged_upto.pop(organization_id, "")
            upto = in_transaction(lambda session, o=organization_id, a=after: contractors.adopt_some(session, o, after=a, most=ENGAGED_AT_ONCE, at=now()))  # type: ignore[misc]  # defaults bind the loop's values
            if upto is None:
                break
            _engaged_upto[organization_id] = upto
        sponsors.look(organization_id, at=now())


def _follow_leavers() -> None:
    """What was handed over and is so no more, exceptions whose day has come, and when what leavers wrote is to be erased."""
    with reading() as session:
        # Only where there is something the database's one pen is asked for.
        beside, kept = stays.organizations(session), retention.organizations(session)
    for organization_id in beside:
        stays.follow(organization_id, at=now())
        ruled_handovers.follow(organization_id, at=now())
    for organization_id in kept:
        retention.follow(organization_id, at=now())


def erase_what_is_due(app: Flask, targets: Targets) -> None:
    """What leavers wrote and is due to be erased. A workspace that takes its time keeps nothing else waiting."""
    try:
        erasing.erase_due(app, targets)
    except DBAPIError as error:
        log.error("what is due to be erased could not be looked for: %s", error.__class__.__name__)


def _warn_of_certificates() -> None:
    at = now()
    with reading() as session:
        ending = expiring(session, at=at)
        organizations = session.scalars(select(Organization.id)).all()
    for organization_id in organizations:
        said = {
            f"{one.connection_id} {one.fingerprint}": f"{one.connection_name}: {one.what} ends at {iso(one.ends_at)}."
            for one in ending
            if one.organization_id == organization_id
        }
        conditions.keep(organization_id, {AlarmKind.CERTIFICATE_EXPIRING: said}, at=at)


def refresh_connections(app: Flask) -> None:
    """Read the metadata of SAML providers again, so that a certificate is known before it is signed with. Twice changes nothing more."""
    with app.app_context():
        try:
            at = now()
            problems = refresh_all(at=at)
            with reading() as session:
                organizations = session.scalars(select(Organization.id)).all()
            for organization_id in organizations:
                said = {one.connection_id: one.sentence for one in problems if one.organization_id == organization_id}
                conditions.keep(organization_id, {AlarmKind.PROVIDER_AWAY: said}, at=at)
        except DBAPIError as error:
            log.error("metadata could not be read again: %s", error.__class__.__name__)


def move_on(app: Flask) -> None:
    """Is the database the newest there is? Then it is one step further, which is written down beside it; else it is closed from here on."""
    settings = app.config["DOORLIST"]
    with app.app_context():
        try:
            moved = in_transaction(lambda session: restoring.move_on_or_close(session, settings, at=now()))
            if isinstance(moved, str):
                closed.look_again()
                log.error("closed, nobody is given anything: %s", moved)
            elif moved is not None:
                closed.keep(settings, moved)
        except DBAPIError as error:
            log.error("it could not be seen whether the database is the newest: %s", error.__class__.__name__)
        except OSError as error:
            log.error("a restored backup would not be noticed: %s cannot be written (%s)", closed.generation_file(settings), error.strerror)


def follow_signals(app: Flask) -> None:
    """Fetch what transmitters have for us, ask whether they are alive, and tell receivers who is back. A slow one keeps nothing else waiting."""
    with app.app_context():
        try:
            polling.tick(app.config["DOORLIST"])
            signal_streams.keep_up(clock=now)
        except DBAPIError as error:
            log.error("signals could not be followed: %s", error.__class__.__name__)


def follow_hr(app: Flask) -> None:
    """Confirm and understand HR calls by the vendors' own word, poll what no call tells, and forget bodies that are old."""
    with app.app_context():
        settings = app.config["DOORLIST"]
        try:
            confirming.work(settings)
            hr_polling.look(settings)
            before = now() - timedelta(days=min(settings.bodies_kept_days, 36_500))
            in_transaction(lambda session: hr_systems.forget_bodies(session, before=before))
        except DBAPIError as error:
            log.error("HR systems could not be followed: %s", error.__class__.__name__)


def post_alarms(app: Flask) -> None:
    """Send what is due to those who are told of alarms. A mail server that takes its time keeps nothing else waiting."""
    try:
        alarm_posts.post_due(app)
        sponsor_letters.post_due(app)
    except DBAPIError as error:
        log.error("alarms could not be sent: %s", error.__class__.__name__)


def look_for_access(app: Flask, targets: Targets) -> None:
    """The sweep, as far as it is due."""
    try:
        sweeping.sweep(app, targets)
    except DBAPIError as error:
        log.error("the sweep could not go on: %s", error.__class__.__name__)


def _forget() -> None:
    """Push tokens of those who are let in no more, and used messages that would be refused for their age by now.

    Devices have their turn, some at each tick: looking at all of a large organisation's once a minute took a processor seconds.
    """
    with reading() as session:
        over, upto = devices.look_for_over(session, at=now(), after=_devices_upto.pop() if _devices_upto else None)
    _devices_upto.extend([] if upto is None else [upto])
    if over:
        in_transaction(lambda session: devices.forget(session, over, at=now()))
    in_transaction(lambda session: spent.forget(session, at=now()))


def _forget_sign_ins(app: Flask) -> None:
    kept = timedelta(days=min(app.config["DOORLIST"].sign_ins_kept_days, 36_500))

    def act(session: Session) -> bool:
        # By the clock that all share: one that is a year ahead would sign out everybody who works on by an application's own grant.
        at = now() + clocks_apart(session)
        return forgetting.forget(session, before=at - kept, at=at)

    for _ in range(PRUNINGS):
        if not in_transaction(act):
            break


def _prune(app: Flask) -> None:
    settings = app.config["DOORLIST"]
    kept, bodies = (timedelta(days=min(days, 36_500)) for days in (settings.requests_kept_days, settings.bodies_kept_days))
    with reading() as session:
        organizations = session.scalars(select(Organization.id)).all()
    for organization_id in organizations:
        for _ in range(PRUNINGS):
            # Each is short, so that no request waits long for it on SQLite.
            if not in_transaction(lambda session, o=organization_id: requests.prune(session, o, at=now(), requests_kept=kept, bodies_kept=bodies)):  # type: ignore[misc]  # defaults bind the loop's values
                break
        for _ in range(PRUNINGS):
            if not in_transaction(lambda session, o=organization_id: receiving.prune(session, settings, o, at=now())):  # type: ignore[misc]  # defaults bind the loop's values
                break


def _settle(session: Session, organization_id: str, channel_id: str) -> None:
    settled = settle(session, organization_id, [channel_id], now()).get(channel_id)
    if settled is not None and settled.state is not ChannelState.EMPTY:
        want_channels(session, organization_id, {channel_id}, at=now())
