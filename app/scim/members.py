"""PATCH of a group's members, as sets: so that nobody need be read but those who are named."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.directory.filters import AttributePath, Compare, Filter, Or, matches
from app.directory.values import Operator
from app.directory.vocabulary import GROUP_URN
from app.scim.answers import Problem, refused
from app.scim.bodies import member_ids
from app.scim.operations import Operation, Verb


@dataclass(kw_only=True)
class MemberChanges:
    """What becomes of a group's members: the `whole` set where one was given, else who is added and who removed."""

    whole: set[str] | None = None
    add: set[str] = field(default_factory=set)
    remove: set[str] = field(default_factory=set)

    def set_whole(self, ids: Sequence[str]) -> None:
        self.whole, self.add, self.remove = set(ids), set(), set()

    def join(self, ids: Sequence[str]) -> None:
        if self.whole is not None:
            self.whole.update(ids)
            return
        self.add.update(ids)
        self.remove.difference_update(ids)

    def replace(self, former: Sequence[str], ids: Sequence[str]) -> None:
        self.leave(former)
        self.join(ids)

    def leave(self, ids: Sequence[str]) -> None:
        if self.whole is not None:
            self.whole.difference_update(ids)
            return
        self.remove.update(ids)
        self.add.difference_update(ids)


Look = Callable[[Filter, MemberChanges], Sequence[str]]
"""Who of a group's members fits a filter, after these changes of them."""


def _look_nowhere(where: Filter, changes: MemberChanges) -> Sequence[str]:
    raise refused('members are named by their value here: members[value eq "…"]', Problem.INVALID_PATH)


def split_members(operations: Sequence[Operation], look: Look = _look_nowhere) -> tuple[MemberChanges, list[Operation]]:
    """A group's operations: those on members as sets, so that nobody else need be read, and the others. Raises SCIMError.

    `look` is asked where members are picked out in another way than by their ids.
    """
    changes = MemberChanges()
    others: list[Operation] = []
    for operation in operations:
        if not _is_of_members(operation.path):
            others.append(operation)
        else:
            _change_members(changes, operation, look)
    return changes, others


def _is_of_members(path: AttributePath) -> bool:
    # What is called so under the URN of users is refused with the others.
    return path.names[0] == "members" and path.core in (None, GROUP_URN)


def picks_members(operations: Sequence[Operation]) -> bool:
    """Whether any of these picks members out so that all of them have to be looked at: not to remove those of some ids."""
    picked = [(one.verb, one.path.where) for one in operations if _is_of_members(one.path) and one.path.where is not None]
    return any(verb is Verb.REPLACE or _ids_named(where) is None for verb, where in picked)


def _change_members(changes: MemberChanges, operation: Operation, look: Look) -> None:
    path, value = operation.path, operation.value
    if len(path.names) > 1 or path.sub is not None:
        raise refused("a member is added or removed as a whole", Problem.INVALID_PATH)
    if path.where is not None:
        _change_picked(changes, operation, path.where, look)
    elif operation.verb is Verb.REPLACE:
        changes.set_whole(member_ids(value))
    elif operation.verb is Verb.ADD:
        changes.join(member_ids(value))
    elif value is None:
        changes.set_whole(())
    else:
        changes.leave(member_ids(value))


def _change_picked(changes: MemberChanges, operation: Operation, where: Filter, look: Look) -> None:
    if operation.verb is Verb.ADD:
        raise refused('members[…] can be removed or replaced only; members are added at "members"', Problem.INVALID_PATH)
    named = _ids_named(where)
    if operation.verb is Verb.REMOVE:
        changes.leave(look(where, changes) if named is None else named)
        return
    found = look(where, changes)
    if not found:
        # RFC 7644 §3.5.2.3. Who is not there makes nobody a member.
        raise refused("no member fits the path", Problem.NO_TARGET)
    changes.replace(found, member_ids(operation.value))


def _ids_named(where: Filter) -> list[str] | None:
    """The ids that a filter names; None for one that says anything else."""
    match where:
        case Compare(path=AttributePath(names=("value",)), op=Operator.EQ, value=str() as named):
            return [named]
        case Or(terms=terms):
            found = [_ids_named(term) for term in terms]
            return None if any(one is None for one in found) else [named for one in found if one is not None for named in one]
        case _:
            return None


def fitting(where: Filter, elements: Collection[Mapping[str, Any]]) -> list[str]:
    """Of members as they are shown, the ids of those that fit."""
    return [str(one["value"]) for one in elements if matches(where, one)]
