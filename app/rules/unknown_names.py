"""Attributes that a rule file names and nobody has: most likely misspelled, so that their rule reaches nobody, or with `not` everybody."""

import difflib
from collections.abc import Iterator, Sequence

from sqlalchemy import literal, select
from sqlalchemy.orm import Session

from app.directory.filter_sql import compile_filter
from app.directory.filterable import PERSONS
from app.directory.filters import And, AttributePath, Compare, Filter, Not, Or, Present, ValuePath, split_path
from app.directory.filters import parse as parse_filter
from app.directory.tables import Person
from app.directory.vocabulary import ENTERPRISE, ENTERPRISE_URN, SCHEMAS, USER_URN, attribute_at
from app.rules.file import Rule
from app.rules.grouping import parse_grouping

Names = tuple[str, ...]


def unknown_names(session: Session, organization_id: str, rules: Sequence[Rule]) -> list[str]:
    """A sentence for each name that no schema of SCIM's has, and nobody of now. What an extension of one's own has is not judged.

    Looks at everybody where there is such a name, and at nobody else where there is none.
    """
    found: list[str] = []
    for rule in rules:
        for field, names in _named(rule):
            if not _is_known(names) and not _somebody_has(session, organization_id, names):
                found.append(f"rule {rule.id!r}, field {field!r}: nobody has {_said(names)!r}{_meant(names)}")
    return list(dict.fromkeys(found))


def _named(rule: Rule) -> Iterator[tuple[str, Names]]:
    if rule.where is not None:
        yield from (("where", names) for names in _asked(parse_filter(rule.where), ()))
    if rule.for_each is not None and parse_grouping(rule.for_each) is not None:
        path = split_path(rule.for_each)
        yield from (("for_each", names) for names in _of_path(path, ()))


def _asked(filter: Filter, within: Names) -> Iterator[Names]:
    match filter:
        case And(terms=terms) | Or(terms=terms):
            for term in terms:
                yield from _asked(term, within)
        case Not(term=term):
            yield from _asked(term, within)
        case Present(path=path) | Compare(path=path):
            yield from _of_path(path, within)
        case ValuePath(path=path, filter=inner):
            yield from _of_path(path, within)
            yield from _asked(inner, (*within, *path.names))


def _of_path(path: AttributePath, within: Names) -> Iterator[Names]:
    names = (*within, *path.names)
    yield names
    if path.where is not None:
        yield from _asked(path.where, names)
    if path.sub is not None:
        yield (*names, path.sub)


def _is_known(names: Names) -> bool:
    if ":" in names[0] and (len(names) == 1 or names[0] not in SCHEMAS):
        return True
    return attribute_at(names) is not None


def _somebody_has(session: Session, organization_id: str, names: Names) -> bool:
    has = compile_filter(Present(path=AttributePath(names=names)), PERSONS, session.get_bind().dialect.name)
    return session.scalar(select(literal(1)).where(Person.organization_id == organization_id, has).limit(1)) is not None


def _meant(names: Names) -> str:
    """What may have been meant, by what there is at the same place."""
    above = attribute_at(names[:-1]) if len(names) > 1 and ":" not in names[-2] else None
    there = above.subs if above is not None else {**SCHEMAS[USER_URN], **ENTERPRISE}
    near = difflib.get_close_matches(names[-1].lower(), there, n=1)
    return f"; did you mean {_said((*names[:-1], there[near[0]].name))!r}?" if near else ""


def _said(names: Names) -> str:
    """As rules write it, where the enterprise extension need not be named."""
    return ".".join(names[1:] if names[0] == ENTERPRISE_URN else names)
