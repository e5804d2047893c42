"""The worker: threads per lane that claim work, deliver it, and say what became of it."""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, nullcontext
from datetime import datetime, timedelta
from functools import partial
from time import monotonic

import psycopg
from flask import Flask
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.access.closed import is_closed
from app.access.sealing import KeyMissing, KeyUnread
from app.audit.lag import audit_is_behind
from app.clock import Clock
from app.clock import now as wall_clock
from app.database import asking, in_transaction, is_away
from app.delivery.access import deliver_access, deliver_here
from app.delivery.accounts import deliver_account
from app.delivery.channels import deliver_channel, deliver_roster
from app.delivery.company import LASTS, Company, Unfinished
from app.delivery.departing import ShutOut, note_failure, prove, shut_out, still_open
from app.delivery.due import is_due, is_due_by
from app.delivery.expansion import MARKERS, expand
from app.delivery.handing_over import LeftInChannels, hand_over
from app.delivery.liveness import free_claims_of_the_dead, own_name
from app.delivery.pauses import LONGEST_PAUSE, LOOK_AGAIN, pause_after, rest_after
from app.delivery.precedence import Precedence
from app.delivery.preparing import prepare_account
from app.delivery.silence import Silence
from app.delivery.wanted import NotYet
from app.delivery.workspaces import Targets, WorkspaceEnded, halted
from app.journal import work
from app.journal.tables import HERE, Lane, Subject
from app.journal.work import Claim
from connectors.contract import (
    BarsAccounts,
    Conflict,
    ConnectorError,
    Misconfigured,
    Missing,
    RateLimited,
    Refused,
    Target,
    Unauthorised,
    Unreachable,
    Withdrawn,
)

log = logging.getLogger(__name__)

PROVED_WITHIN = 2.0
"""Seconds for which what is left to do for somebody who is kept out, and the proof, waits at most for others who are still in."""
AT_ONCE = 8
"""Departures that are claimed together: each transaction keeps all others from writing."""
MOST_BEGUN = 64
"""Departures of which the rest is kept in mind. Beyond, it is put off in the database: the lease of a claim is too short for thousands."""


class Worker:
    """Delivers until it is stopped. Several may run side by side, in one process or in many."""

    def __init__(self, app: Flask, *, threads: dict[Lane, int], clock: Clock = wall_clock) -> None:
        self._app = app
        self._threads_per_lane = threads
        self._clock = clock
        self._targets = Targets(clock)
        self._stop = threading.Event()
        self._wake = {lane: threading.Condition() for lane in threads}
        self._threads: list[threading.Thread] = []
        self._precedence = Precedence()
        self._unfinished: deque[Unfinished] = deque()
        self._choosing = threading.Lock()
        self._company = Company()
        self._silence = Silence(threads)
        # Where departures can be dealt with together; of a workspace that is found out from its connector.
        self._at_once = {(Subject.ACCESS, HERE)}
        self._beside = ThreadPoolExecutor(AT_ONCE * threads.get(Lane.DEPARTURES, 1), thread_name_prefix="keeping-out")
        self.name = own_name()

    def start(self) -> None:
        """Start the threads; returns at once. What a killed neighbour had in hand is free again from here on."""
        with self._app.app_context():
            in_transaction(lambda session: free_claims_of_the_dead(session, at=self._clock()))
        self._company.look_for_it()
        for lane, count in self._threads_per_lane.items():
            self._spawn(self._watch, lane, f"watch-{lane}")
            for number in range(count):
                self._spawn(self._run, lane, f"{lane}-{number}")

    def _spawn(self, run: object, lane: Lane, name: str) -> None:
        thread = threading.Thread(target=run, args=(lane, f"{self.name}#{name}"), name=name, daemon=True)  # type: ignore[arg-type]  # a bound method
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """Ask every thread to end after what it has in hand, and wait for them."""
        self._stop.set()
        for condition in self._wake.values():
            with condition:
                condition.notify_all()
        for thread in self._threads:
            thread.join(timeout=60)

    def run_until_idle(self) -> None:
        """Deliver in this thread until nothing is due; for tests and `doorlist apply --wait`."""
        with self._app.app_context():
            while any(self.step([lane], f"{self.name}#once") for lane in self._threads_per_lane):
                pass

    def _watch(self, lane: Lane, _name: str) -> None:
        """Wake the lane's threads as soon as anything is due; one cheap query instead of one per thread."""
        with self._app.app_context():
            took = 0.0
            while not self._stop.wait(rest_after(took, lane=lane)):
                began = monotonic()
                try:
                    due = is_due(self._app, lane, at=self._clock(), but=self._silence.left_out([lane]))
                except (DBAPIError, psycopg.Error, sqlite3.Error) as error:
                    log.error("cannot look for work: %s", error.__class__.__name__)
                    self._stop.wait(0.5)
                    continue
                took = monotonic() - began
                if due:
                    with self._wake[lane]:
                        self._wake[lane].notify_all()

    def _open_lanes(self, lanes: Sequence[Lane], but: Collection[str], *, busy: bool) -> Sequence[Lane]:
        """Those from which something is to be claimed; none where nothing is due."""
        if busy and Lane.SYNC not in lanes:
            return lanes
        with asking() as connection:
            if not busy and not any(is_due_by(connection, lane, at=self._clock(), but=but) for lane in lanes):
                return []
            if Lane.SYNC in lanes and self._gives_nothing(connection):
                # Whatever is in that lane may give something; departures go on.
                return [lane for lane in lanes if lane is not Lane.SYNC]
        return lanes

    def _gives_nothing(self, connection: Connection) -> bool:
        """Whether who has left is not known, or whoever is given something now would stand in no audit tree."""
        return is_closed(connection) or audit_is_behind(connection, at=self._clock())

    def _run(self, lane: Lane, name: str) -> None:
        took = finished = False
        with self._app.app_context():
            while not self._stop.is_set():
                if lane is not Lane.DEPARTURES:
                    self._precedence.give_way()
                try:
                    took, finished = self._step([lane], name, busy=took)
                except Exception as error:
                    # The worker's loop is the one place that outlives any error: the claim's lease brings the work back.
                    if is_away(error):
                        log.error("cannot go on: %s", error.__class__.__name__)
                    else:
                        log.exception("a delivery failed in a way nobody foresaw")
                    took = finished = False
                    self._stop.wait(0.5)
                if not took and not finished:
                    with self._wake[lane]:
                        self._wake[lane].wait(timeout=LASTS if lane is Lane.DEPARTURES and self._unfinished else 1.0)
            while lane is Lane.DEPARTURES and self._finish_next():
                pass

    def step(self, lanes: Sequence[Lane], name: str, *, busy: bool = False) -> bool:
        """Claim one piece of work and deal with it; False where there was none. Needs an application context.

        Unless it is `busy` it looks first, since to claim takes the database's one pen.
        """
        return any(self._step(lanes, name, busy=busy))

    def _step(self, lanes: Sequence[Lane], name: str, *, busy: bool) -> tuple[bool, bool]:
        """Whether something was claimed, and whether something that had been begun was gone on with."""
        took = self._take_next(lanes, name, busy=busy)
        # Behind whoever is still in; one at a time where those who are kept out have waited long enough.
        return took, Lane.DEPARTURES in lanes and self._finish_next(waiting=PROVED_WITHIN if took or self._company.lasts() else 0.0)

    def _take_next(self, lanes: Sequence[Lane], name: str, *, busy: bool) -> bool:
        with ExitStack() as hand:
            with self._silence.choosing():
                but = self._silence.left_out(lanes)
                lanes = self._open_lanes(lanes, but, busy=busy)
                if not lanes:
                    return False
                now = self._clock()
                # Threads of one process share the pen as well, and what is only waited for by those who stay must not have it first.
                with self._precedence.taken() if Lane.DEPARTURES in lanes else nullcontext():
                    claims = in_transaction(lambda session: self._claim(session, lanes, name, but, at=now))
                if claims:
                    hand.enter_context(self._silence.in_hand(claims[0]))
            self._company.note(claims)
            if len(claims) == 1:
                self._deal_with(claims[0])
            elif claims:
                (self._keep_out if claims[0].subject is Subject.ACCOUNT else self._write_down)(claims)
            return bool(claims)

    def _claim(self, session: Session, lanes: Sequence[Lane], name: str, but: Collection[str], *, at: datetime) -> list[Claim]:
        """One piece of work; with a departure, some more in the same place, where they can be dealt with at once."""
        claims = work.claim(session, lanes=lanes, worker=name, at=at, most=1, halted=halted, but=but)
        if claims and claims[0].lane is Lane.DEPARTURES and not claims[0].put_off and (claims[0].subject, claims[0].workspace_id) in self._at_once:
            claims += work.claim(session, lanes=[Lane.DEPARTURES], worker=name, at=at, most=AT_ONCE - 1, halted=halted, like=claims[0])
        return claims

    def _write_down(self, claims: Sequence[Claim]) -> None:
        """Write down what ended here; where that goes wrong with one departure, each is claimed by itself from then on."""
        try:
            with self._precedence.taken():
                deliver_here(claims, at=self._clock())
        except Exception:
            log.exception("%d departures could not be written down at once: each is on its own now", len(claims))
            for taken in claims:
                self._postpone(taken, timedelta(), None, counted=False)

    def _keep_out(self, claims: Sequence[Claim]) -> None:
        """Keep several from every new request in one workspace. Asked for at once: it goes on with others while it waits for its disk."""
        try:
            target = self._targets.of(claims[0].organization_id, claims[0].workspace_id)
        except (ConnectorError, KeyMissing, WorkspaceEnded):
            # It halts the workspace, or there is none, which is found out with each of them.
            for taken in claims:
                self._deal_with(taken)
            return
        assert isinstance(target, BarsAccounts)
        sent_at = self._clock()
        try:
            with self._precedence.taken():
                asked = {person: self._beside.submit(target.bar_account, account) for person, account in still_open(claims).items()}
                wait(asked.values())
        except DBAPIError as error:
            # A database that is away for a moment: none of them is to wait for the end of its lease.
            log.error("cannot look who is still in: %s", error.__class__.__name__)
            for taken in claims:
                self._postpone(taken, LOOK_AGAIN[taken.lane], None, counted=False)
            return
        # Whoever is kept out first: what goes wrong with another is nothing that they wait for.
        for taken in sorted(claims, key=lambda one: (answer := asked.get(one.subject_id)) is None or answer.exception() is not None):
            self._conclude(taken, partial(self._kept_out, taken, target, asked.get(taken.subject_id), sent_at=sent_at))

    def _kept_out(self, taken: Claim, target: Target, asked: Future[None] | None, *, sent_at: datetime) -> bool:
        if asked is None:
            return self._shut_out(taken, target, sent_at=self._clock())
        asked.result()
        if len(self._unfinished) < MOST_BEGUN:
            self._put_behind(taken, target, None, sent_at=sent_at)
        else:
            self._postpone(taken, timedelta(), None, counted=False)
        return False

    def _put_behind(self, taken: Claim, target: Target, done: ShutOut | None, *, sent_at: datetime) -> None:
        self._unfinished.append(Unfinished(taken=taken, target=target, done=done, since=monotonic(), sent_at=sent_at))
        with self._wake[Lane.DEPARTURES]:
            self._wake[Lane.DEPARTURES].notify()

    def _deal_with(self, taken: Claim) -> None:
        self._conclude(taken, lambda: self._deliver(taken))

    def _finish_next(self, *, waiting: float = 0.0) -> bool:
        """Go on with whoever has waited longest for it, and at least so many seconds; False where there is nobody."""
        hand = ExitStack()
        with self._silence.choosing(), self._choosing:
            but = self._silence.left_out([Lane.DEPARTURES])
            place = next((number for number, one in enumerate(self._unfinished) if one.taken.workspace_id not in but), None)
            if place is None or monotonic() - self._unfinished[place].since < waiting:
                return False
            one = self._unfinished[place]
            del self._unfinished[place]
            hand.enter_context(self._silence.in_hand(one.taken))
        done = one.done
        with hand:
            self._conclude(
                one.taken,
                lambda: self._shut_out(one.taken, one.target, sent_at=one.sent_at) if done is None else self._prove(one.taken, one.target, done),
            )
        return True

    def _conclude(self, taken: Claim, deliver: Callable[[], bool]) -> None:
        """Deliver, and close the claim as it went; where it went well, only if it is still open then."""
        try:
            still_open = deliver()
        except NotYet as reason:
            self._postpone(taken, LOOK_AGAIN[taken.lane] if taken.attempts < 100 else timedelta(seconds=1), str(reason), counted=True)
        except WorkspaceEnded:
            # Asked for by whoever saw it stand a moment before.
            self._keep(lambda session: work.finish(session, taken))
        except Withdrawn as reason:
            # Nothing was given. Whoever took the access has put its own work in the departure lane; what is left is looked at anew.
            log.info("withdrawn: %s", reason)
            self._postpone(taken, LOOK_AGAIN[taken.lane], None, counted=False)
        except RateLimited as error:
            self._postpone(taken, max(timedelta(seconds=error.wait), LOOK_AGAIN[taken.lane]), str(error), counted=False)
        except (Unreachable, KeyUnread) as error:
            self._postpone(taken, pause_after(taken.attempts, lane=taken.lane), str(error), counted=True)
        except (Unauthorised, Misconfigured, KeyMissing) as error:
            self._targets.halt(taken.organization_id, taken.workspace_id, str(error), since=taken.claimed_at)
            self._postpone(taken, timedelta(), str(error), counted=False)
        except (Refused, Conflict, Missing) as error:
            self._park(taken, str(error))
        except DBAPIError as error:
            if not is_away(error):
                raise
            log.error("%s %s is looked at again: %s", taken.subject, taken.subject_id, str(error.orig).partition("\n")[0])
            self._postpone(taken, pause_after(taken.attempts, lane=taken.lane), None, counted=True)
        else:
            if still_open:
                self._keep(lambda session: work.finish(session, taken))

    def _deliver(self, taken: Claim) -> bool:
        """Whether the claim is to be closed now: some close it themselves, or only later."""
        if taken.subject in MARKERS:
            in_transaction(lambda session: expand(session, taken, at=self._clock()))
            # The claim was closed along with it.
            return False
        if taken.subject is Subject.ACCESS:
            here = taken.workspace_id == HERE
            with self._precedence.taken() if here and taken.lane is Lane.DEPARTURES else nullcontext():
                deliver_access(taken, self._targets, clock=self._clock)
            return not here
        target = self._targets.of(taken.organization_id, taken.workspace_id)
        if taken.subject is Subject.ACCOUNT and taken.lane is Lane.DEPARTURES:
            return self._shut_out_soon(taken, target)
        if taken.subject is Subject.ACCOUNT:
            still_open = deliver_account(taken, target, clock=self._clock, precedence=self._precedence, keep=self._keep)
            if still_open is None:
                prepare_account(taken, target, clock=self._clock, precedence=self._precedence)
            return still_open is not False
        if taken.subject is Subject.CHANNEL:
            return deliver_channel(taken, target, clock=self._clock, keep=self._keep)
        deliver_roster(taken, target)
        return True

    def _shut_out_soon(self, taken: Claim, target: Target) -> bool:
        """Whether the claim is to be closed now. While others are still in, nobody gets more than what keeps them out."""
        if isinstance(target, BarsAccounts) and not taken.put_off:
            self._at_once.add((Subject.ACCOUNT, taken.workspace_id))
            if self._company.is_there(at=self._clock()):
                self._keep_out([taken])
                return False
        return self._shut_out(taken, target, sent_at=self._clock())

    def _shut_out(self, taken: Claim, target: Target, *, sent_at: datetime) -> bool:
        """`sent_at` is when the first was asked of the workspace."""
        with self._precedence.taken():
            done = shut_out(taken, target, sent_at=sent_at, clock=self._clock)
        if done is not None and self._company.is_there(at=self._clock()):
            self._put_behind(taken, target, done, sent_at=sent_at)
            return False
        return done is None or self._prove(taken, target, done)

    def _prove(self, taken: Claim, target: Target, done: ShutOut) -> bool:
        """False, since the claim is closed along with the proof."""
        try:
            with self._precedence.taken():
                prove(taken, target, done, clock=self._clock)
        except LeftInChannels:
            # They are out. What is theirs to hand over is nothing that others wait for.
            hand_over(taken, target, clock=self._clock)
            raise
        return False

    def _keep(self, act: Callable[[Session], None]) -> None:
        """Write down how a claim ended. A database that is away for a moment would else cost a whole lease."""
        for pause in (0.2, 0.5, 1.0, 2.0, 3.0, 4.0):
            try:
                in_transaction(act)
            except DBAPIError as error:
                log.error("the database does not take what was done: %s", error.__class__.__name__)
                if self._stop.wait(pause):
                    break
            else:
                return
        in_transaction(act)

    def _postpone(self, taken: Claim, pause: timedelta, error: str | None, *, counted: bool) -> None:
        until = self._clock() + pause

        def act(session: Session) -> None:
            work.postpone(session, taken, until=until, error=error, counted=counted)
            if taken.lane is Lane.DEPARTURES and error is not None:
                note_failure(session, taken, error, at=self._clock())

        self._keep(act)

    def _park(self, taken: Claim, error: str) -> None:
        if taken.lane is Lane.DEPARTURES:
            # A departure is never set aside: it is tried again and shown overdue until it is done.
            self._postpone(taken, timedelta(seconds=LONGEST_PAUSE[Lane.DEPARTURES]), error, counted=True)
            return
        log.warning("parked %s %s: %s", taken.subject, taken.subject_id, error)
        self._keep(lambda session: work.park(session, taken, error=error))
