"""One pull from its claim to its end: what is read, what is applied of it, and what is remembered."""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.access.sealing import KeyMissing
from app.actors import Actor
from app.clock import Clock
from app.database import in_transaction, new_id, reading
from app.directory.settings import gone_after, value_of
from app.directory.tables import Source
from app.intake import pull_asking, pull_groups, pull_joining, pull_managers, pull_state, pull_weighing
from app.intake.pull_asking import due_keys
from app.intake.pull_groups import Groups
from app.intake.pull_parts import Count, Part, Pull
from app.intake.pull_people import KnownPeople
from app.intake.pull_reading import Mapped, NeedsWhole, Progress, Reading
from app.intake.pull_staging import Kind, Staging
from app.intake.pull_weighing import HeldPull, Verdict
from app.lifecycle import runs
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import Run, RunKind, RunState, SourceState
from connectors.contract import ConnectorError, RateLimited
from connectors.source_contract import Cursor, CursorLost, Incomplete, KnowsColumns, NothingThere, TellsChanges
from connectors.source_contract import Source as Opened

_KINDS: Final[tuple[Kind, ...]] = ("person", "group")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one pull. `run` is None for a rehearsal, which wrote nothing, and where there was nothing to be done."""

    run: int | None
    seen: int = 0
    joined: int = 0
    moved: int = 0
    left: int = 0
    unchanged: int = 0
    missing: int = 0
    asked: int = 0
    held: HeldPull | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Read:
    """What was read, whether that was everything, and where the source's list of changes stands behind it."""

    found: Reading
    whole: bool
    cursor: str | None
    wait: timedelta
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads one source, compares, asks, and weighs. Writes nothing."""

    source: Source
    opened: Opened
    mapped: Mapped
    clock: Clock
    hold_on: Callable[[], None]
    progress: Progress

    def read(self, stack: ExitStack, *, whole: bool) -> Read:
        """Everything, or what changed where the source can tell. Raises ConnectorError, Incomplete among them."""
        state = self._state()
        self._expect(state)
        changed = None if whole or self._needs_whole(state) else self._read_changes(stack, state)
        if changed is not None:
            return changed
        # Asked before the listing: what changes meanwhile is then told again.
        cursor = self.opened.cursor_now() if isinstance(self.opened, TellsChanges) else None
        found = self._new(stack, whole=True)
        found.whole()
        return self._judged(found, whole=True, cursor=cursor)

    def _read_changes(self, stack: ExitStack, state: SourceState | None) -> Read | None:
        """None where the source cannot say what changed, or what it says is not to be believed: then it has to be read whole."""
        told = self._changes(stack, state)
        if told is None:
            return None
        found, reached = told
        self._add_missing(found)
        pull_asking.try_again(found)
        read = self._judged(found, whole=False, cursor=reached)
        return None if self._is_odd(read) else read

    def ask(self, stack: ExitStack) -> Read:
        """Only those whose second answer is due. Raises ConnectorError."""
        self._expect(self._state())
        found = self._new(stack)
        before = self.clock() - self._wait()
        for kind in _KINDS:
            found.gone(kind, due_keys(*self._where, EntryKind(kind), before=before))
        # Whoever waits for the name of somebody who is gone now need not wait for the next pull.
        pull_asking.try_again(found)
        read = self._judged(found, whole=False, cursor=None)
        if self._is_odd(read):
            raise Incomplete(f"{self.source.name} does not know others either who are known to be there")
        return read

    def _is_odd(self, read: Read) -> bool:
        """Whether it would take access that a whole listing would hold."""
        return read.verdict.reason is None and pull_asking.hides_others(read.found)

    @property
    def _where(self) -> tuple[str, str]:
        return self.source.organization_id, self.source.id

    def _new(self, stack: ExitStack, *, whole: bool = False) -> Reading:
        last = time.monotonic()

        def breathe() -> None:
            nonlocal last
            if time.monotonic() - last >= pull_state.RENEW_EVERY.total_seconds():
                last = time.monotonic()
                self.hold_on()

        organization_id, source_id = self._where
        anew = pull_asking.in_another_doubt(*self._where, most=None if whole else pull_asking.TRIED_AGAIN)
        return Reading(
            organization_id=organization_id, source_id=source_id, source=self.opened, staging=stack.enter_context(Staging()), at=self.clock(),
            mapped=self.mapped, breathe=breathe, progress=self.progress, anew=anew,
        )  # fmt: skip

    def _state(self) -> SourceState | None:
        with reading() as session:
            return session.get(SourceState, self._where)

    def _expect(self, state: SourceState | None) -> None:
        """Columns that what was taken over last had must be there; also where all of it is read, by whatever way."""
        if state is not None and state.cursor is not None and isinstance(self.opened, KnowsColumns):
            self.opened.expect(Cursor(state.cursor))

    def _wait(self) -> timedelta:
        with reading() as session:
            return gone_after(value_of(session, self.source.organization_id, "gone_after"))

    def _needs_whole(self, state: SourceState | None) -> bool:
        if state is None or state.cursor is None or not isinstance(self.opened, TellsChanges):
            return True
        every = pull_state.schedule_of(self.source).full_every
        # Where it said that some of what it told was lost, all of it is read, however seldom that is done otherwise.
        if state.full_at is None or (every is not None and state.full_at + every <= self.clock()):
            return True
        with reading() as session:
            # What a listing had held only a listing can take back.
            return pull_weighing.held_by_listing(session, self.source)

    def _changes(self, stack: ExitStack, state: SourceState | None) -> tuple[Reading, str] | None:
        """What changed, and the cursor behind it; None where the source cannot say, and has to be read whole."""
        if state is None or state.cursor is None or not isinstance(self.opened, TellsChanges):
            return None
        found = self._new(stack)
        try:
            found.changes(self.opened.changes_since(Cursor(state.cursor)))
            return found, self.opened.cursor_reached()
        except (CursorLost, NeedsWhole):
            return None

    def _add_missing(self, found: Reading) -> None:
        """Whoever is known to be missing, and was not told now, counts among the absent."""
        for kind in _KINDS:
            keys = due_keys(*self._where, EntryKind(kind))
            told = found.staging.seen_among(kind, keys)
            found.gone(kind, [key for key in keys if key not in told])

    def _judged(self, found: Reading, *, whole: bool, cursor: str | None) -> Read:
        wait = self._wait()
        pull_asking.ask(found, before=self.clock() - wait, most=lambda: pull_weighing.most_people(self.source, found.staging, at=self.clock()))
        pull_asking.look_for_groups(found, whole=whole, before=self.clock() - wait)
        verdict = pull_weighing.weigh(found, self.source, at=self.clock())
        return Read(found=found, whole=whole, cursor=cursor, wait=wait, verdict=verdict)


class Running:
    """One pull, or one asking, that writes. Whatever it raises, the source is free again, and the run says how it ended."""

    def __init__(self, source: Source, *, opening: Callable[[Source], tuple[Opened, Mapped]], actor: Actor, clock: Clock, progress: Progress) -> None:
        self._source = source
        self._opening = opening
        self._actor = actor
        self._clock = clock
        self._progress = progress
        self._claim = new_id()
        self._heard: datetime | None = None
        self._number: int | None = None
        self._began = time.monotonic()

    def _reader(self) -> Reader:
        # Opened within the run: settings that cannot be right are a run that failed.
        opened, mapped = self._opening(self._source)
        return Reader(
            source=self._source, opened=opened, mapped=mapped, clock=self._clock, hold_on=self._hold_on, progress=self._progress
        )

    @property
    def _where(self) -> tuple[str, str]:
        return self._source.organization_id, self._source.id

    def pull(self, *, whole: bool) -> Outcome:
        """Raises ConnectorError, KeyMissing, UnderWay, TakenOver."""
        in_transaction(lambda session: self._begin_with_claim(session, whole=whole))
        problem, wait, outcome = runs.ABANDONED, 0.0, None
        try:
            with ExitStack() as stack:
                try:
                    read = self._reader().read(stack, whole=whole)
                except (Incomplete, NothingThere) as error:
                    if isinstance(error, NothingThere) and not self._knows_anybody():
                        # Nobody was ever read from there: the settings are wrong, and there is nobody to be held.
                        raise
                    outcome = in_transaction(lambda session, error=error: self._unreadable(session, str(error)))  # type: ignore[misc]  # defaults bind what may change
                    return outcome
                outcome = self._apply(read, turn=True)
                return outcome
        except (ConnectorError, KeyMissing) as error:
            problem, wait = str(error), error.wait if isinstance(error, RateLimited) else 0.0
            raise
        finally:
            if outcome is None:
                self._give_up(problem, wait=wait)

    def ask_again(self) -> Outcome:
        """Raises ConnectorError, UnderWay, TakenOver. Where nothing follows from the answers, there is no run."""
        in_transaction(lambda session: self._claim_it(session, turn=False))
        problem, wait, outcome = runs.ABANDONED, 0.0, None
        try:
            with ExitStack() as stack:
                read = self._reader().ask(stack)
                in_transaction(lambda session: self._begin(session, whole=False))
                outcome = self._apply(read, turn=False)
                return outcome
        except (ConnectorError, KeyMissing) as error:
            problem, wait = str(error), error.wait if isinstance(error, RateLimited) else 0.0
            raise
        finally:
            if outcome is None:
                self._give_up(problem, wait=wait)

    # Beginning and ending

    def _begin_with_claim(self, session: Session, *, whole: bool) -> None:
        self._claim_it(session, turn=True)
        self._begin(session, whole=whole)

    def _claim_it(self, session: Session, *, turn: bool) -> None:
        self._heard = pull_state.claim(session, self._source, by=self._claim, at=self._clock(), turn=turn).woken_at
        # As it is now that it is ours: whoever changes how it is read from here on takes the claim away.
        self._source = session.get_one(Source, self._where, populate_existing=True)

    def _begin(self, session: Session, *, whole: bool) -> None:
        at = self._clock()
        pull_state.hold_on(session, *self._where, by=self._claim, at=at)
        runs.abandon(session, *self._where, at=at)
        run = runs.begin(session, self._source.organization_id, kind=RunKind.PULL, source_id=self._source.id, actor=self._actor, at=at, whole=whole)
        self._number = run.number

    def _knows_anybody(self) -> bool:
        with reading() as session:
            return pull_weighing.people_on(session, self._source, at=self._clock()) > 0

    def _hold_on(self) -> None:
        in_transaction(lambda session: pull_state.hold_on(session, *self._where, by=self._claim, at=self._clock()))

    def _run(self, session: Session) -> Run:
        assert self._number is not None
        return runs.find(session, self._source.organization_id, self._number, lock=True)

    def _apply(self, read: Read, *, turn: bool) -> Outcome:
        assert self._number is not None
        count = Count(notes=list(read.found.notes))
        pull = Pull(source=self._source, run=self._number, claimed_by=self._claim, clock=self._clock, progress=self._progress, count=count)
        people = KnownPeople(pull=pull, found=read.found, verdict=read.verdict, wait=read.wait)
        people.take()
        people.move()
        pull_joining.join(pull, read.found)
        Groups(pull=pull, found=read.found, verdict=read.verdict, wait=read.wait).apply()
        pull_managers.name_managers(pull)
        pull_groups.let_awaited_in(pull)
        held = pull.write(lambda part: self._finish(part, read, count, turn=turn))
        return self._outcome(read, count, held)

    def _finish(self, part: Part, read: Read, count: Count, *, turn: bool) -> HeldPull | None:
        """What is held, how far the source was read, and that this is over: all of it, or nothing."""
        session, at = part.session, part.at
        lines = pull_weighing.lines_now(session, self._source, read.found.staging, read.verdict, at=at)
        held = pull_weighing.refresh(session, self._source, lines, verdict=read.verdict, whole=read.whole, at=at)
        state = pull_state.claimed(session, *self._where, by=self._claim)
        assert state is not None
        if read.whole:
            pull_weighing.could_be_read(session, self._source, at=at)
            state.full_at, state.people, state.groups = at, read.found.seen, read.found.groups_seen
        if turn:
            if held is None:
                state.cursor, state.cursor_at = read.cursor, at
            state.milliseconds = round((time.monotonic() - self._began) * 1000)
            pull_state.done(session, self._source, state, heard=self._heard, at=at)
        else:
            pull_state.give_back(state)
        run = self._run(session)
        run.whole, run.held_id = read.whole, None if held is None else held.held_id
        run.seen, run.unchanged = read.found.seen, read.found.unchanged
        run.joined, run.moved, run.left, run.missing, run.asked = count.joined, count.moved, count.left, count.missing, count.asked
        runs.finish(run, state=RunState.DONE if held is None else RunState.HELD, at=at, notes=count.notes)
        return held

    def _outcome(self, read: Read, count: Count, held: HeldPull | None) -> Outcome:
        return Outcome(
            run=self._number, seen=read.found.seen, joined=count.joined, moved=count.moved, left=count.left, unchanged=read.found.unchanged,
            missing=count.missing, asked=count.asked, held=held, notes=tuple(count.notes),
        )  # fmt: skip

    def _unreadable(self, session: Session, reason: str) -> Outcome:
        """The listing cannot be right: nothing of it is applied, and somebody has to look."""
        at = self._clock()
        pull_state.hold_on(session, *self._where, by=self._claim, at=at)
        held = pull_weighing.hold_unreadable(session, self._source, reason, at=at)
        state = pull_state.claimed(session, *self._where, by=self._claim)
        assert state is not None
        pull_state.failed(session, self._source, state, reason, at=at)
        run = self._run(session)
        run.held_id = held.id
        runs.finish(run, state=RunState.HELD, at=at, problem=reason)
        session.flush()
        return Outcome(run=self._number, held=pull_weighing.shown(session, held), notes=(reason,))

    def _give_up(self, problem: str, *, wait: float) -> None:
        def act(session: Session) -> None:
            at = self._clock()
            state = pull_state.claimed(session, *self._where, by=self._claim)
            if state is None:
                # Whoever has it now has written down already that this one did not end.
                return
            pull_state.failed(session, self._source, state, problem, at=at, wait=wait)
            if self._number is not None:
                runs.finish(self._run(session), state=RunState.FAILED, at=at, problem=problem)

        # Where the database is away, the lease ends by itself.
        with suppress(DBAPIError):
            in_transaction(act)
