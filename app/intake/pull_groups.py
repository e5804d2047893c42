"""Applying what was found of groups: who is out first, then who is in, a few thousand in one transaction; members who are nobody yet wait."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import delete, select, update

from app.directory.tables import Group, Record
from app.intake.pull_asking import gone_for_good
from app.intake.pull_drafts import Unusable, group_draft
from app.intake.pull_here import batches
from app.intake.pull_managers import records_of_keys
from app.intake.pull_parts import Part, Pull
from app.intake.pull_people import these
from app.intake.pull_reading import Reading
from app.intake.pull_staging import StagedGroup
from app.intake.pull_weighing import GROUP, MEMBER, Verdict
from app.journal.work import insert_for
from app.lifecycle import pulled_entries, taking
from app.lifecycle.groups import GroupDraft, add_group, change_group, reopen_group
from app.lifecycle.many_members import put_in
from app.lifecycle.pulled_entries import EntryKind, membership_key
from app.lifecycle.pulled_tables import AwaitedMember, PulledEntry
from app.statements import ALWAYS, each_of, param

MEMBERS_AT_ONCE: Final = 5_000
"""New members in one transaction, so that nobody waits long for the group of everybody."""
SMALL: Final = 1_000
TOGETHER: Final = 20
"""Groups in one transaction, where all of them together change so few memberships."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Applies what was found of groups, but for what is held."""

    pull: Pull
    found: Reading
    verdict: Verdict
    wait: timedelta

    def apply(self) -> None:
        """Small groups together, each larger one in a few transactions. One that was not finished differs for the next pull as well."""
        self._end_gone()
        self._mark()
        done = 0
        for some in _together(self.found.staging.groups()):
            if len(some) == 1:
                self._apply_alone(some[0])
            else:
                self.pull.write(lambda part, some=some: self._apply_some(part, some))  # type: ignore[misc]  # defaults bind the loop's values
            done += len(some)
            self.pull.progress("groups", done)

    def _apply_some(self, part: Part, groups: list[StagedGroup]) -> None:
        for group in groups:
            if self._begin(part, group):
                _add_some(part, group.key, group.added)
                self._finish(part, group)

    def _apply_alone(self, group: StagedGroup) -> None:
        if not self.pull.write(lambda part: self._begin(part, group)):
            return
        for some in batches(group.added, MEMBERS_AT_ONCE):
            self.pull.write(lambda part, some=some: _add_some(part, group.key, some))  # type: ignore[misc]  # defaults bind the loop's values
        self.pull.write(lambda part: self._finish(part, group))

    def _begin(self, part: Part, staged: StagedGroup) -> bool:
        """Its name, and who is out. Whether it is one of ours that can be gone on with."""
        entry = part.entry(staged.key, EntryKind.GROUP)
        group = None if entry is None or entry.subject_id is None else _group(part, entry.subject_id)
        if entry is not None:
            # Until all of it is applied, it is not what it was either.
            entry.digest = None
        if group is not None:
            self._take_out(part, group, staged)
        if staged.said is None:
            return group is not None
        name, external_id = staged.said
        try:
            draft = group_draft(staged.key, name, external_id)
        except Unusable as error:
            part.set_aside(staged.key, name, str(error), kind=EntryKind.GROUP)
            return group is not None
        trouble = part.carefully(lambda: _say(part, staged.key, draft, group))
        if trouble is not None:
            part.set_aside(staged.key, name, trouble.why, kind=EntryKind.GROUP)
        return trouble is None or group is not None

    def _take_out(self, part: Part, group: Group, staged: StagedGroup) -> None:
        out = [record for record in staged.removed.values() if not self.verdict.holds(MEMBER, membership_key(group.id, record))]
        part.taken += taking.take_out(part.session, part.source, group.id, out, **part.saying)

    def _finish(self, part: Part, staged: StagedGroup) -> None:
        """Only now is it what the source says, unless something of it is held."""
        _wait_no_more(part, staged.key, staged.dropped)
        entry = part.entry(staged.key, EntryKind.GROUP)
        if entry is None or staged.digest is None or staged.said is None or entry.subject_id is None:
            return
        group = part.session.get_one(Group, (part.source.organization_id, entry.subject_id))
        said_so = (group.display_name, group.external_id) == (staged.said[0], staged.said[1] or staged.key)
        held = any(self.verdict.holds(MEMBER, membership_key(group.id, record)) for record in staged.removed.values())
        entry.digest = staged.digest if said_so and not held else None

    # Groups that are not there

    def _end_gone(self) -> None:
        for one in gone_for_good(self.found, "group", at=self.pull.clock(), wait=self.wait):
            if one.subject is None or not self.verdict.holds(GROUP, one.subject):
                self.pull.write(lambda part, key=one.key: _end(part, key))  # type: ignore[misc]  # defaults bind the loop's values

    def _mark(self) -> None:
        first = [one.key for one in self.found.staging.absent("group") if one.since is None and one.subject is not None]
        for keys in batches(first):
            self.pull.write(lambda part, keys=keys: _set(part, keys, missing=True))  # type: ignore[misc]  # defaults bind the loop's values
        for keys in batches(self.found.staging.there_again("group")):
            self.pull.write(lambda part, keys=keys: _set(part, keys, missing=False))  # type: ignore[misc]  # defaults bind the loop's values
        for keys in batches(self.found.staging.there_again("kept")):
            self.pull.write(lambda part, keys=keys: _let_go(part, keys))  # type: ignore[misc]  # defaults bind the loop's values


def _together(groups: Iterable[StagedGroup]) -> Iterator[list[StagedGroup]]:
    """In their order: small ones with each other, as many as fit into one transaction."""
    some: list[StagedGroup] = []
    changes = 0
    for group in groups:
        number = len(group.added) + len(group.removed)
        if some and (changes + number > SMALL or len(some) == TOGETHER):
            yield some
            some, changes = [], 0
        some.append(group)
        changes += number
    if some:
        yield some


def _group(part: Part, group_id: str) -> Group | None:
    group = part.session.get(Group, (part.source.organization_id, group_id), with_for_update=True, populate_existing=True)
    return None if group is None or group.ended_at is not None else group


def _say(part: Part, key: str, draft: GroupDraft, group: Group | None) -> None:
    if group is None:
        former = part.entry(key, EntryKind.GONE_GROUP)
        if former is None or former.subject_id is None:
            made = add_group(part.session, *part.where, draft, **part.saying)
        else:
            made = reopen_group(part.session, *part.where, former.subject_id, draft, **part.saying)
        part.remember(key, made.id, digest=None, kind=EntryKind.GROUP)
    else:
        change_group(
            part.session, *part.where, group.id, display_name=draft.display_name, external_id=draft.external_id, document=draft.document,
            **part.saying,
        )  # fmt: skip


def _add_some(part: Part, key: str, members: Sequence[str]) -> None:
    entry = part.entry(key, EntryKind.GROUP)
    if entry is None or entry.subject_id is None:
        return
    records = records_of_keys(part.session, part.source, members)
    if records:
        put_in(part.session, part.source, entry.subject_id, set(records.values()), **part.saying)
    _wait_no_more(part, key, list(records))
    _wait_for(part, key, [member for member in members if member not in records])


def _wait_for(part: Part, group_key: str, members: Collection[str]) -> None:
    """These are nobody here yet; they are in the group as soon as they join."""
    if not members:
        return
    organization_id, source_id = part.where
    connection = part.session.connection()
    given = {"organization": organization_id, "source": source_id, "members": json.dumps(sorted(members)), "group": group_key}
    connection.execute(_new_awaited(connection.dialect.name), given)


@cache
def _new_awaited(dialect: str) -> Any:
    values: dict[str, Any] = {
        "organization_id": param("organization"), "source_id": param("source"), "member_key": each_of("members", dialect), "group_key": param("group"),
    }  # fmt: skip
    return insert_for(dialect)(AwaitedMember).from_select(list(values), select(*values.values()).where(ALWAYS), include_defaults=False).on_conflict_do_nothing()


def _wait_no_more(part: Part, group_key: str, members: Collection[str]) -> None:
    organization_id, source_id = part.where
    for some in batches(sorted(members)):
        part.session.execute(
            delete(AwaitedMember).where(
                AwaitedMember.organization_id == organization_id, AwaitedMember.source_id == source_id,
                AwaitedMember.group_key == group_key, AwaitedMember.member_key.in_(some),
            ),
            execution_options={"synchronize_session": False},
        )  # fmt: skip


def let_awaited_in(pull: Pull) -> None:
    """Whoever joined, and is named by a group that was told before, is in it."""
    while groups := pull.write(_groups_that_wait):
        for group_key in groups:
            pull.write(lambda part, key=group_key: _let_in(part, key))  # type: ignore[misc]  # defaults bind the loop's values


def _awaited(part: Part) -> Any:
    organization_id, source_id = part.where
    return (
        select(AwaitedMember.group_key, AwaitedMember.member_key)
        .join(
            PulledEntry,
            (PulledEntry.organization_id == AwaitedMember.organization_id) & (PulledEntry.source_id == AwaitedMember.source_id)
            & (PulledEntry.kind == EntryKind.PERSON) & (PulledEntry.key == AwaitedMember.member_key),
        )
        .join(Record, (Record.organization_id == PulledEntry.organization_id) & (Record.id == PulledEntry.subject_id))
        .where(AwaitedMember.organization_id == organization_id, AwaitedMember.source_id == source_id, Record.ended_at.is_(None))
    )  # fmt: skip


def _groups_that_wait(part: Part) -> list[str]:
    found = _awaited(part).subquery()
    return list(part.session.scalars(select(found.c.group_key).distinct().order_by(found.c.group_key).limit(500)))


def _let_in(part: Part, group_key: str) -> None:
    members = [row.member_key for row in part.session.execute(_awaited(part).where(AwaitedMember.group_key == group_key).limit(MEMBERS_AT_ONCE))]
    entry = part.entry(group_key, EntryKind.GROUP)
    if entry is not None and entry.subject_id is not None and _group(part, entry.subject_id) is not None:
        records = records_of_keys(part.session, part.source, members)
        put_in(part.session, part.source, entry.subject_id, set(records.values()), **part.saying)
    _wait_no_more(part, group_key, members)


def _end(part: Part, key: str) -> None:
    entry = part.entry(key, EntryKind.GROUP)
    if entry is None:
        return
    if entry.subject_id is not None and _group(part, entry.subject_id) is not None:
        part.taken.append(taking.end_whole_group(part.session, part.source, entry.subject_id, **part.saying))
    organization_id, source_id = part.where
    part.session.execute(
        delete(AwaitedMember).where(
            AwaitedMember.organization_id == organization_id, AwaitedMember.source_id == source_id, AwaitedMember.group_key == key
        ),
        execution_options={"synchronize_session": False},
    )
    pulled_entries.has_gone(part.session, entry)


def _set(part: Part, keys: list[str], *, missing: bool) -> None:
    column = PulledEntry.missing_since
    part.session.execute(
        update(PulledEntry)
        .where(*these(part, EntryKind.GROUP, keys), column.is_(None) if missing else column.is_not(None))
        .values(missing_since=part.at if missing else None, kept=None),
        execution_options={"synchronize_session": False},
    )


def _let_go(part: Part, memberships: list[str]) -> None:
    pulled_entries.let_members_go(part.session, *part.where, memberships)
