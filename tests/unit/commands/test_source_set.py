"""Changing how a directory is pulled: what cannot be right changes nothing, and what can be right counts at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.clock import now
from app.commands.exits import Exit
from app.database import reading
from app.directory.tables import Record, Source
from app.intake import mapping_kept, pulling
from app.journal.tables import Entry
from app.lifecycle.pulled_tables import SourceState
from app.lifecycle.sources import change_pulled_source, find_source
from connectors import registry
from connectors.contract import Unreachable
from tests.company import ADMIN
from tests.two_at_once import meanwhile
from tests.unit.commands.conftest import Desk
from tests.unit.intake.scripted_directory import Directory, person

pytestmark = pytest.mark.slow

MINUTE = timedelta(minutes=1)


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Directory:
    """What every source of kind csv reads: three people, and a list of what changes."""
    directory = Directory(name="corp")
    directory.put(*(person(key) for key in "abc"))
    monkeypatch.setitem(registry.SOURCES, "csv", lambda settings: directory)
    return directory


@pytest.fixture
def corp(desk: Desk, directory: Directory) -> Desk:
    """They are pulled, and nothing is due."""
    desk.asks("source", "add", "csv", "corp", "--url", "file:///people.csv", "--every", "24h")
    assert desk.asks("source", "pull", "corp")["joined"] == 3 and not due(desk) and directory.listings == 1
    return desk


def kept(desk: Desk, name: str = "corp") -> tuple[Source, SourceState | None]:
    organization_id = desk.organization_id
    with desk.app.app_context(), reading() as session:
        one = find_source(session, organization_id, name)
        return one, session.get(SourceState, (organization_id, one.id))


def state(desk: Desk) -> SourceState:
    found = kept(desk)[1]
    assert found is not None
    return found


def due(desk: Desk) -> bool:
    with desk.app.app_context(), reading() as session:
        return bool(pulling.due(session, now()))


def sets_state(desk: Desk, name: str = "corp", **values: Any) -> None:
    """As if other pulls had left it so."""
    organization_id = desk.organization_id

    def act(session: Session) -> None:
        one = find_source(session, organization_id, name)
        row = session.get(SourceState, (organization_id, one.id)) or SourceState(organization_id=organization_id, source_id=one.id)
        session.add(row)
        for column, value in values.items():
            setattr(row, column, value)

    desk.acts(act)


def everything(desk: Desk, name: str) -> list[object]:
    """All that a change could have written."""
    one, known = kept(desk, name)
    rows = [{column.name: getattr(row, column.name) for column in row.__table__.columns} for row in (one, known) if row is not None]
    return [*rows, desk.acts(lambda session: session.scalar(select(func.count()).select_from(Entry)))]


# What cannot be right


@pytest.mark.parametrize(
    ("typed", "exit", "said"),
    [
        (("--url", "gopher://people"), Exit.ERROR, "the address is"),
        (("--option", "colour=red"), Exit.ERROR, "colour"),
        (("--option", "zone=Europe/Atlantis"), Exit.ERROR, "zone"),
        (("--option", "colour"), Exit.USAGE, "--option is NAME=VALUE, not 'colour'"),
        (("--every", "10s"), Exit.USAGE, "too often"),
        (("--every", "soon"), Exit.USAGE, "no length of time"),
        (("--full-every", "-1h"), Exit.USAGE, "no length of time"),
    ],
)
def test_what_cannot_be_right_is_refused_and_nothing_of_it_is_stored(desk: Desk, typed: tuple[str, ...], exit: Exit, said: str) -> None:
    desk.asks("source", "add", "csv", "list", "--file", desk.file("people.csv", "id,userName\n1,ada\n"))
    desk.asks("source", "pull", "list")
    before = everything(desk, "list")

    # Whatever else is said along with it is not stored either.
    answer = desk.types("source", "set", "list", "--rank", "7", "--full-every", "48h", "--token-file", desk.file("t", "other\n"), *typed, "--json")

    assert answer.exit == exit and said in answer.json["error"], answer
    assert everything(desk, "list") == before


def test_nothing_that_is_said_changes_nothing_and_is_told_so(desk: Desk) -> None:
    desk.asks("source", "add", "csv", "list", "--file", desk.file("people.csv", "id,userName\n1,ada\n"))

    answer = desk.types("source", "set", "list", "--json")

    assert answer.exit == Exit.USAGE and "say what changes" in answer.json["error"]


def test_a_source_that_pushes_has_a_rank_and_nothing_else(desk: Desk) -> None:
    desk.directory()
    before = everything(desk, "okta")

    for typed in (("--url", "https://x.example"), ("--option", "a=b"), ("--every", "5m"), ("--token-file", desk.file("t", "x\n")), ("--key-file", desk.file("k", "x"))):
        answer = desk.types("source", "set", "okta", "--rank", "7", *typed, "--json")
        assert answer.exit == Exit.USAGE and "is not pulled" in answer.json["error"]

    assert everything(desk, "okta") == before
    assert desk.asks("source", "set", "okta", "--rank", "7")["rank"] == 7


def test_no_pull_is_named_of_a_source_that_pushes(desk: Desk) -> None:
    desk.asks("source", "add", "scim", "okta")

    said = [desk.types("source", *words) for words in (("set", "okta", "--rank", "3"), ("hook", "okta"))]

    assert [(one.exit, one.err.strip()) for one in said] == [
        (0, "okta is changed."), (1, "doorlist: okta: a source of kind scim tells nobody when something changed; it is not pulled, and speaks by itself"),
    ]  # fmt: skip


def test_an_option_without_a_value_goes_back_to_its_default(desk: Desk) -> None:
    desk.asks("source", "add", "csv", "list", "--file", desk.file("people.csv", "id;userName\n1;ada\n"), "--option", "delimiter=;", "--option", "zone=Asia/Tokyo")

    said = desk.asks("source", "set", "list", "--option", "delimiter=")

    assert said["options"] == {"zone": "Asia/Tokyo"}


def test_when_it_is_read_can_be_changed_whatever_is_wrong_with_the_rest(desk: Desk) -> None:
    desk.asks("source", "add", "csv", "list", "--file", desk.file("people.csv", "id,userName\n1,ada\n"), "--token-file", desk.file("t", "x\n"))
    # The installation's key was lost, and there is another one since.
    Path(desk.environment["DOORLIST_HOME"], "encryption.key").unlink()
    desk.asks("init")

    assert desk.asks("source", "set", "list", "--every", "off", "--rank", "3")["every"] == "off"
    refused = desk.types("source", "set", "list", "--option", "zone=Asia/Tokyo", "--json")
    assert refused.exit == Exit.ERROR and "key" in refused.json["error"] and "zone" not in (kept(desk, "list")[0].settings or {})["options"]
    assert desk.asks("source", "set", "list", "--option", "zone=Asia/Tokyo", "--token-file", desk.file("t", "y\n"))["options"] == {"zone": "Asia/Tokyo"}


# Keys


def pem() -> str:
    return generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def signer(desk: Desk) -> Desk:
    """Okta, read by an application that signs with a key."""
    desk.asks("source", "add", "okta", "signer", "--url", "https://acme.okta.com", "--client-id", "0oa1", "--key-file", desk.file("key.pem", pem()))
    return desk


def test_another_key_is_stored_sealed_and_never_shown(signer: Desk) -> None:
    before = kept(signer, "signer")[0].sealed_secret

    said = signer.types("source", "set", "signer", "--key-file", signer.file("new.pem", pem()), "--json")

    one = kept(signer, "signer")[0]
    assert said.exit == Exit.DONE and one.sealed_secret not in (None, before)
    assert "PRIVATE" not in said.out + said.err and "PRIVATE" not in str(one.settings) and b"PRIVATE" not in (one.sealed_secret or b"")


def test_what_is_no_key_is_refused_in_a_sentence_and_the_one_before_stays(signer: Desk) -> None:
    before = everything(signer, "signer")
    binary = signer.folder / "key.der"
    binary.write_bytes(b"\x30\x82\xff\xfe")

    texts = [signer.types("source", "set", "signer", option, signer.file("note", "not-a-key\n"), "--json") for option in ("--key-file", "--token-file")]
    no_text = signer.types("source", "set", "signer", "--key-file", str(binary), "--json")
    added = signer.types("source", "add", "okta", "other", "--url", "https://x.okta.com", "--client-id", "0oa1", "--key-file", str(binary), "--json")
    both = signer.types("source", "set", "signer", "--key-file", str(binary), "--token-file", signer.file("note", "x\n"), "--json")
    nowhere = signer.types("source", "set", "signer", "--key-file", "/nowhere/key.pem", "--json")

    assert [one.exit for one in texts] == [Exit.ERROR] * 2 and not any("not-a-key" in one.out + one.err for one in texts)
    for said in (no_text, added):
        assert said.exit == Exit.USAGE and said.json["error"] == f"{binary} is no text: a private key is read as PEM or as JWK"
    assert both.exit == Exit.USAGE and "either" in both.json["error"]
    assert nowhere.exit == Exit.ERROR and "/nowhere/key.pem" in nowhere.json["error"]
    assert everything(signer, "signer") == before and len(signer.asks("source", "list")["sources"]) == 1


# Another address


@pytest.mark.parametrize("typed", [("--url", "file:///others.csv"), ("--option", "zone=Asia/Tokyo")])
def test_where_it_is_read_otherwise_the_next_pull_is_whole_and_due_at_once(corp: Desk, directory: Directory, typed: tuple[str, ...]) -> None:
    corp.asks("source", "pull", "corp")
    assert directory.listings == 1 and state(corp).cursor is not None

    corp.asks("source", "set", "corp", *typed)

    # A list has to have the columns that it had, wherever it is read.
    assert due(corp) and state(corp).full_at is None and state(corp).cursor is not None
    corp.asks("source", "pull", "corp")
    assert directory.listings == 2 and corp.asks("run", "list")["runs"][0]["full"] is True and not due(corp)


def test_another_directory_is_asked_for_no_changes_since_a_state_of_this_one(signer: Desk) -> None:
    sets_state(signer, "signer", cursor="7", full_at=now())

    signer.asks("source", "set", "signer", "--url", "https://others.okta.com", "--key-file", signer.file("others.pem", pem()))

    known = kept(signer, "signer")[1]
    assert known is not None and (known.cursor, known.full_at) == (None, None)


def test_a_rank_alone_has_nothing_read(corp: Desk, directory: Directory) -> None:
    corp.asks("source", "set", "corp", "--rank", "5")

    assert not due(corp)
    corp.asks("source", "pull", "corp")
    assert directory.listings == 1


def test_a_pull_that_is_under_way_writes_nothing_more_of_the_old_address(corp: Desk, directory: Directory) -> None:
    directory.put(person("old"))
    directory.while_listing = lambda: _once(directory, lambda: corp.asks("source", "set", "corp", "--url", "file:///others.csv"))

    said = corp.types("source", "pull", "corp", "--full", "--json")

    assert said.exit == Exit.ERROR and "has begun meanwhile" in said.json["error"]
    assert "old@x.example" not in records(corp) and state(corp).full_at is None and due(corp)
    directory.drop("old")
    assert corp.asks("source", "pull", "corp")["joined"] == 0 and directory.listings == 3
    assert [run["state"] for run in corp.asks("run", "list")["runs"]] == ["done", "failed", "done"]


def _once(directory: Directory, act: Any) -> None:
    directory.while_listing = None
    act()


def records(desk: Desk) -> set[str]:
    return set(desk.acts(lambda session: session.scalars(select(Record.user_name).where(Record.ended_at.is_(None))).all()))


# Its schedule


@pytest.mark.parametrize("option", ["--every", "--full-every"])
def test_another_schedule_gets_its_turn_at_once(corp: Desk, option: str) -> None:
    corp.asks("source", "set", "corp", option, "5m")

    assert due(corp)
    corp.asks("source", "pull", "corp")
    assert not due(corp)


def test_off_is_read_by_the_clock_no_more(corp: Desk) -> None:
    sets_state(corp, next_at=now() - MINUTE)
    assert due(corp)

    corp.asks("source", "set", "corp", "--every", "off")

    assert not due(corp)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(("every", "after"), [("off", None), ("5m", 5 * MINUTE)])
def test_a_pull_that_is_under_way_ends_with_the_schedule_of_now(corp: Desk, directory: Directory, every: str, after: timedelta | None, fails: bool) -> None:
    def while_listing() -> None:
        _once(directory, lambda: corp.asks("source", "set", "corp", "--every", every))
        directory.raises = Unreachable("corp: gone", sent=True) if fails else None

    directory.while_listing = while_listing
    begun = now()

    said = corp.types("source", "pull", "corp", "--full", "--json")

    found = state(corp)
    assert said.exit == (Exit.UNREACHABLE if fails else Exit.DONE) and found.claimed_by is None and not due(corp)
    assert found.next_at is None if after is None else begun < _present(found.next_at) < now() + after


def _present(at: datetime | None) -> datetime:
    assert at is not None
    return at


def test_one_that_has_said_that_something_changed_is_read_at_once_as_well(corp: Desk) -> None:
    """It could not be read since, with a wrong address; whoever mends that does not wait for the next try."""
    sets_state(corp, woken_at=now() - 2 * MINUTE, next_at=now() + 60 * MINUTE, failures=7, problem="nobody answers")
    assert not due(corp)

    corp.asks("source", "set", "corp", "--url", "file:///others.csv", "--every", "off")

    assert due(corp)
    corp.asks("source", "pull", "corp")
    assert not due(corp) and state(corp).woken_at is None


# Two at once


def test_a_mapping_that_is_set_at_the_same_time_is_kept(corp: Desk) -> None:
    organization_id, mapping = corp.organization_id, {"title": "person.key"}

    meanwhile(
        corp.app,
        lambda session: mapping_kept.keep(session, find_source(session, organization_id, "corp"), mapping, actor=ADMIN, at=now()),
        lambda: corp.asks("source", "set", "corp", "--every", "5m"),
    )

    settings = kept(corp)[0].settings or {}
    assert settings["mapping"] == mapping and settings["every"] == "5m"
    with corp.app.app_context(), reading() as session:
        last = session.scalars(select(Entry).where(Entry.verb == "source changed").order_by(Entry.id.desc())).first()
    # What was before is in the journal as it was, and not as it was first seen.
    assert last is not None and (last.before or {})["settings"]["mapping"] == mapping


def test_what_is_set_while_a_mapping_waits_is_kept(corp: Desk) -> None:
    organization_id, file = corp.organization_id, corp.file("m.yaml", "title: person.key\n")

    def first(session: Session) -> None:
        one = find_source(session, organization_id, "corp")
        reached = {**(one.settings or {}), "every": "5m"}
        change_pulled_source(session, one, reached=reached, rank=7, secret=None, settings=corp.app.config["DOORLIST"], actor=ADMIN, at=now())

    meanwhile(corp.app, first, lambda: corp.asks("mapping", "set", "corp", "--file", file))

    one = kept(corp)[0]
    assert (one.settings or {})["mapping"] == {"title": "person.key"} and (one.settings or {})["every"] == "5m" and one.rank == 7


# A stored secret stays with the servers it was given for


@pytest.fixture
def with_password(desk: Desk, directory: Directory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    monkeypatch.setitem(registry.SOURCES, "ldap", lambda settings: directory)
    password = tmp_path / "password"
    password.write_text("given-for-this-server\n")
    desk.asks(
        "source", "add", "ldap", "safe", "--url", "ldaps://ldap.acme.example", "--bind-dn", "cn=doorlist", "--password-file", str(password),
        "--base", "dc=acme,dc=example",
    )  # fmt: skip
    return desk


@pytest.mark.parametrize(
    "changed",
    [
        ("--url", "ldaps://ldap.evil.example"), ("--url", "ldap://ldap.acme.example:636"), ("--url", "ldaps://ldap.acme.example:6360"),
        ("--url", "ldaps://ldap.acme.example@ldap.evil.example"), ("--url", "ldaps://ldap.evil.example\\@ldap.acme.example"),
        ("--option", "login_url=https://login.evil.example"),
    ],
)  # fmt: skip
def test_a_stored_password_is_not_shown_to_another_server(with_password: Desk, changed: tuple[str, str]) -> None:
    before = kept(with_password, "safe")[0].settings

    said = with_password.types("source", "set", "safe", *changed, "--json")

    assert said.exit == 1
    assert "give the secret for it too (--password-file or --key-file)" in str(said.json["error"])
    assert kept(with_password, "safe")[0].settings == before


@pytest.mark.parametrize("url", ["ldaps://LDAP.acme.example:636", "ldaps://ldap.acme.example./"])
def test_another_spelling_of_the_same_server_is_no_other(with_password: Desk, url: str) -> None:
    assert with_password.asks("source", "set", "safe", "--url", url)["url"] == url


def test_a_password_that_is_given_again_goes_along(with_password: Desk, tmp_path: Path) -> None:
    there = "ldaps://standby.acme.example"

    assert with_password.asks("source", "set", "safe", "--url", there, "--password-file", str(tmp_path / "password"))["url"] == there
