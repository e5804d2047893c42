"""Writing down what somebody who stays leaves and joins, while it is being delivered: for the receipt that a mover gets."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from app.access.tables import Account
from app.database import new_id
from app.directory.tables import Person
from app.journal.work import Claim
from app.rules.file import Rule
from app.rules.move_tables import Move, MoveLine, Step
from app.rules.shapes import shapes
from app.rules.tables import MOVED, Channel, ChannelMember
from connectors.contract import AccountState

_QUIET = {"synchronize_session": False}
Place = tuple[str, str, Step]
"""A workspace, a channel there, and what somebody does with it."""


def note(session: Session, person: Person, now_in: set[str], rules: Sequence[Rule], *, because: int | None, at: datetime) -> None:
    """Somebody belongs elsewhere than they are. Of whoever is nowhere yet nothing is noted: they join, and do not move."""
    mirror = _mirror(session, person)
    wanted: dict[Place, ChannelMember | None] = {}
    for workspace_id, rows in mirror.items():
        wanted |= {(workspace_id, one, Step.JOINS): None for one in now_in - rows.keys()}
        wanted |= {(workspace_id, one, Step.LEAVES): rows[one] for one in rows.keys() - now_in}
    opened = _opened(session, person)
    for place, line in opened.items():
        if place not in wanted and not _came_about(place, mirror):
            line.withdrawn_at = at
    fresh = {place: member for place, member in wanted.items() if place not in opened}
    if fresh:
        _add(session, person, fresh, rules, because=because, at=at)
    session.flush()


def _mirror(session: Session, person: Person) -> dict[str, dict[str, ChannelMember]]:
    """Where they are, by workspace, of those where they have an account; channels only, as spaces come with them."""
    rows = session.execute(
        select(ChannelMember)
        .join(Channel, (Channel.organization_id == ChannelMember.organization_id) & (Channel.id == ChannelMember.channel_id))
        .join(
            Account,
            (Account.organization_id == ChannelMember.organization_id)
            & (Account.workspace_id == ChannelMember.workspace_id)
            & (Account.person_id == ChannelMember.person_id),
        )
        .where(
            ChannelMember.organization_id == person.organization_id, ChannelMember.person_id == person.id, ChannelMember.why != MOVED,
            Channel.space.is_(False), Account.state == AccountState.ACTIVE,
        )
    )  # fmt: skip
    found: dict[str, dict[str, ChannelMember]] = {}
    for (row,) in rows:
        found.setdefault(row.workspace_id, {})[row.channel_id] = row
    return found


def _opened(session: Session, person: Person) -> dict[Place, MoveLine]:
    rows = session.scalars(select(MoveLine).where(*_open(person.organization_id, person.id)))
    return {(row.workspace_id, row.channel_id, Step(row.step)): row for row in rows}


def _open(organization_id: str, person_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        MoveLine.organization_id == organization_id, MoveLine.person_id == person_id, MoveLine.done_at.is_(None), MoveLine.withdrawn_at.is_(None),
    )  # fmt: skip


def _came_about(place: Place, mirror: Mapping[str, Mapping[str, ChannelMember]]) -> bool:
    # They are in it already, and whoever put them there has only not said so yet.
    workspace_id, channel_id, step = place
    return step is Step.JOINS and channel_id in mirror.get(workspace_id, {})


def _add(
    session: Session, person: Person, fresh: Mapping[Place, ChannelMember | None], rules: Sequence[Rule], *, because: int | None, at: datetime
) -> None:
    move = None
    if because is not None:
        # The same change may be looked at more than once.
        known = select(Move).where(Move.organization_id == person.organization_id, Move.person_id == person.id, Move.journal_id == because)
        move = session.scalars(known.order_by(Move.at.desc()).limit(1)).one_or_none()
    if move is None:
        move = Move(organization_id=person.organization_id, id=new_id(), person_id=person.id, journal_id=because, at=at)
        session.add(move)
        session.flush()
    shaped = shapes(session, person.organization_id, rules, {channel_id for _, channel_id, _ in fresh})
    for (workspace_id, channel_id, step), member in sorted(fresh.items(), key=lambda one: one[0]):
        one = shaped.get(channel_id)
        keep_for = one.keep_for if one is not None and member is not None and member.why == "rule" else timedelta()
        until = member.keep_until if member is not None and member.keep_until is not None else at + keep_for if keep_for else None
        session.merge(
            MoveLine(
                organization_id=person.organization_id, move_id=move.id, workspace_id=workspace_id, channel_id=channel_id, step=step,
                person_id=person.id, name=one.name if one is not None else channel_id, until=until, done_at=None, withdrawn_at=None,
            )
        )  # fmt: skip


def came_about(
    session: Session, taken: Claim, *, joined: Iterable[str] = (), left: Iterable[str] = (), kept: Mapping[str, datetime] | None = None, at: datetime
) -> None:
    """What was seen to be so in a workspace: in these they are, in those they are no more, and some they keep until a day."""
    mine = (*_open(taken.organization_id, taken.subject_id), MoveLine.workspace_id == taken.workspace_id)
    for step, channels in ((Step.JOINS, sorted(joined)), (Step.LEAVES, sorted(left))):
        if channels:
            session.execute(
                update(MoveLine).where(*mine, MoveLine.step == step, MoveLine.channel_id.in_(channels)).values(done_at=at), execution_options=_QUIET
            )
    for channel_id, until in (kept or {}).items():
        session.execute(
            update(MoveLine).where(*mine, MoveLine.step == Step.LEAVES, MoveLine.channel_id == channel_id).values(until=until), execution_options=_QUIET
        )
