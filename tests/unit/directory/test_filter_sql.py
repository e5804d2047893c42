"""Filters as SQL: a database finds just the people whom plain Python finds."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Table, create_engine, select
from sqlalchemy.orm import Session

from app.directory.attributes import value_at
from app.directory.filter_sql import compile_filter, text_at
from app.directory.filterable import GROUPS, PERSONS, RECORDS, Over
from app.directory.filters import matches, parse, split_path
from app.directory.names import name_key
from app.directory.tables import Group, Membership, Person, Record, RecordEmail
from app.directory.vocabulary import ENTERPRISE_URN
from migrations.name_parts import index_parts_of_names
from tests.unit.directory.documents import ADA, BOB

# Its own tables are made by the fixture below.
pytestmark = [pytest.mark.empty, pytest.mark.slow]

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
TABLES = [model.__table__ for model in (Person, Record, RecordEmail, Group, Membership)]
ORGANIZATION = "org"


def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in TABLES:
            assert isinstance(table, Table)
            table.create(connection)
        if engine.dialect.name == "sqlite":
            with Operations.context(MigrationContext.configure(connection)):
                index_parts_of_names()


@pytest.fixture(scope="module")
def sqlite_engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    _empty(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    _empty(engine)
    yield engine
    engine.dispose()


def _extension(document: dict[str, Any]) -> dict[str, Any]:
    return document.get(ENTERPRISE_URN) or {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _person(person_id: str, document: dict[str, Any]) -> Person:
    extension = _extension(document)
    return Person(
        organization_id=ORGANIZATION,
        id=person_id,
        standing="active" if document.get("active", True) else "departed",
        standing_reason="",
        user_name=document["userName"],
        user_name_key=name_key(document["userName"]),
        display_name=document.get("displayName") or document["userName"],
        user_type=_text(document.get("userType")),
        department=_text(extension.get("department")),
        division=_text(extension.get("division")),
        employee_number=_text(extension.get("employeeNumber")),
        manager_id=_text((extension.get("manager") or {}).get("value")),
        document=document,
        created_at=AT,
        modified_at=AT,
        journal_id=1,
    )


def _record(record_id: str, document: dict[str, Any]) -> Record:
    return Record(
        organization_id=ORGANIZATION,
        id=record_id,
        source_id="source",
        person_id=record_id,
        external_id=document.get("externalId"),
        user_name=document["userName"],
        user_name_key=name_key(document["userName"]),
        display_name=document.get("displayName"),
        employee_number=_text(_extension(document).get("employeeNumber")),
        active=document.get("active", True),
        active_said_at=AT,
        document=document,
        created_at=AT,
        modified_at=AT,
        journal_id=1,
    )


def _emails(record_id: str, document: dict[str, Any]) -> list[RecordEmail]:
    keys = {
        name_key(value) for value in value_at(document, "emails.value") if isinstance(value, str) and value
    }
    return [RecordEmail(organization_id=ORGANIZATION, record_id=record_id, address_key=key) for key in keys]


def _fill(engine: Engine, documents: dict[str, dict[str, Any]]) -> None:
    with Session(engine) as session, session.begin():
        for table in reversed(TABLES):
            session.execute(table.delete())
        for key, document in documents.items():
            session.add_all([_person(key, document), _record(key, document), *_emails(key, document)])


def _found(engine: Engine, text: str, over: Over, model: Any) -> list[str]:
    with Session(engine) as session:
        query = select(model.id).where(compile_filter(parse(text), over, engine.dialect.name))
        return sorted(session.scalars(query))


CASES = [
    ('userName eq "ADA@example.ORG"', ["ada"]),
    ('USERNAME EQ "ada@example.org"', ["ada"]),
    ('userName sw "ada@"', ["ada"]),
    ('userName ew "B"', ["bob"]),
    ('externalId eq "ext-ada"', []),
    ('externalId eq "ext-Ada"', ["ada"]),
    ('externalId ne "x"', ["ada", "bob"]),
    ('not (externalId eq "x")', ["ada", "bob"]),
    ("externalId pr", ["ada"]),
    ("externalId eq null", ["bob"]),
    ("not (externalId pr) and userName pr", ["bob"]),
    ('displayName co "\\"countess\\" LÖV"', ["ada"]),
    ('emails eq "A@HOME.example"', ["ada"]),
    ('emails.value eq "bob@example.org"', ["bob"]),
    ('emails[type eq "work" and value eq "a@home.example"]', []),
    ('emails[type eq "home" and value eq "a@home.example"]', ["ada"]),
    ('emails[type eq "work"].value eq "ADA@example.org"', ["ada"]),
    ('emails[type eq "work"].value co "@example"', ["ada"]),
    ('emails[not (type eq "home")]', ["ada"]),
    ("emails[primary eq true]", ["ada"]),
    ('emails[primary eq "True"].value pr', ["ada"]),
    ('location eq "london"', ["ada"]),
    ('department eq "éNGINES"', ["ada"]),
    ('department gt "f"', ["ada", "bob"]),
    ('department sw "s"', ["bob"]),
    (f'{ENTERPRISE_URN}:department eq "sales"', ["bob"]),
    ('manager eq "p-2"', ["ada"]),
    ('manager.value eq "P-2"', []),
    ("badge eq 7", ["ada"]),
    ('badge eq "7"', ["bob"]),
    ("badge ge 6.5", ["ada"]),
    ("ready eq true", ["ada"]),
    ('ready eq "true"', ["bob"]),
    ("nothing pr", []),
    ("tags pr", ["ada"]),
    ('tags eq "blue"', ["ada"]),
    ("active eq true", ["ada"]),
    ("active eq false", ["bob"]),
    ('userName eq "bob" or userName eq "ada@example.org" and title eq "none"', ["bob"]),
    ('(userName eq "bob" or userName eq "ada@example.org") and title eq "analyst"', ["ada"]),
    ('title eq "100%"', []),
    ('title co "_"', []),
    ('meta.lastModified ge "2026-11-30T13:00:00+01:00"', ["ada", "bob"]),
    ('meta.created gt "2026-11-30T12:00:00Z"', []),
    ('meta.resourceType eq "User"', ["ada", "bob"]),
    ('groups.display eq "ENGINEERS"', ["ada"]),
    ('groups[value eq "g1"]', ["ada"]),
    ("groups pr", ["ada"]),
]


def test_both_databases_find_whom_the_filter_means(engine: Engine) -> None:
    _fill(engine, {"ada": ADA, "bob": BOB})
    with Session(engine) as session, session.begin():
        session.add_all(_group_with("ada"))

    found = {
        text: _found(engine, text, over, model) for text, _ in CASES for over, model in ((RECORDS, Record),)
    }

    assert found == dict(CASES)


def test_rules_ask_persons_the_same_way(engine: Engine) -> None:
    _fill(engine, {"ada": {**ADA, "userType": "Employee"}, "bob": BOB})
    with Session(engine) as session, session.begin():
        session.add_all(_group_with("ada"))

    asked = (
        'userType eq "employee"',
        'department eq "Éngines"',
        'groups.display eq "engineers"',
        "active eq true",
    )

    assert [_found(engine, text, PERSONS, Person) for text in asked] == [["ada"]] * 4


def _group_with(record_id: str) -> list[Any]:
    group = Group(
        organization_id=ORGANIZATION,
        id="g1",
        source_id="source",
        external_id="G-1",
        display_name="Engineers",
        display_name_key="engineers",
        document={"displayName": "Engineers"},
        created_at=AT,
        modified_at=AT,
        journal_id=1,
    )
    gone = Membership(organization_id=ORGANIZATION, group_id="g1", record_id="bob", ended_at=AT, journal_id=1)
    return [
        group,
        gone,
        Membership(organization_id=ORGANIZATION, group_id="g1", record_id=record_id, journal_id=1),
    ]


def test_groups_are_found_by_name_and_by_member_who_has_not_left(engine: Engine) -> None:
    _fill(engine, {"ada": ADA, "bob": BOB})
    with Session(engine) as session, session.begin():
        session.add_all(_group_with("ada"))

    asked = [
        'displayName eq "engineers"',
        'members eq "ada"',
        'members[value eq "bob"]',
        'id eq "g1" and members.value eq "ada"',
    ]

    assert [_found(engine, text, GROUPS, Group) for text in asked] == [["g1"], ["g1"], [], ["g1"]]


def test_text_at_gives_the_first_text_of_a_path(engine: Engine) -> None:
    _fill(engine, {"ada": ADA, "bob": BOB})
    paths = (
        "department",
        "location",
        "title",
        "tags",
        "emails.value",
        'emails[type eq "home"].value',
        "badge",
    )

    with Session(engine) as session:
        columns = [text_at(split_path(path), PERSONS, engine.dialect.name) for path in paths]
        rows = session.execute(select(*columns).order_by(Person.id)).all()

    assert [tuple(row) for row in rows] == [
        ("Éngines", "London", "Analyst", "red", "ada@example.org", "a@home.example", None),
        ("Sales", None, None, None, "bob@example.org", "bob@example.org", "7"),
    ]


NAMES = [
    "userName",
    "displayName",
    "title",
    "badge",
    "ready",
    "tags",
    "emails",
    "emails.value",
    "department",
    "name.familyName",
]
WORDS = st.sampled_from(
    [
        "ada",
        "ADA",
        "Straße",
        "STRASSE",
        "é",
        "É",
        "%",
        "_",
        "a b",
        "",
        'q"',
        "\\",
        "7",
        "true",
        "ﬁ",
        "ß",
        "work",
    ]
)
VALUES = st.one_of(WORDS, st.booleans(), st.integers(-9, 9), st.sampled_from([1.5, 7.0, None]))
LEAVES = st.one_of(VALUES, st.lists(VALUES, max_size=3))
EMAIL = st.fixed_dictionaries(
    {}, optional={"value": WORDS, "type": st.sampled_from(["work", "Home"]), "primary": st.booleans()}
)
DOCUMENTS = st.fixed_dictionaries(
    {"userName": st.sampled_from(["ada", "Bob", "Straße", "É"])},
    optional={
        "active": st.booleans(),
        "displayName": WORDS,
        "title": LEAVES,
        "badge": LEAVES,
        "ready": LEAVES,
        "tags": st.lists(st.one_of(VALUES, st.just({}), st.just({"value": "ada"})), max_size=3),
        "emails": st.lists(EMAIL, max_size=3),
        "name": st.fixed_dictionaries({}, optional={"familyName": LEAVES}),
        ENTERPRISE_URN: st.fixed_dictionaries({}, optional={"department": WORDS}),
    },
)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _literal(value: Any) -> str:
    return (
        _quoted(value)
        if isinstance(value, str)
        else {True: "true", False: "false"}[value]
        if isinstance(value, bool)
        else str(value)
    )


def _comparison(name: str, operator: str, value: Any) -> str:
    texts_only = operator in ("co", "sw", "ew")
    ordered = operator in ("gt", "ge", "lt", "le")
    if (texts_only and not isinstance(value, str)) or (ordered and isinstance(value, bool)):
        value = "a"
    return f"{name} {operator} {_literal(value)}"


OPERATORS = st.sampled_from(["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"])
WANTED = st.one_of(WORDS, st.booleans(), st.integers(-9, 9), st.just(1.5))
COMPARISONS = st.builds(_comparison, st.sampled_from([*NAMES, "active"]), OPERATORS, WANTED)
INNER = st.builds(_comparison, st.sampled_from(["value", "type", "primary"]), OPERATORS, WANTED)
ATOMS = st.one_of(
    COMPARISONS,
    st.sampled_from([f"{name} pr" for name in NAMES]),
    st.builds("emails[{} and {}]".format, INNER, INNER),
    st.builds("emails[not ({})]".format, INNER),
    st.builds('emails[type eq "work"].value eq {}'.format, WORDS.map(_quoted)),
)
FILTERS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("{} and {}".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=5,
)


def _as_person(document: dict[str, Any]) -> dict[str, Any]:
    """A person is always on or off and has always a name to be shown under."""
    shown = document.get("displayName") or document["userName"]
    return {**document, "active": document.get("active", True), "displayName": shown}


@settings(max_examples=200, deadline=None)
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=4), text=FILTERS)
def test_sql_finds_whom_python_finds(
    sqlite_engine: Engine, documents: list[dict[str, Any]], text: str
) -> None:
    people = {f"p{number}": _as_person(document) for number, document in enumerate(documents)}
    with Session(sqlite_engine) as session, session.begin():
        for table in reversed(TABLES):
            session.execute(table.delete())
        session.add_all(_person(key, document) for key, document in people.items())
    wanted = [key for key, document in people.items() if matches(parse(text), document)]

    found = _found(sqlite_engine, text, PERSONS, Person)

    assert found == wanted
