"""A number at the end of a name: one of ours, which keeps two channels apart and stays, or part of what the rules call the channel."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select, text, update

from app.assembly import create_app
from app.database import db, reading
from app.directory.tables import Group
from app.rules.channels import settle
from app.rules.moves import rename
from app.rules.revisions import apply_rules
from app.rules.shapes import shape
from app.rules.tables import Channel
from app.schema import upgrade
from app.settings import from_environment
from tests.unit.rules.conftest import OPERATOR, ORGANIZATION, Company, rules_of

DEPARTMENTS = rules_of("""- {id: d, for_each: department, name: "dept-{{ key | slug }}", topic: "{{ key }}: everyone"}""")
GROUPS = rules_of("""- {id: groups, for_each: group, name: "grp-{{ group.displayName | slug }}"}""")


def test_a_group_that_loses_its_number_renames_its_channel(company: Company) -> None:
    company.hires("Ada")
    company.has_group("Interns 2026", "ada")
    company.allocates(GROUPS)
    channel = company.channel_named("grp-interns-2026")
    company.session.execute(update(Group).values(display_name="Interns"))

    company.allocates(GROUPS)

    assert company.channel_named("grp-interns") == channel


def test_a_template_that_loses_its_number_renames_its_channel(company: Company) -> None:
    company.hires("Ada")

    assert company.roster(rules_of("- {id: all, name: summit-2026}")) == {"summit-2026": {"ada"}}
    assert company.roster(rules_of("- {id: all, name: summit}")) == {"summit": {"ada"}}


def test_a_rule_whose_name_loses_its_number_parts_from_a_shared_channel(company: Company) -> None:
    company.hires("Ada", userType="Employee")
    company.hires("Bob", userType="Contractor")
    staff = """- {id: staff, where: 'userType eq "Employee"', name: summit-2026}\n"""
    guests = """- {id: guests, where: 'userType eq "Contractor"', name: %s}\n"""
    assert company.roster(rules_of(staff + guests % "summit-2026")) == {"summit-2026": {"ada", "bob"}}

    assert company.roster(rules_of(staff + guests % "summit")) == {"summit-2026": {"ada"}, "summit": {"bob"}}


def test_what_was_made_apart_keeps_its_number_also_where_the_other_is_renamed(company: Company) -> None:
    company.hires("Ada")
    company.hires("Bob")
    first, _ = company.has_group("Choir", "ada"), company.has_group("Choir!", "bob")
    company.allocates(GROUPS)
    second = company.roster(GROUPS)["grp-choir-2"]
    company.session.execute(update(Group).where(Group.id == first).values(display_name="Band"))

    assert company.roster(GROUPS)["grp-choir-2"] == second


def test_a_key_that_gets_a_number_has_its_own_topic_and_lets_the_former_go(company: Company) -> None:
    company.hires("Ada", department="Sales")
    apply_rules(company.session, ORGANIZATION, DEPARTMENTS, OPERATOR, company.now)
    company.allocates(DEPARTMENTS)
    company.waits(hours=1)
    rename(company.session, ORGANIZATION, "d", "Sales", "Sales 2", company.now)
    channel = company.channel_named("dept-sales-2")
    found = shape(company.session, ORGANIZATION, DEPARTMENTS, channel)
    assert found is not None and found.topic == "Sales 2: everyone"

    company.moves("ada", department="Sales 2")
    settle(company.session, ORGANIZATION, [channel], company.now)
    company.hires("Bob", department="Sales")

    # Whoever comes to a department that is called as theirs once was is shown nothing that they wrote.
    assert company.roster(DEPARTMENTS) == {"dept-sales-2": {"ada"}, "dept-sales": {"bob"}}


@pytest.mark.empty
def test_of_channels_that_were_there_before_the_migration_those_may_be_numbered_that_stand_behind_another(database_url: str, tmp_path: Path) -> None:
    app = create_app(from_environment({"DOORLIST_HOME": str(tmp_path / "home"), "DATABASE_URL": database_url}))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[3] / "migrations"))
    config.set_main_option("path_separator", "os")
    cut = "x" * 78 + "-2"
    with app.app_context():
        with db.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0030")
            for name in ("choir", "choir-2", "choir-3", "interns-2026", "summit-2", cut):
                row = {"name": name, "at": 0}
                connection.execute(
                    text("INSERT INTO channel (organization_id, id, name, state, space, created_at) VALUES ('acme', :name, :name, 'active', false, :at)"), row
                )

        upgrade()

        with reading() as session:
            found = {name: plain for name, plain in session.execute(select(Channel.name, Channel.plain))}
        assert found == {"choir": "choir", "choir-2": None, "choir-3": None, "interns-2026": "interns-2026", "summit-2": "summit-2", cut: None}
        db.engine.dispose()
