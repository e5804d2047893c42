"""What is remembered of the entries of a pulled source: which is whose here, which went, and what stays although the source says otherwise."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from app.journal.work import insert_for
from app.lifecycle.pulled_tables import PulledEntry

AT_ONCE: Final = 500


class EntryKind(StrEnum):
    """What a row is about. One that went keeps its row, so that whoever comes again under the same key is the same.

    `KEPT_MEMBER` is a membership that stays although the source has taken it back; its key is made of both ids. `AGAIN` stands beside
    the row of a person whom the next pull asks for in any case, since not all that the source says of them was taken over. `KEPT_END`
    stands beside it too: the end that does not count although the source says it, as an instant in `kept`.
    """

    PERSON = "person"
    GROUP = "group"
    GONE_PERSON = "gone person"
    GONE_GROUP = "gone group"
    KEPT_MEMBER = "kept member"
    AGAIN = "again"
    KEPT_END = "kept end"


WENT: Final = {EntryKind.PERSON: EntryKind.GONE_PERSON, EntryKind.GROUP: EntryKind.GONE_GROUP}


def by_key(
    session: Session, organization_id: str, source_id: str, keys: Collection[str], *, kinds: Sequence[EntryKind]
) -> dict[str, PulledEntry]:
    """The rows of these keys. Where one is of two of the kinds, the first kind counts."""
    found: dict[str, PulledEntry] = {}
    asked = sorted(keys)
    for start in range(0, len(asked), AT_ONCE):
        rows = session.scalars(
            select(PulledEntry).where(
                PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id, PulledEntry.kind.in_(kinds),
                PulledEntry.key.in_(asked[start : start + AT_ONCE]),
            )
        )  # fmt: skip
        for row in rows:
            there = found.get(row.key)
            if there is None or kinds.index(EntryKind(row.kind)) < kinds.index(EntryKind(there.kind)):
                found[row.key] = row
    return found


def of_subject(session: Session, organization_id: str, source_id: str, subject_id: str, *, kind: EntryKind) -> PulledEntry | None:
    """The row of a record or a group."""
    return session.scalar(
        select(PulledEntry).where(
            PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id, PulledEntry.kind == kind,
            PulledEntry.subject_id == subject_id,
        ).limit(1)
    )  # fmt: skip


def look_again(session: Session, organization_id: str, source_id: str, key: str) -> None:
    """Whatever the next pull is told, it asks for this person."""
    row = {"organization_id": organization_id, "source_id": source_id, "kind": EntryKind.AGAIN, "key": key}
    session.execute(insert_for(session.get_bind().dialect.name)(PulledEntry).values(row).on_conflict_do_nothing())


def others_of(
    session: Session, organization_id: str, source_id: str, subject_id: str, *, kind: EntryKind, but: str
) -> Sequence[PulledEntry]:
    """The rows of other keys that name this record or group."""
    return session.scalars(
        select(PulledEntry).where(
            PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id, PulledEntry.kind == kind,
            PulledEntry.subject_id == subject_id, PulledEntry.key != but,
        )
    ).all()  # fmt: skip


def forget(session: Session, organization_id: str, source_id: str, key: str, *, kind: EntryKind) -> None:
    """Nothing is remembered of this entry under this kind."""
    session.execute(
        delete(PulledEntry).where(
            PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id, PulledEntry.kind == kind, PulledEntry.key == key
        ),
        execution_options={"synchronize_session": False},
    )


def has_gone(session: Session, entry: PulledEntry) -> None:
    """What it was has ended: only whose it was is remembered, or nothing where it never was anybody's."""
    kind = WENT[EntryKind(entry.kind)]
    for former in (kind, EntryKind.AGAIN, EntryKind.KEPT_END):
        forget(session, entry.organization_id, entry.source_id, entry.key, kind=former)
    if entry.subject_id is None:
        session.delete(entry)
    else:
        session.execute(
            update(PulledEntry).where(*_row(entry)).values(kind=kind, digest=None, missing_since=None, kept=None, manager_key=None),
            execution_options={"synchronize_session": False},
        )
        session.expunge(entry)
    session.flush()


def is_there_again(session: Session, entry: PulledEntry) -> None:
    """What had ended stands again."""
    back = next(kind for kind, gone in WENT.items() if gone == entry.kind)
    session.execute(
        update(PulledEntry).where(*_row(entry)).values(kind=back, digest=None), execution_options={"synchronize_session": False}
    )
    session.expunge(entry)


def _row(entry: PulledEntry) -> tuple[ColumnElement[bool], ...]:
    return (
        PulledEntry.organization_id == entry.organization_id, PulledEntry.source_id == entry.source_id, PulledEntry.kind == entry.kind,
        PulledEntry.key == entry.key,
    )  # fmt: skip


def keep_without_end(session: Session, entry: PulledEntry, ends_at: datetime) -> None:
    """This end does not count, for as long as the source says it."""
    row = {
        "organization_id": entry.organization_id, "source_id": entry.source_id, "kind": EntryKind.KEPT_END, "key": entry.key,
        "subject_id": entry.subject_id, "kept": ends_at.astimezone(UTC).isoformat(),
    }  # fmt: skip
    statement = insert_for(session.get_bind().dialect.name)(PulledEntry).values(row)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["organization_id", "source_id", "kind", "key"],
            set_={"kept": statement.excluded.kept, "subject_id": statement.excluded.subject_id},
        )
    )


def kept_ends(session: Session, organization_id: str, source_id: str, keys: Iterable[str]) -> dict[str, datetime]:
    """The ends of these that do not count, by key."""
    found: dict[str, datetime] = {}
    asked = sorted(keys)
    for start in range(0, len(asked), AT_ONCE):
        query = select(PulledEntry.key, PulledEntry.kept).where(
            PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id, PulledEntry.kind == EntryKind.KEPT_END,
            PulledEntry.key.in_(asked[start : start + AT_ONCE]),
        )  # fmt: skip
        found.update({key: datetime.fromisoformat(kept) for key, kept in session.execute(query) if kept is not None})
    return found


def keep_members(session: Session, organization_id: str, source_id: str, group_id: str, record_ids: Iterable[str], *, why: str) -> None:
    """These stay in the group although the source has taken them out, for as long as it says so."""
    rows = [
        {"organization_id": organization_id, "source_id": source_id, "kind": EntryKind.KEPT_MEMBER, "key": membership_key(group_id, record_id),
         "subject_id": record_id, "kept": why}
        for record_id in sorted(set(record_ids))
    ]  # fmt: skip
    insert = insert_for(session.get_bind().dialect.name)
    for start in range(0, len(rows), AT_ONCE):
        statement = insert(PulledEntry).values(rows[start : start + AT_ONCE])
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["organization_id", "source_id", "kind", "key"], set_={"kept": statement.excluded.kept}
            )
        )


def kept_members(session: Session, organization_id: str, source_id: str, group_id: str) -> set[str]:
    """The records that stay in this group although the source has taken them out."""
    # An id holds no blank, so that these are all keys that begin with the group's id and a blank.
    return set(
        session.scalars(
            select(PulledEntry.subject_id).where(
                PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id,
                PulledEntry.kind == EntryKind.KEPT_MEMBER, PulledEntry.key > f"{group_id} ", PulledEntry.key < f"{group_id}!",
            )
        )
    )  # fmt: skip


def keeps_members(session: Session, organization_id: str, source_id: str) -> bool:
    """Whether anybody at all stays in a group although this source has taken them out."""
    query = select(PulledEntry.key).where(
        PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id, PulledEntry.kind == EntryKind.KEPT_MEMBER
    )
    return session.scalar(query.limit(1)) is not None


def let_members_go(session: Session, organization_id: str, source_id: str, memberships: Collection[str]) -> None:
    """The source has these in their groups again, by both ids: from now on its word counts as ever."""
    keys = sorted(memberships)
    for start in range(0, len(keys), AT_ONCE):
        session.execute(
            delete(PulledEntry).where(
                PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id,
                PulledEntry.kind == EntryKind.KEPT_MEMBER, PulledEntry.key.in_(keys[start : start + AT_ONCE]),
            ),
            execution_options={"synchronize_session": False},
        )  # fmt: skip


def membership_key(group_id: str, record_id: str) -> str:
    """A membership by both ids."""
    return f"{group_id} {record_id}"
