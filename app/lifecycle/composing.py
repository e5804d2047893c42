"""Who somebody is, from all the records that say so: whose word counts for which attribute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.directory.settings import attribute_precedence, value_of
from app.directory.tables import Record, Source


@dataclass(frozen=True, kw_only=True)
class Composed:
    """What records say of somebody together; `document` is in SCIM's shape."""

    user_name: str
    user_name_key: str
    display_name: str
    document: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Precedence:
    """`ranks` by source id; `chosen` names, for the place of an attribute, the ids of the sources that count first."""

    ranks: Mapping[str, int]
    chosen: Mapping[tuple[str, ...], Sequence[str]]


def compose(session: Session, organization_id: str, records: Sequence[Record]) -> Composed:
    """The source of the lowest rank counts first; of its records, or of equals, the one that is on, then the oldest. Others fill what it leaves out.

    Where the organisation names sources for an attribute, the first of them that says anything of it counts. Nothing is
    asked for where one source speaks.
    """
    precedence = _precedence(session, organization_id, {record.source_id for record in records})
    # What the brake holds is not heard yet: such a record still counts as on.
    order = sorted(
        records, key=lambda record: (precedence.ranks.get(record.source_id, 0), not (record.active or record.held), record.created_at, record.id)
    )
    named = shown = order[0]
    document = _together([record.document for record in order])
    for place, sources in precedence.chosen.items():
        preferred = _first(order, sources)
        if place == ("userName",):
            named = preferred[0]
        if place in (("displayName",), ("name",)):
            shown = next((record for record in preferred if record.display_name), shown)
        said = next((value for record in preferred if (value := _at(record.document, place))), None)
        if said is not None:
            _put(document, place, said)
    return Composed(
        user_name=named.user_name, user_name_key=named.user_name_key, display_name=shown.display_name or named.user_name, document=document
    )


def _precedence(session: Session, organization_id: str, source_ids: set[str]) -> _Precedence:
    if len(source_ids) < 2:
        return _Precedence(ranks={}, chosen={})
    rows = session.execute(
        select(Source.id, Source.name, Source.rank).where(Source.organization_id == organization_id, Source.id.in_(sorted(source_ids)))
    ).all()
    chosen = attribute_precedence(value_of(session, organization_id, "attribute_precedence"))
    # A source that has ended may bear the name of one that has taken its place, so that a name may stand for both.
    return _Precedence(
        ranks={row.id: row.rank for row in rows},
        chosen={place: [row.id for name in names for row in rows if row.name == name] for place, names in chosen.items()},
    )


def _first(records: Sequence[Record], source_ids: Sequence[str]) -> Sequence[Record]:
    """Those of the named sources first, in that order; the others as they were."""
    turns = {source_id: turn for turn, source_id in reversed(list(enumerate(source_ids)))}
    return sorted(records, key=lambda record: turns.get(record.source_id, len(source_ids)))


def _together(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The documents in one, earlier ones counting first: attribute by attribute, those of an extension too."""
    document: dict[str, Any] = {}
    for said in reversed(documents):
        for name, value in said.items():
            there = document.get(name)
            both = ":" in name and isinstance(value, dict) and isinstance(there, dict)
            document[name] = {**(there or {}), **value} if both else value
    return document


def _at(document: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    within = document if len(place) == 1 else document.get(place[0])
    return within.get(place[-1]) if isinstance(within, Mapping) else None


def _put(document: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    if len(place) == 1:
        document[place[0]] = value
        return
    within = document.get(place[0])
    # A document of its own: what was merged may be a record's.
    document[place[0]] = {**(within if isinstance(within, dict) else {}), place[1]: value}
