"""A database that was put back to an older state is closed by that alone, and by nothing that happens in ordinary life."""

import os
import stat
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import update

from app import database
from app.access import closed
from app.access.closed import Kept, generation_file, is_closed, keep, look, look_again, move_on, open_doors, read_kept, shut_doors
from app.access.closed_tables import Installation
from app.clock import now
from app.database import db, in_transaction, reading
from app.settings import Settings
from tests.company import NOW, later, new_company


def settings_of(app: Flask) -> Settings:
    settings: Settings = app.config["DOORLIST"]
    return settings


def beats(app: Flask, at: datetime = NOW) -> Kept | str | None:
    """One step of a worker on this machine."""
    moved = in_transaction(lambda session: move_on(session, settings_of(app), at=at))
    if isinstance(moved, Kept):
        keep(settings_of(app), moved)
    look_again()
    return moved


def why(app: Flask, at: datetime = NOW) -> str | None:
    with reading() as session:
        return look(session, settings_of(app), at=at)


def restore(generation: int, **columns: object) -> None:
    """The database as it was then."""
    in_transaction(lambda session: session.execute(update(Installation).values(generation=generation, **columns)))
    look_again()


def another_machine(app: Flask, folder: Path) -> Settings:
    return replace(settings_of(app), home=folder)


def test_a_new_installation_is_open_and_stays_so_over_restarts(installed: Flask) -> None:
    assert why(installed) is None
    for second in range(3):
        beats(installed, later(second))
    assert why(installed) is None
    assert why(installed, at=NOW + timedelta(days=400)) is None, "a machine that was off for a year is no restored one"


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_one_user_of_this_machine_keeps_another_reads_and_nobody_else_writes(installed: Flask, umask: int) -> None:
    """An administrator opens it, whose umask is theirs, and the service goes on as a user of its own."""
    before = os.umask(umask)
    try:
        beats(installed)
    finally:
        os.umask(before)

    assert stat.S_IMODE(generation_file(settings_of(installed)).stat().st_mode) == 0o644


def test_an_older_state_of_the_database_is_closed_before_anybody_has_looked(installed: Flask) -> None:
    for second in range(5):
        beats(installed, later(second))

    restore(generation=2, moved_at=later(1))

    with reading() as session:
        assert is_closed(session)


def test_a_step_that_is_taken_while_somebody_looks_closes_nothing(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    beats(installed)

    def read_after_a_step(settings: Settings) -> Kept | None:
        monkeypatch.setattr(closed, "read_kept", read_kept)
        beats(installed, later(5))
        return read_kept(settings)

    monkeypatch.setattr(closed, "read_kept", read_after_a_step)

    assert why(installed) is None


def test_a_transaction_that_began_before_a_step_closes_nothing(installed: Flask) -> None:
    beats(installed)
    with reading() as session:
        session.get_one(Installation, closed.ONLY)
        beats(installed, later(5))

        assert not is_closed(session)


def test_two_threads_may_keep_at_once(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = beats(installed)
    assert isinstance(moved, Kept)
    settings, waited_for = settings_of(installed), os.fsync

    def keep_once_more(file: int) -> None:
        monkeypatch.setattr(os, "fsync", waited_for)
        other = threading.Thread(target=keep, args=(settings, moved))
        other.start()
        other.join()
        waited_for(file)

    monkeypatch.setattr(os, "fsync", keep_once_more)
    keep(settings, moved)

    assert read_kept(settings) == moved
    assert [one.name for one in generation_file(settings).parent.glob("generation*")] == ["generation"], "nothing is left over"


def test_once_it_was_found_it_stays_closed_for_every_machine_until_it_is_opened(installed: Flask, tmp_path: Path) -> None:
    for second in range(5):
        beats(installed, later(second))
    restore(generation=2, moved_at=later(1))

    assert isinstance(beats(installed, later(60)), str)
    other = another_machine(installed, tmp_path / "other")
    with reading() as session:
        assert look(session, other, at=later(61)) is not None
    assert beats(installed, later(120)) is None and why(installed) is not None, "time opens nothing"
    assert read_kept(settings_of(installed)) is not None


def test_what_was_kept_is_not_lowered_while_it_is_closed(installed: Flask) -> None:
    for second in range(5):
        beats(installed, later(second))
    before = read_kept(settings_of(installed))
    restore(generation=2)

    beats(installed, later(60))

    assert read_kept(settings_of(installed)) == before


def test_after_it_was_opened_it_is_open_also_where_more_was_kept(installed: Flask, tmp_path: Path) -> None:
    for second in range(5):
        beats(installed, later(second))
    other = another_machine(installed, tmp_path / "other")
    kept = read_kept(settings_of(installed))
    assert kept is not None
    keep(other, replace(kept, generation=kept.generation + 1000))
    restore(generation=2)
    beats(installed, later(60))

    keep(settings_of(installed), in_transaction(lambda session: open_doors(session, settings_of(installed), at=later(90))))

    assert why(installed) is None
    with reading() as session:
        assert look(session, other, at=later(90)) is None


def test_a_backup_of_after_an_opening_is_found_as_well(installed: Flask) -> None:
    opened = in_transaction(lambda session: open_doors(session, settings_of(installed), at=NOW))
    keep(settings_of(installed), opened)
    for second in range(3):
        beats(installed, later(second))

    restore(generation=opened.generation + 1)

    assert why(installed) is not None


def test_a_machine_that_joins_others_at_work_is_let_in(installed: Flask, tmp_path: Path) -> None:
    beats(installed)

    other = another_machine(installed, tmp_path / "other")

    with reading() as session:
        assert look(session, other, at=later(60)) is None


def test_a_database_that_nobody_here_knows_and_that_stood_still_is_closed(installed: Flask, tmp_path: Path) -> None:
    beats(installed)

    other = another_machine(installed, tmp_path / "other")

    with reading() as session:
        assert look(session, other, at=NOW + timedelta(hours=1)) is not None


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), timedelta(minutes=-6)], ids=["ahead", "behind"])
def test_a_machine_with_another_time_joins_others_at_work_and_no_database_that_stood_still(
    installed: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("a file is on one machine, which has one clock")
    beats(installed, now())
    installed.config["DOORLIST"] = another_machine(installed, tmp_path / "other")
    monkeypatch.setattr(database, "now", lambda: now() + ahead)

    with reading() as session:
        at_work = look(session, settings_of(installed), at=now() + ahead)
    joined = beats(installed, now() + ahead)
    generation_file(settings_of(installed)).unlink()
    in_transaction(lambda session: session.execute(update(Installation).values(moved_at=now() - timedelta(minutes=6))))
    with reading() as session:
        stood_still = look(session, settings_of(installed), at=now() + ahead)

    assert at_work is None and isinstance(joined, Kept)
    assert stood_still is not None


def test_a_process_that_saw_it_alive_goes_on_while_all_workers_are_down(installed: Flask, tmp_path: Path) -> None:
    beats(installed, now())
    installed.config["DOORLIST"] = another_machine(installed, tmp_path / "web")
    with reading() as session:
        assert not is_closed(session)

    restore(generation=1, moved_at=now() - timedelta(hours=1))

    with reading() as session:
        assert not is_closed(session), "an hour without a worker is no restored backup"
    assert generation_file(settings_of(installed)).exists(), "and it is known here after a restart as well"


def test_a_process_notices_that_the_database_was_put_back_under_it_without_any_file(installed: Flask) -> None:
    for _ in range(3):
        beats(installed, now())
    with reading() as session:
        assert not is_closed(session)

    generation_file(settings_of(installed)).unlink()
    restore(generation=1)

    with reading() as session:
        assert is_closed(session)


def test_another_installations_database_is_closed_unless_it_is_empty(installed: Flask) -> None:
    beats(installed)
    restore(generation=1, marker="another")
    assert why(installed) is None, "made anew, nobody in it"

    new_company().joins("ada@x.example", "E-1")

    assert why(installed) is not None


@pytest.mark.parametrize("text", ["", "x", "a b", "a 1 2", "a -1"])
def test_what_was_kept_and_makes_no_sense_closes(installed: Flask, text: str) -> None:
    beats(installed)
    generation_file(settings_of(installed)).write_text(text)

    assert why(installed) is not None


def test_it_is_kept_where_the_setting_says(installed: Flask, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere" / "generation"
    installed.config["DOORLIST"] = replace(settings_of(installed), generation_file=place)

    beats(installed)

    assert place.exists()


def test_asking_reads_the_database_once_a_second(installed: Flask) -> None:
    with reading() as session:
        assert not is_closed(session)
    in_transaction(lambda session: shut_doors(session, because="a drill", at=NOW))

    with reading() as session:
        assert not is_closed(session), "seen a moment ago"
        look_again()
        assert is_closed(session)
        assert closed.why_closed(session) == "a drill"
