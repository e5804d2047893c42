"""What people see of those who follow us: their names, in receipts and in figures."""

from __future__ import annotations

from datetime import timedelta

from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Person
from app.lifecycle import figures
from app.revocation import receipts
from app.signals import receivers
from tests.company import ADMIN
from tests.unit.signals.listening import PUSH, deliver, listens
from tests.unit.signals.stage import Stage

MINUTE = timedelta(minutes=1)


def shown(stage: Stage) -> list[tuple[str, str, int]]:
    with reading() as session:
        found = figures.take(session, stage.organization_id, at=now(), overdue_after=MINUTE)
    return [(one.id, one.name, one.times.to_shut.count) for one in found.targets if one.kind == "signal stream"]


def test_a_receipt_calls_a_stream_by_its_receivers_name_also_when_it_is_gone(stage: Stage) -> None:
    listener = listens(stage, "night watch")
    listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    stage.company.says(mara, active=False, at=now())
    deliver(stage)
    in_transaction(lambda session: receivers.end(session, stage.organization_id, "night watch", actor=ADMIN, at=now()))

    with reading() as session:
        person = session.get_one(Person, (stage.organization_id, mara.person_id))
        receipt = receipts.compose(session, (stage.organization_id, "Clinic"), person, events={}, at=now())

    places = [(one["place"], one["kind"]) for one in receipt["departures"][0]["targets"]]
    assert ("night watch", "signal stream") in places


def test_figures_show_a_stream_by_name_with_its_times(stage: Stage) -> None:
    stream_id = listens(stage, "night watch").sets_up(delivery=PUSH)
    stage.company.says(stage.joins("mara"), active=False, at=now())
    deliver(stage)

    assert shown(stage) == [(stream_id, "night watch", 1)]


def test_figures_show_one_stream_where_a_receiver_set_up_another_before(stage: Stage) -> None:
    listener = listens(stage, "night watch")
    first = listener.sets_up(delivery=PUSH)
    listener.asks("DELETE", "", stream_id=first)
    second = listener.sets_up(delivery=PUSH)

    assert shown(stage) == [(second, "night watch", 0)]


def test_a_departure_that_a_stream_has_not_taken_is_overdue_under_its_name(stage: Stage) -> None:
    listener = listens(stage, "night watch")
    stream_id = listener.sets_up(delivery=PUSH)
    listener.answers = (503, "")
    stage.company.says(stage.joins("mara"), active=False, at=now())
    deliver(stage)

    with reading() as session:
        found = figures.take(session, stage.organization_id, at=now() + 2 * MINUTE, overdue_after=MINUTE)

    assert [(one.name, one.overdue) for one in found.targets if one.id == stream_id] == [("night watch", 1)]
