"""Names, topics and parents: small Jinja templates that can do nothing but write text."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from jinja2 import StrictUndefined, TemplateError, TemplateRuntimeError, TemplateSyntaxError, meta, nodes
from jinja2.filters import FILTERS
from jinja2.sandbox import SandboxedEnvironment

from app.json_text import without_unstorable

LONGEST_NAME = 80
"""Characters of a channel's name: the least that any workspace we ship to can hold (Slack's limit)."""

LONGEST_TEMPLATE = 1000
LONGEST_TEXT = 100_000
"""Characters to which a filter may lengthen a text."""

_HASH_LENGTH = 8
_ALLOWED_FILTERS = ("lower", "upper", "title", "capitalize", "trim", "replace", "default", "first", "last", "truncate")
# Letters that Unicode does not decompose, though every reader knows their plain form.
_PLAIN = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})


class BadTemplate(ValueError):
    """A template that cannot be used, said in one sentence."""


def slug(text: object) -> str:
    """Lower case, without accents, words joined by single dashes. Letters of other scripts stay: 研究 has no plain form."""
    # Decomposed on both sides of folding: mathematical 𝐀 is only then a letter with a small form.
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", str(text)).casefold()).translate(_PLAIN)
    bare = "".join(character for character in folded if not unicodedata.combining(character))
    # Composed again, or Hangul and kana would stay in pieces.
    whole = unicodedata.normalize("NFC", bare)
    return re.sub(r"[\W_]+", "-", whole).strip("-")


def _replaced(text: object, old: object, new: object, count: int | None = None) -> str:
    whole, part, other = str(text), str(old), str(new)
    most = whole.count(part)
    times = most if count is None or count < 0 else min(most, count)
    # Measured before it is written: a few in a row could multiply a text beyond any memory.
    if len(whole) + times * (len(other) - len(part)) > LONGEST_TEXT:
        raise TemplateRuntimeError(f"the text grows beyond {LONGEST_TEXT} characters")
    return whole.replace(part, other, times)


class _Missing(StrictUndefined):
    """What the scope lacks: it can be asked for with `if`, `or` and `default`, and cannot be written."""

    __slots__ = ()

    def __bool__(self) -> bool:  # type: ignore[override]  # Jinja's raises
        return False


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(undefined=_Missing, autoescape=False)
    environment.filters = {name: FILTERS[name] for name in _ALLOWED_FILTERS} | {"slug": slug, "replace": _replaced}
    environment.globals = {}
    environment.tests = {name: environment.tests[name] for name in ("defined", "none", "string", "undefined")}
    return environment


_ENVIRONMENT = _environment()

# A template is applied once per key, perhaps ten thousand times, and written by whoever may apply rules. Loops, calls and
# repetition are refused, so that no template can run for long or grow without bound.
_REFUSED: tuple[tuple[type[nodes.Node], str], ...] = (
    (nodes.For, "loops"),
    (nodes.Macro, "macros"),
    (nodes.CallBlock, "call blocks"),
    (nodes.Call, "calls; use a filter"),
    (nodes.Mul, "multiplication"),
    (nodes.Pow, "powers"),
    (nodes.Assign, "words of its own"),
    (nodes.AssignBlock, "words of its own"),
    (nodes.With, "words of its own"),
    (nodes.Mod, "formatting by %"),
    (nodes.Include, "includes"),
    (nodes.Import, "imports"),
    (nodes.FromImport, "imports"),
    (nodes.Extends, "extends"),
)


# What an expression raises that asks a value for what it cannot give: `key + 1`, `1 / 0`, `truncate(2)`.
_UNWRITABLE = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError)
_SAMPLE: Mapping[str, object] = {"key": "Sales", "manager": {"userName": "ada"}, "group": {"displayName": "Sales", "externalId": ""}}


def check(template: str) -> frozenset[str]:
    """Raise BadTemplate unless it can be used; return the words that it takes from its surroundings."""
    if len(template) > LONGEST_TEMPLATE:
        raise BadTemplate(f"is {len(template)} characters long; at most {LONGEST_TEMPLATE}")
    try:
        tree = _ENVIRONMENT.parse(template)
        for kind, words in _REFUSED:
            if tree.find(kind) is not None:
                raise BadTemplate(f"a template here cannot have {words}")
        for used in tree.find_all(nodes.Filter):
            if used.name not in _ENVIRONMENT.filters:
                raise BadTemplate(f"there is no filter {used.name!r}; there are {', '.join(sorted(_ENVIRONMENT.filters))}")
        _compiled(template)
    except TemplateSyntaxError as error:
        raise BadTemplate(f"is not a template: {error.message}") from error
    except TemplateError as error:
        raise BadTemplate(f"is not a template: {error}") from error
    except (RecursionError, SyntaxError) as error:
        raise BadTemplate("is nested too deeply") from error
    _try(template)
    return frozenset(meta.find_undeclared_variables(tree))


def _try(template: str) -> None:
    try:
        _compiled(template).render(_SAMPLE)
    except TemplateError:
        # What the sample lacks others may have.
        return
    except _UNWRITABLE as error:
        raise BadTemplate(f"cannot be written: {error}") from error


@lru_cache(maxsize=1024)
def _compiled(template: str):  # type: ignore[no-untyped-def]  # Template's own type is what the environment makes
    return _ENVIRONMENT.from_string(template)


def render(template: str, scope: Mapping[str, object]) -> str:
    """The text on one line, outer blanks cut. What the scope lacks, or has of another kind than the template wants,
    is written as nothing: one person without a userName must not stop everybody else's channels."""
    try:
        text = str(_compiled(template).render(dict(scope)))
    except (TemplateError, *_UNWRITABLE):
        return ""
    # A text in a template can be written with escapes.
    return " ".join(without_unstorable(text).split())


def fit_name(text: str, *, key: str) -> str:
    """The text as a channel's name: never empty, at most `LONGEST_NAME` characters.

    A longer one is cut and ends in a hash of the whole, so that two long names that begin alike stay two; what
    renders to nothing is named by a hash of its key. The same text always gives the same name.
    """
    if not text:
        return f"channel-{_short_hash(key)}"
    if len(text) <= LONGEST_NAME:
        return text
    return f"{text[: LONGEST_NAME - _HASH_LENGTH - 1].rstrip('-. ')}-{_short_hash(text)}"


def with_number(name: str, number: int) -> str:
    """The name with `-2`, `-3` … behind it, still within the limit; number 1 is the plain name."""
    if number == 1:
        return name
    ending = f"-{number}"
    return name[: LONGEST_NAME - len(ending)] + ending


def is_numbered(name: str, plain: str) -> bool:
    """Whether `name` is `plain`, or `plain` with a number that kept two channels apart."""
    if name == plain:
        return True
    found = re.fullmatch(r".*-([0-9]+)", name, re.DOTALL)
    return found is not None and int(found[1]) > 1 and name == with_number(plain, int(found[1]))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
