"""Request bodies: read as JSON that every database can hold, and brought into the shape in which documents are kept."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from app import json_text
from app.database import same_document
from app.directory.vocabulary import (
    COMMON,
    CORES,
    SCHEMAS,
    STANDARD,
    Attribute,
    Extension,
    Kind,
    Vocabulary,
)
from app.json_text import SaidTwice, UnreadableJSON, UnstorableText, parse_json, read_json
from app.scim.answers import Problem, refused
from app.scim.kinds import as_kept, looked_into, refuse_kind, word_for

_KNOWN: Mapping[str, Mapping[str, Attribute]] = {urn: {**COMMON, **attributes} for urn, attributes in SCHEMAS.items()}


def read_object(raw: bytes) -> dict[str, Any]:
    """A JSON object. Raises SCIMError."""
    with _refusing():
        return _object(read_json(raw))


def read_message(raw: bytes) -> dict[str, Any]:
    """The same of one of which `message` shall know what it says twice. Raises SCIMError."""
    with _refusing():
        return _object(read_json(raw, marked=True))


def parse_message(raw: bytes) -> dict[str, Any]:
    """The same before anybody looked whether every database can hold what is in it (`refuse_unstorable`). Raises SCIMError."""
    with _refusing():
        return _object(parse_json(raw, marked=True))


def refuse_unstorable(value: Any, label: str = "") -> None:
    """Refuse what `read_object` would have refused as a body, or as the member of one that `label` names. Raises SCIMError."""
    with _refusing():
        json_text.refuse_unstorable(value, label)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except UnstorableText as error:
        raise refused(str(error), Problem.INVALID_VALUE) from None
    except UnreadableJSON as error:
        raise refused(f"the body is not JSON that can be taken: {error}", Problem.INVALID_SYNTAX) from None


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise refused(f"the body must be a JSON object, not {word_for(body)}", Problem.INVALID_SYNTAX)
    return body


def message(said: Mapping[str, Any], *names: str, within: str = "") -> dict[str, Any]:
    """What a message says under these names, in whatever letters it writes them. Raises SCIMError for one that it says twice.

    Of a resource the last of them counts; but of what is to be done, nobody guesses which was meant.
    """
    spelling = {name.lower(): name for name in names}
    twice = said.names if isinstance(said, SaidTwice) else ()
    found: dict[str, Any] = {}
    for key, value in said.items():
        name = spelling.get(key.lower())
        if name is None:
            continue
        if name in found or key in twice:
            raise refused(f"{within}{name} is said twice{'' if key in twice else ', in different letters'}", Problem.INVALID_SYNTAX)
        found[name] = value
    return found


def tidied(
    body: Mapping[str, Any], core: str, vocabulary: Vocabulary = STANDARD, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The resource in the shape in which it is kept, `core` being its main schema.

    Attributes get their own spelling, null is dropped, what only we may write and passwords are dropped, forms that
    clients are known to send are put right, unknown attributes stay. `schemas` says what is there, whatever was said.
    `before` is the resource as it stands: of a declared extension, only what differs from that is looked at.
    Raises SCIMError for a value of a wrong kind.
    """
    known = _KNOWN[core]
    kept: dict[str, Any] = {}
    for key, value in body.items():
        if value is None:
            continue
        if ":" in key:
            urn = vocabulary.schema_named(key)
            if urn in CORES:
                _refuse_core(urn, key, before)
                continue
            if (named := _named_in_full(urn, core, vocabulary)) is not None:
                if is_kept(named):
                    _refuse_in_full(key, value, named, before)
                    kept[key] = value
                continue
            declared = vocabulary.extension_named(urn, core)
            _put(kept, urn, _extension(urn, value) if declared is None else _declared(declared, value, _stood(declared.urn, before)))
            continue
        attribute = known.get(key.lower())
        if attribute is None:
            kept[key] = value
        elif is_kept(attribute):
            _put(kept, attribute.name, _fitted(attribute, value, attribute.name))
    # In an order of their own: JSONB keeps none, and another one would be another document.
    extensions = sorted(key for key, value in kept.items() if ":" in key and isinstance(value, dict))
    return {"schemas": [core, *extensions], **kept}


def under_own_names(document: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    """The document with each extension and what is in it under declared names: they may have been spelled otherwise, also twice, before."""
    named: dict[str, Any] = {}
    for key, value in document.items():
        name = vocabulary.schema_named(key) if ":" in key else key
        there, extension = named.get(name), vocabulary.extension_named(name) if ":" in name else None
        said = value if extension is None else _renamed(extension.attributes, value)
        # What is no object says nothing of an extension.
        named[name] = {**there, **(said if isinstance(said, dict) else {})} if isinstance(there, dict) else said
    return named


def _renamed(known: Mapping[str, Attribute], value: Any) -> Any:
    """The value with the names of these attributes as their schema spells them, the last where there are several; nothing else of it changes."""
    if isinstance(value, list):
        return [_renamed(known, element) for element in value]
    if not known or not isinstance(value, dict):
        return value
    made: dict[str, Any] = {}
    for key, part in value.items():
        attribute = known.get(key.lower())
        made[key if attribute is None else attribute.name] = part if attribute is None else _renamed(attribute.subs, part)
    return made


def is_kept(attribute: Attribute) -> bool:
    """RFC 7644 §3.3 and §3.5.1: what is read-only is passed over in a resource; so are passwords, which nobody here asks for."""
    return attribute.mutability == "readWrite" and attribute.name != "schemas"


def heard(body: Mapping[str, Any], core: str) -> dict[str, Any]:
    """The resource without what is passed over in it."""
    known = _KNOWN[core]
    return {key: value for key, value in body.items() if (attribute := known.get(key.lower())) is None or is_kept(attribute)}


def spelled(attribute: Attribute, value: Any) -> Any:
    """The value as `tidied` will have it, so that it can be compared: names in their own spelling, truth as truth, an instant in UTC, a reference whole.

    Nothing is refused here, and nothing left out.
    """
    if isinstance(value, list) and attribute.many:
        return [spelled_one(attribute, element) for element in value]
    if attribute.kind is Kind.COMPLEX and not attribute.many and value not in ("", []):
        value = complex_in(value, attribute)
    return spelled_one(attribute, value)


def spelled_one(attribute: Attribute, value: Any) -> Any:
    """The same of one element."""
    if attribute.kind is Kind.BOOLEAN:
        return truth_in(value)
    if attribute.kind is Kind.COMPLEX:
        return spelled_members(attribute.subs, value) if isinstance(value, dict) else value
    return as_kept(attribute, value)


def spelled_members(known: Mapping[str, Attribute], value: Mapping[str, Any]) -> dict[str, Any]:
    """The same of each of these attributes that is known."""
    made: dict[str, Any] = {}
    for key, part in value.items():
        attribute = known.get(key.lower())
        made[key if attribute is None else attribute.name] = part if attribute is None else spelled(attribute, part)
    return made


def _put(kept: dict[str, Any], name: str, value: Any) -> None:
    if value is not None:
        kept[name] = value


def _extension(urn: str, value: Any) -> Any:
    known = SCHEMAS.get(urn)
    if known is None:
        return value
    if not isinstance(value, dict):
        refuse_kind(urn, "an object", value)
    return _members(known, value, "") or None


def _refuse_core(urn: str, key: str, before: Mapping[str, Any] | None) -> None:
    """What stood below it said nothing, and would look as if it had; what still stands so from long ago is left out."""
    if not any(name.lower() == key.lower() for name in before or {}):
        raise refused(f"{urn} is no extension of it: a resource says what is of its own schema at the top, not below the schema's URN", Problem.INVALID_SYNTAX)


def _named_in_full(key: str, core: str, vocabulary: Vocabulary) -> Attribute | None:
    """The attribute that a key names by its schema's URN, as paths and filters do (RFC 7644 §3.10), and no resource."""
    urn, _, name = key.rpartition(":")
    known = _KNOWN.get(vocabulary.schema_named(urn))
    declared = vocabulary.extension_named(urn, core) if known is None else None
    return (known or (declared.attributes if declared is not None else {})).get(name.partition(".")[0].lower())


def _refuse_in_full(key: str, value: Any, named: Attribute, before: Mapping[str, Any] | None) -> None:
    """It would be kept as what it is called, and nobody would read it. What still stands so from before keeps nobody from being changed."""
    stood = [there for name, there in (before or {}).items() if name.lower() == key.lower()]
    # But nobody is to be taken for switched off, or on, who is not.
    if not stood or (named.name == "active" and not _is_among(value, stood)):
        raise refused(f"{key} names {named.name} as a path does: a resource says it at the top, or below its extension's URN", Problem.INVALID_SYNTAX)


def _stood(urn: str, before: Mapping[str, Any] | None) -> list[Any]:
    """What stands under this URN, however it was spelled before it was declared."""
    return [value for key, value in (before or {}).items() if key.lower() == urn.lower()]


def _declared(extension: Extension, value: Any, stood: Sequence[Any]) -> Any:
    """What is said by a declared schema. A value that stands is no matter of this request, and keeps nobody from being switched off."""
    if not isinstance(value, dict):
        return value if _is_among(value, stood) else refuse_kind(extension.urn, "an object", value)
    there: dict[str, list[Any]] = {}
    objects = [one for one in stood if isinstance(one, dict) and one]
    for key, part in (pair for one in objects for pair in one.items()):
        there.setdefault(key.lower(), []).append(part)
    kept: dict[str, Any] = {}
    for key, part in value.items():
        if part is None:
            continue
        attribute = extension.attributes.get(key.lower())
        if attribute is None:
            kept[key] = part
        elif _is_among(part, there.get(key.lower(), ()), attribute.subs):
            kept[attribute.name] = part
        else:
            label = f"{extension.urn}:{attribute.name}"
            fitted = _fitted(attribute, part, label)
            for element in fitted if isinstance(fitted, list) else [fitted]:
                if isinstance(element, dict):
                    _refuse_missing(attribute.subs, element, label, ".")
            _put(kept, attribute.name, fitted)
    # Where it was missing before it was declared, it may go on missing.
    required = {name: one for name, one in extension.attributes.items() if one.required and not any(_lacks(before, name) for before in objects)}
    _refuse_missing(required, kept, extension.urn, ":")
    return kept or None


def _lacks(stood: Mapping[str, Any], name: str) -> bool:
    """Whether what stood has no value under this name, or none in one of the spellings in which it has it."""
    parts = [part for key, part in stood.items() if key.lower() == name]
    return not parts or any(map(_is_nothing, parts))


def _is_among(value: Any, stood: Iterable[Any], known: Mapping[str, Attribute] = MappingProxyType({})) -> bool:
    """Whether the value is one of these, in whatever letters they name attributes that are known."""
    return any(same_document(_renamed(known, value), _renamed(known, one)) for one in stood)


def _refuse_missing(attributes: Mapping[str, Attribute], kept: Mapping[str, Any], label: str, mark: str) -> None:
    for attribute in attributes.values():
        if kept and attribute.required and _is_nothing(kept.get(attribute.name)):
            raise refused(f"{label}{mark}{attribute.name} is required where {label} is given", Problem.INVALID_VALUE)


def _is_nothing(value: Any) -> bool:
    """RFC 7643 §2.5: an empty list is no value, as null is none."""
    return value is None or value == []


def _members(known: Mapping[str, Attribute], value: Mapping[str, Any], label: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, part in value.items():
        if part is None:
            continue
        attribute = known.get(key.lower())
        if attribute is None:
            kept[key] = part
        elif attribute.takes_texts and isinstance(part, str):
            kept[attribute.name] = part
        else:
            named = f"{label}.{attribute.name}" if label else attribute.name
            _put(kept, attribute.name, _fitted(attribute, part, named))
    return kept


def _fitted(attribute: Attribute, value: Any, label: str) -> Any:
    if attribute.takes_texts and isinstance(value, str):
        # Most are of this kind, and need no look.
        return value
    if not attribute.many:
        if attribute.kind is Kind.COMPLEX:
            value = complex_in(value, attribute)
        return None if value is None else _fitted_one(attribute, value, label)
    elements = listed(value)
    if not isinstance(elements, list):
        refuse_kind(label, "a list", value)
    fitted = [_fitted_one(attribute, element, label) for element in elements if element is not None]
    kept = [element for element in fitted if element is not None]
    if sum(isinstance(element, dict) and element.get("primary") is True for element in kept) > 1:
        # RFC 7643 §2.4: true as a value of `primary` occurs once at most.
        raise refused(f"{label} has more than one value that is primary; one at most can be", Problem.INVALID_VALUE)
    return kept


def _fitted_one(attribute: Attribute, value: Any, label: str) -> Any:
    match attribute.kind:
        case Kind.BOOLEAN:
            said = truth_in(value)
            return said if isinstance(said, bool) else refuse_kind(label, "true or false", value)
        case Kind.COMPLEX:
            if not isinstance(value, dict):
                refuse_kind(f"each value of {label}" if attribute.many else label, "an object", value)
            kept = _members(attribute.subs, value, label)
            return None if not kept or (attribute.link and not attribute.many and says_nobody(kept)) else kept
        case _:
            return looked_into(attribute, value, label)


# Forms that are no SCIM, each listed in `dialects` with who sends it.


def truth_in(value: Any) -> Any:
    """The texts "True" and "False", in any case, are what they say."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value


def complex_in(value: Any, attribute: Attribute) -> Any:
    """Of the manager, a list of one is that one, an empty list nobody, and a bare text its `value`."""
    if not attribute.link:
        return value
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    return {"value": value} if isinstance(value, str) else value


def says_nobody(reference: Mapping[str, Any]) -> bool:
    """A manager with an empty `value` is none."""
    return reference.get("value") == ""


def listed(value: Any) -> Any:
    """One object is a list of one."""
    return [value] if isinstance(value, dict) else value


def takes_away(value: Any) -> bool:
    """Replacing by "" takes the attribute away, as null does."""
    return value is None or value == ""


def is_meant(there: Any, named: Any) -> bool:
    """A remove that names the value it takes away does not mean another that has come since."""
    return named in (None, "") or isinstance(named, list | dict) or same_document(there, named)


def is_echo(key: str) -> bool:
    """Without a path, `id` and `schemas` only say which resource is meant, and change nothing."""
    return key.lower() in ("id", "schemas")


def member_ids(value: Any) -> tuple[str, ...]:
    """Ids of members: a list of objects, or, as they also come, of bare ids, or one of either. Raises SCIMError."""
    elements = value if isinstance(value, list) else [] if value is None else [value]
    ids: dict[str, None] = {}
    for element in elements:
        named = element
        if isinstance(element, dict):
            named = last_said(element, "value")
        if not isinstance(named, str) or not named:
            # An empty text is no way to say *nobody*: one wrong mapping would empty a group.
            raise refused("members must be a list of objects, each with the id of a user as its value", Problem.INVALID_VALUE)
        ids[named] = None
    return tuple(ids)


def last_said(resource: Mapping[str, Any], name: str) -> Any:
    """The value of a name in any letters, the last where there are several; None where there is none."""
    said = [value for key, value in resource.items() if key.lower() == name]
    return said[-1] if said else None


def text_in(document: Mapping[str, Any], name: str) -> str | None:
    """A non-blank text of a tidied document."""
    value = document.get(name)
    return value if isinstance(value, str) and value.strip() else None
