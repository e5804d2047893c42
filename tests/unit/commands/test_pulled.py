"""A directory that is pulled, from the command line: connected, tried, pulled, held, approved, undone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.exits import Exit
from app.database import new_id
from app.directory.tables import Source
from app.intake import pull_state, pulling
from tests.unit.commands.conftest import Desk

pytestmark = pytest.mark.slow

NAMES = [f"p{number:02}" for number in range(40)]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return write(tmp_path / "people.csv", NAMES)


def write(file: Path, names: Sequence[str]) -> Path:
    file.write_text("".join(["id,userName,displayName,email\n", *(f"{name},{name}@acme.example,{name.upper()},{name}@acme.example\n" for name in names)]))
    return file


@pytest.fixture
def corp(desk: Desk, people: Path) -> Desk:
    """Forty people, pulled from a list."""
    desk.asks("settings", "set", "gone_after", "0s")
    desk.asks("source", "add", "csv", "list", "--file", str(people))
    done = desk.asks("source", "pull", "list", "--full")
    assert done["joined"] == 40 and done["run"] == 1
    return desk


def test_a_source_is_tried_step_by_step_before_anything_is_read(desk: Desk, people: Path) -> None:
    desk.asks("source", "add", "csv", "list", "--file", str(people), "--every", "5m")

    tried = desk.asks("source", "test", "list")

    assert tried["good"] and tried["people"] == 40 and tried["every"] == "5m" and tried["pulled_at"] is None
    assert [step["good"] for step in tried["steps"]] == [True] * len(tried["steps"])


def test_the_step_that_fails_is_named(desk: Desk, tmp_path: Path) -> None:
    desk.asks("source", "add", "csv", "list", "--file", str(tmp_path / "nowhere.csv"))

    said = desk.types("source", "test", "list", "--json")

    assert said.exit == Exit.UNREACHABLE
    assert [step["good"] for step in said.json["steps"]][-1] is False and "nowhere.csv" in said.json["steps"][-1]["detail"]


def test_what_cannot_be_right_is_said_when_it_is_added(desk: Desk, people: Path) -> None:
    said = desk.types("source", "add", "csv", "list", "--file", str(people), "--option", "colour=red", "--json")

    assert said.exit == Exit.ERROR and "colour" in said.json["error"]
    assert desk.types("source", "test", "list").exit == Exit.ERROR


def test_a_path_is_the_one_that_it_was_where_it_was_typed(desk: Desk, people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker was started elsewhere."""
    folder = people.parent
    monkeypatch.chdir(folder)

    added = desk.asks("source", "add", "csv", "list", "--url", people.name)
    changed = desk.asks("source", "set", "list", "--url", "./others.csv")
    office = ("source", "add", "ldap", "office", "--url", "ldaps://ldap.example", "--bind-dn", "cn=reader", "--base", "dc=acme")
    asked = desk.asks(*office, "--password-file", desk.file("password", "hunter2-hunter2\n"), "--option", "ca_file=old.pem")
    trusted = desk.asks("source", "set", "office", "--option", "ca_file=new.pem")

    assert (added["url"], changed["url"]) == (str(people), str(folder / "others.csv"))
    assert (asked["options"]["ca_file"], trusted["options"]["ca_file"]) == (str(folder / "old.pem"), str(folder / "new.pem"))


def test_a_link_is_followed_to_wherever_it_leads_when_it_is_read(desk: Desk, people: Path) -> None:
    """Many exports write a new file each day, and let a link lead there."""
    link = people.parent / "current.csv"
    link.symlink_to(people)
    desk.asks("source", "add", "csv", "list", "--file", str(link))
    today = desk.asks("source", "pull", "list")["joined"]

    link.unlink()
    link.symlink_to(write(people.parent / "tomorrow.csv", [*NAMES, "zoe"]))

    assert (today, desk.asks("source", "pull", "list")["joined"]) == (40, 1)


def test_a_dry_run_says_what_a_pull_would_do_and_does_nothing(desk: Desk, people: Path) -> None:
    desk.asks("source", "add", "csv", "list", "--file", str(people))

    first, second = (desk.asks("source", "pull", "list", "--dry-run") for _ in range(2))

    assert first["run"] is None and first["joined"] == 40 and second["joined"] == 40
    assert desk.asks("run", "list")["runs"] == []


def test_who_pulls_while_the_worker_asks_again_waits_for_it(desk: Desk, people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source_id = str(desk.asks("source", "add", "csv", "list", "--file", str(people))["id"])
    organization_id, worker = desk.organization_id, new_id()

    def claim(session: Session) -> None:
        pull_state.claim(session, session.get_one(Source, (organization_id, source_id)), by=worker, at=now(), turn=False)

    def give_back(session: Session) -> None:
        state = pull_state.claimed(session, organization_id, source_id, by=worker)
        assert state is not None
        pull_state.give_back(state)

    desk.acts(claim)
    monkeypatch.setattr(pulling, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: desk.acts(give_back)))

    said = desk.types("source", "pull", "list", "--json")

    assert said.exit == Exit.DONE and said.json["joined"] == 40
    assert "list is in somebody else's hands: waiting" in said.err


def test_a_password_is_in_a_file_and_never_shown(desk: Desk) -> None:
    secret = desk.file("password", "hunter2-hunter2\n")
    added = desk.types(
        "source", "add", "ldap", "office", "--url", "ldaps://127.0.0.1:9", "--bind-dn", "cn=reader", "--password-file", secret, "--base", "dc=acme", "--json"
    )

    assert added.exit == Exit.DONE and "hunter2" not in added.out + added.err
    said = desk.types("source", "test", "office", "--json")
    assert said.exit == Exit.UNREACHABLE and "hunter2" not in said.out + said.err


def test_too_many_leavers_are_held_approved_by_digest_and_undone(corp: Desk, people: Path) -> None:
    write(people, NAMES[:10])

    said = corp.types("source", "pull", "list", "--full", "--json")

    assert said.exit == Exit.HELD
    held = said.json["held"]
    assert held["would_lose_access"] == 30 and held["reason"]
    shown = corp.asks("held", "show", held["digest"])
    assert {line["person"] for line in shown["lines"]} == {f"{name}@acme.example" for name in NAMES[10:]}
    approved = corp.asks("held", "approve", held["digest"])
    assert approved["people"] == 30 and standing(corp) == {"active": 10, "departed": 30}

    undone = corp.asks("run", "undo", str(approved["run"]))

    assert undone["people"] == 30 and undone["moved_on"] == [] and standing(corp) == {"active": 40}
    again = corp.asks("source", "pull", "list", "--full")
    assert again["left"] == 0 and again["held"] is None and standing(corp) == {"active": 40}
    assert corp.types("run", "undo", str(approved["run"])).exit == Exit.ERROR


def test_an_empty_list_takes_nobody_and_cannot_be_approved(corp: Desk, people: Path) -> None:
    write(people, [])

    said = corp.types("source", "pull", "list", "--full", "--json")

    assert said.exit == Exit.HELD and said.json["held"]["would_lose_access"] == 40
    assert corp.types("held", "approve", said.json["held"]["digest"]).exit == Exit.ERROR
    assert standing(corp) == {"active": 40}
    write(people, NAMES)
    assert corp.asks("source", "pull", "list", "--full")["held"] is None
    assert corp.asks("held", "list")["held"] == []


def test_what_could_not_be_read_is_listed_with_everybody_whom_it_is_about(corp: Desk, people: Path) -> None:
    write(people, [])
    said = corp.types("source", "pull", "list", "--full")

    [unreadable] = corp.asks("held", "list")["held"]
    assert (unreadable["kind"], unreadable["source"], unreadable["people"]) == ("pull", "list", 40)
    shown = corp.asks("held", "show", unreadable["digest"])
    assert shown["people"] == 40 and shown["lines"] == [] and shown["reason"] == unreadable["reason"]
    assert said.err.count(unreadable["reason"]) == 1

    write(people, NAMES[:10])
    corp.types("source", "pull", "list", "--full")

    [lines] = corp.asks("held", "list")["held"]
    assert lines["people"] == 30 and lines["digest"] != unreadable["digest"]


def test_some_of_what_is_held_passes_and_the_rest_is_rejected_for_good(corp: Desk, people: Path) -> None:
    write(people, NAMES[:10])
    digest = corp.types("source", "pull", "list", "--full", "--json").json["held"]["digest"]

    passed = corp.asks("held", "pass", digest, f"{NAMES[39]}@acme.example")

    assert passed["people"] == 1 and passed["left"] not in (None, digest) and standing(corp) == {"active": 39, "departed": 1}
    assert corp.asks("held", "reject", passed["left"])["people"] == 29
    again = corp.asks("source", "pull", "list", "--full")
    assert again["held"] is None and again["left"] == 0 and standing(corp) == {"active": 39, "departed": 1}


def test_where_two_have_to_approve_one_is_not_enough(corp: Desk, people: Path) -> None:
    corp.asks("settings", "set", "approvals", "2")
    tokens = [corp.asks("operator", "add", name, "--role", "admin")["token"] for name in ("ben", "eve")]
    write(people, NAMES[:10])
    digest = corp.types("source", "pull", "list", "--full", "--json").json["held"]["digest"]

    first = corp.asks("held", "approve", digest, token=tokens[0])
    twice = corp.asks("held", "approve", digest, token=tokens[0])

    assert (first["left"], first["still_held"]) == (digest, 30)
    assert first["state"] == twice["state"] == "seconded" and standing(corp) == {"active": 40}
    assert corp.asks("held", "approve", digest, token=tokens[1])["people"] == 30
    assert standing(corp) == {"active": 10, "departed": 30}


def test_runs_are_listed_and_shown_with_what_they_took(corp: Desk, people: Path) -> None:
    write(people, NAMES[:38])
    corp.asks("source", "pull", "list", "--full")
    pulled = corp.asks("source", "pull", "list", "--full")
    taken = corp.asks("run", "list")["runs"]

    assert [run["run"] for run in taken] == sorted((run["run"] for run in taken), reverse=True)
    left = next(run for run in taken if run["left"] == 2)
    lines = corp.asks("run", "show", str(left["run"]))["lines"]
    assert {line["person"] for line in lines} == {f"{name}@acme.example" for name in NAMES[38:]} and pulled["left"] in (0, 2)


def test_whom_a_pull_gave_an_end_is_not_shown_to_helpdesk(corp: Desk, people: Path) -> None:
    ends_at = iso(now() + timedelta(days=2))
    rows = people.read_text(encoding="utf-8").splitlines()
    people.write_text("\n".join([f"{rows[0]},endsAt", f"{rows[1]},{ends_at}", *(f"{row}," for row in rows[2:]), ""]), encoding="utf-8")
    number = str(corp.asks("source", "pull", "list")["run"])
    desk = str(corp.asks("operator", "add", "desk", "--role", "helpdesk")["token"])

    shown = corp.asks("run", "show", number)["lines"]

    assert [(line["took"], line["person"]) for line in shown] == [("ends", f"{NAMES[0]}@acme.example")]
    assert corp.asks("run", "show", number, token=desk)["lines"] == []


def test_a_last_day_that_a_directory_names_is_announced_but_not_to_helpdesk(corp: Desk, people: Path) -> None:
    ends_at = iso(now() + timedelta(days=20))
    rows = people.read_text(encoding="utf-8").splitlines()
    people.write_text("\n".join([f"{rows[0]},endsAt", f"{rows[1]},{ends_at}", *(f"{row}," for row in rows[2:]), ""]), encoding="utf-8")
    corp.asks("source", "pull", "list")
    helpdesk = str(corp.asks("operator", "add", "desk", "--role", "helpdesk")["token"])

    announced = [corp.asks("receipt", f"{name}@acme.example")["announced"] for name in NAMES[:2]]

    assert announced == [[{"voice": "directory", "said_by": "list", "kind": "leaves", "effective_at": ends_at, "held": False}], []]
    assert f"directory list says: leaves at {ends_at}." in corp.types("receipt", f"{NAMES[0]}@acme.example").err
    assert corp.asks("receipt", f"{NAMES[0]}@acme.example", token=helpdesk)["announced"] == []
    corp.asks("settings", "set", "leaving_voice", "hr")
    assert [one["kind"] for one in corp.asks("receipt", f"{NAMES[0]}@acme.example")["announced"]] == ["pauses"]


def test_a_source_is_changed_and_its_lag_is_shown(corp: Desk) -> None:
    corp.asks("source", "set", "list", "--every", "off", "--rank", "5")

    one = next(source for source in corp.asks("source", "list")["sources"] if source["name"] == "list")

    assert one["every"] == "off" and one["rank"] == 5 and one["pulled_at"] is not None and one["lag_seconds"] >= 0


def standing(desk: Desk) -> dict[str, int]:
    from collections import Counter

    from sqlalchemy import select

    from app.directory.tables import Person

    return dict(Counter(desk.acts(lambda session: list(session.scalars(select(Person.standing))))))
