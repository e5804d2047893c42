"""Verbs on HR systems: try a description on a sample, change what a system is known by, link ids, poll now."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from flask import Flask
from sqlalchemy.orm import Session

from app.clock import Clock, iso, now, parse_instant
from app.commands.acting import ADMINS, ANYONE, DESK, Acting, host_verb, one_person, text_in, verb
from app.commands.exits import CommandError, Exit
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Source
from app.intake import confirming, descriptions, hr_systems, polling
from app.intake.call_parts import Told, challenge_of, parts_of, sender_id
from app.intake.described import asks_about
from app.intake.description_types import Description, Event
from app.intake.hr import BadCall, BadSignature
from app.intake.hr_tables import HRSystem
from app.intake.news import vendor_of
from app.intake.places import text_at, value_at
from app.intake.schemes import Request, verify
from app.intake.vendor_api import NotConnected
from app.intake.vendor_calls import Said, is_ping, read_body, say
from app.intake.yaml_nodes import DescriptionError
from app.lifecycle.errors import NotFound
from app.lifecycle.sources import find_source

ASKED: Final = "ask {vendor} about {person} first"


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(hr)


@click.group()
def hr() -> None:
    """HR systems, each known by a description: a YAML file that says how its calls are read."""


class Unusable(CommandError):
    """A description or a sample that cannot be used."""

    exit = Exit.USAGE


@host_verb(hr, "test")
@click.argument("file", metavar="FILE")
@click.argument("sample", type=Path)
@click.option(
    "--time-zone", default="UTC", show_default=True, metavar="ZONE", help="Of the organisation: where a day ends that names no zone."
)
def try_description(_app: Flask, _organization: str | None, file: str, sample: Path, time_zone: str) -> Answer:
    """Read a sample by a description (FILE, or the name of one that is shipped), and say what would be done. Nobody is asked or changed.

    The secret and the clock are those of the sample's `_meta`.
    """
    description = description_in(file)
    request, secret, at = _sample(sample)
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Unusable(f"--time-zone is a name such as Europe/Berlin, not {time_zone!r}") from error
    fields, exit = _try(description, request, secret, time_zone=time_zone, at=at)
    shown = fields.get("events")
    rows = shown if isinstance(shown, list) else [fields]
    columns = tuple(rows[0])
    return Answer(schema="hr.test", fields=fields, tables=[Table(columns=columns, rows=[list(row.values()) for row in rows])], exit=exit)


def description_in(file: str) -> Description:
    """A description by file or name. Raises Unusable with the line, and OSError."""
    try:
        return descriptions.read(description_text(file))
    except DescriptionError as error:
        raise Unusable(f"{file}: {error}") from error


def description_text(file: str) -> str:
    """The text of a description by file or name. Raises Unusable where it is none, and OSError."""
    try:
        return descriptions.text_of(file)
    except FileNotFoundError as error:
        raise Unusable(f"there is no file {file!r}, and no description of that name; there are {', '.join(descriptions.shipped())}") from error
    except UnicodeDecodeError as error:
        raise Unusable(f"{file} is no text in UTF-8") from error


def _sample(file: Path) -> tuple[Request, str, datetime]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        meta, request = document["_meta"], document["request"]
        at = (
            datetime.fromtimestamp(meta["test_clock_unix"], tz=ZoneInfo("UTC"))
            if "test_clock_unix" in meta
            else parse_instant(meta["test_clock"])
        )
        headers = {str(name).lower(): str(value) for name, value in request["headers"].items()}
        url = str(request.get("url", ""))
        query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        return (
            Request(method=str(request.get("method", "POST")), headers=headers, body=request["body_raw"].encode(), query=query, url=url),
            str(meta.get("test_secret", "")),
            at,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Unusable(
            f"{file}: a sample has _meta (test_secret, test_clock_unix) and request (method, headers, body_raw); {error!r}"
        ) from error


def _try(description: Description, request: Request, secret: str, *, time_zone: str, at: datetime) -> tuple[dict[str, object], Exit]:
    zone = description.time_zone or time_zone
    try:
        if description.event is None:
            return _rows(description, request, zone=zone, at=at), Exit.DONE
        assert description.signature is not None
        if challenge_of(description, request) is not None:
            return _fields("challenge", None, None, "answer with the same text, and nothing else"), Exit.DONE
        if (token := _handshake(description, request)) is not None:
            would = f"show {description.vendor} its token by its API, and take it as the secret once it is accepted there"
            return _fields("handshake", None, None, would if token else "nothing"), Exit.DONE
        verify(description.signature, request, [secret], event_id=sender_id(description, request), at=at)
        told = parts_of(description, request)
        events = [_event(description, one, zone=zone, at=at) for one in told]
    except BadSignature as error:
        return _fields(None, None, None, f"nothing: the signature is refused, {error}"), Exit.ERROR
    except BadCall as error:
        return _fields(None, None, None, f"nothing: not understood, {error}"), Exit.ERROR
    if not events:
        return _fields("nothing", None, None, "nothing: there is no event in it"), Exit.DONE
    return {**events[0], **({"events": events} if len(events) > 1 else {})}, Exit.DONE


def _event(description: Description, told: Told, *, zone: str, at: datetime) -> dict[str, object]:
    assert description.event is not None
    if is_ping(description, told.document, told.around):
        return _fields("ping" if isinstance(told.document, str) else "test", None, None, "nothing: it only tries the connection")
    said = say(description.event, told.document, time_zone=zone, at=at, around=told.around)
    if description.confirms:
        asks_about(said)
    return _of(description, said, at=at)


def _handshake(description: Description, request: Request) -> str | None:
    if description.handshake is None or description.signature is None or description.signature.header.lower() in request.headers:
        return None
    return text_at(read_body(description, request.body), description.handshake.token)


def _rows(description: Description, request: Request, *, zone: str, at: datetime) -> dict[str, object]:
    """A list that was polled: the first record, and how many there are."""
    assert description.poll is not None and description.record is not None
    rows = value_at(read_body(description, request.body), description.poll.place)
    if not isinstance(rows, list) or not rows:
        raise BadCall(f"there is no list of records at {description.poll.place!r}")
    said = [say(description.record, row, time_zone=zone, at=at) for row in rows]
    if any(one.key is None for one in said):
        raise BadCall(f"there is a record without a key at {description.record.key!r}: nobody would be meant by it")
    return {**_of(description, said[0], at=at), "records": len(said)}


def _of(description: Description, said: Said, *, at: datetime) -> dict[str, object]:
    person = said.number or said.key
    takes_effect = said.at if said.at is not None else (at if said.acts and not said.fetch else None)
    return _fields(str(said.event), person, iso(takes_effect), would_do(description, said, at=at))


def would_do(description: Description, said: Said, *, at: datetime) -> str:
    """A sentence on what becomes of this, for whoever writes a description."""
    when = "at once" if said.at is None or said.at <= at else f"at {iso(said.at)}"
    doing = {
        Event.LEAVES_AT: f"end their access {when}", Event.REVOKE_NOW: "end their access at once", Event.CANCELLED: "call off their leaving",
        Event.REHIRED: f"start a new engagement {when}", Event.ON_LEAVE: f"pause their access {when}", 
        Event.CREATED: f"expect them, and let them in {when}" if said.acts else "nothing: people come from a directory",
        Event.CHANGED: "nothing by itself", Event.HERE: "nothing, unless something was announced of them", Event.NOTHING: "nothing",
    }[said.event]  # fmt: skip
    ask = ASKED.format(vendor=description.vendor, person=said.key or said.number)
    if description.confirms and said.event is not Event.NOTHING and (said.acts or said.event is not Event.CREATED):
        return f"{ask}, for nobody signed this; only if its record says so: {doing}"
    if said.fetch:
        return f"{ask}, and do what its record says" + (f", nothing before {iso(said.at)}" if said.at is not None and said.at > at else "")
    if said.acts and said.number is None and description.details is not None:
        return f"{doing}; who it is, {description.vendor} is asked unless that is known"
    return doing


def _fields(event: str | None, person: str | None, at: str | None, would: str) -> dict[str, object]:
    return {"event": event, "person": person, "at": at, "would_do": would}


@host_verb(hr, "vendors")
def list_vendors(_app: Flask, _organization: str | None) -> Answer:
    """The descriptions that come with Doorlist, and how each proves where its calls come from."""
    rows: list[dict[str, object]] = []
    for name in descriptions.shipped():
        one = descriptions.read(descriptions.text_of(name))
        rows.append(
            {
                "name": name,
                "vendor": one.vendor,
                "signature": str(one.signature.scheme) if one.signature else None,
                "polled": one.poll is not None,
            }
        )
    columns = ("name", "vendor", "signature", "polled")
    return Answer(schema="hr.vendors", fields={"vendors": rows}, tables=[Table(columns=columns, rows=[list(row.values()) for row in rows])])


def secret_in(file: Path | None) -> str | None:
    """The one line of a file that holds a secret: on a command line it would be seen by everybody on the machine."""
    if file is None:
        return None
    text = text_in(file).strip()
    is_key = text.startswith("-----BEGIN ") and all(line.isprintable() for line in text.splitlines())
    if not text or not (text.isprintable() or is_key):
        raise Unusable(f"{file} must hold one line, or a public key as PEM")
    return text


def variables_of(given: Sequence[str], *, option: str = "--set") -> dict[str, str]:
    """NAME=VALUE, several times."""
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} is NAME=VALUE, not {one!r}")
        found[name] = value
    return found


def usable(act: Any, *given: Any, **named: Any) -> Any:
    """Call a verb of set-up; what it cannot use is said as a usage error."""
    try:
        return act(*given, **named)
    except (DescriptionError, BadCall) as error:
        raise Unusable(str(error)) from error


def _system(session: Session, acting: Acting, name: str) -> tuple[Source, HRSystem]:
    source = find_source(session, acting.organization_id, name, lock=True)
    system = session.get(HRSystem, (source.organization_id, source.id))
    if system is None:
        raise NotFound("HR system with a description", name)
    return source, system


@verb(hr, "set", may=ADMINS)
@click.argument("name")
@click.option("--description", "file", metavar="FILE", help="Another description.")
@click.option("--secret-file", type=Path, metavar="FILE", help="The secret that the vendor gave; the one before stays good until the next.")
@click.option("--credential-file", type=Path, metavar="FILE", help="What the vendor's API is asked with.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A name in the API's address, such as company=acme.")
def set_system(
    acting: Acting, name: str, file: str | None, secret_file: Path | None, credential_file: Path | None, given: tuple[str, ...]
) -> Answer:
    """Change what an HR system is read and asked by; what is not named stays."""
    text = description_text(file) if file is not None else None
    secret, credential, variables = secret_in(secret_file), secret_in(credential_file), variables_of(given)

    def act(session: Session) -> Source:
        source, system = _system(session, acting, name)
        at = now()
        hr_systems.change(
            session,
            source,
            system,
            text=text,
            credential=credential,
            variables=variables,
            settings=acting.settings,
            actor=acting.actor,
            at=at,
        )
        if secret is not None:
            hr_systems.take_secret(session, source, secret, settings=acting.settings, actor=acting.actor, at=at)
        return source

    source = usable(in_transaction, act)
    return Answer(schema="hr.system", fields={"id": source.id, "name": source.name}, notes=[f"{source.name} is changed."])


@verb(hr, "link", may=DESK)
@click.argument("name")
@click.argument("key")
@click.argument("person")
def link_person(acting: Acting, name: str, key: str, person: str) -> Answer:
    """Say whom an HR system means by its own id KEY. What waits for them: doorlist parked retry ID."""

    def act(session: Session) -> dict[str, object]:
        source, _ = _system(session, acting, name)
        who = one_person(session, acting.organization_id, person)
        hr_systems.link(session, source, key, who, actor=acting.actor, at=now())
        return {"source": source.id, "key": key, "person": who.id}

    return Answer(schema="hr.link", fields=in_transaction(act), notes=[f"{key} of {name} is {person}."])


@verb(hr, "poll", may=ADMINS)
@click.argument("name")
def poll_now(acting: Acting, name: str) -> Answer:
    """Ask an HR system now: for calls that wait for its word, and for every record where it can be polled."""
    clock: Clock = now
    with reading() as session:
        source, _ = _system(session, acting, name)
    confirming.work(acting.settings, clock=clock)
    try:
        vendor = vendor_of(acting.settings, source.organization_id, source.id)
    except NotConnected as unreadable:
        error: str | None = str(unreadable)
    else:
        error = polling.look_at(vendor, clock=clock) if vendor is not None else "it was disconnected"
    return Answer(
        schema="hr.poll",
        fields={"id": source.id, "error": error},
        notes=[error or f"{name} was asked."],
        exit=Exit.DONE if error is None else Exit.ERROR,
    )


def _vendor_of(system: HRSystem) -> str:
    try:
        return descriptions.read(system.description).vendor
    except DescriptionError:
        # It was good when it was taken; whoever looks what is wrong has to see the others too.
        return "unreadable"


@verb(hr, "list", may=ANYONE)
def list_systems(acting: Acting) -> Answer:
    """Every HR system with a description: when it was heard and polled last, and what is wrong."""
    from sqlalchemy import select

    with reading() as session:
        found = session.execute(
            select(Source, HRSystem)
            .join(HRSystem, (HRSystem.organization_id == Source.organization_id) & (HRSystem.source_id == Source.id))
            .where(Source.organization_id == acting.organization_id, Source.ended_at.is_(None))
            .order_by(Source.name)
        ).all()
    rows: list[Mapping[str, object]] = [
        {
            "id": source.id, "name": source.name, "vendor": _vendor_of(system), "heard": iso(system.heard_at),
            "polled": iso(system.polled_at), "credential": system.sealed_credential is not None, "error": system.last_error,
        }
        for source, system in found
    ]  # fmt: skip
    columns = ("name", "vendor", "heard", "polled", "credential", "error")
    return Answer(
        schema="hr.systems",
        fields={"systems": rows},
        tables=[Table(columns=columns, rows=[[row[name] for name in columns] for row in rows])],
    )
