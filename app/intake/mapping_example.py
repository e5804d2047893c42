"""Somebody who has every attribute of SCIM's own, to try expressions on before anybody real is mapped by them."""

from collections.abc import Mapping
from typing import Any, Final

from app.directory.vocabulary import ENTERPRISE_URN, USER_URN
from app.intake.mapping_fields import BESIDE
from connectors.source_contract import SourceKey, SourcePerson

EXAMPLE: Final = SourcePerson(
    key=SourceKey("8c1b54b6-2f0e-4a57-8d5c-0b7c9a3f1e21"),
    user_name="ada.lovelace@acme.example",
    active=True,
    external_id="8c1b54b6-2f0e-4a57-8d5c-0b7c9a3f1e21",
    state="ACTIVE",
    starts_at="2026-01-31T00:00:00+00:00",
    ends_at="2027-01-31T00:00:00+00:00",
    document={
        "schemas": [USER_URN, ENTERPRISE_URN],
        "displayName": "Ada Lovelace",
        "nickName": "Ada",
        "profileUrl": "https://people.acme.example/ada",
        "title": "Analyst",
        "userType": "Employee",
        "preferredLanguage": "en",
        "locale": "en-GB",
        "timezone": "Europe/London",
        "name": {
            "formatted": "Ms Ada King Lovelace III", "familyName": "Lovelace", "givenName": "Ada", "middleName": "King", "honorificPrefix": "Ms",
            "honorificSuffix": "III",
        },
        "emails": [
            {"value": "ada.lovelace@acme.example", "type": "work", "primary": True, "display": "Ada"},
            {"value": "ada@home.example", "type": "home", "primary": False, "display": "Ada"},
        ],
        "phoneNumbers": [{"value": "+44 20 7946 0001", "type": "work"}, {"value": "+44 7700 900001", "type": "mobile"}],
        "ims": [{"value": "ada", "type": "xmpp"}],
        "photos": [{"value": "https://people.acme.example/ada.png", "type": "photo"}],
        "addresses": [
            {
                "type": "work", "formatted": "12 St James's Square, London", "streetAddress": "12 St James's Square", "locality": "London",
                "region": "England", "postalCode": "SW1Y 4JH", "country": "GB", "primary": True,
            }
        ],
        "entitlements": [{"value": "chat"}],
        "roles": [{"value": "member"}],
        ENTERPRISE_URN: {
            "employeeNumber": "4711", "costCenter": "100", "organization": "Acme", "division": "Engines", "department": "Research",
        },
    },
)  # fmt: skip


def is_there(path: tuple[str, ...]) -> bool:
    """Whether the example has something at this path of `person`."""
    if path[0] in BESIDE:
        return True
    value: Any = EXAMPLE.document
    for name in path[1:]:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value is not None
