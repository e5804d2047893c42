"""PATCH (RFC 7644 §3.5.2) in the dialects that Okta and Entra speak: pure changes of a document."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from app.database import same_document
from app.directory.filters import And, AttributePath, Compare, Filter, matches
from app.directory.values import Operator, leaves
from app.directory.vocabulary import COMMON, ENTERPRISE_URN, SCHEMAS, STANDARD, USER_URN, Attribute, Kind, Vocabulary
from app.scim.answers import Problem, refused
from app.scim.bodies import is_meant, spelled, spelled_one, takes_away, tidied, truth_in, under_own_names
from app.scim.bounds import refuse_too_costly, refuse_too_many
from app.scim.elements import NOTHING, Known, as_it_is, is_true, only_primary, said_in, without_listed
from app.scim.operations import Operation, Verb


def patched(
    document: Mapping[str, Any], operations: Sequence[Operation], core: str = USER_URN, vocabulary: Vocabulary = STANDARD
) -> dict[str, Any]:
    """The document, `core` being its main schema, after all operations; the one given stays as it is. Raises SCIMError."""
    refuse_too_costly(document, [operation.value for operation in operations])
    changed = under_own_names(copy.deepcopy(dict(document)), vocabulary)
    for operation in operations:
        # The next one may name what this one says, in another way of saying it.
        placed = replace(operation, path=_path_in(changed, operation, core, vocabulary))
        for one in _each(changed, replace(placed, value=_spelled(placed, vocabulary)), vocabulary):
            _apply(changed, one, core, vocabulary)
    return changed


def _path_in(document: Mapping[str, Any], operation: Operation, core: str, vocabulary: Vocabulary) -> AttributePath:
    """Where the operation leads in this document: into an extension that is there or known, or to one that is there, or is to be made."""
    path, urn, top = operation.path, operation.urn, operation.path.names[0]
    if operation.short and core != USER_URN and (path.names[1] in document or not any(True for _ in leaves(document, path.names))):
        # The enterprise extension is one of users: of a group the same name means what stands at its top, unless it once came below.
        return replace(path, names=path.names[1:])
    if path.where is not None and path.sub == "value" and _has_texts(list(leaves(document, path.names)), vocabulary.attribute_at(path.names)):
        # What is no object is its own `value` (RFC 7643 §2.4).
        return replace(path, sub=None)
    if urn is None or any(True for _ in leaves(document, path.names)):
        return path
    within = path.core is not None or top in document or vocabulary.attributes_of(top) is not None
    # Of an extension that is said anew there is only its value to tell it by: an object.
    return AttributePath(names=(urn,)) if urn in document or (not within and isinstance(operation.value, dict)) else path


def _each(document: Mapping[str, Any], operation: Operation, vocabulary: Vocabulary) -> list[Operation]:
    """The operation; where it says a whole extension that no schema here tells of, one for each attribute of it."""
    urn, value = operation.path.names[0], operation.value
    whole = len(operation.path.names) == 1 and ":" in urn and vocabulary.attributes_of(urn) is None
    # One that is not there yet is said as one that is: what would take away makes nothing. PHP writes an empty object as an empty list.
    there = (document.get(urn) or {}) if whole else None
    if not isinstance(there, dict) or not isinstance(value, dict) or not value or operation.verb is Verb.REMOVE:
        return [operation]
    refuse_too_many(len(value))
    folded = {key.lower(): key for key in there}
    return [replace(operation, path=AttributePath(names=(urn, folded.get(key.lower()) or key)), value=part, named=False) for key, part in value.items()]


def _spelled(operation: Operation, vocabulary: Vocabulary) -> Any:
    value, known = operation.value, vocabulary.attribute_at(_whole(operation.path))
    if known is None:
        return value
    # Behind a filter stands one element, whatever the attribute.
    return spelled_one(known, value) if operation.path.where is not None and operation.path.sub is None else spelled(known, value)


def sets_number(operations: Sequence[Operation]) -> bool:
    """Whether these operations say an employee number themselves, in any of the ways to write one."""
    said = patched({}, [one for one in operations if one.path.names == (ENTERPRISE_URN, "employeeNumber")])
    return bool(tidied(said, USER_URN).get(ENTERPRISE_URN, {}).get("employeeNumber"))


def _apply(document: dict[str, Any], operation: Operation, core: str, vocabulary: Vocabulary) -> None:
    path, value = operation.path, operation.value
    if path.core not in (None, core):
        # RFC 7644 §3.10: under the other kind's URN this resource has nothing, not even what both call by the same name.
        raise refused(f"path {path.core}:{_written(path)} is no attribute of this resource", Problem.INVALID_PATH)
    if operation.named and not is_place(document, operation, core, vocabulary):
        raise refused(f"path {_written(path)} is no attribute of this resource", Problem.INVALID_PATH)
    known = vocabulary.attribute_at(path.names)
    own = known if vocabulary.extension_named(path.names[0], core) is not None else SCHEMAS[core].get(".".join(path.names).lower())
    takes_all = path.where is None and path.sub is None and (value is None or own is None or not own.many)
    if operation.verb is Verb.REMOVE and own is not None and own.required and takes_all and any(True for _ in leaves(document, path.names)):
        # RFC 7644 §3.5.2.2.
        raise refused(f"{_written(path)} is required, so it cannot be removed", Problem.MUTABILITY)
    if operation.verb is Verb.REPLACE and takes_away(value):
        value = None
    if operation.verb is Verb.ADD and value is None:
        return
    parent = _parent(document, path.names, vocabulary, make=operation.verb is not Verb.REMOVE and value is not None)
    if parent is None:
        return
    name = path.names[-1]
    if isinstance(parent, list):
        _apply_to_each(parent, name, operation.verb, value)
    elif path.where is not None:
        if _has_texts(parent.get(name), known) and path.sub is None:
            _apply_to_texts(parent, name, operation, value, known)
        else:
            _apply_to_elements(parent, name, operation, value, known)
    elif operation.verb is Verb.REMOVE:
        _remove(parent, name, value, known)
    elif value is None:
        parent.pop(name, None)
    elif operation.verb is Verb.ADD:
        parent[name] = _added(parent.get(name), value, vocabulary.attribute_at(path.names))
    else:
        parent[name] = _replaced(parent.get(name), value, vocabulary.attribute_at(path.names))


def _parent(
    document: dict[str, Any], names: tuple[str, ...], vocabulary: Vocabulary, *, make: bool
) -> dict[str, Any] | list[Any] | None:
    place: Any = document
    for depth, name in enumerate(names[:-1], start=1):
        known = vocabulary.attribute_at(names[:depth])
        below = place.get(name)
        if ":" in name and not isinstance(below, dict) and (not below or vocabulary.extension_named(name) is not None):
            # PHP writes an empty object as an empty list, and what else is no object is from before the schema.
            below = None
        if not isinstance(below, dict | list):
            if not make:
                return None
            below = [] if known is not None and known.many else {}
            # The manager as a bare text stays the manager when something is said beside it.
            if isinstance(below, dict) and isinstance(place.get(name), str) and ":" not in name:
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


def _form_of(known: Attribute | None) -> Callable[[Any], Any]:
    """The form in which elements are compared: those of a declared attribute may stand as they came before it was declared."""
    return partial(spelled_one, known) if known is not None and known.checked else as_it_is


def _remove(parent: dict[str, Any], name: str, value: Any, known: Attribute | None) -> None:
    there = parent.get(name)
    if isinstance(there, list) and value is not None:
        parent[name] = without_listed(there, value, _form_of(known))
    else:
        parent.pop(name, None)


def _added(there: Any, value: Any, known: Attribute | None) -> Any:
    many = known.many if known is not None else isinstance(there, list)
    if not many:
        return _replaced(there, value, known)
    elements = list(there) if isinstance(there, list) else [] if there is None else [there]
    known_here = Known(elements, _form_of(known))
    primary: dict[str, Any] | None = None
    for element in value if isinstance(value, list) else [value]:
        same = known_here.same(element)
        if same is NOTHING:
            known_here.note(element)
            elements.append(element)
        elif isinstance(same, dict) and isinstance(element, dict):
            same.update(said_in(element))
            known_here.typed(same)
        if isinstance(element, dict) and is_true(element.get("primary")):
            primary = same if isinstance(same, dict) else element
    if primary is not None:
        only_primary(elements, primary)
    return elements


def _replaced(there: Any, value: Any, known: Attribute | None) -> Any:
    if not isinstance(there, dict) or not isinstance(value, dict):
        return value
    another = known is not None and known.link and value.get("value", there.get("value")) != there.get("value")
    if another or (known is not None and known.kind is not Kind.COMPLEX):
        # Another manager must not keep the former one's displayName.
        return value
    # RFC 7644 §3.5.2.3: of a complex attribute, the sub-attributes that are given are replaced.
    folded = {key.lower(): key for key in there}
    return {**there, **{folded.get(key.lower(), key): part for key, part in value.items()}}


def _apply_to_elements(parent: dict[str, Any], name: str, operation: Operation, value: Any, known: Attribute | None) -> None:
    where, sub = operation.path.where, operation.path.sub
    assert where is not None
    there = parent.get(name)
    single = isinstance(there, dict)
    elements: list[Any] = [there] if single else list(there) if isinstance(there, list) else []
    fitting = [element for element in elements if isinstance(element, dict) and matches(where, element)]
    if operation.verb is Verb.REMOVE or value is None:
        if not fitting:
            return
        elements = _without(elements, fitting, sub, operation.value, _form_of(known))
    else:
        made = not fitting
        if made:
            if any(_became(element, where, sub, value, _form_of(known)) for element in elements):
                return
            # Where there is one at most, another one is not what the path means.
            fitting = [made_to_fit(where if not single or known is None or known.many else None)]
            elements.append(fitting[0])
        for element in fitting:
            _set_in_element(element, sub, value, where, replace=operation.verb is Verb.REPLACE)
            if is_true(element.get("primary")) and (made or sub in (None, "primary")):
                only_primary(elements, element)
    if not elements:
        parent.pop(name, None)
    else:
        parent[name] = elements[0] if single and len(elements) == 1 else elements


def _became(element: Any, where: Filter, sub: str | None, value: Any, form: Callable[[Any], Any]) -> bool:
    """Whether an element is what this operation made of one that fits no more by it: the request came again, and it is so already."""
    said = {"value": value} if sub is None and not isinstance(value, dict) else value if sub is None else {sub: value}
    pairs = _pairs(where)
    if pairs is None or not isinstance(element, dict):
        return False
    # As it is kept: nulls are not, and a truth is no text.
    there = form(element)
    holds = all(same_document(truth_in(there.get(name)), truth_in(part)) for name, part in said.items())
    return holds and matches(where, {**element, **{name: pairs[name] for name in said if name in pairs}})


def _has_texts(there: Any, known: Attribute | None) -> bool:
    """Whether the elements of a list are no objects; of one that no schema has, whether any of them is none. What is no list is one of one."""
    if known is not None:
        return known.bare
    return not all(isinstance(element, dict) for element in _listed(there))


def _listed(there: Any) -> list[Any]:
    return there if isinstance(there, list) else [] if there is None else [there]


def _apply_to_texts(parent: dict[str, Any], name: str, operation: Operation, value: Any, known: Attribute | None) -> None:
    """The same where elements are no objects: `value` is each of them (RFC 7643 §2.4)."""
    where = operation.path.where
    assert where is not None
    there = parent.get(name)
    elements = _listed(there)
    fits = [matches(where, element if isinstance(element, dict) else {"value": element}) for element in elements]
    if operation.verb is Verb.REMOVE or value is None:
        if not any(fits):
            return
        kept = [element for element, fit in zip(elements, fits, strict=True) if not fit]
    elif any(fits):
        kept = [value if fit else element for element, fit in zip(elements, fits, strict=True)]
    else:
        # What the value has become already is not made once more.
        form = _form_of(known)
        kept = elements if any(same_document(form(element), value) for element in elements) else [*elements, value]
    parent[name] = kept
    if not kept:
        parent.pop(name)


def _without(elements: list[Any], fitting: list[dict[str, Any]], sub: str | None, named: Any, form: Callable[[Any], Any]) -> list[Any]:
    chosen = {id(element) for element in fitting}
    if sub is None:
        return [element for element in elements if id(element) not in chosen]
    for element in fitting:
        if is_meant(form(element).get(sub), named):
            element.pop(sub, None)
    # An address without its value says nothing.
    return [element for element in elements if not (sub == "value" and id(element) in chosen and "value" not in element)]


def _set_in_element(element: dict[str, Any], sub: str | None, value: Any, where: Filter, *, replace: bool) -> None:
    if sub is not None:
        element[sub] = value
        return
    if replace and isinstance(value, dict):
        kept = _pairs(where) or {}
        element.clear()
        element.update(kept)
    said = value if isinstance(value, dict) else {"value": value}
    element.update(said if replace else said_in(said))


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


# Forms that are no SCIM, each listed in `dialects` with who sends it.


def is_place(document: Mapping[str, Any], operation: Operation, core: str, vocabulary: Vocabulary = STANDARD) -> bool:
    """Whether there is such an attribute: one of the schemas, of an extension unknown here, or in the document already.

    Replace makes what is missing, save in a schema that the organisation itself declared.
    """
    names = _whole(operation.path)
    top = names[0].lower()
    if ":" in top and vocabulary.attributes_of(vocabulary.schema_named(top)) is None:
        return True
    above = vocabulary.attribute_at(names[:-1]) if len(names) > 1 and operation.path.where is None else None
    if above is not None and above.kind is not Kind.COMPLEX:
        return False
    declared = vocabulary.extension_named(top)
    if declared is None and operation.verb is Verb.REPLACE:
        return True
    in_schema = declared is not None or (core == USER_URN if ":" in top else top in COMMON or top in SCHEMAS[core])
    return (in_schema and (len(names) == 1 or vocabulary.attribute_at(names) is not None)) or any(True for _ in leaves(document, names))


def _whole(path: AttributePath) -> tuple[str, ...]:
    return path.names if path.sub is None else (*path.names, path.sub)


def _written(path: AttributePath) -> str:
    """As RFC 7644 §3.10 writes it: a colon behind a schema's URN, dots between attributes."""
    first, *others = _whole(path)
    return first if not others else f"{first}{':' if ':' in first else '.'}{'.'.join(others)}"


def made_to_fit(where: Filter | None) -> dict[str, Any]:
    """An element that fits the path, where there is none and there can be one. RFC 7644 §3.5.2.3 refuses with noTarget. Raises SCIMError."""
    pairs = None if where is None else _pairs(where)
    if pairs is None:
        raise refused("no element fits the path, and none can be made from it", Problem.NO_TARGET)
    return pairs
