"""Taking, as a pull or an approval does it: each thing by the verb that everybody uses, and written down so that it can be put back.

None of it asks the brake on pushes: whoever calls has counted before.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.tables import Group, Membership, Record, Source, Standing
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.groups import change_group, end_group
from app.lifecycle.pulled_tables import Took
from app.lifecycle.records import change_record, end_record
from app.lifecycle.runs import Taken


@dataclass(frozen=True, kw_only=True)
class Off:
    """How a source has somebody off: by its word, with what that means, or by a date, where it has them on otherwise."""

    active: bool
    starts_at: datetime | None
    ends_at: datetime | None
    means: Standing | None


def switch_off(session: Session, source: Source, record: Record, *, actor: Actor, at: datetime, because: str) -> Taken:
    """The record is off; all else that is said of it stays."""
    draft = RecordDraft(
        external_id=record.external_id, user_name=record.user_name, active=False, document=record.document, starts_at=record.starts_at,
        ends_at=record.ends_at,
    )  # fmt: skip
    off = change_record(session, source.organization_id, source.id, record.id, draft, braked=False, actor=actor, at=at, because=because)
    return taken_off(off)


def say_off(session: Session, source: Source, record: Record, off: Off, *, actor: Actor, at: datetime, because: str) -> Taken:
    """The record is off as the source says it; all else that is said of it stays."""
    draft = RecordDraft(
        external_id=record.external_id, user_name=record.user_name, active=off.active, document=record.document, starts_at=off.starts_at,
        ends_at=off.ends_at, off_means=off.means,
    )  # fmt: skip
    said = change_record(session, source.organization_id, source.id, record.id, draft, braked=False, actor=actor, at=at, because=because)
    return taken_off(said)


def taken_off(record: Record) -> Taken:
    """That this record was switched off by what changed it last."""
    return Taken(took=Took.OFF, subject_id=record.id, person_id=record.person_id, journal_id=record.journal_id)


def let_end(session: Session, source: Source, record: Record, ends_at: datetime, *, actor: Actor, at: datetime, because: str) -> Taken:
    """The record ends then; all else that is said of it stays."""
    draft = RecordDraft(
        external_id=record.external_id, user_name=record.user_name, active=None, document=record.document, starts_at=record.starts_at,
        ends_at=ends_at,
    )  # fmt: skip
    ending = change_record(session, source.organization_id, source.id, record.id, draft, braked=False, actor=actor, at=at, because=because)
    return given_an_end(ending)


def given_an_end(record: Record) -> Taken:
    """That what changed this record last let it end, or end sooner."""
    return Taken(took=Took.ENDS, subject_id=record.id, person_id=record.person_id, journal_id=record.journal_id)


def end(session: Session, source: Source, record: Record, *, actor: Actor, at: datetime, because: str) -> Taken:
    """The record ends, its memberships with it."""
    end_record(session, source.organization_id, source.id, record.id, braked=False, actor=actor, at=at, because=because)
    return Taken(took=Took.GONE, subject_id=record.id, person_id=record.person_id, journal_id=record.journal_id)


def take_out(
    session: Session, source: Source, group_id: str, record_ids: Collection[str], *, actor: Actor, at: datetime, because: str
) -> list[Taken]:
    """These are no longer members; whoever was none is passed over. Raises NotFound where the group has ended."""
    members = members_among(session, source.organization_id, group_id, record_ids)
    if not members:
        return []
    group = change_group(session, source.organization_id, source.id, group_id, remove=members, actor=actor, at=at, because=because)
    return taken_out(group, members)


def taken_out(group: Group, members: dict[str, str]) -> list[Taken]:
    """That these records, each with its person, were taken out by what changed the group last."""
    return [
        Taken(took=Took.OUT, subject_id=record_id, group_id=group.id, person_id=person_id, journal_id=group.journal_id)
        for record_id, person_id in sorted(members.items())
    ]


def end_whole_group(session: Session, source: Source, group_id: str, *, actor: Actor, at: datetime, because: str) -> Taken:
    """The group ends, its memberships with it. Raises NotFound."""
    end_group(session, source.organization_id, source.id, group_id, actor=actor, at=at, because=because)
    group = session.get_one(Group, (source.organization_id, group_id))
    return Taken(took=Took.GROUP_GONE, subject_id=group_id, group_id=group_id, journal_id=group.journal_id)


def members_among(session: Session, organization_id: str, group_id: str, record_ids: Collection[str]) -> dict[str, str]:
    """Which of these are in the group now, each with its person."""
    found: dict[str, str] = {}
    asked = sorted(record_ids)
    for start in range(0, len(asked), 500):
        query = (
            select(Membership.record_id, Record.person_id)
            .join(Record, (Record.organization_id == Membership.organization_id) & (Record.id == Membership.record_id))
            .where(
                Membership.organization_id == organization_id, Membership.group_id == group_id, Membership.ended_at.is_(None),
                Membership.record_id.in_(asked[start : start + 500]),
            )
        )  # fmt: skip
        found.update({record_id: person_id for record_id, person_id in session.execute(query)})
    return found
