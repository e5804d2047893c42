"""A list whose address is all that is needed to read it: the address is asked, and shown to nobody."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import now
from app.database import reading
from app.directory.tables import Source
from app.journal import entries
from app.journal.tables import Entry
from app.lifecycle.sources import find_source
from connectors import registry
from connectors.source_contract import SourceSettings
from tests.company import ADMIN
from tests.unit.commands.conftest import Desk
from tests.unit.intake.scripted_directory import Directory, person

pytestmark = pytest.mark.slow

SIGNED = "https://lists.example/people.csv?sv=2026&sig=hunter2"
ANOTHER = "https://lists.example/people.csv?sv=2026&sig=hunter2-of-tomorrow"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses by which sources of kind csv were opened."""
    found: list[str] = []

    def opened(settings: SourceSettings) -> Directory:
        found.append(settings.url)
        directory = Directory(name=settings.name)
        directory.put(person("a"))
        return directory

    monkeypatch.setitem(registry.SOURCES, "csv", opened)
    return found


def kept(desk: Desk) -> str:
    """All that the database has of sources, and the journal of anything."""
    with desk.app.app_context(), reading() as session:
        written = session.execute(select(Entry.before, Entry.after)).all()
        return f"{session.scalars(select(Source.settings)).all()} {[tuple(row) for row in written]}"


def test_what_follows_the_question_mark_is_asked_and_shown_to_nobody(desk: Desk, asked: list[str]) -> None:
    added = desk.types("source", "add", "csv", "list", "--url", SIGNED, "--json")
    plain = desk.types("source", "list")
    desk.asks("source", "pull", "list")

    assert asked[-1] == SIGNED
    assert added.json["url"].startswith("https://lists.example/people.csv?…#") and added.json["url"] in plain.out
    assert "hunter2" not in added.out + added.err + plain.out + kept(desk)


def test_it_stays_where_something_else_is_set_and_goes_where_another_is_given(desk: Desk, asked: list[str]) -> None:
    first = desk.asks("source", "add", "csv", "list", "--url", SIGNED)["url"]

    same = desk.asks("source", "set", "list", "--every", "5m")["url"]
    desk.asks("source", "pull", "list")
    assert same == first and asked[-1] == SIGNED
    another = desk.asks("source", "set", "list", "--url", ANOTHER)["url"]
    desk.asks("source", "pull", "list")
    assert another != first and asked[-1] == ANOTHER
    plain = desk.asks("source", "set", "list", "--url", "https://lists.example/people.csv")["url"]
    desk.asks("source", "pull", "list")
    assert plain == asked[-1] == "https://lists.example/people.csv"
    assert "hunter2" not in kept(desk)


def test_one_that_an_older_version_kept_as_it_was_is_not_shown_and_sealed_when_something_is_set(desk: Desk, asked: list[str]) -> None:
    url = desk.asks("source", "add", "csv", "list", "--url", SIGNED)["url"]

    organization_id = desk.organization_id

    def as_before(session: Session) -> None:
        one = find_source(session, organization_id, "list")
        one.journal_id = entries.write(
            session, organization_id, at=now(), actor=ADMIN, verb="source changed", because="operator", subject_kind="source", subject_id=one.id
        )
        one.settings = {"url": SIGNED, "options": {}, "every": "15m", "full_every": "24h"}

    desk.acts(as_before)

    assert desk.asks("source", "list")["sources"][0]["url"] == url
    desk.asks("source", "pull", "list")
    assert asked[-1] == SIGNED
    desk.asks("source", "set", "list", "--rank", "5")
    desk.asks("source", "pull", "list")
    assert asked[-1] == SIGNED and "hunter2" not in kept(desk)
