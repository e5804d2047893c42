"""What is masked of a body, a filter and an error, and what stays."""

import json
from typing import Any

import pytest

from app.audit import masking
from app.audit.masking import MASK, Masking, names_in, touched
from app.directory.vocabulary import ENTERPRISE_URN

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def patch(**operation: Any) -> dict[str, Any]:
    return {"schemas": [PATCH], "Operations": [operation]}


@pytest.mark.parametrize(
    "body",
    [
        {"password": "hunter2-secret"},
        {"PassWord": ["hunter2-secret"]},
        {"name": {"password": {"value": "hunter2-secret"}}},
        {"urn:acme:User": {"badge": {"apiKey": "hunter2-secret"}}},
        {"urn:acme:User": {"clientSecret": ["a", {"b": "hunter2-secret"}]}},
        {"urn:ietf:params:scim:schemas:core:2.0:User": {"password": "hunter2-secret"}},
        {"passwords": {"userName": "hunter2-secret"}},
        {'passwords[type eq "work"].value': "hunter2-secret"},
        patch(op="replace", path="password", value="hunter2-secret"),
        patch(op="replace", path=" urn:ietf:params:scim:schemas:core:2.0:User:password", value="hunter2-secret"),
        patch(op="replace", path='passwords[type eq "work"].value', value="hunter2-secret"),
        patch(op="replace", path='emails[password eq "hunter2-secret"]', value="x"),
        patch(op="replace", path="password eq hunter2-secret", value="x"),
        patch(op="replace", value={"password": "hunter2-secret"}),
        patch(op="replace", value={"urn:ietf:params:scim:schemas:core:2.0:User:password": "hunter2-secret"}),
        patch(Op="Add", Value="hunter2-secret", Path="password"),
        patch(op="replace", path="password", value=[{"value": "hunter2-secret"}]),
        patch(op="replace", password="hunter2-secret"),
        {"Operations": [{"method": "POST", "path": "/Users", "bulkId": "a", "data": {"userName": "ada", "password": "hunter2-secret"}}]},
        {"Operations": [{"method": "PATCH", "path": "/Users/1", "data": patch(op="add", path="password", value="hunter2-secret")}]},
        {"Operations": ["hunter2-secret"]},
        {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": 'password eq "hunter2-secret"'},
        ["hunter2-secret"],
        "hunter2-secret",
    ],
)
@pytest.mark.parametrize("shown", [(), ("password", "passwords", "urn:acme:user", "name", "badge", "emails")])
def test_a_secret_is_in_no_masked_body(body: Any, shown: tuple[str, ...]) -> None:
    assert "hunter2" not in json.dumps(Masking(shown=shown).body(body))


def test_who_is_meant_and_how_the_body_is_built_stays() -> None:
    body = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE_URN], "id": "0190", "externalId": "00u1",
        "userName": "ada@acme.example", "active": "False", "displayName": "Ada", "password": None, "emails": [], "title": "",
        "meta": {"resourceType": "User"},
        ENTERPRISE_URN: {"employeeNumber": "7", "department": "Sea", "manager": {"value": "m1", "displayName": "Bo", "$ref": "u"}},
    }  # fmt: skip

    assert Masking().body(body) == body


def test_what_says_more_of_a_person_goes_and_leaves_its_shape() -> None:
    body = {
        "name": {"givenName": "Ada", "familyName": "L"}, "emails": [{"value": "ada@acme.example", "type": "work", "primary": True}],
        "phoneNumbers": [{"value": "+49 30 1", "type": "mobile"}], "title": "Captain", "shoe": 42,
        "addresses": [{"streetAddress": "Street 1", "type": "home"}], ENTERPRISE_URN: {"costCenter": "77"}, "nationalIdentity": {"id": "1-2"},
    }  # fmt: skip

    assert Masking().body(body) == {
        "name": {"givenName": MASK, "familyName": MASK}, "emails": [{"value": f"{MASK}@acme.example", "type": "work", "primary": True}],
        "phoneNumbers": [{"value": MASK, "type": "mobile"}], "title": MASK, "shoe": MASK,
        "addresses": [{"streetAddress": MASK, "type": "home"}], ENTERPRISE_URN: {"costCenter": MASK}, "nationalIdentity": {"id": MASK},
    }  # fmt: skip


def test_a_setting_shows_an_attribute_and_no_other() -> None:
    assert Masking(shown=("title",)).body({"title": "Captain", "nickName": "A"}) == {"title": "Captain", "nickName": MASK}


def test_members_keep_their_ids_in_every_form() -> None:
    for value in (["m1"], [{"value": "m1", "$ref": None}], {"value": "m1"}, "m1"):
        body = patch(op="add", path="members", value=value)

        assert Masking().body(body) == body
    assert Masking().body({"members": [{"value": "m1", "display": "Ada L"}]}) == {"members": [{"value": "m1", "display": MASK}]}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('userName eq "ada@acme.example"', 'userName eq "ada@acme.example"'),
        ('externalId eq "00u1" and emails.value eq "ada@acme.example"', f'externalId eq "00u1" and emails.value eq "{MASK}@acme.example"'),
        ('emails[type eq "work" and value co "ada"]', f'emails[type eq "work" and value co "{MASK}"]'),
        ('members[value eq "m1"]', 'members[value eq "m1"]'),
        ('members[value eq "0190-ab"]', 'members[value eq "0190-ab"]'),
        ('phoneNumbers[value eq "0190"]', f'phoneNumbers[value eq "{MASK}"]'),
        ('passwords[type eq "abc"]', f"password {MASK}"),
        ('meta[password eq "abc"]', f"meta[password {MASK}"),
        ('urn:secret:members[value eq "abc"]', f"urn:secret {MASK}"),
        ('not (title sw "Cap")', f'not (title sw "{MASK}")'),
        ('title eq "half', f'title eq "{MASK}"'),
        ("externalId eq ada@acme.example", f"externalId eq {MASK}@acme.example"),
        ("accessTokenType", "accessTokenType"),
        ("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"),
    ],
)
def test_a_filter_keeps_its_form(text: str, masked: str) -> None:
    assert Masking().text(text) == masked


def test_an_error_that_quotes_what_was_masked_is_masked_too() -> None:
    one = Masking()
    one.body({"password": "correct horse battery", "title": "Captain", "emails": [{"value": "ada@acme.example"}], "nickName": "Bo"})

    assert one.sentence("title 'Captain' and 'Bo' are taken by ada@acme.example") == f"title '{MASK}' and '{MASK}' are taken by {MASK}"
    assert one.sentence("unreadable: 'correct horse ba'") == f"unreadable: '{MASK}"
    for token in ("dl_abcdefghijklmnopqrstuvwxyz", "dl_-bcdefghijklmnopqrstuvwxyz", "dl_--cdefghijklmnopqrstuvwxy-"):
        assert one.sentence(f"nothing is at /{token}") == f"nothing is at /{MASK}"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"schemas": ["x"], "userName": "a", ENTERPRISE_URN: {"department": "d"}, "emails": [{"value": "x"}]}, ["userName", "department", "emails"]),
        (patch(op="replace", path='emails[type eq "work"].value', value="x"), ["emails.value"]),
        (patch(op="Replace", value={"active": False, "name.givenName": "A", f"{ENTERPRISE_URN}:manager": "m"}), ["active", "name.givenName", "manager"]),
        (patch(op="add", path=ENTERPRISE_URN, value={"manager": {"value": "m"}}), ["manager"]),
        ({"Operations": [3, {"op": "remove", "path": "title"}]}, ["title"]),
        ([1], []),
        (None, []),
    ],
)
def test_the_attributes_touched_are_names_without_values(body: Any, names: list[str]) -> None:
    assert touched(body) == names


def test_a_body_nested_without_end_is_masked_at_a_depth() -> None:
    body: Any = "deep"
    for _ in range(500):
        body = {"a": [body]}

    assert "deep" not in json.dumps(Masking().body(body))


def test_what_an_attribute_is_compared_with_is_not_remembered() -> None:
    names_in("members")
    names_in("title")
    before = masking._names_in.cache_info().currsize

    for number in range(5):
        names_in(f'members[value eq "{number}"]')
        names_in(f"title eq Captain{number}")

    assert masking._names_in.cache_info().currsize == before
