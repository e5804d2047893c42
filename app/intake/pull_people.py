"""Applying what was found of people who are known: who is off or gone first, then what else is said of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from app.directory.settings import off_means
from app.directory.tables import Record, Standing
from app.intake.pull_asking import NOT_THERE, UNASKED, UNKNOWN, gone_for_good
from app.intake.pull_drafts import Unusable, dates_of, draft_of, ends_soon, pauses, read_back, says_on, stands_on
from app.intake.pull_here import batches, of_kind
from app.intake.pull_joining import join_one
from app.intake.pull_managers import circle_of, records_of_keys
from app.intake.pull_parts import ONE_BY_ONE, Part, Pull
from app.intake.pull_reading import Reading
from app.intake.pull_staging import StagedPerson
from app.intake.pull_weighing import RECORD, Verdict
from app.lifecycle import pulled_entries, questions, taking
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.people import manager_record
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry
from app.lifecycle.records import change_record
from app.lifecycle.taking import Off
from connectors.source_contract import SourcePerson


@dataclass(frozen=True, kw_only=True)
class KnownPeople:
    """Applies what was found of those who are known, but for what is held. Each part is a transaction; none is lost, or done twice."""

    pull: Pull
    found: Reading
    verdict: Verdict
    wait: timedelta

    def take(self) -> None:
        """Whoever is off is off, or ends when it is said, and whoever is gone is gone; of whom it was said for the first time, that is
        remembered."""
        self._change_each("leaving", self.found.staging.changed(taking=True))
        self._end_gone()
        first = [one.key for one in self.found.staging.absent("person") if one.answer == NOT_THERE and one.since is None and one.subject is not None]
        for keys in batches(first):
            self.pull.write(lambda part, keys=keys: _mark_missing(part, keys))  # type: ignore[misc]  # defaults bind the loop's values
        for keys in batches(self.found.staging.there_again("person")):
            self.pull.write(lambda part, keys=keys: _clear_marks(part, keys))  # type: ignore[misc]  # defaults bind the loop's values
        for keys in batches(self._unanswered()):
            self.pull.write(lambda part, keys=keys: _look_again(part, keys))  # type: ignore[misc]  # defaults bind the loop's values

    def _unanswered(self) -> list[str]:
        """Whom the source could not be asked for. It tells once that somebody is gone; only where it is held, all of it is told again."""
        if self.verdict.reason is not None:
            return []
        return [one.key for one in self.found.staging.absent("person") if one.answer in (UNKNOWN, UNASKED)]

    def move(self) -> None:
        """All else that is said of them. Whoever gets a name that another still has waits until that one has theirs."""
        waiting = self._change_each("moving", self.found.staging.changed(taking=False), patient=True)
        while waiting:
            before = len(waiting)
            waiting = self._change_each("moving", self.found.staging.these(waiting), patient=True)
            if len(waiting) == before:
                self._change_each("moving", self.found.staging.these(waiting))
                return

    def _change_each(self, what: str, found: Iterator[list[StagedPerson]], *, patient: bool = False) -> list[str]:
        """Returns who has to wait for a name, where they may."""
        done, waiting = 0, list[str]()
        for batch in found:
            for some in batches(batch, ONE_BY_ONE):
                waiting += self.pull.write(lambda part, some=some: self._change_some(part, some, patient=patient))  # type: ignore[misc]  # defaults bind the loop's values
                done += len(some)
                self.pull.progress(what, done)
        return waiting

    def _change_some(self, part: Part, people: list[StagedPerson], *, patient: bool) -> list[str]:
        managers = records_of_keys(part.session, self.pull.source, {one.manager for one in people if one.manager is not None})
        unheard = pulled_entries.kept_ends(part.session, *part.where, [one.key for one in people])
        return [one.key for one in people if not self._change(part, one, managers, unheard=unheard.get(one.key), patient=patient)]

    def _change(self, part: Part, staged: StagedPerson, managers: dict[str, str], *, unheard: datetime | None, patient: bool) -> bool:
        """Returns whether that was all that can be done of it."""
        entry = part.entry(staged.key)
        if entry is None or entry.subject_id is None:
            # Its record was given to another entry in a part before this one.
            return True
        record = part.record(entry.subject_id)
        person, broken = read_back(staged.said)
        if record.ended_at is not None:
            join_one(part, staged, managers)
            return True
        manager = managers.get(staged.manager or "")
        try:
            if broken is not None:
                raise Unusable(broken)
            draft = draft_of(person, manager=manager)
        except Unusable as error:
            self._only_off(part, person, entry, record, unheard=unheard)
            part.set_aside(staged.key, person.user_name, str(error))
            return True
        if unheard is not None and unheard == draft.ends_at:
            draft = replace(draft, ends_at=record.ends_at)
        elif unheard is not None:
            # The source says otherwise than when somebody decided that this end does not count.
            pulled_entries.forget(part.session, *part.where, staged.key, kind=EntryKind.KEPT_END)
        on = stands_on(person.active, draft.starts_at, draft.ends_at, at=part.at)
        soon = on and ends_soon(draft.ends_at, record.ends_at, at=part.at)
        stays = (soon or not on) and self._stays(part, entry, record, off=not on)
        if stays:
            draft = replace(draft, active=True, starts_at=record.starts_at, ends_at=record.ends_at)
        if not person.active and not pauses(person) and record.off_means == Standing.PAUSED:
            # It was a suspension, and is one no more: what *off* means now is the organisation's to say.
            draft = replace(draft, off_means=off_means(part.session, part.source.organization_id))
        reported_to = manager_record(record.document)
        trouble = part.carefully(lambda: _say(part, record, draft))
        if trouble is not None and trouble.name_taken and patient:
            return False
        if trouble is not None:
            self._only_off(part, person, entry, part.record(record.id), unheard=unheard)
            part.set_aside(staged.key, person.user_name, trouble.why)
            return True
        if on and entry.missing_since is None:
            # The source says otherwise than when somebody decided that its word does not count.
            entry.kept = None
        # What is held is not taken over: the next pull has to see it again.
        part.took_over(entry, digest=None if stays and not _is_kept(entry) else staged.digest)
        entry.manager_key = staged.manager if manager is None else None
        if manager is not None and manager != reported_to and (circle := circle_of(part.session, record)) is not None:
            part.count.notes.append(circle)
        return True

    def _only_off(self, part: Part, person: SourcePerson, entry: PulledEntry, record: Record, *, unheard: datetime | None) -> None:
        """However odd the rest is: whoever is off, or has ended, is off."""
        on = stands_on(record.active, record.starts_at, record.ends_at, at=part.at)
        said = replace(person, ends_at=None) if unheard is not None and unheard == dates_of(person)[1] else person
        # As it was weighed: an end that has come since then is the next pull's.
        if on and not says_on(said, at=self.found.at) and not self._stays(part, entry, record):
            off = Off(
                active=False, starts_at=record.starts_at, ends_at=record.ends_at, means=Standing.PAUSED if pauses(said) else None
            )
            part.taken.append(taking.say_off(part.session, part.source, record, off, **part.saying))
            part.count.left += 1

    def _stays(self, part: Part, entry: PulledEntry, record: Record, *, off: bool = True) -> bool:
        """Whether a record that is on stays as it is although the source says *off*, or an end: that is held, or somebody decided against
        an *off*."""
        on = stands_on(record.active, record.starts_at, record.ends_at, at=part.at)
        return on and ((off and _is_kept(entry)) or self.verdict.holds(RECORD, record.id))

    def _end_gone(self) -> None:
        gone = [
            one.key
            for one in gone_for_good(self.found, "person", at=self.pull.clock(), wait=self.wait)
            if one.subject is None or not self.verdict.holds(RECORD, one.subject)
        ]
        done = 0
        for keys in batches(gone, ONE_BY_ONE):
            self.pull.write(lambda part, keys=keys: _end_some(part, keys))  # type: ignore[misc]  # defaults bind the loop's values
            done += len(keys)
            self.pull.progress("leaving", done)


def _say(part: Part, record: Record, draft: RecordDraft) -> None:
    version, was_on, ended_at = record.version, stands_on(record.active, record.starts_at, record.ends_at, at=part.at), record.ends_at
    if not record.active and record.external_id is not None and record.external_id != draft.external_id:
        # The key says that it is the same entry, so that another externalId is no successor's. It is said once the record is on.
        before = replace(draft, external_id=record.external_id, document={**draft.document, "externalId": record.external_id})
        said = change_record(part.session, *part.where, record.id, before, braked=False, **part.saying)
        draft = draft if said.active else before
    changed = change_record(part.session, *part.where, record.id, draft, braked=False, **part.saying)
    if was_on and not stands_on(changed.active, changed.starts_at, changed.ends_at, at=part.at):
        part.taken.append(taking.taken_off(changed))
        part.count.left += 1
    elif was_on and ends_soon(changed.ends_at, ended_at, at=part.at):
        part.taken.append(taking.given_an_end(changed))
        part.count.left += 1
    elif changed.version != version:
        part.count.moved += 1


def _is_kept(entry: PulledEntry) -> bool:
    """Whether somebody decided that an *off* of this entry does not count, for as long as the source says so."""
    return entry.kept is not None and entry.missing_since is None


def _end_some(part: Part, keys: list[str]) -> None:
    for key in keys:
        entry = part.entry(key)
        if entry is None:
            continue
        if entry.subject_id is None:
            questions.withdraw(
                part.session, *part.where, key=key, actor=part.saying["actor"], at=part.at, because="the entry is not there any more"
            )
        else:
            record = part.record(entry.subject_id)
            if record.ended_at is None:
                part.taken.append(taking.end(part.session, part.source, record, **part.saying))
                part.count.left += 1
        pulled_entries.has_gone(part.session, entry)


def _mark_missing(part: Part, keys: list[str]) -> None:
    marked = part.session.execute(
        update(PulledEntry)
        .where(*these(part, EntryKind.PERSON, keys), PulledEntry.missing_since.is_(None))
        # What was kept until now was something else than its absence.
        .values(missing_since=part.at, kept=None),
        execution_options={"synchronize_session": False},
    )
    part.count.missing += int(marked.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class


def _clear_marks(part: Part, keys: list[str]) -> None:
    part.session.execute(
        update(PulledEntry)
        .where(*these(part, EntryKind.PERSON, keys), PulledEntry.missing_since.is_not(None))
        .values(missing_since=None, kept=None),
        execution_options={"synchronize_session": False},
    )


def _look_again(part: Part, keys: list[str]) -> None:
    """The next pull asks for these, and takes whoever is there for different, so that they are asked for no longer.

    An answer from before counts no more: between two pulls they would be asked for without end.
    """
    part.session.execute(
        update(PulledEntry).where(*these(part, EntryKind.PERSON, keys)).values(digest=None, missing_since=None),
        execution_options={"synchronize_session": False},
    )
    for key in keys:
        pulled_entries.look_again(part.session, *part.where, key)


def these(part: Part, kind: EntryKind, keys: list[str]) -> tuple[Any, ...]:
    """The rows of these keys."""
    return (*of_kind(*part.where, kind), PulledEntry.key.in_(keys))
