"""Plays a transcript of what an identity provider sends, and says which expectations were not met.

A transcript is a list of requests with placeholders and expectations. It was written from vendors' documentation and
captured traffic; names and addresses in it are invented.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, quote_plus

TRANSCRIPTS = Path(__file__).with_name("transcripts")
_PLACEHOLDER = re.compile(r"\{\{([A-Za-z0-9_.]+)((?:\|[a-z]+)*)\}\}")
_CHANGES: Mapping[str, Callable[[str], str]] = {
    "url": lambda text: quote(text, safe=""),
    "plus": quote_plus,
    "upper": str.upper,
    "lower": str.lower,
}


class _Missing:
    """No value at a pointer; null is one."""


MISSING = _Missing()


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def document(self) -> Any:
        try:
            return json.loads(self.text)
        except ValueError:
            return MISSING


class Client(Protocol):
    """Sends one request; `path` is relative to the SCIM base URL and is sent as it is written."""

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer: ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    step: str
    level: str
    failures: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.step} [{self.level}]: {'; '.join(self.failures)}"


def play(name: str, client: Client, *, token: str, base: str) -> list[Outcome]:
    """Send every step of `transcripts/NAME.json` in order; later steps use what earlier answers held."""
    transcript = json.loads((TRANSCRIPTS / f"{name}.json").read_text())
    known: dict[str, Any] = {"run": secrets.token_hex(4), "token": token, "base": base}
    for key, value in transcript["vars"].items():
        known[key] = _filled(value, known)
    return [_play_step(step, transcript, client, known) for step in transcript["steps"]]


def _play_step(
    step: dict[str, Any], transcript: dict[str, Any], client: Client, known: dict[str, Any]
) -> Outcome:
    label = f"{step['id']} {step['name']}"
    try:
        headers = {**transcript["headers"], **step.get("headers", {})}
        sent = {key: _filled(value, known) for key, value in headers.items() if value is not None}
        body = _filled(step["body"], known) if step.get("body") is not None else None
        raw = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        answer = client(step["method"], _filled(step["path"], known), sent, raw)
        failures = tuple(_failures(step, transcript, answer, known))
    except KeyError as error:
        failures = (f"{error} was not captured by an earlier step",)
    return Outcome(step=label, level=step["level"], failures=failures)


def _failures(
    step: dict[str, Any], transcript: dict[str, Any], answer: Answer, known: dict[str, Any]
) -> Iterator[str]:
    expected = step["expect"]
    if answer.status not in expected["status"]:
        yield f"answered {answer.status} {answer.text[:300]}, expected {expected['status']}"
    elif answer.status in expected.get("asserts_only_if", expected["status"]):
        for claim in expected["asserts"]:
            yield from _unmet(_filled(claim, known), answer)
    if answer.text:
        for claim in transcript["always"]:
            yield from _unmet(claim, answer)
    for variable, pointer in step.get("capture", {}).items():
        value = value_at(answer.document, pointer)
        if value is not MISSING:
            known[variable] = value
        elif answer.status in (200, 201):
            yield f"nothing at {pointer}"


def _filled(value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_filled(element, known) for element in value]
    if isinstance(value, dict):
        return {_filled(key, known): _filled(part, known) for key, part in value.items()}
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    if whole and not whole[2]:
        return known[whole[1]]

    def put(found: re.Match[str]) -> str:
        text = str(known[found[1]])
        for change in found[2].split("|")[1:]:
            text = _CHANGES[change](text)
        return text

    return _PLACEHOLDER.sub(put, value)


def value_at(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) leads to."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        elif isinstance(document, dict) and name in document:
            document = document[name]
        else:
            return MISSING
    return document


def _unmet(claim: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    if "header" in claim:
        where, found = claim["header"], answer.headers.get(claim["header"], MISSING)
    elif claim.get("raw"):
        where, found = "the body", answer.text
    else:
        where, found = claim["ptr"], value_at(answer.document, claim["ptr"])
    if not _OPERATIONS[claim["op"]](found, claim.get("value")):
        shown = "nothing" if found is MISSING else repr(found)[:200]
        yield f"{where} {claim['op']} {claim.get('value')!r}, found {shown}"


def _empty(found: Any) -> bool:
    return found is MISSING or found in (None, "", [], {})


def _holds(element: Any, pairs: Mapping[str, Any]) -> bool:
    return isinstance(element, dict) and all(
        element.get(key, MISSING) == value for key, value in pairs.items()
    )


def _matching(found: Any, pairs: Mapping[str, Any]) -> int:
    return sum(_holds(element, pairs) for element in found) if isinstance(found, list) else 0


def _is_kind(found: Any, kind: str) -> bool:
    kinds: Mapping[str, type] = {
        "integer": int,
        "string": str,
        "array": list,
        "boolean": bool,
        "object": dict,
    }
    return isinstance(found, kinds[kind]) and (kind != "integer" or not isinstance(found, bool))


_OPERATIONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda found, value: found is not MISSING and bool(found == value),
    "ieq": lambda found, value: isinstance(found, str) and found.lower() == str(value).lower(),
    "ne": lambda found, value: found is MISSING or bool(found != value),
    "exists": lambda found, _: not _empty(found),
    "present": lambda found, _: found is not MISSING,
    "absent": lambda found, _: found is MISSING,
    "empty": lambda found, _: _empty(found) or (isinstance(found, dict) and not found.get("value")),
    "type": _is_kind,
    "len": lambda found, value: isinstance(found, list) and len(found) == value,
    "min_len": lambda found, value: isinstance(found, list) and len(found) >= value,
    "max_len": lambda found, value: isinstance(found, list) and len(found) <= value,
    "ge": lambda found, value: _is_kind(found, "integer") and bool(found >= value),
    "contains": lambda found, value: isinstance(found, list | str) and value in found,
    "not_contains": lambda found, value: found is MISSING or value not in found,
    "any": lambda found, value: _matching(found, value) > 0,
    "none": lambda found, value: _matching(found, value) == 0,
    "count": lambda found, value: isinstance(found, list) and _matching(found, value["match"]) == value["n"],
}
