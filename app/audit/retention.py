"""How long evidence is kept, and what stays when it is not: the tree, whole, and nothing that names anybody.

Two ways lead there. After the time that is kept, content goes. And where somebody's data has to be erased earlier, what
was written about them goes, with the salts that their digests were made with; then not even a guess can be checked.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import takewhile

from sqlalchemy import Update, null, select, update
from sqlalchemy.orm import Session

from app.actors import Actor
from app.audit.contents import ERASING
from app.audit.leaves import SEQUENCED_AT, dated_anew, text_of
from app.audit.tables import Deed
from app.audit.tree_tables import AuditLeaf, AuditTree
from app.journal import entries
from app.journal.tables import Entry

ERASED = ""
"""Stands where a text stood."""
AT_A_TIME = 500


def prune(session: Session, organization_id: str, *, at: datetime, kept: timedelta) -> int:
    """Take the content from leaves that are older than `kept`, oldest first; returns of how many. Their hashes stay, and so does every proof."""
    grown = session.get(AuditTree, organization_id, with_for_update=True, populate_existing=True)
    if grown is None:
        return 0
    old = session.execute(
        select(AuditLeaf.number, AuditLeaf.kind, AuditLeaf.source_id, AuditLeaf.leaf, SEQUENCED_AT.label("sequenced"))
        .where(
            AuditLeaf.organization_id == organization_id, AuditLeaf.number >= grown.pruned, AuditLeaf.number < grown.pruned + AT_A_TIME,
            AuditLeaf.sequenced_at < at - kept,
        )
        .order_by(AuditLeaf.number)
    ).all()  # fmt: skip
    # What no checkpoint vouches for yet is not old enough, whatever the clock says; nor is what only its row calls old, and all behind it.
    old = list(takewhile(lambda one: one.number < grown.checkpoint_size and not dated_anew(text_of(one.leaf), one.sequenced), old))
    if not old:
        return 0
    _scrub(session, organization_id, "journal", [one.source_id for one in old if one.kind == "journal"], names=True)
    _scrub(session, organization_id, "deed", [one.source_id for one in old if one.kind == "deed"], names=True)
    grown.pruned = old[-1].number + 1
    _leaves(
        session,
        update(AuditLeaf)
        .where(AuditLeaf.organization_id == organization_id, AuditLeaf.number >= old[0].number, AuditLeaf.number < grown.pruned)
        .values(salt=None, leaf=None),
    )
    session.flush()
    return len(old)


def forget(session: Session, organization_id: str, subject_ids: Collection[str], *, actor: Actor, at: datetime, because: str) -> int:
    """Erase what was written about these people and records; returns how many entries lost their content.

    That it was done is written down, of each by itself: whoever checks an export finds why nothing of them can be opened. So is, as before, that there were entries, when, and of which kind. What is said of
    others stays: that is their history. Who acted stays in the journal, but can be proved no more.
    """
    return sum(_forget(session, organization_id, subject_id, actor=actor, at=at, because=because) for subject_id in sorted(subject_ids))


def _forget(session: Session, organization_id: str, subject_id: str, *, actor: Actor, at: datetime, because: str) -> int:
    ids = list(session.scalars(select(Entry.id).where(Entry.organization_id == organization_id, Entry.subject_id == subject_id)))
    deeds = list(session.scalars(select(Deed.id).where(Deed.organization_id == organization_id, Deed.subject_id == subject_id)))
    for kind, numbers in (("journal", ids), ("deed", deeds)):
        for start in range(0, len(numbers), AT_A_TIME):
            some = numbers[start : start + AT_A_TIME]
            _scrub(session, organization_id, kind, some, names=False)
            _leaves(
                session,
                update(AuditLeaf)
                .where(AuditLeaf.organization_id == organization_id, AuditLeaf.kind == kind, AuditLeaf.source_id.in_(some))
                .values(salt=None),
            )
    entries.write(
        session, organization_id, at=at, actor=actor, verb=ERASING, because=because, subject_kind="person",
        subject_id=subject_id, after={"entries": len(ids), "deeds": len(deeds)},
    )  # fmt: skip
    session.flush()
    return len(ids) + len(deeds)


def _leaves(session: Session, statement: Update) -> None:
    session.execute(statement.execution_options(synchronize_session=False))


def _scrub(session: Session, organization_id: str, kind: str, ids: Collection[int], *, names: bool) -> None:
    """The one change that the triggers let through: content goes, and nothing comes in its place. `names` takes who acted as well."""
    if not ids:
        return
    if kind == "journal":
        gone = {"before": null(), "after": null(), "because": ERASED} | ({"actor": ERASED} if names else {})
        statement = update(Entry).where(Entry.organization_id == organization_id, Entry.id.in_(ids)).values(**gone)
    else:
        statement = update(Deed).where(Deed.organization_id == organization_id, Deed.id.in_(ids)).values(did=ERASED, ended=ERASED)
    _leaves(session, statement)
