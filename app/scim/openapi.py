"""The SCIM door described in OpenAPI 3.1, made from the vocabulary: `python -m app.scim.openapi > docs/scim-openapi.json`."""

import json
from collections.abc import Mapping
from typing import Any

from app.directory.vocabulary import COMMON, ENTERPRISE_URN, GROUP_URN, SCHEMAS, USER_URN, Attribute, Kind
from app.scim.answers import ERROR_URN, LIST_URN, MEDIA_TYPE, Problem
from app.scim.schemas import LARGEST_PAGE

Described = dict[str, Any]
_MESSAGES = "urn:ietf:params:scim:api:messages:2.0"
_TEXT: Described = {"type": "string"}
_KINDS: Mapping[Kind, Described] = {
    Kind.STRING: _TEXT,
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DECIMAL: {"type": "number"},
    Kind.INTEGER: {"type": "integer"},
    Kind.DATETIME: {"type": "string", "format": "date-time"},
    Kind.REFERENCE: _TEXT,
    Kind.BINARY: _TEXT,
}
# What any request may end in before it is looked at any closer.
_ALWAYS = {
    400: "What was sent cannot be read; `scimType` says what is wrong with it.",
    401: "The token is missing, wrong, revoked or another directory's.",
    429: "More requests than this directory may send; `Retry-After` says when the next one is taken.",
    503: "The database does not answer; the request may be sent again.",
}
_ABSENT = {404: "No such resource, or not this directory's: the two look alike."}
_BODIES = {413: "The body is larger, or says more, than is taken at once.", 415: "The body is no JSON in UTF-8."}
_TAKEN = {409: "A name or id that must be unique is in use (`uniqueness`), or another voice keeps this person out."}
_SILENT = {204: "It is changed, and neither `attributes` nor `excludedAttributes` was said."}
_STALE = {412: "The version in `If-Match` is not the one that stands, or the one in `If-None-Match` is."}


def description() -> Described:
    """The whole document; paths are relative to the base URL that a directory is given."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Doorlist's SCIM door",
            "version": "2.0",
            "description": "SCIM 2.0 (RFC 7643, RFC 7644, RFC 9865). Attributes that are not named here are kept and given back as they were said.",
        },
        "servers": [{"url": "/scim/v2/{source}", "variables": {"source": {"default": "SOURCE", "description": "The directory's id."}}}],
        "security": [{"bearer": []}],
        "paths": {
            "/": {"get": _list("Resource", "Users and groups")},
            **_resource_paths("User"),
            **_resource_paths("Group"),
            "/.search": {"post": _search("Resource")},
            "/Bulk": {"post": _bulk()},
            "/Me": {method: _nobody(method) for method in ("get", "post", "put", "patch", "delete")},
            "/ServiceProviderConfig": {"get": _discovered("What this server can do", {"type": "object"})},
            "/ResourceTypes": {"get": _discovered("The types of resources", _reference("List"))},
            "/ResourceTypes/{id}": {"get": _discovered("One type of resource", {"type": "object"}, parameters=[_id()], more=_ABSENT)},
            "/Schemas": {"get": _discovered("The schemas", _reference("List"))},
            "/Schemas/{id}": {"get": _discovered("One schema", {"type": "object"}, parameters=[_id()], more=_ABSENT)},
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": _components(),
        },
    }


def _resource_paths(kind: str) -> Described:
    return {
        f"/{kind}s": {
            "get": _list(kind, f"{kind}s of this directory"),
            "post": _act(f"Create a {kind.lower()}", 201, kind, body=f"{kind}Said", parameters=_selecting(), more={**_BODIES, **_TAKEN}),
        },
        f"/{kind}s/.search": {"post": _search(kind)},
        f"/{kind}s/{{id}}": {
            "get": _act(
                f"One {kind.lower()}", 200, kind, parameters=[_id(), *_selecting(), *_versions()],
                more={**_ABSENT, **_STALE, 304: "The client has this version."},
            ),
            "put": _act(
                f"Say all of a {kind.lower()} anew", 200, kind, body=f"{kind}Said", parameters=[_id(), *_selecting(), *_versions()],
                more={**_ABSENT, **_BODIES, **_TAKEN, **_STALE},
            ),
            "patch": _act(
                f"Change a {kind.lower()}", 200, kind, body="PatchOp", parameters=[_id(), *_selecting(), *_versions()],
                more={**({} if kind == "User" else _SILENT), **_ABSENT, **_BODIES, **_TAKEN, **_STALE},
            ),
            "delete": _act(f"Delete a {kind.lower()}", 204, kind, parameters=[_id(), *_versions()], more={**_ABSENT, **_STALE}),
        },
    }  # fmt: skip


def _act(
    summary: str,
    done: int,
    kind: str,
    *,
    body: str | None = None,
    parameters: list[Described] | None = None,
    more: Mapping[int, str] | None = None,
) -> Described:
    answered = {"description": summary} if done == 204 else _answer(summary, _reference(kind))
    said: Described = {"summary": summary, "responses": {str(done): answered, **_refusals(more or {})}}
    if parameters:
        said["parameters"] = parameters
    if body is not None:
        said["requestBody"] = {"required": True, "content": {MEDIA_TYPE: {"schema": _reference(body)}}}
    return said


def _list(kind: str, summary: str) -> Described:
    pages = [
        _query("filter", _TEXT, "RFC 7644 §3.4.2.2."),
        _query("startIndex", {"type": "integer"}, "Counts from 1."),
        _query("count", {"type": "integer"}, f"At most {LARGEST_PAGE} are given."),
        _query("cursor", _TEXT, "Empty for the first page, then each `nextCursor` (RFC 9865)."),
        _query("sortBy", _TEXT, "An attribute's path."),
        _query("sortOrder", {"enum": ["ascending", "descending"]}, "Ascending unless it is said."),
    ]
    return _act(summary, 200, f"{kind}List", parameters=[*pages, *_selecting()])


def _search(kind: str) -> Described:
    return _act(f"The list of {kind}s, asked for by POST", 200, f"{kind}List", body="SearchRequest", more=_BODIES)


def _bulk() -> Described:
    return _act("Many acts at once, each as if it had come alone", 200, "BulkResponse", body="BulkRequest", more=_BODIES)


def _nobody(method: str) -> Described:
    refused = {501: "A directory's token stands for no person."}
    return {"summary": f"{method.upper()} of nobody", "responses": _refusals(refused)}


def _discovered(
    summary: str, schema: Described, *, parameters: list[Described] | None = None, more: Mapping[int, str] | None = None
) -> Described:
    told = {403: "Discovery takes no `filter`.", **(more or {})}
    said: Described = {"summary": summary, "responses": {"200": _answer(summary, schema), **_refusals(told)}}
    return {**said, "parameters": parameters} if parameters else said


def _answer(summary: str, schema: Described) -> Described:
    return {"description": summary, "content": {MEDIA_TYPE: {"schema": schema}}}


def _refusals(more: Mapping[int, str]) -> Described:
    listed = {**_ALWAYS, **more}
    return {
        str(status): {"description": words} if status in (204, 304) else _answer(words, _reference("Error"))
        for status, words in sorted(listed.items())
    }


def _reference(name: str) -> Described:
    return {"$ref": f"#/components/schemas/{name}"}


def _id() -> Described:
    return {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query(name: str, schema: Described, words: str) -> Described:
    return {"name": name, "in": "query", "description": words, "schema": schema}


def _versions() -> list[Described]:
    return [
        {"name": name, "in": "header", "description": "ETags, or `*` (RFC 7644 §3.14).", "schema": _TEXT}
        for name in ("If-Match", "If-None-Match")
    ]


def _selecting() -> list[Described]:
    return [_query(name, _TEXT, "Names of attributes, parted by commas (RFC 7644 §3.9).") for name in ("attributes", "excludedAttributes")]


def _components() -> dict[str, Described]:
    found: dict[str, Described] = {
        "Error": _object(
            {"schemas": {"const": [ERROR_URN]}, "status": _TEXT, "detail": _TEXT, "scimType": {"enum": list(Problem)}},
            "schemas",
            "status",
            "detail",
        ),
        "Meta": _object({name: _TEXT for name in ("resourceType", "location", "version")}),
        "PatchOp": _patch_op(),
        "SearchRequest": _search_request(),
        "BulkRequest": _bulk_request(),
        "BulkResponse": _object(
            {"schemas": {"const": [f"{_MESSAGES}:BulkResponse"]}, "Operations": _many(_bulk_done())}, "schemas", "Operations"
        ),
        "Resource": {"anyOf": [_reference("User"), _reference("Group")]},
        "List": _list_of({"type": "object"}),
    }
    for kind, urn in (("User", USER_URN), ("Group", GROUP_URN)):
        found[kind] = _shown(kind, urn)
        found[f"{kind}Said"] = _said(urn)
    for kind in ("User", "Group", "Resource"):
        found[f"{kind}List"] = _list_of(_reference(kind))
    return found


def _shown(kind: str, urn: str) -> Described:
    """As it is answered: `attributes` may leave out all but id and schemas."""
    properties = _properties({**COMMON, **SCHEMAS[urn]}, writable_only=False)
    extension = {ENTERPRISE_URN: _object(_properties(SCHEMAS[ENTERPRISE_URN], writable_only=False))} if kind == "User" else {}
    return _object({**properties, **extension, "meta": _reference("Meta")}, "schemas", "id")


def _said(urn: str) -> Described:
    """As it is sent: what only the server writes is passed over, so it is not described."""
    attributes = {**COMMON, **SCHEMAS[urn]}
    extension = {ENTERPRISE_URN: _object(_properties(SCHEMAS[ENTERPRISE_URN], writable_only=True))} if urn == USER_URN else {}
    required = [attribute.name for attribute in SCHEMAS[urn].values() if attribute.required]
    return _object({**_properties(attributes, writable_only=True), **extension}, *required)


def _properties(attributes: Mapping[str, Attribute], *, writable_only: bool) -> dict[str, Described]:
    hidden = "readOnly" if writable_only else "writeOnly"
    return {attribute.name: _described(attribute, writable_only) for attribute in attributes.values() if attribute.mutability != hidden}


def _described(attribute: Attribute, writable_only: bool) -> Described:
    if attribute.kind is Kind.COMPLEX:
        one = _object(_properties(attribute.subs, writable_only=writable_only))
    else:
        # An instant that a directory said is given back as it was said.
        one = dict(_KINDS[attribute.kind])
    return _many(one) if attribute.many else one


def _object(properties: Mapping[str, Described], *required: str) -> Described:
    described: Described = {"type": "object", "properties": dict(properties)}
    return {**described, "required": list(required)} if required else described


def _many(one: Described) -> Described:
    return {"type": "array", "items": one}


def _list_of(one: Described) -> Described:
    counted: Described = {"type": "integer", "minimum": 0}
    properties = {
        "schemas": {"const": [LIST_URN]}, "totalResults": counted, "startIndex": {"type": "integer", "minimum": 1}, "itemsPerPage": counted,
        "nextCursor": _TEXT, "Resources": _many(one),
    }  # fmt: skip
    return _object(properties, "schemas", "totalResults", "Resources")


def _patch_op() -> Described:
    operation = _object({"op": {"enum": ["add", "remove", "replace"]}, "path": _TEXT, "value": {}}, "op")
    return _object(
        {"schemas": {"const": [f"{_MESSAGES}:PatchOp"]}, "Operations": {**_many(operation), "minItems": 1}}, "schemas", "Operations"
    )


def _search_request() -> Described:
    properties = {
        "schemas": {"const": [f"{_MESSAGES}:SearchRequest"]}, "attributes": _many(_TEXT), "excludedAttributes": _many(_TEXT), "filter": _TEXT,
        "sortBy": _TEXT, "sortOrder": {"enum": ["ascending", "descending"]}, "startIndex": {"type": "integer"}, "count": {"type": "integer"},
        "cursor": _TEXT,
    }  # fmt: skip
    return _object(properties, "schemas")


def _bulk_request() -> Described:
    operation = _object(
        {
            "method": {"enum": ["POST", "PUT", "PATCH", "DELETE"]},
            "path": _TEXT,
            "bulkId": _TEXT,
            "version": _TEXT,
            "data": {"type": "object"},
        },
        "method",
        "path",
    )
    properties: dict[str, Described] = {
        "schemas": {"const": [f"{_MESSAGES}:BulkRequest"]},
        "failOnErrors": {"type": "integer", "minimum": 1},
        "Operations": _many(operation),
    }
    return _object(properties, "schemas", "Operations")


def _bulk_done() -> Described:
    properties = {"method": _TEXT, "bulkId": _TEXT, "version": _TEXT, "location": _TEXT, "status": _TEXT, "response": {"type": "object"}}
    return _object(properties, "status")


if __name__ == "__main__":
    print(json.dumps(description(), indent=2, ensure_ascii=False))
