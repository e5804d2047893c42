"""Lists of users, of groups and of both (RFC 7644 §3.4.2, §3.4.3), and `/Me`, which nobody is."""

from collections.abc import Sequence

from flask import Blueprint, Response, current_app, request

from app.clock import now
from app.database import reading
from app.directory.sort_sql import GROUPS, USERS, Sortable
from app.scim import acts
from app.scim.answers import Problem, SCIMError, list_answer, refused
from app.scim.bodies import message, read_message
from app.scim.cursors import Place, read_cursor, write_cursor
from app.scim.door import Caller, body, caller, selection
from app.scim.paging import PAGE_NAMES, Found, Page, asked_page, found_by_cursor, found_by_index, searched_page
from app.scim.selection import Selection

SEARCH_URN = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
_EVERYTHING = (USERS, GROUPS)


def add_search(routes: Blueprint) -> None:
    """Register the routes."""

    @routes.get("/", strict_slashes=False)
    def list_everything() -> Response:
        return listed(_EVERYTHING)

    @routes.post("/.search", strict_slashes=False)
    def search_everything() -> Response:
        return _searched(_EVERYTHING)

    @routes.post("/Users/.search", strict_slashes=False)
    def search_users() -> Response:
        return _searched((USERS,))

    @routes.post("/Groups/.search", strict_slashes=False)
    def search_groups() -> Response:
        return _searched((GROUPS,))

    @routes.route("/Me", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], strict_slashes=False)
    def me() -> Response:
        # RFC 7644 §3.11 lets a provider without an identity to stand for answer so.
        raise SCIMError(501, "a directory's token stands for no person, so nobody is at /Me: look for the user under /Users")


def listed(kinds: Sequence[Sortable]) -> Response:
    """What the query string asks for, of these kinds of resources. Raises SCIMError."""
    who = caller()
    return _answered(who, asked_page(request.args, who.vocabulary), selection(), kinds)


def _searched(kinds: Sequence[Sortable]) -> Response:
    asked = message(body(read_message), "schemas", "attributes", "excludedAttributes", *PAGE_NAMES)
    said = asked.get("schemas")
    if not isinstance(said, list) or not any(isinstance(urn, str) and urn.lower() == SEARCH_URN.lower() for urn in said):
        raise refused(f"schemas must name {SEARCH_URN}", Problem.INVALID_SYNTAX)
    who = caller()
    chosen = Selection(_names(asked, "attributes"), _names(asked, "excludedAttributes"), who.vocabulary)
    return _answered(who, searched_page(asked, who.vocabulary), chosen, kinds)


def _names(asked: dict[str, object], name: str) -> str:
    said = asked.get(name)
    if said is None:
        return ""
    if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
        raise refused(f"{name} must be a list of texts", Problem.INVALID_VALUE)
    return ",".join(said)


def _answered(who: Caller, page: Page, chosen: Selection, kinds: Sequence[Sortable]) -> Response:
    settings, at = current_app.config["DOORLIST"], now()
    question = (*who.key, *(kind.name for kind in kinds), *page.question)
    place: Place | None = None
    if page.cursor:
        place = read_cursor(settings, page.cursor, question=question, at=at)
    with reading() as session:
        found: Found
        if page.cursor is None:
            found = found_by_index(session, *who.key, page, kinds, base=who.base)
        else:
            found = found_by_cursor(session, *who.key, page, kinds, place, base=who.base)
        shown = []
        for kind, rows in zip(kinds, found.rows, strict=True):
            show = acts.users_shown if kind is USERS else acts.groups_shown
            shown.append(iter(show(session, who, rows, chosen)))
        resources = [next(shown[kind]) for kind in found.turns]
    following = None if found.following is None else write_cursor(settings, found.following, question=question, at=at)
    return list_answer(resources, total=found.total, start=page.start if page.cursor is None else None, next_cursor=following)
