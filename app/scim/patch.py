"""PATCH (RFC 7644 §3.5.2) in the dialects that Okta and Entra speak: pure changes of a document and of sets of members."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.directory.filters import And, AttributePath, Compare, Filter, FilterError, Or, matches, split_path
from app.directory.values import Operator
from app.directory.vocabulary import ENTERPRISE_URN, USER_URN, Attribute, Kind, attribute_at, schema_named
from app.scim.answers import Problem, refused
from app.scim.bodies import member_ids, tidied


class Verb(StrEnum):
    ADD = "add"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One change at one place; a request without a path has become one of these for each of its keys."""

    verb: Verb
    path: AttributePath
    value: Any


def read_operations(body: Mapping[str, Any]) -> list[Operation]:
    """The operations of a PATCH body, in order. Raises SCIMError."""
    listed = _member(body, "Operations")
    if not isinstance(listed, list):
        raise refused("Operations must be a list", Problem.INVALID_SYNTAX)
    operations: list[Operation] = []
    for number, said in enumerate(listed, start=1):
        if not isinstance(said, dict):
            raise refused(f"operation {number} must be an object", Problem.INVALID_SYNTAX)
        operations += _read_operation(said, number)
    return operations


def _read_operation(said: Mapping[str, Any], number: int) -> list[Operation]:
    word = _member(said, "op")
    try:
        # Entra writes Add, Replace, Remove.
        verb = Verb(word.lower() if isinstance(word, str) else "")
    except ValueError:
        raise refused(f"operation {number}: op must be add, replace or remove", Problem.INVALID_SYNTAX) from None
    path, value = _member(said, "path"), _member(said, "value")
    if path is not None and not isinstance(path, str):
        raise refused(f"operation {number}: path must be a text", Problem.INVALID_PATH)
    if path and path.strip():
        return [Operation(verb=verb, path=_place(path, value), value=value)]
    if verb is Verb.REMOVE:
        raise refused(f"operation {number}: remove needs a path", Problem.NO_TARGET)
    if not isinstance(value, dict):
        raise refused(f"operation {number}: without a path, value must be an object", Problem.INVALID_VALUE)
    return [Operation(verb=verb, path=_place(key, part), value=part) for key, part in value.items()]


def _member(said: Mapping[str, Any], name: str) -> Any:
    return next((value for key, value in said.items() if key.lower() == name.lower()), None)


def _place(text: str, value: Any) -> AttributePath:
    try:
        path = split_path(text.strip())
    except FilterError as error:
        raise refused(f"path {text!r}, {error}", Problem.INVALID_PATH) from None
    if ":" in text and isinstance(value, dict) and path.where is None and attribute_at(path.names) is None:
        # A whole extension whose schema is unknown here looks like an attribute of a shorter URN.
        return AttributePath(names=(schema_named(text.strip()),))
    return path


def patched(document: Mapping[str, Any], operations: Sequence[Operation]) -> dict[str, Any]:
    """The document after all operations; the one given stays as it is. Raises SCIMError."""
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    for operation in operations:
        _apply(changed, operation)
    return changed


def sets_number(operations: Sequence[Operation]) -> bool:
    """Whether these operations say an employee number themselves, in any of the ways to write one."""
    said = patched({}, [one for one in operations if one.path.names[0] == ENTERPRISE_URN])
    return bool(tidied(said, USER_URN).get(ENTERPRISE_URN, {}).get("employeeNumber"))


def _apply(document: dict[str, Any], operation: Operation) -> None:
    path, value = operation.path, operation.value
    # "" and null both unassign (Entra's "null update" test sends "").
    if operation.verb is Verb.REPLACE and value in (None, ""):
        value = None
    if operation.verb is Verb.ADD and value is None:
        return
    parent = _parent(document, path.names, make=operation.verb is not Verb.REMOVE and value is not None)
    if parent is None:
        return
    name = path.names[-1]
    if isinstance(parent, list):
        _apply_to_each(parent, name, operation.verb, value)
    elif path.where is not None:
        _apply_to_elements(parent, name, operation, value)
    elif operation.verb is Verb.REMOVE:
        _remove(parent, name, value)
    elif value is None:
        parent.pop(name, None)
    elif operation.verb is Verb.ADD:
        parent[name] = _added(parent.get(name), value, attribute_at(path.names))
    else:
        parent[name] = _replaced(parent.get(name), value, attribute_at(path.names))


def _parent(document: dict[str, Any], names: tuple[str, ...], *, make: bool) -> dict[str, Any] | list[Any] | None:
    place: Any = document
    for depth, name in enumerate(names[:-1], start=1):
        known = attribute_at(names[:depth])
        below = place.get(name)
        if not isinstance(below, dict | list):
            if not make:
                return None
            below = [] if known is not None and known.many else {}
            # The manager as a bare text stays the manager when something is said beside it.
            if isinstance(below, dict) and isinstance(place.get(name), str):
                below = {"value": place[name]}
            place[name] = below
        if isinstance(below, list):
            if depth + 1 != len(names):
                raise refused(f"path {'.'.join(names)} leads through a list", Problem.INVALID_PATH)
            if not below and make:
                below.append({})
            return below
        place = below
    return place  # type: ignore[no-any-return]  # every step above left a dict


def _apply_to_each(elements: list[Any], name: str, verb: Verb, value: Any) -> None:
    for element in elements:
        if isinstance(element, dict):
            if verb is Verb.REMOVE or value is None:
                element.pop(name, None)
            else:
                element[name] = value
    elements[:] = [element for element in elements if element != {}]


def _remove(parent: dict[str, Any], name: str, value: Any) -> None:
    there = parent.get(name)
    if isinstance(there, list) and value is not None:
        # Entra names what to take out of a list in `value`, and means only those.
        unwanted = [_value_of(element) for element in (value if isinstance(value, list) else [value])]
        parent[name] = [element for element in there if _value_of(element) not in unwanted]
        return
    parent.pop(name, None)


def _value_of(element: Any) -> Any:
    return element.get("value", element) if isinstance(element, dict) else element


def _added(there: Any, value: Any, known: Attribute | None) -> Any:
    many = known.many if known is not None else isinstance(there, list)
    if not many:
        return _replaced(there, value, known)
    elements = list(there) if isinstance(there, list) else [] if there is None else [there]
    for element in value if isinstance(value, list) else [value]:
        same = next((old for old in elements if _value_of(old) == _value_of(element)), None)
        if isinstance(same, dict) and isinstance(element, dict):
            same.update(element)
        elif same is None:
            elements.append(element)
        if isinstance(element, dict) and _is_true(element.get("primary")):
            _only_primary(elements, same if isinstance(same, dict) else element)
    return elements


def _replaced(there: Any, value: Any, known: Attribute | None) -> Any:
    if not isinstance(there, dict) or not isinstance(value, dict):
        return value
    if known is not None and (known.kind is not Kind.COMPLEX or "value" in known.subs):
        # Another manager must not keep the former one's displayName.
        return value
    # RFC 7644 §3.5.2.3: of a complex attribute, the sub-attributes that are given are replaced.
    folded = {key.lower(): key for key in there}
    return {**there, **{folded.get(key.lower(), key): part for key, part in value.items()}}


def _apply_to_elements(parent: dict[str, Any], name: str, operation: Operation, value: Any) -> None:
    where, sub = operation.path.where, operation.path.sub
    assert where is not None
    there = parent.get(name)
    single = isinstance(there, dict)
    elements: list[Any] = [there] if single else list(there) if isinstance(there, list) else []
    fitting = [element for element in elements if isinstance(element, dict) and matches(where, element)]
    if operation.verb is Verb.REMOVE or value is None:
        elements = _without(elements, fitting, sub, operation.value)
    else:
        if not fitting:
            # RFC 7644 would refuse with noTarget; Entra sets a first work address this way and expects it made.
            fitting = [_made_to_fit(where)]
            elements.append(fitting[0])
        for element in fitting:
            _set_in_element(element, sub, value, where, replace=operation.verb is Verb.REPLACE)
            if _is_true(element.get("primary")) and (sub == "primary" or sub is None):
                _only_primary(elements, element)
    if not elements:
        parent.pop(name, None)
    else:
        parent[name] = elements[0] if single and len(elements) == 1 else elements


def _without(elements: list[Any], fitting: list[dict[str, Any]], sub: str | None, named: Any) -> list[Any]:
    if sub is None:
        return [element for element in elements if not any(element is gone for gone in fitting)]
    for element in fitting:
        # A value that is named and is not there any more is not to be removed.
        if named in (None, "") or isinstance(named, list | dict) or element.get(sub) == named:
            element.pop(sub, None)
    # An address without its value says nothing.
    return [
        element
        for element in elements
        if not (sub == "value" and "value" not in element and any(element is changed for changed in fitting))
    ]


def _set_in_element(element: dict[str, Any], sub: str | None, value: Any, where: Filter, *, replace: bool) -> None:
    if sub is not None:
        element[sub] = value
        return
    if replace and isinstance(value, dict):
        kept = _pairs(where) or {}
        element.clear()
        element.update(kept)
    element.update(value if isinstance(value, dict) else {"value": value})


def _made_to_fit(where: Filter) -> dict[str, Any]:
    pairs = _pairs(where)
    if pairs is None:
        raise refused("no element fits the path, and none can be made from it", Problem.NO_TARGET)
    return pairs


def _pairs(where: Filter) -> dict[str, Any] | None:
    """What an element must hold to fit, where the filter says just that."""
    match where:
        case Compare(path=path, op=Operator.EQ, value=value) if len(path.names) == 1:
            return {path.names[0]: value}
        case And(terms=terms):
            pairs: dict[str, Any] = {}
            for term in terms:
                found = _pairs(term)
                if found is None:
                    return None
                pairs.update(found)
            return pairs
        case _:
            return None


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _only_primary(elements: list[Any], chosen: dict[str, Any]) -> None:
    # RFC 7643 §2.4: the primary value occurs no more than once.
    for element in elements:
        if isinstance(element, dict) and element is not chosen and _is_true(element.get("primary")):
            element["primary"] = False


@dataclass(kw_only=True)
class MemberChanges:
    """What becomes of a group's members: the `whole` set where one was given, else who is added and who removed."""

    whole: set[str] | None = None
    add: set[str] = field(default_factory=set)
    remove: set[str] = field(default_factory=set)

    def set_whole(self, ids: Sequence[str]) -> None:
        self.whole, self.add, self.remove = set(ids), set(), set()

    def join(self, ids: Sequence[str]) -> None:
        if self.whole is not None:
            self.whole.update(ids)
            return
        self.add.update(ids)
        self.remove.difference_update(ids)

    def leave(self, ids: Sequence[str]) -> None:
        if self.whole is not None:
            self.whole.difference_update(ids)
            return
        self.remove.update(ids)
        self.add.difference_update(ids)


def split_members(operations: Sequence[Operation]) -> tuple[MemberChanges, list[Operation]]:
    """A group's operations: those on members as sets, so that nobody else need be read, and the others. Raises SCIMError."""
    changes = MemberChanges()
    others: list[Operation] = []
    for operation in operations:
        if operation.path.names[0] != "members":
            others.append(operation)
        else:
            _change_members(changes, operation)
    return changes, others


def _change_members(changes: MemberChanges, operation: Operation) -> None:
    path, value = operation.path, operation.value
    if len(path.names) > 1 or path.sub is not None:
        raise refused("a member is added or removed as a whole", Problem.INVALID_PATH)
    if path.where is not None:
        if operation.verb is not Verb.REMOVE:
            raise refused('members[…] can be removed only; members are added at "members"', Problem.INVALID_PATH)
        changes.leave(_ids_named(path.where))
    elif operation.verb is Verb.REPLACE:
        changes.set_whole(member_ids(value))
    elif operation.verb is Verb.ADD:
        changes.join(member_ids(value))
    elif value is None:
        changes.set_whole(())
    else:
        changes.leave(member_ids(value))


def _ids_named(where: Filter) -> list[str]:
    match where:
        case Compare(path=AttributePath(names=("value",)), op=Operator.EQ, value=str() as named):
            return [named]
        case Or(terms=terms):
            return [named for term in terms for named in _ids_named(term)]
        case _:
            raise refused('members are named by their value: members[value eq "…"]', Problem.INVALID_PATH)
