"""The rule file: YAML read into rules that have been checked, and said again as data for the stored revision."""

import difflib
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any

import yaml

from app.directory.filters import FilterError
from app.directory.filters import parse as parse_filter
from app.json_text import is_storable
from app.rules import templates
from app.rules.grouping import BadGrouping, parse_grouping

MOST_RULES = 150
"""SQLite joins at most 500 SELECTs into one statement; a rule needs up to three."""

LONGEST_FILE = 1_000_000


class RuleError(ValueError):
    """A rule file that cannot be used. The message names the rule, the field, the line, and what was wrong."""

    def __init__(self, problem: str, *, rule_id: str | None = None, field: str | None = None, line: int | None = None) -> None:
        self.problem = problem
        self.rule_id = rule_id
        self.field = field
        self.line = line
        place = [f"line {line}"] if line is not None else []
        place += [f"rule {rule_id!r}"] if rule_id is not None else []
        place += [f"field {field!r}"] if field is not None else []
        super().__init__(f"{', '.join(place)}: {problem}" if place else problem)


class Joining(StrEnum):
    """How people come into a channel: held to the rule, added once, or only invited. Strictest first."""

    ENFORCED = "enforced"
    ADDED = "added"
    SUGGESTED = "suggested"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One channel rule; its filter, grouping and templates have been checked."""

    id: str
    name: str
    where: str | None = None
    for_each: str | None = None
    topic: str = ""
    parent: str | None = None
    owners: tuple[str, ...] = ()
    private: bool = True
    encrypted: bool = False
    federated: bool = False
    membership: Joining = Joining.ENFORCED
    keep_for: timedelta = timedelta(0)
    archive_after: timedelta = timedelta(days=30)


MANAGER = "manager"
_FIELDS = tuple(field.name for field in fields(Rule))
_TEXTS = ("where", "for_each", "topic", "parent")
_CLAIMS = ("private", "encrypted", "federated")
_SPANS = ("keep_for", "archive_after")
_UNITS = {"minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_BRIEFLY = reprlib.Repr()
_BRIEFLY.maxlevel, _BRIEFLY.maxstring, _BRIEFLY.maxother = 2, 80, 80
_SPAN = re.compile(r"([0-9]{1,5})\s*(minute|hour|day|week)s?", re.ASCII)


def parse(text: str) -> tuple[Rule, ...]:
    """Read a rule file whole. Raises RuleError at the first thing that is wrong; nothing is guessed."""
    if len(text) > LONGEST_FILE:
        raise RuleError(f"the file has {len(text)} characters; at most {LONGEST_FILE}")
    try:
        loader = yaml.SafeLoader(text)
        try:
            return _read_file(loader, loader.get_single_node())
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise RuleError(f"this is not YAML: {problem}", line=mark.line + 1 if mark else None) from error
    except RecursionError as error:
        raise RuleError("this is not YAML that we read: it is nested too deeply") from error


def as_data(rules: Sequence[Rule]) -> dict[str, Any]:
    """The rules with every default written out, so that a stored revision means the same under a later Doorlist."""
    return {"rules": [_rule_as_data(rule) for rule in rules]}


def from_data(data: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """What `as_data` wrote, or the list in it. Not checked again: only checked rules are ever stored."""
    listed = data.get("rules", []) if isinstance(data, Mapping) else data
    return tuple(_rule_from_data(item) for item in listed)


def say_span(span: timedelta) -> str:
    """A span as the file writes it: '14 days', '0'."""
    seconds = int(span.total_seconds())
    if seconds == 0:
        return "0"
    # Weeks are written as days, as most people count them.
    unit, size = next((unit, size) for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)) if seconds % size == 0)
    return f"{seconds // size} {unit}{'' if seconds == size else 's'}"


def read_span(text: str) -> timedelta:
    """'14 days', '12 hours', '0'. Raises ValueError: a number without its unit could be off by a factor of a thousand."""
    if text.strip() == "0":
        return timedelta(0)
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no span of time; write it like '14 days', '12 hours' or '0'")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _rule_as_data(rule: Rule) -> dict[str, Any]:
    said: dict[str, Any] = {name: getattr(rule, name) for name in _FIELDS}
    said["owners"] = list(rule.owners)
    said["membership"] = rule.membership.value
    said |= {name: say_span(said[name]) for name in _SPANS}
    return said


def _rule_from_data(item: Mapping[str, Any]) -> Rule:
    # Fields of a later Doorlist are left out rather than failing: the row may be older or newer than this program.
    known = {name: value for name, value in item.items() if name in _FIELDS}
    known["owners"] = tuple(known.get("owners", ()))
    known["membership"] = Joining(known.get("membership", Joining.ENFORCED))
    known |= {name: read_span(known[name]) for name in _SPANS if name in known}
    return Rule(**known)


def _read_file(loader: yaml.SafeLoader, root: yaml.Node | None) -> tuple[Rule, ...]:
    if root is None:
        raise RuleError("the file is empty; it starts with 'rules:'", line=1)
    if not isinstance(root, yaml.MappingNode):
        raise RuleError("the file starts with 'rules:' and a list below it", line=_line(root))
    top = _entries(loader, root, known=("rules",), rule_id=None)
    if "rules" not in top:
        raise RuleError("the file has no 'rules:'", line=_line(root))
    listed = top["rules"]
    if not isinstance(listed, yaml.SequenceNode):
        raise RuleError("'rules:' must be a list; each rule starts with '- id:'", field="rules", line=_line(listed))
    if len(listed.value) > MOST_RULES:
        raise RuleError(f"there are {len(listed.value)} rules; at most {MOST_RULES}", line=_line(listed))
    rules: dict[str, Rule] = {}
    for node in listed.value:
        rule = _RuleReader(loader, node).read()
        if rule.id in rules:
            raise RuleError("another rule has this id already", rule_id=rule.id, field="id", line=_line(node))
        rules[rule.id] = rule
    return tuple(rules.values())


class _RuleReader:
    """Reads one rule, so that each complaint can name its rule, field and line."""

    def __init__(self, loader: yaml.SafeLoader, node: yaml.Node) -> None:
        if not isinstance(node, yaml.MappingNode):
            raise RuleError("a rule is a list of fields; it starts with '- id:'", line=_line(node))
        self.loader = loader
        self.node = node
        self.rule_id = self._peek_id()
        self.nodes = _entries(loader, node, known=_FIELDS, rule_id=self.rule_id)

    def read(self) -> Rule:
        values: dict[str, Any] = {"id": self._needed("id"), "name": self._needed("name")}
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", values["id"]):
            raise self._wrong("id", "an id is made of letters, digits, '-', '_' and '.', at most 64 of them")
        for name in self.nodes.keys() & set(_TEXTS):
            values[name] = self._text(name)
        for name in self.nodes.keys() & set(_CLAIMS):
            values[name] = self._claim(name)
        for name in self.nodes.keys() & set(_SPANS):
            values[name] = self._span(name)
        if "membership" in self.nodes:
            values["membership"] = self._joining()
        if "owners" in self.nodes:
            values["owners"] = self._owners()
        if values.get("for_each") is not None and values["for_each"].lower() == "none":
            values["for_each"] = None
        values["topic"] = values.get("topic") or ""
        rule = Rule(**values)
        self._check_filter(rule)
        self._check_grouping(rule)
        self._check_templates(rule)
        return rule

    def _peek_id(self) -> str | None:
        for key, value in self.node.value:
            if key.value == "id" and isinstance(value, yaml.ScalarNode):
                return str(value.value)
        return None

    def _wrong(self, field: str, problem: str) -> RuleError:
        return RuleError(problem, rule_id=self.rule_id, field=field, line=_line(self.nodes.get(field, self.node)))

    def _value(self, field: str) -> Any:
        try:
            return self.loader.construct_object(self.nodes[field], deep=True)
        except (ValueError, OverflowError, yaml.constructor.ConstructorError) as error:
            problem = getattr(error, "problem", None) or error
            raise self._wrong(field, f"cannot be read: {problem}") from error

    def _needed(self, field: str) -> str:
        if field not in self.nodes:
            raise self._wrong(field, "a rule needs this field")
        text = self._text(field)
        if text is None:
            raise self._wrong(field, "must not be empty")
        return text

    def _text(self, field: str) -> str | None:
        value = self._value(field)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong(field, f"must be text, not {_shown(value)}; put it in quotes")
        self._refuse_unstorable(field, value)
        return value.strip() or None

    def _refuse_unstorable(self, field: str, text: str) -> None:
        if not is_storable(text):
            raise self._wrong(field, "it holds a character that no text can hold")

    def _claim(self, field: str) -> bool:
        value = self._value(field)
        if not isinstance(value, bool):
            raise self._wrong(field, f"must be true or false, not {_shown(value)}")
        return value

    def _span(self, field: str) -> timedelta:
        value = self._value(field)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self._wrong(field, f"must be a span of time like '14 days', not {_shown(value)}")
        try:
            return read_span(str(value))
        except ValueError as error:
            raise self._wrong(field, str(error)) from error

    def _joining(self) -> Joining:
        value = self._value("membership")
        try:
            return Joining(value)
        except ValueError as error:
            hint = _hint(value, tuple(Joining)) if isinstance(value, str) else ""
            raise self._wrong("membership", f"must be {' or '.join(Joining)}, not {_shown(value)}{hint}") from error

    def _owners(self) -> tuple[str, ...]:
        value = self._value("owners")
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
            raise self._wrong("owners", "must be a list of 'manager' and userNames, like [manager, ada@example.com]")
        for name in value:
            self._refuse_unstorable("owners", name)
        return tuple(dict.fromkeys(name.strip() for name in value))

    def _check_filter(self, rule: Rule) -> None:
        if rule.where is None:
            if "where" in self.nodes:
                # An emptied condition would let everybody in.
                raise self._wrong("where", "must not be empty; leave the field out to mean everyone")
            return
        try:
            parse_filter(rule.where)
        except FilterError as error:
            raise self._wrong("where", f"{error} in {rule.where!r}") from error

    def _check_grouping(self, rule: Rule) -> None:
        if rule.for_each is not None:
            try:
                parse_grouping(rule.for_each)
            except BadGrouping as error:
                raise self._wrong("for_each", str(error)) from error
        if MANAGER in rule.owners and rule.for_each != MANAGER:
            raise self._wrong("owners", "'manager' owns only channels of a rule with 'for_each: manager'; name the people here")

    def _check_templates(self, rule: Rule) -> None:
        known = _words_in_scope(rule)
        for field in ("name", "topic", "parent"):
            template: str | None = getattr(rule, field)
            if not template:
                continue
            try:
                used = templates.check(template)
            except templates.BadTemplate as error:
                raise self._wrong(field, str(error)) from error
            for word in sorted(used - known):
                has = f"has {' and '.join(sorted(known))}" if known else "has no words: it needs a 'for_each'"
                raise self._wrong(field, f"{word!r} is not known here; this rule {has}{_hint(word, tuple(known))}")
            if field == "name" and known and not used:
                raise self._wrong(field, "is the same for every channel of this rule; tell them apart with {{ key }}")


def _words_in_scope(rule: Rule) -> frozenset[str]:
    if rule.for_each is None:
        return frozenset()
    return frozenset({"key"} | ({rule.for_each} & {MANAGER, "group"}))


def _entries(loader: yaml.SafeLoader, node: yaml.MappingNode, *, known: Sequence[str], rule_id: str | None) -> dict[str, yaml.Node]:
    """The fields of a mapping. A repeated one is refused: YAML would quietly keep the last."""
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        if name not in known:
            raise RuleError(f"there is no such field{_hint(name, known)}", rule_id=rule_id, field=str(name), line=_line(key))
        if name in found:
            raise RuleError("stands here twice", rule_id=rule_id, field=str(name), line=_line(key))
        found[name] = value
    return found


def _hint(word: object, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(str(word).lower().replace("-", "_"), known, n=1, cutoff=0.5)
    return f"; did you mean {str(nearest[0])!r}?" if nearest else ""


def _shown(value: object) -> str:
    # Aliases of aliases are a short file whose value, written out, fills any memory.
    return _BRIEFLY.repr(value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
