"""Discovery: what this server can do, as clients ask for it (RFC 7644 §4)."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from app.directory.vocabulary import Vocabulary
from app.scim import schemas
from app.scim.answers import SCIMError, list_answer, resource_answer
from app.scim.door import caller


def add_discovery(routes: Blueprint) -> None:
    """Register the routes."""

    @routes.get("/ServiceProviderConfig", strict_slashes=False)
    def provider_config() -> Response:
        _takes_no_filter()
        return resource_answer(schemas.provider_config(caller().base))

    @routes.get("/ResourceTypes", strict_slashes=False)
    def resource_types() -> Response:
        return _whole_list(_told(schemas.resource_types))

    @routes.get("/ResourceTypes/<name>", strict_slashes=False)
    def resource_type(name: str) -> Response:
        return _one_of(_told(schemas.resource_types), name)

    @routes.get("/Schemas", strict_slashes=False)
    def all_schemas() -> Response:
        return _whole_list(_told(schemas.schemas))

    @routes.get("/Schemas/<urn>", strict_slashes=False)
    def schema(urn: str) -> Response:
        return _one_of(_told(schemas.schemas), urn)


def _takes_no_filter() -> None:
    # RFC 7644 §4: or whoever sent one would take all of it for what fits.
    if any(name.lower() == "filter" for name in request.args):
        raise SCIMError(403, "discovery takes no filter: ask without one, and all of it is told (RFC 7644 §4)")


def _told(of: Callable[[str, Vocabulary], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    _takes_no_filter()
    who = caller()
    return of(who.base, who.vocabulary)


def _whole_list(found: list[dict[str, Any]]) -> Response:
    return list_answer(found, total=len(found), start=1)


def _one_of(found: list[dict[str, Any]], name: str) -> Response:
    for resource in found:
        if resource["id"].lower() == name.lower():
            return resource_answer(resource)
    raise SCIMError(404, f"{name[:200]} does not exist")
