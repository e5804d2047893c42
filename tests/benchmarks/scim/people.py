"""The people that every server is filled with, the same ones everywhere: what Okta sends of them, and how they are found."""

from typing import Any, Final

USER_URN: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE_URN: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP_URN: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH_URN: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
GROUP_NAME: Final = "Everybody in the first office"
GROUP_SIZE: Final = 10_000
_GIVEN: Final = ("Amara", "Bastien", "Chloé", "Dmitri", "Elif", "Farid", "Grace", "Hiro", "Ines", "Jürgen", "Kwame", "Lúcia", "Mara")
_FAMILY: Final = ("Okonjo", "Moreau", "O'Neil", "Nguyễn", "Silva", "Müller", "Haddad", "Kimura", "Banerjee", "Dubois", "Jensen")


def user_name(number: int) -> str:
    return f"user{number:07d}@northwind.example"


def external_id(number: int) -> str:
    return f"00u{number:017d}"


def part_of_name(number: int) -> str:
    """A piece from the middle of a userName that nobody else's contains: the digits are always seven."""
    return f"r{number:07d}@north"


def names(number: int) -> tuple[str, str]:
    """Given name, family name."""
    return _GIVEN[number % len(_GIVEN)], _FAMILY[number % len(_FAMILY)]


def document(number: int) -> dict[str, Any]:
    """A person as Okta pushes them, without the placeholder password."""
    given, family = names(number)
    return {
        "schemas": [USER_URN],
        "userName": user_name(number),
        "externalId": external_id(number),
        "name": {"givenName": given, "familyName": family},
        "displayName": f"{given} {family}",
        "title": f"Specialist {number % 97}",
        "emails": [{"primary": True, "value": user_name(number), "type": "work"}],
        "active": True,
    }


def whole(number: int, *, manager: str) -> dict[str, Any]:
    """The same with what a company says beside that."""
    said = document(number)
    work = {"employeeNumber": f"E-{number}", "department": f"Department {number % 40}", "division": "North", "manager": {"value": manager}}
    return {**said, "schemas": [*said["schemas"], ENTERPRISE_URN], ENTERPRISE_URN: work}
