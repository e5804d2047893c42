"""Cycles in the manager line: reported, never followed."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.directory.tables import Person, Standing


def manager_cycles(session: Session, organization_id: str) -> list[tuple[str, ...]]:
    """Every ring of people who manage each other, by person id; who names themselves is a ring of one."""
    query = select(Person.id, Person.manager_id).where(
        Person.organization_id == organization_id, Person.manager_id.is_not(None), Person.standing != Standing.DEPARTED
    )
    managers = {row.id: row.manager_id for row in session.execute(query, execution_options={"yield_per": 1000}) if row.manager_id}
    return cycles(managers)


def cycles(managers: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The rings among `person -> manager`, each once, starting at its smallest id and going up the line; sorted."""
    done: set[str] = set()
    found: list[tuple[str, ...]] = []
    for start in managers:
        line: dict[str, int] = {}
        person: str | None = start
        while person is not None and person not in done and person not in line:
            line[person] = len(line)
            person = managers.get(person)
        if person is not None and person in line:
            ring = list(line)[line[person] :]
            first = ring.index(min(ring))
            found.append((*ring[first:], *ring[:first]))
        done.update(line)
    return sorted(found)
