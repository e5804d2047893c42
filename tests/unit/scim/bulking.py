"""Bulks as a directory sends them, for the tests of Bulk."""

from typing import Any

from app.directory.vocabulary import ENTERPRISE_URN
from tests.clients.directory import PATCH_URN, Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import get

BULK_URN = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
ERROR_URN = "urn:ietf:params:scim:api:messages:2.0:Error"


def send(directory: Directory, *operations: Any, **more: Any) -> Answer:
    return directory.send("POST", "/Bulk", {"schemas": [BULK_URN], "Operations": list(operations), **more})


def bulk(directory: Directory, *operations: Any, **more: Any) -> list[dict[str, Any]]:
    """What is answered to each operation."""
    answer = send(directory, *operations, **more)
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"].startswith("application/scim+json")
    assert answer.document["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:BulkResponse"]
    told: list[dict[str, Any]] = answer.document["Operations"]
    return told


def user(bulk_id: str, user_name: str | None = None, **attributes: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/Users", "bulkId": bulk_id, "data": {"userName": user_name or bulk_id, **attributes}}


def group(bulk_id: str, *members: str, name: str | None = None) -> dict[str, Any]:
    data = {"displayName": name or bulk_id, "members": [{"value": member} for member in members]}
    return {"method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": data}


def patch(path: str, *operations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"method": "PATCH", "path": path, "data": {"schemas": [PATCH_URN], "Operations": list(operations)}, **more}


def managed_by(manager: str, **more: str) -> dict[str, Any]:
    return {ENTERPRISE_URN: {"manager": {"value": manager}, **more}}


def manager_of(directory: Directory, user_id: str) -> Any:
    return get(directory, f"/Users/{user_id}").get(ENTERPRISE_URN, {}).get("manager", {}).get("value")


def statuses(told: list[dict[str, Any]]) -> list[str]:
    return [operation["status"] for operation in told]


def id_in(operation: dict[str, Any]) -> str:
    return str(operation["location"]).rpartition("/")[2]


def names(directory: Directory, kind: str = "Users") -> list[str]:
    return sorted(one.get("userName") or one["displayName"] for one in get(directory, f"/{kind}")["Resources"])


def is_refused(operation: dict[str, Any], status: str, problem: str | None) -> bool:
    error = operation["response"]
    assert (operation["status"], error["status"], error["schemas"]) == (status, status, [ERROR_URN]), operation
    assert error["detail"] and "version" not in operation
    assert error.get("scimType") == problem, operation
    return True
