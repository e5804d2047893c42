"""What an administrator may set for a source. Everything is text; an option that nobody knows is an error, not a silence."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from connectors.contract import Misconfigured
from connectors.source_contract import SourceSettings


class Options:
    """Reads the options of one source. Every method raises Misconfigured, naming the option."""

    def __init__(self, given: SourceSettings, known: Collection[str]) -> None:
        if unknown := sorted(set(given.options) - set(known)):
            raise Misconfigured(f"{given.name}: no option {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        self._name = given.name
        self._given = given.options

    def text(self, name: str, otherwise: str = "") -> str:
        return self._given.get(name, "").strip() or otherwise

    def needed(self, name: str, what: str) -> str:
        if not (said := self.text(name)):
            raise Misconfigured(f"{self._name}: the option {name} is needed: {what}")
        return said

    def flag(self, name: str, *, otherwise: bool = False) -> bool:
        value = self.text(name).lower()
        if value not in ("", "true", "false"):
            raise Misconfigured(f"{self._name}: {name} is true or false")
        return value == "true" if value else otherwise

    def number(self, name: str, *, otherwise: int, least: int = 1, most: int) -> int:
        text = self.text(name)
        if text and not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise Misconfigured(f"{self._name}: {name} is a whole number from {least} to {most}")
        return int(text) if text else otherwise

    def one_of(self, name: str, known: Collection[str], *, otherwise: str) -> str:
        value = self.text(name, otherwise)
        if value not in known:
            raise Misconfigured(f"{self._name}: {name} is one of {', '.join(known)}")
        return value

    def words(self, name: str, *, otherwise: str) -> frozenset[str]:
        return frozenset(word for part in self.text(name, otherwise).split(",") if (word := part.strip()))

    def fingerprint(self, *, without: Collection[str] = ()) -> str:
        """Of what was set, but for what has no say in whom a listing holds."""
        said = sorted((name, value.strip()) for name, value in self._given.items() if name not in without)
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
