"""Discovery (RFC 7643 §5-7): what this door can do, and the schemas of what it holds, those that its organisation declared too."""

from collections.abc import Mapping
from typing import Any

from app.directory.filters import LONGEST
from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, SCHEMAS, STANDARD, USER_URN, Attribute, Kind, Vocabulary
from app.scim.bulk import MAX_OPERATIONS, largest_payload
from app.scim.cursors import LIFETIME

LARGEST_PAGE = 200
USUAL_PAGE = 100
_CORE = "urn:ietf:params:scim:schemas:core:2.0"
# RFC 7643 §4.1.2, §4.2: groups are read at the user; a member is added and removed, not changed, and its name is the user's own.
_TOLD: Mapping[str, Mapping[str, Any]] = {
    "groups.value": {"mutability": "readOnly"},
    "groups.$ref": {"mutability": "readOnly", "referenceTypes": ["Group"]},
    "groups.display": {"mutability": "readOnly"},
    "groups.type": {"mutability": "readOnly", "canonicalValues": ["direct"]},
    "manager.$ref": {"referenceTypes": ["User"]},
    "members.value": {"mutability": "immutable"},
    "members.$ref": {"mutability": "immutable", "referenceTypes": ["User"]},
    "members.display": {"mutability": "readOnly"},
    "members.type": {"mutability": "immutable", "canonicalValues": ["User"]},
}
_NAMES = {
    USER_URN: ("User", "User account"),
    GROUP_URN: ("Group", "Group of users"),
    ENTERPRISE_URN: ("EnterpriseUser", "What an employer adds to a user"),
}


def provider_config(base: str) -> dict[str, Any]:
    return {
        "schemas": [f"{_CORE}:ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {"supported": True, "maxOperations": MAX_OPERATIONS, "maxPayloadSize": largest_payload()},
        "filter": {"supported": True, "maxResults": LARGEST_PAGE},
        "changePassword": {"supported": False},
        "sort": {"supported": True},
        "etag": {"supported": True},
        # RFC 9865 §4.
        "pagination": {
            "cursor": True,
            "index": True,
            "defaultPaginationMethod": "index",
            "defaultPageSize": USUAL_PAGE,
            "maxPageSize": LARGEST_PAGE,
            "cursorTimeout": int(LIFETIME.total_seconds()),
        },
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": f"A token of this directory in the Authorization header; filters of up to {LONGEST} characters.",
                "specUri": "https://www.rfc-editor.org/info/rfc6750",
                "primary": True,
            },
            {
                "type": "oauth2",
                "name": "OAuth 2 client credentials",
                "description": "An access token of an hour from /oauth2/token, scope scim, for a client with a secret or a signed JWT; "
                "it is then sent like any Bearer token.",
                "specUri": "https://www.rfc-editor.org/info/rfc6749",
                "primary": False,
            },
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
    }


def resource_types(base: str, vocabulary: Vocabulary = STANDARD) -> list[dict[str, Any]]:
    def extensions(*urns: str, core: str) -> list[dict[str, Any]]:
        return [{"schema": urn, "required": False} for urn in (*urns, *(one.urn for one in vocabulary.extensions_of(core)))]

    shapes: list[tuple[str, str, list[dict[str, Any]]]] = [
        ("User", USER_URN, extensions(ENTERPRISE_URN, core=USER_URN)),
        ("Group", GROUP_URN, extensions(core=GROUP_URN)),
    ]
    return [
        {
            "schemas": [f"{_CORE}:ResourceType"],
            "id": name,
            "name": name,
            "endpoint": f"/{name}s",
            "description": _NAMES[urn][1],
            "schema": urn,
            **({"schemaExtensions": extensions} if extensions else {}),
            "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{name}"},
        }
        for name, urn, extensions in shapes
    ]


def schemas(base: str, vocabulary: Vocabulary = STANDARD) -> list[dict[str, Any]]:
    described: list[Mapping[str, Any]] = [
        {"id": urn, "name": _NAMES[urn][0], "description": _NAMES[urn][1], "attributes": _attributes(attributes)}
        for urn, attributes in SCHEMAS.items()
    ]
    return [
        {"schemas": [f"{_CORE}:Schema"], **one, "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{one['id']}"}}
        for one in (*described, *(extension.described for extension in vocabulary.extensions.values()))
    ]


def _attributes(attributes: Mapping[str, Attribute], within: str = "") -> list[dict[str, Any]]:
    return [{**_attribute(attribute), **_TOLD.get(within + attribute.name, {})} for attribute in attributes.values()]


def _attribute(attribute: Attribute) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": attribute.name,
        "type": attribute.kind.value,
        "multiValued": attribute.many,
        "description": attribute.name,
        "required": attribute.required,
        "mutability": attribute.mutability,
        "returned": "never" if attribute.mutability == "writeOnly" else "default",
        "uniqueness": "server" if attribute.unique else "none",
    }
    if attribute.kind is Kind.COMPLEX:
        return {**described, "subAttributes": _attributes(attribute.subs, f"{attribute.name}.")}
    if attribute.kind is Kind.REFERENCE:
        described["referenceTypes"] = ["external"]
    return {**described, "caseExact": attribute.exact}
