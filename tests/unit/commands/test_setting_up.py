"""Setting up: init, sources, workspaces, operators and their roles, settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.access import tokens
from app.access.tables import Workspace
from app.clock import now
from app.database import reading
from app.directory.tables import Person
from app.journal.tables import Entry, Organization, Subject, Work
from app.lifecycle.operators import Role, add_operator
from app.lifecycle.sources import add_organization
from tests.company import ADMIN
from tests.unit.commands.conftest import Desk


@pytest.mark.empty
def test_init_may_be_run_again(bare_desk: Desk) -> None:
    first = bare_desk.asks("init", "--organization", "Acme")
    again = bare_desk.asks("init", "--organization", "Acme")

    assert first["schema"] == "doorlist.init/1"
    assert first["made"] is True and again["made"] is False
    assert first["organization"] == again["organization"]


@pytest.mark.parametrize("query", ["", "?password=hunter2", "?sslmode=prefer&sslpassword=hunter2"])
def test_init_shows_no_password_of_the_database(bare_desk: Desk, query: str) -> None:
    if query and bare_desk.environment["DATABASE_URL"].startswith("sqlite"):
        pytest.skip("SQLite takes none")
    bare_desk.environment["DATABASE_URL"] += query

    said = bare_desk.asks("init")

    assert "://" in said["database"]
    assert ":doorlist@" not in said["database"] and "hunter2" not in said["database"]


@pytest.mark.empty
@pytest.mark.parametrize("url", [None, "sqlite:///{}/other.db?timeout=3"])
def test_init_shows_the_file_by_its_path_as_it_is(bare_desk: Desk, url: str | None) -> None:
    home = bare_desk.folder / "Büro 1 (100%)"
    home.mkdir()
    bare_desk.environment = {"DOORLIST_HOME": str(home), **({"DATABASE_URL": url.format(home)} if url is not None else {})}

    said = bare_desk.asks("init")

    assert said["database"] == (url or "sqlite:///{}/doorlist.db").format(home)
    assert said["database"] in bare_desk.types("init").out


@pytest.mark.empty
def test_a_verb_before_init_says_what_to_do(bare_desk: Desk) -> None:
    said = bare_desk.types("status", "--json")

    assert said.exit == 1
    assert said.json == {
        "schema": "doorlist.error/1", "exit": 1, "error": "the database has no schema, or an older one: run 'doorlist init'",
    }  # fmt: skip


@pytest.mark.parametrize("typed", [("init",), ("status",), ("keys", "export"), ("serve",)])
def test_a_database_of_a_newer_doorlist_is_no_fault_and_nobody_is_sent_to_init(desk: Desk, typed: tuple[str, ...]) -> None:
    desk.acts(lambda session: session.execute(text("UPDATE alembic_version SET version_num = '9999'")))

    said = desk.types(*typed, "--json")

    assert said.exit == 1
    assert said.json["error"].startswith("the database has the schema 9999 of a newer Doorlist") and "init" not in said.json["error"]


def test_several_organisations_must_be_told_apart(desk: Desk) -> None:
    desk.asks("init", "--organization", "Globex")

    unclear = desk.types("status", "--json")
    named = desk.types("status", "--organization", "Globex", "--json")

    assert unclear.exit == 2
    assert unclear.json["organizations"] == ["Acme", "Globex"]
    assert named.json["organization"] == "Globex"


def test_the_environment_says_which_organisation_is_meant_where_the_command_does_not(desk: Desk) -> None:
    desk.asks("init", "--organization", "Globex")
    at_globex = replace(desk, environment={**desk.environment, "DOORLIST_ORGANIZATION": "Globex"})
    nowhere = replace(desk, environment={**desk.environment, "DOORLIST_ORGANIZATION": "Initech"})
    at_acme = desk.asks("operator", "add", "zoe", "--role", "admin", "--organization", "Acme")["token"]

    said = [at_globex.asks("status")["organization"], at_globex.asks("status", "--organization", "Acme")["organization"]]
    unknown = [nowhere.types("status", "--json"), at_globex.types("status", "--json", token=at_acme)]

    assert said == ["Globex", "Acme"]
    assert [(one.exit, one.json["error"]) for one in unknown] == [(1, "organisation Initech does not exist"), (4, "zoe is no operator of Globex")]


@pytest.mark.parametrize("name", ["", " ", "Acme\n\x1b[31mGlobex", "x" * 5000])
def test_no_organisation_gets_a_name_that_cannot_be_shown_or_typed(desk: Desk, name: str) -> None:
    said = desk.types("init", "--organization", name, "--json")

    assert said.exit == 2 and "is no name" in said.json["error"]
    assert desk.asks("status")["organization"] == "Acme", "it is still the only one"


def test_an_organisation_beside_others_is_pointed_out(desk: Desk) -> None:
    again = desk.types("init", "--organization", "Acme")
    second, third = (desk.types("init", "--organization", name) for name in ("Globex", "Init Ech"))

    assert "another organisation" not in again.err
    assert "Globex is another organisation, beside the one that was there before" in second.err
    assert "beside the 2 that were there before" in third.err and "--organization 'Init Ech'" in third.err


def test_an_odd_name_of_before_moves_no_cursor_and_is_found_by_itself(desk: Desk) -> None:
    name = "Globex\n\x1b[31m"
    desk.acts(lambda session: add_organization(session, name, at=now()))

    unclear = desk.types("status")
    again = desk.types("init", "--organization", name, "--json")

    assert unclear.exit == 2 and "several organisations" in unclear.err
    assert "\x1b" not in unclear.err and unclear.err.count("\n") == 1
    assert (again.exit, again.json["made"]) == (0, False)


def test_a_directory_gets_an_address_and_a_token_that_is_good(desk: Desk) -> None:
    said = desk.asks("source", "add", "scim", "okta")

    assert said["base_url"] == f"http://127.0.0.1:8484/scim/v2/{said['id']}"
    with desk.app.app_context(), reading() as session:
        client = tokens.find_source(session, said["token"])
    assert client is not None and client.source_id == said["id"]


def test_an_hr_system_gets_an_address_and_a_secret(desk: Desk) -> None:
    said = desk.asks("source", "add", "hr", "workday")

    assert said["url"] == f"http://127.0.0.1:8484/hr/{said['id']}"
    assert said["secret"].startswith("whsec_")


def test_links_follow_the_public_url(desk: Desk) -> None:
    desk.environment["DOORLIST_PUBLIC_URL"] = "https://doors.example/"

    said = desk.asks("source", "add", "scim", "okta")

    assert said["base_url"] == f"https://doors.example/scim/v2/{said['id']}"


def test_a_rotated_token_leaves_the_one_before_good_and_a_revoked_one_none(desk: Desk) -> None:
    first = desk.asks("source", "add", "scim", "okta")["token"]
    second = desk.asks("source", "rotate", "okta")["token"]

    def good(token: str) -> bool:
        with desk.app.app_context(), reading() as session:
            return tokens.find_source(session, token) is not None

    assert good(first) and good(second)
    desk.asks("source", "revoke", "okta")
    assert not good(first) and not good(second)


def test_a_second_source_of_one_name_is_refused(desk: Desk) -> None:
    desk.asks("source", "add", "scim", "okta")

    said = desk.types("source", "add", "hr", "okta", "--json")

    assert said.exit == 1
    assert "already" in said.json["error"]


def test_a_workspace_is_checked_its_token_sealed_and_everybody_looked_at(desk: Desk) -> None:
    person_id = desk.hires(desk.directory(), "ada")
    desk.acts(lambda session: session.execute(Work.__table__.delete()))  # type: ignore[attr-defined]  # a Table

    workspace_id = desk.connects_chat()

    assert desk.chat.seen_token == "s3cret"
    with desk.app.app_context(), reading() as session:
        workspace = session.scalars(select(Workspace)).one()
        work = session.scalars(select(Work)).one()
        entry = session.get_one(Entry, work.because)
    assert workspace.id == workspace_id and b"s3cret" not in workspace.sealed_token
    assert (work.subject, work.subject_id) == (Subject.PERSON, person_id)
    assert entry.verb == "workspace added" and "s3cret" not in str(entry.after)


def test_a_workspace_that_does_not_answer_is_not_added(desk: Desk) -> None:
    desk.chat.down = True

    said = desk.types("workspace", "add", "matrix", "chat", "--url", "https://chat.example", "--token-file", desk.file("token", "x"), "--json")

    assert said.exit == 7
    assert desk.asks("workspace", "list")["workspaces"] == []


def test_a_missing_token_file_is_named(desk: Desk) -> None:
    said = desk.types("workspace", "add", "matrix", "chat", "--url", "https://chat.example", "--token-file", "/nowhere/token", "--json")

    assert said.exit == 1
    assert "/nowhere/token" in said.json["error"]


def test_a_halted_workspace_is_resumed_with_a_new_token(desk: Desk) -> None:
    desk.connects_chat()

    def halt(session: object) -> None:
        workspace = session.scalars(select(Workspace)).one()  # type: ignore[attr-defined]  # a Session
        workspace.state, workspace.halted_reason = "halted", "chat: the token is not accepted"

    desk.acts(halt)
    assert desk.asks("status")["halted"] == 1

    desk.asks("workspace", "resume", "chat", "--token-file", desk.file("new", "n3w"))

    assert desk.chat.seen_token == "n3w"
    assert desk.asks("status")["halted"] == 0


def test_without_the_encryption_key_no_secret_is_made(desk: Desk) -> None:
    (desk.folder / "home" / "encryption.key").unlink()

    said = desk.types("source", "add", "hr", "workday", "--json")

    assert said.exit == 1
    assert "encryption key" in said.json["error"]
    assert desk.asks("source", "list")["sources"] == []


def test_an_operator_acts_under_their_own_name(desk: Desk) -> None:
    source_id = desk.directory()
    person_id = desk.hires(source_id, "ada")
    token = desk.asks("operator", "add", "grace", "--role", "helpdesk")["token"]

    desk.asks("depart", "ada@acme.example", token=token)

    with desk.app.app_context(), reading() as session:
        entry = session.scalars(select(Entry).where(Entry.subject_id == person_id).order_by(Entry.id.desc())).first()
    assert entry is not None and entry.actor == "operator:grace"


def test_an_auditor_reads_and_changes_nothing(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    token = desk.asks("operator", "add", "vera", "--role", "auditor")["token"]

    for refused in (("depart", "ada@acme.example"), ("rules", "apply", "x"), ("settings", "set", "push_brake", "off"), ("operator", "list")):
        said = desk.types(*refused, "--json", token=token)
        assert said.exit == 4, refused
        assert "vera is auditor" in said.json["error"]
    assert desk.asks("status", token=token)["waiting"] >= 0
    with desk.app.app_context(), reading() as session:
        assert session.scalars(select(Person.standing)).all() == ["active"]


def test_only_an_owner_makes_operators(desk: Desk) -> None:
    admin = desk.asks("operator", "add", "ann", "--role", "admin")["token"]
    owner = desk.asks("operator", "add", "olga", "--role", "owner")["token"]

    assert desk.types("operator", "add", "mallory", "--role", "owner", "--json", token=admin).exit == 4
    assert desk.types("operator", "add", "carol", "--role", "admin", "--json", token=owner).exit == 0


def test_an_ended_operator_is_nobody(desk: Desk) -> None:
    token = desk.asks("operator", "add", "grace", "--role", "owner")["token"]

    desk.asks("operator", "end", "grace")
    desk.asks("operator", "end", "grace")

    assert desk.types("status", "--json", token=token).exit == 4


@pytest.mark.parametrize("token", ["dl_nobody", "dl_\udcff"])
def test_what_is_no_token_is_nobody_in_whatever_letters(desk: Desk, token: str) -> None:
    said = desk.types("source", "list", "--json", token=token)

    assert (said.exit, said.json["error"]) == (4, "DOORLIST_TOKEN is not the token of an operator who may act here")


def test_a_name_of_an_operator_is_not_given_twice(desk: Desk) -> None:
    desk.asks("operator", "add", "grace", "--role", "owner")
    desk.asks("operator", "end", "grace")

    assert desk.types("operator", "add", "grace", "--role", "owner", "--json").exit == 1


def test_an_operator_reaches_no_other_organisation(desk: Desk) -> None:
    token = desk.asks("operator", "add", "grace", "--role", "owner")["token"]
    desk.asks("init", "--organization", "Globex")

    elsewhere = desk.types("status", "--organization", "Globex", "--json", token=token)
    nowhere = desk.types("status", "--organization", "Initech", "--json", token=token)
    here = desk.types("status", "--json", token=token)

    assert elsewhere.exit == 4 and nowhere.exit == 4
    assert here.json["organization"] == "Acme"


def test_a_setting_is_checked_kept_and_journaled(desk: Desk) -> None:
    desk.asks("settings", "set", "time_zone", "Europe/Berlin")

    wrong = desk.types("settings", "set", "time_zone", "Berlin", "--json")

    assert wrong.exit == 2 and "Europe/Berlin" in wrong.json["error"]
    assert desk.asks("settings", "list")["settings"]["time_zone"] == "Europe/Berlin"


def test_a_setting_that_cannot_be_read_is_named_until_it_is_set_anew(desk: Desk) -> None:
    def spoil(session: Session) -> None:
        session.get_one(Organization, desk.organization_id).settings = {"push_brake": "many", "gone_after": "5m"}

    def told() -> tuple[list[str], list[str]]:
        status, doctor = desk.asks("status"), desk.types("doctor", "--json").json
        return (
            [one for one in status["alarms"] if "a setting" in one],
            [one["sentence"] for one in doctor["findings"] if (one["about"], one["level"]) == ("settings", "fault")],
        )

    before = told()
    desk.acts(spoil)
    spoilt = told()
    desk.asks("settings", "set", "push_brake", "50/60s")

    assert before == told() == ([], [])
    assert [[("not 'many'" in one, "doorlist settings set push_brake VALUE" in one) for one in place] for place in spoilt] == [[(True, True)]] * 2


def test_unknown_verbs_and_options_are_usage_errors_as_json_too(desk: Desk) -> None:
    for typed in (("frobnicate",), ("status", "--frobnicate"), ("depart",), ("operator", "add", "x", "--role", "king")):
        said = desk.types(*typed, "--json")
        assert said.exit == 2, typed
        assert said.json["schema"] == "doorlist.error/1"


def test_a_piped_answer_is_tab_separated_and_no_name_breaks_its_lines(desk: Desk) -> None:
    name, organization_id = "eve\n\x1b[2Jmallory\towner", desk.organization_id
    # No verb takes such a name any more.
    assert desk.types("operator", "add", name, "--role", "auditor").exit == 2
    desk.acts(lambda session: add_operator(session, organization_id, name, Role.AUDITOR, actor=ADMIN, at=now()))

    said = desk.types("operator", "list")

    lines = said.out.splitlines()
    assert lines[0] == "name\trole\tsince\tended"
    assert len(lines) == 2 and "\x1b" not in said.out
    assert lines[1].split("\t")[:2] == ["eve  [2Jmallory owner", "auditor"]


def test_a_setting_of_the_process_that_cannot_be_used_is_named(desk: Desk) -> None:
    desk.environment["DOORLIST_SYNC_WORKERS"] = "many"

    said = desk.types("status", "--json")

    assert said.exit == 1 and "DOORLIST_SYNC_WORKERS" in said.json["error"]


def test_doctor_names_what_leaks_by_configuration(desk: Desk) -> None:
    desk.connects_chat()

    said = desk.asks("doctor")

    assert "pushes carry the text of messages" in [one["sentence"] for one in said["findings"]]
    assert said["faults"] == 0


def test_doctor_tells_a_workspace_that_does_not_answer(desk: Desk) -> None:
    desk.connects_chat()
    desk.chat.down = True

    assert desk.types("doctor", "--json").exit == 7


def test_expected_departures_are_told_to_every_source(desk: Desk) -> None:
    desk.directory()
    until = now().replace(year=now().year + 1).isoformat()

    desk.asks("expect-departures", "40", "--until", until)

    assert desk.asks("source", "list")["sources"][0]["expected_departures"] == 40
    assert desk.types("expect-departures", "40", "--until", "2020-01-01T00:00:00Z").exit == 2
    assert desk.types("expect-departures", "40", "--until", "tomorrow").exit == 2


def test_doctor_tells_how_to_add_the_index_of_names_where_it_is_missing(desk: Desk) -> None:
    dropping = "DROP TABLE name_part" if desk.environment["DATABASE_URL"].startswith("sqlite") else "DROP INDEX ix_record_name_part"

    before = desk.asks("doctor")
    desk.acts(lambda session: session.execute(text(dropping)))
    after = desk.asks("doctor")

    said = [[one["sentence"] for one in answer["findings"] if "part of a userName" in one["sentence"]] for answer in (before, after)]
    assert said[0] == [] and len(said[1]) == 1
    assert after["faults"] == 0
