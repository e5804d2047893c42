"""What a filter or a path compares with, found whether or not it can be read as one.

Pure, and of no schema. In doubt something is a value: what stands where no name, operator or bracket belongs is taken
for what the attribute before it was compared with.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

UNKNOWN: Final = "?"
# One of these begins at each character, so nothing is looked at twice.
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[()\[\]]|[=<>!~]+|\s+|[^\s"()\[\]=<>!~]+', re.DOTALL)
_NAME: Final = re.compile(r"[\w.:$-]+")
_SIGN: Final = re.compile(r"[=<>!~]+")
# RFC 7644 table 3, and what is written in their place.
_OWN: Final = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"})
_OPERATORS: Final = _OWN | {"equals", "is", "in", "like", "contains", "startswith", "endswith"}
_JOINING: Final = frozenset({"and", "or"})


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of the text. `of` are the attributes (before the bracket, and in it) that it is compared with; None for all else."""

    text: str
    of: tuple[str, str] | None = None


class _Awaits(Enum):
    ATTRIBUTE = auto()
    OPERATOR = auto()
    VALUE = auto()
    JOINING = auto()


def pieces(text: str, *, goes_on: bool = False) -> list[Piece]:
    """The text in its parts. With `goes_on` more comes behind it, so that its last word is not for want of an operator a value."""
    return _Reading(_TOKEN.findall(text), goes_on=goes_on).all()


def compares(text: str) -> bool:
    """Whether anything is compared in a text that should be a name, perhaps of several words."""
    tokens = _TOKEN.findall(text)
    return any(token[0] in '"[' or token.lower() in _OWN or _SIGN.fullmatch(token) for token in tokens)


class _Reading:
    def __init__(self, tokens: Sequence[str], *, goes_on: bool) -> None:
        self._tokens, self._goes_on = tokens, goes_on
        self._at = 0
        self._awaits = _Awaits.ATTRIBUTE
        self._outer, self._attribute, self._left = "", UNKNOWN, ""
        self._read: list[Piece] = []

    def all(self) -> list[Piece]:
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.isspace():
                self._keep()
            elif self._awaits is _Awaits.VALUE:
                self._value(token)
            elif token in (")", "]"):
                self._close(token)
            elif self._awaits is _Awaits.ATTRIBUTE:
                self._named(token)
            elif self._awaits is _Awaits.OPERATOR:
                self._operator(token)
            else:
                self._joining(token)
        return self._read

    def _keep(self, awaits: _Awaits | None = None) -> None:
        self._read.append(Piece(text=self._tokens[self._at]))
        self._at += 1
        self._awaits = awaits or self._awaits

    def _take(self, end: int, *, of: str) -> None:
        self._read.append(Piece(text="".join(self._tokens[self._at : end]), of=(self._outer, of)))
        self._at = end

    def _after(self, place: int) -> str:
        """The next token that is no space, from this place on."""
        return next((token for token in self._tokens[place : place + 2] if not token.isspace()), "")

    def _close(self, token: str) -> None:
        self._left = self._outer if token == "]" else ""
        self._outer = "" if token == "]" else self._outer
        self._keep(_Awaits.JOINING)

    def _named(self, token: str) -> None:
        word = token.lower()
        if token == "[":
            self._outer = UNKNOWN
            self._keep()
        elif token == "(" or word == "not" or word in _JOINING:
            self._keep()
        elif _SIGN.fullmatch(token):
            self._attribute = UNKNOWN
            self._keep(_Awaits.VALUE)
        else:
            self._attribute = token if _NAME.fullmatch(token) else UNKNOWN
            if not token.startswith('"') and self._is_attribute():
                self._keep()
            else:
                self._take(self._at + 1, of=UNKNOWN)
            self._awaits = _Awaits.OPERATOR

    def _is_attribute(self) -> bool:
        """Whether this word is compared with something, or has nothing before it."""
        if not any(piece.text.strip(" (") for piece in self._read) or (self._goes_on and self._at + 1 == len(self._tokens)):
            return True
        return self._after(self._at + 1) == "[" or self._after(self._at + 1).lower() == "pr" or self._compares(self._at + 1)

    def _compares(self, place: int) -> bool:
        """Whether the next word from this place on is an operator; what nobody knows is one before a text in quotes."""
        if place < len(self._tokens) and self._tokens[place].isspace():
            place += 1
        token = self._after(place)
        if token.lower() in _OPERATORS or _SIGN.fullmatch(token):
            return True
        behind = self._tokens[place + 1 : place + 3]
        return token.isalnum() and token.lower() not in _JOINING and len(behind) == 2 and behind[0].isspace() and behind[1].startswith('"')

    def _operator(self, token: str) -> None:
        if token == "[":
            self._outer = self._attribute
            self._keep(_Awaits.ATTRIBUTE)
        elif token.lower() == "pr":
            self._keep(_Awaits.JOINING)
        elif self._compares(self._at):
            self._keep(_Awaits.VALUE)
        else:
            self._joining(token)

    def _joining(self, token: str) -> None:
        if token.lower() in _JOINING:
            self._keep(_Awaits.ATTRIBUTE)
        elif self._left and token.startswith(".") and _NAME.fullmatch(token) and self._tokens[self._at - 1] == "]":
            self._attribute = self._left + token
            self._keep(_Awaits.OPERATOR)
        else:
            self._take(self._end(), of=UNKNOWN)
            self._awaits = _Awaits.JOINING

    def _value(self, token: str) -> None:
        if token not in (")", "]"):
            self._take(self._at + 1 if token.startswith('"') else self._end(), of=self._attribute)
        self._awaits = _Awaits.JOINING

    def _end(self) -> int:
        """Where a value without double quotes ends: before a closing bracket, or the word that joins another comparison to it."""
        first = self._tokens[self._at]
        if first.startswith("'"):
            quote = first if len(first) > 1 else ""
            for place in range(self._at, len(self._tokens)):
                if (quote if place == self._at else self._tokens[place]).endswith("'"):
                    return place + 1
            return len(self._tokens)
        for place in range(self._at, len(self._tokens)):
            token = self._tokens[place]
            if token in (")", "]") or (token.isspace() and self._after(place).lower() in _JOINING):
                return place
        return len(self._tokens)
