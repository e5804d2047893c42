"""Expressions in CEL, the Common Expression Language: the one module that knows the library, and what it is not trusted with.

CEL cannot reach an object of Python, has no assignment and no recursion. What is left is bounded here before the library sees it: its own
parser ends the process when brackets are nested deeply enough, and it counts neither steps nor bytes. So an expression is short, has few brackets
and one loop, and is given what it names of a person, and no more than so much of that: its cost is then a product of four small numbers.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from app.intake.mapping_fields import SUBJECT, absent, problem_of
from app.intake.mapping_functions import FUNCTIONS, LONGEST_LIST, LONGEST_TEXT

if TYPE_CHECKING:
    from cel.cel import Context, Program

LONGEST: Final = 1_000
"""Characters of an expression."""
MOST_BRACKETS: Final = 50
"""Opening brackets in it; none can be nested deeper than there are. On a small stack, the library's parser dies between 50 and 100."""
MOST_TEXT: Final = 10_000
"""Characters of all texts that it is given of one person."""
DEEPEST: Final = 8

# Regular expressions, dates and conversions to types that no attribute has are left out: the first can take long to make.
BUILT_IN: Final = frozenset({"size", "contains", "startsWith", "endsWith", "string", "int", "double", "dyn"})
# One line, so that a comment ends the expression and can hide no bracket from a loop's name.
_LOOP: Final = re.compile(r"\.\s*(?:all|exists|existsOne|exists_one|filter|map)\s*\(\s*([A-Za-z_]\w*)?")
_STEP: Final = r"""\s*(?:\.\s*[A-Za-z_]\w*(?!\w)(?!\s*\()|\[\s*(?:"[^"'\\\n]*"|'[^"'\\\n]*')\s*\])"""
_USE: Final = re.compile(rf"(?<!\w){SUBJECT}(?!\w)((?:{_STEP})*)", re.ASCII)
_NAME: Final = re.compile(r"""\.\s*([A-Za-z_]\w*)|\[\s*["']([^"']*)["']\s*\]""", re.ASCII)
_ASKED: Final = re.compile(r"(?<!\w)has\s*\(\s*$", re.ASCII)
_AT: Final = re.compile(r"<input>:1:(\d+):\s*(.*)")
_NO_OVERLOAD: Final = re.compile(r"Undefined variable or function: '(\w+)'")
_CALLED: Final = re.compile(r"Python function call failed: (\w+): (.*?)\. Check function arguments", re.DOTALL)

# The library says each failed call of ours in a log of its own; here each is told of whom it failed for.
logging.getLogger("cel").setLevel(logging.CRITICAL)

Path = tuple[str, ...]


class UnusableExpression(ValueError):
    """It can be used for nobody. `character` is the place in it, from 1, where one can be named."""

    def __init__(self, problem: str, *, character: int | None = None) -> None:
        super().__init__(problem)
        self.character = character


class NoValue(Exception):
    """It has no value for this one person. The message says why and holds nothing of the person."""


class Misused(NoValue):
    """It joins values that do not go together, as for everybody who has what it names."""


@dataclass(frozen=True, kw_only=True)
class Expression:
    """One that has been checked. `paths` is what it names of a person; `asked` of these it only asks whether they are there.

    Those in `plain` stand for null where they are not there. Whoever looks at an object as a whole as well, by its keys or its size,
    must find it as it is.
    """

    text: str
    paths: tuple[Path, ...]
    asked: frozenset[Path]
    plain: frozenset[Path]
    whole: bool
    _program: "Program" = field(repr=False, compare=False)
    _context: "type[Context]" = field(repr=False, compare=False)
    _functions: dict[str, Callable[..., Any]] = field(repr=False, compare=False)

    def value(self, person: Mapping[str, Any]) -> Any:
        """What it gives for a person, by the names of FIELDS. An attribute that is named and not there is null. Raises NoValue."""
        given = self.given(person)
        try:
            return self._program.execute(self._context({SUBJECT: given}, self._functions))
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise _translated(error) from None

    def given(self, person: Mapping[str, Any]) -> dict[str, Any]:
        """What it may see of them. Converting a whole person for the library takes ten times as long as computing with them."""
        found: dict[str, Any] = {}
        if self.whole:
            found = dict(person)
        for path in self.paths:
            self._put(found, person, path)
        _refuse_large(found, depth=0, left=MOST_TEXT)
        return found

    def _put(self, target: dict[str, Any], source: Mapping[str, Any], path: Path) -> None:
        """Copy what stands at a path, and null where nothing stands, unless the expression asks whether something does."""
        *outer, last = path
        for depth, name in enumerate(outer, start=1):
            inner = source.get(name)
            if inner is None and (path not in self.plain or path[:depth] in self.asked):
                return
            if inner is not None and not _is_object(inner):
                target[name] = inner
                return
            source = inner or {}
            # A copy, since null may be put into it; nothing of a person is changed.
            target[name] = target = dict(target[name]) if _is_object(target.get(name)) else {}
        if last in source:
            target[last] = source[last]
        elif path in self.plain and path not in self.asked:
            target.setdefault(last, absent(path))

    def names_only(self, there: Callable[[Path], bool]) -> bool:
        """Whether everything that it names is `there`."""
        return not self.whole and all(map(there, self.paths))


def compile_expression(text: str) -> Expression:
    """Raises UnusableExpression."""
    # It brings a terminal program along, whose import takes longer than most commands of ours.
    from cel.cel import Context
    from cel.cel import compile as compile_cel

    _refuse_costly(text)
    try:
        program = compile_cel(text)
    except ValueError as error:
        raise _unread(str(error)) from None
    named = program.references()
    _refuse_unknown(text, functions=named["functions"], variables=named["variables"])
    uses = [(_names(found[1]), found.start()) for found in _USE.finditer(text)]
    asking = {at for _, at in uses if _ASKED.search(text[:at])}
    values = {path for path, at in uses if at not in asking and not _within_a_text(text, at)}
    return Expression(
        text=text,
        # Shorter ones first: what is put in later goes into what is there.
        paths=tuple(sorted({path for path, _ in uses if path}, key=lambda path: (len(path), path))),
        asked=frozenset(path for path, at in uses if at in asking),
        plain=frozenset(path for path, _ in uses if not any(path[:length] in values for length in range(len(path)))),
        # Whether it stands in a text is not believed here: that could be seen wrongly.
        whole=any(not path for path, _ in uses),
        _program=program,
        _context=Context,
        _functions={name: FUNCTIONS[name] for name in named["functions"] if name in FUNCTIONS},
    )


def _refuse_costly(text: str) -> None:
    if not text.strip():
        raise UnusableExpression("there is no expression")
    if len(text) > LONGEST:
        raise UnusableExpression(f"it is {len(text)} characters long; at most {LONGEST}")
    for at, mark in enumerate(text, start=1):
        if not mark.isprintable():
            raise UnusableExpression("it is written in one line, of characters that can be seen", character=at)
    if (brackets := sum(map(text.count, "([{"))) > MOST_BRACKETS:
        raise UnusableExpression(f"it has {brackets} opening brackets; at most {MOST_BRACKETS}")
    loops = list(_LOOP.finditer(text))
    if len(loops) > 1:
        raise UnusableExpression(
            "it has more than one loop (all, exists, exists_one, filter, map); use ofType(), each() or first()",
            character=loops[1].start() + 2,
        )


def _refuse_unknown(text: str, *, functions: list[str], variables: list[str]) -> None:
    known = BUILT_IN | FUNCTIONS.keys()
    for name in functions:
        # Operators are written with marks that no name has.
        if name.isidentifier() and name not in known:
            raise UnusableExpression(
                f"there is no function {name}; there are {', '.join(sorted(known))}", character=_place(rf"(?<!\w){name}\s*\(", text)
            )
    bound = {found[1] for found in _LOOP.finditer(text)}
    for name in variables:
        if name != SUBJECT and name not in bound:
            raise UnusableExpression(
                f"there is nothing called {name}; everything there is stands in {SUBJECT}",
                character=_place(rf"(?<!\w){re.escape(name)}(?!\w)", text),
            )
    for found in _USE.finditer(text):
        path = _names(found[1])
        # Within a text the same letters mean nothing, and the library has read this as a program already.
        if path and (problem := problem_of(path)) is not None and not _within_a_text(text, found.start()):
            raise UnusableExpression(problem, character=found.start() + 1)


def _within_a_text(text: str, at: int) -> bool:
    quote = ""
    for place, mark in enumerate(text[:at]):
        if quote:
            quote = "" if mark == quote and text[place - 1] != "\\" else quote
        elif mark in "\"'":
            quote = mark
    return bool(quote)


def _place(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text)
    return found.start() + 1 if found else None


def _names(steps: str) -> Path:
    return tuple(found[1] or found[2] or "" for found in _NAME.finditer(steps))


def _is_object(value: Any) -> bool:
    # The plain kind first: to ask whether something is a Mapping takes longer than all the rest.
    return isinstance(value, (dict, Mapping))


def _refuse_large(value: Any, *, depth: int, left: int) -> int:
    """How many characters are left to be given. Raises NoValue."""
    if value is None or isinstance(value, bool | int | float):
        return left
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise NoValue(f"a text that it needs is longer than {LONGEST_TEXT} characters")
        left -= len(value)
        if left < 0:
            raise NoValue(f"what it needs is longer than {MOST_TEXT} characters together")
        return left
    listed = value if isinstance(value, list | tuple) else value.values() if _is_object(value) else ()
    if depth == DEEPEST:
        raise NoValue(f"what it needs is nested deeper than {DEEPEST}")
    if len(listed) > LONGEST_LIST:
        raise NoValue(f"a list that it needs has more than {LONGEST_LIST} values")
    for one in listed:
        left = _refuse_large(one, depth=depth + 1, left=left)
    return left


def _unread(message: str) -> UnusableExpression:
    found = _AT.search(message)
    if found is None:
        return UnusableExpression("it cannot be read as an expression")
    # What else could have stood there is a list of every kind of word.
    problem = found[2].partition(" expecting {")[0].strip().removeprefix("Syntax error: ").replace("<EOF>", "the end")
    return UnusableExpression(f"it cannot be read: {problem[:200]}", character=int(found[1]))


def _translated(error: Exception) -> NoValue:
    """The library's own sentences quote values, and those are somebody's."""
    if isinstance(error, KeyError):
        return NoValue(f"there is no {str(error.args[0])[:60] if error.args else 'such attribute'}")
    if isinstance(error, IndexError):
        return NoValue("a list is shorter than it takes")
    if isinstance(error, ArithmeticError):
        return NoValue("a number comes out that cannot be computed with")
    if isinstance(error, TypeError):
        return Misused("it puts values together that do not go together, such as a text and a number, or a text and null")
    if (called := _CALLED.search(str(error))) is not None:
        wrong = called[2] if called[1] == "ValueError" else "a function is given too few or too many values"
        return Misused(wrong[:300])
    if str(error).startswith("Function '"):
        return NoValue(f"{str(error).split(chr(39))[1][:60]}() cannot make anything of what it is given")
    if (given := _NO_OVERLOAD.search(str(error))) is not None:
        # Names are looked at when an expression is read, so it is one of the library's own that does not take this kind of value.
        return Misused(f"{given[1]}() is given what it does not take, such as null; coalesce(…, '') makes an empty text of that")
    if str(error).startswith("Conversion Error"):
        return NoValue("what it needs holds something that no text can hold")
    return Misused("it uses something of CEL that there is not here")
