"""SCIM filters and attribute paths (RFC 7644 §3.4.2.2, §3.5.2): read from text, and tried on a document in memory."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NoReturn

from scim2_filter_parser.lexer import SCIMLexer

from app.directory.values import Operator, Scalar, Sense, compare, instant_or_none, leaves, present
from app.directory.vocabulary import ENTERPRISE, ENTERPRISE_OR_TOP, ENTERPRISE_URN, GROUP_URN, STANDARD, USER_URN, Kind, Vocabulary

LONGEST, DEEPEST, MOST_ANDS = 4_000, 30, 40
"""Characters, brackets in each other, and words `and`. Each of these may become a join, of which PostgreSQL took 13 seconds to plan 128."""
MOST_ORS_INSIDE = 100
"""Of a request, not of a rule, which may stand already: SQLite takes a thousand parts in each other, and each term inside is several."""
_LARGEST = 2**63 - 1
_SHORT = 100
"""Characters of a path that is remembered."""


class FilterError(ValueError):
    """The text is no filter or path. `position` counts characters from 1; the message is for the one who wrote it."""

    def __init__(self, sentence: str, *, position: int) -> None:
        super().__init__(sentence)
        self.position = position


@dataclass(frozen=True, kw_only=True)
class AttributePath:
    """`names` are keys of a stored document; with `where`, `sub` is asked of the elements that fit it.

    `core` is the main schema that was named before them: other kinds of resources have no such attribute (RFC 7644 §3.10).
    """

    names: tuple[str, ...]
    where: "Filter | None" = None
    sub: str | None = None
    core: str | None = None


@dataclass(frozen=True, kw_only=True)
class And:
    terms: tuple["Filter", ...]


@dataclass(frozen=True, kw_only=True)
class Or:
    terms: tuple["Filter", ...]


@dataclass(frozen=True, kw_only=True)
class Not:
    term: "Filter"


@dataclass(frozen=True, kw_only=True)
class Present:
    path: AttributePath


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Some value there compares so. `ne` is read as *not equal to any*, so it holds where there is no value."""

    path: AttributePath
    op: Operator
    value: Scalar
    sense: Sense


@dataclass(frozen=True, kw_only=True)
class ValuePath:
    """Some one element there fits the whole inner filter. Where they may be `bare`, what is no object is its own `value` (RFC 7643 §2.4)."""

    path: AttributePath
    filter: "Filter"
    bare: bool = False


Filter = And | Or | Not | Present | Compare | ValuePath


def parse(text: str, vocabulary: Vocabulary = STANDARD) -> Filter:
    """Read a filter as rules write it, with the short words of `split_path`. Raises FilterError.

    What was read once is read for ever: rules are stored as they were written.
    """
    return _whole_filter(_Reader(text, vocabulary))


def parse_asked(text: str, vocabulary: Vocabulary = STANDARD) -> Filter:
    """Read the filter of a SCIM request: an attribute is the one that has the name. Raises FilterError.

    `department` and its like are the enterprise extension's, and besides what no schema has and was kept under that name. What looks
    like an attribute of a schema that nobody here knows may be the whole of another one, and both are meant.
    """
    return _whole_filter(_Reader(text, vocabulary, over_scim=True))


def _whole_filter(reader: "_Reader") -> Filter:
    found = reader.any_of(())
    reader.expect_end()
    return found


def split_path(text: str, vocabulary: Vocabulary = STANDARD) -> AttributePath:
    """Read an attribute path such as `name.givenName`, `urn:…:User:department` or `emails[type eq "work"].value`.

    `department` and its like are short for the enterprise extension's, `location` for the work address's locality. Raises FilterError.
    """
    return _split(text, vocabulary, over_scim=False)


def split_asked_path(text: str, vocabulary: Vocabulary = STANDARD) -> AttributePath:
    """The same of a SCIM request, where `location` is short for nothing. Raises FilterError."""
    if vocabulary is STANDARD and len(text) <= _SHORT:
        return _short_path(text)
    return _split(text, vocabulary, over_scim=True)


@lru_cache(maxsize=512)
def _short_path(text: str) -> AttributePath:
    # Directories name the same few in request after request.
    return _split(text, STANDARD, over_scim=True)


def _split(text: str, vocabulary: Vocabulary, *, over_scim: bool) -> AttributePath:
    if (declared := vocabulary.extension_named(text)) is not None:
        return AttributePath(names=(declared.urn,))
    reader = _Reader(text, vocabulary, over_scim=over_scim)
    path = reader.path(())
    if reader.at("LBRACKET"):
        where = reader.bracket(path.names)
        path = replace(path, where=where, sub=reader.sub_of(path.names))
    reader.expect_end()
    return path


def matches(filter: Filter, value: Mapping[str, Any]) -> bool:
    """Whether the document, or the element of a list, fits."""
    match filter:
        case And(terms=terms):
            return all(matches(term, value) for term in terms)
        case Or(terms=terms):
            return any(matches(term, value) for term in terms)
        case Not(term=term):
            return not matches(term, value)
        case Present(path=path):
            return any(present(leaf) for leaf in leaves(value, path.names))
        case Compare(path=path, op=op, value=wanted, sense=sense):
            return any(compare(leaf, op, wanted, sense) for leaf in leaves(value, path.names))
        case ValuePath(path=path, filter=inner):
            found = [leaf if isinstance(leaf, dict) else {"value": leaf} for leaf in leaves(value, path.names) if filter.bare or isinstance(leaf, dict)]
            return any(matches(inner, element) for element in found)


class _Lexer(SCIMLexer):  # type: ignore[misc]  # the library has no types
    """The library's tokens, with what it cannot read mended: escapes in texts, whole numbers, words that begin like true."""

    tokens = SCIMLexer.tokens
    FALSE, TRUE, NULL = (rf"(?i:{word})(?![\w$-])" for word in ("false", "true", "null"))
    NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w$])"
    COMP_VALUE = r'"(?:[^"\\]|\\.)*"'
    # What RFC 8141 lets a URN hold, but for brackets, which enclose filters.
    SCHEMA_URI = r"[a-zA-Z]+:[a-zA-Z0-9:._~!$&'*+,;=@/%-]+:"

    def error(self, token: Any) -> NoReturn:
        what = "a text that does not end" if token.value[0] == '"' else repr(token.value[0])
        raise FilterError(f"at character {token.index + 1}: {what} was not expected", position=token.index + 1)


class _Reader:
    """Reads by descent, one method for each level of precedence: `or` binds loosest, then `and`, then `not`.

    What a request means `over_scim` is not all what a rule means by the same words.
    """

    def __init__(self, text: str, vocabulary: Vocabulary, *, over_scim: bool = False) -> None:
        if len(text) > LONGEST:
            raise FilterError(f"it is {len(text)} characters long, more than {LONGEST}", position=LONGEST + 1)
        self._text, self._vocabulary, self._over_scim = text, vocabulary, over_scim
        self._tokens = list(_Lexer().tokenize(text))
        self._next = self._depth = self._ands = self._brackets = 0

    def at(self, *kinds: str) -> bool:
        return self._next < len(self._tokens) and self._tokens[self._next].type in kinds

    def any_of(self, within: tuple[str, ...]) -> Filter:
        terms = [self._all_of(within)]
        while self._take("OR"):
            if self._over_scim and self._brackets and len(terms) == MOST_ORS_INSIDE:
                self._refuse(f"more than {MOST_ORS_INSIDE} terms in brackets are joined by `or`")
            terms.append(self._all_of(within))
        return terms[0] if len(terms) == 1 else Or(terms=tuple(terms))

    def _all_of(self, within: tuple[str, ...]) -> Filter:
        terms = [self._term(within)]
        while self._take("AND"):
            self._ands += 1
            if self._ands > MOST_ANDS:
                self._refuse(f"it joins more than {MOST_ANDS} times by `and`")
            terms.append(self._term(within))
        return terms[0] if len(terms) == 1 else And(terms=tuple(terms))

    def _term(self, within: tuple[str, ...]) -> Filter:
        if self._take("NOT"):
            if not self.at("LPAREN"):
                self._refuse("`not` is followed by a filter in parentheses")
            return Not(term=self._enclosed("LPAREN", "RPAREN", within))
        if self.at("LPAREN"):
            return self._enclosed("LPAREN", "RPAREN", within)
        if self._over_scim and not within and self._names_two_places():
            return self._in_both_places()
        return self._asked_at(self.path(within), within)

    def _names_two_places(self) -> bool:
        """Whether an enterprise attribute comes without its schema, or a URN that no schema here has."""
        if self.at("ATTRNAME"):
            return self._tokens[self._next].value.lower() in ENTERPRISE_OR_TOP
        return self.at("SCHEMA_URI") and self._vocabulary.attributes_of(self._vocabulary.schema_named(self._tokens[self._next].value)) is None

    def _in_both_places(self) -> Filter:
        """What is asked of an attribute of an extension, and of what has that name at the top as it is written."""
        begins, ands = self._next, self._ands
        within = self._asked_at(self.path(()), ())
        self._next, self._ands = begins, ands
        at_top = self._asked_at(self.path((), as_written=True), ())
        if within == at_top:
            return within
        if isinstance(within, Not) and isinstance(at_top, Not):
            # What is not there is in neither place.
            return Not(term=Or(terms=(within.term, at_top.term)))
        return Or(terms=(within, at_top))

    def _asked_at(self, path: AttributePath, within: tuple[str, ...]) -> Filter:
        if not self.at("LBRACKET"):
            return self._asked_of(path, within)
        names = (*within, *path.names)
        inner, sub = self.bracket(names), self.sub_of(names)
        known = self._vocabulary.attribute_at(names)
        # Rules go on asking objects only.
        bare = self._over_scim and known is not None and known.bare
        if sub is None:
            return ValuePath(path=path, filter=inner, bare=bare)
        asked = self._asked_of(AttributePath(names=(sub,)), names)
        return ValuePath(path=path, filter=And(terms=(inner, asked)), bare=bare)

    def _enclosed(self, opening: str, closing: str, within: tuple[str, ...]) -> Filter:
        self._depth += 1
        if self._depth > DEEPEST:
            self._refuse(f"it is nested more than {DEEPEST} deep")
        self._take(opening)
        inner = self.any_of(within)
        if not self._take(closing):
            self._refuse(f"expected {']' if closing == 'RBRACKET' else ')'}")
        self._depth -= 1
        return inner

    def bracket(self, within: tuple[str, ...]) -> Filter:
        # Each is a query inside the one around it, of which databases take a few; RFC 7644 (valFilter) knows none within another.
        if self._over_scim and self._brackets:
            self._refuse("brackets stand within brackets")
        self._brackets += 1
        inner = self._enclosed("LBRACKET", "RBRACKET", within)
        self._brackets -= 1
        return inner

    def path(self, within: tuple[str, ...], *, as_written: bool = False) -> AttributePath:
        """Short words stand for others, and the last name of a URN for an attribute, unless all is the name of what stands at the top."""
        start = self._next
        names: tuple[str, ...] = ()
        core: str | None = None
        if self.at("SCHEMA_URI"):
            # The lexer cuts at the last colon, so the "2.0" of a URN is not taken for a sub-attribute.
            urn = self._tokens[self._next].value
            self._next += 1
            if self._vocabulary.schema_named(urn) not in (USER_URN, GROUP_URN):
                names = (urn,)
            elif self._over_scim and not within:
                core = self._vocabulary.schema_named(urn)
        if not self.at("ATTRNAME"):
            self._refuse("expected the name of an attribute")
        name = self._tokens[self._next].value
        self._next += 1
        whole = self._vocabulary.schema_named(f"{names[0]}:{name}") if names else ""
        if self._vocabulary.attributes_of(whole) is not None:
            return AttributePath(names=(whole,))
        sub = self._sub_name()
        if names and as_written:
            return AttributePath(names=(f"{names[0]}:{name}" if sub is None else f"{names[0]}:{name}.{sub}",))
        at_top = not within and not as_written and self._next - start == (1 if sub is None else 2)
        if at_top and not self._over_scim and sub is None and name.lower() == "location":
            return WORK_LOCALITY
        if at_top and name.lower() in ENTERPRISE:
            names = (ENTERPRISE_URN,)
        names = (*names, name) if sub is None else (*names, name, sub)
        return AttributePath(names=self._vocabulary.spelled((*within, *names))[len(within) :], core=core)

    def sub_of(self, names: tuple[str, ...]) -> str | None:
        sub = self._sub_name()
        return None if sub is None else self._vocabulary.spelled((*names, sub))[-1]

    def _sub_name(self) -> str | None:
        if not self.at("SUBATTR") or self._tokens[self._next].index != self._tokens[self._next - 1].end:
            return None
        name: str = self._tokens[self._next].value
        self._next += 1
        if self.at("SUBATTR"):
            self._refuse("a path has one sub-attribute at most")
        return name

    def _asked_of(self, path: AttributePath, within: tuple[str, ...]) -> Filter:
        if path.where is not None and path.sub is not None:
            asked = self._asked_of(AttributePath(names=(path.sub,)), (*within, *path.names))
            return ValuePath(path=AttributePath(names=path.names), filter=And(terms=(path.where, asked)))
        if self._take("PR"):
            return Present(path=path)
        if not self.at("EQ", "NE", "CO", "SW", "EW", "GT", "GE", "LT", "LE"):
            self._refuse("expected an operator such as eq")
        word = self._tokens[self._next].type.lower()
        self._next += 1
        return self._compared(path, within, word)

    def _compared(self, path: AttributePath, within: tuple[str, ...], word: str) -> Filter:
        where = self._next
        value = self._value()
        if value is None:
            if word not in ("eq", "ne"):
                self._refuse(f"null cannot be compared by {word}", at=where)
            return Present(path=path) if word == "ne" else Not(term=Present(path=path))
        known = self._vocabulary.attribute_at((*within, *path.names))
        if known is None and within and path.names == ("value",) and (above := self._vocabulary.attribute_at(within)) is not None:
            known = above if above.bare else None
        if known is not None and known.kind is Kind.COMPLEX:
            # RFC 7643 §2.4: the significant value of a complex attribute is its `value`.
            if "value" not in known.subs:
                self._refuse(f"{known.name} is made of parts; name one, such as {known.name}.formatted", at=where)
            known = known.subs["value"]
            path = replace(path, names=(*path.names, known.name))
        sense = Sense.FOLDED
        if known is not None:
            sense = Sense.INSTANT if known.kind is Kind.DATETIME else Sense.EXACT if known.exact else Sense.FOLDED
            # Entra writes roles[primary eq "True"]; for an attribute that is true or false this can mean one thing only.
            said = value.lower() if isinstance(value, str) and word in ("eq", "ne") else ""
            if known.kind is Kind.BOOLEAN and said in ("true", "false"):
                value = said == "true"
            if known.kind in (Kind.INTEGER, Kind.DECIMAL) and (isinstance(value, bool) or not isinstance(value, int | float)):
                self._refuse(f"{known.name} is a number, and is compared with one", at=where)
            unordered = known.kind in (Kind.BOOLEAN, Kind.BINARY) and (known.checked or self._over_scim)
            if unordered and word in ("gt", "ge", "lt", "le"):
                self._refuse(f"{known.name} is {known.kind.value}, and that has no order", at=where)
        if word in ("co", "sw", "ew") and (not isinstance(value, str) or sense is Sense.INSTANT):
            self._refuse(f"{word} compares texts only", at=where)
        if word in ("gt", "ge", "lt", "le") and isinstance(value, bool):
            self._refuse("true and false have no order", at=where)
        if sense is Sense.INSTANT and (not isinstance(value, str) or instant_or_none(value) is None):
            self._refuse("expected an instant with its time zone, such as 2026-11-30T17:00:00Z", at=where)
        found = Compare(path=path, op=Operator.EQ if word == "ne" else Operator(word), value=value, sense=sense)
        return Not(term=found) if word == "ne" else found

    def _value(self) -> Scalar | None:
        if not self.at("COMP_VALUE", "NUMBER", "TRUE", "FALSE", "NULL"):
            self._refuse("expected a value: a text in double quotes, a number, true, false or null")
        token = self._tokens[self._next]
        # Taken from the text itself: the library cuts quotes off both ends, escaped ones too.
        raw = self._text[token.index : token.end]
        try:
            value: Any = json.loads(raw if token.type in ("COMP_VALUE", "NUMBER") else raw.lower(), strict=False)
        except ValueError:
            self._refuse("this value is not written as JSON writes it")
        if isinstance(value, str) and ("\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value)):
            self._refuse("this text holds a character that no text can hold")
        if isinstance(value, int | float) and not abs(value) <= _LARGEST:
            self._refuse("this number is too large")
        self._next += 1
        return value  # type: ignore[no-any-return]  # JSON gives exactly these kinds for these tokens

    def _take(self, kind: str) -> bool:
        taken = self.at(kind)
        self._next += taken
        return taken

    def expect_end(self) -> None:
        if self._next < len(self._tokens):
            self._refuse("expected `and`, `or` or the end")

    def _refuse(self, sentence: str, *, at: int | None = None) -> NoReturn:
        index = self._next if at is None else at
        ends = index >= len(self._tokens)
        position = len(self._text) + 1 if ends else self._tokens[index].index + 1
        place = "at the end" if ends else f"at character {position}"
        raise FilterError(f"{place}: {sentence}", position=position)


WORK_LOCALITY = AttributePath(
    names=("addresses",), sub="locality", where=Compare(path=AttributePath(names=("type",)), op=Operator.EQ, value="work", sense=Sense.FOLDED)
)
