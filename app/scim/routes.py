"""The routes: `/scim/v2/<source_id>` is the base URL that a directory is given, and its token opens no other."""

from typing import Any

from flask import Blueprint, Response, g, request
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter, RequestRedirect

from app.database import reading
from app.directory.sort_sql import GROUPS, USERS
from app.lifecycle.groups import read_group
from app.lifecycle.records import read_record
from app.scim import acts
from app.scim.answers import created_answer, no_content, resource_answer
from app.scim.bodies import read_message
from app.scim.bulk import add_bulk
from app.scim.discovery import add_discovery
from app.scim.door import MAYBE_MADE, authenticate, body, caller, expected_version, selection, selects
from app.scim.operations import places_said, read_operations
from app.scim.refusals import answer_refusals, wrong_address
from app.scim.search import add_search, listed
from app.scim.seen import see_requests
from app.scim.standing import group_now
from app.scim.versions import unchanged

_PREFIX = "/scim/v2/<source_id>"


class _Door(Blueprint):
    """Answers no method that SCIM does not have, OPTIONS among them."""

    def add_url_rule(self, *of_route: Any, **options: Any) -> None:
        super().add_url_rule(*of_route, **{**options, "provide_automatic_options": False})


def blueprint() -> Blueprint:
    """The door, to be registered once with an application that has its settings in `config["DOORLIST"]`."""
    routes = _Door("scim", __name__, url_prefix=_PREFIX)
    routes.record_once(_know_resources)
    see_requests(routes)

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

    routes.before_request(authenticate)
    answer_refusals(routes)
    _add_users(routes)
    _add_groups(routes)
    add_search(routes)
    add_bulk(routes)
    add_discovery(routes)
    return routes


class _ResourceConverter(BaseConverter):
    """The id of a resource. None is called `.search`, or that would be the address of one for every method but POST."""

    regex = r"(?!\.search(?:/|\Z))[^/]+"
    part_isolating = True

    def to_python(self, value: str) -> str:
        # As of all parts of addresses: PostgreSQL cannot even be asked for a NUL.
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _know_resources(state: BlueprintSetupState) -> None:
    state.app.url_map.converters["resource"] = _ResourceConverter


def _add_users(routes: Blueprint) -> None:
    @routes.get("/Users", strict_slashes=False)
    def list_users() -> Response:
        return listed((USERS,))

    @routes.post("/Users", strict_slashes=False)
    def post_user() -> Response:
        who = caller()
        return created_answer(acts.post_user(who, body(), selection(), maybe_made=request.environ.get(MAYBE_MADE)), f"{who.base}/Users")

    @routes.get("/Users/<resource:record_id>", strict_slashes=False)
    def get_user(record_id: str) -> Response:
        who, chosen = caller(), selection()
        with reading() as session:
            record = read_record(session, *who.key, record_id)
            return unchanged(session, record, chosen) or resource_answer(acts.users_shown(session, who, [record], chosen)[0])

    @routes.put("/Users/<resource:record_id>", strict_slashes=False)
    def put_user(record_id: str) -> Response:
        return resource_answer(acts.put_user(caller(), record_id, body(), selection(), version=expected_version()))

    @routes.patch("/Users/<resource:record_id>", strict_slashes=False)
    def patch_user(record_id: str) -> Response:
        return resource_answer(acts.patch_user(caller(), record_id, body(read_message), selection(), version=expected_version()))

    @routes.delete("/Users/<resource:record_id>", strict_slashes=False)
    def delete_user(record_id: str) -> Response:
        acts.delete_user(caller(), record_id, version=expected_version())
        return no_content()


def _add_groups(routes: Blueprint) -> None:
    @routes.get("/Groups", strict_slashes=False)
    def list_groups() -> Response:
        return listed((GROUPS,))

    @routes.post("/Groups", strict_slashes=False)
    def post_group() -> Response:
        who = caller()
        return created_answer(acts.post_group(who, body(), selection()), f"{who.base}/Groups")

    @routes.get("/Groups/<resource:group_id>", strict_slashes=False)
    def get_group(group_id: str) -> Response:
        who, chosen = caller(), selection()
        with reading() as session:
            group = read_group(session, *who.key, group_id)
            return unchanged(session, group, chosen) or resource_answer(acts.groups_shown(session, who, [group], chosen)[0])

    @routes.put("/Groups/<resource:group_id>", strict_slashes=False)
    def put_group(group_id: str) -> Response:
        return resource_answer(acts.put_group(caller(), group_id, body(), selection(), version=expected_version()))

    @routes.patch("/Groups/<resource:group_id>", strict_slashes=False)
    def patch_group(group_id: str) -> Response:
        who, chosen, said = caller(), selection(), body(read_message)
        acts.patch_group(who, group_id, said, version=expected_version())
        if not selects():
            return no_content()
        # RFC 7644 §3.5.2: who says what of the group is to be shown is shown it.
        shown = group_now(who, group_id, chosen.revealing(places_said(read_operations(said, who.vocabulary))))
        return no_content() if shown is None else resource_answer(shown)

    @routes.delete("/Groups/<resource:group_id>", strict_slashes=False)
    def delete_group(group_id: str) -> Response:
        acts.delete_group(caller(), group_id, version=expected_version())
        return no_content()
