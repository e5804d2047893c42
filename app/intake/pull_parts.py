"""What a pull is made of: which source is pulled as which run, its transactions one after the other, and what became of it in numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypedDict, TypeVar

from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.clock import Clock
from app.database import BeginAnew, in_transaction
from app.directory.tables import Record, Source
from app.intake.pull_drafts import Unusable
from app.intake.pull_reading import Progress
from app.intake.pull_state import hold_on
from app.lifecycle import pulled_entries, runs
from app.lifecycle.errors import LifecycleError, Taken
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry

Result = TypeVar("Result")
ONE_BY_ONE: Final = 100
"""People in one transaction, where each goes by the ordinary verb: nobody waits long for it."""


class Saying(TypedDict):
    """Who says it, when, and why: what every verb asks for."""

    actor: Actor
    at: datetime
    because: str


@dataclass(kw_only=True)
class Count:
    """What became of a pull, in numbers, and what has to be said of it."""

    joined: int = 0
    moved: int = 0
    left: int = 0
    missing: int = 0
    asked: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, other: "Count") -> None:
        self.joined += other.joined
        self.moved += other.moved
        self.left += other.left
        self.missing += other.missing
        self.asked += other.asked
        self.notes += other.notes


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why something could not be done. A name that is taken may be free a little later."""

    why: str
    name_taken: bool


@dataclass(kw_only=True)
class Part:
    """What happens in one transaction of a pull. It is begun anew where the database asks for the transaction again."""

    session: Session
    source: Source
    saying: Saying
    count: Count = field(default_factory=Count)
    taken: list[runs.Taken] = field(default_factory=list)

    @property
    def where(self) -> tuple[str, str]:
        return self.source.organization_id, self.source.id

    @property
    def at(self) -> datetime:
        return self.saying["at"]

    def record(self, record_id: str) -> Record:
        """A record of this source, locked, an ended one too."""
        found = self.session.get(Record, (self.source.organization_id, record_id), with_for_update=True, populate_existing=True)
        assert found is not None
        return found

    def entry(self, key: str, kind: EntryKind = EntryKind.PERSON) -> PulledEntry | None:
        """What is remembered of an entry."""
        return self.session.get(PulledEntry, (*self.where, kind, key), populate_existing=True)

    def remember(self, key: str, subject_id: str | None, *, digest: bytes | None, kind: EntryKind = EntryKind.PERSON) -> PulledEntry:
        """Whose an entry is here, and what was taken over of it. Whatever else had this subject before has it no more."""
        self.session.flush()
        entry = self.entry(key, kind)
        if subject_id is not None:
            for former in pulled_entries.others_of(self.session, *self.where, subject_id, kind=kind, but=key):
                self.session.delete(former)
            pulled_entries.forget(self.session, *self.where, key, kind=pulled_entries.WENT[kind])
        if entry is None:
            entry = PulledEntry(organization_id=self.source.organization_id, source_id=self.source.id, kind=kind, key=key)
            self.session.add(entry)
        entry.subject_id = subject_id
        self.took_over(entry, digest=digest)
        self.session.flush()
        return entry

    def took_over(self, entry: PulledEntry, *, digest: bytes | None) -> None:
        """What was taken over of an entry; None where it was not all of it, so that the next pull sees it again."""
        entry.digest = digest
        if entry.kind == EntryKind.PERSON:
            if digest is None:
                pulled_entries.look_again(self.session, *self.where, entry.key)
            else:
                pulled_entries.forget(self.session, *self.where, entry.key, kind=EntryKind.AGAIN)

    def set_aside(self, key: str, name: str, why: str, *, kind: EntryKind = EntryKind.PERSON) -> None:
        """It is not taken over as the source has it now, and all others go on; the next pull tries again."""
        entry = self.entry(key, kind)
        self.remember(key, None if entry is None else entry.subject_id, digest=None, kind=kind)
        self.count.notes.append(f"{'group ' if kind is EntryKind.GROUP else ''}{name if name.strip() else key} is set aside: {why}")

    def carefully(self, act: Callable[[], Any]) -> "Trouble | None":
        """Do it, or nothing of it; returns why it could not be done. What asks for the whole transaction anew gets it."""
        taken, numbers, name_taken = len(self.taken), self.count, False
        self.count = Count()
        try:
            with self.session.begin_nested():
                act()
        except BeginAnew:
            raise
        except (LifecycleError, Unusable) as error:
            why, name_taken = str(error), isinstance(error, Taken)
        except (DataError, IntegrityError) as error:
            # What is in the way is in the log; the driver's words may hold what somebody is called.
            why = f"the database cannot keep it ({type(error.orig).__name__})"
        else:
            numbers.add(self.count)
            self.count = numbers
            return None
        del self.taken[taken:]
        self.count = numbers
        return Trouble(why=why, name_taken=name_taken)


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Which source is pulled, as which run, and by which claim. `progress` is told after each part."""

    source: Source
    run: int
    claimed_by: str
    clock: Clock
    progress: Progress
    count: Count

    def write(self, act: Callable[[Part], Result]) -> Result:
        """One transaction, as long as the source is still ours. Raises TakenOver."""

        def acted(session: Session) -> tuple[Result, Count]:
            at = self.clock()
            hold_on(session, self.source.organization_id, self.source.id, by=self.claimed_by, at=at)
            actor = Actor(kind=ActorKind.SOURCE, name=self.source.name)
            part = Part(session=session, source=self.source, saying=Saying(actor=actor, at=at, because=f"run {self.run}"))
            result = act(part)
            session.flush()
            runs.note_taken(session, self.source.organization_id, self.run, part.taken)
            return result, part.count

        result, count = in_transaction(acted)
        self.count.add(count)
        return result
