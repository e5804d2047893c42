"""PATCH of a group's members, as sets: so that nobody need be read but those who are named."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.directory.filters import AttributePath, Compare, Filter, Or
from app.directory.values import Operator
from app.scim.answers import Problem, refused
from app.scim.bodies import member_ids
from app.scim.patch import Operation, Verb


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

    def leave(self, ids: Sequence[str]) -> None:
        if self.whole is not None:
            self.whole.difference_update(ids)
            return
        self.remove.update(ids)
        self.add.difference_update(ids)


def split_members(operations: Sequence[Operation]) -> tuple[MemberChanges, list[Operation]]:
    """A group's operations: those on members as sets, so that nobody else need be read, and the others. Raises SCIMError."""
    changes = MemberChanges()
    others: list[Operation] = []
    for operation in operations:
        if operation.path.names[0] != "members":
            others.append(operation)
        else:
            _change_members(changes, operation)
    return changes, others


def _change_members(changes: MemberChanges, operation: Operation) -> None:
    path, value = operation.path, operation.value
    if len(path.names) > 1 or path.sub is not None:
        raise refused("a member is added or removed as a whole", Problem.INVALID_PATH)
    if path.where is not None:
        if operation.verb is not Verb.REMOVE:
            raise refused('members[…] can be removed only; members are added at "members"', Problem.INVALID_PATH)
        changes.leave(_ids_named(path.where))
    elif operation.verb is Verb.REPLACE:
        changes.set_whole(member_ids(value))
    elif operation.verb is Verb.ADD:
        changes.join(member_ids(value))
    elif value is None:
        changes.set_whole(())
    else:
        changes.leave(member_ids(value))


def _ids_named(where: Filter) -> list[str]:
    match where:
        case Compare(path=AttributePath(names=("value",)), op=Operator.EQ, value=str() as named):
            return [named]
        case Or(terms=terms):
            return [named for term in terms for named in _ids_named(term)]
        case _:
            raise refused('members are named by their value: members[value eq "…"]', Problem.INVALID_PATH)
