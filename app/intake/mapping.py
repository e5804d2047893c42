"""Attribute mapping: what a source's people become before they are matched, by expressions that an administrator writes.

A mapping names SCIM attributes on its left and has expressions over `person` on its right; attributes that it does not name stay as the
source has them. Every expression sees the person as the source has them, never what another expression made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from app.directory.vocabulary import ENTERPRISE_URN, STANDARD, USER_URN, Vocabulary
from app.intake.mapping_example import EXAMPLE, is_there
from app.intake.mapping_expressions import Expression, Misused, NoValue, UnusableExpression, compile_expression
from app.intake.mapping_places import Misfit, Place, UnusableMapping, Way, fitted, read_place, write
from connectors.source_contract import SourcePerson

__all__ = ["MOST_ATTRIBUTES", "PersonMapping", "Unmappable", "UnusableMapping", "apply", "check", "compile_mapping", "what_becomes"]

MOST_ATTRIBUTES: Final = 50


class Unmappable(Exception):
    """One person who cannot be mapped, and is set aside: `str()` is a sentence with attribute and reason, without anything of the person.

    `active` is what is sure all the same. Somebody who is off must be heard of, however odd the rest is.
    """

    def __init__(self, attribute: str, reason: str, *, active: bool) -> None:
        super().__init__(f"{attribute} cannot be mapped: {reason}")
        self.attribute, self.reason, self.active = attribute, reason, active


@dataclass(frozen=True, kw_only=True)
class Part:
    """One attribute, and what it becomes."""

    place: Place
    expression: Expression


@dataclass(frozen=True, kw_only=True)
class PersonMapping:
    """A mapping that was read, in the order in which it is worked off."""

    parts: tuple[Part, ...]


def compile_mapping(mapping: Mapping[str, Any], vocabulary: Vocabulary = STANDARD) -> PersonMapping:
    """Read a mapping as it is kept. Raises UnusableMapping."""
    if len(mapping) > MOST_ATTRIBUTES:
        raise UnusableMapping("the mapping", f"it names {len(mapping)} attributes; at most {MOST_ATTRIBUTES}")
    parts: dict[tuple[str, ...], Part] = {}
    for path, text in mapping.items():
        place = read_place(path, vocabulary)
        _refuse_twice(place, [part.place for part in parts.values()])
        if not isinstance(text, str):
            raise UnusableMapping(path, "what it becomes must be written as a text")
        try:
            parts[place.spelled] = Part(place=place, expression=compile_expression(text))
        except UnusableExpression as error:
            raise UnusableMapping(path, str(error), character=error.character) from None
    # Whether somebody is on comes first, so that it is known even where the rest cannot be computed.
    return PersonMapping(parts=tuple(sorted(parts.values(), key=lambda part: part.place.way is not Way.ACTIVE)))


def _refuse_twice(place: Place, others: list[Place]) -> None:
    for other in others:
        if other.spelled == place.spelled or (other.keys == place.keys and Way.LIST in (other.way, place.way)):
            raise UnusableMapping(place.path, f"{other.path} says the same")


def check(mapping: Mapping[str, Any], vocabulary: Vocabulary = STANDARD) -> None:
    """Read a mapping and try it on an example of somebody who has every attribute. Raises UnusableMapping.

    What fails only because the example lacks something, or because of a value of it, may be right for others and is no reason.
    """
    for part in compile_mapping(mapping, vocabulary).parts:
        problem: str | None = None
        try:
            fitted(part.place, part.expression.value(_seen(EXAMPLE)))
        except Misused as error:
            problem = str(error)
        except NoValue:
            continue
        except Misfit as error:
            problem = str(error)
        if problem is not None and part.expression.names_only(is_there):
            raise UnusableMapping(part.place.path, f"tried on an example, {problem}")


def apply(compiled: PersonMapping, person: SourcePerson) -> SourcePerson:
    """What this person becomes. Pure: the same for the same two, and the person who is given is left as they are. Raises Unmappable."""
    values = what_becomes(compiled, person)
    document = dict(person.document)
    changes: dict[str, Any] = {}
    for place, value in values:
        match place.way:
            case Way.USER_NAME:
                changes["user_name"] = value
            case Way.EXTERNAL_ID:
                changes["external_id"] = value
            case Way.ACTIVE:
                changes["active"] = value
            case _:
                write(place, document, value)
    return replace(person, document=_with_schemas(document), **changes)


def what_becomes(compiled: PersonMapping, person: SourcePerson) -> list[tuple[Place, Any]]:
    """Every attribute that is mapped, and its value; None for one that is not there afterwards. Raises Unmappable."""
    seen, active = _seen(person), person.active
    values = []
    for part in compiled.parts:
        place = part.place
        try:
            value = fitted(place, part.expression.value(seen))
        except (NoValue, Misfit) as error:
            raise Unmappable(place.path, str(error), active=active) from None
        if value is None and place.way in (Way.USER_NAME, Way.ACTIVE):
            raise Unmappable(place.path, "it comes out empty, and nobody can be without it", active=active)
        if place.way is Way.ACTIVE:
            active = value
        values.append((place, value))
    return values


def _seen(person: SourcePerson) -> dict[str, Any]:
    return {
        "document": person.document, "key": person.key, "userName": person.user_name, "externalId": person.external_id, "state": person.state,
        "active": person.active, "startsAt": person.starts_at, "endsAt": person.ends_at,
    }  # fmt: skip


def _with_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """RFC 7643 §3: `schemas` names the extensions that are there. Those that the source named stay named."""
    named = document.get("schemas")
    there = [name for name in named if isinstance(name, str)] if isinstance(named, list) else [USER_URN]
    missing = [key for key, value in document.items() if ":" in key and isinstance(value, Mapping) and key not in there]
    gone = [urn for urn in there if urn not in (USER_URN, ENTERPRISE_URN) and urn not in document]
    if missing or gone:
        document["schemas"] = [*(urn for urn in there if urn not in gone), *missing]
    return document
