"""Places in a YAML file that know their line and their name, so that each complaint can say what should stand where."""

import json
import re
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypeVar

import yaml

from app.rules.file import read_span

_PLACE = re.compile(r"(call:)?[^\s{}](?:[^{}\t\n]{0,198}[^\s{}])?")
_BESIDE = re.compile(r"(header|query):[A-Za-z0-9_.-]{1,100}", re.ASCII)
_IN_THE_BODY: Final = "it must stand in the body: the headers of a call are neither signed nor kept"
_HEADER = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_SECONDS = re.compile(r"([0-9]{1,6})\s*seconds?", re.ASCII)
MOST_PARTS: Final = 1000
Word = TypeVar("Word", bound=StrEnum)


def is_beside(place: str) -> bool:
    """Whether a place is not in the body but in a header or in the query."""
    return place.startswith(("header:", "query:"))


class DescriptionError(ValueError):
    """A description that cannot be used. The message names the line, the field, and what should stand there."""

    def __init__(self, problem: str, *, field: str, line: int) -> None:
        self.field, self.line = field, line
        super().__init__(f"line {line}, {field}: {problem}" if field else f"line {line}: {problem}")


class Node:
    """One place in the file, which knows its line and its name."""

    def __init__(self, loader: yaml.SafeLoader, node: yaml.Node, name: str) -> None:
        self.loader, self.node, self.name = loader, node, name

    def wrong(self, problem: str) -> DescriptionError:
        return DescriptionError(problem, field=self.name, line=self.node.start_mark.line + 1)

    def fields(self, *known: str, needed: tuple[str, ...] = ()) -> "dict[str, Node]":
        found = self.entries()
        for name, entry in found.items():
            if known and name not in known:
                raise entry.wrong(f"there is no such field; there are {', '.join(known)}")
        for name in needed:
            if name not in found:
                raise self.wrong(f"{name!r} is missing")
        return found

    def entries(self) -> "dict[str, Node]":
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong("it must be fields with values, such as 'name: value'")
        found: dict[str, Node] = {}
        for key, value in self.node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            inner = Node(self.loader, value, f"{self.name}.{name}" if self.name else name)
            if not name or name == "<<" or name in found:
                raise inner.wrong("a field is named once, by a plain word")
            found[name] = inner
        return found

    def items(self) -> "list[Node]":
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.wrong("it must be a list")
        return [Node(self.loader, item, f"{self.name}[{number}]") for number, item in enumerate(self.node.value)]

    def text(self) -> str:
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.value.strip():
            raise self.wrong("it must be a text")
        return str(self.node.value)

    def texts(self) -> tuple[str, ...]:
        if isinstance(self.node, yaml.ScalarNode):
            return (self.text(),)
        return tuple(item.text() for item in self.items())

    def place(self) -> str:
        """Anywhere in a call: in its body, in a header, in its query."""
        text = self.text()
        if is_beside(text):
            if _BESIDE.fullmatch(text) is None:
                raise self.wrong("it must be header:NAME or query:NAME")
        elif text.startswith("$"):
            raise self.wrong(f"a place is written without '$' in front, such as {text.lstrip('$.') or 'data.employeeId'}")
        elif _PLACE.fullmatch(text) is None:
            raise self.wrong("it must be a place in the body such as data.employeeId, or header:NAME, or query:NAME")
        return text

    def field(self) -> str:
        if is_beside(self.place()):
            raise self.wrong(_IN_THE_BODY)
        return self.text()

    def fields_in_order(self) -> str | tuple[str, ...]:
        """One place in the body, or several of which the first that is not empty counts."""
        if isinstance(self.node, yaml.ScalarNode):
            return self.field()
        found = tuple(item.field() for item in self.items())
        if not found:
            raise self.wrong("it must be a place, or a list of places")
        return found

    def header(self) -> str:
        if _HEADER.fullmatch(self.text()) is None:
            raise self.wrong("it must be the name of a header")
        return self.text()

    def header_or_query(self) -> str:
        """The name of a header, or query:NAME."""
        return self.place() if self.text().startswith("query:") else self.header()

    def word(self, words: type[Word]) -> Word:
        try:
            return words(self.text())
        except ValueError:
            raise self.wrong(f"it must be one of {', '.join(words)}, not {self.text()!r}") from None

    def one_of(self, *words: str) -> str:
        if self.text() not in words:
            raise self.wrong(f"it must be one of {', '.join(words)}, not {self.text()!r}")
        return self.text()

    def flag(self) -> bool:
        if not isinstance(self.node, yaml.ScalarNode) or self.node.value not in ("true", "false"):
            raise self.wrong("it must be true or false")
        return bool(self.node.value == "true")

    def span(self) -> timedelta:
        seconds = _SECONDS.fullmatch(self.text().strip())
        if seconds is not None:
            return timedelta(seconds=int(seconds[1]))
        try:
            return read_span(self.text())
        except ValueError as error:
            raise self.wrong(str(error)) from None

    def conditions(self, *, beside: bool = False) -> dict[str, tuple[str, ...]]:
        """Places, and the texts that may stand there; with `beside` also headers and the query."""
        found = self.entries()
        for name, entry in found.items():
            if not is_beside(name):
                continue
            if not beside:
                raise entry.wrong(_IN_THE_BODY)
            if _BESIDE.fullmatch(name) is None:
                raise entry.wrong("the place must be header:NAME or query:NAME")
        return {name: entry.values() for name, entry in found.items()}

    def values(self) -> tuple[str, ...]:
        """Texts to compare with. An empty one, in quotes, stands for *nothing is said there*; so does a null."""
        items = [self] if isinstance(self.node, yaml.ScalarNode) else self.items()
        return tuple(value for item in items for value in item._value())

    def _value(self) -> tuple[str, ...]:
        if not isinstance(self.node, yaml.ScalarNode) or self.node.style:
            quoted_nothing = isinstance(self.node, yaml.ScalarNode) and not self.node.value
            return ("",) if quoted_nothing else (self.text(),)
        # Bare words that YAML writes in several ways, and JSON in one: a call may have either.
        text = self.text()
        meant = "" if text == "~" else text.lower()
        if meant in ("", "null"):
            return (text, "")
        return (text, meant) if meant in ("true", "false") and meant != text else (text,)

    def plain(self) -> dict[str, object]:
        """An object that JSON can say."""
        # Counted before it is built: by its aliases a file of some lines may stand for more than fits into any memory.
        waiting, seen = [self.node], 0
        while waiting:
            node = waiting.pop()
            seen += 1
            if seen > MOST_PARTS:
                raise self.wrong(f"it has more than {MOST_PARTS} parts")
            if isinstance(node, yaml.MappingNode):
                waiting += [part for pair in node.value for part in pair]
            elif isinstance(node, yaml.SequenceNode):
                waiting += node.value
        try:
            found: object = self.loader.construct_document(self.node)
            json.dumps(found, allow_nan=False)
        except (ValueError, TypeError, OverflowError):
            raise self.wrong("it must be what JSON can say; a date, such as 2026-11-30, stands in quotes") from None
        if not isinstance(found, dict):
            raise self.wrong("it must be fields with values")
        return found
