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


ACME = "urn:acme:hr:2.0:User"


@pytest.mark.parametrize(
    "body",
    [
        {ACME: {"leave": {"type": "CANARY"}, "disability": {"type": "CANARY", "primary": "CANARY"}}},
        {ACME: {"meta": {"diagnosis": "CANARY", "location": "CANARY"}, "schemas": ["CANARY"], "roles": [{"type": "CANARY"}]}},
        {ACME: {"filter": "title eq CANARY", "attributes": ["CANARY"], "schemas": ["x:SearchRequest"]}},
        {ENTERPRISE_URN: {"meta": {"location": "CANARY"}}},
        {f"{ACME}:meta": {"location": "CANARY"}},
        {"leave": {"type": "CANARY"}, "meta": {"diagnosis": "CANARY", "created": {"x": "CANARY"}}},
        {"meta": "CANARY"},
        patch(op="add", path=f"{ACME}:leave.type", value="CANARY"),
        patch(op="add", path=f"{ACME}:meta.location", value="CANARY"),
        patch(op="add", path=ACME, value={"meta": {"location": "CANARY"}, "leave": [{"type": "CANARY"}]}),
        patch(op="add", value={ACME: {"leave": {"primary": "CANARY"}}}),
        patch(op="add", path=f'{ACME}:leave[type eq "CANARY"].value', value="x"),
        patch(op="add", path="title", type="CANARY"),
        {"Operations": [{"method": "POST", "path": "/Users", "data": {ACME: {"meta": {"location": "CANARY"}}}}]},
    ],
)
def test_what_an_extension_calls_like_a_part_of_scim_is_masked_all_the_same(body: Any) -> None:
    assert "CANARY" not in json.dumps(Masking().body(body))


def test_who_is_meant_stays_in_an_extension() -> None:
    body = {ACME: {"employeeNumber": "7", "manager": {"value": "m1", "displayName": "Bo"}}, f"{ENTERPRISE_URN}:department": "Sea"}

    assert Masking().body(body) == body


def test_a_setting_shows_an_attribute_of_an_extension() -> None:
    assert Masking(shown=("leave",)).body({ACME: {"leave": {"type": "x"}, "sick": "x"}}) == {ACME: {"leave": {"type": "x"}, "sick": MASK}}


SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"


@pytest.mark.parametrize("name", ["filter", "attributes", "excludedAttributes", "sortBy", "sortOrder", "startIndex", "count"])
@pytest.mark.parametrize("text", ['emails[value eq "CANARY"].value', "title eq CANARY", 'userName, title[value eq "CANARY, CANARY"]', "CANARY@x.example"])
def test_nothing_that_a_search_asks_with_shows_what_it_compares(name: str, text: str) -> None:
    for said in (text, [text], [[text]], {"value": text}):
        assert "CANARY" not in json.dumps(Masking().body({"schemas": [SEARCH], name: said}))


@pytest.mark.parametrize("name", ["sortBy", "sortOrder"])
@pytest.mark.parametrize("most", [40, 100, None])
def test_an_error_that_quotes_the_beginning_of_what_was_masked_shows_none_of_it(name: str, most: int | None) -> None:
    one, text = Masking(), f'{"a" * 30}[value eq "CANARY{"x" * 200}"]'
    one.body({"schemas": [SEARCH], name: f" {text}"})

    assert one.sentence(f"{name}: {text[:most]!r} has a condition") == f"{name}: '{MASK}' has a condition"


def test_names_places_and_orders_that_a_search_asks_with_stay() -> None:
    body = {
        "schemas": [SEARCH], "attributes": ["userName", f"{ENTERPRISE_URN}:department"], "excludedAttributes": ["members"], "sortBy": "name.familyName",
        "sortOrder": "Descending", "startIndex": 1, "count": "100", "filter": None,
    }  # fmt: skip

    assert Masking().body(body) == body
    assert Masking().asked("attributes", "userName, emails.value,title") == "userName, emails.value,title"


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


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("salary eq 85000", f"salary eq {MASK}"),
        ("salary GT -8.5e4 and active eq True", f"salary GT {MASK} and active eq True"),
        ("phoneNumbers.value eq 491511234567", f"phoneNumbers.value eq {MASK}"),
        ("roles[value eq 85000].display", f"roles[value eq {MASK}].display"),
        ("roles[value eq 85000].display eq 7", f"roles[value eq {MASK}].display eq {MASK}"),
        ("roles[value eq 85000", f"roles[value eq {MASK}"),
        ("name.familyName eq Smith-Jones", f"name.familyName eq {MASK}"),
        ("name.familyName eq Mary Ann and userName eq ada", f"name.familyName eq {MASK} and userName eq ada"),
        ("title eq 'CANARY'", f"title eq {MASK}"),
        ("title eq 'Rock and Roll' or id eq 0190-ab", f"title eq {MASK} or id eq 0190-ab"),
        ("title eq Rock and Roll", f"title eq {MASK} and {MASK}"),
        ('title eq "Mary" Ann', f'title eq "{MASK}" {MASK}'),
        ("title=CANARY", f"title={MASK}"),
        ("title is CANARY", f"title is {MASK}"),
        ("title gleich CANARY", f"title {MASK}"),
        ("not (title sw Cap) and nickName pr", f"not (title sw {MASK}) and nickName pr"),
        ("phone eq +49(30)123", f"phone eq {MASK}){MASK}"),
        ("emails.value eq ada@acme.example", f"emails.value eq {MASK}@acme.example"),
        ('title eq "Captain" and password eq "x"', f'title eq "{MASK}" and password {MASK}'),
        ("salary eq 85000 and clientSecret eq q", f"salary eq {MASK} and clientSecret {MASK}"),
        ("title eq null", "title eq null"),
        ("members[value eq 0190ab]", "members[value eq 0190ab]"),
        ("meta.created gt 2011-05-13T04:42:34Z", "meta.created gt 2011-05-13T04:42:34Z"),
        ('emails[type eq "work"].value', 'emails[type eq "work"].value'),
        ("/Users/0190ab", "/Users/0190ab"),
    ],
)
def test_what_is_compared_is_masked_in_quotes_or_not(text: str, masked: str) -> None:
    assert Masking().text(text) == masked


@pytest.mark.parametrize("form", ["title eq {}", "title eq a and {}", "a[title eq {}].b", "title {} x", "title eq\n'a {}'", "(title eq {})", 'title eq "a" {}'])
@pytest.mark.parametrize("value", ["CANARY", "'CANARY'", '"CANARY"', '"CANARY', "'CANARY", "CA'NARY", "\"CA'NARY\"", 'CANARY"', "x CANARY", "[CANARY]", "(CANARY)", "=CANARY", "CANARY\\"])
def test_no_form_of_a_comparison_shows_what_it_compares(form: str, value: str) -> None:
    one, text = Masking(), form.format(value)

    assert "NARY" not in one.text(text)
    assert "NARY" not in one.sentence(f"path {text!r}, at the end: expected a value")


@pytest.mark.parametrize("text", ["a eq ", "((", "[", '"', "'", "a='", "and ", ".a]", "a[b ", "x pr "])
def test_no_text_makes_masking_slow(text: str) -> None:
    for _ in range(200):
        Masking().text(text * 100_000)


@pytest.mark.parametrize("name", ["First Name", "Vorname (privat)", "Works in Office", "a/b"])
def test_a_name_of_several_words_is_kept_and_one_that_compares_is_masked(name: str) -> None:
    assert Masking().body({name: "x"}) == {name: MASK}
    assert Masking().body({f"{name} eq CANARY": "x"}).keys() != {f"{name} eq CANARY"}


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


def test_of_what_a_body_speaks_of_only_names_are_remembered() -> None:
    def speak(number: int) -> list[int]:
        touched({f'emails[value eq "ada{number}@example.com"].type': "work"})
        touched({f"title eq Captain{number}": "work"})
        touched({"Operations": [{"op": "add", "path": f"title eq Captain{number}", "value": "x"}]})
        touched({f"{number}" * 600: "x", "b" * 600: "y"})
        return [cache.cache_info().currsize for cache in (masking._spelled_keys, masking._told)]

    assert speak(1) == speak(2) == speak(3)
