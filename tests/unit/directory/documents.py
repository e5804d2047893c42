"""Two people as a directory describes them, with what a filter may come upon: numbers, lists, nothing, and odd spellings."""

from typing import Any

from app.directory.vocabulary import ENTERPRISE_URN

ADA: dict[str, Any] = {
    "userName": "Ada@Example.org",
    "externalId": "ext-Ada",
    "displayName": 'Ada "Countess" Lövelace',
    "title": "Analyst",
    "emails": [
        {"value": "ada@example.org", "type": "work", "primary": True},
        {"value": "a@home.example", "type": "home"},
    ],
    "addresses": [{"type": "home", "locality": "Ockham"}, {"type": "work", "locality": "London"}],
    "badge": 7,
    "ready": True,
    "nothing": None,
    "tags": ["red", "Blue"],
    ENTERPRISE_URN: {"department": "Éngines", "employeeNumber": "E7", "manager": {"value": "p-2"}},
}
BOB: dict[str, Any] = {
    "userName": "bob",
    "active": False,
    "emails": [{"value": "bob@example.org", "type": "home"}],
    "badge": "7",
    "ready": "true",
    "tags": [],
    ENTERPRISE_URN: {"department": "Sales"},
}
