"""A restored backup, at the command line: it starts closed, says what it cannot know, and opens only once that was said again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, update
from sqlalchemy.orm import Session

from app.access import keys
from app.access.closed_tables import Installation
from app.access.keys import Purpose
from app.access.tables import BearerToken
from app.audit import notes
from app.audit.notes import Checkpoint
from app.audit.tree_tables import AuditTree
from app.clock import now
from app.commands import housekeeping
from app.database import db
from app.directory.tables import Person
from app.intake.hr_tables import HRSystem
from app.settings import from_environment
from tests.servers.postgres import DatabaseName, Postgres
from tests.unit.commands.conftest import Desk
from tests.unit.commands.pushing import Pusher


def beats(desk: Desk) -> None:
    """A worker that runs on this machine."""
    housekeeping.beat(desk.app)


def restore(desk: Desk, *, generation: int = 0) -> None:
    """The database as it was before most of that."""
    desk.acts(lambda session: session.execute(update(Installation).values(generation=generation)))


def is_closed(desk: Desk) -> bool:
    return desk.asks("status")["closed"] is not None


def test_a_restored_database_is_closed_by_itself_and_everybody_is_told(desk: Desk) -> None:
    for _ in range(3):
        beats(desk)
    assert not is_closed(desk)

    restore(desk)

    assert is_closed(desk), "before any worker has looked"
    beats(desk)
    assert is_closed(desk)
    assert [one["kind"] for one in desk.asks("alarms", "list")["alarms"]] == ["database_restored"]
    assert desk.types("doctor").exit == 1


def test_init_says_how_to_go_on_where_a_backup_was_restored(desk: Desk) -> None:
    new = desk.types("init")
    desk.directory()
    beats(desk)
    used = desk.types("init")
    restore(desk)

    said = desk.types("init")

    assert "Next: doorlist source add" in new.err and "Next" not in used.err
    assert "It is closed" in said.err and "doorlist doctor --restored;" in said.err and "source add" not in said.err


def copied(desk: Desk, request: pytest.FixtureRequest) -> str:
    """A backup of the database as it is now, as a database of its own; returns its URL."""
    with desk.app.app_context():
        db.engine.dispose()
    url = desk.environment["DATABASE_URL"]
    if not url.startswith("sqlite"):
        server: Postgres = request.getfixturevalue("postgres")
        return server.database(like=DatabaseName(str(make_url(url).database)))
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as running, closing(sqlite3.connect(desk.folder / "backup")) as backup:
        running.backup(backup)
    return f"sqlite:///{desk.folder / 'backup'}"


def test_a_real_backup_put_in_the_databases_place_is_closed(desk: Desk, request: pytest.FixtureRequest) -> None:
    beats(desk)
    backup = copied(desk, request)
    beats(desk)
    assert not is_closed(desk)

    desk.environment["DATABASE_URL"] = backup

    assert is_closed(desk)


def test_the_way_back_ends_what_was_issued_and_waits_for_each_source(desk: Desk) -> None:
    source = desk.directory()
    ada = desk.hires(source, "ada")
    beats(desk)
    restore(desk)

    # Whether it was found or not, the order of things is kept.
    early = desk.types("doctor", "--restored", "--sources-read")
    said = desk.asks("doctor", "--restored")
    silent = desk.types("doctor", "--restored", "--sources-read", "--json")

    assert early.exit == 1 and "doctor --restored" in early.err
    assert [(one["people"], one["organization"]) for one in said["ended"]] == [(1, "Acme")]
    assert [(one["name"], one["since_closed"]) for one in said["sources"]] == [("okta", False)]
    assert silent.exit == 1 and "okta (scim)" in silent.json["error"] and is_closed(desk)
    assert desk.acts(lambda session: session.scalars(select(Person).where(Person.id == ada)).one()).access_epoch > 1_000_000

    opened = desk.asks("doctor", "--restored", "--sources-read", "--anyway")
    assert "okta" in opened["because"] and not is_closed(desk)
    beats(desk)
    assert not is_closed(desk) and desk.asks("alarms", "list")["alarms"] == []


def test_a_source_that_spoke_since_is_believed_to_have_said_who_left(desk: Desk) -> None:
    desk.directory()
    desk.asks("doctor", "--restored")

    # When a token was used is written behind the answer; here it is not waited for.
    desk.acts(lambda session: session.execute(update(BearerToken).values(last_used_at=now())))

    assert desk.types("doctor", "--restored", "--sources-read").exit == 0
    again = desk.asks("doctor", "--restored", "--sources-read")
    assert (again["closed"], again["because"]) == (False, None), "it is open already"


@pytest.mark.parametrize("token", [None, "dl_wrong"])
def test_a_push_counts_also_where_the_use_of_its_token_was_noted_a_moment_before(desk: Desk, pusher: Pusher, token: str | None) -> None:
    pusher.sends("GET", "/Users?count=1")
    desk.acts(lambda session: session.execute(update(BearerToken).values(last_used_at=now())))
    desk.asks("doctor", "--restored")

    pusher.sends("GET", "/Users?count=1", token=token)

    assert desk.types("doctor", "--restored", "--sources-read").exit == (0 if token is None else 1)


def test_a_directory_that_is_pulled_has_spoken_once_all_of_it_was_read_since(desk: Desk, tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("id,userName\nada,ada@acme.example\n")
    desk.asks("source", "add", "csv", "list", "--file", str(people))
    desk.asks("source", "pull", "list", "--full")
    desk.asks("doctor", "--restored")

    silent = desk.types("doctor", "--restored", "--sources-read", "--json")
    desk.asks("source", "pull", "list", "--full")
    opened = desk.asks("doctor", "--restored", "--sources-read")

    assert silent.exit == 1 and "list (csv)" in silent.json["error"] and silent.json["sources"][0]["last"] is not None
    assert [(one["name"], one["since_closed"]) for one in opened["sources"]] == [("list", True)] and not is_closed(desk)


@pytest.mark.parametrize("error", [None, "2 records could not be read"])
def test_an_hr_system_that_is_polled_has_spoken_once_every_record_was_read_since(desk: Desk, error: str | None) -> None:
    desk.asks("source", "add", "hr", "people", "--description", "bamboohr", "--set", "company=acme")
    desk.asks("doctor", "--restored")

    # Nobody had news: so nothing is kept as a call would be.
    desk.acts(lambda session: session.execute(update(HRSystem).values(polled_at=now(), last_error=error)))

    assert desk.types("doctor", "--restored", "--sources-read").exit == (0 if error is None else 1)


def test_where_nothing_was_restored_it_opens_and_nobody_signs_in_anew(desk: Desk) -> None:
    ada = desk.hires(desk.directory(), "ada")
    beats(desk)
    restore(desk)
    beats(desk)

    desk.asks("doctor", "--not-restored")

    assert not is_closed(desk)
    assert desk.acts(lambda session: session.scalars(select(Person).where(Person.id == ada)).one()).access_epoch == 1


@pytest.mark.parametrize("options", [["--restored"], ["--restored", "--sources-read"], ["--not-restored"]])
def test_no_operator_can_do_this_to_the_whole_installation(desk: Desk, options: list[str]) -> None:
    token = desk.asks("operator", "add", "ana", "--role", "owner")["token"]

    assert desk.types("doctor", *options, token=token).exit == 4


@pytest.mark.parametrize(
    "options",
    [["--sources-read"], ["--anyway"], ["--restored", "--not-restored"], ["--restored", "--anyway"], ["--restored", "--keys", __file__],
     ["--keys", __file__], ["--restored", "--sources-read", "--checkpoint", __file__]],
)  # fmt: skip
def test_options_that_make_no_sense_together_do_nothing(desk: Desk, options: list[str]) -> None:
    assert desk.types("doctor", *options).exit == 2
    assert not is_closed(desk)


def signed(desk: Desk, *, size: int, root: bytes = b"r" * 32) -> str:
    """A published checkpoint of this installation's audit at that size, in a file."""
    organization_id, settings = desk.organization_id, from_environment(desk.environment)

    def act(session: Session) -> str:
        keys.ensure_keys(session, settings, at=now())
        signer = keys.signer(session, settings, Purpose.EVIDENCE, at=now())
        tree = session.get(AuditTree, organization_id)
        if tree is None:
            tree = AuditTree(organization_id=organization_id, origin=notes.origin_of("https://d.example", organization_id), sequenced_at=now(), frontier=[])
            session.add(tree)
            session.flush()
        return notes.signed(Checkpoint(origin=tree.origin, size=size, root=root), signer)

    return desk.file("checkpoint", desk.acts(act))


def test_a_published_checkpoint_says_how_many_entries_the_backup_has_lost(desk: Desk) -> None:
    said = desk.asks("doctor", "--restored", "--checkpoint", signed(desk, size=40))["checkpoint"]

    assert (said["signed"], said["present"], said["missing"], said["altered"]) == (40, 0, 40, False)


def test_a_checkpoint_of_somebody_else_or_with_a_byte_changed_is_refused_before_anything_is_done(desk: Desk) -> None:
    file = Path(signed(desk, size=40))
    file.write_text(file.read_text().replace("\n40\n", "\n41\n"))

    said = desk.types("doctor", "--restored", "--checkpoint", str(file))

    assert said.exit == 1 and not is_closed(desk)


def test_what_counts_as_it_did_then_is_said(desk: Desk) -> None:
    desk.asks("client", "add", "chat", "--redirect-uri", "https://chat.example/in")

    said = desk.asks("doctor", "--restored")

    assert said["counted"] == [{"organization": "Acme", "kind": "application", "name": "chat"}]


@pytest.mark.parametrize("content", [b"no keys", b'{"keys": []}', b"\xff\xfe", b"[1]"])
def test_keys_that_cannot_be_read_are_refused_in_a_sentence_before_anything_is_done(desk: Desk, content: bytes) -> None:
    keys_file = desk.folder / "keys.json"
    keys_file.write_bytes(content)

    said = desk.types("doctor", "--restored", "--checkpoint", signed(desk, size=40), "--keys", str(keys_file))

    assert said.exit == 2 and f"{keys_file}: the file of keys" in said.err and "Traceback" not in said.err
    assert not is_closed(desk)


def test_a_checkpoint_that_a_withdrawn_key_signed_is_only_taken_where_that_is_meant(desk: Desk) -> None:
    file, public = signed(desk, size=40), desk.file("keys.json", desk.types("keys", "export", "--json").out)
    desk.asks("keys", "rotate", "evidence", "--at-once")

    refused = desk.types("doctor", "--restored", "--checkpoint", file)
    closed = is_closed(desk)

    assert refused.exit == 1 and "no key that is trusted" in refused.err and not closed
    assert desk.asks("doctor", "--restored", "--checkpoint", file, "--keys", public)["checkpoint"]["missing"] == 40


def test_a_checkpoint_that_is_no_text_is_refused_in_a_sentence(desk: Desk) -> None:
    file = desk.folder / "checkpoint"
    file.write_bytes(b"\xff\xfe\x00")

    said = desk.types("doctor", "--restored", "--checkpoint", str(file))

    assert said.exit == 1 and str(file) in said.err and "Traceback" not in said.err
    assert not is_closed(desk)


def test_a_tree_with_a_hole_is_said_to_be_altered_and_everything_is_ended_all_the_same(desk: Desk) -> None:
    file = signed(desk, size=2)
    desk.acts(lambda session: session.execute(update(AuditTree).values(size=3)))

    said = desk.asks("doctor", "--restored", "--checkpoint", file)

    assert said["checkpoint"]["altered"] and "was altered" in said["checkpoint"]["sentence"]
    assert is_closed(desk)
