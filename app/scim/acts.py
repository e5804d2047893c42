"""The acts on users and groups, each in a transaction of its own: what single requests and Bulk both do."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy.orm import Session

from app.database import reading
from app.directory.filters import Filter
from app.directory.tables import Group, Record
from app.directory.vocabulary import GROUP_URN, USER_URN, Place, Vocabulary
from app.lifecycle.errors import NotFound, StaleVersion, Taken
from app.lifecycle.groups import add_group, change_group, end_group, read_group
from app.lifecycle.records import RecordDraft, add_record, change_held, end_held, hold_meant, read_record
from app.scim.answers import SCIMError
from app.scim.bodies import last_said, text_in, under_own_names
from app.scim.door import Caller, written
from app.scim.member_texts import PARTS, members_looked_at
from app.scim.members import MemberChanges, fitting, picks_members, split_members
from app.scim.operations import Operation, places_said, read_operations
from app.scim.patch import patched, sets_number
from app.scim.resources import (
    Resource,
    group_draft,
    group_resources,
    group_said,
    user_draft,
    user_resources,
    user_said,
)
from app.scim.selection import Selection

Body = dict[str, Any]
Becomes = Callable[[Resource], RecordDraft]
"""What a user is to be, by what its directory has said of it until now."""


def users_shown(session: Session, caller: Caller, records: list[Record], selection: Selection) -> list[Resource]:
    """Users as they are answered, cut to what was asked for."""
    chosen = selection.of_kind(USER_URN)
    resources = user_resources(session, records, base=caller.base, with_groups=chosen.shows("groups"))
    return [chosen.of(resource) for resource in resources]


def groups_shown(session: Session, caller: Caller, groups: list[Group], selection: Selection) -> list[Resource]:
    """Groups as they are answered, cut to what was asked for."""
    chosen = selection.of_kind(GROUP_URN)
    resources = group_resources(session, groups, base=caller.base, shown=chosen.parts("members", PARTS))
    return [chosen.of(resource) for resource in resources]


def post_user(caller: Caller, body: Body, selection: Selection, *, maybe_made: str | None = None) -> Resource:
    """The new user. Where a name is taken and one of the id `maybe_made` stands, it is theirs, and they are it.

    Raises SCIMError and what `add_record` raises.
    """
    draft = user_draft(body, vocabulary=caller.vocabulary)
    shown = selection.revealing(caller.vocabulary.on_request)

    def act(session: Session) -> Resource:
        hold_meant(session, *caller.key, draft)
        record = add_record(session, *caller.key, draft, said_at=caller.arrived, **caller.saying())
        return users_shown(session, caller, [record], shown)[0]

    try:
        return written(act)
    except (Taken, SCIMError):
        if maybe_made is None:
            raise
        with reading() as session, suppress(NotFound):
            return users_shown(session, caller, [read_record(session, *caller.key, maybe_made)], shown)[0]
        raise


def put_user(caller: Caller, record_id: str, body: Body, selection: Selection, *, version: int | None) -> Resource:
    """Raises SCIMError and what `change_held` raises."""
    vocabulary = caller.vocabulary
    shown = selection.revealing(vocabulary.on_request & _places_in(body))
    return _change_user(caller, record_id, becomes_by_put(body, vocabulary), shown, version)


def patch_user(caller: Caller, record_id: str, body: Body, selection: Selection, *, version: int | None) -> Resource:
    """Raises SCIMError and what `change_held` raises."""
    vocabulary = caller.vocabulary.of_kind(USER_URN)
    operations = read_operations(body, vocabulary)
    becomes = becomes_by_patch(operations, vocabulary)
    return _change_user(caller, record_id, becomes, selection.revealing(places_said(operations)), version)


def becomes_by_put(body: Body, vocabulary: Vocabulary) -> Becomes:
    """What a user becomes by a PUT. That raises SCIMError."""
    return lambda said: user_draft(_with_kept(body, said, "externalId", USER_URN, vocabulary), vocabulary=vocabulary, before=said)


def becomes_by_patch(operations: Sequence[Operation], vocabulary: Vocabulary) -> Becomes:
    """What a user becomes by a PATCH. That raises SCIMError."""

    def becomes(said: Resource) -> RecordDraft:
        # What is patched always says `active`, so where it is missing it was removed, and that is *off*. A PUT leaves it.
        changed = {"active": False, **patched(said, operations, vocabulary=vocabulary)}
        return user_draft(changed, number_said=sets_number(operations), vocabulary=vocabulary, before=said)

    return becomes


def delete_user(caller: Caller, record_id: str, *, version: int | None = None) -> None:
    """Raises NotFound and StaleVersion."""

    def act(session: Session) -> None:
        record = read_record(session, *caller.key, record_id, lock=True)
        _refuse_stale(record, version)
        end_held(session, record, **caller.saying())

    written(act)


def _change_user(
    caller: Caller, record_id: str, becomes: Becomes, selection: Selection, version: int | None
) -> Resource:
    def act(session: Session) -> Resource:
        record = read_record(session, *caller.key, record_id, lock=True)
        draft = becomes(user_said(record))
        change_held(session, record, draft, expected_version=version, said_at=caller.arrived, **caller.saying())
        return users_shown(session, caller, [record], selection)[0]

    return written(act)


def _with_kept(body: Body, said: Resource, name: str, core: str, vocabulary: Vocabulary) -> Body:
    # RFC 7644 §3.5.1 leaves open what a PUT without an attribute means; losing the directory's own key would make
    # it create the person anew.
    kept = body if name not in said or any(key.lower() == name.lower() for key in body) else {**body, name: said[name]}
    return _with_unshown(kept, said, core, vocabulary) if vocabulary.hides and not _means_another(kept, said) else kept


def _means_another(body: Body, said: Resource) -> bool:
    """Whether the PUT gives the resource of somebody who is off to another person, of whom nothing was said (docs/decisions/0015)."""
    key = text_in({"externalId": last_said(body, "externalid")}, "externalId")
    return said.get("active") is False and None not in (key, said.get("externalId")) and key != said["externalId"]


def _with_unshown(body: Body, said: Resource, core: str, vocabulary: Vocabulary) -> Body:
    """The body of a PUT with what answers leave out of the extensions that it says, and of those that they leave out as a whole.

    Who puts back what they have read, as Okta does, cannot say it: they would lose it, and were it required, switch nobody off.
    """
    unshown, named, kept = vocabulary.on_request | vocabulary.never, under_own_names(said, vocabulary), dict(body)
    for urn in (extension.urn for extension in vocabulary.extensions_of(core)):
        there = named.get(urn)
        silent = {name: value for name, value in there.items() if (urn.lower(), name.lower()) in unshown} if isinstance(there, dict) else {}
        key = next((key for key in reversed(body) if key.lower() == urn.lower()), urn)
        put = body.get(key, {} if silent == there else None)
        if silent and isinstance(put, dict):
            spoken = {name.lower() for name in put}
            kept[key] = {**{name: value for name, value in silent.items() if name.lower() not in spoken}, **put}
    return kept


def _places_in(body: Body) -> frozenset[Place]:
    """The attributes of extensions that a resource says."""
    return frozenset((urn.lower(), name.lower()) for urn, value in body.items() if ":" in urn and isinstance(value, dict) for name in value)


def post_group(caller: Caller, body: Body, selection: Selection) -> Resource:
    """Raises SCIMError and what `add_group` raises."""
    draft = group_draft(body, vocabulary=caller.vocabulary)
    shown = selection.revealing(caller.vocabulary.on_request)

    def act(session: Session) -> Resource:
        group = add_group(session, *caller.key, draft, **caller.saying())
        return groups_shown(session, caller, [group], shown)[0]

    return written(act)


def put_group(caller: Caller, group_id: str, body: Body, selection: Selection, *, version: int | None) -> Resource:
    """Raises SCIMError and what `change_group` raises."""
    said = {key.lower() for key in body}
    vocabulary = caller.vocabulary
    shown = selection.revealing(vocabulary.on_request & _places_in(body))

    def act(session: Session) -> Resource:
        before = group_said(read_group(session, *caller.key, group_id, lock=True))
        draft = group_draft(_with_kept(body, before, "externalId", GROUP_URN, vocabulary), vocabulary=vocabulary, before=before)
        # A PUT that is silent about members keeps them: Keycloak's leaves them out (mitodl/keycloak-scim#134).
        group = change_group(
            session, *caller.key, group_id, display_name=draft.display_name, document=draft.document, external_id=draft.external_id,
            members=draft.members if "members" in said else None, expected_version=version, **caller.saying(),
        )  # fmt: skip
        return groups_shown(session, caller, [group], shown)[0]

    return written(act)


def patch_group(caller: Caller, group_id: str, body: Body, *, version: int | None) -> None:
    """Raises SCIMError and what `change_group` raises."""
    vocabulary = caller.vocabulary.of_kind(GROUP_URN)
    operations = read_operations(body, vocabulary)
    early = None if picks_members(operations) else split_members(operations)

    def act(session: Session) -> None:
        there = read_group(session, *caller.key, group_id, lock=True)
        said = group_said(there)

        def look(where: Filter, changes: MemberChanges) -> list[str]:
            return fitting(where, members_looked_at(session, there, changes, base=caller.base))

        members, others = early or split_members(operations, look)
        draft = group_draft(patched(said, others, GROUP_URN, vocabulary), vocabulary=vocabulary, before=said)
        change_group(
            session, *caller.key, group_id, display_name=draft.display_name, document=draft.document, external_id=draft.external_id,
            members=members.whole, add=members.add, remove=members.remove, expected_version=version, **caller.saying(),
        )  # fmt: skip

    written(act)


def delete_group(caller: Caller, group_id: str, *, version: int | None = None) -> None:
    """Raises NotFound and StaleVersion."""

    def act(session: Session) -> None:
        _refuse_stale(read_group(session, *caller.key, group_id, lock=True), version)
        end_group(session, *caller.key, group_id, **caller.saying())

    written(act)


def _refuse_stale(row: Record | Group, version: int | None) -> None:
    if version is not None and row.version != version:
        raise StaleVersion(f"version {version} was expected, {row.version} stands")
