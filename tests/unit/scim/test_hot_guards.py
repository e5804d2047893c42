"""What keeps the hot paths from letting anybody in, or out, whom the ordinary way would not."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access import tokens
from app.access.tables import BearerToken
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import db, transaction
from app.directory.tables import Source, Standing, StatementKind, Voice
from app.journal import entries
from app.lifecycle import leaving
from app.scim.hot_reads import Answered
from tests.clients.directory import Directory
from tests.two_at_once import meanwhile
from tests.unit.scim.choosing import OFF, ON, numbered, off, organization_of, person_of, says, set_brake
from tests.unit.scim.hot_views import View, wrap_views

HR = Actor(kind=ActorKind.SOURCE, name="hr")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hot paths that were tried, whether or not they answered."""
    named: list[str] = []

    def noting(view: View) -> View:
        async def notes(on: Any, asked: Any) -> Answered | None:
            named.append(getattr(view, "__name__", ""))
            return await view(on, asked)

        return notes

    wrap_views(monkeypatch, noting)
    return named


@pytest.mark.parametrize(
    ("voice", "kind"),
    [(Voice.HR, StatementKind.LEAVES), (Voice.OPERATOR, StatementKind.BARS), (Voice.OPERATOR, StatementKind.PAUSES)],
)
def test_a_directory_that_switches_on_gives_nothing_back_that_another_voice_took(
    directory: Directory, tried: list[str], voice: Voice, kind: StatementKind
) -> None:
    set_brake("off")
    ada = directory.add_user("ada")
    off(directory, ada)
    says(person_of(ada), voice, kind)
    del tried[:]

    answer = directory.patch(f"/Users/{ada}", ON)

    assert tried == ["_patch_user"]
    assert (answer.status, answer.document["active"]) == (200, False)
    assert person_of(ada).standing != Standing.ACTIVE


def test_switching_one_of_two_records_off_leaves_the_person_in(directory: Directory, tried: list[str]) -> None:
    set_brake("off")
    ada = directory.add_user("ada", **numbered("E-1"))
    beside = directory.beside("entra")
    again = beside.add_user("ada.k", **numbered("E-1"))
    assert person_of(ada).id == person_of(again).id
    del tried[:]

    assert directory.patch(f"/Users/{ada}", OFF).document["active"] is False

    assert tried == ["_patch_user"]
    assert person_of(ada).standing == Standing.ACTIVE


def test_a_group_of_another_directory_takes_nobody_in(directory: Directory, tried: list[str]) -> None:
    ada = directory.add_user("ada")
    beside = directory.beside("entra")
    bob = beside.add_user("bob")
    group = directory.send("POST", "/Groups", {"displayName": "Cyclists"}).document["id"]
    del tried[:]

    for who, one in ((directory, bob), (beside, ada), (beside, bob)):
        said = {"op": "add", "path": "members", "value": [{"value": one}]}
        assert who.patch(f"/Groups/{group}", said).status in (400, 404)

    assert tried == ["_patch_group"] * 3


def revoked(directory: Directory) -> Directory:
    with transaction() as session:
        tokens.revoke_all(session, organization_of(session).id, holder_id=directory.source_id, at=now())
    return directory


def expired(directory: Directory) -> Directory:
    with transaction() as session:
        session.execute(update(BearerToken).values(expires_at=now() - timedelta(seconds=1)))
    return directory


def ended(directory: Directory) -> Directory:
    with transaction() as session:
        source = session.scalars(select(Source).where(Source.id == directory.source_id)).one()
        source.ended_at = now()
        source.journal_id = entries.write(
            session, source.organization_id, at=now(), actor=HR, verb="ended", because="test", subject_kind="source", subject_id=source.id
        )
    return directory


def of_another(directory: Directory) -> Directory:
    beside = directory.beside("entra")
    beside.add_user("bob")
    return Directory(app=directory.app, http=directory.http, source_id=directory.source_id, token=beside.token)


@pytest.mark.parametrize("become", [revoked, expired, ended, of_another])
def test_a_token_that_was_good_a_moment_ago_opens_nothing_any_more(directory: Directory, tried: list[str], become: object) -> None:
    assert callable(become)
    set_brake("off")
    ada = directory.add_user("ada")
    group = directory.send("POST", "/Groups", {"displayName": "Cyclists"}).document["id"]
    stranger: Directory = become(directory)
    before = directory.written()
    del tried[:]

    answers = [
        stranger.send("GET", f"/Users/{ada}"),
        stranger.send("GET", '/Users?filter=userName eq "ada"'),
        stranger.send("GET", "/Users"),
        stranger.send("POST", "/Users", {"userName": "eve"}),
        stranger.patch(f"/Users/{ada}", OFF),
        stranger.send("PUT", f"/Users/{ada}", {"userName": "ada", "active": False}),
        stranger.patch(f"/Groups/{group}", {"op": "add", "path": "members", "value": [{"value": ada}]}),
    ]

    assert tried == ["_get_user", "_list_users", "_list_users", "_post_user", "_patch_user", "_put_user", "_patch_group"]
    assert {answer.status for answer in answers} == {401}
    assert directory.written() == before


def test_what_is_said_while_the_lock_is_waited_for_is_heard(directory: Directory) -> None:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    set_brake("off")
    ada = directory.add_user("ada")
    off(directory, ada)
    person = person_of(ada)

    def leave(session: Session) -> None:
        leaving.say(
            session, person.organization_id, person.id, voice=Voice.HR, kind=StatementKind.LEAVES, said_by="x", effective_at=now(),
            actor=HR, at=now(), because="test",
        )  # fmt: skip

    _, answer = meanwhile(directory.app, leave, lambda: directory.patch(f"/Users/{ada}", ON))

    assert answer.document["active"] is False
    assert person_of(ada).standing == Standing.DEPARTED
