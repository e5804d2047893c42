"""The dates of records: which of them say who somebody is now, and what it means that one has come to its end."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from app.directory.settings import off_means
from app.directory.tables import Record, Standing
from app.lifecycle.standing import in_force


def of_now(records: Sequence[Record], *, at: datetime) -> list[Record]:
    """The records that are on and within their dates, where any is; else all but those that a source had switched off before another one.

    An engagement that is over, or has yet to begin, says nothing of who somebody is at present: so a move that is known
    beforehand is a record that ends and another that begins. Nor does an account of long ago, once the one of late is off as well:
    whoever leaves a second time is called as they were then.
    """
    # What the brake holds is not heard yet: as long as it waits, the record counts as it did.
    on = [one for one in records if (_stands(one) or one.held) and in_force(starts_at=one.starts_at, ends_at=one.ends_at, at=at)]
    return on or _of_late(records)


def _of_late(records: Sequence[Record]) -> list[Record]:
    last: dict[str, Record] = {}
    for one in sorted(records, key=lambda one: (_stands(one), one.active_said_at, one.created_at, one.id)):
        if one.ended_at is None:
            last[one.source_id] = one
    return [one for one in records if _stands(one) or one.ended_at is not None or last[one.source_id] is one]


def turned(records: Sequence[Record], *, since: datetime, at: datetime) -> bool:
    """Whether a record came into force, or went out of it, after `since`."""
    dates = (date for one in records if _stands(one) for date in (one.starts_at, one.ends_at))
    return any(date is not None and since < date <= at for date in dates)


def means_of_end(session: Session, record: Record) -> Standing | None:
    """What a record's *off* means; of one that ends by its date, what that would mean now, until it is frozen on that day."""
    if record.off_means:
        return Standing(record.off_means)
    return None if record.ends_at is None or not _stands(record) else off_means(session, record.organization_id)


def freeze_ends(session: Session, records: Sequence[Record], *, at: datetime, journal_id: int) -> None:
    """Records whose end has come keep what it meant on that day, whatever the organisation chooses afterwards."""
    for one in records:
        if _stands(one) and one.ends_at is not None and one.ends_at <= at and one.off_means is None:
            one.off_means, one.journal_id = off_means(session, one.organization_id), journal_id


def _stands(record: Record) -> bool:
    return record.active and record.ended_at is None
