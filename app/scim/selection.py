"""Which attributes an answer shows: `attributes` and `excludedAttributes` (RFC 7644 §3.9)."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from app.directory.filters import FilterError, split_asked_path
from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, SCHEMAS, STANDARD, USER_URN, Place, Vocabulary
from app.scim.answers import Problem, Shown, refused

_ALWAYS = {("id",), ("schemas",)}


class Selection:
    """Names compare without case, bare or after their schema's URN. What is no path names nothing, and is no error.

    Of the organisation's own schemas it is kept what each attribute says of when it is returned.
    """

    def __init__(self, attributes: str | None, excluded: str | None, vocabulary: Vocabulary = STANDARD) -> None:
        """Both are lists with commas. Raises SCIMError where both name something."""
        only, without = (attributes or "").strip(" ,"), (excluded or "").strip(" ,")
        if only and without:
            # None of the clients we know sends both (reference: Entra sends one of them, the others neither).
            raise refused("attributes and excludedAttributes exclude each other: send only one of them", Problem.INVALID_VALUE)
        self._named = tuple(_paths(only or without, vocabulary))
        self._picks = bool(only)
        self._choose(core=None)
        self._always, self._on_request, self._never = vocabulary.always, vocabulary.on_request, vocabulary.never

    def revealing(self, places: Iterable[Place]) -> "Selection":
        """The same, but showing these too where they are shown only to who asks (RFC 7643 §2.2: a request that says one does)."""
        revealing = copy.copy(self)
        revealing._on_request = self._on_request - frozenset(places)
        return revealing

    def of_kind(self, core: str) -> "Selection":
        """The same for resources of this main schema: they have nothing of what was named below the other one's URN (RFC 7644 §3.10)."""
        own = copy.copy(self)
        own._choose(core)
        return own

    def _choose(self, core: str | None) -> None:
        paths = {path for kind, path in self._named if core is None or kind in (None, core)}
        self._only = paths | _ALWAYS if self._picks else None
        self._without = set() if self._picks else paths - _ALWAYS

    def shows(self, name: str) -> bool:
        """Whether anything of this attribute is shown."""
        if self._only is not None:
            return any(path[0] == name.lower() for path in self._only)
        return (name.lower(),) not in self._without

    def parts(self, name: str, parts: tuple[str, ...]) -> tuple[str, ...]:
        """Which of an attribute's own sub-attributes are shown."""
        named = _below(self._without if self._only is None else self._only, name)
        return tuple(part for part in parts if (() in named or (part.lower(),) in named) is (self._only is not None))

    def of(self, resource: dict[str, Any]) -> Shown:
        """The resource as it is to be shown."""
        if self._only is not None:
            shown = _kept(resource, self._only)
            shown = _cut(shown, set(self._never)) if self._never else shown
        else:
            without = self._without | self._on_request | self._never
            shown = _cut(resource, without) if without else resource
        return Shown(_with(shown, resource, self._always) if self._always else shown, meta=resource.get("meta", {}))


def _with(shown: dict[str, Any], resource: dict[str, Any], places: frozenset[Place]) -> dict[str, Any]:
    """What is shown, and these attributes of extensions whole."""
    for urn in {urn for urn, _ in places}:
        for key, extension in resource.items():
            if key.lower() == urn and isinstance(extension, dict):
                there = {name: part for name, part in extension.items() if (urn, name.lower()) in places}
                shown = {**shown, key: {**shown.get(key, {}), **there}} if there else shown
    return shown


def _paths(listed: str, vocabulary: Vocabulary) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    """What is named, and below which kind's URN, where it is."""
    for text in map(str.strip, listed.split(",")):
        if ":" in text:
            # A whole extension whose schema is unknown here looks like an attribute of a shorter URN.
            yield None, (text.lower(),)
        if (urn := vocabulary.schema_named(text)) in (USER_URN, GROUP_URN):
            # As an extension's URN means all of it; but these attributes stand at the top.
            yield from ((urn, (name,)) for name in SCHEMAS[urn])
        try:
            path = split_asked_path(text, vocabulary)
        except FilterError:
            continue
        names = tuple(name.lower() for name in path.names)
        yield path.core, names
        if names[0] == ENTERPRISE_URN.lower() and ":" not in text:
            # What no schema has may be kept under the same name.
            yield None, names[1:]


def _below(paths: set[tuple[str, ...]], name: str) -> set[tuple[str, ...]]:
    return {path[1:] for path in paths if path[0] == name.lower()}


def _kept(value: dict[str, Any], paths: set[tuple[str, ...]]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, part in value.items():
        below = _below(paths, name)
        if () in below:
            kept[name] = part
        elif below:
            kept |= _left(name, part, lambda element, below=below: _kept(element, below))
    return kept


def _cut(value: dict[str, Any], paths: set[tuple[str, ...]]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, part in value.items():
        below = _below(paths, name)
        if not below:
            kept[name] = part
        elif () not in below:
            kept |= _left(name, part, lambda element, below=below: _cut(element, below))
    return kept


def _left(name: str, part: Any, change: Any) -> dict[str, Any]:
    """The attribute with what is left of its parts; nothing where none is: what is empty is unassigned (RFC 7643 §2.5)."""
    if isinstance(part, dict):
        left: Any = change(part)
    elif isinstance(part, list):
        changed = (change(element) if isinstance(element, dict) else element for element in part)
        left = [element for element in changed if element != {}]
    else:
        return {name: part}
    return {name: left} if left or not part else {}
