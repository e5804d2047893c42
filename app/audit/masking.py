"""Masking of what a directory sent: names and structure stay, what says more of a person than who is meant goes.

Pure, and of no schema: whatever is not known to be harmless is masked. What is named like a secret is masked with all
that is in it, and no setting brings it back.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any

from app.audit.compared import Piece, compares, pieces

MASK = "•••"
DEEPEST = 32
LONGEST_NAME = 200
LONGEST_TEXT = 1_000
CUTS = (40, 100)
"""Where our errors cut what they quote."""

_SECRET = re.compile(r"pass(word|wd|phrase|code)|pwd|secret|token|credential|(api|private|access)[-_]?key|\botp\b|totp|recovery", re.IGNORECASE)
_OUR_TOKEN = re.compile(r"\bdl_[\w-]{16,}")
_ADDRESS = re.compile(r"[^\s@\"'<>(),;:\[\]]+@([^\s@\"'<>(),;:\[\]]+)")
_PLAIN_NAME = re.compile(r"[\w.:$-]*")
_NAME = re.compile(r"[\w.:$-]+")
_PLAIN_NAMES = re.compile(r"[\w.:$-]+(?:\s*,\s*[\w.:$-]+)*")
_PLACE_OR_ORDER = re.compile(r"\s*(?:[+-]?[0-9]{1,18}|ascending|descending)?\s*", re.IGNORECASE)
_USUAL_FILTER = re.compile(r'([\w.:$-]{1,100}) eq "[^"\\]*"')
_USUAL_PLACE = re.compile(r'([A-Za-z]{1,40})\[([A-Za-z]{1,40}) eq "[0-9A-Fa-f-]{1,100}"\]')
_FILTER = re.compile(r"\[[^\]]*\]?")

_SAYS_WHO = frozenset({"id", "externalid", "username", "displayname", "employeenumber", "department", "active", "manager"})
_NO_VALUES = frozenset({"true", "false", "null"})
_LINKS = frozenset({"members", "groups", "manager"})
_OF_A_LINK = frozenset({"value", "$ref", "type"})
# RFC 7643 §4.1.2, §3.1. What an extension calls so may mean anything.
_LISTS = frozenset({"emails", "phonenumbers", "ims", "photos", "addresses", "entitlements", "roles", "x509certificates", "groups", "members"})
_OF_META = frozenset({"resourcetype", "created", "lastmodified", "location", "version"})
_OWN_SCHEMAS = ("urn:ietf:params:scim:schemas:core:", "urn:scim:schemas:core:")
_EXTENSION = ""
"""Stands first among the names of what is said by another schema than SCIM's own of users and groups."""
_OF_AN_OPERATION = frozenset({"op", "method", "bulkid", "version"})
_NAMED = frozenset({"attributes", "excludedattributes", "sortby"})
ASKED_WITH = _NAMED | {"filter", "sortorder", "startindex", "count"}
"""What a list may be asked with (RFC 7644 table 4), lower-case."""

Names = tuple[str, ...]


@dataclass(kw_only=True)
class Masking:
    """One request's masking. `shown` are attributes that a setting shows whole; `hidden` and `secrets` is what was masked."""

    shown: Collection[str] = ()
    hidden: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)

    def body(self, value: Any) -> Any:
        """A resource, a PATCH, a Bulk or a search, masked."""
        masked = self._value(value, (), 0)
        if isinstance(value, dict) and any(key.lower() == "operations" for key in value):
            # What a Bulk says of itself.
            masked.update((key, part) for key, part in value.items() if isinstance(part, int) and key.lower() == "failonerrors")
        return masked

    def text(self, text: str, *, is_name: bool = False) -> str:
        """The beginning of a filter or a path: what it compares with is masked like the attribute's value would be.

        A name may be of several words, and is kept where it compares nothing. No more of it is kept or quoted, and looking for
        addresses in it takes the square of its length; what was cut ends in a mask, since it is not what was said.
        """
        if len(text) > LONGEST_TEXT:
            return f"{self._short_text(text[:LONGEST_TEXT], is_name=is_name)}{MASK}"
        return self._short_text(text, is_name=is_name)

    def _short_text(self, text: str, *, is_name: bool) -> str:
        if _PLAIN_NAME.fullmatch(text):
            return _OUR_TOKEN.sub(MASK, text)
        place = _USUAL_PLACE.fullmatch(text)
        if place is not None and not _is_secret(names := (place.group(1).lower(), place.group(2).lower())) and stays(names):
            return text
        usual = _USUAL_FILTER.fullmatch(text)
        if usual is not None and "dl_" not in text and stays(names_in(usual.group(1))):
            return text
        secret = _SECRET.search(text)
        shown = text if secret is None else text[: secret.end()]
        if not is_name or compares(shown):
            shown = "".join(map(self._piece, pieces(shown, goes_on=secret is not None)))
        else:
            shown = self._without_addresses(shown)
        if secret is None or secret.end() == len(text):
            return shown
        self._hide(text[secret.end() :], secret=True)
        return f"{shown} {MASK}"

    def asked(self, name: str, text: str) -> str:
        """One of the things `ASKED_WITH`: names, places and orders stay, and whatever else is said in their place is masked."""
        if name == "filter":
            return self.text(text)
        if name in _NAMED and _PLAIN_NAMES.fullmatch(text[:LONGEST_TEXT]):
            # Behind the place where it is cut may be anything.
            return without_tokens(cut(text, LONGEST_TEXT))
        if name not in _NAMED and _PLACE_OR_ORDER.fullmatch(text):
            return text
        masked = self.text(text) if name in _NAMED else MASK
        if masked != text:
            # An error quotes it as a whole, with its blanks or without, and may cut a value in it.
            self.hidden.update((text, text.strip()))
        return masked

    def sentence(self, text: str) -> str:
        """An error of ours, without what was masked in the body it speaks of."""
        if not self.hidden and not self.secrets and "dl_" not in text:
            return text
        for secret in self.secrets:
            # A sentence may quote the beginning only, so what follows a beginning goes too.
            start = text.find(secret[:12])
            if start >= 0 and len(secret) > 2:
                text = text[:start] + MASK
        # Only a backslash tells a value as it is from how an error quotes it.
        found = "\\" in text or any(hidden[: CUTS[0]] in text for hidden in self.hidden)
        quotable = {hidden[:most] for hidden in self.hidden for most in (None, *CUTS)} if found else ()
        for hidden in sorted(quotable, key=len, reverse=True):
            quoted = repr(hidden)[1:-1]
            # In a text that has both kinds of quotes Python escapes the single ones.
            for said in {hidden, quoted, quoted.replace("'", "\\'")}:
                text = text.replace(said, MASK) if len(said) > 3 else text.replace(f"'{said}'", f"'{MASK}'").replace(f'"{said}"', f'"{MASK}"')
        return _OUR_TOKEN.sub(MASK, text)

    def _value(self, value: Any, names: Names, depth: int) -> Any:
        if depth > DEEPEST or _is_secret(names):
            return self._hidden_whole(value, secret=depth <= DEEPEST)
        if isinstance(value, dict):
            return self._members(value, names, depth)
        if isinstance(value, list):
            return [self._value(element, names, depth + 1) for element in value]
        return self._single(value, names)

    def _members(self, whole: Mapping[str, Any], names: Names, depth: int) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        for key, part in whole.items():
            usual = _usual(names, key) if len(key) <= LONGEST_NAME and depth < DEEPEST else None
            if usual is None:
                shown = self.key(key)
                masked[shown] = self._of_key(whole, key, part, names, depth)
            elif isinstance(part, dict | list):
                masked[key] = self._value(part, usual[0], depth + 1)
            elif usual[1] and not (isinstance(part, str) and "dl_" in part):
                masked[key] = part
            else:
                masked[key] = self._single(part, usual[0])
        return masked

    def _of_key(self, whole: Mapping[str, Any], key: str, part: Any, names: Names, depth: int) -> Any:
        if names == () and key.lower() == "operations" and isinstance(part, list):
            return [self._operation(one, depth + 1) if isinstance(one, dict) else self._hidden_whole(one) for one in part]
        if names == () and key.lower() in ASKED_WITH and _is_search(whole):
            return self._asked(key.lower(), part, depth)
        return self._value(part, (*names, *names_in(key)), depth + 1)

    def _asked(self, name: str, said: Any, depth: int) -> Any:
        if isinstance(said, str):
            return self.asked(name, said)
        if isinstance(said, list) and depth < DEEPEST:
            return [self._asked(name, one, depth + 1) for one in said]
        return self._hidden_whole(said) if isinstance(said, dict | list) else said

    def key(self, key: str) -> str:
        """A name in the place of a name, in a body or a query."""
        return key if len(key) <= LONGEST_NAME and _is_plain(key) else cut_name(self.text(key, is_name=True))

    def _operation(self, said: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """An operation of a PATCH (`path` names an attribute) or of a Bulk (`path` is an address, `data` a body)."""
        path = next((value for key, value in said.items() if key.lower() == "path"), None)
        masked: dict[str, Any] = {}
        for key, part in said.items():
            word = key.lower()
            if word == "path" and isinstance(part, str):
                # Of several members each is named by an id, which is long.
                masked[key] = self.text(part)
            elif word in _OF_AN_OPERATION and isinstance(part, str):
                masked[key] = cut_name(without_tokens(part))
            elif word == "data":
                masked[key] = self._value(part, (), depth + 1)
            elif word == "value":
                masked[key] = self._value(part, names_in(path) if isinstance(path, str) else (), depth + 1)
            else:
                masked[self.key(key)] = self._value(part, ("?", *names_in(key)), depth + 1)
        return masked

    def _single(self, value: Any, names: Names) -> Any:
        if value is None or isinstance(value, bool) or value == "" or stays(names) or (self.shown and self._is_shown(names)):
            return value if not isinstance(value, str) or "dl_" not in value else _OUR_TOKEN.sub(MASK, value)
        if not isinstance(value, str):
            return MASK
        self.hidden.add(value)
        address = _ADDRESS.fullmatch(value.strip()) if "@" in value else None
        return f"{MASK}@{address.group(1)}" if address is not None else MASK

    def _is_shown(self, names: Names) -> bool:
        return next((name for name in names if name != _EXTENSION), None) in self.shown

    def _without_addresses(self, text: str) -> str:
        if "@" in text:
            self.hidden.update(found.group() for found in _ADDRESS.finditer(text))
        return without_addresses(text)

    def _piece(self, piece: Piece) -> str:
        if piece.of is None:
            return self._without_addresses(piece.text)
        names = tuple(name for part in piece.of for name in names_in(part))
        if piece.text.startswith('"'):
            masked = self._single(piece.text[1:].removesuffix('"'), names)
            return f'"{masked}"'
        if piece.text.lower() in _NO_VALUES:
            return piece.text
        value = piece.text.strip("'")
        masked = self._single(value, names)
        if masked == value:
            return without_addresses(piece.text)
        # An error may quote one of its words alone.
        self.hidden.update(value.split())
        return str(masked)

    def _hidden_whole(self, value: Any, *, secret: bool = False) -> Any:
        if value is None or isinstance(value, bool):
            return value
        self._hide(value, secret=secret)
        return MASK

    def _hide(self, value: Any, *, secret: bool) -> None:
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict):
                waiting += one.values()
            elif isinstance(one, list):
                waiting += one
            elif isinstance(one, str | int | float) and not isinstance(one, bool):
                (self.secrets if secret else self.hidden).add(str(one).strip(' "'))


# Directories say the same few names all day; what is longer than a name is not remembered.
_remembered = lru_cache(maxsize=4096)


@_remembered
def _is_secret(names: Names) -> bool:
    return any(_SECRET.search(name) for name in names)


@_remembered
def _is_plain(key: str) -> bool:
    return _PLAIN_NAME.fullmatch(key) is not None and _OUR_TOKEN.search(key) is None


@_remembered
def _usual(names: Names, key: str) -> tuple[Names, bool] | None:
    """The names of a value at this key, and whether it `stays`; None where the key itself is not shown, or the value secret or special."""
    special = names == () and (key.lower() == "operations" or key.lower() in ASKED_WITH)
    whole = (*names, *names_in(key))
    return None if special or not _is_plain(key) or _is_secret(whole) else (whole, stays(whole))


@_remembered
def stays(names: Names) -> bool:
    """Whether a value at these names is kept: it says who is meant, or how the body is built."""
    match names:
        case ("schemas",):
            return True
        case ("meta", name):
            return name in _OF_META
        case (listed, "type" | "primary") if listed in _LISTS:
            return True
        case ("", *rest) if rest and rest[0] not in ("schemas", "meta"):
            return (len(rest) == 1 or rest[0] in _LINKS) and stays(tuple(rest))
        case (name,):
            return name in _SAYS_WHO or name in _LINKS
        case (link, name) if link in _LINKS:
            return name in _OF_A_LINK or (link, name) == ("manager", "displayname")
    return False


def names_in(text: str) -> Names:
    """The names of an attribute's path, lower-case, without its filters; of its schema only whether it is an `_EXTENSION`."""
    bare = _without_filters(text)
    if len(bare) > LONGEST_NAME:
        # No attribute is called so; what it may hide is masked.
        return ("secret",) if _SECRET.search(bare) else ("?",)
    # Only names are remembered, not what they are compared with.
    return _names_in(bare) if " " not in bare else _names_in.__wrapped__(bare)


@_remembered
def _names_in(text: str) -> Names:
    last = text.rpartition(":")[2].lower()
    of = (_EXTENSION,) if ":" in text and not text.lower().startswith(_OWN_SCHEMAS) else ()
    # A schema's own URN ends in its version and the resource's name; what follows in it is an attribute of the resource.
    if ":" in text and last in ("user", "group", ""):
        return of
    return (*of, *(part for part in re.sub(r"^\d+\.\d+:?", "", last).split(".") if part))


def touched(body: Any) -> list[str]:
    """The attributes that a body speaks of, in its order, each once: `emails.value`, not which of them nor what.

    What is said in the place of a name and can be none is masked.
    """
    if not isinstance(body, dict):
        return []
    operations = _operations(body)
    if operations is None:
        found = dict.fromkeys(_names_of_operation(None, body))
    else:
        found = {}
        for one in operations:
            if isinstance(one, dict):
                said = {key.lower(): value for key, value in one.items()}
                found |= dict.fromkeys(_names_of_operation(said.get("path"), said.get("value")))
    return [(_told.__wrapped__ if " " in name else _told)(name) for name in islice(found, 40)]


def _operations(body: Mapping[str, Any]) -> list[Any] | None:
    for key, value in body.items():
        if key.lower() == "operations":
            return value if isinstance(value, list) else None
    return None


def _names_of_operation(path: Any, value: Any) -> list[str]:
    if isinstance(path, str) and path.strip():
        spelled = _spelled(path)
        return [spelled] if spelled else _names_of_operation(None, value)
    if not isinstance(value, dict):
        return []
    keys = tuple(value)
    said = "".join(keys)
    # As of names alone: what is long, or compares with something, is not remembered.
    usual = len(said) <= LONGEST_TEXT and " " not in said and "[" not in said
    names: list[str] = []
    for key, spelled in (_spelled_keys if usual else _spelled_keys.__wrapped__)(keys):
        if spelled:
            names.append(spelled)
        elif isinstance(part := value[key], dict):
            names += _names_of_operation(None, part)
    return names


# Of the same kind a directory says the same attributes in the same order.
@lru_cache(maxsize=512)
def _spelled_keys(keys: tuple[str, ...]) -> Sequence[tuple[str, str]]:
    """Each key and its attribute; none that says how the body is built."""
    return [(key, spelled) for key in keys if (spelled := _spelled(key)) not in ("schemas", "meta")]


@_remembered
def _told(name: str) -> str:
    return cut_name(without_tokens(name)) if _NAME.fullmatch(name) else MASK


def _spelled(path: str) -> str:
    return _spelled_name(path) if len(path) <= LONGEST_NAME and " " not in path and "[" not in path else _spelled_name.__wrapped__(path)


@_remembered
def _spelled_name(path: str) -> str:
    lower = [name for name in names_in(path) if name != _EXTENSION]
    if not lower or lower == ["?"]:
        return ""
    return _without_filters(path)[-len(".".join(lower)) :]


def _without_filters(path: str) -> str:
    return (_FILTER.sub("", path) if "[" in path else path).strip()


def without_addresses(text: str) -> str:
    """The text with the names in e-mail addresses masked, and any token of ours."""
    return _OUR_TOKEN.sub(MASK, _ADDRESS.sub(rf"{MASK}@\1", text))


def without_tokens(text: str) -> str:
    """The text with any token of ours masked: of what was typed into the wrong place, this opens something here."""
    return _OUR_TOKEN.sub(MASK, text) if "dl_" in text else text


def cut_name(text: str) -> str:
    return cut(text, LONGEST_NAME)


def cut(text: str, most: int) -> str:
    """The beginning of a text that is longer, with a mask in the place of the rest."""
    return text if len(text) <= most else text[:most] + MASK


def _is_search(body: Mapping[str, Any]) -> bool:
    schemas = next((value for key, value in body.items() if key.lower() == "schemas"), None)
    return isinstance(schemas, list) and any(isinstance(one, str) and one.endswith(":SearchRequest") for one in schemas)
