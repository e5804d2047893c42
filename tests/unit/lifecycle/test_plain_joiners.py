"""Many joins at once leave the same rows in every table as one after the other, and whoever has to be decided on is left out."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, func, select, true
from sqlalchemy.orm import Session

from app.access.sealing import make_key
from app.assembly import create_app
from app.database import Base, db, in_transaction, reading
from app.directory.tables import Person, Record, Source, Tally
from app.intake import hr
from app.journal.tables import Entry, Organization
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.plain_joiners import AT_A_TIME, Joined, Joiner, join_many, sort_out
from app.lifecycle.pulled_tables import PulledEntry
from app.lifecycle.records import add_record, end_record
from app.lifecycle.sources import add_organization, add_scim_source, set_setting
from app.settings import from_environment
from tests.company import ADMIN, OKTA, Company, another_source, document, later, new_company
from tests.databases import migrated

BECAUSE = "run 1"


def joiner(name: str, number: str | None = None, *, key: str | None = None, **said: Any) -> Joiner:
    enterprise = said.pop("enterprise", {})
    whole = {**document(f"{name}@x.example", number, **enterprise), **said.pop("document", {})}
    draft = RecordDraft(**{"external_id": f"uuid-{name}", "user_name": f"{name}@x.example", "active": True, "document": whole, **said})
    return Joiner(draft=draft, key=key or f"uuid-{name}", digest=hashlib.sha256(name.encode()).digest()[:16])


def keys_of(joiners: Sequence[Joiner]) -> list[str]:
    return [one.key for one in joiners]


def joins_together(company: Company, *joiners: Joiner, at: float = 1) -> list[Joined]:
    def act(session: Session) -> list[Joined]:
        source = session.get_one(Source, (company.organization_id, company.source_id))
        return join_many(session, company.organization_id, source, joiners, actor=OKTA, at=later(at), because=BECAUSE)

    return in_transaction(act)


def chooses(company: Company, key: str, value: str) -> None:
    in_transaction(lambda session: set_setting(session, session.get_one(Organization, company.organization_id), key, value, actor=ADMIN, at=later(0)))


# The same rows


@contextmanager
def apart(url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An application of its own, whose ids repeat from one to the next."""
    ids = itertools.count(1)
    monkeypatch.setattr("app.database.uuid7", lambda: f"00000000-0000-7000-8000-{next(ids):012}")
    settings = from_environment({"DOORLIST_HOME": str(home), "DATABASE_URL": url})
    make_key(settings)
    app = create_app(settings)
    with app.app_context():
        migrated()
        yield
        db.engine.dispose()


def every_row() -> dict[str, list[dict[str, Any]]]:
    with reading() as session:
        return {
            table.name: sorted(
                (
                    {key: value for key, value in row.items() if key not in ("digest", "shard")} | ({"digest": row["digest"]} if table is PulledEntry.__table__ else {})
                    for row in session.execute(select(table)).mappings()
                ),
                key=lambda row: json.dumps(row, default=str, sort_keys=True),
            )
            for table in Base.metadata.sorted_tables
            # Each database has a mark of its own, by which it is told from a copy of itself.
            if not table.name.startswith("installation") and table is not Tally.__table__
        }  # fmt: skip


@pytest.fixture
def urls(database_url: str, request: pytest.FixtureRequest) -> tuple[str, str]:
    if database_url.startswith("sqlite"):
        return database_url, database_url.replace(".sqlite", "-2.sqlite")
    return database_url, request.getfixturevalue("postgres").database(like=request.getfixturevalue("present_schema"))


def boss(session: Session, organization_id: str, source_id: str) -> str:
    draft = RecordDraft(external_id="uuid-boss", user_name="boss@x.example", active=True, document=document("boss@x.example", "E-0"))
    return add_record(session, organization_id, source_id, draft, actor=OKTA, at=later(1), because=BECAUSE).id


def newcomers(boss_id: str) -> list[Joiner]:
    under = {"manager": {"value": boss_id}}
    addresses = [{"value": "Ünal@x.example", "primary": False}, {"value": "unal@home.example", "primary": True}, {"value": "ÜNAL@x.example"}]
    bare = RecordDraft(external_id=None, user_name="bare", active=None, document={"userName": "bare"})
    return [
        joiner("ada", "E-1", enterprise={**under, "department": "Research", "division": "North", "costCenter": "7"}),
        joiner("bob", enterprise=under),
        joiner("ünal", "E-2", document={"emails": addresses, "title": 'quoted "\\" \n', "nickName": None, "x-note": [1, 2.5, {"a": True}]}),
        joiner("cy", document={"displayName": "", "name": {"givenName": "Cy", "familyName": "Kim"}, "userType": "Contractor"}),
        joiner("dee", enterprise={"manager": {"value": "nobody"}}),
        joiner("eve", document={"emails": [], "displayName": "  "}),
        Joiner(draft=bare, key="uuid-bare", digest=b"0" * 16, manager_key="uuid-late"),
        *(joiner(f"p{number}", f"N-{number}", enterprise=under) for number in range(30)),
    ]


def test_many_at_once_leave_the_same_rows_as_one_after_the_other(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(session: Session, source: Source, people: Sequence[Joiner]) -> None:
        for one in people:
            record = add_record(session, source.organization_id, source.id, one.draft, actor=OKTA, at=later(2), because=BECAUSE)
            session.add(
                PulledEntry(
                    organization_id=source.organization_id, source_id=source.id, kind="person", key=one.key, subject_id=record.id,
                    digest=one.digest, manager_key=one.manager_key,
                )
            )  # fmt: skip
            session.flush()

    def together(session: Session, source: Source, people: Sequence[Joiner]) -> None:
        found = sort_out(session, source.organization_id, source.id, people)
        assert keys_of(found.plain) == keys_of(people)
        join_many(session, source.organization_id, source, found.plain, actor=OKTA, at=later(2), because=BECAUSE)

    def story(way: Callable[[Session, Source, Sequence[Joiner]], None]) -> None:
        def act(session: Session) -> None:
            organization = add_organization(session, "Northwind", at=later(0))
            source, _ = add_scim_source(session, organization.id, "ldap", actor=ADMIN, at=later(0))
            boss_id = boss(session, organization.id, source.id)
            way(session, source, newcomers(boss_id))

        in_transaction(act)

    written = []
    totals = []
    for number, (url, way) in enumerate(zip(urls, (alone, together), strict=True)):
        with apart(url, tmp_path / str(number), monkeypatch):
            story(way)
            written.append(every_row())
            with reading() as session:
                totals.append(session.scalar(select(func.sum(Tally.number))))

    for table in written[0]:
        assert written[0][table] == written[1][table], table
    assert len(written[0]["person"]) == 38 and len(written[0]["pulled_entry"]) == 37
    assert totals == [38, 38]


def test_a_hundred_times_as_many_take_no_more_statements_for_each_batch(installed: Flask) -> None:
    company = new_company()
    asked: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda _c, _u, statement, *_: asked.append(statement))

    joins_together(company, *(joiner(f"p{number}", f"E-{number}") for number in range(5)))
    few = len(asked)
    del asked[:]
    joins_together(company, *(joiner(f"q{number}", f"F-{number}") for number in range(AT_A_TIME)))

    assert len(asked) == few
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Person)) == AT_A_TIME + 5


def test_more_than_one_batch_join_in_their_order(installed: Flask) -> None:
    company = new_company()
    people = [joiner(f"p{number}") for number in range(AT_A_TIME + 3)]

    joined = joins_together(company, *people)

    assert [one.key for one in joined] == keys_of(people)
    with reading() as session:
        entries = dict(session.execute(select(Entry.subject_id, Entry.id)).all())
        rows = session.execute(select(Record.id, Record.person_id, Record.user_name, Record.journal_id)).all()
    named = {one.record_id: (one.person_id, person.draft.user_name) for one, person in zip(joined, people, strict=True)}
    assert {row.id: (row.person_id, row.user_name) for row in rows} == named
    assert all(entries[row.id] == row.journal_id for row in rows)


def test_a_parked_leaving_takes_effect_as_its_person_joins_among_many(installed: Flask) -> None:
    heard: list[list[str]] = []
    from app.lifecycle import joins

    def listener(_session: Session, _organization_id: str, numbers: list[str], _at: object) -> int:
        heard.append(numbers)
        return 0

    joins.on_join(listener, awaits=lambda _organization_id, _number: true())
    try:
        joins_together(new_company(), joiner("ada", "E-1"), joiner("bob"), joiner("cy", "E-3"))
    finally:
        del joins._listeners[listener]

    assert heard == [["E-1", "E-3"]]
    assert hr.retry_parked in joins._listeners


# Who is plain


def sorted_out(company: Company, *joiners: Joiner) -> tuple[list[str], list[str]]:
    with reading() as session:
        found = sort_out(session, company.organization_id, company.source_id, joiners)
    return keys_of(found.plain), keys_of(found.others)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("off", {"active": False}),
        ("not yet", {"starts_at": later(9)}),
        ("until a day", {"ends_at": later(9)}),
        ("NUL", {"document": {"title": "a\0b"}}),
        ("half a sign", {"document": {"title": "\ud800"}}),
        ("NUL in a name", {"user_name": "a\0b"}),
        ("half a sign in an id", {"external_id": "\udfff"}),
        ("no number", {"document": {"x-note": float("nan")}}),
    ],
)
def test_who_is_not_simply_on_or_cannot_be_stored_is_not_plain(installed: Flask, what: str, said: dict[str, Any]) -> None:
    assert sorted_out(new_company(), joiner("ada", **said), joiner("bob")) == (["uuid-bob"], ["uuid-ada"])


def test_who_is_known_by_name_id_number_or_key_is_not_plain(installed: Flask) -> None:
    company = new_company()
    joins_together(company, joiner("ada", "E-1"))
    elsewhere = another_source(company, "entra")
    company.joins("eve@x.example", "E-5", source_id=elsewhere)

    same_name = joiner("ada", key="k-1", external_id="other", user_name="ADA@x.example")
    same_id = joiner("bob", key="k-2", external_id="uuid-ada")
    same_key = joiner("cy", key="uuid-ada")
    same_number = joiner("dee", "E-5", key="k-4")
    name_elsewhere = joiner("eve", key="k-5", external_id="e", document={"emails": []})

    assert sorted_out(company, same_name, same_id, same_key, same_number, name_elsewhere) == (["k-5"], ["k-1", "k-2", "uuid-ada", "k-4"])


def test_an_entry_that_was_gone_is_known_by_its_key_when_it_is_there_again(installed: Flask) -> None:
    company = new_company()
    [ada] = joins_together(company, joiner("ada"))
    in_transaction(
        lambda session: end_record(session, company.organization_id, company.source_id, ada.record_id, braked=False, actor=OKTA, at=later(2), because="gone")
    )

    assert sorted_out(company, joiner("ada")) == ([], ["uuid-ada"])
    assert sorted_out(company, joiner("again", user_name="ada@x.example")) == (["uuid-again"], [])


def test_of_two_who_say_the_same_the_second_is_decided_on(installed: Flask) -> None:
    company = new_company()
    same_number = joiner("ada", "E-1"), joiner("bob", "E-1")
    same_name = joiner("cy", external_id="a", key="k-1"), joiner("cy", external_id="b", key="k-2", user_name="CY@X.example")

    assert sorted_out(company, *same_number, *same_name) == (["uuid-ada", "k-1"], ["uuid-bob", "k-2"])


def test_addresses_and_names_count_where_the_organisation_joins_by_them(installed: Flask) -> None:
    company = new_company()
    company.joins("ada@x.example", source_id=another_source(company, "entra"))
    alike = joiner("ada"), joiner("bob", user_name="bob", document={"emails": ["ada@x.example"]}), joiner("cy")

    assert sorted_out(company, *alike)[0] == ["uuid-ada", "uuid-bob", "uuid-cy"]
    chooses(company, "matching", "employeeNumber,userName")
    assert sorted_out(company, *alike) == (["uuid-bob", "uuid-cy"], ["uuid-ada"])
    chooses(company, "matching", "email")
    assert sorted_out(company, *alike) == (["uuid-cy"], ["uuid-ada", "uuid-bob"])
    chooses(company, "matching", "none")
    assert sorted_out(company, *alike, joiner("dee", "E-1"), joiner("eve", "E-1"))[1] == []
