"""After a backup was restored: everything issued before ends, nothing is given until the sources were read again, then it opens.

What a restored database does not know is who has left since. Taking needs no such knowledge, so that goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, literal, select, update
from sqlalchemy.orm import Session

from app.access.clients import ways_in
from app.access.closed import Kept, move_on, open_doors, shut_doors
from app.access.connection_tables import Connection
from app.access.factor_tables import BreakGlassAccount, OneTimeCode
from app.access.session_tables import Device, DeviceRequest, Grant, IssuedToken, RelyingParty, WebSession
from app.access.tables import BearerToken, Operator
from app.actors import Actor
from app.directory.tables import Person, Source
from app.journal import entries, work
from app.journal.tables import HERE, Lane, Organization, Subject
from app.lifecycle import contractors, just_in_time, retention
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm, settle_alarm
from app.revocation.stream_tables import Receiver, Transmitter
from app.settings import Settings

LEAP: Final = 1_000_000
_EPOCHS_SINCE: Final = datetime(2020, 1, 1, tzinfo=UTC)
_QUIET: Final = {"synchronize_session": False}
INSTALLATION: Final = "installation"
"""What the alarm is about."""
WHY: Final = "restored from a backup"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What was ended in one organisation; nobody can use any of it again."""

    organization: str
    people: int
    sessions: int
    grants: int
    tokens: int
    devices: int
    codes: int


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Something that lets people in or speaks of them. It counts as it did at the backup's time, though it may have ended since."""

    organization: str
    kind: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A source, and when it last said anything. `since_closed` where that was after the doors were closed."""

    organization: str
    name: str
    kind: str
    last_at: datetime | None
    since_closed: bool


def epoch_floor(at: datetime) -> int:
    """An epoch that nobody had before this instant.

    Epochs begin at 1 and move by one, and nobody's moves once a second for years; so the seconds since 2020 are beyond all
    that were ever given, those too of which a restored database knows nothing. It fits a 32-bit column until 2088.
    """
    return int((at - _EPOCHS_SINCE).total_seconds())


def end_everything(session: Session, *, actor: Actor, because: str, at: datetime) -> list[Ended]:
    """Close the doors; move every person's epoch beyond any that was ever issued; end sessions, grants, tokens, devices and codes.

    One entry for each organisation, and one statement for each kind of thing. May be called again: all of it moves once more.
    """
    row = shut_doors(session, because=because, at=at)
    row.restored_at = at
    return [_end_all_of(session, one, actor=actor, because=because, at=at) for one in session.scalars(select(Organization).order_by(Organization.name))]


def _end_all_of(session: Session, organization: Organization, *, actor: Actor, because: str, at: datetime) -> Ended:
    entry = entries.write(
        session, organization.id, at=at, actor=actor, verb="database restored", because=because, subject_kind="organization",
        subject_id=organization.id, after={"epochs at least": epoch_floor(at)},
    )  # fmt: skip
    larger = func.greatest if session.get_bind().dialect.name == "postgresql" else func.max
    people = session.execute(
        update(Person)
        .where(Person.organization_id == organization.id)
        # The leap counts where the clock is wrong, or where this happens twice within a day.
        .values(access_epoch=larger(Person.access_epoch + LEAP, literal(epoch_floor(at))), journal_id=entry),
        execution_options=_QUIET,
    )
    # Relying parties hold sessions of their own, which they end when they are told.
    untold = select(Grant.person_id).where(Grant.organization_id == organization.id, Grant.told_at.is_(None)).distinct()
    work.want(
        session, organization.id, subject=Subject.ACCESS, subject_ids=session.scalars(untold), because=entry, due_at=at, lane=Lane.DEPARTURES,
        workspace_id=HERE,
    )  # fmt: skip
    sessions, grants, tokens, devices = (
        session.execute(
            update(held).where(held.organization_id == organization.id, held.ended_at.is_(None)).values(ended_at=at, **why), execution_options=_QUIET
        )
        for held, why in _held()
    )
    # Who waits to be let in with a device waits in vain; access tokens of directories are asked for anew by themselves.
    session.execute(
        update(DeviceRequest).where(DeviceRequest.organization_id == organization.id, DeviceRequest.expires_at > at).values(expires_at=at),
        execution_options=_QUIET,
    )
    # Which of them were used after the backup nobody knows, and each counts once.
    codes = session.execute(
        update(OneTimeCode)
        .where(OneTimeCode.organization_id == organization.id, OneTimeCode.used_at.is_(None), OneTimeCode.ended_at.is_(None))
        .values(ended_at=at),
        execution_options=_QUIET,
    )
    access = (BearerToken.client_id.is_not(None), BearerToken.revoked_at.is_(None))
    session.execute(update(BearerToken).where(BearerToken.organization_id == organization.id, *access).values(revoked_at=at), execution_options=_QUIET)
    tell(session, organization.id, because, at=at)
    return Ended(
        organization=organization.name, people=_rows(people), sessions=_rows(sessions), grants=_rows(grants), tokens=_rows(tokens), devices=_rows(devices),
        codes=_rows(codes),
    )  # fmt: skip


def _held() -> list[tuple[Any, dict[str, str]]]:
    return [(WebSession, {"ended_why": WHY}), (Grant, {"ended_why": WHY}), (IssuedToken, {}), (Device, {"ended_why": WHY})]


def _rows(result: Any) -> int:
    return int(result.rowcount)


def move_on_or_close(session: Session, settings: Settings, *, at: datetime) -> Kept | str | None:
    """One step of the generation (`app.access.closed.move_on`); where the database is found to be an older one, people are told."""
    moved = move_on(session, settings, at=at)
    if isinstance(moved, str):
        for organization_id in session.scalars(select(Organization.id)).all():
            tell(session, organization_id, moved, at=at)
    return moved


def tell(session: Session, organization_id: str, because: str, *, at: datetime) -> None:
    """The alarm of it, once for each organisation."""
    sentence = f"Nobody is let in until the sources were read again: {because}."
    raise_alarm(session, organization_id, kind=AlarmKind.DATABASE_RESTORED, about=INSTALLATION, sentence=sentence, at=at)


LastWord = Callable[[Session, str, str], datetime | None]
"""When a source last called, or was last read in whole: that is kept by the doors that do it, which are above us."""


def heard_since(session: Session, *, closed_at: datetime, last_word: LastWord) -> list[Heard]:
    """Every source there is, with when it last spoke: those that were silent since cannot have said who left."""
    heard: list[Heard] = []
    for organization in session.scalars(select(Organization).order_by(Organization.name)).all():
        used = {one.source_id: one.last_used_at for one in ways_in(session, organization.id)}
        sources = select(Source).where(Source.organization_id == organization.id, Source.ended_at.is_(None), Source.kind.not_in((just_in_time.KIND, contractors.KIND))).order_by(Source.name)
        for source in session.scalars(sources).all():
            # When a token was used is noted now and then: what came soon after the one before is only among the requests, where they are kept.
            said = (used.get(source.id), last_word(session, organization.id, source.id))
            last = max((one for one in said if one is not None), default=None)
            heard.append(
                Heard(organization=organization.name, name=source.name, kind=source.kind, last_at=last, since_closed=last is not None and last > closed_at)
            )
    return heard


def operators_then(session: Session) -> Sequence[tuple[str, str, str]]:
    """Organisation, name and role of everybody whom the restored database takes for an operator, ended since or not."""
    rows = session.execute(
        select(Organization.name, Operator.name, Operator.role)
        .join(Organization, Organization.id == Operator.organization_id)
        .where(Operator.ended_at.is_(None))
        .order_by(Organization.name, Operator.name)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def counted_then(session: Session) -> list[Counted]:
    """Everything but operators and sources that the restored database counts, ended since or not: only a person can know that.

    None of it is ended here: without its connections nobody comes in any more, and without its clients every application stands still.
    """
    counted: list[Counted] = []
    for organization in session.scalars(select(Organization).order_by(Organization.name)).all():
        accounts = (
            select(literal("break-glass account"), Person.user_name)
            .join(BreakGlassAccount, (BreakGlassAccount.organization_id == Person.organization_id) & (BreakGlassAccount.person_id == Person.id))
            .where(BreakGlassAccount.organization_id == organization.id, BreakGlassAccount.ended_at.is_(None))
            .order_by(Person.user_name)
        )
        named = (
            select(kind, held.name).where(held.organization_id == organization.id, held.ended_at.is_(None)).order_by(held.name)
            for kind, held in (
                (literal("connection"), Connection), (RelyingParty.kind, RelyingParty), (literal("signal transmitter"), Transmitter),
                (literal("signal receiver"), Receiver),
            )
        )  # fmt: skip
        counted += [
            Counted(organization=organization.name, kind=kind, name=name) for query in (*named, accounts) for kind, name in session.execute(query)
        ]
    return counted


def open_again(session: Session, settings: Settings, *, actor: Actor, because: str, at: datetime) -> Kept:
    """The sources were read again, or nothing was restored: give as ever. What is returned is to be kept after the commit."""
    for organization_id in session.scalars(select(Organization.id)).all():
        entries.write(
            session, organization_id, at=at, actor=actor, verb="opened", because=because, subject_kind="organization", subject_id=organization_id
        )
        settle_alarm(session, organization_id, kind=AlarmKind.DATABASE_RESTORED, about=INSTALLATION, at=at)
        retention.give_notice(session, organization_id, at=at, notice=retention.RESTORED)
    return open_doors(session, settings, at=at)
