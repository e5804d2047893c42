"""The plain change: a directory says something else of somebody whom it leaves on or off: attributes, addresses, a manager.

`records.change_held` and `people.settle` say what follows; this writes the same rows (a test compares them) where who they are
stays as it was, userName, externalId and employee number, and nobody else has a say in it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Delete, Insert, Integer, Select, Text, Update, delete, select, update

from app.actors import Actor, ActorKind
from app.bare.connection import Asked, Bare
from app.clock import microseconds
from app.directory.names import name_key
from app.directory.tables import OUTSIDE, Person, Record, RecordEmail, Standing
from app.journal.work import insert_for
from app.json_text import write_json
from app.lifecycle.drafts import RecordDraft, columns_of, number_in, number_of
from app.lifecycle.people import attributes_in, emails_of, manager_record
from app.lifecycle.plain_entries import entries_of_several, entry_of_one
from app.lifecycle.plain_related import whose
from app.lifecycle.plain_seen import Seen
from app.lifecycle.plain_sql import Rows, Said, at_once, document, in_turn, look, looks, several, several_at_once, told, wanted
from app.statements import ALWAYS, each_in

_SAID: Final[Mapping[str, Any]] = {
    **dict.fromkeys(
        ("record", "person", "verb", "before", "after", "actor", "touched", "document", "display_name", "shown", "email", "user_type",
         "department", "division", "manager", "emails"),
        Text(),
    ),
    **dict.fromkeys(("at", "record_at", "person_at"), BigInteger()), "version": Integer(),
}  # fmt: skip
"""What one of several changes says by itself; by whom it is said is the same for all of them."""


class Change(NamedTuple):
    """What stands of a record, its document as that is stored, and what is to stand."""

    there: Seen
    document: Mapping[str, Any]
    draft: RecordDraft


def is_plain(change: Change) -> bool:
    """Whether only attributes change, of somebody who is on and in or off and out, and goes on being so."""
    there, draft, on = change.there, change.draft, bool(change.there.active)
    return (
        draft.active in (None, on) and Standing(there.standing) in ((Standing.ACTIVE,) if on else OUTSIDE)
        and (draft.user_name, draft.external_id) == (there.user_name, there.external_id)
        and number_of(draft) == number_in(change.document)
    )  # fmt: skip


async def changing(bare: Bare, changes: Sequence[Change], by: Mapping[str, Any], *, moment: datetime) -> Sequence[dict[str, Any]]:
    """What is written of each of these plain changes, all of one organisation, but for those whose manager has to be looked into.

    A manager who is new is held, as by `people.settle`: whoever gives their record to somebody else looks for who reports to it.
    """
    named = {one.there.record_id: manager_record(one.draft.document) for one in changes}
    new = {one.there.record_id for one in changes if named[one.there.record_id] != manager_record(one.document)}
    asked = [
        whose(bare.dialect, by, ids, held=is_new)
        for is_new in (True, False)
        if (ids := {id for record_id, id in named.items() if id is not None and (record_id in new) == is_new})
    ]
    people = {record_id: person_id for rows in (await bare.ask(*asked) if asked else ()) for record_id, person_id in rows}
    acts = list[dict[str, Any]]()
    for one in changes:
        manager, is_new = named[one.there.record_id], one.there.record_id in new
        person = None if manager is None else people.get(manager)
        if (manager is not None and is_new and person is None) or (not is_new and person != one.there.manager_id):
            # Nobody whom we know, or somebody else by now, or held by somebody who is changing that.
            continue
        acts.append(_decided(one, person, moment=moment))
    return acts


def _decided(change: Change, manager_id: str | None, *, moment: datetime) -> dict[str, Any]:
    there, draft = change.there, change.draft
    said = {"userName": there.user_name, "externalId": there.external_id, "active": bool(there.active)}
    columns, at = columns_of(draft), microseconds(moment)
    stored, words = write_json(draft.document), write_json(said)
    touched = sorted({one for one in (there.person_id, there.manager_id, manager_id) if one is not None})
    emails = emails_of(draft.document)
    return {
        **attributes_in(draft.document), "record": there.record_id, "person": there.person_id, "organization": there.organization_id, "at": at,
        "record_at": max(at, there.modified_at), "person_at": max(at, there.person_modified_at), "version": there.version + 1,
        "before": f'{words[:-1]},"document":{there.document}}}', "after": words, "verb": "changed",
        "actor": str(Actor(kind=ActorKind.SOURCE, name=there.source_name)), "touched": write_json(touched), "document": stored,
        "display_name": columns["display_name"], "shown": columns["display_name"] or draft.user_name, "manager": manager_id,
        "emails": write_json(sorted({name_key(address) for address in emails})), "others": emails != emails_of(change.document),
    }  # fmt: skip


def to_write_changes(acts: Sequence[Mapping[str, Any]], by: Mapping[str, Any]) -> Asked:
    """PostgreSQL: the one statement that writes all of these, and returns the records that it was done of."""
    others = any(act["others"] for act in acts)
    if len(acts) == 1:
        return _at_once(others=others), {**by, **acts[0]}
    # As the worker goes through several of them, so that neither waits for the other.
    return _several_at_once(others=others), {**by, "several": told(sorted(acts, key=lambda act: str(act["person"])), _SAID)}


@cache
def changes_in_turn(*, others: bool) -> Sequence[Insert | Update | Delete]:
    """SQLite: what follows the entry of one."""
    return in_turn(_rows(others=others))


# The statements


@cache
def _at_once(*, others: bool) -> Select[Any]:
    return at_once(entry_of_one(), _rows(others=others))


@cache
def _several_at_once(*, others: bool) -> Select[Any]:
    acts = several(_SAID)
    return several_at_once(entries_of_several(acts), _rows(others=others, of_several=True), acts, by=lambda written: acts.c.record == written.c.subject_id)


def _rows(*, others: bool, of_several: bool = False) -> Rows:
    """What one change writes; `others` where its addresses are others than before."""

    def rows(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update | Delete]:
        both = {"document": document("document", dialect, said), "journal_id": journal}
        record = {
            **both, "display_name": said("display_name"), "version": said("version", Integer()), "modified_at": said("record_at", BigInteger()),
        }  # fmt: skip
        person = {
            **both, "display_name": said("shown"), "email": said("email"), "user_type": said("user_type"), "department": said("department"),
            "division": said("division"), "manager_id": said("manager"), "version": Person.version + 1, "modified_at": said("person_at", BigInteger()),
        }  # fmt: skip
        return [
            update(Record).where(Record.organization_id == organization, Record.id == said("record")).values(**record),
            *(_addresses(dialect, organization, said) if others else ()),
            update(Person).where(Person.organization_id == organization, Person.id == said("person")).values(**person),
            wanted((looks if of_several else look)(organization, journal, said("touched"), dialect, said), dialect),
        ]

    return rows


def _addresses(dialect: str, organization: ColumnElement[Any], said: Said) -> Sequence[Insert | Delete]:
    mine = RecordEmail.organization_id == organization, RecordEmail.record_id == said("record")
    now = select(each_in(said("emails"), dialect).label("address"))
    new = {"organization_id": organization, "record_id": said("record"), "address_key": each_in(said("emails"), dialect)}
    put = insert_for(dialect)(RecordEmail).from_select(list(new), select(*new.values()).where(ALWAYS), include_defaults=False)
    return [delete(RecordEmail).where(*mine, RecordEmail.address_key.not_in(now)), put.on_conflict_do_nothing()]
