"""Names in a rule file that nobody has are told, with what may have been meant; names that are known, or that somebody has, are not."""

from __future__ import annotations

import pytest

from app.rules.file import parse
from app.rules.unknown_names import unknown_names
from tests.unit.rules.conftest import ORGANIZATION, Company

pytestmark = pytest.mark.slow

RULE = "rules:\n  - id: r\n    name: {name}\n    {field}: '{text}'\n"


@pytest.fixture
def staffed(company: Company) -> Company:
    company.hires("Ada", costBand={"level": "7"})
    return company


def told(company: Company, text: str, *, field: str = "where") -> list[str]:
    rules = parse(RULE.format(field=field, text=text, name="all" if field == "where" else '"{{ key | slug }}"'))
    return unknown_names(company.session, ORGANIZATION, rules)


@pytest.mark.parametrize(
    ("text", "name", "meant"),
    [
        ('departmnt eq "Sales"', "departmnt", "department"),
        ('not (userTyp eq "Contractor")', "userTyp", "userType"),
        ('active eq true and (title pr or name.givenNam eq "Ada")', "name.givenNam", "name.givenName"),
        ('addresses[type eq "work" and contry eq "DE"]', "addresses.contry", "addresses.country"),
        ('manager.valu eq "x"', "manager.valu", "manager.value"),
        ("nosuch pr", "nosuch", None),
        ('costBand.lvl eq "7"', "costBand.lvl", None),
        # What no schema has is known by the spelling that it came with.
        ('COSTBAND.LEVEL eq "7"', "COSTBAND.LEVEL", None),
    ],
)
def test_a_name_that_nobody_has_is_told(staffed: Company, text: str, name: str, meant: str | None) -> None:
    [said] = told(staffed, text)

    assert said == f"rule 'r', field 'where': nobody has '{name}'" + ("" if meant is None else f"; did you mean '{meant}'?")


@pytest.mark.parametrize(
    "text",
    [
        'department eq "Sales"', 'userType eq "Employee"', 'groups.display eq "x"', 'location eq "Berlin"', 'manager eq "x"', 'manager.displayName pr',
        'emails[type eq "work" and primary eq true]', 'urn:example:User:floor eq "3"', 'costBand.level eq "7"', 'meta.created gt "2020-01-01T00:00:00Z"',
        "id pr", 'x509Certificates.value pr', "externalId pr",
    ],
)  # fmt: skip
def test_a_name_that_is_known_or_that_somebody_has_is_not(staffed: Company, text: str) -> None:
    assert told(staffed, text) == []


def test_what_people_are_gathered_by_is_looked_at_too(staffed: Company) -> None:
    assert told(staffed, "departmen", field="for_each")[0].startswith("rule 'r', field 'for_each': nobody has 'departmen'")
    assert told(staffed, "addresses[typ eq \"work\"].locality".replace("'", "''"), field="for_each")[0].startswith(
        "rule 'r', field 'for_each': nobody has 'addresses.typ'"
    )
    for known in ("department", "manager", "group", "location", "title", "costBand.level", 'addresses[type eq "work"].locality'):
        assert told(staffed, known, field="for_each") == []


def test_where_nothing_is_unknown_nobody_is_looked_at() -> None:
    class Nobody:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

    assert unknown_names(Nobody(), ORGANIZATION, parse(RULE.format(field="where", text="title pr", name="all"))) == []  # type: ignore[arg-type]
