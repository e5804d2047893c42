"""Bulk (RFC 7644 §3.7): many acts in one request, each in a transaction of its own, just as if it had come alone."""

import re
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from flask import Blueprint, Response, current_app, request

from app.clock import now
from app.directory.vocabulary import GROUP_URN, USER_URN
from app.scim import acts
from app.scim.answers import Problem, SCIMError, answer, refused
from app.scim.bodies import heard, message, parse_message, refuse_unstorable
from app.scim.door import Caller, body, caller, version_in
from app.scim.operations import refuse_said_twice
from app.scim.resources import Resource
from app.scim.selection import Selection
from app.scim.standing import group_now

MAX_OPERATIONS = 1000
MAX_PAYLOAD = 1024 * 1024
RESPONSE_URN = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
# A whole text, a value in a PATCH's path (members[value eq "bulkId:x"]), or the end of an address ("../Users/bulkId:x"). RFC 7644
# §3.7 keeps no letter out of a bulkId, and base64 has slashes: only within an address they end it.
_REFERENCE = re.compile(r'^bulkId:(.+)\Z|(?<=")bulkId:([^"]+)|(?<=/)bulkId:([^/"]+)', re.DOTALL)
# The same in the path of an operation: there is nothing below a user or a group.
_AT_END = re.compile(r"(?<=/)bulkId:(.+)\Z", re.DOTALL)
_META = Selection("meta", None)
_MEMBERS = ("method", "path", "bulkId", "version", "data")
_CORES = {"Users": USER_URN, "Groups": GROUP_URN}
_DONE = {"POST": 201, "PUT": 200, "PATCH": 200, "DELETE": 204}


def add_bulk(routes: Blueprint) -> None:
    """Register the route."""

    @routes.post("/Bulk", strict_slashes=False)
    def bulk() -> Response:
        said = message(_body(), "schemas", "failOnErrors", "Operations")
        job = _Job(caller(), _steps(said), most_errors=_most_errors(said))
        job.run()
        return answer({"schemas": [RESPONSE_URN], "Operations": job.answered()})


def largest_payload() -> int:
    """`maxPayloadSize` as it is in force: whoever runs the server may allow smaller bodies only."""
    return min(MAX_PAYLOAD, int(current_app.config["MAX_CONTENT_LENGTH"]))


def _body() -> dict[str, Any]:
    most = largest_payload()
    # A body that came in chunks says no length before it was read.
    if (request.content_length or 0) > most or len(request.get_data()) > most:
        raise SCIMError(413, f"the size of this Bulk exceeds the maxPayloadSize of {most} bytes: send its operations in several requests")
    said = body(parse_message)
    for key, value in said.items():
        refuse_unstorable(key)
        # RFC 7644 §3.7: what is wrong with an operation is no matter of the others.
        if key.lower() != "operations":
            refuse_unstorable(value, key)
    return said


def _most_errors(said: Mapping[str, Any]) -> int | None:
    most = said.get("failOnErrors")
    if most is None:
        return None
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise refused("failOnErrors must be a whole number from 1 on: at so many errors the Bulk ends", Problem.INVALID_VALUE)
    return most


# What bulkIds a value refers to, and what is to be done about them.


def _bulk_id_in(found: re.Match[str]) -> str:
    return next(name for name in found.groups() if name)


def _named(value: Any, reference: re.Pattern[str] = _REFERENCE) -> set[str]:
    """The bulkIds that any text in the value refers to."""
    if isinstance(value, str):
        return set(map(_bulk_id_in, reference.finditer(value)))
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for part in parts for name in _named(part)}


def _replaced(value: Any, ids: Mapping[str, str | None], reference: re.Pattern[str] = _REFERENCE) -> Any:
    """The value with ids in place of the bulkIds that have one."""
    if isinstance(value, str):
        return reference.sub(lambda found: ids.get(_bulk_id_in(found)) or found[0], value)
    if isinstance(value, dict):
        return {key: _replaced(part, ids) for key, part in value.items()}
    return [_replaced(part, ids) for part in value] if isinstance(value, list) else value


def _parted(resource: Mapping[str, Any], names: Container[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The resource without the attributes that refer to any of these bulkIds, and these attributes."""
    now: dict[str, Any] = {}
    later: dict[str, Any] = {}
    for key, value in resource.items():
        if not any(name in names for name in _named(value)):
            now[key] = value
        elif ":" in key and isinstance(value, dict):
            now[key], later[key] = _parted(value, names)
        else:
            later[key] = value
    return now, later


# The operations.


@dataclass(frozen=True, kw_only=True)
class _Operation:
    """One request, as it would have come alone; `resource_id` is empty for a POST."""

    method: str
    kind: str
    resource_id: str
    data: dict[str, Any]
    version: int | None


@dataclass(kw_only=True, eq=False)
class _Step:
    """An operation on its way: what was said of it in its place, and what became of it.

    `names` are the bulkIds it refers to, `makes` is the one it gives an id to, and `owed` is what a resource that was
    made without some of its attributes is still to be given. `faults` is what is wrong with members that are not in `said`:
    no database, and so no answer, could hold them, or they were said in two ways.
    """

    place: int
    said: Mapping[str, Any]
    faults: Mapping[str, SCIMError]
    names: frozenset[str]
    makes: str | None
    owed: _Operation | None = None
    over: bool = False
    location: str | None = None
    version: str | None = None
    status: int | None = None
    error: Resource | None = None

    def refuse(self, *members: str) -> None:
        for member in members:
            if member in self.faults:
                raise self.faults[member]

    def answered(self) -> Resource:
        # RFC 7644 §3.7: `response` is told where the operation failed; `status` is a text.
        told = {name: text for name in ("method", "bulkId") if isinstance(text := self.said.get(name), str)}
        became = {"location": self.location, "version": self.version, "status": str(self.status), "response": self.error}
        return told | {name: value for name, value in became.items() if value is not None}


def _steps(said: Mapping[str, Any]) -> list[_Step]:
    listed = said.get("Operations")
    if not isinstance(listed, list):
        raise refused("Operations must be a list", Problem.INVALID_SYNTAX)
    if len(listed) > MAX_OPERATIONS:
        raise SCIMError(
            413, f"this Bulk has {len(listed)} operations, and maxOperations is {MAX_OPERATIONS}: send them in several requests"
        )
    steps = [_step(place, operation if isinstance(operation, dict) else {}) for place, operation in enumerate(listed)]
    for bulk_id, times in Counter(_bulk_id(step.said) for step in steps).items():
        if bulk_id is not None and times > 1:
            raise refused(
                f"{times} operations have the bulkId {bulk_id[:100]!r}: give each its own. Nothing was done", Problem.INVALID_VALUE
            )
    return steps


def _step(place: int, operation: Mapping[str, Any]) -> _Step:
    said, faults = _sound(operation)
    path, method = said.get("path"), said.get("method")
    if isinstance(path, str):
        # As a server does with the address of a request; no database can even be asked for a NUL.
        said["path"] = path = unquote(path.rstrip("/") or path).replace("\0", "\N{REPLACEMENT CHARACTER}")
    if method == "DELETE":
        # Alone it has no body, and whatever stands there keeps nobody in.
        said.pop("data", None)
        faults.pop("data", None)
    core = _CORES.get(path.strip("/").partition("/")[0]) if isinstance(path, str) else None
    if core is not None and method in ("POST", "PUT") and isinstance(said.get("data"), dict):
        # What is passed over in a request of its own, such as a user's groups, refers to nothing.
        said["data"] = heard(said["data"], core)
    names = frozenset(_named(path, _AT_END) | _named(said.get("data")))
    return _Step(place=place, said=said, faults=faults, names=names, makes=_bulk_id(said) if method == "POST" else None)


def _sound(operation: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, SCIMError]]:
    """The members of an operation that can be taken, and what is wrong with the others."""
    said: dict[str, Any] = {}
    faults: dict[str, SCIMError] = {}
    for name in _MEMBERS:
        try:
            for value in message(operation, name).values():
                # Of data it is said as it would be of the body it stands for.
                refuse_unstorable(value, "" if isinstance(value, dict) else name)
                said[name] = value
            if name == "data" and said.get("method") == "PATCH" and isinstance(said.get(name), dict):
                # Once ids stand in place of bulkIds, nobody can tell any more what was said twice.
                refuse_said_twice(said[name])
        except SCIMError as error:
            faults[name] = error
    return said, faults


def _bulk_id(said: Mapping[str, Any]) -> str | None:
    bulk_id = said.get("bulkId")
    return bulk_id if isinstance(bulk_id, str) and bulk_id else None


def _addressed(method: Any, path: Any) -> tuple[str, str, str]:
    if not isinstance(method, str) or not isinstance(path, str):
        raise refused(
            "an operation needs a method (POST, PUT, PATCH or DELETE) and a path (such as /Users) as texts", Problem.INVALID_SYNTAX
        )
    kind, _, resource_id = path.strip("/").partition("/")
    if kind not in _CORES or "/" in resource_id:
        raise SCIMError(404, f"nothing is at {path[:200]} in a Bulk, only /Users and /Groups and what they hold")
    possible = ("PUT", "PATCH", "DELETE") if resource_id else ("POST",)
    if method not in possible:
        raise SCIMError(405, f"{method[:20]} is not possible at {path[:200]} in a Bulk, only {', '.join(possible)}")
    return method, kind, resource_id


def _performed(who: Caller, operation: _Operation) -> Resource | None:
    """Do it as a request of its own would. Gives what then stands, cut to `id` and `meta`; None where nothing does."""
    # Each is said when its turn comes: an *on* undoes an *off* before it in the same Bulk.
    who = replace(who, because=f"SCIM Bulk {operation.method}", arrived=now())
    resource_id, data, version = operation.resource_id, operation.data, operation.version
    match operation.kind, operation.method:
        case "Users", "POST":
            return acts.post_user(who, data, _META)
        case "Users", "PUT":
            return acts.put_user(who, resource_id, data, _META, version=version)
        case "Users", "PATCH":
            return acts.patch_user(who, resource_id, data, _META, version=version)
        case "Groups", "POST":
            return acts.post_group(who, data, _META)
        case "Groups", "PUT":
            return acts.put_group(who, resource_id, data, _META, version=version)
        case "Groups", "PATCH":
            acts.patch_group(who, resource_id, data, version=version)
            # RFC 7644 §3.7 wants the current version, and what the act itself gives holds none.
            return group_now(who, resource_id, _META)
        case "Users", _:
            acts.delete_user(who, resource_id, version=version)
        case _:
            acts.delete_group(who, resource_id, version=version)
    return None


def _refusal(error: Exception) -> Resource:
    """The SCIM error that a request of its own would have been answered with."""
    answered = current_app.handle_user_exception(error)
    assert isinstance(answered, Response)
    told: Resource = answered.get_json()
    return told


class _Job:
    """The operations of one request, and the ids behind their bulkIds."""

    def __init__(self, who: Caller, steps: Sequence[_Step], *, most_errors: int | None) -> None:
        self._who, self._steps, self._most_errors = who, steps, most_errors
        self._makers = {step.makes: step for step in steps if step.makes is not None}
        # None where the operation failed, and from the start where there is none.
        self._ids: dict[str, str | None] = {name: None for step in steps for name in step.names if name not in self._makers}
        self._errors = 0
        self._away: Resource | None = None

    def answered(self) -> list[Resource]:
        """What became of each operation that was tried, in the order in which they were sent."""
        return [step.answered() for step in self._steps if step.status is not None]

    def run(self) -> None:
        """Try the operations in their order, save that a POST goes before those that refer to it.

        So nothing is first made without its manager or its members and then moved, unless a circle of references leaves no
        other way. All else keeps its turn: an *off* never takes effect before an *on* that was said earlier.
        """
        for step in self._steps:
            path = [step]
            while path and self._errors != self._most_errors:
                self._go_on(path)
        for step in self._steps:
            if step.owed is not None and not step.over:
                self._fail(step, _refusal(SCIMError(409, "failOnErrors ended the Bulk before that", problem=Problem.INVALID_VALUE)))

    def _go_on(self, path: list[_Step]) -> None:
        """Come nearer to the end of the last step of the path, on which each step refers to the next."""
        step = path[-1]
        if step.over:
            path.pop()
            return
        undecided = step.names - self._ids.keys()
        if not undecided:
            self._attempt(step, self._finish)
            return
        maker = min((self._makers[name] for name in undecided), key=lambda maker: maker.place)
        if maker in path:
            self._attempt(maker, self._begin)
        else:
            path.append(maker)

    def _attempt(self, step: _Step, act: Callable[[_Step], None]) -> None:
        refusal = self._away
        if refusal is None:
            try:
                return act(step)
            # Whatever happens to one operation, what was done by others is done and has to be told.
            except Exception as error:
                refusal = _refusal(error)
        if refusal["status"] == "503":
            # Each further try would wait for the database anew.
            self._away = refusal
        self._fail(step, refusal)

    def _fail(self, step: _Step, refusal: Resource) -> None:
        if step.owed is not None:
            refusal = {**refusal, "detail": f"it was created, but not yet with everything that refers to a bulkId: {refusal['detail']}"}
        step.status, step.error, step.version = int(refusal["status"]), refusal, None
        step.over = True
        self._errors += 1
        if step.makes is not None:
            self._ids.setdefault(step.makes, None)

    def _begin(self, step: _Step) -> None:
        """Make a resource without the attributes that refer to what is not made yet."""
        operation = self._read(step)
        now, later = _parted(operation.data, step.names - self._ids.keys())
        made = _performed(self._who, replace(operation, data=now))
        assert made is not None
        self._note(step, operation, made)
        added = {"Operations": [{"op": "add", "value": later}]}
        step.owed = replace(operation, method="PATCH", resource_id=made["id"], data=added)

    def _finish(self, step: _Step) -> None:
        """Do what is left of an operation, once all that it refers to is decided."""
        if step.owed is None:
            operation = self._read(step)
            self._note(step, operation, _performed(self._who, operation))
        else:
            shown = _performed(self._who, replace(step.owed, data=self._resolved(step.owed.data)))
            step.version = None if shown is None else shown["meta"]["version"]
        step.over = True

    def _note(self, step: _Step, operation: _Operation, shown: Resource | None) -> None:
        # A request of its own to PATCH a group is answered without a body.
        step.status = 204 if (operation.kind, operation.method) == ("Groups", "PATCH") else _DONE[operation.method]
        if shown is not None:
            step.location, step.version = shown["meta"]["location"], shown["meta"]["version"]
            if step.makes is not None:
                self._ids[step.makes] = shown["id"]

    def _read(self, step: _Step) -> _Operation:
        said = step.said
        step.refuse("method", "path")
        method, kind, resource_id = _addressed(said.get("method"), self._resolved(said.get("path"), _AT_END))
        if resource_id:
            step.location = f"{self._who.base}/{kind}/{resource_id}"
        step.refuse("bulkId", "version", "data")
        if not resource_id and step.makes is None:
            raise refused("a POST in a Bulk needs a bulkId, a text that none of its other operations has", Problem.INVALID_VALUE)
        data, version = self._resolved(said.get("data")), said.get("version")
        if method == "DELETE":
            data = {}
        elif not isinstance(data, dict):
            raise refused(f"data must be an object: what a {method} of its own would have as its body", Problem.INVALID_SYNTAX)
        if method == "POST" or version is None:
            # RFC 7644 §3.7: a POST has no version.
            version = ""
        elif not isinstance(version, str):
            raise refused("version must be a text: the version that a resource had when it was read", Problem.INVALID_VALUE)
        expected = version_in(version, kind, resource_id, said_as="version")
        return _Operation(method=method, kind=kind, resource_id=resource_id, data=data, version=expected)

    def _resolved(self, value: Any, reference: re.Pattern[str] = _REFERENCE) -> Any:
        """The value with ids in place of bulkIds, as far as they have one already. Raises SCIMError for one that will get none."""
        for name in sorted(_named(value, reference)):
            if self._ids.get(name, "") is None:
                reason = "the POST with this bulkId failed" if name in self._makers else "no POST of this Bulk has this bulkId"
                raise SCIMError(409, f"bulkId:{name[:100]} stands for nothing, since {reason}", problem=Problem.INVALID_VALUE)
        return _replaced(value, self._ids, reference)
