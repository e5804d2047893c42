"""What libraries compile stays for the next test: each has an application and an engine of its own, and would else have every
address and every statement compiled anew. That took a third of the time of most tests.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

from sqlalchemy import Dialect, Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from werkzeug.routing import Rule

_first: dict[tuple[object, ...], tuple[Dialect, Any]] = {}
_rules: dict[tuple[object, ...], Rule] = {}


def compile_once() -> None:
    """From now on, for every engine and every address that this process makes."""
    for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        dialect.engine_created = classmethod(_like_the_first)  # type: ignore[method-assign, assignment]  # SQLAlchemy's hook for dialects
    build = Rule.compile

    def compiled(rule: Rule) -> None:
        # All that it is made of.
        alike = (rule.rule, rule.subdomain, rule.host, rule.merge_slashes, repr(rule.defaults), rule.map.host_matching, *rule.map.converters.values())
        first = _rules.setdefault(alike, rule)
        if first is rule:
            build(rule)
            return
        rule._parts, rule._trace, rule._converters = first._parts, first._trace, first._converters
        rule.arguments |= first.arguments
        builders: tuple[Any, Any] = (first._build, first._build_unknown)
        rule._build, rule._build_unknown = (MethodType(made.__func__, rule) for made in builders)

    Rule.compile = compiled  # type: ignore[method-assign, assignment]


def _like_the_first(_dialect: type[Any], engine: Engine) -> None:
    """Statements are kept by dialect, and by engine: it gets those of an earlier one that was made alike and knows its server already."""
    made: Any = engine.dialect
    alike = (type(made), made.paramstyle, made._on_connect_isolation_level, made._json_serializer, made._json_deserializer, made.label_length)
    dialect, compiled = _first.setdefault(alike, (made, engine._compiled_cache))
    # What it has found out at its first connection is the same for all: there is one server for the whole run.
    if getattr(dialect, "default_isolation_level", None) is not None:
        engine.dialect, engine._compiled_cache = dialect, compiled
        # Whoever made the engine still has the other, which would ask its server all of that again.
        made.initialize = lambda _connection: None
