"""Departures one at a time while thousands of other subjects wait, against a bare lock, deactivation and read in between.

Each departure through Doorlist is followed by a bare one of somebody else on the same Synapse, so that both meet the
same load.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.assembly import create_app
from app.clock import now
from app.database import db, in_transaction, reading
from app.directory.tables import Source
from app.lifecycle.records import RecordDraft, add_record
from app.settings import from_environment
from tests.benchmarks.bare import BareSynapse, Shut
from tests.benchmarks.figures import Bound, Figure, Unit, middle
from tests.benchmarks.house import PUSH_THREADS, Bench, batches
from tests.journeys.company import Person
from tests.journeys.doorlist import StepFailed, end
from tests.journeys.ledger import Departed, Ledger
from tests.journeys.stage import Stage

WAITING: Final = int(os.environ.get("BENCH_WAITING", "5000"))
DEPARTURES: Final = int(os.environ.get("BENCH_DEPARTURES", "50"))
GONE_WITHIN: Final = 60.0
OKTA: Final = Actor(kind=ActorKind.SOURCE, name="okta")


def run(bench: Bench) -> list[Figure]:
    stage = bench.fresh_stage("departures", size=WAITING + 4 * DEPARTURES + 100)
    with bench.alone(stage.synapse):
        return _measured(bench, stage)


def _measured(bench: Bench, stage: Stage) -> list[Figure]:
    ledger = Ledger(stage.doorlist.home)
    stage.doorlist.run("settings", "set", "push_brake", "off")
    # Beside an HR source a directory's *off* only pauses, which is other calls than those of the floor.
    stage.doorlist.run("settings", "set", "leaving_voice", "directory")
    # Nobody's manager, so that nobody else need be there before them.
    alone = [replace(person, manager=None) for person in stage.people if person.level == 4 and person.user_type == "Employee"]
    leavers = alone[: 2 * DEPARTURES]
    stage.okta.push(leavers, threads=PUSH_THREADS)
    ledger.settle()

    end(stage.server)
    # Their work waits until a worker runs again.
    fill(stage, alone_and_others(stage, leavers))
    stage.server = stage.doorlist.serve(bench.folder / "departures.log")
    bench.leaving.callback(end, stage.server)
    before = ledger.waiting()
    bare = BareSynapse(stage.synapse_url, stage.auditor_token)
    through_doorlist: list[Departed] = []
    by_bare_calls: list[Shut] = []
    for ours, other in batches(leavers, 2):
        account = stage.account_of(other)
        through_doorlist.append(depart(stage, ledger, ours))
        by_bare_calls.append(bare.shut_out(account))
    after = ledger.waiting()
    return figures(through_doorlist, by_bare_calls, before=before, after=after)


def figures(through_doorlist: list[Departed], by_bare_calls: list[Shut], *, before: int, after: int) -> list[Figure]:
    shut = [(one.shut_ns - one.received_ns) / 1e6 for one in through_doorlist if one.shut_ns is not None]
    gone = [(one.gone_ns - one.received_ns) / 1e6 for one in through_doorlist if one.gone_ns is not None]
    parts = {
        "received to sent": [_ms(one.received_ns, one.sent_ns) for one in through_doorlist],
        "sent to acknowledged": [_ms(one.sent_ns, one.acknowledged_ns) for one in through_doorlist],
        "acknowledged to shut": [_ms(one.acknowledged_ns, one.shut_ns) for one in through_doorlist],
    }
    bare_shut, bare_gone = [1000 * one.shut for one in by_bare_calls], [1000 * one.gone for one in by_bare_calls]
    load = f"{len(through_doorlist)} departures one at a time, {before:,} subjects waiting at first, {after:,} at the end"
    close = Bound(times=1.5, plus=100.0)
    floor_is = "bare lock, deactivate, read"
    return [
        Figure(what=f"{load}: to shut, p50", unit=Unit.MILLISECONDS, measured=middle(shut), floor=middle(bare_shut), floor_is=floor_is, bound=close),
        Figure(what="  to shut, maximum", unit=Unit.MILLISECONDS, measured=max(shut), floor=max(bare_shut), floor_is=floor_is, bound=close),
        Figure(what="  to gone, p50", unit=Unit.MILLISECONDS, measured=middle(gone), floor=middle(bare_gone), floor_is=floor_is),
        Figure(what="  to gone, maximum", unit=Unit.MILLISECONDS, measured=max(gone), floor=max(bare_gone), floor_is=floor_is),
        *(Figure(what=f"  of which {part}, p50", unit=Unit.MILLISECONDS, measured=middle(times)) for part, times in parts.items()),
    ]


def _ms(since_ns: int | None, until_ns: int | None) -> float:
    return 0.0 if since_ns is None or until_ns is None else (until_ns - since_ns) / 1e6


def depart(stage: Stage, ledger: Ledger, person: Person) -> Departed:
    """Unassigned in Okta; ends when they are gone, as Doorlist read it from Synapse."""
    stage.okta.deactivate(person)
    until = time.monotonic() + GONE_WITHIN
    while time.monotonic() < until:
        known = ledger.departed().get(person.user_name)
        if known is not None and known.gone_ns is not None:
            return known
        time.sleep(0.02)
    raise StepFailed(f"{person.user_name} is not gone after {GONE_WITHIN:.0f} s: {known}")


def alone_and_others(stage: Stage, leavers: list[Person]) -> list[Person]:
    spared = {person.number for person in leavers}
    return [person for person in stage.people if person.number not in spared][:WAITING]


def fill(stage: Stage, people: Iterable[Person]) -> None:
    """As the SCIM door would, without its requests and answers: thousands of them would only be waited for."""
    app = create_app(from_environment({"DOORLIST_HOME": str(stage.doorlist.home)}))
    with app.app_context():
        with reading() as session:
            source = session.scalars(select(Source).where(Source.kind == "scim")).one()
        for some in batches(people, 200):

            def act(session: Session, some: tuple[Person, ...] = some) -> None:
                for person in some:
                    body = person.okta_body(manager_id=None)
                    kept = {name: value for name, value in body.items() if name not in ("groups", "password", "active")}
                    draft = RecordDraft(external_id=person.external_id, user_name=person.user_name, active=True, document=kept)
                    add_record(session, source.organization_id, source.id, draft, actor=OKTA, at=now(), because="benchmark")

            in_transaction(act)
        db.engine.dispose()
