"""What operators entered by hand of somebody, until a directory has them as well."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.settings import off_means
from app.directory.tables import Person, Record, Source
from app.journal import entries
from app.lifecycle import order
from app.lifecycle.standing import in_force

BY_HAND: Final = "contractors"
"""The kind of the source that stands for what operators enter by hand."""


def give_way(session: Session, person: Person, records: Sequence[Record], *, actor: Actor, at: datetime, because: str) -> None:
    """End what was entered of an employee whom a directory has on at this moment: that keeps them in, and lets them go one day.

    What was entered never would, as nobody can switch it off and no sponsor's day ends it. Of whoever is no employee it says so, and stays.
    """
    on = [one for one in records if one.active and one.ended_at is None and in_force(starts_at=one.starts_at, ends_at=one.ends_at, at=at)]
    # Asked first, so that hardly anybody whom several directories name costs a look at these.
    unlike_directories = [one for one in on if one.external_id is None and "userType" not in one.document]
    if not unlike_directories or len(on) < 2:
        return
    named = Source.organization_id == person.organization_id, Source.id.in_(sorted({one.source_id for one in on})), Source.kind == BY_HAND
    by_hand = set(session.scalars(select(Source.id).where(*named)))
    if all(one.source_id in by_hand for one in on):
        return
    for one in unlike_directories:
        if one.source_id in by_hand:
            _end(session, one, actor=actor, at=at, because=because)


def _end(session: Session, record: Record, *, actor: Actor, at: datetime, because: str) -> None:
    record.active_said_at = order.said_by_record(session, record.organization_id, record.person_id, at=at)
    record.journal_id = entries.write(
        session, record.organization_id, at=at, actor=actor, verb="ended", because=f"{because}: a directory names whoever was entered by hand",
        subject_kind="record", subject_id=record.id, before={"userName": record.user_name, "active": True},
    )  # fmt: skip
    record.active, record.off_means = False, off_means(session, record.organization_id)
    record.ended_at, record.modified_at = at, max(at, record.modified_at)
    record.version += 1
