"""Verbs on requests that were seen: what a directory sent, what it was answered, and what the same would do today."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote_plus

import click
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.access.clients import client_of, way_of
from app.audit.request_tables import BodyState, RequestBody, RequestSeen
from app.audit.requests import first_id_at
from app.clock import iso
from app.commands.acting import ANYONE, DESK, INSTANT, Acting, person_fields, verb
from app.commands.advice import Circumstances, what_happened, what_to_do
from app.commands.exits import CommandError, Unclear
from app.commands.output import Answer, Table
from app.database import reading
from app.directory.tables import INSIDE, Person, Record, Source
from app.lifecycle import brake
from app.lifecycle.errors import NotFound
from app.lifecycle.people import find_people
from app.lifecycle.tables import Held, HeldLine, HeldState
from app.scim.rehearsal import CannotRehearse, Restored, is_masked, rehearse, restored, said_now
from app.scim.teller import is_search, key_asked

_GONE, _UNREAD = "gone", "unread"
_READ_BODIES = frozenset({"POST", "PUT", "PATCH"})
# What helpdesk may not know of a refusal: why somebody has no access.
_WHY_OFF = re.compile(r"(stays switched off) \(.*\)(?=;|$)", re.DOTALL)
_WHY_NO_BODY = {
    _GONE: "its body is not kept any more (DOORLIST_BODIES_KEPT_DAYS)",
    BodyState.CUT.value: "its body was so large that only the beginning was kept",
    BodyState.UNREADABLE.value: "its body was not JSON, so that it could not be masked and was not kept",
    BodyState.OFF.value: "bodies are not kept here (DOORLIST_BODIES_KEPT_DAYS is 0)",
    _UNREAD: "the body was not kept, since it was turned away before that was read",
}


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(requests)


@click.group()
def requests() -> None:
    """What directories sent over SCIM, what they were answered, and why."""


_REQUEST = click.argument("request_id", metavar="ID")


@dataclass(frozen=True, kw_only=True)
class _Names:
    """The sources and people that a few rows speak of."""

    sources: Mapping[str, str]
    people: Mapping[str, Person]

    def source(self, row: RequestSeen) -> str:
        return self.sources.get(row.source_id, row.source_id)

    def person(self, row: RequestSeen) -> Person | None:
        return self.people.get(row.person_id or "")

    def subject(self, row: RequestSeen) -> str:
        person = self.person(row)
        if person is not None and row.resource_id is not None and row.status >= 400:
            # The name that was said may be the one that they were not given.
            return person.user_name
        return row.name or (person.user_name if person is not None else None) or " ".join(filter(None, (row.resource_type, row.resource_id))) or row.path


class _StatusType(click.ParamType[Any]):
    """A status, or a class of them."""

    name = "status"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not re.fullmatch(r"[1-5](xx|[0-9]{2})", value.lower()):
            self.fail(f"{value!r} is no status; write one, such as 409, or a class, such as 4xx", param, ctx)
        return value.lower() if isinstance(value, str) else value


@verb(requests, "list", may=ANYONE)
@click.option("--person", metavar="PERSON", help="Only what was about them, and what named them while nobody knew them.")
@click.option("--source", metavar="NAME", help="Only what this directory sent.")
@click.option("--status", type=_StatusType(), help="Only what was answered so: 409, or a class such as 4xx.")
@click.option("--since", type=INSTANT, help="Only what came since, such as 2026-11-30T17:00:00+01:00.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def list_requests(
    acting: Acting, person: str | None, source: str | None, status: str | None, since: datetime | None, limit: int
) -> Answer:
    """The latest requests of directories, newest first."""
    if person is not None and not person.strip():
        raise click.UsageError("--person names nobody")
    with reading() as session:
        wanted = [RequestSeen.organization_id == acting.organization_id, *_of_status(status)]
        if source is not None:
            wanted.append(RequestSeen.source_id.in_(_sources_named(session, acting.organization_id, source)))
        if since is not None:
            wanted.append(RequestSeen.id >= first_id_at(since))
        # Each way to mean somebody has an index of its own; together they would have none.
        ways = _about(session, acting.organization_id, person) if person is not None else [[]]
        found = {row.id: row for way in ways for row in _latest(session, [*wanted, *way], limit)}
        rows = [found[request_id] for request_id in sorted(found, reverse=True)][:limit]
        names = _names(session, acting.organization_id, rows)
    entries = [_entry(row, names, informed=acting.informed) for row in rows]
    columns = ("at", "id", "source", "what", "about", "status", "scimType", "ms", "error")
    shown = [
        (
            entry["at"], row.id, entry["source"], f"{row.method} {row.path}", names.subject(row),
            f"{row.status} ×{row.times}" if row.times > 1 else row.status, row.scim_type, entry["ms"], entry["error"],
        )
        for row, entry in zip(rows, entries, strict=True)
    ]  # fmt: skip
    narrowed = [option for option, said in (("--source", source), ("--status", status), ("--since", since)) if said is not None]
    notes = [] if rows else _of_none(acting, person, narrowed)
    return Answer(schema="requests", fields={"requests": entries}, tables=[Table(columns=columns, rows=shown)], notes=notes)


def _latest(session: Session, wanted: Sequence[ColumnElement[bool]], limit: int) -> Sequence[RequestSeen]:
    return session.scalars(select(RequestSeen).where(*wanted).order_by(RequestSeen.id.desc()).limit(limit)).all()


def _of_status(status: str | None) -> list[ColumnElement[bool]]:
    if status is None:
        return []
    first = int(status[0])
    conditions = [RequestSeen.refused == first] if first >= 4 else []
    if not status.endswith("xx"):
        return [*conditions, RequestSeen.status == int(status)]
    return conditions or [RequestSeen.status.between(first * 100, first * 100 + 99)]


def _about(session: Session, organization_id: str, text: str) -> list[list[ColumnElement[bool]]]:
    """Conditions, any of which means PERSON. Somebody who was never taken in is known by the name that was sent alone."""
    people = find_people(session, organization_id, text)
    if len(people) > 1:
        raise Unclear(f"{text} fits {len(people)} people; nothing was done", more={"people": [person_fields(one) for one in people]})
    key = key_asked(text)
    ways: list[list[ColumnElement[bool]]] = [] if key is None else [[RequestSeen.name_key == key, RequestSeen.resource_type == "User"]]
    if people:
        theirs = RequestSeen.person_id == people[0].id
        ways.append([theirs, RequestSeen.found.is_(None)])
        # Look-ups are in the index by their name alone.
        ways += [[RequestSeen.name_key == name, RequestSeen.found.is_not(None), theirs] for name in _names_had(session, people[0])]
        if people[0].user_name != text:
            ways.append([RequestSeen.name_key == key_asked(people[0].user_name), RequestSeen.resource_type == "User"])
    return ways


def _names_had(session: Session, person: Person) -> Sequence[str]:
    """The keys of all names that directories have for somebody, or had as far as their requests are kept."""
    now = select(Record.user_name).where(Record.organization_id == person.organization_id, Record.person_id == person.id)
    before = select(RequestSeen.name_key).distinct().where(
        RequestSeen.organization_id == person.organization_id, RequestSeen.person_id == person.id, RequestSeen.found.is_(None)
    )  # fmt: skip
    keys = {key_asked(name) for name in session.scalars(now)} | set(session.scalars(before))
    return sorted(key for key in keys if key)


def _sources_named(session: Session, organization_id: str, name: str) -> Sequence[str]:
    # A name may have been given again after a source ended.
    found = session.scalars(select(Source.id).where(Source.organization_id == organization_id, Source.name == name)).all()
    if not found:
        raise NotFound("source", name)
    return found


def _names(session: Session, organization_id: str, rows: Sequence[RequestSeen]) -> _Names:
    sources = session.execute(select(Source.id, Source.name).where(Source.organization_id == organization_id))
    ids = sorted({row.person_id for row in rows if row.person_id is not None})
    people: dict[str, Person] = {}
    for start in range(0, len(ids), 500):
        some = select(Person).where(Person.organization_id == organization_id, Person.id.in_(ids[start : start + 500]))
        people |= {person.id: person for person in session.scalars(some)}
    return _Names(sources={source_id: name for source_id, name in sources}, people=people)


def _error(row: RequestSeen, *, informed: bool) -> str | None:
    """What a request was refused with, as far as whoever asks may know it."""
    return row.error if informed or row.error is None else _WHY_OFF.sub(r"\1", row.error)


def _entry(row: RequestSeen, names: _Names, *, informed: bool) -> dict[str, object]:
    person = names.person(row)
    return {
        "id": row.id, "at": iso(row.at), "source": names.source(row), "known": row.known, "method": row.method, "path": row.path,
        "query": unquote_plus(row.query) if row.query else None, "resourceType": row.resource_type, "resourceId": row.resource_id,
        "name": row.name, "person": person.user_name if person is not None else None, "person_id": row.person_id,
        "attributes": row.attributes, "status": row.status, "scimType": row.scim_type, "error": _error(row, informed=informed), "found": row.found,
        "ms": round(row.took_us / 1000, 1), "times": row.times, "part_of": row.part_of, "part": row.part,
    }  # fmt: skip


def _of_none(acting: Acting, person: str | None, narrowed: Sequence[str]) -> list[str]:
    if acting.settings.requests_kept_days == 0:
        return ["Requests are not kept here (DOORLIST_REQUESTS_KEPT_DAYS is 0), so nothing is known of what directories sent."]
    if person is None:
        return []
    if narrowed:
        # There may be others, so it would be wrong to say that no directory sent them.
        return [f"No such request about {person} was seen; others may have been: leave out {' and '.join(narrowed)}."]
    return [
        f"No request about {person} was seen. Then no directory sent them: check there that they are assigned to this application, and that "
        "'doorlist requests list --status 4xx' shows no look-up that was refused."
    ]


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """One request with all that is still known of it. `body` is its JSON, or the beginning of it where it was cut."""

    row: RequestSeen
    source: Source
    names: _Names
    state: str
    body: Any
    around: Circumstances


def _find(session: Session, acting: Acting, request_id: str) -> _Seen:
    row = session.get(RequestSeen, (acting.organization_id, request_id))
    if row is None:
        raise NotFound("request", request_id)
    source = session.get_one(Source, (acting.organization_id, row.source_id))
    names = _names(session, acting.organization_id, [row])
    state, body = _body(session, row)
    person = names.person(row)
    reason = f": {person.standing_reason}" if person is not None and acting.informed else ""
    standing = f"{person.display_name} is {person.standing}{reason}" if person is not None else None
    around = Circumstances(
        source=source.name, base_url=f"{acting.settings.public_url}/scim/v2/{source.id}", subject=names.subject(row), standing=standing,
        error=_error(row, informed=acting.informed), held=_waits(session, person), is_here=person is not None and person.standing in INSIDE,
        way=way_of(client_of(session, acting.organization_id, source.id)),
    )  # fmt: skip
    return _Seen(row=row, source=source, names=names, state=state, body=body, around=around)


def _waits(session: Session, person: Person | None) -> str | None:
    """The digest of what is held, where it waits among that that this person's access is taken."""
    if person is None:
        return None
    line = select(HeldLine.held_id).where(
        HeldLine.organization_id == person.organization_id, HeldLine.person_id == person.id, HeldLine.state == HeldState.OPEN
    )
    held = session.scalar(select(Held).where(Held.organization_id == person.organization_id, Held.id.in_(line)).limit(1))
    return None if held is None else brake.digest_of(held, brake.lines_of(session, held))


def _was_turned_away(row: RequestSeen) -> bool:
    """Whether a request that has a body was answered before that was read. One that was read and is empty is answered with 400."""
    if row.body != BodyState.NONE or row.method not in _READ_BODIES or row.part_of is not None:
        return False
    return not row.known or row.status > 400


def _body(session: Session, row: RequestSeen) -> tuple[str, Any]:
    if row.body not in (BodyState.KEPT, BodyState.CUT):
        return _UNREAD if _was_turned_away(row) else row.body, None
    kept = session.get(RequestBody, (row.organization_id, row.part_of or row.id))
    if kept is None:
        return _GONE, None
    if row.body == BodyState.CUT:
        return row.body, kept.body if row.part_of is None else None
    whole = json.loads(kept.body)
    if row.part is None:
        return row.body, whole
    operations = next(value for key, value in whole.items() if key.lower() == "operations")
    return row.body, next((value for key, value in operations[row.part].items() if key.lower() == "data"), None)


@verb(requests, "show", may=ANYONE)
@_REQUEST
def show_request(acting: Acting, request_id: str) -> Answer:
    """What a request meant, its masked body, whom it was about, what happened, and what to do."""
    with reading() as session:
        seen = _find(session, acting, request_id)
    happened, advice = what_happened(seen.row, seen.around), what_to_do(seen.row, seen.around)
    person = seen.names.person(seen.row)
    entry = _entry(seen.row, seen.names, informed=acting.informed)
    fields = {
        **entry, "person": person_fields(person) if person is not None else None, "sentence": happened, "advice": advice,
        "body": {"state": seen.state, "bytes": seen.row.body_bytes, "masked": seen.body},
    }  # fmt: skip
    rows = [(name, ", ".join(value) if isinstance(value, list) else value) for name, value in entry.items() if value not in (None, [])]
    tables = [Table(columns=("what", "value"), rows=rows)]
    if seen.body is not None:
        text = seen.body if isinstance(seen.body, str) else json.dumps(seen.body, ensure_ascii=False, indent=2)
        cut = f", the first {len(text.encode())} bytes" if seen.state == BodyState.CUT else ""
        tables.append(Table(columns=(f"masked body{cut}",), rows=[(line,) for line in text.splitlines()]))
    missing = _WHY_NO_BODY.get(seen.state)
    notes = [happened, *([advice] if advice else []), *([f"Of this request, {missing}."] if missing and seen.body is None else [])]
    return Answer(schema="requests.show", fields=fields, tables=tables, notes=notes)


@verb(requests, "curl", may=DESK)
@_REQUEST
def curl(acting: Acting, request_id: str) -> Answer:
    """The same request as a line for the shell, with $TOKEN for the token and its masked body."""
    with reading() as session:
        seen = _find(session, acting, request_id)
    _refuse_without_body(seen)
    row = seen.row
    address = f"{seen.around.base_url}{quote(row.path) if row.path != '/' else ''}{f'?{row.query}' if row.query else ''}"
    # $TOKEN is for the shell, so this one argument stands in double quotes; everything that came from outside is quoted.
    # With -X HEAD it would wait for the body that an answer to GET has.
    method = ["-I"] if row.method == "HEAD" else ["-X", shlex.quote(row.method)]
    # Of /Users/.. it would make another address.
    as_is = ["--path-as-is"] if {".", ".."} & set(row.path.split("/")) else []
    words = ["curl", *method, *as_is, shlex.quote(address), "-H", '"Authorization: Bearer $TOKEN"']
    if seen.body is not None:
        body = json.dumps(seen.body, ensure_ascii=False)
        words += ["-H", "'Content-Type: application/scim+json'", "--data-raw", shlex.quote(body)]
    line = " ".join(words)
    masked = is_masked(seen.body) or is_masked(unquote_plus(row.query or "")) or is_masked(row.path)
    if not click.get_current_context().params["as_json"]:
        # No table: a line that is to be copied must not be drawn or wrapped.
        click.echo(line)
    notes = ["Values shown as ••• are masked, or were too long to be kept: put in your own before you send it."] if masked else []
    return Answer(schema="requests.curl", fields={"id": row.id, "curl": line, "masked": masked}, notes=notes)


def _refuse_without_body(seen: _Seen) -> None:
    if seen.state in _WHY_NO_BODY:
        raise CommandError(f"request {seen.row.id} cannot be made again: {_WHY_NO_BODY[seen.state]}")


@verb(requests, "replay", may=DESK)
@_REQUEST
@click.option("--dry-run", is_flag=True, help="Roll everything back. There is no other way.")
def replay(acting: Acting, request_id: str, dry_run: bool) -> Answer:
    """Say what the same request would do today: it runs in a transaction that is rolled back."""
    if not dry_run:
        raise click.UsageError("a request is only ever replayed with --dry-run; to have it done, let the directory send it again")
    with reading() as session:
        seen = _find(session, acting, request_id)
        said = said_now(session, seen.source, seen.row.resource_type, seen.row.resource_id)
    row, then = seen.row, seen.around.error
    _refuse_meaningless(seen)
    _refuse_without_body(seen)
    try:
        made = restored(seen.body, said, error=row.error if row.status == 400 else None) if seen.body is not None else Restored()
    except CannotRehearse as error:
        raise CommandError(f"request {row.id} is not replayed: {error}") from error
    now = rehearse(acting.app, seen.source, method=row.method, path=row.path, query=row.query, body=made.body)
    today = now.error if acting.informed or now.error is None else _WHY_OFF.sub(r"\1", now.error)
    fields = {
        "id": row.id, "then": {"status": row.status, "scimType": row.scim_type, "error": then},
        "now": {"status": now.status, "scimType": now.scim_type, "error": today},
        "changes": now.changes, "standing": {"before": now.standing, "after": now.standing_after}, "journal": now.journal,
        "replaced": made.replaced, "left_out": made.left_out,
    }  # fmt: skip
    rows = [
        ("status", row.status, now.status), ("scimType", row.scim_type, now.scim_type), ("error", then, today),
        ("standing", now.standing, now.standing_after),
    ]  # fmt: skip
    tables = [Table(columns=("what", "then, or before", "now, or after"), rows=rows)]
    if now.journal:
        tables.append(Table(columns=("would be written in the journal",), rows=[(line,) for line in now.journal]))
    return Answer(schema="requests.replay", fields=fields, tables=tables, notes=_of_replay(row, now.status, now.changes, made))


def _refuse_meaningless(seen: _Seen) -> None:
    row = seen.row
    because = None
    if row.status in (401, 429) or not row.known or seen.state == _UNREAD:
        because = "it was turned away before it was read, and what it said was not kept"
    elif row.resource_type == "Bulk":
        because = f"a Bulk is replayed operation by operation: see 'doorlist requests list', those that are part of {row.id}"
    elif is_masked(row.path):
        because = f"its address names a value that is masked: {row.path}"
    elif is_masked(unquote_plus(row.query or "")) or (is_search(row.path) and is_masked(seen.body)):
        because = "it asks for a value that is masked"
    elif seen.source.ended_at is not None:
        because = f"{seen.source.name} has ended"
    elif "bulkid:" in json.dumps([row.path, seen.body]).lower():
        because = "it refers to another operation of its Bulk"
    if because is not None:
        raise CommandError(f"request {row.id} is not replayed: {because}")


def _of_replay(row: RequestSeen, status: int, changes: Sequence[str], made: Restored) -> list[str]:
    would = f"would change {', '.join(changes)}" if changes else "would change nothing of what the directory says of it"
    notes = [f"Then it was answered {row.status}; now it would be answered {status}{f', and {would}' if status < 400 else ''}. Nothing was written."]
    if made.replaced:
        notes.append(f"Masked, so taken as the record has them today: {', '.join(made.replaced)}.")
    if made.left_out:
        notes.append(f"Masked and not known any more, so left out: {', '.join(made.left_out)}.")
    if row.status == 412:
        notes.append("If-Match is not kept, so this was tried without it.")
    return notes
