"""If-None-Match and If-Match (RFC 7644 §3.14): nothing old is taken for new, and nothing new is overwritten unseen."""

from typing import Any

import pytest

from app.directory.tables import StatementKind, Voice
from app.directory.vocabulary import ENTERPRISE_URN
from tests.clients.directory import PATCH_URN, Directory
from tests.clients.transcript import Answer
from tests.unit.scim.bulking import bulk, statuses
from tests.unit.scim.choosing import group_with, person_of, says

TITLE: dict[str, Any] = {"op": "replace", "path": "title", "value": "Countess"}


def _if_none(directory: Directory, path: str, tags: str) -> Answer:
    return directory.send("GET", path, If_None_Match=tags)


def _tag(directory: Directory, path: str) -> str:
    return directory.send("GET", path).headers["ETag"]


@pytest.mark.parametrize("kind", ["Users", "Groups"])
@pytest.mark.parametrize("tags", ['W/"1"', '"1"', 'W/"7", W/"1"', '"of-another",W/"1"', "*"])
def test_what_a_client_has_as_it_stands_is_not_sent_again(directory: Directory, kind: str, tags: str) -> None:
    path = f"/Users/{directory.add_user('ada')}" if kind == "Users" else f"/Groups/{group_with(directory)}"

    answer = _if_none(directory, path, tags)

    assert (answer.status, answer.text, answer.headers["ETag"]) == (304, "", 'W/"1"')


@pytest.mark.parametrize("tags", ['W/"2"', '"of-another"', "", '""', 'W/"11"', 'W/"01"', 'W/"0"'])
def test_what_a_client_does_not_have_is_sent(directory: Directory, tags: str) -> None:
    path = f"/Users/{directory.add_user('ada')}"

    assert _if_none(directory, path, tags).document["userName"] == "ada"


def test_what_changed_is_sent_and_then_not_again(directory: Directory) -> None:
    path = f"/Users/{directory.add_user('ada')}"
    old = _tag(directory, path)
    directory.patch(path, TITLE)

    answer = _if_none(directory, path, old)

    assert (answer.status, answer.document["title"]) == (200, "Countess")
    assert _if_none(directory, path, answer.headers["ETag"]).status == 304


def test_what_is_not_there_is_404_whatever_a_client_has(directory: Directory) -> None:
    other = directory.beside("entra")
    ada = directory.add_user("ada")

    assert _if_none(directory, "/Users/nobody", "*").status == 404
    assert _if_none(other, f"/Users/{ada}", "*").status == 404


def test_a_bar_is_seen_though_the_directory_said_nothing_new(directory: Directory) -> None:
    ada = directory.add_user("ada")
    tag = _tag(directory, f"/Users/{ada}")
    says(person_of(ada), Voice.OPERATOR, StatementKind.BARS)

    answer = _if_none(directory, f"/Users/{ada}", tag)

    assert (answer.status, answer.document["active"]) == (200, False)


def test_groups_that_took_somebody_in_or_changed_their_name_are_seen(directory: Directory) -> None:
    ada = directory.add_user("ada")
    tag = _tag(directory, f"/Users/{ada}")
    group = group_with(directory, ada, name="ants")

    assert [found["display"] for found in _if_none(directory, f"/Users/{ada}", tag).document["groups"]] == ["ants"]
    assert _if_none(directory, f"/Users/{ada}?excludedAttributes=groups", tag).status == 304

    directory.patch(f"/Users/{ada}", TITLE)
    tag = _tag(directory, f"/Users/{ada}")
    assert _if_none(directory, f"/Users/{ada}", tag).status == 304
    directory.patch(f"/Groups/{group}", {"op": "replace", "path": "displayName", "value": "bees"})

    assert [found["display"] for found in _if_none(directory, f"/Users/{ada}", tag).document["groups"]] == ["bees"]


@pytest.mark.parametrize("change", ["renamed", "deleted"])
def test_members_that_changed_are_seen_though_the_group_did_not(directory: Directory, change: str) -> None:
    ada = directory.add_user("ada", displayName="Ada")
    group = f"/Groups/{group_with(directory, ada)}"
    tag = _tag(directory, group)
    assert _if_none(directory, group, tag).status == 304

    if change == "renamed":
        directory.patch(f"/Users/{ada}", {"op": "replace", "path": "displayName", "value": "Countess"})
    else:
        directory.send("DELETE", f"/Users/{ada}")

    answer = _if_none(directory, group, tag)
    assert answer.status == 200
    assert [member["display"] for member in answer.document["members"]] == (["Countess"] if change == "renamed" else [])
    assert _if_none(directory, f"{group}?excludedAttributes=members", tag).status == 304


@pytest.mark.parametrize("kind", ["Users", "Groups"])
def test_a_write_holds_for_one_of_several_versions(directory: Directory, kind: str) -> None:
    path, name = (
        (f"/Users/{directory.add_user('ada')}", "userName") if kind == "Users" else (f"/Groups/{group_with(directory)}", "displayName")
    )

    def put(tags: str, value: str) -> int:
        return directory.send("PUT", path, {name: value}, If_Match=tags).status

    assert put('W/"3", W/"1"', "second") == 200
    assert put('W/"1", W/"3"', "third") == 412
    assert put('W/"1", W/"2"', "third") == 200
    assert put('"of-another", W/"3"', "third again") == 200
    assert put('"of-another", "and-another"', "fourth") == 412
    for no_list_of_tags in ('W/"9", *', '*, W/"9"', '""3""', '"3', "3", "W/3"):
        assert put(no_list_of_tags, "fourth") == 412, no_list_of_tags
    assert put(" * ", "fourth") == 200
    assert directory.send("GET", path).document[name] == "fourth"
    assert directory.patch(path, {"op": "replace", "path": name, "value": "fifth"}).status in (200, 204)


def test_a_version_of_what_is_not_there_is_404(directory: Directory) -> None:
    ada = directory.add_user("ada")
    other = directory.beside("entra")

    for tags in ('W/"1"', 'W/"1", W/"2"', "*"):
        assert directory.send("PUT", "/Users/nobody", {"userName": "x"}, If_Match=tags).status == 404
        assert other.send("PUT", f"/Users/{ada}", {"userName": "x"}, If_Match=tags).status == 404


@pytest.mark.parametrize("tags", ['W/"x"', '"of-another", "and-another"', 'W/"01"', 'W/"2"', "*", "nonsense"])
def test_what_is_not_there_is_404_whatever_version_is_named(directory: Directory, tags: str) -> None:
    gone = directory.add_user("gone")
    directory.send("DELETE", f"/Users/{gone}")
    theirs = directory.beside("entra").add_user("theirs")

    for path in ("/Users/nobody", f"/Users/{gone}", f"/Users/{theirs}", "/Groups/nobody"):
        body = {"userName": "x"} if path.startswith("/Users") else {"displayName": "x"}
        assert directory.send("PUT", path, body, If_Match=tags).status == 404
        assert directory.send("PATCH", path, {"schemas": [PATCH_URN], "Operations": [TITLE]}, If_Match=tags).status == 404
        assert directory.send("DELETE", path, If_Match=tags).status == 404
        told = bulk(directory, {"method": "PUT", "path": path, "data": body, "version": tags}, {"method": "DELETE", "path": path, "version": tags})
        # A Bulk names one version, no list of them.
        assert statuses(told) == ["404", "404"]


@pytest.mark.parametrize("kind", ["Users", "Groups"])
@pytest.mark.parametrize("tags", ['W/"x"', 'W/"01"', 'W/"0"', '"001"', "nonsense"])
def test_a_tag_that_is_not_ours_matches_no_version(directory: Directory, kind: str, tags: str) -> None:
    path, body = (
        (f"/Users/{directory.add_user('ada')}", {"userName": "x"})
        if kind == "Users"
        else (f"/Groups/{group_with(directory)}", {"displayName": "x"})
    )

    for method, said in (("PUT", body), ("PATCH", {"schemas": [PATCH_URN], "Operations": [{"op": "remove"}]}), ("DELETE", None)):
        answer = directory.send(method, path, said, If_Match=tags)
        assert (answer.status, tags in answer.document["detail"]) == (412, True), answer.text
    told = bulk(directory, {"method": "PUT", "path": path, "data": body, "version": tags}, {"method": "DELETE", "path": path, "version": tags})
    assert statuses(told) == ["412", "412"]
    assert _tag(directory, path) == 'W/"1"'


@pytest.mark.parametrize("kind", ["Users", "Groups"])
def test_a_read_of_another_version_than_named_is_refused(directory: Directory, kind: str) -> None:
    path = f"/Users/{directory.add_user('ada')}" if kind == "Users" else f"/Groups/{group_with(directory)}"

    for tags, status in {'W/"1"': 200, '"1"': 200, 'W/"7", W/"1"': 200, "*": 200, "": 200, 'W/"2"': 412, '"of-another"': 412}.items():
        assert directory.send("GET", path, If_Match=tags).status == status, tags
    assert directory.send("GET", path, If_Match='W/"1"', If_None_Match='W/"1"').status == 304
    assert directory.send("GET", path, If_Match='W/"2"').document["detail"] == 'If-Match: W/"2" is not the version that stands'
    assert directory.send("GET", f"/{kind}/nobody", If_Match='W/"2"').status == 404


@pytest.mark.parametrize("tags", ['W/"1"', '"1"', 'W/"7", W/"1"', "*"])
@pytest.mark.parametrize("kind", ["Users", "Groups"])
def test_no_write_is_done_on_a_version_that_it_is_not_meant_for(directory: Directory, kind: str, tags: str) -> None:
    path, name = (
        (f"/Users/{directory.add_user('ada')}", "userName") if kind == "Users" else (f"/Groups/{group_with(directory)}", "displayName")
    )
    before = directory.written()
    renames = {"schemas": [PATCH_URN], "Operations": [{"op": "replace", "path": name, "value": "other"}]}

    for method, body in {"PUT": {name: "other"}, "PATCH": renames, "DELETE": None}.items():
        answer = directory.send(method, path, body, If_None_Match=tags)
        assert (answer.status, answer.document["detail"]) == (412, f"If-None-Match: {tags} names the version that stands")
        assert directory.send(method, f"/{kind}/nobody", body, If_None_Match=tags).status == 404

    assert directory.written() == before
    assert directory.send("PUT", path, {name: "other"}, If_None_Match='W/"9"').status == 200


def _unchanged_by(directory: Directory, path: str, *requests: tuple[str, Any]) -> None:
    tag, before = _tag(directory, path), directory.written()
    for method, body in requests:
        assert directory.send(method, path, body).status in (200, 204)
        assert (_tag(directory, path), directory.written()) == (tag, before), (method, body)


def test_what_is_said_again_in_another_order_changes_nothing(directory: Directory) -> None:
    extensions = {"urn:zzzzzzzzzzzzzzzzzzzz:long": {"a": 1}, "urn:b": {"x": 1}, ENTERPRISE_URN: {"department": "R"}}
    nothing = ("PATCH", {"schemas": [PATCH_URN], "Operations": []})
    for kind, said in {"Users": {"userName": "ada", **extensions}, "Groups": {"displayName": "Ants", **extensions}}.items():
        path = f"/{kind}/{directory.send('POST', f'/{kind}', said).document['id']}"
        _unchanged_by(directory, path, nothing, ("PUT", said), nothing, ("PUT", dict(reversed(said.items()))), nothing)


def test_a_group_silent_about_its_external_id_is_the_same_group(directory: Directory) -> None:
    silent = {"displayName": "Ants"}
    path = f"/Groups/{directory.send('POST', '/Groups', {**silent, 'externalId': 'x1'}).document['id']}"
    same = ("PATCH", {"schemas": [PATCH_URN], "Operations": [{"op": "replace", "path": "displayName", "value": "Ants"}]})

    _unchanged_by(directory, path, ("PUT", silent), same, ("PUT", silent), same, ("PUT", {**silent, "externalId": "x1"}), same)

    assert directory.send("GET", path).document["externalId"] == "x1"
    assert directory.send("PUT", path, {**silent, "externalId": "x2"}).document["externalId"] == "x2"
