"""Part of a name finds just those who have it, whatever the index knows of them, on both databases."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Integer, Select, Text, and_, bindparam, literal, select, text
from sqlalchemy.orm import Session

from app.assembly import create_app
from app.commands import housekeeping
from app.database import db, in_transaction, reading
from app.directory import name_parts
from app.directory.filter_sql import compile_filter
from app.directory.filterable import RECORDS
from app.directory.filters import AttributePath, Compare
from app.directory.name_parts import name_fits, names_sampled, told
from app.directory.names import name_key
from app.directory.tables import Record
from app.directory.values import Operator, Sense, fold
from app.schema import upgrade
from app.settings import from_environment
from tests.servers.postgres import DatabaseName, Postgres

pytestmark = pytest.mark.slow

ORGANIZATION = "org"
PARTS = ("ada", "da", "a", '"', 'a"d', "%", "a%a", "_", "a_a", "\\", "\\%", "é", "e\u0301", "😀", "a😀a", "ß", "ss", "*", "ada OR", "-", "'", "@ex", "ada@ex")  # fmt: skip
_numbers = count(1)


class Directory:
    """A source of its own in the database that all examples share: its records are never deleted, only ended."""

    def __init__(self) -> None:
        self.source = f"source-{next(_numbers)}"
        self.names: dict[str, str] = {}
        self._ids = count(10)

    def add(self, name: str) -> None:
        if name_key(name) in self.names.values() or not name_key(name):
            return
        key, record_id = name_key(name), f"{self.source}-{next(self._ids)}"
        _add(record_id, self.source, key)
        self.names[record_id] = key

    def rename(self, number: int, name: str) -> None:
        if self.names and name_key(name) and name_key(name) not in self.names.values():
            record_id = sorted(self.names)[number % len(self.names)]
            self.names[record_id] = name_key(name)
            _change(record_id, user_name_key=name_key(name))

    def end(self, number: int) -> None:
        if self.names:
            record_id = sorted(self.names)[number % len(self.names)]
            del self.names[record_id]
            _change(record_id, ended_at=1)

    def having(self, operator: Operator, part: str) -> list[str]:
        holds: dict[Operator, Callable[[str], bool]] = {
            Operator.CO: lambda key: fold(part) in key,
            Operator.SW: lambda key: key.startswith(fold(part)),
            Operator.EW: lambda key: key.endswith(fold(part)),
        }
        return sorted(record_id for record_id, key in self.names.items() if holds[operator](key))


def _add(record_id: str, source: str, key: str) -> None:
    row = {"organization_id": ORGANIZATION, "id": record_id, "source_id": source, "person_id": record_id, "user_name": key, "user_name_key": key}
    said = {"active": True, "held": False, "document": "{}", "version": 1, "journal_id": 1, "active_said_at": 1, "created_at": 1, "modified_at": 1}
    names = [*row, *said]
    with db.engine.begin() as connection:
        connection.execute(text(f"INSERT INTO record ({','.join(names)}) VALUES ({','.join(':' + name for name in names)})"), {**row, **said})


def _change(record_id: str, **columns: Any) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    with db.engine.begin() as connection:
        connection.execute(text(f"UPDATE record SET {sets}, journal_id = journal_id + 1 WHERE id = :id"), {"id": record_id, **columns})


def _catch_up() -> None:
    while in_transaction(name_parts.catch_up):
        pass


def _filtered(session: Session, directory: Directory, operator: Operator, part: str) -> list[str]:
    asked = Compare(path=AttributePath(names=("userName",)), op=operator, value=part, sense=Sense.FOLDED)
    fits = compile_filter(asked, RECORDS, db.engine.dialect.name, rare=name_parts.rare(session))
    own = (Record.organization_id == ORGANIZATION, Record.source_id == directory.source, Record.ended_at.is_(None))
    return list(session.scalars(select(Record.id).where(*own, fits).order_by(Record.id)))


def _joined(operator: Operator, *, limited: bool) -> Select[Any]:
    """As hot reads ask: beside the client, and with the text given when it is run."""
    client = select(literal(ORGANIZATION).label("organization_id"), bindparam("source", type_=Text()).label("source_id")).subquery("client")
    own = (client.c.organization_id, client.c.source_id) if limited else None
    most = bindparam("most", type_=Integer()) if limited else None
    fits = _fits(operator, own=own, most=most)
    mine = and_(Record.organization_id == client.c.organization_id, Record.source_id == client.c.source_id, Record.ended_at.is_(None), fits)
    return select(Record.id).select_from(client).outerjoin(Record, mine).order_by(Record.id)


def _fits(operator: Operator, **asked: Any) -> Any:
    value, telling = bindparam("value", type_=Text()), [bindparam(name, type_=Text()) for name in ("one", "two", "three")]
    return name_fits(Record.user_name_key, operator, value, db.engine.dialect.name, telling=telling, **asked)


def _values(part: str, *, sample: str = "") -> dict[str, str]:
    asked = told(fold(part), db.engine.dialect.name, sample=sample)
    return {"value": fold(part), "one": asked[0], "two": asked[-1], "three": asked[len(asked) // 2]}


def _looked_up(session: Session, directory: Directory, operator: Operator, part: str, most: int | None = None, *, sample: str = "") -> list[str]:
    values: dict[str, Any] = {"source": directory.source, **_values(part, sample=sample)} | ({} if most is None else {"most": most})
    return [one for one in session.scalars(_joined(operator, limited=most is not None), values) if one is not None]


def _assert_exact(directory: Directory, part: str) -> None:
    with reading() as session:
        for operator in sorted(name_parts.PARTLY):
            expected = directory.having(operator, part)
            assert _filtered(session, directory, operator, part) == expected, (operator, part)
            assert _looked_up(session, directory, operator, part) == expected, (operator, part)
            assert _looked_up(session, directory, operator, part, sample=part * 9) == expected, (operator, part)
            assert _looked_up(session, directory, operator, part, 100) == expected, (operator, part)
            few = _looked_up(session, directory, operator, part, 2)
            assert set(few) <= set(expected) and len(few) >= min(2, len(expected)), (operator, part)


NAMES = st.one_of(
    st.text(alphabet='ad%_\\"*@.é\u0301e😀ßs-\' A', min_size=1, max_size=8),
    st.sampled_from(["ada@example.org", "Ada Lovelace", "x" * 300 + "ada", "ada-OR-ada", "ﬁda", "ΑΣ"]),
)
ACTS = st.one_of(
    st.tuples(st.just("add"), NAMES),
    st.tuples(st.just("rename"), st.integers(0, 9), NAMES),
    st.tuples(st.just("end"), st.integers(0, 9)),
    st.tuples(st.just("catch up")),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, min_size=1, max_size=12), drawn=NAMES)
def test_part_of_a_name_finds_just_those_who_have_it(installed: Flask, acts: list[tuple[Any, ...]], drawn: str) -> None:
    directory = Directory()

    for act, *said in acts:
        if act == "catch up":
            _catch_up()
        else:
            getattr(directory, act)(*said)

    for part in (drawn, *(key[1:] for key in directory.names.values() if len(key) > 1)):
        if fold(part):
            _assert_exact(directory, part)


@pytest.fixture
def directory(installed: Flask) -> Directory:
    """Names with everything in them that a query language could take for its own."""
    directory = Directory()
    for number, part in enumerate(PARTS):
        directory.add(f"n{number}.{part}.ada")
        directory.add(f"{part}{number}")
    return directory


@pytest.mark.parametrize("known", ["none", "half", "all"])
def test_all_parts_are_found_however_many_the_index_knows(directory: Directory, known: str) -> None:
    if known != "none":
        _catch_up()
    if known == "half":
        for number, part in enumerate(PARTS):
            directory.add(f"later{number}{part}")
            directory.rename(number * 2, f"renamed{number}{part}")

    for part in PARTS:
        _assert_exact(directory, part)


def test_a_name_that_was_changed_is_found_by_the_new_one_alone(directory: Directory) -> None:
    _catch_up()
    directory.add("grace@example.org")
    _catch_up()
    (record_id,) = directory.having(Operator.CO, "grace")
    _change(record_id, user_name_key="hopper@example.org")
    directory.names[record_id] = "hopper@example.org"

    for _ in range(2):
        _assert_exact(directory, "grace")
        _assert_exact(directory, "hopper")
        _catch_up()
    _change(record_id, user_name_key="grace@example.org")
    directory.names[record_id] = "grace@example.org"
    _assert_exact(directory, "grace")


def test_another_organisations_record_of_the_same_id_is_not_found(directory: Directory) -> None:
    directory.add("grace")
    record_id = next(iter(directory.having(Operator.CO, "grace")))
    with db.engine.begin() as connection:
        columns = [column.name for column in Record.__table__.columns if column.name not in ("organization_id", "user_name_key")]
        names = ",".join(columns)
        connection.execute(
            text(f"INSERT INTO record (organization_id, user_name_key, {names}) SELECT 'other', 'hopper', {names} FROM record WHERE id = :id"),
            {"id": record_id},
        )

    for _ in range(2):
        _assert_exact(directory, "hopper")
        _catch_up()


def test_the_tick_takes_new_names_into_the_index(installed: Flask, directory: Directory) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's index is never behind")

    housekeeping.tick(installed)

    with db.engine.connect() as connection:
        assert connection.scalar(text("SELECT number FROM name_part_upto")) == len(directory.names)
        matched = text("""SELECT count(*) FROM name_part WHERE name MATCH '"ada"'""")
        assert connection.scalar(matched) == len(directory.having(Operator.CO, "ada"))


def test_a_vacuum_changes_no_answer(directory: Directory) -> None:
    _catch_up()
    directory.end(3)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.connection.driver_connection.execute("VACUUM")  # type: ignore[union-attr]  # it is connected

    for part in PARTS:
        _assert_exact(directory, part)


def test_the_index_is_used(directory: Directory) -> None:
    _catch_up()
    dialect = db.engine.dialect.name
    statement = _joined(Operator.EW, limited=False)
    with db.engine.connect() as connection:
        if dialect == "postgresql":
            # With so few records every other way is as good, so there is none.
            statement = select(Record.id).where(Record.ended_at.is_(None), _fits(Operator.EW))
            connection.execute(text("DROP INDEX ix_record_source, uq_record_user_name, uq_record_external_id"))
            connection.execute(text("SET enable_seqscan = off"))
        made = statement.compile(db.engine, compile_kwargs={"render_postcompile": True})
        given = made.construct_params({"source": directory.source, **_values("ada")})
        explain = "EXPLAIN QUERY PLAN " if dialect == "sqlite" else "EXPLAIN "
        values: Any = given if made.positiontup is None else tuple(given[name] for name in made.positiontup)

        plan = str(connection.exec_driver_sql(explain + str(made), values).all())

    expected = ["SCAN part VIRTUAL TABLE", "SEARCH other USING INTEGER PRIMARY KEY (rowid>?)"] if dialect == "sqlite" else ["ix_record_name_part"]
    assert [one for one in expected if one not in plan] == [], plan


@pytest.mark.empty
def test_people_who_were_there_before_the_migration_are_found(database_url: str, tmp_path: Path) -> None:
    app = create_app(from_environment({"DOORLIST_HOME": str(tmp_path / "home"), "DATABASE_URL": database_url}))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[3] / "migrations"))
    config.set_main_option("path_separator", "os")
    with app.app_context():
        with db.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0004")
        directory = Directory()
        directory.add("ada@example.org")

        upgrade()

        for _ in range(2):
            _assert_exact(directory, "ada@ex")
            _catch_up()
        db.engine.dispose()


def test_a_table_that_stands_for_the_index_is_replaced_by_the_worker(directory: Directory) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("FTS5 is SQLite's")
    # As where FTS5 was missing when the schema was made, or where the index is to be begun anew.
    _catch_up()
    with db.engine.begin() as connection:
        for step in ("DROP TABLE name_part", "CREATE TABLE name_part (name TEXT)", "UPDATE name_part_upto SET number = 0"):
            connection.execute(text(step))
    with reading() as session:
        before = name_parts.is_indexed(session)
    _assert_exact(directory, "ada")

    _catch_up()

    with reading() as session:
        assert (before, name_parts.is_indexed(session)) == (False, True)
    _assert_exact(directory, "ada")


def test_a_process_whose_sqlite_has_no_fts5_looks_at_everybody(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    _catch_up()
    directory.rename(2, "renamed ada")
    monkeypatch.setattr(name_parts, "trigrams_known", lambda: False)

    for part in PARTS:
        _assert_exact(directory, part)
    _catch_up()


def test_many_names_are_found_without_the_index(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_parts, "RARE", 3)
    _catch_up()

    with reading() as session:
        rare = name_parts.rare(session)
        assert (rare("ada"), rare("n1.ada")) == (db.engine.dialect.name == "postgresql", True)
    _assert_exact(directory, "ada")


@pytest.mark.postgres
def test_who_may_not_add_the_extension_does_without(postgres: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name: DatabaseName = postgres.create()
    owner = postgres.url(name).replace("+psycopg", "")
    with psycopg.connect(owner, autocommit=True) as connection:
        role = f"plain_{name}"
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"GRANT ALL ON SCHEMA public TO {role}")
    url = postgres.url(name).replace("//doorlist@", f"//{role}@")
    app = create_app(from_environment({"DOORLIST_HOME": str(tmp_path / "home"), "DATABASE_URL": url}))
    with app.app_context():
        upgrade()
        directory = Directory()
        directory.add("ada@example.org")
        _catch_up()

        with reading() as session:
            assert not name_parts.is_indexed(session)
        assert "pg_trgm" in caplog.text
        _assert_exact(directory, "ada@ex")
        db.engine.dispose()


def test_a_sample_of_names_tells_what_many_have(directory: Directory) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite tells how many names have a trigram")
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for number in range(200):
            directory.add(f"user{number:07d}@northwind.example")
        connection.execute(text("ANALYZE record"))

        [(sample,)] = connection.execute(names_sampled()).all()

    assert 50 < sample.count("@northwind.example") <= 101
    assert told("user0000150", "postgresql", sample=sample) == ("%150%",)
