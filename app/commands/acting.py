"""Who acts, for which organisation, and whether they may; and the frame that every verb runs in."""

import functools
import getpass
import os
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec

import click
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import schema
from app.access import tokens
from app.actors import Actor, ActorKind
from app.clock import parse_instant
from app.commands.exits import NotAllowed, NotReady, Unclear
from app.commands.output import Answer, show
from app.database import db, reading
from app.directory.tables import Person
from app.journal.tables import Organization
from app.lifecycle.errors import NotFound
from app.lifecycle.operators import Role
from app.lifecycle.people import find_people
from app.settings import Settings

Given = ParamSpec("Given")

ANYONE = frozenset(Role)
DESK = frozenset({Role.OWNER, Role.ADMIN, Role.HELPDESK})
ADMINS = frozenset({Role.OWNER, Role.ADMIN})
OWNERS = frozenset({Role.OWNER})
INFORMED = frozenset({Role.OWNER, Role.ADMIN, Role.AUDITOR})
"""Who sees when somebody is to leave or to start, and why somebody has no access. Nobody else does, in no verb's answer."""


@dataclass(frozen=True, kw_only=True)
class Acting:
    """One call of the command line: on whose behalf, for which organisation."""

    app: Flask
    settings: Settings
    organization_id: str
    organization: str
    actor: Actor
    role: Role

    @property
    def informed(self) -> bool:
        return self.role in INFORMED


def verb(
    group: click.Group, name: str, *, may: Collection[Role]
) -> Callable[[Callable[Concatenate[Acting, Given], Answer]], click.Command]:
    """Add a verb to a group: it is given who acts, and its answer is shown. `may` are the roles that can use it."""

    def decorate(act: Callable[Concatenate[Acting, Given], Answer]) -> click.Command:
        def inside(app: Flask, organization: str | None, *args: Any, **given: Any) -> Answer:
            acting = _acting(app, organization)
            if acting.role not in may:
                roles = ", ".join(sorted(may))
                raise NotAllowed(f"{acting.actor.name} is {acting.role}; '{name}' is for {roles}")
            return act(acting, *args, **given)

        command = _framed(group, name, act, inside)
        ROLES[command] = frozenset(may)
        return command

    return decorate


def host_verb(group: click.Group, name: str) -> Callable[[Callable[Concatenate[Flask, str | None, Given], Answer]], click.Command]:
    """Add a verb of whoever has the machine: it needs no organisation, and no operator's token makes it theirs."""

    def decorate(act: Callable[Concatenate[Flask, str | None, Given], Answer]) -> click.Command:
        return _framed(group, name, act, act)

    return decorate


ROLES: dict[click.Command, frozenset[Role]] = {}
"""Which roles may use a verb; a verb that is not here belongs to whoever has the machine."""


def _framed(group: click.Group, name: str, act: Callable[..., Answer], inside: Callable[..., Answer]) -> click.Command:
    @functools.wraps(act)
    def run(*args: Any, as_json: bool, organization: str | None, **given: Any) -> int:
        create_app: Callable[[], Flask] = click.get_current_context().find_root().obj
        app = create_app()
        with app.app_context():
            try:
                answer = inside(app, organization, *args, **given)
            finally:
                db.engine.dispose()
        # Whoever read has seen enough: what was done ends as it does.
        with suppress(BrokenPipeError):
            show(answer, as_json=as_json)
        return int(answer.exit)

    organization = click.option("--organization", metavar="NAME", help="Which organisation; may be left out where there is one, or DOORLIST_ORGANIZATION says which.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
    return group.command(name)(organization(as_json(run)))


def _acting(app: Flask, organization_name: str | None) -> Acting:
    settings: Settings = app.config["DOORLIST"]
    if (unfit := schema.why_unfit()) is not None:
        raise NotReady(unfit)
    if organization_name is None:
        organization_name = settings.organization
    with reading() as session:
        if settings.operator_token is None:
            organization = find_organization(session, organization_name)
            actor, role = host_user(), Role.OWNER
        else:
            operator = tokens.find_operator(session, settings.operator_token)
            if operator is None:
                raise NotAllowed("DOORLIST_TOKEN is not the token of an operator who may act here")
            organization = session.get_one(Organization, operator.organization_id)
            # Another organisation is as unknown to this operator as one that does not exist.
            if organization_name is not None and organization.name != organization_name:
                raise NotAllowed(f"{operator.name} is no operator of {organization_name}")
            actor, role = Actor(kind=ActorKind.OPERATOR, name=operator.name), Role(operator.role)
        return Acting(
            app=app, settings=settings, organization_id=organization.id, organization=organization.name, actor=actor, role=role
        )


def host_user() -> Actor:
    """The machine's own user, as whom an act without an operator's token is recorded."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # Containers often run under a number that has no name.
        name = f"uid {os.getuid()}"
    return Actor(kind=ActorKind.HOST, name=name)


def find_organization(session: Session, name: str | None) -> Organization:
    """The organisation of that name, or the only one."""
    if name is not None:
        named = session.scalar(select(Organization).where(Organization.name == name))
        if named is None:
            raise NotFound("organisation", name)
        return named
    found = session.scalars(select(Organization).order_by(Organization.name).limit(20)).all()
    if not found:
        raise NotReady("there is no organisation yet: run 'doorlist init'")
    if len(found) > 1:
        names = [one.name for one in found]
        raise Unclear(f"there are several organisations, say which with --organization, or DOORLIST_ORGANIZATION: {', '.join(names)}", more={"organizations": names})
    return found[0]


def one_person(session: Session, organization_id: str, text: str) -> Person:
    """Whom PERSON means. Raises NotFound, and Unclear where it fits several people, who are listed."""
    found = find_people(session, organization_id, text)
    if not found:
        raise NotFound("person", text)
    if len(found) > 1:
        raise Unclear(f"{text} fits {len(found)} people; nothing was done", more={"people": [person_fields(one) for one in found]})
    return found[0]


def person_fields(person: Person) -> dict[str, object]:
    """A person as every `--json` shows one."""
    return {
        "id": person.id, "userName": person.user_name, "displayName": person.display_name, "employeeNumber": person.employee_number,
        "standing": person.standing,
    }  # fmt: skip


_LONGEST_NAME: Final = 200
NUMBERED = click.IntRange(1, 2**31 - 1)
"""The number of a run or a question; PostgreSQL can be asked for no larger one."""


def text_in(file: Path) -> str:
    """What a file that was named holds; `-` is stdin. Raises UsageError where it is no text, and OSError."""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file} is no text in UTF-8") from error


class InstantType(click.ParamType[Any]):
    """An ISO 8601 instant with its zone."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse_instant(value)
        except (ValueError, OverflowError) as error:
            self.fail(f"{error}" if "time zone" in str(error) else f"{value!r} is no instant; write it like 2026-11-30T17:00:00+01:00", param, ctx)


INSTANT = InstantType()


class NameType(click.ParamType[Any]):
    """What something is called that is made here: it stands in tables and in commands to be typed."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not (value.strip() and value.isprintable() and len(value) <= _LONGEST_NAME):
            self.fail(f"{value[:40]!r} is no name; it needs letters that can be printed, and has {_LONGEST_NAME} of them at most", param, ctx)
        return value


NAME = NameType()
