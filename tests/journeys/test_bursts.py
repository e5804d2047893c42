"""A directory switches hundreds off and HR revokes as many at once: the first of each are out, and one named person lets the rest go.

Against Doorlist as it is served and a real Synapse. In the middle an operator has people leave, some are called back, and the server is killed.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import select

from app.database import new_id, reading
from app.directory.tables import Standing
from app.lifecycle.tables import Held, HeldState
from tests.journeys.bursting import (
    CLIENTS,
    HR,
    OKTA,
    OPERATOR,
    PATIENCE,
    House,
    Leaver,
    Size,
    answered,
    burst,
    company,
    leavers_of,
)
from tests.journeys.chat_tree import ChatAdmin
from tests.journeys.stage import say
from tests.journeys.watching import Watch, has_access
from tests.servers.synapse import Synapse
from tests.waiting import until

pytestmark = pytest.mark.synapse

SMALL: Final = Size(pushed=100, called=50, seconds=4.0, most=4, signed_in=2)
FULL: Final = Size(pushed=2_000, called=1_000, seconds=55.0, most=50, signed_in=60)


def show(folder: Path, synapse: Synapse, database_url: str, size: Size) -> dict[str, Any]:
    """Returns the figures."""
    tag = new_id()[-6:]
    leavers = leavers_of(size, tag)
    # One who is in no burst, and one whom the brake holds by then.
    bystander, held_one = Leaver(name=f"{tag}-operator-0", source=OPERATOR, number=0), leavers[size.most + 2 * CLIENTS[OKTA]]
    everybody = [*leavers, bystander]
    with company(folder, synapse, database_url, everybody, size=size, tag=tag) as house:
        watch = Watch(synapse, tag, everybody)
        with watch.watching():
            return _shown(house, watch, size, leavers, bystander, held_one)


def _shown(house: House, watch: Watch, size: Size, leavers: list[Leaver], bystander: Leaver, held_one: Leaver) -> dict[str, Any]:
    began = time.monotonic()
    with burst(house, leavers, seconds=size.seconds):
        assert until(lambda: answered(leavers) >= len(leavers) // 4, within=PATIENCE), answered(leavers)
        assert held_one.answered is not None and watch.out(held_one) is None
        for one in (bystander, held_one):
            house.depart(one)
        assert until(lambda: answered(leavers) >= len(leavers) // 2, within=PATIENCE), answered(leavers)
        house.kill()
        house.serve()
    figures: dict[str, Any] = {"calls": len(leavers), "seconds_to_answer": round(time.monotonic() - began, 1), "unanswered": house.unanswered}
    house.settle()

    passed = the_first_are_out(house, watch, size, leavers, operators=[bystander, held_one])
    figures |= {f"ms_to_out_{source}": spread(watch, [one for one in passed if one.source == source]) for source in (OKTA, HR, OPERATOR)}
    held = the_rest_is_held(house, size, leavers)
    for burst_held in held:
        began = time.monotonic()
        decided = house.doorlist.program.json("held", "approve", burst_held["digest"])
        figures[f"seconds_to_release_{burst_held['source']}"] = round(time.monotonic() - began, 1)
        assert (decided["state"], decided["people"]) == ("approved", burst_held["people"])
    house.settle()
    figures["seconds_until_all_were_out"] = round(time.monotonic() - began, 1)
    all_are_as_was_said(house, leavers, operators=[bystander, held_one])
    return figures


def the_first_are_out(house: House, watch: Watch, size: Size, leavers: list[Leaver], *, operators: list[Leaver]) -> list[Leaver]:
    """Exactly as many as may pass, and whom operators had leave, in Synapse as here. Everybody else has what they had."""
    standing = house.standings()
    by_source = [one for one in leavers if one not in operators and standing[one.person_id] != Standing.ACTIVE]
    assert {source: sum(one.source == source for one in by_source) for source in (OKTA, HR)} == {OKTA: size.most, HR: size.most}
    assert {(one.source, standing[one.person_id]) for one in by_source} == {(OKTA, Standing.PAUSED), (HR, Standing.DEPARTED)}
    passed = [*by_source, *operators]
    assert until(lambda: all(watch.out(one) for one in passed)), [one.name for one in passed if not watch.out(one)]
    assert watch.closed.keys() == {one.account for one in passed}
    for one in (one for one in leavers if one.phone):
        assert has_access(house, one) == ((False, False) if one in passed else (True, True)), one.name
    # Whoever an operator had leave is told apart from their source's by the instant that is measured.
    return [*by_source, *(replace(one, source=OPERATOR) for one in operators)]


def the_rest_is_held(house: House, size: Size, leavers: list[Leaver]) -> list[dict[str, Any]]:
    """One thing for each source, with all whom it still says to be off, and an alarm about each."""
    waiting = {source: sum(one.source == source and not one.comes_back for one in leavers) - size.most for source in (OKTA, HR)}
    held: list[dict[str, Any]] = house.doorlist.json("held", "list")["held"]
    assert sorted((one["source"], one["kind"], one["people"]) for one in held) == sorted((source, "pushes", count) for source, count in waiting.items())
    assert all(re.fullmatch("[0-9a-f]{16}", one["digest"]) for one in held)
    assert house.doorlist.json("status")["held"] == sum(waiting.values())
    assert until(lambda: len(house.alarmed()) == len(waiting), within=30), house.alarmed()
    assert [sentence.partition(" ")[0] for sentence in house.alarmed()] == sorted(waiting)
    return held


def all_are_as_was_said(house: House, leavers: list[Leaver], *, operators: list[Leaver]) -> None:
    """Here, in Synapse, by their own phones, and in what an auditor is given."""
    wanted = {one.person_id: Standing.PAUSED if one.source == OKTA else Standing.DEPARTED for one in leavers}
    wanted |= {one.person_id: Standing.ACTIVE for one in leavers if one.comes_back} | {one.person_id: Standing.DEPARTED for one in operators}
    assert house.standings() == wanted
    everybody = {one.person_id: one for one in (*leavers, *operators)}
    gone = {one.account for one in everybody.values() if wanted[one.person_id] is not Standing.ACTIVE}
    closed = ChatAdmin(house.synapse.url, house.synapse.admin_token).closed_accounts()
    assert closed & {one.account for one in everybody.values()} == gone
    for one in (one for one in everybody.values() if one.phone):
        assert has_access(house, one) == ((True, True) if one.comes_back else (False, False)), one.name

    assert house.unproved() == 0
    assert house.doorlist.json("held", "list")["held"] == []
    status = house.doorlist.json("status")
    assert [status[name] for name in ("waiting", "parked", "halted", "held")] == [0, 0, 0, 0]
    assert until(lambda: house.alarmed() == [], within=30)
    with reading() as session:
        decided = session.execute(select(Held.state, Held.decided_by)).all()
    assert [(state, (by or "").partition(":")[0]) for state, by in decided] == [(HeldState.APPROVED, "host")] * 2
    an_auditor_finds_them(house, leavers, left=sum(standing is Standing.DEPARTED for standing in wanted.values()))


def an_auditor_finds_them(house: House, leavers: list[Leaver], *, left: int) -> None:
    called = [one for one in leavers if one.source == HR]
    today = datetime.now(UTC).date()
    report = house.doorlist.json("report", "terminations", "--from", str(today - timedelta(days=1)), "--to", str(today))
    assert (report["population"], report["removed"]) == (left, left)
    back = sum(one.comes_back for one in called)
    assert {name: report["hr"][name] for name in ("calls", "matched", "called_off")} == {"calls": len(called), "matched": len(called) - back, "called_off": back}
    for one in (next(one for one in reversed(leavers) if one.source == source and not one.comes_back) for source in (OKTA, HR)):
        [departure] = house.doorlist.json("receipt", one.name)["departures"]
        assert departure["means"] == (Standing.DEPARTED if one.source == HR else Standing.PAUSED)
        [place] = departure["workspaces"]
        assert (place["name"], place["shut_known"], place["gone_known"], place["closed"]) == ("chat", "re-read", "re-read", {"accounts": [one.account]})


def spread(watch: Watch, leavers: list[Leaver]) -> dict[str, int]:
    """How long after the answer they were out, in milliseconds; who was out before it, at once."""
    times = []
    for one in leavers:
        out = watch.out(one)
        assert out is not None and one.answered is not None
        times.append(round(1000 * max(0.0, out - one.answered)))
    times.sort()
    return {"p50": times[len(times) // 2], "p95": times[len(times) * 95 // 100], "max": times[-1]}


@pytest.mark.slow
def test_a_burst_is_held_behind_the_first_few_and_released_by_one_command(tmp_path: Path, synapse: Synapse, database_url: str) -> None:
    say(json.dumps(show(tmp_path, synapse, database_url, SMALL)))


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_two_thousand_deactivations_in_a_minute_and_a_thousand_calls_of_hr(tmp_path: Path, synapse: Synapse, database_url: str) -> None:
    figures = show(tmp_path, synapse, database_url, FULL)

    say(json.dumps(figures))
    assert figures["seconds_to_answer"] <= 60
    assert max(figures[f"ms_to_out_{source}"]["max"] for source in (OKTA, HR, OPERATOR)) <= 1_000
