"""The mapping of a source as it is kept: read from a file, changed in one journaled step, and opened for a pull."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import yaml
from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.tables import Source
from app.directory.vocabulary import Vocabulary
from app.intake import mapping
from app.intake.mapping import PersonMapping
from app.intake.pull_state import PULLED, NotPulled
from app.intake.yaml_nodes import DescriptionError, Node
from app.journal import entries
from app.lifecycle.extensions import vocabulary_of
from app.lifecycle.pulled_tables import SourceState
from app.lifecycle.sources import begin_anew

LONGEST_FILE: Final = 100_000


def read_file(text: str) -> dict[str, str]:
    """A mapping in YAML or JSON: attributes, each with its expression. An empty one maps nothing. Raises DescriptionError with the line."""
    if len(text) > LONGEST_FILE:
        raise DescriptionError(f"the file has {len(text)} characters; at most {LONGEST_FILE}", field="", line=1)
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            return {} if root is None else {name: node.text().strip() for name, node in Node(loader, root, "").entries().items()}
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        hint = "; an expression with ': ' in it stands in quotes" if "mapping values" in problem else ""
        raise DescriptionError(f"this is not YAML: {problem}{hint}", field="", line=mark.line + 1 if mark else 1) from error
    except RecursionError as error:
        raise DescriptionError("this is not YAML that we read: it is nested too deeply", field="", line=1) from error


def kept(source: Source) -> dict[str, str]:
    """The mapping of a source as it was set; empty where there is none."""
    said = (source.settings or {}).get("mapping")
    return {str(path): str(text) for path, text in said.items()} if isinstance(said, Mapping) else {}


def opened(session: Session, source: Source) -> PersonMapping | None:
    """The mapping to pull a source by as it is now, whatever is known of the source; None where people are taken as they come.

    Read after the source was claimed, it is either the newest, or the claim is lost when that is set. Raises UnusableMapping where it can be used no more, after a schema was taken back for instance: then nobody is to be pulled.
    """
    said = kept(session.get(Source, (source.organization_id, source.id), populate_existing=True) or source)
    return mapping.compile_mapping(said, words_of(session, source)) if said else None


def words_of(session: Session, source: Source) -> Vocabulary:
    """The attributes that people of this source's organisation may have."""
    return vocabulary_of(session, source.organization_id, version=None)


def refuse_pushed(source: Source) -> None:
    """Raises NotPulled for a source that pushes or calls: what it says is kept as it says it."""
    if source.kind not in PULLED:
        raise NotPulled(f"{source.name} is not pulled, and what it says is kept as it says it; map its attributes over there")


def keep(session: Session, source: Source, said: Mapping[str, str], *, actor: Actor, at: datetime) -> bool:
    """Pull a source by this mapping from now on. Gives whether anything changed. Raises UnusableMapping, NotPulled.

    Who did not change in the source is mapped anew as well: the next pull reads everybody, and one that is under way, which began with the
    mapping before, writes nothing more.
    """
    refuse_pushed(source)
    mapping.check(said, words_of(session, source))
    session.refresh(source, with_for_update=True)
    before = kept(source)
    if before == dict(said):
        return False
    source.journal_id = entries.write(
        session, source.organization_id, at=at, actor=actor, verb="mapping changed", because="operator", subject_kind="source",
        subject_id=source.id, before={"mapping": before}, after={"mapping": dict(said)},
    )  # fmt: skip
    others = {name: value for name, value in (source.settings or {}).items() if name != "mapping"}
    source.settings = {**others, "mapping": dict(said)} if said else others
    state = session.get(SourceState, (source.organization_id, source.id), with_for_update=True, populate_existing=True)
    if state is not None:
        begin_anew(state)
    session.flush()
    return True
