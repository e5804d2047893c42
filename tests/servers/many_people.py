"""A large directory as LDIF for `slapadd`: always the same one for the same numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.servers.openldap import OpenLDAP

GIVEN = ("Ada", "Ben", "Chloe", "Dan", "Eva", "Finn", "Gia", "Hugo", "Ines", "Jan", "Kai", "Lea", "Max", "Nora", "Olaf", "Pia")
FAMILY = ("Adler", "Braun", "Costa", "Evans", "Fischer", "Haas", "Ito", "Jones", "Klein", "Lopez", "Novak", "Ortiz", "Rossi", "Silva")
DEPARTMENTS = 50


def ldif_of(people: int, groups: int, *, memberships: int = 6) -> str:
    """Everybody is in `everyone`, in one department's group, and in some more; one group in a hundred holds the next one."""
    return "\n".join(_entries(people, groups, memberships))


def _entries(people: int, groups: int, memberships: int) -> Iterator[str]:
    base, chance = OpenLDAP.base, random.Random(7)
    yield f"dn: {base}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n"
    for unit in ("staff", "branch", "groups", "policies", "services"):
        yield f"dn: ou={unit},{base}\nobjectClass: organizationalUnit\nou: {unit}\n"
    yield f"dn: {OpenLDAP.sync_dn}\nobjectClass: simpleSecurityObject\nobjectClass: organizationalRole\ncn: sync\nuserPassword: Sync-Passw0rd!\n"
    members: list[list[int]] = [[] for _ in range(groups)]
    for number in range(people):
        some = {0, 1 + number % min(DEPARTMENTS, groups - 1)}
        while len(some) < min(memberships, groups):
            some.add(chance.randrange(groups))
        for group in some:
            members[group].append(number)
        yield _person(number, base)
    for number, within in enumerate(members):
        lines = [f"member: {_dn(person, base)}" for person in within] or [f"member: {OpenLDAP.sync_dn}"]
        if number % 100 == 99 and number + 1 < groups:
            lines.append(f"member: cn=g{number + 1:04d},ou=groups,{base}")
        yield "\n".join([f"dn: cn=g{number:04d},ou=groups,{base}", "objectClass: groupOfNames", f"cn: g{number:04d}", *lines, ""])


def _person(number: int, base: str) -> str:
    given, family = GIVEN[number % len(GIVEN)], FAMILY[number // len(GIVEN) % len(FAMILY)]
    lines = [
        f"dn: {_dn(number, base)}", "objectClass: inetOrgPerson", f"uid: u{number:06d}", f"cn: {given} {family} {number}",
        f"sn: {family}", f"givenName: {given}", f"displayName: {given} {family}", f"mail: u{number:06d}@corp.example",
        f"employeeNumber: {100_000 + number}", f"employeeType: {'contractor' if number % 10 == 0 else 'employee'}",
        f"departmentNumber: D{number % DEPARTMENTS:02d}", f"title: Engineer {number % 7}", f"telephoneNumber: +49 30 {number:07d}",
        *([f"manager: {_dn(number // 8, base)}"] if number else []), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _dn(number: int, base: str) -> str:
    return f"uid=u{number:06d},ou=staff,{base}"
