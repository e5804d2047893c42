"""Verbs on attribute mappings: what a pulled source's people become, seen on real people before anybody is pulled by it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from app.clock import now
from app.commands.acting import ADMINS, ANYONE, Acting, verb
from app.commands.exits import CommandError, Exit, NotReady
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.directory.tables import Source
from app.intake import mapping as mappings
from app.intake import mapping_kept
from app.intake.mapping import UnusableMapping
from app.intake.mapping_preview import Previewed, known_keys, people_named, preview, some_people
from app.intake.yaml_nodes import DescriptionError
from app.lifecycle.sources import find_source
from connectors.source_contract import SourceKey

FIRST = 10
MOST = 1_000


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(mapping)


@click.group()
def mapping() -> None:
    """What the attributes of a pulled source become: SCIM attributes, each with an expression."""


class Unusable(CommandError):
    """A mapping that cannot be used."""

    exit = Exit.USAGE


_file = click.option(
    "--file", type=click.Path(path_type=Path), metavar="FILE", help="A mapping in YAML or JSON. Default: the one that is in force."
)


def _shown(schema: str, source: Source, said: Mapping[str, str], notes: Sequence[str] = (), **more: object) -> Answer:
    return Answer(
        schema=schema, fields={"source": source.name, "mapping": dict(said), **more},
        tables=[Table(columns=("attribute", "expression"), rows=list(said.items()))], notes=notes,
    )  # fmt: skip


@verb(mapping, "show", may=ANYONE)
@click.argument("source")
def show_mapping(acting: Acting, source: str) -> Answer:
    """The mapping that is in force."""
    with reading() as session:
        one = find_source(session, acting.organization_id, source)
    said = mapping_kept.kept(one)
    return _shown("mapping", one, said, [] if said else [f"{one.name} has no mapping: people are taken as they come."])


@verb(mapping, "check", may=ADMINS)
@click.argument("source")
@_file
def check_mapping(acting: Acting, source: str, file: Path | None) -> Answer:
    """Whether a mapping can be used: read whole, and tried on an example. Nobody is asked or changed."""
    with reading() as session:
        one = find_source(session, acting.organization_id, source)
        mapping_kept.refuse_pushed(one)
        words = mapping_kept.words_of(session, one)
    said = _read(file, one)
    try:
        mappings.check(said, words)
    except UnusableMapping as error:
        raise _unusable(error) from error
    return _shown("mapping", one, said, ["It can be used; 'mapping preview' shows it on real people."])


@verb(mapping, "set", may=ADMINS)
@click.argument("source")
@click.option(
    "--file", type=click.Path(path_type=Path), required=True, metavar="FILE", help="A mapping in YAML or JSON; an empty one maps nothing."
)
def set_mapping(acting: Acting, source: str, file: Path) -> Answer:
    """Pull a source by another mapping. The next pull reads everybody; what it would take from many people is held by the brake."""
    said = _read(file, None)
    at = now()
    try:
        one, changed = in_transaction(
            lambda session: (
                found := find_source(session, acting.organization_id, source),
                mapping_kept.keep(session, found, said, actor=acting.actor, at=at),
            )
        )
    except UnusableMapping as error:
        raise _unusable(error) from error
    note = "It is in force; the next pull reads everybody." if changed else "It was in force already."
    return _shown("mapping", one, said, [note], changed=changed)


@verb(mapping, "preview", may=ADMINS)
@click.argument("source")
@_file
@click.option(
    "--person", "people", multiple=True, metavar="PERSON", help="Somebody by name, e-mail or the source's own key; several times."
)
@click.option(
    "--first",
    type=click.IntRange(1, MOST),
    default=FIRST,
    show_default=True,
    help="Without --person: so many of those that the source lists.",
)
def preview_mapping(acting: Acting, source: str, file: Path | None, people: tuple[str, ...], first: int) -> Answer:
    """What would become of real people, asked of the source now: each attribute before and after. Nothing is written."""
    from app.intake.pulling import open_source_of

    with reading() as session:
        one = find_source(session, acting.organization_id, source)
        mapping_kept.refuse_pushed(one)
        words = mapping_kept.words_of(session, one)
        keys: dict[str, SourceKey] = known_keys(session, one, people)
    try:
        compiled = mappings.compile_mapping(_read(file, one), words)
    except UnusableMapping as error:
        raise _unusable(error) from error
    connected = open_source_of(acting.settings, one)
    if people:
        named = people_named(connected, people, keys)
        found = [preview(compiled, person) for person in named.values() if person is not None]
        missing = [text for text, person in named.items() if person is None]
    else:
        found, missing = [preview(compiled, person) for person in some_people(connected, first)], []
    return _previewed(one, found, missing)


def _previewed(source: Source, found: Sequence[Previewed], missing: Sequence[str]) -> Answer:
    aside = sum(person.problem is not None for person in found)
    rows = [
        row
        for person in found
        for row in (
            [(person.user_name, person.attribute, None, f"set aside: {person.problem}")]
            if person.problem is not None
            else [(person.user_name, one.attribute, one.before, one.after if one.changed else "the same") for one in person.becomes]
        )
    ]
    notes = [f"{source.name} has nobody called {text}." for text in missing]
    if aside:
        notes.append(f"{aside} of {len(found)} would be set aside: not taken over until their entry or the mapping changes.")
    return Answer(
        schema="mapping.preview",
        fields={"source": source.name, "people": [_fields(person) for person in found], "set_aside": aside, "not_found": list(missing)},
        tables=[Table(columns=("person", "attribute", "before", "after"), rows=rows)],
        notes=notes,
        exit=Exit.PARTLY if aside or missing else Exit.DONE,
    )


def _fields(person: Previewed) -> dict[str, object]:
    problem = None if person.problem is None else {"attribute": person.attribute, "reason": person.problem}
    attributes = [{"attribute": one.attribute, "before": one.before, "after": one.after, "changed": one.changed} for one in person.becomes]
    return {"key": person.key, "userName": person.user_name, "attributes": attributes, "problem": problem}


def _read(file: Path | None, source: Source | None) -> dict[str, str]:
    if file is None:
        return mapping_kept.kept(source) if source is not None else {}
    try:
        return mapping_kept.read_file(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise NotReady(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error
    except DescriptionError as error:
        raise Unusable(f"{file}: {error}") from error


def _unusable(error: UnusableMapping) -> Unusable:
    return Unusable(str(error), more={"attribute": error.attribute, "character": error.character})
