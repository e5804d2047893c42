"""Reading a source: everything or what changed, compared batch by batch with what was last taken over. Only differences are kept.

Nothing is written but what is kept on disk for this one pull. An error ends the reading: what a source could not say is unknown.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import reading
from app.intake.mapping import Unmappable
from app.intake.pull_drafts import Said, dates_of, digest_of_group, ends_soon, odd_key, said_of, says_on
from app.intake.pull_here import (
    AT_ONCE,
    KNOWN,
    Known,
    OnHere,
    batches,
    groups_lost,
    known_among,
    members_here,
    members_of,
    of_kind,
    records_here,
)
from app.intake.pull_staging import Absent, Kind, StagedGroup, Staging, since_of
from app.lifecycle.pulled_entries import EntryKind, keeps_members, kept_ends, kept_members, membership_key
from app.lifecycle.pulled_tables import AwaitedMember, PulledEntry
from connectors.source_contract import Change, Gone, Incomplete, Memberships, Source, SourceGroup, SourcePerson
from connectors.source_contract import Kind as ToldKind

MEMBERS_AT_ONCE: Final = 20_000
Progress = Callable[[str, int], None]
"""Told what is being done, and how many are done."""
Mapped = Callable[[SourcePerson], SourcePerson]
Told = TypeVar("Told", bound=Change)


class NeedsWhole(Exception):
    """Members were told of a group that nobody has told of: only a full listing says what it is."""


@dataclass(kw_only=True)
class Reading:
    """One reading of one source. `breathe` is called between batches; `at` is when it began. `anew` are keys of entries that are taken for
    changed although the source says the same."""

    organization_id: str
    source_id: str
    source: Source
    staging: Staging
    at: datetime
    mapped: Mapped
    breathe: Callable[[], None]
    progress: Progress
    anew: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    seen: int = 0
    groups_seen: int = 0
    unchanged: int = 0
    set_aside: int = 0
    no_group_left: bool = False
    listing: bool = False
    groups_lost: set[str] = field(default_factory=set)

    # Whole

    def whole(self) -> None:
        """Read everybody and every group. Raises ConnectorError; Incomplete also where nobody came although somebody is known."""
        self.listing = True
        known, met, told = self.known("person"), 0, 0
        for batch in batches(self.source.list_people()):
            met += self._take_people(batch)
            told += len(batch)
            self._told("people", self.seen)
        self.listing = False
        if not self.seen and (own := self.known("person", only_theirs=True)):
            people = "1 person here is its own" if own == 1 else f"{own} people here are its own"
            raise Incomplete(f"{self.source.name} listed nobody at all, but {people}; that cannot be right")
        # Where all that is known was met, nobody is absent. Whoever came twice was met twice, so then it is looked.
        if met != known or told != self.seen:
            self._find_absent("person")
        known, met, told = self.known("group"), 0, 0
        for some in _alike(self.source.list_groups()):
            met += self._take_groups(some)
            told += len(some)
            self._told("groups", self.groups_seen)
        self.no_group_left = not self.groups_seen and known > 1
        if met != known or told != self.groups_seen:
            self._find_absent("group")

    def changes(self, told: Iterator[Change]) -> None:
        """Read what changed. Raises ConnectorError, NeedsWhole."""
        for some in _alike(told):
            # Of one kind each: what is told of people comes before what is told of them next.
            self._take_people([change for change in some if isinstance(change, SourcePerson)])
            self._take_groups([change for change in some if isinstance(change, SourceGroup)])
            self._take_memberships([change for change in some if isinstance(change, Memberships)])
            for change in some:
                if isinstance(change, Gone):
                    self.gone("person" if change.kind is ToldKind.PERSON else "group", [change.key])
            self._told("changes", self.seen + self.groups_seen)

    def meet(self, people: Sequence[SourcePerson]) -> None:
        """These were asked for and are there."""
        self._take_people(people)

    def meet_groups(self, groups: Sequence[SourceGroup]) -> None:
        """These were listed once more."""
        self._take_groups(groups)

    def gone(self, kind: Kind, keys: Collection[str]) -> None:
        """The source says, or others know, that these are not there. Whoever is not known here is passed over."""
        for key in keys:
            self.staging.unstage(kind, key)
        with reading() as session:
            self._miss(session, kind, list(known_among(session, *self._where, EntryKind(kind), keys).values()))

    def _told(self, what: str, number: int) -> None:
        self.breathe()
        self.progress(what, number)

    # People

    def _take_people(self, people: Sequence[SourcePerson]) -> int:
        """Returns how many entries that are known were met."""
        came: dict[str, SourcePerson] = {}
        told: dict[str, SourcePerson] = {}
        said: dict[str, Said] = {}
        for person in people:
            why = odd_key(person.key)
            if why is not None:
                self.notes.append(f"{person.user_name[:200]!a} is left out: {why}")
                self.set_aside += 1
                continue
            came[person.key] = person
            told[person.key], said[person.key] = self._said(person)
        if not told:
            return 0
        fresh = self.staging.see("person", told)
        self.seen += fresh
        # In a listing, nothing was said before of whoever is told for the first time.
        first = self.listing and fresh == len(told)
        with reading() as session:
            known = known_among(session, *self._where, EntryKind.PERSON, told)
            differing = {key: entry.subject_id for key, entry in known.items() if entry.subject_id is not None and entry.digest != said[key].digest}
            records = records_here(session, self.organization_id, list(differing.values()), at=self.at)
            unheard = kept_ends(session, *self._where, differing)
            for key, subject in differing.items():
                ends_at, here = dates_of(told[key])[1], records.get(subject)
                counted = here.ends_at if here is not None and here.over else None
                # An end that does not count switches nobody off when it comes; and where one that counts has come, that it has is no news.
                if came[key].ended and ends_at is not None and ends_at in (unheard.get(key), counted):
                    told[key], said[key] = self._said(replace(came[key], active=True, state="", ended=False))
            self.groups_lost |= groups_lost(session, *self._where, [key for key in told if key not in known])
        for key, person in told.items():
            # An end of which somebody decided that it does not count.
            drops = key in unheard and unheard[key] == dates_of(person)[1]
            self._compare(replace(person, ends_at=None) if drops else person, said[key], known.get(key), records, first=first)
        return len(known)

    def _said(self, person: SourcePerson) -> tuple[SourcePerson, Said]:
        try:
            mapped = self.mapped(person)
        except Unmappable as error:
            person = replace(person, active=error.active)
            return person, said_of(person, broken=str(error))
        return mapped, said_of(mapped)

    def _compare(self, person: SourcePerson, said: Said, entry: Known | None, records: dict[str, OnHere], *, first: bool) -> None:
        if entry is None:
            self.staging.stage_person(said, subject=None, new=True)
            return
        if entry.missing_since is not None:
            self.staging.clear_marks("person", said.key)
        if entry.digest == said.digest and said.key not in self.anew:
            self.unchanged += 1
            if not first:
                self.staging.unstage("person", said.key)
            return
        here = None if entry.subject_id is None else records.get(entry.subject_id)
        if here is None or here.ended:
            self.staging.stage_person(said, subject=entry.subject_id, new=True)
            return
        kept = entry.kept is not None and entry.missing_since is None
        off, (_, ends_at) = not says_on(person, at=self.at), dates_of(person)
        # What somebody decided on an *off* says nothing of an end to come.
        soon = not off and said.broken is None and ends_soon(ends_at, here.ends_at, at=self.at)
        takes = here.on and (soon or (off and not kept))
        ends = ends_at.isoformat() if soon and ends_at is not None else None
        self.staging.stage_person(said, subject=entry.subject_id, new=False, takes=takes, counts=takes and here.counts, ends=ends)

    # Groups

    def _take_groups(self, groups: Sequence[SourceGroup]) -> int:
        told = {group.key: group for group in groups if self._is_plain(group)}
        if not told:
            return 0
        self.groups_seen += self.staging.see("group", told)
        for group in told.values():
            if group.cycles:
                self.notes.append(f"group {group.name}: it holds itself, through {', '.join(group.cycles)}; everybody in the circle is in it")
        with reading() as session:
            known = known_among(session, *self._where, EntryKind.GROUP, told)
            for key, group in told.items():
                entry = known.get(key)
                digest = digest_of_group(group)
                if entry is not None and entry.missing_since is not None:
                    self.staging.clear_marks("group", key)
                if entry is not None and entry.digest == digest and entry.subject_id not in self.groups_lost:
                    self.staging.unstage("group", key)
                else:
                    self.staging.stage_group(self._difference(session, group, None if entry is None else entry.subject_id, digest))
        return len(known)

    def _is_plain(self, group: SourceGroup) -> bool:
        why = odd_key(group.key)
        if why is not None:
            self.notes.append(f"group {group.name[:200]!a} is left out: {why}")
            self.set_aside += 1
        return why is None

    def _difference(self, session: Session, group: SourceGroup, group_id: str | None, digest: bytes) -> StagedGroup:
        there = {} if group_id is None else members_here(session, self.organization_id, self.source_id, group_id)
        kept = set() if group_id is None else kept_members(session, self.organization_id, self.source_id, group_id)
        self._kept_no_more(group_id, [record for key, record in there.items() if key in group.members and record in kept])
        removed = {key: record for key, record in there.items() if key not in group.members and record not in kept}
        added = sorted(key for key in group.members if key not in there and odd_key(key) is None)
        awaited = session.scalars(
            select(AwaitedMember.member_key).where(
                AwaitedMember.organization_id == self.organization_id, AwaitedMember.source_id == self.source_id, AwaitedMember.group_key == group.key
            )
        )
        dropped = {*removed, *(key for key in awaited if key not in group.members)}
        return StagedGroup(
            key=group.key, subject=group_id, said=(group.name, group.external_id), digest=digest, added=added, removed=removed,
            dropped=sorted(dropped),
        )  # fmt: skip

    def _take_memberships(self, told: Sequence[Memberships]) -> None:
        if not told:
            return
        with reading() as session:
            known = known_among(session, *self._where, EntryKind.GROUP, {one.group for one in told})
            keeps = keeps_members(session, *self._where)
            for one in told:
                self._take_members(session, one, known.get(one.group), keeps=keeps)

    def _take_members(self, session: Session, told: Memberships, entry: Known | None, *, keeps: bool) -> None:
        there: dict[str, str] = {}
        removed: dict[str, str] = {}
        if entry is None:
            if self.staging.group(told.group) is None:
                raise NeedsWhole(told.group)
        elif entry.subject_id is None:
            # It is set aside; what it holds is read when it is told whole.
            return
        else:
            kept = kept_members(session, *self._where, entry.subject_id) if keeps else set()
            there = members_here(session, *self._where, entry.subject_id, among=told.removed | told.added)
            self._kept_no_more(entry.subject_id, [record for key, record in there.items() if key in told.added and record in kept])
            removed = {key: record for key, record in there.items() if key in told.removed and record not in kept}
        added = sorted(key for key in told.added if odd_key(key) is None)
        self.staging.see("group", [told.group])
        if self._is_so(told, there):
            self.staging.is_there("group", told.group)
            return
        self.staging.stage_group(
            StagedGroup(
                key=told.group, subject=None if entry is None else entry.subject_id, said=None, digest=None, added=added, removed=removed,
                dropped=sorted(told.removed),
            )
        )  # fmt: skip

    def _is_so(self, told: Memberships, there: Collection[str]) -> bool:
        """Whether only such members are told as are in the group anyway, as it is here or was told just before.

        A source may tell that of all groups of somebody who changed; taken for a change it would cost each of them its digest.
        """
        before = self.staging.group(told.group)
        added, dropped = (set(before.added), set(before.dropped)) if before is not None else (set(), set())
        return not told.removed and all(key in added or (key in there and key not in dropped) for key in told.added)

    def _kept_no_more(self, group_id: str | None, records: Collection[str]) -> None:
        """The source has these in the group again, which somebody had kept in it."""
        for record in records:
            self.staging.clear_marks("kept", membership_key(group_id or "", record))

    # What is known

    @property
    def _where(self) -> tuple[str, str]:
        return self.organization_id, self.source_id

    def known(self, kind: Kind, *, only_theirs: bool = False) -> int:
        """How many entries are remembered; or how many of them are somebody here."""
        query = select(func.count()).select_from(PulledEntry).where(*of_kind(*self._where, EntryKind(kind)))
        with reading() as session:
            return session.scalar(query.where(PulledEntry.subject_id.is_not(None)) if only_theirs else query) or 0

    # Who is absent

    def _find_absent(self, kind: Kind) -> None:
        after = ""
        while True:
            with reading() as session:
                rows = session.execute(
                    KNOWN.where(*of_kind(*self._where, EntryKind(kind)), PulledEntry.key > after).order_by(PulledEntry.key).limit(AT_ONCE)
                ).all()
                if not rows:
                    return
                seen = self.staging.seen_among(kind, [row.key for row in rows])
                self._miss(session, kind, [Known(*row) for row in rows if row.key not in seen])
            after = rows[-1].key
            self.breathe()

    def _miss(self, session: Session, kind: Kind, entries: Sequence[Known]) -> None:
        subjects = [entry.subject_id for entry in entries if entry.subject_id is not None]
        if kind == "person":
            here = {one: int(found.on and found.counts) for one, found in records_here(session, self.organization_id, subjects, at=self.at).items()}
        else:
            here = {one: members_of(session, self.organization_id, one) for one in subjects}
        for entry in entries:
            if entry.kept is not None and entry.missing_since is not None:
                # Somebody decided that its absence changes nothing.
                continue
            counts = 0 if entry.subject_id is None else here.get(entry.subject_id, 0)
            self.staging.miss(
                Absent(kind=kind, key=entry.key, subject=entry.subject_id, since=since_of(entry.missing_since), counts=counts, answer=None)
            )


def _alike(told: Iterable[Told]) -> Iterator[list[Told]]:
    """What is of one kind and told in a row, a few at a time, so that many small things are asked about at once; large groups are not in
    memory together."""
    some: list[Told] = []
    members = 0
    for one in told:
        if some and (type(one) is not type(some[0]) or len(some) == AT_ONCE or members >= MEMBERS_AT_ONCE):
            yield some
            some, members = [], 0
        some.append(one)
        members += _members_in(one)
    if some:
        yield some


def _members_in(told: Change) -> int:
    if isinstance(told, SourceGroup):
        return len(told.members)
    return len(told.added) + len(told.removed) if isinstance(told, Memberships) else 0
