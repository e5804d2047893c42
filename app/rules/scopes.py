"""What a template may speak of: the key, and the manager or the group that it stands for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.directory.tables import Group, Person
from app.rules import templates
from app.rules.file import MANAGER, Rule
from app.rules.membership import Belongs
from app.statements import param, params

CHUNK = 500
"""Keys named in one statement."""
_PEOPLE: Final = select(Person.id, Person.user_name, Person.display_name, Person.document).where(
    Person.organization_id == param("organization"), Person.id.in_(params("ids"))
)
_GROUPS: Final = select(Group.id, Group.display_name, Group.external_id, Group.document).where(
    Group.organization_id == param("organization"), Group.id.in_(params("ids"))
)


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What a rule says of one of its channels, rendered as things stand now."""

    name: str
    topic: str
    parent: str | None


def render_all(
    session: Session, organization_id: str, rules: Mapping[str, Rule], belongs: Iterable[Belongs]
) -> dict[Belongs, Rendered]:
    """Render name, topic and parent of each; those whose rule is not among the rules are left out."""
    wanted = [one for one in belongs if one.rule_id in rules]
    managers = {one.key for one in wanted if rules[one.rule_id].for_each == MANAGER}
    groups = {one.key for one in wanted if rules[one.rule_id].for_each == "group"}
    words = {MANAGER: _people(session, organization_id, managers), "group": _groups(session, organization_id, groups)}
    rendered: dict[Belongs, Rendered] = {}
    for one in wanted:
        rule = rules[one.rule_id]
        scope: dict[str, object] = {"key": one.key}
        if rule.for_each in words:
            scope[rule.for_each] = words[rule.for_each].get(one.key, {})
        rendered[one] = _render(rule, scope, key=one.key)
    return rendered


def _render(rule: Rule, scope: Mapping[str, object], *, key: str) -> Rendered:
    parent = templates.render(rule.parent, scope) if rule.parent else ""
    return Rendered(
        name=templates.fit_name(templates.render(rule.name, scope), key=f"{rule.id}/{key}"),
        topic=templates.render(rule.topic, scope),
        parent=templates.fit_name(parent, key=parent) if parent else None,
    )


def _people(session: Session, organization_id: str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for some in chunks(ids):
        for row in session.execute(_PEOPLE, {"organization": organization_id, "ids": some}):
            found[row.id] = {**row.document, "id": row.id, "userName": row.user_name, "displayName": row.display_name}
    return found


def _groups(session: Session, organization_id: str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for some in chunks(ids):
        for row in session.execute(_GROUPS, {"organization": organization_id, "ids": some}):
            found[row.id] = {**row.document, "id": row.id, "displayName": row.display_name, "externalId": row.external_id or ""}
    return found


def chunks(items: Iterable[str]) -> list[list[str]]:
    """The distinct items in order, cut into lists that one statement can name."""
    ordered = sorted(set(items))
    return [ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK)]
