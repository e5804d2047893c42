"""PATCH as the RFC shapes it gives the document that scim2-models gives; whatever else is sent is refused in words."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scim2_models import EnterpriseUser, PatchOp, User

from app.directory.vocabulary import USER_URN
from app.scim.answers import SCIMError
from app.scim.bodies import tidied
from app.scim.operations import read_operations
from app.scim.patch import patched
from tests.clients.directory import directory_on
from tests.unit.scim.evaluating import ENTERPRISE

pytestmark = pytest.mark.slow

BOUNDED = settings(max_examples=300, deadline=None, derandomize=True, database=None)

WORDS = st.sampled_from(("a", "b", "Ada", "é", "😀", "x y", "\u202e"))
SIMPLE = ("displayName", "title", "nickName", "locale", "userType", "externalId")
DEEPER = (
    "name.givenName", "name.familyName", f"{ENTERPRISE}:department", f"{ENTERPRISE}:costCenter", f"{ENTERPRISE}:employeeNumber",
    f"{ENTERPRISE}:manager.value",
)  # fmt: skip


def _element(number: int, **more: Any) -> dict[str, Any]:
    return {"value": f"{number}@example.org", **more}


def _elements(first: int = 0, **more: Any) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Elements that differ in their value or in nothing: two of one value are one for us, and two for the models."""
    numbers = st.lists(st.integers(first, first + 5), unique=True, max_size=3)
    return numbers.map(lambda chosen: [_element(number, **more) for number in chosen])


@st.composite
def _users(draw: st.DrawFn) -> dict[str, Any]:
    user: dict[str, Any] = {"schemas": [USER_URN], "userName": "ada", "active": draw(st.booleans())}
    user.update(draw(st.dictionaries(st.sampled_from(SIMPLE), WORDS, max_size=4)))
    if name := draw(st.dictionaries(st.sampled_from(("givenName", "familyName", "formatted")), WORDS, max_size=2)):
        user["name"] = name
    for attribute in ("emails", "roles"):
        if elements := draw(_elements(type="work")):
            elements[0]["primary"] = True
            user[attribute] = elements
    if extension := draw(st.dictionaries(st.sampled_from(("department", "costCenter", "employeeNumber")), WORDS, max_size=2)):
        user["schemas"].append(ENTERPRISE)
        user[ENTERPRISE] = extension
    return user


# Left out, because the models differ from RFC 7644 there: an object for a complex attribute takes the place of the whole
# (§3.5.2.3: what is not named stays), and `add` without a path takes the place of a list (§3.5.2.1: it is added to).
OPERATIONS = st.one_of(
    st.builds(lambda op, path, value: {"op": op, "path": path, "value": value}, st.sampled_from(("add", "replace")), st.sampled_from((*SIMPLE, *DEEPER)), WORDS),
    st.builds(lambda path: {"op": "remove", "path": path}, st.sampled_from((*SIMPLE, *DEEPER, "emails", "roles"))),
    st.builds(lambda op, value: {"op": op, "path": "active", "value": value}, st.sampled_from(("add", "replace")), st.booleans()),
    st.builds(lambda op, value: {"op": op, "value": value}, st.sampled_from(("add", "replace")), st.dictionaries(st.sampled_from(SIMPLE), WORDS, min_size=1)),
    st.builds(lambda path, value: {"op": "replace", "path": path, "value": value}, st.sampled_from(("emails", "roles")), _elements(type="home")),
    st.builds(lambda path, value: {"op": "add", "path": path, "value": value}, st.sampled_from(("emails", "roles")), _elements(10, type="work")),
    st.builds(lambda number: {"op": "add", "path": "emails", "value": [_element(number, type="other", primary=True)]}, st.integers(20, 10_000)),
)  # fmt: skip


def _by_the_models(user: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    model = User[EnterpriseUser].model_validate(user)
    kind = PatchOp[User[EnterpriseUser]]
    kind.model_validate({"Operations": operations}).patch(model)
    said: dict[str, Any] = _bare(model.model_dump(mode="json", by_alias=True, exclude_none=True))
    return said


def _by_us(user: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    said: dict[str, Any] = _bare(tidied(patched(user, read_operations({"Operations": operations})), USER_URN))
    return said


def _bare(value: Any) -> Any:
    """Without what stands for nothing: RFC 7643 §2.5 takes null, an empty list and an unassigned attribute for the same."""
    if isinstance(value, dict):
        kept = {name: _bare(part) for name, part in value.items() if name != "schemas"}
        return {name: part for name, part in kept.items() if part not in (None, [], {})}
    if isinstance(value, list):
        return [_bare(part) for part in value]
    return value


@BOUNDED
@given(_users(), st.lists(OPERATIONS, min_size=1, max_size=5))
def test_patch_gives_what_the_models_give(user: dict[str, Any], operations: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(user)

    ours = _by_us(user, operations)

    assert ours == _by_the_models(copy.deepcopy(user), operations)
    assert user == before


@BOUNDED
@given(_users(), st.lists(OPERATIONS, min_size=1, max_size=5))
def test_sent_twice_it_changes_nothing_the_second_time(user: dict[str, Any], operations: list[dict[str, Any]]) -> None:
    # Of several operations on one place the last one counts, and it counts again; only `add` to what a later one removes does not.
    once = _by_us(user, operations[-1:])

    assert _by_us(once, operations[-1:]) == once


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), WORDS, st.sampled_from(("", "true", "False", "value", "work", "\0"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(("value", "type", "primary", "op", "a", "name.givenName")), inner, max_size=3),
    ),
    max_leaves=6,
)
PATHS = st.one_of(
    st.sampled_from(
        (
            *SIMPLE, *DEEPER, "emails", "emails.value", 'emails[type eq "work"]', 'emails[type eq "work"].value', "emails[value pr].primary", "roles[primary eq true]",
            "name", "active", "userName", "id", "meta", "meta.version", "groups", "schemas", "members", ENTERPRISE, USER_URN, f"{USER_URN}:title", "manager",
            f'{ENTERPRISE}:manager[value eq "a"]', "urn:example:User:tag", "urn:example:User", "x.y", 'x[y eq "1"].z', "x.y.z", "password", 'name[givenName eq "a"]', "",
        )
    ),
    ANYTHING, st.text(max_size=8),
)  # fmt: skip
ODD = st.fixed_dictionaries(
    {}, optional={"op": st.one_of(st.sampled_from(("add", "Replace", "REMOVE", "move", "")), ANYTHING), "path": PATHS, "value": ANYTHING}
)


@settings(BOUNDED, max_examples=500)
@given(_users(), st.lists(ODD, max_size=4))
def test_any_operations_are_applied_or_refused_in_words(user: dict[str, Any], operations: list[dict[str, Any]]) -> None:
    try:
        _by_us(user, operations)
    except SCIMError as refusal:
        assert 400 <= refusal.status < 500
        assert refusal.detail


def test_any_operations_leave_a_user_who_can_be_read_on_both_databases(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:

        @settings(BOUNDED, max_examples=150)
        @given(_users(), st.lists(ODD, max_size=3))
        def sent(user: dict[str, Any], operations: list[dict[str, Any]]) -> None:
            body = {name: value for name, value in user.items() if name not in ("userName", "externalId", ENTERPRISE)}
            record_id = directory.add_user(f"user{directory.written()}", **body)

            answer = directory.patch(f"/Users/{record_id}", *operations)

            assert answer.status in (200, 400, 409), answer.text
            shown = directory.send("GET", f"/Users/{record_id}")
            assert (shown.status, shown.document["id"], type(shown.document["active"])) == (200, record_id, bool)
            if answer.status == 200:
                assert shown.document == answer.document

        sent()
