"""The routes: `/scim/v2/<source_id>` is the base URL that a directory is given, and its token opens no other."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Response, current_app, g, request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from werkzeug.routing import RequestRedirect

from app.access.tokens import SourceClient, find_source
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import in_transaction, reading
from app.lifecycle.groups import UNCHANGED, add_group, change_group, end_group, read_group
from app.lifecycle.records import RecordDraft, add_record, change_record, end_record, read_record
from app.scim import schemas
from app.scim.answers import Problem, SCIMError, list_answer, no_content, resource_answer
from app.scim.bodies import read_object
from app.scim.paging import asked_page, groups_on, records_on
from app.scim.patch import patched, read_operations, sets_number, split_members
from app.scim.refusals import answer_refusals, wrong_address
from app.scim.resources import (
    Selection,
    group_draft,
    group_resources,
    group_said,
    user_draft,
    user_resources,
    user_said,
)

_PREFIX = "/scim/v2/<source_id>"
_JSON = ("application/scim+json", "application/json")
Result = TypeVar("Result")


def blueprint() -> Blueprint:
    """The door, to be registered once with an application that has its settings in `config["DOORLIST"]`."""
    routes = Blueprint("scim", __name__, url_prefix=_PREFIX)

    @routes.url_value_preprocessor
    def take_source(_endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.scim_source_id = (values or {}).pop("source_id", None)

    @routes.before_app_request
    def answer_wrong_addresses() -> Response | None:
        # Flask asks a blueprint's error handlers only once a route was found; clients need SCIM's errors before, too.
        error = request.routing_exception
        if error is None or isinstance(error, RequestRedirect) or not (request.path + "/").startswith("/scim/"):
            return None
        return wrong_address(error)

    @routes.before_request
    def authenticate() -> None:
        g.scim_client = _client_of(request.headers.get("Authorization", ""), g.scim_source_id)
        # PostgreSQL cannot even be asked for an id with a NUL in it.
        if "\0" in request.path:
            raise SCIMError(404, f"nothing is at {request.path[:200]!r}")

    answer_refusals(routes)
    _add_users(routes)
    _add_groups(routes)
    _add_discovery(routes)
    return routes


def _client_of(header: str, source_id: str) -> SourceClient:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise SCIMError(401, "send this directory's token as Authorization: Bearer TOKEN")
    with reading() as session:
        client = find_source(session, token.strip())
    # Another directory's token is answered as a wrong one: neither learns that the other exists.
    if client is None or client.source_id != source_id:
        raise SCIMError(401, "this token is not valid here: it is wrong, revoked or another directory's")
    return client


def _client() -> SourceClient:
    client: SourceClient = g.scim_client
    return client


def _base() -> str:
    return f"{current_app.config['DOORLIST'].public_url}/scim/v2/{_client().source_id}"


def _key() -> tuple[str, str]:
    return _client().organization_id, _client().source_id


def _said_by() -> dict[str, Any]:
    actor = Actor(kind=ActorKind.SOURCE, name=_client().source_name)
    return {"actor": actor, "at": now(), "because": f"SCIM {request.method}"}


def _body() -> dict[str, Any]:
    if request.mimetype and request.mimetype not in _JSON:
        raise SCIMError(415, f"send the body as {_JSON[0]} or {_JSON[1]}, not {request.mimetype}")
    return read_object(request.get_data(cache=False))


def _selection() -> Selection:
    return Selection(request.args.get("attributes"), request.args.get("excludedAttributes"))


def _expected_version() -> int | None:
    """The version that If-Match asks for (RFC 7644 §3.14). Raises SCIMError for one that never was ours."""
    text = request.headers.get("If-Match", "").strip()
    if text in ("", "*"):
        return None
    number = text.removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise SCIMError(412, f"If-Match: {text[:40]} is no version of this resource")
    return int(number)


def _written(act: Callable[[Session], Result]) -> Result:
    """One transaction. Where another one took the same name meanwhile, the second look says so in words."""
    try:
        return in_transaction(act)
    except IntegrityError:
        pass
    try:
        return in_transaction(act)
    except IntegrityError:
        raise SCIMError(409, "another request just took this name or id", problem=Problem.UNIQUENESS) from None


def _add_users(routes: Blueprint) -> None:
    def shown(session: Session, records: list[Any]) -> list[dict[str, Any]]:
        selection = _selection()
        resources = user_resources(session, records, base=_base(), with_groups=selection.shows("groups"))
        return [selection.of(resource) for resource in resources]

    @routes.get("/Users", strict_slashes=False)
    def list_users() -> Response:
        page = asked_page(request.args)
        with reading() as session:
            records, total = records_on(session, *_key(), page)
            return list_answer(shown(session, records), total=total, start=page.start)

    @routes.post("/Users", strict_slashes=False)
    def add_user() -> Response:
        draft = user_draft(_body())

        def act(session: Session) -> dict[str, Any]:
            return shown(session, [add_record(session, *_key(), draft, **_said_by())])[0]

        return resource_answer(_written(act), 201)

    @routes.get("/Users/<record_id>", strict_slashes=False)
    def get_user(record_id: str) -> Response:
        with reading() as session:
            return resource_answer(shown(session, [read_record(session, *_key(), record_id)])[0])

    @routes.put("/Users/<record_id>", strict_slashes=False)
    def put_user(record_id: str) -> Response:
        body = _body()
        return resource_answer(change(record_id, lambda said: user_draft(_with_kept(body, said, "externalId"))))

    @routes.patch("/Users/<record_id>", strict_slashes=False)
    def patch_user(record_id: str) -> Response:
        operations = read_operations(_body())

        def becomes(said: dict[str, Any]) -> RecordDraft:
            # What is patched always says `active`, so where it is missing it was removed, and that is *off*. A PUT leaves it.
            whole = {"active": False, **patched(said, operations)}
            return user_draft(whole, number_said=sets_number(operations))

        return resource_answer(change(record_id, becomes))

    @routes.delete("/Users/<record_id>", strict_slashes=False)
    def delete_user(record_id: str) -> Response:
        _written(lambda session: end_record(session, *_key(), record_id, **_said_by()))
        return no_content()

    def change(record_id: str, becomes: Callable[[dict[str, Any]], RecordDraft]) -> dict[str, Any]:
        expected = _expected_version()

        def act(session: Session) -> dict[str, Any]:
            record = read_record(session, *_key(), record_id, lock=True)
            draft = becomes(user_said(record))
            changed = change_record(session, *_key(), record_id, draft, expected_version=expected, **_said_by())
            return shown(session, [changed])[0]

        return _written(act)


def _with_kept(body: dict[str, Any], said: dict[str, Any], name: str) -> dict[str, Any]:
    # RFC 7644 §3.5.1 leaves open what a PUT without an attribute means; losing the directory's own key would make
    # it create the person anew.
    if name not in said or any(key.lower() == name.lower() for key in body):
        return body
    return {**body, name: said[name]}


def _add_groups(routes: Blueprint) -> None:
    def shown(session: Session, groups: list[Any]) -> list[dict[str, Any]]:
        selection = _selection()
        resources = group_resources(session, groups, base=_base(), with_members=selection.shows("members"))
        return [selection.of(resource) for resource in resources]

    @routes.get("/Groups", strict_slashes=False)
    def list_groups() -> Response:
        page = asked_page(request.args)
        with reading() as session:
            groups, total = groups_on(session, *_key(), page)
            return list_answer(shown(session, groups), total=total, start=page.start)

    @routes.post("/Groups", strict_slashes=False)
    def post_group() -> Response:
        draft = group_draft(_body())

        def act(session: Session) -> dict[str, Any]:
            return shown(session, [add_group(session, *_key(), draft, **_said_by())])[0]

        return resource_answer(_written(act), 201)

    @routes.get("/Groups/<group_id>", strict_slashes=False)
    def get_group(group_id: str) -> Response:
        with reading() as session:
            return resource_answer(shown(session, [read_group(session, *_key(), group_id)])[0])

    @routes.put("/Groups/<group_id>", strict_slashes=False)
    def put_group(group_id: str) -> Response:
        body, expected = _body(), _expected_version()
        # A PUT that is silent about members keeps them: Keycloak's leaves them out (mitodl/keycloak-scim#134).
        says_members = any(key.lower() == "members" for key in body)
        draft = group_draft(body)

        def act(session: Session) -> dict[str, Any]:
            says_id = any(key.lower() == "externalid" for key in body)
            group = change_group(
                session, *_key(), group_id, display_name=draft.display_name, document=draft.document,
                external_id=draft.external_id if says_id else UNCHANGED,
                members=draft.members if says_members else None, expected_version=expected, **_said_by(),
            )  # fmt: skip
            return shown(session, [group])[0]

        return resource_answer(_written(act))

    @routes.patch("/Groups/<group_id>", strict_slashes=False)
    def patch_group(group_id: str) -> Response:
        members, others = split_members(read_operations(_body()))
        expected = _expected_version()

        def act(session: Session) -> None:
            said = group_said(read_group(session, *_key(), group_id, lock=True))
            draft = group_draft(patched(said, others))
            change_group(
                session, *_key(), group_id, display_name=draft.display_name, document=draft.document,
                external_id=draft.external_id, members=members.whole, add=members.add, remove=members.remove,
                expected_version=expected, **_said_by(),
            )  # fmt: skip

        _written(act)
        return no_content()

    @routes.delete("/Groups/<group_id>", strict_slashes=False)
    def delete_group(group_id: str) -> Response:
        _written(lambda session: end_group(session, *_key(), group_id, **_said_by()))
        return no_content()


def _add_discovery(routes: Blueprint) -> None:
    @routes.get("/ServiceProviderConfig", strict_slashes=False)
    def provider_config() -> Response:
        return resource_answer(schemas.provider_config(_base()))

    @routes.get("/ResourceTypes", strict_slashes=False)
    def resource_types() -> Response:
        return whole_list(schemas.resource_types(_base()))

    @routes.get("/ResourceTypes/<name>", strict_slashes=False)
    def resource_type(name: str) -> Response:
        return one_of(schemas.resource_types(_base()), name)

    @routes.get("/Schemas", strict_slashes=False)
    def all_schemas() -> Response:
        return whole_list(schemas.schemas(_base()))

    @routes.get("/Schemas/<urn>", strict_slashes=False)
    def schema(urn: str) -> Response:
        return one_of(schemas.schemas(_base()), urn)

    def whole_list(found: list[dict[str, Any]]) -> Response:
        return list_answer(found, total=len(found), start=1)

    def one_of(found: list[dict[str, Any]], name: str) -> Response:
        for resource in found:
            if resource["id"].lower() == name.lower():
                return resource_answer(resource)
        raise SCIMError(404, f"{name[:200]} does not exist")
