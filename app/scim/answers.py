"""Answers as SCIM gives them: resources, lists and errors, always `application/scim+json`."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any
from uuid import uuid4

from flask import Response

MEDIA_TYPE = "application/scim+json"
ERROR_URN = "urn:ietf:params:scim:api:messages:2.0:Error"
LIST_URN = "urn:ietf:params:scim:api:messages:2.0:ListResponse"


class Problem(StrEnum):
    """`scimType` (RFC 7644 table 9, RFC 9865 §2.1)."""

    EXPIRED_CURSOR = "expiredCursor"
    INVALID_COUNT = "invalidCount"
    INVALID_CURSOR = "invalidCursor"
    INVALID_FILTER = "invalidFilter"
    INVALID_PATH = "invalidPath"
    INVALID_SYNTAX = "invalidSyntax"
    INVALID_VALUE = "invalidValue"
    MUTABILITY = "mutability"
    NO_TARGET = "noTarget"
    UNIQUENESS = "uniqueness"


class SCIMError(Exception):
    """The request is refused; `detail` is a sentence for whoever set the client up."""

    def __init__(self, status: int, detail: str, *, problem: Problem | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.problem = status, detail, problem


class JSONList:
    """A list in an answer that is JSON already: texts of some of its elements each, with commas between."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def append(self, text: str) -> None:
        """Put more elements at its end."""
        self._pieces += [b"," if self._pieces else b"[", text.encode()]

    @property
    def pieces(self) -> list[bytes]:
        """The whole list."""
        return [*self._pieces, b"]"] if self._pieces else [b"[]"]


def encoded(body: Mapping[str, Any]) -> list[bytes]:
    """The body as JSON, in pieces: what is a `JSONList` in it is not copied. Raises TypeError for what is no JSON."""
    lists: list[JSONList] = []
    # What nobody can have said in it.
    mark = uuid4().hex

    def put_aside(value: Any) -> str:
        if not isinstance(value, JSONList):
            raise TypeError(f"{type(value).__name__} is no JSON")
        lists.append(value)
        return mark

    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=put_aside)
    first, *others = text.split(f'"{mark}"') if lists else [text]
    pieces = [first.encode()]
    for one, after in zip(lists, others, strict=True):
        pieces += [*one.pieces, after.encode()]
    return pieces


def refused(detail: str, problem: Problem) -> SCIMError:
    return SCIMError(400, detail, problem=problem)


def answer(
    body: Mapping[str, Any], status: int = 200, *, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(
        encoded(body), status=status, headers=dict(headers or {}), content_type=f"{MEDIA_TYPE}; charset=utf-8"
    )


class Shown(dict[str, Any]):
    """A resource as it is shown, and the `meta` that it has, whether that is shown or not."""

    def __init__(self, resource: Mapping[str, Any], *, meta: Mapping[str, Any]) -> None:
        super().__init__(resource)
        self.meta = meta


def resource_answer(resource: Mapping[str, Any], status: int = 200) -> Response:
    """A resource with its ETag and Location: RFC 7644 §3.14 asks for the header whatever of the resource is shown."""
    meta = resource.meta if isinstance(resource, Shown) else resource.get("meta", {})
    names = {"ETag": "version", "Location": "location"}
    return answer(
        resource, status, headers={header: meta[name] for header, name in names.items() if name in meta}
    )


def created_answer(resource: Mapping[str, Any], place: str) -> Response:
    """201; `place` is the address of its kind of resource."""
    response = resource_answer(resource, 201)
    # RFC 7644 §3.3 asks for it whatever of the resource is shown.
    response.headers["Location"] = f"{place}/{resource['id']}"
    return response


def list_answer(
    resources: Sequence[Mapping[str, Any]], *, total: int, start: int | None, next_cursor: str | None = None
) -> Response:
    """`start` is None where pages go by cursor; `next_cursor` where there is no further page."""
    # `itemsPerPage` is what was returned: the count that was asked for made Okta's own tests fail.
    body = {
        "schemas": [LIST_URN],
        "totalResults": total,
        **({} if start is None else {"startIndex": start}),
        "itemsPerPage": len(resources),
        **({} if next_cursor is None else {"nextCursor": next_cursor}),
        "Resources": list(resources),
    }
    return answer(body)


def error_answer(status: int, detail: str, *, problem: Problem | None = None) -> Response:
    # RFC 7644 §3.12: `status` is a text.
    body: dict[str, Any] = {"schemas": [ERROR_URN], "status": str(status), "detail": detail}
    if problem is not None:
        body["scimType"] = problem.value
    return answer(body, status, headers={"WWW-Authenticate": "Bearer"} if status == 401 else {})


def no_content() -> Response:
    return Response(status=204, content_type=f"{MEDIA_TYPE}; charset=utf-8")
