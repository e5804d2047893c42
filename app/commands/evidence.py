"""Keeping the audit: its tree grows, is signed every minute, is handed to others, and loses what is older than it is kept.

These run beside the worker and behind every transaction. What fails is tried again at the next turn; a tree that is not
what it was signed to be is an alarm, and nothing more of it is signed.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from app.access import keys
from app.access.keys import NoSigningKey, Purpose
from app.access.sealing import KeyMissing
from app.audit import checkpoints, notes, publishing, retention, rounds, sequencer, siem
from app.audit.publishing import Forked, Places
from app.audit.stored import TreeBroken
from app.audit.tree_tables import AuditCheckpoint, AuditTree
from app.clock import now
from app.database import db, in_transaction, one_moment, reading
from app.journal.tables import Organization
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from app.settings import Settings
from connectors.contract import ConnectorError, RateLimited, Refused, Unreachable

log = logging.getLogger(__name__)

PASSES = 20
"""Batches that one turn appends: 10,000 leaves of each kind. What is left over waits for the next second."""
DELIVERIES = 50
PRUNINGS = 20
PAUSE = 10.0
"""Seconds for which a receiver that did not take what it was sent is left alone."""
BLOCKS = 40
"""Blocks of 256 leaves that a minute's tick looks at again, in all trees together: a few hundredths of a second."""
_ONE_HANDS_ON, _ONE_PUBLISHES, _ONE_LOOKS = 0x646C73656E64, 0x646C70756273, 0x646C6C6F6F6B
"""PostgreSQL's advisory locks of whoever hands leaves on, of whoever publishes checkpoints, and of whoever looks at leaves again."""
_CHECKPOINTS = "checkpoints"


def sequence(app: Flask) -> None:
    """One turn: append what has come, sign what is due. Runs every second; may run in several processes, of which one works."""
    with app.app_context():
        settings: Settings = app.config["DOORLIST"]
        try:
            append(settings)
            sign_due(settings)
        except TreeBroken as error:
            with reading() as session:
                organizations = session.scalars(select(Organization.id)).all()
            for organization_id in organizations:
                _alarm_of_tree(organization_id, str(error))
        except DBAPIError as error:
            log.error("the audit tree could not grow: %s", error.__class__.__name__)
        except (KeyMissing, NoSigningKey) as error:
            log.error("the audit tree could not be signed: %s", error)


def append(settings: Settings, *, most: int = PASSES) -> int:
    """Append everything that waits, as far as `most` batches go; returns how many leaves came. Needs an application context. Raises TreeBroken.

    What another process is at is left to it.
    """
    return _append(settings, most=most, waits=False)


def catch_up(settings: Settings) -> int:
    """The same for whoever is to sign all that there is now, however much has waited: where another process is at it, its leaves are waited for."""
    with reading() as session:
        behind = sequencer.behind(session)
    return _append(settings, most=PASSES + behind // sequencer.BATCH, waits=True)


def _append(settings: Settings, *, most: int, waits: bool) -> int:
    with reading() as session:
        if not sequencer.is_due(session):
            return 0
    appended = 0
    for _ in range(most):
        try:
            passed = _pass(partial(notes.origin_of, settings.public_url), waits=waits)
        except IntegrityError as error:
            # What stands where the next leaf belongs, or was made of the same row, nobody but another hand has put there.
            raise TreeBroken("nothing can be appended any more, since what is stored of a tree is not what it was") from error
        appended += passed.appended
        if not (passed.more or (passed.elsewhere and waits)):
            break
    return appended


def _pass(origin_of: sequencer.OriginOf, *, waits: bool) -> sequencer.Passed:
    """One batch. Who writes to SQLite keeps all others waiting, so leaves are made before that; on PostgreSQL a lock keeps others from making them too."""
    if db.engine.dialect.name == "postgresql":
        run = sequencer.run_pass_in_turn if waits else sequencer.run_pass
        return in_transaction(lambda session: run(session, at=now(), origin_of=origin_of))
    with reading() as session:
        found = sequencer.work_out(session, at=now())
    return in_transaction(lambda session: sequencer.append(session, found, origin_of=origin_of))


def sign_due(settings: Settings) -> None:
    """Sign each tree that has grown and whose last checkpoint is a minute old."""
    with reading() as session:
        organizations = checkpoints.due(session, at=now())
    for organization_id in organizations:
        try:
            sign(settings, organization_id)
        except TreeBroken as error:
            _alarm_of_tree(organization_id, str(error))


def sign(settings: Settings, organization_id: str) -> AuditCheckpoint | None:
    """Sign one tree as it is now; None where there is none. Raises TreeBroken, KeyMissing, NoSigningKey."""

    def act(session: Session) -> AuditCheckpoint | None:
        rounds.refuse_if_broken(session, organization_id)
        return checkpoints.sign(session, organization_id, keys.signer(session, settings, Purpose.EVIDENCE, at=now()), at=now())

    return in_transaction(act)


def look_again(app: Flask) -> None:
    """Look at some leaves again, of whichever trees have waited longest for it; what is not as it was is an alarm. Runs every minute."""
    _take_turn(app, _ONE_LOOKS, _look_again)


def _look_again(settings: Settings) -> None:
    with reading() as session:
        organizations = rounds.in_turn(session, most=BLOCKS)
    left = BLOCKS
    for organization_id in organizations:
        looked = look_at(organization_id, blocks=left)
        if looked.broken is not None:
            _alarm_of_tree(organization_id, looked.broken)
        left -= looked.blocks
        if left <= 0:
            break


def look_at(organization_id: str, *, blocks: int = BLOCKS) -> rounds.Looked:
    """Look at some leaves of one tree again, and write down what was found."""
    with one_moment() as session:
        looked = rounds.look(session, organization_id, blocks=blocks)
    in_transaction(lambda session: rounds.note(session, organization_id, looked, at=now()))
    return looked


def hand_on(app: Flask) -> None:
    """One turn: send leaves to whoever watches. Apart from `sequence`, since others may be slow."""
    _take_turn(app, _ONE_HANDS_ON, deliver_due)


def publish_new(app: Flask) -> None:
    """One turn: publish the newest checkpoints. Apart from `hand_on`: neither waits for a place of the other's that does not answer."""
    _take_turn(app, _ONE_PUBLISHES, publish_due)


def _take_turn(app: Flask, lock: int, act: Callable[[Settings], None]) -> None:
    with app.app_context():
        try:
            with _only_here(lock) as mine:
                if mine:
                    act(app.config["DOORLIST"])
        except DBAPIError as error:
            log.error("the audit could not be handed on: %s", error.__class__.__name__)
        except ConnectorError as error:
            log.error("the audit cannot be handed on: %s", error)


@contextmanager
def _only_here(lock: int) -> Iterator[bool]:
    """Whether this process is the one whose turn it is. Others would only say everything a second time."""
    if db.engine.dialect.name != "postgresql":
        yield True
        return
    # Not in a transaction: one that stood open so long would keep the sequencer waiting for it.
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        mine = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": lock}))
        try:
            yield mine
        finally:
            if mine:
                connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": lock})


def places_of(settings: Settings) -> Places:
    """Where checkpoints go. Raises Misconfigured."""
    # Whoever sets these has the machine: an address of their own network is theirs to name.
    places = Places(folder=settings.checkpoint_folder, url=settings.checkpoint_url, token=settings.checkpoint_token, allow_private=True)
    publishing.check(places)
    return places


def publish_due(settings: Settings) -> None:
    """Publish the newest checkpoint of each organisation that nobody else has yet. Raises Misconfigured."""
    places = places_of(settings)
    if not places:
        return
    with reading() as session:
        organizations = session.scalars(select(AuditTree.organization_id).where(AuditTree.checkpoint_size > 0)).all()
    for organization_id in organizations:
        away = time.monotonic() < _paused_until.get(_CHECKPOINTS, 0.0)
        try:
            publish(organization_id, places, but_not_by_http=away)
        except (Unreachable, RateLimited) as error:
            log.error("a checkpoint of %s could not be published: %s", organization_id, error)
            # The other organisations' would fail in the same way, and each attempt takes seconds; their folders are written.
            _paused_until[_CHECKPOINTS] = time.monotonic() + PAUSE
        except (ConnectorError, OSError) as error:
            log.error("a checkpoint of %s could not be published: %s", organization_id, error)
        except (Forked, TreeBroken) as error:
            _alarm(organization_id, f"A checkpoint was not published: {error}.")


def publish(organization_id: str, places: Places, *, but_not_by_http: bool = False) -> AuditCheckpoint | None:
    """Publish the newest checkpoint unless it was; returns it. Raises Forked, TreeBroken, ConnectorError, OSError.

    It counts as published only once every place has it.
    """
    with reading() as session:
        made = publishing.unpublished(session, organization_id)
        if made is None:
            return None
        publishing.witness(made, places, lambda old, new: checkpoints.consistency(session, organization_id, old=old, new=new))
    # Apart from the look at what is stored: no transaction stands open while somebody else takes their time.
    leave_out = but_not_by_http and places.url is not None
    publishing.publish(made, replace(places, url=None) if leave_out else places)
    if not leave_out:
        in_transaction(lambda session: publishing.note_published(session, made, at=now()))
    return made


def receivers(settings: Settings) -> list[siem.Receiver]:
    """Whoever is to be told of every leaf. Raises Misconfigured."""
    found: list[siem.Receiver] = []
    if settings.siem_syslog is not None:
        host = urlsplit(settings.public_url).hostname or "-"
        found.append(siem.Syslog(settings.siem_syslog, host=host, ca_file=settings.siem_ca_file))
    if settings.siem_url is not None:
        found.append(siem.Lines(settings.siem_url, token=settings.siem_token))
    return found


def deliver_due(settings: Settings) -> None:
    """Send every receiver what it has not had. Raises Misconfigured."""
    for receiver in receivers(settings):
        if time.monotonic() >= _paused_until.get(receiver.name, 0.0):
            deliver(receiver)


def deliver(receiver: siem.Receiver) -> int:
    """Send a receiver what it has not had; returns how many leaves it took. What it did not take waits for the next turn."""
    taken = 0
    with reading() as session:
        organizations = siem.behind(session, receiver.name)
    for organization_id in organizations:
        for _ in range(DELIVERIES):
            with reading() as session:
                events = siem.waiting(session, organization_id, receiver.name)
            if not events:
                break
            try:
                receiver.take(events)
            except ConnectorError as error:
                log.error("leaves of the audit were not taken: %s", error)
                failed = str(error)
                in_transaction(lambda session, o=organization_id, e=failed: siem.note_failed(session, o, receiver.name, e))  # type: ignore[misc]  # defaults bind the loop's values
                _paused_until[receiver.name] = time.monotonic() + PAUSE
                if isinstance(error, Refused):
                    # That may be for what was sent: others' leaves are not kept waiting for it.
                    break
                # The other organisations' would fail in the same way, and each attempt takes seconds.
                return taken
            _taken(organization_id, receiver.name, events)
            taken += len(events)
    return taken


def _taken(organization_id: str, receiver: str, events: Sequence[siem.Event]) -> None:
    in_transaction(lambda session: siem.note_taken(session, organization_id, receiver, events, at=now()))


def kept(settings: Settings) -> timedelta:
    """How long the content of leaves is kept."""
    return timedelta(days=min(settings.audit_kept_days, 36_500))


def prune(settings: Settings) -> None:
    """Take the content from what is older than it is kept. Needs an application context."""
    with reading() as session:
        organizations = session.scalars(select(AuditTree.organization_id)).all()
    for organization_id in organizations:
        for _ in range(PRUNINGS):
            if not in_transaction(lambda session, o=organization_id: retention.prune(session, o, at=now(), kept=kept(settings))):  # type: ignore[misc]  # defaults bind the loop's values
                break


def _alarm_of_tree(organization_id: str, why: str) -> None:
    _alarm(organization_id, f"The audit tree is not signed any more: {why}.")


def _alarm(organization_id: str, sentence: str) -> None:
    """Raise it, and again every minute for as long as it stands: each turn would be every second."""
    at = now()
    if (told := _told.get(organization_id)) is not None and at - told < timedelta(minutes=1):
        return
    _told[organization_id] = at
    log.error("%s", sentence)
    in_transaction(lambda session: raise_alarm(session, organization_id, kind=AlarmKind.AUDIT_ALTERED, about="tree", sentence=sentence, at=at))


_paused_until: dict[str, float] = {}
"""When a receiver, or the address of checkpoints, that did not answer is tried again by this process."""
_told: dict[str, datetime] = {}
"""When this process last raised the alarm of a tree that is not what it was."""
